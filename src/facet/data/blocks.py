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
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
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
from facet.errors import DataError, FacetError, PictureError
from facet.lifeline import die_with_parent

# Big enough that a whole CelebA at 64 px is 19 files, small enough that a block fits anywhere in memory.
BLOCK_BYTES = 128 * 2**20
# What a worker takes at a time: pictures, and encoded bytes, after which no more are added.
_AT_ONCE, _BYTES_AT_ONCE = 64, 16 * 2**20
# From here on, processes are started sooner than threads have waited as long for one another's interpreter lock.
_PROCESSES_FROM = 16_384


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

    @property
    def at_once(self) -> int:
        """Pictures that a worker takes at a time; a block has enough of these for many cores."""
        return max(1, min(_AT_ONCE, self.per_block // 32))


class _Encoded(NamedTuple):
    """One picture as it lies there: its digest and bytes, or why it could not be read."""

    row: int
    source: bytes
    encoded: bytes
    refused: Refused | None


class _Some(NamedTuple):
    """What became of some pictures: ``count`` of them, the faces of the usable ones and what is measured of those, if
    there are any, and the others."""

    count: int
    faces: np.ndarray
    measured: Measured | None
    refused: list[Refused]


def write_blocks(raw: RawSet, how: How, folder: Path, progress: tqdm) -> Iterator[tuple[Path, Measured, list[Refused]]]:
    """Make each block of ``raw`` in ``folder``, or find it there already; yields its file and what it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    with _workers(len(raw)) as pool:
        for number, start in enumerate(range(0, len(raw), how.per_block)):
            rows = range(start, min(start + how.per_block, len(raw)))
            path = folder / f"block-{number:05d}.safetensors"
            if not _still_true(raw, rows, path):
                _write_block(path, raw, rows, how, pool, progress)
            progress.update(rows.stop - progress.n)
            yield path, *read_block(path)


def _workers(count: int) -> Executor:
    """One worker a core: threads, or for many pictures processes, which take seconds to start."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or count < _PROCESSES_FROM:
        return ThreadPoolExecutor(cores)
    # Spawned, not forked: this process may hold threads, of torch for one.
    return ProcessPoolExecutor(cores, mp_context=get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    die_with_parent()
    # Ctrl-C reaches every process of the terminal; the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # There is a worker for each core already; torch is imported with the first picture, and asks then.
    os.environ["OMP_NUM_THREADS"] = "1"


def read_block(path: Path) -> tuple[Measured, list[Refused]]:
    """What block ``path`` holds beside the pixels, and its refused pictures."""
    with safe_open(path, framework="numpy") as block:
        tensors = {field.name: block.get_tensor(field.name) for field in dataclasses.fields(Measured)}
        refused = [Refused(*each) for each in json.loads(block.metadata()["refused"])]
    return Measured(**tensors), refused


def _still_true(raw: RawSet, rows: range, path: Path) -> bool:
    """Whether ``path`` is a block of these pictures as they are now."""
    if not path.is_file():
        return False
    with safe_open(path, framework="numpy") as block:
        made_of = block.metadata()["sources"]
    whole = hashlib.sha256()
    for row in rows:
        whole.update(_entry(raw, _fetch(raw, row)))
    return made_of == whole.hexdigest()


def _entry(raw: RawSet, picture: _Encoded) -> bytes:
    """What a picture adds to the digest of its block: a name may have another picture now."""
    return raw.ids[picture.row].encode() + b"\0" + picture.source


def _fetch(raw: RawSet, row: int) -> _Encoded:
    try:
        encoded = raw.read(raw.ids[row])
    except DataError as error:
        kind = error.kind if isinstance(error, PictureError) else "unreadable"
        return _Encoded(row, hashlib.sha256(str(error).encode()).digest(), b"", Refused(row, kind, str(error)))
    return _Encoded(row, hashlib.sha256(encoded).digest(), encoded, None)


def _write_block(path: Path, raw: RawSet, rows: range, how: How, pool: Executor, progress: tqdm) -> None:
    faces = np.empty((len(rows), how.size, how.size, 3), dtype=np.uint8)
    measured, refused, kept = [], [], 0
    whole = hashlib.sha256()
    for some in _in_order(pool, _tasks(raw, rows, how, whole)):
        faces[kept : kept + len(some.faces)] = some.faces
        kept += len(some.faces)
        measured += [] if some.measured is None else [some.measured]
        refused += some.refused
        progress.update(some.count)
    tensors = dataclasses.asdict(Measured.joined(measured)) if measured else _nothing()
    notes = {"sources": whole.hexdigest(), "refused": json.dumps(refused)}
    with whole_file(path) as scratch:
        save_file(tensors | {"faces": faces[:kept]}, scratch, metadata=notes)


_Task = tuple[How, list[_Encoded], np.ndarray | None]


def _tasks(raw: RawSet, rows: range, how: How, whole: hashlib._Hash) -> Iterator[_Task]:
    """Pictures some at a time, with their landmarks; ``whole`` takes their digests."""
    some: list[_Encoded] = []
    size = 0
    for row in rows:
        picture = _fetch(raw, row)
        whole.update(_entry(raw, picture))
        some.append(picture)
        size += len(picture.encoded)
        if len(some) == how.at_once or size > _BYTES_AT_ONCE or row == rows[-1]:
            marks = None if raw.landmarks is None else raw.landmarks[[one.row for one in some]]
            yield how, some, marks
            some, size = [], 0


def _in_order(pool: Executor, tasks: Iterator[_Task]) -> Iterator[_Some]:
    """The results of all tasks, few of which are under way at once: encoded pictures may be large."""
    waiting: deque[Future[_Some]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(_some, *task))
            if len(waiting) > 2 * len(os.sched_getaffinity(0)):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        _stop_writing(pool)
        raise FacetError(
            "a process that decodes pictures was killed, perhaps for want of memory: run the same command again, it "
            "goes on"
        ) from error


def _stop_writing(pool: Executor) -> None:
    """Let a broken pool of processes end. Python before 3.11.5 waits for ever until somebody takes the pictures that it
    was writing to them (its issue 94777); later ones close the pipe as well."""
    if sys.version_info < (3, 11, 5) and isinstance(pool, ProcessPoolExecutor):
        pool._call_queue._reader.close()


def _some(how: How, pictures: list[_Encoded], landmarks: np.ndarray | None) -> _Some:
    """Runs in a worker. Measured over the same pictures together, whichever worker it is."""
    usable, faces, sides, refused = [], [], [], []
    for at, picture in enumerate(pictures):
        try:
            if picture.refused is not None:
                refused.append(picture.refused)
                continue
            marks = None if landmarks is None else landmarks[at]
            face = read_face(picture.encoded, how.size, how.crop, marks, how.min_side)
        except PictureError as refusal:
            refused.append(Refused(picture.row, refusal.kind, str(refusal)))
        else:
            usable.append(picture)
            faces.append(face.pixels)
            sides.append((face.width, face.height))
    if not usable:
        return _Some(len(pictures), np.empty((0, how.size, how.size, 3), np.uint8), None, refused)
    pixels = np.stack(faces)
    measured = Measured(
        rows=np.array([picture.row for picture in usable], np.int64),
        sources=np.stack([np.frombuffer(picture.source, np.uint8) for picture in usable]),
        sides=np.array(sides, np.int32),
        quality=qualities(pixels),
        hashes=perceptual_hashes(pixels).view(np.int64),
        thumbnails=thumbnails(pixels),
    )
    return _Some(len(pictures), pixels, measured, refused)


def _nothing() -> dict[str, np.ndarray]:
    empty = {"rows": ((0,), np.int64), "sources": ((0, 32), np.uint8), "sides": ((0, 2), np.int32)}
    empty |= {"quality": ((0, 3), np.float32), "hashes": ((0,), np.int64), "thumbnails": ((0, 16, 16), np.uint8)}
    return {name: np.empty(shape, kind) for name, (shape, kind) in empty.items()}
