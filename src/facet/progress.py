"""One progress bar for everything: rate and time left on a terminal, silence anywhere else."""

from __future__ import annotations

from tqdm import tqdm


def bar(total: int | None, what: str, unit: str = "it", initial: int = 0) -> tqdm:
    """A bar on stderr. ``disable=None`` is tqdm's word for "quiet unless stderr is a terminal"."""
    return tqdm(total=total, desc=what, unit=unit, initial=initial, disable=None, leave=False, dynamic_ncols=True)
