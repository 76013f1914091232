"""Archives to be read that Python's own writers make, and some that they refuse to."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

GOOD = ("good.png", b"sound")


def zip_of(path: Path, members, method: int = zipfile.ZIP_STORED) -> None:
    """A zip of (name or ZipInfo, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, content, method)


def tar_of(path: Path, members, form: int = tarfile.PAX_FORMAT) -> None:
    """A tar of (name or TarInfo, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def tgz_of(path: Path, members) -> None:
    """The same, compressed as a whole."""
    tar_of(path, members)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def replaced(path: Path, old: bytes, new: bytes) -> None:
    """The archive with bytes exchanged that Python's own writers refuse."""
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))
