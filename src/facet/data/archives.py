"""The members of a .zip or a .tar, listed without trusting it and read without unpacking it.

A zip's table of contents is measured before Python's zipfile parses it, since a small file can announce millions of
members; a tar's headers are read one by one, none of them larger than a name can need. A .tar.gz, of which no member
can be found alone, is first turned into its .tar, in a temporary file without a name that goes with the process.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import tempfile
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
# Of the disk, left free when a .tar.gz is unpacked.
_SPARE = 2**30
_BLOCK = 2**20

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
            # What a member has beyond what it declares is not unpacked either.
            return stream.read(min(most, self.size + 1))


class _TarMember:
    __slots__ = ("_offset", "_tar", "inside", "size")

    def __init__(self, inside: Path, tar: io.FileIO, offset: int, size: int) -> None:
        self.inside, self._tar, self._offset, self.size = inside, tar, offset, size

    def read(self, most: int) -> bytes:
        # By offset: threads share the file and no position in it.
        content = os.pread(self._tar.fileno(), min(most, self.size), self._offset)
        if len(content) < min(most, self.size):
            raise EOFError("the archive ends within it")
        return content


def members(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Member]]:
    """(name as the archive has it, member) of the plain files in ``path``; what else it holds goes to ``left_out``.

    Raises DataError for what is no archive, is cut off, or has more than MOST_MEMBERS members.
    """
    return _zip_members(path, left_out) if path.suffix.casefold() == ".zip" else _tar_members(path, left_out)


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


class _Tar(io.FileIO):
    """A tar's file, of which tarfile reads headers only: a name or an extended header of gigabytes is refused.

    Open as long as one of its members is there."""

    def __del__(self) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return super().read(size)


def _unpacked(path: Path) -> _Tar:
    """The .tar of a .tar.gz. Raises DataError for a bomb, for one that is damaged, and where the disk is too small."""
    packed = path.stat().st_size
    # Without a name: nothing of it is left, however this process ends.
    with tempfile.TemporaryFile() as scratch, bar(packed, f"unpack {path.name}", unit="B") as progress:
        progress.unit_scale = True
        most = min(max(_RATIO_FROM, _MOST_RATIO * packed), shutil.disk_usage(tempfile.gettempdir()).free - _SPARE)
        try:
            with path.open("rb") as file, gzip.GzipFile(fileobj=file) as stream:
                while block := stream.read(_BLOCK):
                    scratch.write(block)
                    progress.update(file.tell() - progress.n)
                    if scratch.tell() > most:
                        raise DataError(
                            f"{path} unpacks to over {most:,} bytes, more than data of its size does or the disk of "
                            f"{tempfile.gettempdir()} holds: set TMPDIR to a larger disk, or fetch it again."
                        )
            scratch.flush()
        except DAMAGE as error:
            raise DataError(
                f"{path} is not gzip (a web page saved as one?) or is cut off ({error}): fetch it again."
            ) from None
        return _Tar(os.dup(scratch.fileno()))


def _tar_members(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Member]]:
    try:
        tar = _Tar(path) if path.suffix.casefold() == ".tar" else _unpacked(path)
        with bar(None, f"list {path.name}", "file") as progress:
            tar.seek(0)
            if tar.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
                raise DataError(f"{path} is a compressed tar: if by gzip, call it .tar.gz; else unpack it.")
            tar.seek(0)
            with tarfile.open(fileobj=tar, mode="r:") as archive:
                for number, info in enumerate(iter(archive.next, None)):
                    progress.update()
                    if number >= MOST_MEMBERS:
                        raise DataError(f"{path} has over {MOST_MEMBERS:,} members: split it.")
                    # tarfile keeps every header it has read, a kilobyte each.
                    archive.members.clear()
                    if (reason := _tar_refusal(info)) is not None:
                        left_out[reason] += 1
                    elif not info.isdir():
                        yield info.name, _TarMember(path, tar, info.offset_data, info.size)
                # At a damaged header tarfile stops as it does at the end.
                tar.seek(archive.offset)
                if tar.read(512).strip(b"\0"):
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
