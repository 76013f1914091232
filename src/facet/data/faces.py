"""One encoded photograph to one square uint8 face: decode, crop or align, resize.

The crop rule's name travels with every metric, since scores of differently cropped faces can't be compared.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from facet.data.alignment import Frame, frame_of, straighten
from facet.data.pictures import Decoded, Picture
from facet.errors import PictureError

CropRule = Literal["celeba-148", "celeba-140", "square", "none", "landmarks"]
_SQUARE = "set prepare.crop to `square`"


class Face(NamedTuple):
    """``pixels`` uint8 [size, size, 3] RGB, out of a picture of ``width`` x ``height`` pixels as it is shown."""

    pixels: np.ndarray
    width: int
    height: int


def crop_box(width: int, height: int, rule: CropRule) -> tuple[float, float, float, float]:
    """The crop of a ``width`` x ``height`` picture as (left, top, right, bottom) in pixels, always a square.

    ``celeba-148`` and ``celeba-140`` are centred squares of an aligned 178x218 CelebA picture, as used by VAE papers
    and by ScoreSDE respectively; ``square`` is the largest centred square; ``none`` keeps the whole frame of a picture
    that is a square already. ``landmarks`` has no box, its square may be turned (`facet.data.alignment`). Raises
    PictureError of kind "crop" for a picture of a shape that the rule is not for.
    """
    if rule == "landmarks":
        raise PictureError("crop", f"crop 'landmarks' needs the face's landmarks: {_SQUARE}")
    if rule == "none" and width != height:
        raise PictureError("crop", f"the picture is {width}x{height}, crop 'none' needs a square one: {_SQUARE}.")
    if rule.startswith("celeba-") and (width, height) != (178, 218):
        raise PictureError("crop", f"the picture is {width}x{height}, crop {rule!r} needs 178x218: {_SQUARE}.")
    side = int(rule.removeprefix("celeba-")) if rule.startswith("celeba-") else min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return (left, top, left + side, top + side)


def read_face(
    encoded: bytes, size: int, rule: CropRule, landmarks: np.ndarray | None = None, min_side: int = 1
) -> Face:
    """An encoded picture's face, turned as its EXIF data says, in RGB of 8 bits on white, colour profiles ignored.

    ``landmarks``, float [5, 2] or [2, 2] in pixels as shown, are what rule ``landmarks`` goes by. The square that is
    cut out must be at least ``min_side`` pixels wide. Resizing is bicubic with antialiasing, at most one grey level
    from Pillow's. JPEGs that shrink by four or more are decoded at 1/2, 1/4 or 1/8 scale, which stays within 40 dB PSNR
    of the full decode (tests/data/test_faces.py). The same bytes give the same face, whatever the number of threads.

    Raises PictureError of kind "broken", "empty", "not a picture", "too large", "too small" or "crop".
    """
    picture = Picture(encoded)
    if rule == "landmarks":
        frame = frame_of(landmarks, picture.width, picture.height)
        pixels = _aligned(picture.decode(_factor(frame.side, size, min_side)), frame, size)
    else:
        box = crop_box(picture.width, picture.height, rule)
        pixels = _cropped(picture.decode(_factor(box[2] - box[0], size, min_side)), box, size)
    return Face(pixels, picture.width, picture.height)


def decode_face(encoded: bytes, size: int, rule: CropRule, landmarks: np.ndarray | None = None) -> np.ndarray:
    """The pixels alone of `read_face`: encoded picture -> uint8 [size, size, 3] RGB."""
    return read_face(encoded, size, rule, landmarks).pixels


def _factor(side: float, size: int, min_side: int) -> int:
    """How many times smaller a square of ``side`` pixels may be decoded, when it becomes one of ``size``.

    It must still be twice ``size`` wide: with less, resizing has too little left to average, and loses 5 to 15 dB.
    Other factors than powers of two are slower than decoding all.
    """
    if side < min_side:
        raise PictureError("too small", f"the face is {side:.0f} pixels wide, expected at least {min_side}")
    return next(f for f in (8, 4, 2, 1) if side / f >= 2 * size or f == 1)


def _cropped(decoded: Decoded, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    shift = (decoded.left, decoded.top) * 2
    left, top, right, bottom = scaled = [(edge + by) / decoded.factor for edge, by in zip(box, shift, strict=True)]
    if all(edge == int(edge) for edge in scaled):
        return _resized(decoded.pixels[int(top) : int(bottom), int(left) : int(right)], size)
    # Only Pillow cuts between pixels.
    return np.asarray(
        Image.fromarray(decoded.pixels).resize((size, size), Image.Resampling.BICUBIC, (left, top, right, bottom))
    )


def _aligned(decoded: Decoded, frame: Frame, size: int) -> np.ndarray:
    origin = (frame.origin + (decoded.left, decoded.top)) / decoded.factor
    seen = Frame(origin, frame.across / decoded.factor, frame.down / decoded.factor)
    return _resized(straighten(decoded.pixels, seen, size), size)


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [n, n, 3] -> uint8 [size, size, 3], bicubic with antialiasing, as Pillow does it in four times as long."""
    pixels = np.require(pixels, requirements="CW")  # as torch wants it
    if len(pixels) == size:
        return pixels

    import torch

    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, size=(size, size), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()


def qualities(faces: np.ndarray) -> np.ndarray:
    """(brightness, contrast, sharpness) of each face, uint8 [n, h, w, 3] -> float32 [n, 3]: mean and standard deviation
    of luma, and the mean absolute difference between neighbouring luma values, all in 0..255."""
    luma = faces.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    across, down = (np.abs(np.diff(luma, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2))
    return np.stack([luma.mean(axis=(1, 2)), luma.std(axis=(1, 2)), (across + down) / 2], axis=1)


def quality(face: np.ndarray) -> tuple[float, float, float]:
    """`qualities` of one face, uint8 [h, w, 3]."""
    brightness, contrast, sharpness = qualities(face[None])[0].tolist()
    return brightness, contrast, sharpness
