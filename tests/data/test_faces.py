"""Decoding: the crop is where papers put it, the fast path is as good as the slow one, rubbish is a sentence."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from facet.data.faces import crop_box, decode_face, quality, read_face
from facet.errors import DataError, PictureError
from tests.raw_sets import encoded


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
        ((200, 200), "none", (0, 0, 200, 200)),
    ],
)
def test_the_crop_is_centred(size, rule, box):
    assert crop_box(*size, rule) == box


def test_an_aligned_crop_of_another_size_says_what_to_set():
    with pytest.raises(DataError, match=r"300x200, crop 'celeba-148' needs 178x218: set prepare\.crop to `square`"):
        crop_box(300, 200, "celeba-148")


@pytest.mark.parametrize("rule", ["none", "landmarks"])
def test_a_crop_that_would_squash_or_has_nothing_to_go_by_says_what_to_set(rule, photograph):
    for read in (lambda: crop_box(178, 218, rule), lambda: decode_face(encoded(photograph), 64, rule)):
        with pytest.raises(PictureError, match=r"set prepare\.crop to `square`") as caught:
            read()
        assert caught.value.kind == "crop"


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("rule", ["celeba-148", "celeba-140", "square"])
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


def large(name_seed: int, width: int = 1024, height: int = 1024) -> Image.Image:
    """Smooth, with fine texture on top, as a photograph has."""
    rng = np.random.default_rng(name_seed)
    coarse, fine = (rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (12, 512))
    both = [Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC) for each in (coarse, fine)]
    return Image.blend(*both, 0.3)


@pytest.mark.parametrize("quality", [60, 92])
@pytest.mark.parametrize("shape", [(1024, 1024), (1000, 1333), (1201, 1031), (2101, 2999)])
def test_a_large_jpeg_is_as_good_whether_or_not_its_crop_falls_between_reduced_pixels(shape, quality):
    data = encoded(large(1, *shape), quality=quality)
    for size in (64, 256):
        assert psnr(decode_face(data, size, "square"), reference(data, size, "square")) >= 40


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_resizing_is_pillows_to_a_grey_level(kind):
    for width, height in ((148, 148), (1000, 701), (40, 30)):
        picture = large(2, width, height)
        ours = decode_face(encoded(picture, kind), 64, "square").astype(int)
        plain = picture.crop(crop_box(width, height, "square")).resize((64, 64), Image.Resampling.BICUBIC)
        assert np.abs(ours - np.asarray(plain)).max() <= 1


def test_a_picture_of_the_size_that_is_asked_for_keeps_its_pixels(photograph):
    face = read_face(encoded(photograph.resize((64, 64)), "PNG"), 64, "none")
    assert np.array_equal(face.pixels, np.asarray(photograph.resize((64, 64))))
    assert (face.width, face.height) == (64, 64)


def test_threads_change_nothing(raw):
    data = [raw.read(name) for name in raw.ids[:24]]
    alone = [decode_face(each, 64, "celeba-148") for each in data]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: decode_face(each, 64, "celeba-148"), data))
    assert np.array_equal(alone, together)


def test_a_face_that_is_too_small_is_one_sentence(photograph):
    data = encoded(photograph)
    assert read_face(data, 64, "celeba-148", min_side=148).pixels.shape == (64, 64, 3)
    with pytest.raises(PictureError, match="the face is 148 pixels wide, expected at least 149") as caught:
        read_face(data, 64, "celeba-148", min_side=149)
    assert caught.value.kind == "too small"


def test_quality_figures_tell_dark_flat_and_blurred_apart(photograph):
    face = np.asarray(photograph.resize((64, 64)))
    light, contrast, sharp = quality(face)
    assert quality(face // 4)[0] < light / 3
    assert quality(np.full_like(face, 90)) == (pytest.approx(90), 0, 0)
    blurred = np.asarray(photograph.resize((8, 8)).resize((64, 64), Image.Resampling.BICUBIC))
    assert quality(blurred)[2] < sharp
    assert contrast > 10
