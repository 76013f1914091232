"""How long a fetch waits, how often it tries again, and how much it takes."""

from __future__ import annotations

import dataclasses
import random
import threading

from facet.errors import DataError, UnreachableError

MIB = 1 << 20
GIB = 1 << 30


class InterruptedTransferError(Exception):
    """A transfer that another try may finish. ``wait_s`` is what the server asks to wait, None where it says none."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


class HostError(DataError):
    """This host can't give the set, or gives something else; another mirror may."""


class ChangedError(InterruptedTransferError):
    """The file is another than the one whose beginning lies here: start over."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds, bytes and counts; the defaults suit the public hosts."""

    connect_s: float = 10.0
    # Fewer than `slowest` bytes in this time is a connection that stands still.
    stall_s: float = 60.0
    slowest: int = 1024
    # Tries in a row that bring no byte, and tries in all for one file.
    tries: int = 6
    most_tries: int = 60
    # Waits double from the first to the longest; a server that asks for more than the longest is not waited for.
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    redirects: int = 10
    # Answers of an API, and files of which nobody has said how long they are.
    most_answer: int = 64 * MIB
    most_unannounced: int = 8 * GIB
    # A larger file moves in pieces of this size, so many side by side.
    piece: int = 8 * MIB
    at_once: int = 4
    # Kept free on the disk.
    spare: int = 256 * MIB


class Patience:
    """Counts the failures of one transfer, waits after each, and gives up in one sentence. Several threads share it."""

    def __init__(self, limits: Limits, what: str, stopped: threading.Event | None = None):
        self._limits, self._what = limits, what
        # Ends a wait: nobody should have to sit one out after Ctrl-C.
        self._stopped = stopped or threading.Event()
        self._lock = threading.Lock()
        self._in_a_row = self._in_all = self._lost = 0

    def progressed(self) -> None:
        """A byte arrived: the count of tries in a row starts again."""
        self._in_a_row = 0

    def failed(self, error: InterruptedTransferError, lost: bool = False) -> None:
        """Wait before the next try; ``lost``, what arrived can't be gone on with, and is no progress then.

        Raises UnreachableError where there is to be no other try.
        """
        with self._lock:
            self._in_a_row += 1
            self._in_all += 1
            self._lost += lost
            row, total = max(self._in_a_row, self._lost), self._in_all
        limits = self._limits
        if error.wait_s is not None and error.wait_s > limits.longest_wait_s:
            raise UnreachableError(
                f"{self._what}: {error}, and asks to wait {error.wait_s:.0f} seconds; run the same command after that"
            ) from error
        if row >= limits.tries or total >= limits.most_tries:
            goes_on = "" if lost else ", it goes on from here"
            raise UnreachableError(
                f"{self._what}: {error}, also after {total} tries; run the same command later{goes_on}"
            ) from error
        if error.wait_s is None:
            doubled = limits.first_wait_s * 2.0 ** (row - 1)
            # Spread out, so that many clients of a server that fell over don't come back in the same moment.
            self._stopped.wait(min(limits.longest_wait_s, doubled) * random.uniform(0.5, 1.0))
        else:
            self._stopped.wait(error.wait_s)
