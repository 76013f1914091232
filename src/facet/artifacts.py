"""Where everything lies on disk, and how it gets there whole or not at all.

Paths are relative to the repository's root, which is where DVC runs every step. No artifact holds a time, a duration,
a host name or an absolute path, so the same inputs give the same bytes.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facet.errors import ArtifactError

DATA = Path("data")
# Inside it: where the files came from, their digests and their licence (facet.data.fetch).
SOURCE = "source.json"

FACES = Path("artifacts/faces")
VALIDATION = Path("artifacts/validation.json")
VAE = Path("artifacts/vae")
LATENTS = Path("artifacts/latents")
TEXT = Path("artifacts/text")
DECODER = Path("artifacts/decoder")
UNET = Path("artifacts/unet")
SELECTION = Path("artifacts/selection.json")
JUDGE = Path("artifacts/judge")
REFERENCE = Path("artifacts/reference")
PIPELINE = Path("artifacts/pipeline")
SAMPLES = Path("artifacts/samples")
EVALUATION = Path("artifacts/evaluation.json")
REGISTRATION = Path("artifacts/registration.json")

METRICS = Path("metrics")
# The profile of the faces that were accepted last (`facet data accept`); in git, unlike what the chain makes.
BASELINE = Path("metrics/baseline.json")
CURVES = Path("metrics/curves")
REPORTS = Path("reports")
REPORT = Path("reports/report.html")
SAMPLE_GRID = Path("reports/samples.png")
RECONSTRUCTION_GRID = Path("reports/reconstructions.png")
DATA_DOCS = Path("reports/data_docs")

CHECKPOINTS = Path("checkpoints")
RUNS = Path("runs")

# Bumped whenever a reader of the older layout would misread the newer one.
SOURCE_SCHEMA = "facet.source/1"
FACES_SCHEMA = "facet.faces/3"
PROFILE_SCHEMA = "facet.profile/1"
VALIDATION_SCHEMA = "facet.validation/2"
LATENTS_SCHEMA = "facet.latents/1"
TEXT_SCHEMA = "facet.text/1"
DENOISER_SCHEMA = "facet.denoiser/2"
REFERENCE_SCHEMA = "facet.reference/1"
SAMPLES_SCHEMA = "facet.samples/2"
SELECTION_SCHEMA = "facet.selection/1"
EVALUATION_SCHEMA = "facet.evaluation/3"
REGISTRATION_SCHEMA = "facet.registration/1"


# --- writing: whole or not at all -------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty sibling of ``path`` to fill; it replaces ``path`` only when the block ends without an error."""
    scratch = path.with_name(f".{path.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with _disk_errors_named(path):
            scratch.mkdir(parents=True)
            yield scratch
            shutil.rmtree(path, ignore_errors=True)
            os.replace(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a sibling path to write; it replaces ``path`` only when the block ends without an error."""
    scratch = path.with_name(f".{path.name}.partial")
    try:
        with _disk_errors_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield scratch
            os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _disk_errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ArtifactError(f"the disk is full: {path} was not written; free some space, run it again.") from error
        if error.errno in (errno.EACCES, errno.EROFS):
            raise ArtifactError(
                f"{path} can't be written ({error.strerror}): check the folder's permissions."
            ) from error
        raise
    except Exception as error:
        # safetensors reports a full disk as an error of its own type, without errno.
        if "No space left on device" in str(error):
            raise ArtifactError(f"the disk is full: {path} was not written; free some space, run it again.") from error
        raise


def write_json(path: Path, content: Any) -> None:
    """Sorted keys, two spaces, a final newline; NaN and infinity are refused, since JSON has neither."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_curve(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """A curve as CSV: one row a report, first column ``step``; six significant digits."""
    with whole_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


# --- reading: the right schema, or a sentence -------------------------------------------------------------------------


def read_json(path: Path, schema: str | None = None) -> dict[str, Any]:
    """A JSON object; with ``schema``, one whose "schema" key says so. Raises ArtifactError otherwise."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist: run the step that makes it (`dvc repro`).") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged ({error}): delete it and run `dvc repro`.") from None
    if schema is not None and (not isinstance(content, dict) or content.get("schema") != schema):
        given = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise ArtifactError(f"{path} has schema {given!r}, expected {schema!r}: make it again with `dvc repro`.")
    return content


# --- digests ----------------------------------------------------------------------------------------------------------


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(path: Path) -> str:
    """SHA-256 over the relative names and contents of all files below ``path``, in sorted order, hex."""
    whole = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file())
    if not files:
        raise ArtifactError(f"{path} is empty or missing: run the step that makes it (`dvc repro`).")
    for file in files:
        whole.update(f"{file.relative_to(path).as_posix()}\0{digest_file(file)}\n".encode())
    return whole.hexdigest()


def digest_json(content: Any) -> str:
    """SHA-256 of the canonical JSON of ``content``, hex."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_code() -> str:
    """SHA-256 over the source of every facet module loaded so far: a step's own code, since a step loads only that."""
    # A step runs as __main__; its spec knows its name.
    main = sys.modules.get("__main__")
    named = dict(sys.modules) | {getattr(getattr(main, "__spec__", None), "name", "__main__"): main}
    files = {
        name: module.__file__
        for name, module in sorted(named.items())
        if name.partition(".")[0] == "facet" and getattr(module, "__file__", None)
    }
    return digest_json({name: digest_file(Path(file)) for name, file in files.items()})


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``: the form in which metrics and params reach tables and MLflow."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
