"""dvc as a program: short questions, and stages whose output is heard as it comes."""

from __future__ import annotations

import dataclasses
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from facet.errors import FacetError, UnreachableError
from flows import processes
from flows.processes import Stopped

_DVC = (sys.executable, "-m", "dvc")

# DVC's words about another process at work in the same checkout.
_BUSY = re.compile(r"is busy, it is being blocked by|Unable to acquire lock|unable to acquire lock")
# What ends a step or an import when a server or a bucket does not answer: our own exit code, then botocore's names.
_UNREACHABLE = re.compile(
    rf"exited with {UnreachableError.exit_code}\b|EndpointConnectionError|ConnectTimeoutError|ReadTimeoutError"
    r"|ConnectionClosedError|Could not connect to the endpoint URL|SlowDown|ServiceUnavailable|RequestTimeout"
)
_SKIPPED = re.compile(r"^Stage '.*' didn't change, skipping$")
_RESTORED = re.compile(r"^Stage '.*' is cached - skipping run, checking out outputs$")
# What DVC tells a person at a prompt.
_NOISE = re.compile(
    r"^(|To track the changes with git, run:|\s*git add .*|To enable auto staging, run:"
    r"|\s*dvc config core\.autostage true|Use `dvc push` .*|Updating lock file .*|Data and pipelines are up to date\.)$"
)


class DvcError(FacetError):
    """dvc ended with an error that is not one of the others."""


class DvcBusy(FacetError):
    """Another dvc is at work on the same files."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a stage: "ran", "restored" (from DVC's run cache) or "unchanged"."""

    how: str
    seconds: float


# --- short questions --------------------------------------------------------------------------------------------------


class Question:
    """A dvc command that was started and whose answer is awaited later, so that two can run at once."""

    def __init__(self, arguments: Sequence[str]):
        self._arguments = arguments
        self._process = processes.start([*_DVC, *arguments], stderr=subprocess.PIPE)

    def output(self) -> str:
        """Its standard output. Raises DvcError or DvcBusy."""
        out, said = self._process.communicate()
        processes.stop(self._process)
        if self._process.returncode:
            raise _error(f"dvc {' '.join(self._arguments)}", said.decode(errors="replace"))
        return out.decode()


def ask(*arguments: str) -> Question:
    """Start ``dvc ARGUMENTS``."""
    return Question(arguments)


# --- stages -----------------------------------------------------------------------------------------------------------


def reproduce(
    stage: str,
    tell: Callable[[str], None],
    meanwhile: Callable[[], None] = lambda: None,
    force: bool = False,
    keep_open: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run stage ``stage`` alone, as `dvc repro -s` does, and hand each line it prints to ``tell`` at once.

    ``meanwhile`` is called at least once a second. ``keep_open`` are file descriptors (locks) that dvc holds as well.
    Raises UnreachableError, DvcBusy, Stopped, or DvcError with the step's own sentence. Whatever ends this call, dvc
    and all that it started are gone when it has ended.
    """
    started, said, how = time.monotonic(), [], "ran"
    arguments = ["repro", "--single-item", *(["--force"] if force else []), stage]
    process = processes.start([*_DVC, *arguments], keep_open=keep_open, environment=environment)
    try:
        for line in _lines(process, meanwhile):
            how = "unchanged" if _SKIPPED.match(line) else "restored" if _RESTORED.match(line) else how
            if not _NOISE.match(line):
                said.append(line)
                tell(line)
    finally:
        processes.stop(process)
    if processes.was_stopped(process):
        raise Stopped(f"{stage} was stopped; its checkpoints are kept, and the next run goes on from the last one.")
    if process.returncode:
        raise _error(stage, "\n".join(said[-50:]))
    return Outcome(how, time.monotonic() - started)


def _lines(process: subprocess.Popen, meanwhile: Callable[[], None]) -> Iterator[str]:
    """Lines as they come. A stage that forks a daemon would keep the pipe open: the end of dvc is the end."""
    pipe, rest = process.stdout.fileno(), b""
    while True:
        readable, _, _ = select.select([pipe], [], [], 1.0)
        chunk = os.read(pipe, 65536) if readable else b""
        *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        yield from (line.decode(errors="replace").rstrip() for line in whole)
        meanwhile()
        if (readable and not chunk) or (not readable and process.poll() is not None):
            break
    if rest:
        yield rest.decode(errors="replace").rstrip()


# --- errors -----------------------------------------------------------------------------------------------------------


def _error(what: str, said: str) -> FacetError:
    """The error that dvc's last words tell of."""
    if _BUSY.search(said):
        words = re.sub(r"\s+", " ", said[_BUSY.search(said).start() :]).strip()
        return DvcBusy(f"{what}: {words[:200].rstrip('.')}.")
    if _UNREACHABLE.search(said):
        return UnreachableError(f"{what}: {_sentence(said, re.compile('^error: '), _UNREACHABLE)}")
    return DvcError(f"{what}: {_sentence(said, re.compile('^error: '), re.compile('^ERROR: '))}")


def _sentence(said: str, *wanted: re.Pattern[str]) -> str:
    """The last line that matches the first pattern that any line matches; else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for pattern in wanted:
        for line in reversed(lines):
            if pattern.search(line):
                return re.sub(r"^(error|ERROR): ", "", line)
    return lines[-1] if lines else "it ended without a word"
