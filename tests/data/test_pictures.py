"""Whatever a file holds, it comes as a person would see it, or as a PictureError of the right kind; nothing escapes."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from facet.data import pictures
from facet.data.faces import decode_face
from facet.data.pictures import BLACK, Picture
from facet.errors import PictureError
from tests.raw_sets import encoded

ORIENTATION = 0x0112


def shown(data: bytes, **options) -> np.ndarray:
    return Picture(data).decode(**options).pixels


def kind_of(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        Picture(data).decode()
    assert "0x" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.kind


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-10)))


# --- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF"])
def test_other_formats_are_read_as_pillow_reads_them(kind, photograph):
    data = encoded(photograph, kind, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(shown(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_turned_picture_is_turned_back_as_pillow_does(kind, orientation, photograph):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(photograph, kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    found = Picture(data)
    assert (found.width, found.height) == expected.size
    assert np.array_equal(found.decode().pixels, np.asarray(expected))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1024, 1024), (1001, 1203)])
def test_a_turned_jpeg_may_be_decoded_at_a_reduced_scale(orientation, size, photograph):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(photograph.resize(size, Image.Resampling.BICUBIC), exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as image:
        whole = ImageOps.exif_transpose(image).convert("RGB")
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    expected = whole.resize((64, 64), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    assert psnr(decode_face(data, 64, "square"), np.asarray(expected)) >= 40


def test_exif_that_is_damaged_says_nothing_far_behind_or_in_xmp(photograph):
    plain = encoded(photograph)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = exif.tobytes()

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    def with_segments(*segments: bytes) -> bytes:
        return plain[:2] + b"".join(segments) + plain[2:]

    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    behind = with_segments(*[segment(0xE2, bytes(60_000))] * 3, b"\xff\xff" + segment(0xE1, content)[1:])
    for data, turned in (
        (with_segments(segment(0xE1, content)), True),
        (behind, True),
        (with_segments(segment(0xE1, xmp)), True),
        (with_segments(segment(0xE1, b"Exif\0\0II*\0\xff\xff")), False),
        (with_segments(segment(0xE1, b"Exif\0\0")), False),
    ):
        assert (Picture(data).width, Picture(data).height) == ((218, 178) if turned else (178, 218))
        assert shown(data).shape[:2] == ((178, 218) if turned else (218, 178))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_in_another_colour_space_is_a_colour_picture(mode, photograph):
    data = encoded(photograph.convert(mode), quality=95)
    assert psnr(shown(data), np.asarray(photograph.convert(mode).convert("RGB"))) >= 28


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16", "PA"])
def test_a_picture_of_any_mode_is_a_colour_picture(mode, photograph):
    picture = photograph.convert("L").convert("I;16") if mode == "I;16" else photograph.convert(mode.replace("PA", "P"))
    if mode == "PA":
        picture.info["transparency"] = bytes(range(256))
    face = shown(encoded(picture, "PNG"))
    assert (face.shape, face.dtype) == ((218, 178, 3), np.uint8)


def test_an_opaque_alpha_channel_changes_nothing(photograph):
    plain, opaque = (encoded(photograph.convert(mode), "PNG") for mode in ("RGB", "RGBA"))
    assert np.array_equal(shown(plain), shown(opaque))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_what_is_transparent_shows_the_ground(kind):
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(clear, kind, **options)
    assert (shown(data) == 255).all()
    assert (shown(data, ground=BLACK) == 0).all()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (np.linspace(0, 65535, 64).astype(np.uint16), "PNG", np.linspace(0, 255, 64)),
        (np.linspace(0, 65535, 64).astype(np.uint16), "TIFF", np.linspace(0, 255, 64)),
        (np.full(64, 200, np.uint16), "PNG", np.full(64, 1)),
        (np.linspace(0, 1, 64).astype(np.float32), "TIFF", np.linspace(0, 255, 64)),
        (np.linspace(0, 255, 64).astype(np.float32), "TIFF", np.linspace(0, 255, 64)),
        (np.linspace(0, 5e6, 64).astype(np.int32), "TIFF", np.linspace(0, 255, 64)),
        (np.array([np.nan, np.inf, 1, 0] * 16, np.float32), "TIFF", np.array([0, 0, 255, 0] * 16)),
    ],
)
def test_grey_of_many_bits_is_scaled_and_not_cut_off(values, kind, expected):
    found = shown(encoded(Image.fromarray(values[None].repeat(4, 0)), kind))
    assert np.abs(found[0].astype(int) - expected[:, None]).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_its_first_picture(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((250, 0, 0), (0, 0, 250), (0, 250, 0))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(shown(data)[8, 8].astype(int) - (250, 0, 0)).max() < 12


def test_a_colour_profile_is_ignored(photograph):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(shown(encoded(photograph, "PNG", icc_profile=profile)), shown(encoded(photograph, "PNG")))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [2, 20, 600, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_a_file_is_broken(kind, keep, photograph):
    data = encoded(photograph, kind)
    keep = max(keep, 8) if kind == "PNG" else keep
    assert kind_of(data[: keep if keep > 1 else int(len(data) * keep)]) == "broken"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"\x00", "not a picture"),
        (b"<html></html>", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"%PDF-1.7\n", "not a picture"),
        (b"PK\x03\x04" + bytes(60), "not a picture"),
        (b"GIF89a", "broken"),
        (b"\x89PNG\r\n\x1a\n", "broken"),
        (b"\xff\xd8", "broken"),
        (b"\xff\xd8\xff\xe0" * 20, "broken"),
    ],
)
def test_what_is_no_picture_is_of_its_kind(data, kind):
    assert kind_of(data) == kind


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "ICNS", "JPEG2000", "PDF", "EPS"])
def test_formats_that_no_photograph_needs_are_not_opened(kind, photograph):
    data = encoded(photograph.resize((64, 64)), kind)
    assert kind_of(data) == "not a picture"


def test_a_polyglot_is_what_its_first_bytes_say(photograph):
    png, jpeg = encoded(photograph, "PNG"), encoded(photograph)
    assert np.array_equal(shown(png + jpeg), shown(png))
    assert kind_of(b"%PDF-1.7\n" + png) == "not a picture"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is enormous."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def jpeg_bomb(mode: str) -> bytes:
    data = bytearray(encoded(Image.new(mode, (16, 16))))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def gif_bomb() -> bytes:
    data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
    data[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(data)


def bmp_bomb() -> bytes:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(data)


def tiff_bomb() -> bytes:
    data = encoded(Image.new("L", (4242, 16)), "TIFF")
    return data.replace(struct.pack("<I", 4242), struct.pack("<I", 4_242_424))


def webp_bomb() -> bytes:
    head = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", 16_383 | 16_383 << 14) + b"\0"
    return b"RIFF" + struct.pack("<I", len(head) + 4) + b"WEBP" + head


@pytest.mark.parametrize(
    "data",
    [
        png_bomb(7_200, 7_200),  # beyond the bound, and below twice the bound, where Pillow alone would only warn
        png_bomb(30_000, 30_000),
        jpeg_bomb("RGB"),
        jpeg_bomb("CMYK"),
        gif_bomb(),
        bmp_bomb(),
        tiff_bomb(),
        b"P6 60000 60000 255\n\0\0\0",
    ],
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(data):
    assert kind_of(data) == "too large"


def test_a_webp_bomb_is_refused_one_way_or_the_other():
    assert kind_of(webp_bomb()) in ("too large", "broken")


def test_a_file_of_too_many_bytes_is_refused(monkeypatch, photograph):
    data = encoded(photograph)
    monkeypatch.setattr(pictures, "MOST_BYTES", len(data))
    assert shown(data).shape == (218, 178, 3)
    assert kind_of(data + b"\0") == "too large"


# --- what escapes -----------------------------------------------------------------------------------------------------


def specimens() -> list[bytes]:
    small = Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 20, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "maker"
    deep = Image.fromarray(np.arange(480, dtype=np.uint16).reshape(24, 20) * 100)
    return [
        encoded(small, exif=exif),
        encoded(small, progressive=True),
        encoded(small.convert("CMYK")),
        encoded(small, "PNG", exif=exif),
        encoded(small.convert("P"), "PNG", transparency=3),
        encoded(deep, "PNG"),
        encoded(small, "PNG", save_all=True, append_images=[small.rotate(90)]),
        encoded(small, "WEBP", exif=exif),
        encoded(small.convert("RGBA"), "WEBP", lossless=True),
        encoded(small, "WEBP", save_all=True, append_images=[small.rotate(180)]),
        encoded(small, "BMP"),
        encoded(small.convert("P"), "BMP"),
        encoded(small, "GIF", save_all=True, append_images=[small.rotate(180)]),
        *(encoded(small, "TIFF", compression=how) for how in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        encoded(deep, "TIFF"),
        encoded(small, "PPM"),
        encoded(small.convert("1"), "PPM"),
    ]


def mutated(data: bytes, rng: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        # Heads are where decisions are made.
        at = rng.randrange(min(len(found), rng.choice((64, 400, 10**6))))
        what = rng.randrange(5)
        if what == 0:
            found[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif what == 1:
            found[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", rng.randbytes(4)))
        elif what == 2:
            del found[at : at + rng.randrange(1, 9)]
        elif what == 3:
            found[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            del found[max(at, 1) :]
        if not found:
            return b"\0"
    return bytes(found)


def test_nothing_but_a_picture_error_escapes_from_files_with_random_damage():
    rng = random.Random(0)
    files = specimens()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for _ in range(4_000):
            data = mutated(rng.choice(files), rng)
            with contextlib.suppress(PictureError):
                face = decode_face(data, 16, "square")
                assert (face.shape, face.dtype) == ((16, 16, 3), np.uint8)
    assert not heard


def test_threads_that_read_odd_files_leave_the_warnings_as_they_were():
    before = list(warnings.filters)
    data = [mutated(each, random.Random(k)) for k, each in enumerate(specimens() * 20)]

    def read(each: bytes) -> None:
        with contextlib.suppress(PictureError):
            Picture(each).decode()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, data))
    assert warnings.filters == before
