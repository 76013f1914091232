"""source.json: where the files of a data set came from, under which licence, and by which digests they are known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facet.artifacts import SOURCE, SOURCE_SCHEMA, read_json, write_json
from facet.data.fetch import names
from facet.data.fetch.digests import digests
from facet.errors import ArtifactError, DataError
from facet.progress import bar

_KEYS = {"schema", "name", "kind", "revision", "licence", "files"}
_LICENCE = {"name": str, "url": str, "terms": str, "non_commercial": bool, "accepted": bool}


def make(
    name: str, kind: str, revision: str | None, licence: Mapping[str, Any] | None, files: Mapping[str, tuple[int, str]]
) -> dict[str, Any]:
    """The content of source.json; ``files`` are size in bytes and SHA-256 by name."""
    listed = [{"path": path, "size": size, "sha256": sha256} for path, (size, sha256) in sorted(files.items())]
    licence = None if licence is None else dict(licence)
    return {
        "schema": SOURCE_SCHEMA,
        "name": name,
        "kind": kind,
        "revision": revision,
        "licence": licence,
        "files": listed,
    }


def read(folder: Path) -> dict[str, Any] | None:
    """The record in ``folder``, None where it has none. Raises DataError for a damaged one."""
    path = folder / SOURCE
    if not path.is_file():
        return None
    try:
        return check_record(read_json(path, SOURCE_SCHEMA))
    except ArtifactError as error:
        raise DataError(f"{path} is no record of a data set: fetch the set again, or remove the file") from error


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Put the record into ``folder``."""
    write_json(folder / SOURCE, record)


def check_record(content: Any) -> dict[str, Any]:
    """``content`` itself. Raises DataError where it is not as ``make`` makes it, or names files as nobody should."""
    good = isinstance(content, dict) and content.keys() == _KEYS and content["schema"] == SOURCE_SCHEMA
    good = good and isinstance(content["name"], str) and isinstance(content["kind"], str)
    good = good and isinstance(content["revision"], str | None) and isinstance(content["files"], list)
    licence = content["licence"] if good else None
    if licence is not None:
        good = isinstance(licence, dict) and licence.keys() == _LICENCE.keys()
        good = good and all(isinstance(licence[key], kind) for key, kind in _LICENCE.items())
    if not good or not all(_is_file(entry) for entry in content["files"]):
        raise DataError(f"{SOURCE} is not of the form {SOURCE_SCHEMA}: fetch the set again, or remove the file")
    paths = [names.clean(entry["path"], SOURCE) for entry in content["files"]]
    names.check_together((SOURCE, *paths), SOURCE)
    return content


def _is_file(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"path", "size", "sha256"}:
        return False
    size, sha256 = entry["size"], entry["sha256"]
    return (
        isinstance(entry["path"], str)
        and isinstance(size, int)
        and size >= 0
        and bool(re.fullmatch(r"[0-9a-f]{64}", str(sha256)))
    )


def differing(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """The names of the recorded files that are missing from ``folder`` or hold something else; reads them all."""
    wrong = []
    with bar(sum(entry["size"] for entry in record["files"]), f"check of {folder}", unit="B") as progress:
        progress.unit_scale = True
        for entry in record["files"]:
            path = folder / entry["path"]
            if not path.is_file() or path.stat().st_size != entry["size"]:
                wrong.append(entry["path"])
                progress.update(entry["size"])
            elif digests(path, (("sha256", entry["sha256"]),), progress)[1]:
                wrong.append(entry["path"])
    return wrong
