"""MNIST and its kin: four idx files, packed with gzip or not; each digit is an attribute."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from facet.data.attributes import ABSENT, PRESENT
from facet.data.files import TABLE_BYTES, Files
from facet.data.layouts import parquet
from facet.data.raw import SPLITS, RawSet
from facet.errors import DataError

MARK = "train-images-idx3-ubyte, packed with gzip or not"
# The names that the files begin with, and the split each means.
_PARTS = {"train": SPLITS.index("train"), "t10k": SPLITS.index("test")}
_LARGEST_SIDE = 4096


class _Part(NamedTuple):
    name: str
    pictures: np.ndarray  # uint8 [n, height, width]
    labels: np.ndarray  # uint8 [n]


def fits(files: Files) -> bool:
    return _find(files, "train", "images") is not None


def read(files: Files) -> RawSet:
    """Pictures as PNG, labels as one attribute a class; Hugging Face's parquet of the same goes to that reader.

    Raises DataError for files that are missing, of another kind, cut off, or that disagree.
    """
    if not fits(files) and parquet.fits(files):
        return parquet.read(files)
    parts = [_read_part(files, name) for name in _PARTS if _find(files, name, "images") or name == "train"]
    classes = np.unique(np.concatenate([part.labels for part in parts]))
    labels = np.concatenate([part.labels for part in parts])
    pictures = {part.name: part.pictures for part in parts}

    def read_picture(picture: str) -> bytes:
        name, _, row = picture.partition("/")
        encoded = io.BytesIO()
        Image.fromarray(pictures[name][int(row)]).save(encoded, "PNG")
        return encoded.getvalue()

    return RawSet(
        tuple(f"{part.name}/{row:06d}" for part in parts for row in range(len(part.labels))),
        tuple(str(label) for label in classes),
        np.where(labels[:, None] == classes, PRESENT, ABSENT).astype(np.int8),
        np.concatenate([np.full(len(part.labels), _PARTS[part.name], np.int64) for part in parts]),
        np.full(len(labels), -1, np.int64),
        read_picture,
    )


def _find(files: Files, part: str, kind: str) -> str | None:
    stem, digit = f"{part}-{kind}", 3 if kind == "images" else 1
    wanted = [f"{stem}{dash}idx{digit}-ubyte{packed}" for packed in ("", ".gz") for dash in "-."]
    return next((name for want in wanted for name in files if name.rpartition("/")[2] == want), None)


def _read_part(files: Files, name: str) -> _Part:
    arrays = []
    for kind, dimensions in (("images", 3), ("labels", 1)):
        file = _find(files, name, kind)
        if file is None:
            raise DataError(f"{files.root} lacks {name}-{kind}-idx{dimensions}-ubyte: put all files of the set there.")
        arrays.append(_read_idx(files, file, dimensions))
    pictures, labels = arrays
    if not len(pictures) == len(labels) > 0:
        raise DataError(
            f"{files.root}: {name} has {len(pictures)} pictures and {len(labels)} labels: fetch both again."
        )
    return _Part(name, pictures, labels)


def _read_idx(files: Files, name: str, dimensions: int) -> np.ndarray:
    """uint8 of ``dimensions`` axes; its header is the type, 8 for bytes, the number of axes, and their sizes."""
    where = files.where(name)
    content = files.read(name, TABLE_BYTES)
    if name.endswith(".gz"):
        content = _unpack(where, content)
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{where} is no idx file of bytes with {dimensions} axes: fetch it again.")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    size = len(content) - head
    if np.prod([int(side) for side in shape], dtype=object) != size or any(
        not 0 < side <= _LARGEST_SIDE for side in shape[1:]
    ):
        axes = " x ".join(map(str, shape))
        raise DataError(f"{where} announces {axes} bytes and holds {size}: fetch it again.")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _unpack(where: str, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            unpacked = stream.read(TABLE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where} is not gzip or is cut off ({error}): fetch it again.") from None
    if len(unpacked) > TABLE_BYTES:
        raise DataError(f"{where} unpacks to over {TABLE_BYTES:,} bytes: fetch it again.")
    return unpacked
