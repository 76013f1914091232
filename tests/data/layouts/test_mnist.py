"""idx files: digits become attributes, and no header is believed that the file doesn't bear out."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image

from facet.data.layouts import read_raw
from facet.errors import DataError
from tests import raw_sets

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def test_digits_splits_and_pixels(tmp_path):
    raw_sets.mnist(tmp_path)
    raw = read_raw(tmp_path)
    assert raw.ids == (*(f"train/{k:06d}" for k in range(5)), *(f"t10k/{k:06d}" for k in range(3)))
    assert raw.names == ("0", "1", "2")
    assert raw.attributes.argmax(axis=1).tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert (raw.attributes.sum(axis=1) == -1).all()
    assert raw.splits.tolist() == [0] * 5 + [2] * 3
    assert (raw.identities == -1).all()
    pixels = np.asarray(Image.open(io.BytesIO(raw.read("train/000001"))))
    assert np.array_equal(pixels.ravel(), np.arange(784, 1568).astype(np.uint8))


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("dash", ["-", "."])
def test_packed_or_not_and_with_either_mark_in_the_name(pack, dash, tmp_path):
    raw_sets.mnist(tmp_path / "plain")
    expected = read_raw(tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        name = path.name.removesuffix(".gz").replace("-idx", f"{dash}idx") + ".gz" * pack
        raw_sets.write(tmp_path / "raw/MNIST" / name, gzip.compress(content) if pack else content)
    raw = read_raw(tmp_path / "raw")
    assert np.array_equal(raw.attributes, expected.attributes)
    assert [raw.read(name) for name in raw.ids] == [expected.read(name) for name in expected.ids]


def test_the_training_part_alone_will_do(tmp_path):
    raw_sets.mnist(tmp_path)
    (tmp_path / IMAGES).unlink()
    assert len(read_raw(tmp_path)) == 5


def test_hugging_faces_parquet_of_it_goes_to_that_reader(tmp_path):
    raw_sets.class_label(tmp_path)
    assert read_raw(tmp_path, "mnist").names == ("one", "two", "zero")


def header(*shape: int, magic: int = 0x803) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic, *shape)


LIES = {
    "a picture more": (IMAGES, header(4, 28, 28) + bytes(3 * 784), r"announces 4 x 28 x 28 bytes and holds 2352"),
    "a picture less": (IMAGES, header(2, 28, 28) + bytes(3 * 784), r"announces 2 x 28 x 28 bytes and holds more"),
    "4 billion": (IMAGES, header(2**32 - 1, 28, 28) + bytes(784), r"announces 4294967295 x 28 x 28 bytes, more than"),
    "a product of zero": (IMAGES, header(2**32 - 1, 0, 28), "announces 4294967295 x 0 x 28 bytes"),
    "a product that wraps": (IMAGES, header(2**16, 2**16, 2**16) + bytes(9), "announces 65536 x 65536 x 65536 bytes"),
    "too wide": (IMAGES, header(1, 1, 5000) + bytes(5000), "announces 1 x 1 x 5000 bytes"),
    "floats": (IMAGES, header(3, 28, 28, magic=0xD03) + bytes(3 * 784), "is no idx file of bytes with 3 axes"),
    "labels as pictures": (IMAGES, header(3, magic=0x801) + bytes(3000), "is no idx file of bytes with 3 axes"),
    "no header": (IMAGES, b"\0\0\x08", "is no idx file of bytes"),
    "a web page": (IMAGES, b"<!DOCTYPE html>" * 9, "is no idx file of bytes"),
    "fewer labels": (LABELS, header(2, magic=0x801) + bytes(2), "t10k has 3 pictures and 2 labels: fetch both again"),
    "no pictures": (IMAGES, header(0, 28, 28), "t10k has 0 pictures and 3 labels"),
    "no labels": (LABELS, None, "lacks t10k-labels-idx1-ubyte"),
}


@pytest.mark.parametrize("how", list(LIES))
def test_a_lying_file_is_one_sentence(how, tmp_path):
    name, content, says = LIES[how]
    raw_sets.mnist(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        raw_sets.write(tmp_path / name, content)
    with pytest.raises(DataError, match=says):
        read_raw(tmp_path)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:40] + b"\xff" * 40 + b[80:], lambda b: b"no gzip"])
def test_damaged_gzip_is_one_sentence(damage, tmp_path):
    raw_sets.mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is not gzip or is cut off"):
        read_raw(tmp_path)


def test_gigabytes_behind_a_small_header_stay_packed(tmp_path):
    """200 MiB of zeros after the bytes of five pictures: one byte of them is unpacked, and tells."""
    raw_sets.mnist(tmp_path)
    packed = gzip.compress(header(5, 28, 28) + bytes(200 * 2**20), 1)
    raw_sets.write(tmp_path / "train-images-idx3-ubyte.gz", packed)
    with pytest.raises(DataError, match="announces 5 x 28 x 28 bytes and holds more"):
        read_raw(tmp_path)
