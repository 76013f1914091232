"""One view of a raw folder: its plain files and the members of its archives, read by name and never extracted.

A member of ``img.zip``, ``img.tar`` or ``img.tar.gz`` stands under its own name below the archive's folder, and the
archive itself is no longer listed. Whatever a hostile archive says of itself, no file is left, nothing outside the
folder is read, and no more is unpacked than the reader asked for. Names are in Unicode's NFC form; what can't be
trusted is left out and counted by its reason.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from facet.data import archives
from facet.errors import DataError

# Encoded bytes of one picture, and of one table, unpacked.
PICTURE_BYTES = 64 * 2**20
TABLE_BYTES = 2**30
# Every archive stays open: well below the 1,024 files that a process may hold.
_MOST_ARCHIVES = 256
_LONGEST_NAME = 1024
# What file managers and downloaders leave behind; no data, and not worth a word.
_LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_COMPRESSED = (".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".7z", ".rar")
# Marks that make a name look like another on the screen: they turn the direction of writing.
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _Plain:
    """A file of the folder itself."""

    __slots__ = ("path", "size")
    inside = None

    def __init__(self, path: str, size: int) -> None:
        self.path, self.size = path, size

    def read(self, most: int) -> bytes:
        with open(self.path, "rb") as stream:
            return stream.read(most)


class Files(Mapping[str, int]):
    """Relative posix names -> sizes in bytes (of a member: unpacked, as it declares), in sorted order.

    ``archives`` names the archives that were opened; ``left_out`` counts by reason what is not to be trusted.
    """

    def __init__(self, root: Path, entries: dict, opened: tuple[str, ...], left_out: Counter[str]) -> None:
        self.root, self.archives, self.left_out = root, opened, left_out
        self._entries = {name: entries[name] for name in sorted(entries)}

    def __getitem__(self, name: str) -> int:
        return self._entries[name].size

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def read(self, name: str, limit: int = PICTURE_BYTES) -> bytes:
        """The bytes of ``name``, from any thread. Raises DataError over ``limit`` bytes, declared or in fact, and for a
        damaged or locked member."""
        entry = self._entries.get(name)
        if entry is None:
            raise DataError(f"{self.where(name)} does not exist: fetch the raw data again.")
        if entry.size <= limit:
            content = self._content(name, entry, limit + 1)
            if len(content) <= limit:
                return content
        raise DataError(
            f"{self.where(name)} holds {max(entry.size, limit + 1):,} bytes or more, expected {limit:,} at most: "
            "remove it or make it smaller."
        )

    def _content(self, name: str, entry, most: int) -> bytes:
        try:
            return entry.read(most)
        except archives.DAMAGE as error:
            if entry.inside is None:
                raise DataError(f"{self.where(name)} can't be read ({error}): check the file.") from None
            raise DataError(f"{entry.inside}, member {name} is damaged ({error}): fetch the archive again.") from None

    def path(self, name: str) -> Path | None:
        """Where ``name`` lies as a plain file; None for a member of an archive."""
        entry = self._entries[name]
        return Path(entry.path) if isinstance(entry, _Plain) else None

    def where(self, name: str) -> str:
        """``name`` as errors call it."""
        return (self.root / name).as_posix()


def open_files(root: Path) -> Files:
    """Everything below ``root`` that a reader may ask for.

    Raises DataError where there is no such folder, and for an archive that is damaged, locked, compressed in another
    way or of more members than data has.
    """
    if not root.is_dir():
        raise DataError(f"{root}/ does not exist: run `dvc repro data.dvc`, which fetches the raw data.")
    entries: dict = {}
    left_out: Counter[str] = Counter()
    packed = []
    for name, entry in sorted(_walk(root, left_out)):
        if name.casefold().endswith(_COMPRESSED):
            raise DataError(
                f"{root / name} is compressed in a way that facet does not read: unpack it, or pack it as .zip "
                "or .tar.gz."
            )
        if name.casefold().endswith(_ARCHIVES):
            packed.append((name, entry.path))
        else:
            _put(entries, name, entry, left_out)
    if len(packed) > _MOST_ARCHIVES:
        raise DataError(f"{root} holds {len(packed)} archives, expected {_MOST_ARCHIVES} at most: unpack or join them.")
    for name, path in packed:
        folder = name.rpartition("/")[0]
        for member, entry in archives.members(Path(path), left_out):
            if (reason := refusal(member)) is not None:
                left_out[reason] += 1
            else:
                _put(entries, f"{folder}/{member}" if folder else member, entry, left_out)
    return Files(root, entries, tuple(name for name, _ in packed), left_out)


def _put(entries: dict, name: str, entry, left_out: Counter[str]) -> None:
    """Plain files come first, then the archives by name: what is there already stays."""
    name = unicodedata.normalize("NFC", "/".join(part for part in name.split("/") if part not in ("", ".")))
    if not name or any(part.startswith(".") or part in _LITTER for part in name.split("/")):
        return
    if name in entries:
        left_out["named twice"] += 1
    else:
        entries[name] = entry


def refusal(name: str) -> str | None:
    """Why no file may bear ``name``, in a few words; None where it may."""
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
        return f"a name of over {_LONGEST_NAME:,} bytes"
    if name.startswith("/") or name[1:2] == ":":
        return "an absolute name"
    if "\\" in name:
        return "a backslash in the name"
    if ".." in name.split("/"):
        return "`..` in the name"
    if not name.isprintable() and any(c in _BIDI or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        return "control characters in the name"
    return None


def _walk(root: Path, left_out: Counter[str]) -> Iterator[tuple[str, _Plain]]:
    """(relative name, file) of the plain files below ``root``, folders that are links left out."""
    home = os.path.realpath(root)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(home, folder)) as found:
                for item in found:
                    name = f"{folder}{item.name}"
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(f"{name}/")
                    elif (reason := refusal(name) or _link_refusal(item, home)) is not None:
                        left_out[reason] += 1
                    else:
                        yield name, _Plain(item.path, item.stat().st_size)
        except OSError as error:
            raise DataError(f"{root / folder} can't be read ({error.strerror}): check its permissions.") from None


def _link_refusal(item: os.DirEntry, home: str) -> str | None:
    if item.is_symlink():
        target = os.path.realpath(item.path)
        if os.path.commonpath([home, target]) != home:
            return "a link that leaves the folder"
        if not os.path.exists(target):
            return "a link to nothing"
    return None if stat.S_ISREG(item.stat().st_mode) else "no plain file"
