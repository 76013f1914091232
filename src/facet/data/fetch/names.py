"""File names as a host tells them: only those that stay below the folder they are meant for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from facet.errors import DataError

# Bytes; a name has 255 on the usual file systems, of which a partial file's record takes some.
_LONGEST_PART = 200
_LONGEST = 1000


def clean(name: str, host: str) -> str:
    """``name`` as a relative path with forward slashes. Raises DataError for one that would leave its folder, holds
    control characters or is too long: a host that tells such names is not to be trusted with the rest either."""
    parts = name.split("/")
    if not name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise _refused(name, host, "is no plain relative path")
    if any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in name):
        raise _refused(name, host, "holds control characters")
    if len(name.encode()) > _LONGEST or any(len(part.encode()) > _LONGEST_PART for part in parts):
        raise _refused(name, host, f"is longer than {_LONGEST_PART} bytes a part or {_LONGEST} in all")
    return name


def check_together(names: Iterable[str], host: str) -> None:
    """Raises DataError where two names are the same on some file system, or one is a folder of another."""
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        above = [folded.rsplit("/", depth)[0] for depth in range(1, folded.count("/") + 1)]
        if folded in seen or folded in folders or not seen.isdisjoint(above):
            raise _refused(name, host, "stands for two files at once")
        seen.add(folded)
        folders.update(above)


def below(folder: Path, name: str) -> Path:
    """The path of ``name`` below ``folder``, its parent made. Raises DataError where a link leads out of the folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path} leads out of {folder} through a link: remove the link and run the same command again")
    return path


def _refused(name: str, host: str, why: str) -> DataError:
    return DataError(f"{host} names a file {name[:120]!r}, which {why}: nothing is taken from it; use another mirror")
