"""Decoding: the crop is where papers put it, the fast path is as good as the slow one, rubbish is a sentence."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from facet.data.faces import crop_box, decode_face, quality
from facet.errors import DataError


def encoded(picture: Image.Image, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """Smooth noise at CelebA's size: nothing in it is symmetric."""
    small = np.random.default_rng(0).integers(0, 256, (28, 23, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)


def reference(data: bytes, size: int, rule: str) -> np.ndarray:
    """The plain way: Pillow decodes all of it, crops, resizes."""
    with Image.open(io.BytesIO(data)) as image:
        whole = image.convert("RGB")
    box = crop_box(*whole.size, rule)
    return np.asarray(whole.resize((size, size), Image.Resampling.BICUBIC, box=box))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-10)))


@pytest.mark.parametrize(
    ("size", "rule", "box"),
    [
        ((178, 218), "celeba-148", (15, 35, 163, 183)),
        ((178, 218), "celeba-140", (19, 39, 159, 179)),
        ((178, 218), "square", (0, 20, 178, 198)),
        ((300, 200), "square", (50, 0, 250, 200)),
        ((300, 200), "none", (0, 0, 300, 200)),
    ],
)
def test_the_crop_is_centred(size, rule, box):
    assert crop_box(*size, rule) == box


def test_an_aligned_crop_of_another_size_says_what_to_set():
    with pytest.raises(DataError, match=r"300x200, crop 'celeba-148' needs 178x218: set prepare\.crop to `square`"):
        crop_box(300, 200, "celeba-148")


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("rule", ["celeba-148", "celeba-140", "square", "none"])
def test_decoding_at_a_reduced_scale_is_as_good_as_decoding_all(size, rule, raw):
    worst = min(
        psnr(decode_face(raw.read(name), size, rule), reference(raw.read(name), size, rule)) for name in raw.ids[:24]
    )
    assert worst >= 40


def test_an_off_by_one_crop_would_fail_the_bound_above(raw):
    data = raw.read(raw.ids[0])
    with Image.open(io.BytesIO(data)) as image:
        shifted = image.resize((64, 64), Image.Resampling.BICUBIC, box=(16, 35, 164, 183))
    assert psnr(np.asarray(shifted), reference(data, 64, "celeba-148")) < 40


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF"])
def test_other_formats_are_read_as_pillow_reads_them(kind, photograph):
    data = encoded(photograph, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode_face(data, 64, "celeba-148"), reference(data, 64, "celeba-148"))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_in_another_colour_space_is_a_colour_picture(mode, photograph):
    data = encoded(photograph.convert(mode), quality=95)
    face = decode_face(data, 64, "celeba-148")
    assert face.shape == (64, 64, 3)
    assert face.dtype == np.uint8
    assert psnr(face, reference(data, 64, "celeba-148")) >= 40


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_a_png_of_any_mode_is_a_colour_picture(mode, photograph):
    picture = photograph.convert("L").convert("I;16") if mode == "I;16" else photograph.convert(mode)
    face = decode_face(encoded(picture, "PNG"), 64, "square")
    assert (face.shape, face.dtype) == ((64, 64, 3), np.uint8)


def test_an_opaque_alpha_channel_changes_nothing(photograph):
    plain, opaque = (encoded(photograph.convert(mode), "PNG") for mode in ("RGB", "RGBA"))
    assert np.array_equal(decode_face(plain, 64, "none"), decode_face(opaque, 64, "none"))


@pytest.mark.parametrize("keep", [2, 20, 600, 0.5, 0.9])
def test_a_truncated_jpeg_is_a_sentence(keep, photograph):
    data = encoded(photograph, quality=90)
    with pytest.raises(DataError, match="broken JPEG"):
        decode_face(data[: keep if keep > 1 else int(len(data) * keep)], 64, "celeba-148")


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"<html></html>", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xe0" * 20]
)
def test_what_is_no_picture_is_a_sentence(data):
    with pytest.raises(DataError, match=r"broken JPEG|not a readable picture"):
        decode_face(data, 64, "square")


def test_a_truncated_png_is_a_sentence(photograph):
    data = encoded(photograph, "PNG")
    with pytest.raises(DataError, match="not a readable picture"):
        decode_face(data[: len(data) // 2], 64, "celeba-148")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is enormous."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [7_200, 30_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side):
    """7,200 squared is beyond the bound, and below twice the bound, where Pillow alone would only warn."""
    with pytest.raises(DataError, match="more pixels than a photograph has"):
        decode_face(bomb(side, side), 64, "square")


def test_a_jpeg_bomb_is_refused_as_well(photograph):
    data = bytearray(encoded(photograph))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(DataError, match="more pixels than a photograph has"):
        decode_face(bytes(data), 64, "square")


def test_quality_figures_tell_dark_flat_and_blurred_apart(photograph):
    face = np.asarray(photograph.resize((64, 64)))
    light, contrast, sharp = quality(face)
    assert quality(face // 4)[0] < light / 3
    assert quality(np.full_like(face, 90)) == (pytest.approx(90), 0, 0)
    blurred = np.asarray(photograph.resize((8, 8)).resize((64, 64), Image.Resampling.BICUBIC))
    assert quality(blurred)[2] < sharp
    assert contrast > 10
