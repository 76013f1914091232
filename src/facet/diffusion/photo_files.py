"""Anyone's photo and mask files, brought to what the model sees."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from facet.data.faces import CropRule, crop_box, read_face
from facet.data.pictures import BLACK, Picture
from facet.diffusion.photos import as_masks
from facet.errors import DataError, PictureError

_TAKES = "give a PNG, JPEG or WebP file"


@dataclasses.dataclass(frozen=True)
class OpenedPhoto:
    """``face`` uint8 [size, size, 3], cut as ``box`` (left, top, right, bottom, in pixels) out of a photo of
    ``original`` (width, height) as it is shown."""

    face: np.ndarray
    original: tuple[int, int]
    box: tuple[float, float, float, float]

    @property
    def changed(self) -> str:
        """What was done to the photo, in words; "" where it came in the model's own size."""
        width, height = self.original
        size = len(self.face)
        if (width, height) == (size, size):
            return ""
        left, top, right, bottom = self.box
        whole = (right - left, bottom - top) == (width, height)
        cropped = "" if whole else f"cropped to {right - left:.0f}x{bottom - top:.0f} at ({left:.0f}, {top:.0f}) and "
        return f"the photo is {width}x{height}: {cropped}resized to {size}x{size}"


def open_photo(source: Path | bytes, size: int, crop: CropRule = "square") -> OpenedPhoto:
    """A photo's file, or its bytes, as a face of ``size``.

    It is read as `facet.data.faces.read_face` reads a data set's: turned as its EXIF data says, what is transparent
    becomes white, CMYK, palettes and grey of 8 or 16 bits become RGB; an animation is its first picture. Raises
    DataError for what is no picture, or not of the size that ``crop`` needs.
    """
    name, encoded = _read(source)
    with _named(name):
        face = read_face(encoded, size, crop)
        return OpenedPhoto(face.pixels, (face.width, face.height), crop_box(face.width, face.height, crop))


def open_mask(source: Path | bytes, photo: OpenedPhoto) -> np.ndarray:
    """A mask's file, or its bytes, as bool [size, size], True (white) where ``photo`` is drawn anew.

    Any grey, palette or one-bit picture, what is transparent being black. One of the photo's own size is cropped and
    resized with it; one of the model's size is taken as it is. Raises DataError for another size, and for a picture
    with colours, which is no mask.
    """
    name, encoded = _read(source)
    with _named(name):
        pixels = Picture(encoded).decode(ground=BLACK).pixels
    if np.ptp(pixels, axis=-1).max() > 2:
        raise DataError(f"{name} has colours, but a mask is black and white: paint white what is to be drawn anew.")
    size, mask = len(photo.face), Image.fromarray(pixels)
    if mask.size == photo.original:
        mask = mask.resize((size, size), Image.Resampling.BOX, box=photo.box)
    elif mask.size != (size, size):
        told = ["x".join(map(str, each)) for each in (mask.size, photo.original)]
        raise DataError(
            f"{name} is {told[0]}, but the photo is {told[1]}: give a mask of the photo's size, or of {size}x{size}."
        )
    return as_masks(mask, size)[0]


def _read(source: Path | bytes) -> tuple[str, bytes]:
    """(what to call it, its bytes)"""
    try:
        name, encoded = ("the picture", source) if isinstance(source, bytes) else (str(source), source.read_bytes())
    except IsADirectoryError:
        raise DataError(f"{source} is a folder: {_TAKES}.") from None
    except OSError as error:
        raise DataError(f"{source} can't be read ({error.strerror}): {_TAKES}.") from None
    if not encoded:
        raise DataError(f"{name} is empty: {_TAKES}.")
    return name, encoded


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Whatever is wrong with a picture as a sentence about ``name``."""
    try:
        yield
    except PictureError as error:
        if error.kind in ("broken", "not a picture"):
            raise DataError(f"{name} is not a picture, or a damaged one: {_TAKES}.") from None
        raise DataError(f"{name} can't be used: {error}") from None
