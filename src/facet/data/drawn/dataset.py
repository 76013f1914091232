"""A whole set of drawn faces on disk, in CelebA's own layout.

The pictures are drawn by a pool of processes and written by one, in order; neither their number nor the set's size
changes a picture. Every file is complete or absent: it is written under a temporary name and then renamed.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.drawn.person import Person, sample_person
from facet.data.drawn.portrait import draw_face
from facet.errors import ParamsError

ARCHIVE = "img_align_celeba.zip"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
LANDMARKS = "list_landmarks_align_celeba.txt"
IDENTITY = "identity_CelebA.txt"

MAX_FACES = 999_999  # six digits name a picture
# Keeps 4,000 faces below 16 MB; at less than half the size, which is what models train on, nothing of it is seen.
DEFAULT_QUALITY = 60
_CHUNK = 64
# Below this, starting processes takes longer than drawing.
_POOL_FROM = 256
_LANDMARK_NAMES = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")


def write_drawn_set(
    out: Path,
    n: int,
    seed: int = 0,
    quality: int = DEFAULT_QUALITY,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> None:
    """Write ``n`` drawn faces to the folder ``out`` as CelebA's five files.

    ``quality`` is that of the JPEG files. ``progress`` is called with the number of pictures finished so far.
    ``workers`` is the number of processes: by default one per core for a large set, and none for a small one.
    """
    _check("n", n, 1, MAX_FACES)
    _check("quality", quality, 1, 95)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    people = [sample_person(seed, index) for index in range(n)]
    _write_whole(out / ATTRIBUTES, lambda path: path.write_text(_attribute_table(people), newline="\n"))
    _write_whole(out / PARTITION, lambda path: path.write_text(_partition_table(people), newline="\n"))
    _write_whole(out / LANDMARKS, lambda path: path.write_text(_landmark_table(people), newline="\n"))
    _write_whole(out / IDENTITY, lambda path: path.write_text(_identity_table(people), newline="\n"))
    count = (workers or os.cpu_count() or 1) if n >= _POOL_FROM else 1
    _write_whole(out / ARCHIVE, lambda path: _write_archive(path, _jpegs(n, seed, quality, count), progress))


def file_name(index: int) -> str:
    """The name of picture ``index`` (from 0 on): ``000001.jpg`` for the first."""
    return f"{index + 1:06d}.jpg"


def encode_face(person: Person, quality: int = DEFAULT_QUALITY) -> bytes:
    """The portrait of ``person`` as a JPEG file."""
    buffer = io.BytesIO()
    draw_face(person).save(buffer, "JPEG", quality=quality, optimize=True, subsampling="4:2:0")
    return buffer.getvalue()


def _check(name: str, value: int, low: int, high: int) -> None:
    """Refuse a number that is no whole number between ``low`` and ``high``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParamsError(
            f"{name} of the drawn faces is {value!r}, but must be a whole number from {low} to {high}; choose another."
        )


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a temporary file beside ``path``, then give it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _encode_chunk(task: tuple[int, int, int, int]) -> list[bytes]:
    """The JPEG files of pictures ``first`` up to ``last``; runs in a worker."""
    seed, first, last, quality = task
    return [encode_face(sample_person(seed, index), quality) for index in range(first, last)]


def _jpegs(n: int, seed: int, quality: int, workers: int) -> Iterator[bytes]:
    """The JPEG files of the whole set, in order."""
    tasks = [(seed, first, min(first + _CHUNK, n), quality) for first in range(0, n, _CHUNK)]
    if workers <= 1:
        for task in tasks:
            yield from _encode_chunk(task)
        return
    # Spawned, not forked: the caller may hold threads, of torch for one.
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn")) as pool:
        for chunk in pool.map(_encode_chunk, tasks):
            yield from chunk


def _write_archive(path: Path, jpegs: Iterator[bytes], progress: Callable[[int], None] | None) -> None:
    """A ZIP archive whose bytes follow from its members alone: stored, with one fixed time and mode for all."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, jpeg in enumerate(jpegs):
            member = zipfile.ZipInfo(f"img_align_celeba/{file_name(index)}", date_time=(1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o100644 << 16
            member.create_system = 3
            archive.writestr(member, jpeg)
            if progress is not None:
                progress(index + 1)


def _attribute_table(people: list[Person]) -> str:
    """CelebA's ``list_attr_celeba.txt``: the count, the names, then a row of 1 and -1 for each picture."""
    rows = [str(len(people)), " ".join(CELEBA_ATTRIBUTES) + " "]
    for person in people:
        values = " ".join(f"{1 if person.attributes[name] else -1:2d}" for name in CELEBA_ATTRIBUTES)
        rows.append(f"{file_name(person.index)} {values}")
    return "\n".join(rows) + "\n"


def _partition_table(people: list[Person]) -> str:
    """CelebA's ``list_eval_partition.txt``."""
    return "".join(f"{file_name(person.index)} {person.partition}\n" for person in people)


def _identity_table(people: list[Person]) -> str:
    """CelebA's ``identity_CelebA.txt``."""
    return "".join(f"{file_name(person.index)} {person.identity}\n" for person in people)


def _landmark_table(people: list[Person]) -> str:
    """CelebA's ``list_landmarks_align_celeba.txt``: the count, the names, then five points for each picture."""
    header = " ".join(f"{name}_{axis}" for name in _LANDMARK_NAMES for axis in "xy")
    rows = [str(len(people)), header]
    for person in people:
        marks = person.landmarks
        values = "  ".join(f"{marks[name][0]:3d}  {marks[name][1]:3d}" for name in _LANDMARK_NAMES)
        rows.append(f"{file_name(person.index)} {values}")
    return "\n".join(rows) + "\n"
