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

import psutil

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
# The process at the head of the tree, for those further down.
_HEAD = "FACET_LIFELINE"
_SHELLS = {"sh", "ash", "bash", "dash", "ksh", "zsh", "fish", "busybox"}
_LOOK_SECONDS = 0.25


def die_with_parent() -> None:
    """Have this process killed the moment its parent (on Linux: the thread that started it) is gone.

    Linux does it, and keeps doing it when the process executes another program. What Linux does not watch, a thread
    does, four times a second: the head of the tree, and, where the parent is but a shell that waits for this one
    command (some shells stay, and outlive the dvc that started them), the parent's parent. SIGKILL, since whatever must
    survive is on disk already and a stuck kernel call must not hold the GPU. A child of this process does not inherit
    it: each arms its own.
    """
    parent = os.getppid()
    watched = _Watched()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    else:
        watched.add(parent)
    watched.add(int(os.environ.get(_HEAD, parent)))
    watched.add(_behind_the_shell(parent))
    if os.getppid() != parent or watched.gone():  # gone before it could be watched
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=watched.wait, name="lifeline", daemon=True).start()


class _Watched:
    """Processes none of which may end; known by their start time too, since their numbers are used again."""

    def __init__(self) -> None:
        self._processes: list[psutil.Process] = []
        self._missing = False

    def add(self, process: int | None) -> None:
        if process is None:
            return
        try:
            self._processes.append(psutil.Process(process))
        except psutil.NoSuchProcess:
            self._missing = True

    def gone(self) -> bool:
        """Whether one has ended; a zombie has, whether or not anybody asks for its exit code."""
        return self._missing or any(map(_ended, self._processes))

    def wait(self) -> None:
        while not self.gone():
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _behind_the_shell(parent: int) -> int | None:
    """Who started the shell ``parent``, where that is a shell that was given one command (``sh -c COMMAND``)."""
    try:
        shell = psutil.Process(parent)
        words, starter = shell.cmdline(), shell.ppid()
    except psutil.Error:
        return None
    waits = "-c" in words[1:-1] and os.path.basename(words[0]) in _SHELLS
    return starter if waits and starter > 1 else None


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
