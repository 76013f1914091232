"""One encoded photograph to one square uint8 face: decode, crop, resize.

The crop rule's name travels with every metric, since scores of differently cropped faces can't be compared.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import simplejpeg
from PIL import Image

from facet.errors import DataError

CropRule = Literal["celeba-148", "celeba-140", "square", "none"]

# A decompression bomb, not a face photograph, above this; Pillow itself only warns of it, and refuses twice as many.
_MOST_PIXELS = 50_000_000
Image.MAX_IMAGE_PIXELS = _MOST_PIXELS


def crop_box(width: int, height: int, rule: CropRule) -> tuple[float, float, float, float]:
    """The crop of a ``width`` x ``height`` picture as (left, top, right, bottom) in pixels.

    ``celeba-148`` and ``celeba-140`` are centred squares of an aligned 178x218 CelebA picture, as used by VAE papers
    and by ScoreSDE respectively; ``square`` is the largest centred square; ``none`` keeps the whole frame.
    """
    if rule == "none":
        return (0, 0, width, height)
    side = min(width, height) if rule == "square" else int(rule.removeprefix("celeba-"))
    if rule != "square" and (width, height) != (178, 218):
        raise DataError(f"the picture is {width}x{height}, crop {rule!r} needs 178x218: set prepare.crop to `square`.")
    left, top = (width - side) // 2, (height - side) // 2
    return (left, top, left + side, top + side)


def decode_face(encoded: bytes, size: int, rule: CropRule) -> np.ndarray:
    """Encoded picture -> uint8 [size, size, 3] RGB.

    JPEGs that shrink by four or more are decoded at 1/2, 1/4 or 1/8 scale in the DCT domain, which costs under half and
    stays within 40 dB PSNR of the full decode (tests/data/test_faces.py). Raises DataError for anything that is not a
    picture.
    """
    if encoded[:2] == b"\xff\xd8":
        image, width, height = _decode_jpeg(encoded, size, rule)
    else:
        image = _decode_other(encoded)
        width, height = image.size
    box = crop_box(width, height, rule)
    scale_x, scale_y = image.width / width, image.height / height
    scaled = (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=scaled))


def _decode_jpeg(encoded: bytes, size: int, rule: CropRule) -> tuple[Image.Image, int, int]:
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(encoded)
        if colorspace in ("CMYK", "YCCK"):
            image = _decode_other(encoded)
            return image, *image.size
        _refuse_bomb(width, height)
        left, top, right, bottom = crop_box(width, height, rule)
        # The reduced picture must still hold twice `size` across the crop: with less, resizing has too little left to
        # average, and loses 5 to 15 dB. Other factors than powers of two are slower than decoding all.
        side = min(right - left, bottom - top)
        factor = next(f for f in (8, 4, 2, 1) if side / f >= 2 * size or f == 1)
        pixels = simplejpeg.decode_jpeg(
            encoded, min_height=-(-height // factor), min_width=-(-width // factor), min_factor=1
        )
    except ValueError as error:
        raise DataError(f"broken JPEG ({str(error).strip().rstrip('.')})") from None
    return Image.fromarray(pixels), width, height


def _decode_other(encoded: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            _refuse_bomb(*image.size)
            return image.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError("more pixels than a photograph has") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"not a readable picture ({error})") from None


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > _MOST_PIXELS:
        raise DataError(f"{width}x{height}: more pixels than a photograph has")


def quality(face: np.ndarray) -> tuple[float, float, float]:
    """(brightness, contrast, sharpness) of a uint8 face: mean and standard deviation of luma, and the mean absolute
    difference between neighbouring luma values, all in 0..255."""
    luma = face @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    sharpness = (np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()) / 2
    return float(luma.mean()), float(luma.std()), float(sharpness)
