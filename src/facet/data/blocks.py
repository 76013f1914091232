"""Encoded pictures -> faces and what is measured of them, a block at a time.

Each block is a file that stays until all of them are there, so that what a kill leaves is gone on with: a block is
taken as it is where its pictures still have the digests that it was made from. Reading and hashing a picture costs a
tenth of decoding it.

A block ``block-00000.safetensors`` holds, a row a usable picture, "rows" int64 (of the raw set), "faces" uint8
[m, size, size, 3], "sources" uint8 [m, 32] (SHA-256 of the encoded picture), "sides" int32 [m, 2] (width, height),
"quality" float32 [m, 3], "hashes" int64 (bits of the perceptual hash) and "thumbnails" uint8 [m, 16, 16]; in its
metadata the digest of the encoded pictures, and the refused ones as [row, kind, reason].
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from facet.artifacts import whole_file
from facet.data.duplicates import perceptual_hashes, thumbnails
from facet.data.faces import CropRule, qualities, read_face
from facet.data.raw import RawSet
from facet.errors import DataError, PictureError

# Big enough that a whole CelebA at 64 px is 19 files, small enough that a block fits anywhere in memory.
BLOCK_BYTES = 128 * 2**20
# Pictures measured at a time; never more than a block's.
_AT_ONCE = 64


class Refused(NamedTuple):
    """A picture of the raw set that is put aside, and why."""

    row: int
    kind: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is known of the usable pictures, a row each, beside their pixels; see the module's docstring."""

    rows: np.ndarray
    sources: np.ndarray
    sides: np.ndarray
    quality: np.ndarray
    hashes: np.ndarray
    thumbnails: np.ndarray

    @classmethod
    def joined(cls, parts: list[Measured]) -> Measured:
        """All parts as one, in order."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class How:
    """What of the `prepare` section decides over one picture."""

    size: int
    crop: CropRule
    min_side: int

    @property
    def per_block(self) -> int:
        """Pictures a block."""
        return max(1, BLOCK_BYTES // (self.size * self.size * 3))


class _Picture(NamedTuple):
    """One picture: the digest of its bytes, and its face with width and height, or why there is none."""

    row: int
    source: bytes
    pixels: np.ndarray | None
    width: int
    height: int
    refused: Refused | None


def write_blocks(raw: RawSet, how: How, folder: Path, progress: tqdm) -> Iterator[tuple[Path, Measured, list[Refused]]]:
    """Make each block of ``raw`` in ``folder``, or find it there already; yields its file and what it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for number, start in enumerate(range(0, len(raw), how.per_block)):
            rows = range(start, min(start + how.per_block, len(raw)))
            path = folder / f"block-{number:05d}.safetensors"
            if not _still_true(raw, rows, path, pool):
                _write_block(path, raw, rows, how, pool, progress)
            progress.update(rows.stop - progress.n)
            yield path, *read_block(path)


def read_block(path: Path) -> tuple[Measured, list[Refused]]:
    """What block ``path`` holds beside the pixels, and its refused pictures."""
    with safe_open(path, framework="numpy") as block:
        tensors = {field.name: block.get_tensor(field.name) for field in dataclasses.fields(Measured)}
        refused = [Refused(*each) for each in json.loads(block.metadata()["refused"])]
    return Measured(**tensors), refused


def _still_true(raw: RawSet, rows: range, path: Path, pool: ThreadPoolExecutor) -> bool:
    """Whether ``path`` is a block of these pictures as they are now."""
    if not path.is_file():
        return False
    with safe_open(path, framework="numpy") as block:
        made_of = block.metadata()["sources"]
    whole = hashlib.sha256()
    for row, source in zip(rows, pool.map(lambda row: _fetch(raw, row)[0], rows), strict=True):
        whole.update(_entry(raw, row, source))
    return made_of == whole.hexdigest()


def _entry(raw: RawSet, row: int, source: bytes) -> bytes:
    """What a picture adds to the digest of its block: a name may have another picture now."""
    return raw.ids[row].encode() + b"\0" + source


def _fetch(raw: RawSet, row: int) -> tuple[bytes, bytes, PictureError | None]:
    """(digest, encoded picture, what hindered reading it)"""
    try:
        encoded = raw.read(raw.ids[row])
    except DataError as error:
        kind = error.kind if isinstance(error, PictureError) else "unreadable"
        return hashlib.sha256(str(error).encode()).digest(), b"", PictureError(kind, str(error))
    return hashlib.sha256(encoded).digest(), encoded, None


def _write_block(path: Path, raw: RawSet, rows: range, how: How, pool: ThreadPoolExecutor, progress: tqdm) -> None:
    faces = np.empty((len(rows), how.size, how.size, 3), dtype=np.uint8)
    measured, refused, kept = [], [], 0
    whole = hashlib.sha256()
    made = pool.map(lambda row: _picture(raw, row, how), rows)
    while pictures := list(itertools.islice(made, _AT_ONCE)):
        for picture in pictures:
            whole.update(_entry(raw, picture.row, picture.source))
        usable = [picture for picture in pictures if picture.pixels is not None]
        for place, picture in enumerate(usable, start=kept):
            faces[place] = picture.pixels
        if usable:
            measured.append(_measure(usable, faces[kept : kept + len(usable)]))
        kept += len(usable)
        refused += [picture.refused for picture in pictures if picture.refused is not None]
        progress.update(len(pictures))
    tensors = dataclasses.asdict(Measured.joined(measured)) if measured else _nothing()
    notes = {"sources": whole.hexdigest(), "refused": json.dumps(refused)}
    with whole_file(path) as scratch:
        save_file(tensors | {"faces": faces[:kept]}, scratch, metadata=notes)


def _picture(raw: RawSet, row: int, how: How) -> _Picture:
    """Runs in a thread: decoding, resizing and hashing release the interpreter lock."""
    source, encoded, error = _fetch(raw, row)
    if error is None:
        marks = None if raw.landmarks is None else raw.landmarks[row]
        try:
            face = read_face(encoded, how.size, how.crop, marks, how.min_side)
            return _Picture(row, source, face.pixels, face.width, face.height, None)
        except PictureError as refusal:
            error = refusal
    return _Picture(row, source, None, 0, 0, Refused(row, error.kind, str(error)))


def _measure(usable: list[_Picture], faces: np.ndarray) -> Measured:
    """Always over the same pictures together, so that no figure depends on the number of threads."""
    return Measured(
        rows=np.array([picture.row for picture in usable], np.int64),
        sources=np.stack([np.frombuffer(picture.source, np.uint8) for picture in usable]),
        sides=np.array([(picture.width, picture.height) for picture in usable], np.int32),
        quality=qualities(faces),
        hashes=perceptual_hashes(faces).view(np.int64),
        thumbnails=thumbnails(faces),
    )


def _nothing() -> dict[str, np.ndarray]:
    empty = {"rows": ((0,), np.int64), "sources": ((0, 32), np.uint8), "sides": ((0, 2), np.int32)}
    empty |= {"quality": ((0, 3), np.float32), "hashes": ((0,), np.int64), "thumbnails": ((0, 16, 16), np.uint8)}
    return {name: np.empty(shape, kind) for name, (shape, kind) in empty.items()}
