"""Whatever a photo's file holds, the model sees what a person would see of it, or one sentence says why not."""

import io

import numpy as np
import pytest
from PIL import Image

from facet.data.faces import decode_face
from facet.diffusion.photo_files import open_mask, open_photo
from facet.errors import DataError, ParamsError

SIZE = 32


def picture(width: int = 48, height: int = 48) -> Image.Image:
    """Red grows to the right, green downwards; the upper left corner is blue."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), np.zeros_like(x)], axis=-1)
    pixels[: height // 4, : width // 4] = (0, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def apart(face: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(face.astype(float) - other).mean())


def seen(image: Image.Image) -> np.ndarray:
    return open_photo(encoded(image), SIZE).face


def test_a_plain_photo_is_what_the_chain_makes_of_it():
    for kind in ("PNG", "JPEG"):
        data = encoded(picture(178, 218), kind)
        assert np.array_equal(open_photo(data, SIZE, "celeba-148").face, decode_face(data, SIZE, "celeba-148"))


def test_a_photo_of_the_models_size_comes_byte_for_byte_and_others_say_what_was_done(tmp_path):
    photo = open_photo(encoded(picture(SIZE, SIZE)), SIZE)
    assert np.array_equal(photo.face, np.asarray(picture(SIZE, SIZE)))
    assert photo.changed == ""
    (tmp_path / "wide.png").write_bytes(encoded(picture(100, 60)))
    wide = open_photo(tmp_path / "wide.png", SIZE)
    assert wide.changed == "the photo is 100x60: cropped to 60x60 at (20, 0) and resized to 32x32"
    assert open_photo(encoded(picture(64, 64)), SIZE).changed == "the photo is 64x64: resized to 32x32"
    assert open_photo(encoded(picture(5, 9)), SIZE).face.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_photo_is_turned_back(orientation, stored, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(64, 48).transpose(stored), kind, exif=exif)
    photo = open_photo(data, SIZE)
    assert photo.original == (64, 48)
    assert apart(photo.face, seen(picture(64, 48))) < 6  # JPEG


def test_what_is_transparent_is_white():
    alpha = picture().convert("RGBA")
    alpha.putalpha(Image.fromarray(np.where(np.arange(48) < 24, 0, 255).astype(np.uint8)[None].repeat(48, 0)))
    face = seen(alpha)
    assert (face[:, :15] == 255).all()
    assert apart(face[:, 17:], seen(picture())[:, 17:]) < 1
    grey = Image.merge("LA", (Image.new("L", (48, 48), 30), Image.new("L", (48, 48), 0)))
    assert (seen(grey) == 255).all()
    palette = Image.new("P", (48, 48), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    assert (seen(palette) == (200, 10, 10)).all()
    assert (open_photo(encoded(palette, transparency=1), SIZE).face == 255).all()


def test_cmyk_and_grey_look_as_they_should():
    assert apart(open_photo(encoded(picture().convert("CMYK"), "JPEG", quality=95), SIZE).face, seen(picture())) < 6
    ramp = np.linspace(0, 65535, 48).astype(np.uint16)[None].repeat(48, 0)
    eight = seen(Image.fromarray((ramp // 257).astype(np.uint8)))
    assert apart(seen(Image.fromarray(ramp)), eight) < 1
    dark = Image.fromarray(np.full((48, 48), 200, np.uint16))
    assert (seen(dark) <= 1).all(), "a dark 16-bit picture is dark, not of 8 bits"
    assert set(np.unique(seen(Image.new("1", (48, 48), 1)))) == {255}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty: give a PNG"),
        (b"hello", "not a picture, or a damaged one"),
        (encoded(picture())[:60], "not a picture, or a damaged one"),
        (encoded(picture(200, 200), "JPEG")[:900], "not a picture, or a damaged one"),
        (encoded(Image.new("1", (8000, 7000))), "more than 50,000,000 pixels"),
    ],
)
def test_what_is_no_photo_is_one_sentence(data, says, tmp_path):
    (tmp_path / "photo.png").write_bytes(data)
    with pytest.raises(DataError, match=says) as caught:
        open_photo(tmp_path / "photo.png", SIZE)
    assert str(tmp_path / "photo.png") in str(caught.value)
    assert "0x" not in str(caught.value)


def test_no_file_a_folder_and_a_crop_that_does_not_fit(tmp_path):
    with pytest.raises(DataError, match=r"gone.png can't be read \(No such file or directory\): give"):
        open_photo(tmp_path / "gone.png", SIZE)
    with pytest.raises(DataError, match="is a folder"):
        open_photo(tmp_path, SIZE)
    with pytest.raises(DataError, match="48x48, crop 'celeba-148' needs 178x218"):
        open_photo(encoded(picture()), SIZE, "celeba-148")


def half(width: int, height: int) -> np.ndarray:
    """White on the right."""
    return np.where(np.arange(width) >= width // 2, 255, 0).astype(np.uint8)[None].repeat(height, 0)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "I;16", "LA", "RGBA"])
def test_a_mask_of_any_mode_is_cropped_with_its_photo(mode):
    photo = open_photo(encoded(picture(96, 64)), SIZE)
    grey = Image.fromarray(half(96, 64))
    if mode == "I;16":
        mask = Image.fromarray(half(96, 64).astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):  # white strokes on a transparent layer
        mask = Image.new(mode, (96, 64), (255,) * (len(mode) - 1) + (0,))
        mask.putalpha(grey)
    else:
        mask = grey.convert(mode)
    found = open_mask(encoded(mask), photo)
    assert found.dtype == bool
    assert np.array_equal(found, half(SIZE, SIZE) > 0)
    assert np.array_equal(open_mask(encoded(Image.fromarray(half(SIZE, SIZE))), photo), half(SIZE, SIZE) > 0)


def test_a_mask_of_another_size_or_with_colours_is_refused():
    photo = open_photo(encoded(picture(96, 64)), SIZE)
    with pytest.raises(DataError, match="is 50x40, but the photo is 96x64: give a mask of the photo's size, or of 32x"):
        open_mask(encoded(Image.fromarray(half(50, 40))), photo)
    with pytest.raises(DataError, match="has colours"):
        open_mask(encoded(picture(96, 64)), photo)
    with pytest.raises(ParamsError, match="all black"):
        open_mask(encoded(Image.new("L", (96, 64))), photo)
    with pytest.raises(DataError, match="is empty"):
        open_mask(b"", photo)
