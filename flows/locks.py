"""One flow a checkout, one trainer a GPU: locks that the kernel releases with the process that held them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from facet.errors import FacetError, ParamsError

CHECKOUT_LOCK = Path(".dvc/tmp/facet-flow.lock")

_POLL_SECONDS = 0.5
# How often a waiting flow says what it waits for.
_REMIND_SECONDS = 60.0


class CheckoutBusy(FacetError):
    """Another flow is at work in this checkout."""


@contextlib.contextmanager
def checkout(who: str, wait: bool, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold this checkout for one flow. ``who`` is what others read while they wait.

    Raises CheckoutBusy at once where somebody holds it and ``wait`` is false.
    """
    CHECKOUT_LOCK.parent.mkdir(parents=True, exist_ok=True)
    with CHECKOUT_LOCK.open("a+") as file:
        if not _try(file.fileno()):
            holder = _holder(CHECKOUT_LOCK)
            if not wait:
                raise CheckoutBusy(
                    f"{holder} is at work in {Path.cwd().name}/: wait for its end, cancel it, or start the flow with "
                    "if_busy=wait."
                )
            _wait(lambda: _try(file.fileno()), lambda: tell(f"waiting for the checkout: {_holder(CHECKOUT_LOCK)}"))
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "who": who, "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return f"{told['who']} (process {told['pid']}, since {told['since']})"
    except (OSError, ValueError, KeyError):
        return "another flow"


class GpuSlots:
    """The places on this host's GPU: FACET_GPU_SLOTS of them, one unless set, shared by all flows of this user.

    Flows on one host take turns by files in the temporary folder, named after CUDA_VISIBLE_DEVICES, so that flows on
    different GPUs don't wait for each other. dvc inherits the file, so a place stays taken for as long as it lives.
    """

    def __init__(self, slots: int | None = None):
        self.slots = slots or slots_of_environment()
        self._here = threading.Semaphore(self.slots)

    @contextlib.contextmanager
    def hold(self, who: str, tell: Callable[[str], None]) -> Iterator[int]:
        """Wait for a place and hold it; yields the file descriptor that stands for it."""
        with self._here:
            descriptors = [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for path in self._paths()]
            held: list[int] = []
            try:
                if not self._take(descriptors, held):
                    _wait(
                        lambda: self._take(descriptors, held), lambda: tell(f"waiting for the GPU: {self._holders()}")
                    )
                os.ftruncate(held[0], 0)
                os.pwrite(held[0], json.dumps({"pid": os.getpid(), "who": who, "since": time.ctime()}).encode(), 0)
                for descriptor in set(descriptors) - set(held):
                    os.close(descriptor)
                descriptors = held
                yield held[0]
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _paths(self) -> list[Path]:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "_") or "none"
        return [
            Path(tempfile.gettempdir()) / f"facet-{os.getuid()}-gpu-{visible}-{number}.lock"
            for number in range(self.slots)
        ]

    def _take(self, descriptors: list[int], held: list[int]) -> bool:
        for descriptor in descriptors:
            if _try(descriptor):
                held.append(descriptor)
                return True
        return False

    def _holders(self) -> str:
        return ", ".join(_holder(path) for path in self._paths())


def slots_of_environment() -> int:
    """FACET_GPU_SLOTS as a number. Raises ParamsError for anything else."""
    given = os.environ.get("FACET_GPU_SLOTS", "1")
    if not given.isdigit() or int(given) < 1:
        raise ParamsError(f"FACET_GPU_SLOTS is {given!r}, expected how many steps may use the GPU at once, 1 or more.")
    return int(given)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(done: Callable[[], bool], remind: Callable[[], None]) -> None:
    last = -_REMIND_SECONDS
    while not done():
        if time.monotonic() - last >= _REMIND_SECONDS:
            remind()
            last = time.monotonic()
        time.sleep(_POLL_SECONDS)
