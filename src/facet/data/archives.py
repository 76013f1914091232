"""The members of a .zip or an uncompressed .tar, listed without trusting it and read without unpacking it.

A zip's table of contents is measured before Python's zipfile parses it, since a small file can announce millions of
members; a tar's headers are read one by one, none of them larger than a name can need.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from facet.errors import DataError
from facet.progress import bar

# Twice CelebA and more than any set of faces in the open; each costs about half a kilobyte of memory.
MOST_MEMBERS = 600_000
# No member is larger, whatever reads it.
MOST_BYTES = 2**30
# Tables of -1 and 1 shrink by about 20, text by up to 100; deflate's bound is 1,032.
_MOST_RATIO, _RATIO_FROM = 250, 16 * 2**20
_MOST_DIRECTORY = 128 * 2**20
_MOST_HEADER = 2**20

# What zipfile, tarfile, zlib and the disk raise for a damaged or locked member.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # locked; NotImplementedError for a compression that zipfile lacks is one too
    ValueError,
    OverflowError,
)


class Member(Protocol):
    """A file inside an archive: ``inside`` is the archive, ``size`` the bytes it declares."""

    inside: Path
    size: int

    def read(self, most: int) -> bytes:
        """At most ``most`` bytes from its beginning, from any thread; one of DAMAGE where that fails."""


class _ZipMember:
    __slots__ = ("_archive", "_info", "inside")

    def __init__(self, inside: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.inside, self._archive, self._info = inside, archive, info

    @property
    def size(self) -> int:
        return self._info.file_size

    def read(self, most: int) -> bytes:
        with self._archive.open(self._info) as stream:
            return stream.read(most)


class _TarMember:
    __slots__ = ("_offset", "inside", "size")

    def __init__(self, inside: Path, offset: int, size: int) -> None:
        self.inside, self._offset, self.size = inside, offset, size

    def read(self, most: int) -> bytes:
        # Opened anew each time: threads share no position, and nothing is left open.
        with self.inside.open("rb") as stream:
            stream.seek(self._offset)
            content = stream.read(min(most, self.size))
        if len(content) < min(most, self.size):
            raise EOFError("the archive ends within it")
        return content


def members(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Member]]:
    """(name as the archive has it, member) of the plain files in ``path``; what else it holds goes to ``left_out``.

    Raises DataError for what is no archive, is cut off, or has more than MOST_MEMBERS members.
    """
    return _tar_members(path, left_out) if path.suffix.casefold() == ".tar" else _zip_members(path, left_out)


# --- zip --------------------------------------------------------------------------------------------------------------


def _zip_members(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Member]]:
    try:
        _measure_directory(path)
        archive = zipfile.ZipFile(path)
    except DAMAGE:
        raise DataError(f"{path} is not a zip (a quota page saved as one?) or is cut off: fetch it again.") from None
    # An empty name, of which zipfile asks for the last sign, names nothing.
    files = [info for info in archive.infolist() if info.filename and not info.is_dir()]
    if files and all(info.flag_bits & 1 for info in files):
        raise DataError(f"{path} is locked with a password: unpack it, or zip it again without one.")
    for info in files:
        if (reason := _zip_refusal(info)) is not None:
            left_out[reason] += 1
        else:
            # What follows a NUL is cut off in `filename`, so two names would look the same.
            yield info.orig_filename, _ZipMember(path, archive, info)


def _zip_refusal(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "a link or device in an archive"
    # Only these two unpack step by step, so that a bomb can be stopped.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not info.flag_bits & 1:
        return "a compression other than deflate"
    bomb = info.file_size > _RATIO_FROM and info.file_size > _MOST_RATIO * info.compress_size
    return "far larger unpacked than packed" if bomb or info.file_size > MOST_BYTES else None


def _measure_directory(path: Path) -> None:
    """Refuse a table of contents that is larger than data needs, or raise BadZipFile where there is none.

    The end record is looked for where zipfile looks for it.
    """
    with path.open("rb") as stream:
        end = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, end - 22 - 0xFFFF))
        tail = stream.read()
        at = len(tail) - 22
        if at < 0 or tail[at : at + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
            at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < 22:
            raise zipfile.BadZipFile("no end record")
        count, size = struct.unpack_from("<HL", tail, at + 10)
        start = end - len(tail) + at
        stream.seek(max(0, start - 76))
        wide = stream.read(76)  # zip64: its end record, then its locator
        if wide[-20:-16] == b"PK\6\7" and wide[:4] == b"PK\6\6":
            count, size = struct.unpack_from("<QQ", wide, 32)
            start -= 76
        if count <= MOST_MEMBERS and size <= _MOST_DIRECTORY:
            stream.seek(max(0, start - size))
            count = max(count, stream.read(size).count(b"PK\1\2"))
    if count > MOST_MEMBERS or size > _MOST_DIRECTORY:
        raise DataError(
            f"{path} announces {count:,} members in {size:,} bytes, expected {MOST_MEMBERS:,} at most: split it."
        )


# --- tar --------------------------------------------------------------------------------------------------------------


class _Headers(io.FileIO):
    """A tar's file of which only headers are read: a name or an extended header of gigabytes is refused."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().read(size)


def _tar_members(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Member]]:
    try:
        with _Headers(path) as stream, bar(None, f"list {path.name}", "file") as progress:
            if stream.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
                raise DataError(
                    f"{path} is compressed as a whole, so no member can be read alone: unpack it or zip it."
                )
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for number, info in enumerate(iter(archive.next, None)):
                    progress.update()
                    if number >= MOST_MEMBERS:
                        raise DataError(f"{path} has over {MOST_MEMBERS:,} members: split it.")
                    # tarfile keeps every header it has read, a kilobyte each.
                    archive.members.clear()
                    if (reason := _tar_refusal(info)) is not None:
                        left_out[reason] += 1
                    elif not info.isdir():
                        yield info.name, _TarMember(path, info.offset_data, info.size)
                # At a damaged header tarfile stops as it does at the end.
                stream.seek(archive.offset)
                if stream.read(512).strip(b"\0"):
                    raise tarfile.ReadError("damaged header")
    except DAMAGE as error:
        raise DataError(
            f"{path} is not a tar (a web page saved as one?) or is cut off ({error}): fetch it again."
        ) from None


def _tar_refusal(info: tarfile.TarInfo) -> str | None:
    if info.isdir():
        return None
    if not info.isreg():
        return "a link or device in an archive"
    if info.sparse is not None:
        return "a sparse file in an archive"
    return "larger than 1 GiB" if not 0 <= info.size <= MOST_BYTES else None
