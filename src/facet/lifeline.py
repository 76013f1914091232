"""A process that ends when the one that started it does, however that one ended.

``python -m facet.lifeline PARENT COMMAND …`` runs a program that knows nothing of this, such as dvc, for the process
whose id is PARENT.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
# The process at the head of the tree, for those further down who start too late to be told of its end.
_HEAD = "FACET_LIFELINE"


def die_with_parent() -> None:
    """Have this process killed the moment its parent (on Linux: the thread that started it) is gone.

    Linux does it, and keeps doing it when the process executes another program; elsewhere a thread looks four times a
    second and ends when the process does. SIGKILL, since whatever must survive is on disk already and a stuck kernel
    call must not hold the GPU. A child of this process does not inherit it: each arms its own.
    """
    parent = os.getppid()
    head = int(os.environ.get(_HEAD, parent))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    else:
        threading.Thread(target=_watch, args=(parent,), name="lifeline", daemon=True).start()
    if os.getppid() != parent or not _alive(head):  # gone before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.25)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Become the program of the arguments; end at once where the parent they name is gone already."""
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m facet.lifeline PARENT COMMAND [ARGUMENT …]")
    os.environ.pop(_HEAD, None)
    die_with_parent()
    if os.getppid() != int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    os.environ[_HEAD] = str(os.getpid())
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
