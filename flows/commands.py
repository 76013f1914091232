"""``facet …`` as a program: what needs MLflow, S3 or torch is not imported by a flow."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from facet.errors import FacetError, UnreachableError
from flows import processes

_FACET = (sys.executable, "-m", "facet")


def run(*arguments: str) -> str:
    """Run ``facet ARGUMENTS`` and return what it printed. Raises UnreachableError, or FacetError with its sentence."""
    process = processes.start([*_FACET, *arguments], stderr=subprocess.PIPE)
    try:
        out, said = process.communicate()
    finally:
        processes.stop(process)
    if process.returncode:
        sentence = (said.decode(errors="replace").strip().splitlines() or ["it ended without a word"])[-1]
        kind = UnreachableError if process.returncode == UnreachableError.exit_code else FacetError
        raise kind(sentence.removeprefix("error: "))
    return out.decode(errors="replace")


@contextlib.contextmanager
def mirrored(wanted: bool) -> Iterator[None]:
    """Have MLflow's copy of the files kept up to date beside the chain; whether that works changes nothing for it."""
    if not wanted:
        yield
        return
    process = processes.start([*_FACET, "mirror", "--follow"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        processes.stop(process, signal.SIGTERM, grace=6.0)


def share_report(name: str) -> str | None:
    """A link to the report, as ``name``.html in the bucket folder FACET_REPORTS_URL (s3://…); None where it is unset.

    Raises what `run` raises.
    """
    folder = os.environ.get("FACET_REPORTS_URL")
    if not folder:
        return None
    return run("bucket", "share", "reports/report.html", f"{folder.rstrip('/')}/{name}.html").split()[-1]


def promote(alias: str) -> str:
    """`facet promote latest --to ALIAS`: the gate decides. Raises what `run` raises."""
    return run("promote", "latest", "--to", alias)
