"""Start quickly: Python searches for garbage neither while libraries are imported nor among what they made.

torch, diffusers and what these pull in make some 600,000 objects that live as long as the process. While they are made
its cycle collector searches all of them again and again, and once more as the process ends: a third of a short
process's time, and it finds nothing. What reference counting frees is freed as ever, and no result depends on this.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """No search inside the block, which should import and do nothing else; afterwards all is as before.

    What was made inside counts as old at the end, as it would had it outlived two searches: the next one, of the young
    alone, passes it by.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # else someone's frozen objects would be thawed with ours
            gc.freeze()
            gc.unfreeze()
        if enabled:
            gc.enable()


def freeze_imports() -> None:
    """Exempt all that lives now from every search to come, the one at the process's end included.

    For a program that has just imported what it needs. A library, or a test, must not decide this for its process.
    """
    gc.freeze()
