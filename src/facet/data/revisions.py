"""The tables of a prepared set as a git revision pins them, brought by the program ``dvc``, without the pixels."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from facet.artifacts import FACES, FACES_SCHEMA, read_json
from facet.data.tables import ABOUT, MANIFEST, QUARANTINE
from facet.errors import ArtifactError, ParamsError, UnreachableError
from facet.progress import bar

# dvc's words, of version 3.67, and botocore's names for a server that does not answer.
_NO_REVISION = re.compile(r"unknown Git revision")
_NO_REPOSITORY = re.compile(r"is not a git repository")
_NO_CACHE = re.compile(r"No storage files available|missing cache files|[Mm]issing files|failed to load directory")
_NO_DVC = re.compile(r"No module named dvc")
_UNREACHABLE = re.compile(r"EndpointConnectionError|ConnectTimeoutError|ReadTimeoutError|Could not connect")


def fetch_tables(revision: str, folder: Path) -> None:
    """Write the tables of artifacts/faces at git revision ``revision`` of the checkout that holds the current folder to
    ``folder``, as `read_tables` reads them.

    Raises ParamsError for a revision there is none of, or no checkout; ArtifactError where the revision pins no
    prepared faces, those of another schema, or some that are neither in DVC's cache nor in its remote;
    UnreachableError where the remote does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = (ABOUT, MANIFEST, QUARANTINE)
    with bar(len(files), f"fetch {revision}", "file") as progress:
        for name in files:
            _get(revision, name, folder / name)
            if name == ABOUT:
                _check_schema(revision, folder / name)
            progress.update()


def _get(revision: str, name: str, out: Path) -> None:
    path = (FACES / name).as_posix()
    # Not --quiet, which would keep its errors to itself. The lifeline ends dvc with this process, however that ends.
    command = [sys.executable, "-m", "facet.lifeline", str(os.getpid()), sys.executable, "-m", "dvc"]
    done = subprocess.run(
        [*command, "get", f"--rev={revision}", "--out", str(out), ".", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        check=False,
    )
    if done.returncode:
        raise _error(revision, path, done.stdout)


def _error(revision: str, path: str, said: str) -> Exception:
    """What dvc's last words amount to."""
    if _NO_DVC.search(said):
        return ArtifactError("dvc, which fetches a revision's tables, is not installed: `pip install facet[pipeline]`.")
    if _NO_REPOSITORY.search(said):
        return ParamsError("this folder is in no git repository, whose revisions are compared: run it in a checkout.")
    if _NO_REVISION.search(said):
        return ParamsError(
            f"{revision!r} is no revision of this repository: name a commit, tag or branch (`git log --oneline`)."
        )
    if _UNREACHABLE.search(said):
        return UnreachableError(f"DVC's remote, which holds {FACES} of {revision}, does not answer: try again later.")
    if _NO_CACHE.search(said):
        return ArtifactError(
            f"{FACES} of {revision} is neither in DVC's cache here nor in its remote: `dvc push` it where it was made, "
            "or make it again at that revision with `dvc repro prepare`."
        )
    if f"['{path}']" in said:
        return ArtifactError(
            f"revision {revision} pins no {path}: name one whose dvc.lock holds a finished `prepare` of this facet."
        )
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    words = (lines or said.strip().splitlines() or ["it said nothing"])[-1]
    return ArtifactError(f"dvc could not fetch {path} of {revision} ({words.rstrip('.')}): try `dvc fetch` by itself.")


def _check_schema(revision: str, about: Path) -> None:
    given = read_json(about).get("schema")
    if given != FACES_SCHEMA:
        raise ArtifactError(
            f"{FACES} of {revision} has schema {given!r}, this facet compares {FACES_SCHEMA!r}: name a revision "
            "that was prepared since, or prepare that one's data again."
        )
