"""Anyone's photo and mask files, brought to what the model sees."""

from __future__ import annotations

import dataclasses
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from facet.data.faces import CropRule, crop_box, decode_face
from facet.diffusion.photos import as_masks
from facet.errors import DataError

_TAKES = "give a PNG, JPEG or WebP file"
_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 255)


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

    It is turned as its EXIF data says, what is transparent becomes white, CMYK, palettes and grey of 8 or 16 bits
    become RGB; an animation is its first picture. Raises DataError for what is no picture, or not of the size that
    ``crop`` needs.
    """
    name, encoded = _read(source)
    image = _decoded(name, encoded)
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or _needs_conversion(turned) or image.getexif().get(0x0112, 1) != 1:
        encoded = _encoded(_on(turned, _WHITE))
    try:
        return OpenedPhoto(decode_face(encoded, size, crop), turned.size, crop_box(*turned.size, crop))
    except DataError as error:
        raise DataError(f"{name} can't be used: {error}") from None


def open_mask(source: Path | bytes, photo: OpenedPhoto) -> np.ndarray:
    """A mask's file, or its bytes, as bool [size, size], True (white) where ``photo`` is drawn anew.

    Any grey, palette or one-bit picture, what is transparent being black. One of the photo's own size is cropped and
    resized with it; one of the model's size is taken as it is. Raises DataError for another size, and for a picture
    with colours, which is no mask.
    """
    name, encoded = _read(source)
    mask = _on(ImageOps.exif_transpose(_decoded(name, encoded)), _BLACK)
    pixels = np.asarray(mask).astype(int)
    if np.ptp(pixels, axis=-1).max() > 2:
        raise DataError(f"{name} has colours, but a mask is black and white: paint white what is to be drawn anew.")
    size = len(photo.face)
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


def _decoded(name: str, encoded: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(encoded))
            image.load()
            return image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        most = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise DataError(f"{name} has more than {most} pixels, more than a photo has: scale it down.") from None
    except (OSError, SyntaxError, ValueError, EOFError):
        raise DataError(f"{name} is not a picture, or a damaged one: {_TAKES}.") from None


def _needs_conversion(image: Image.Image) -> bool:
    """Whether `decode_face` would turn it into something else than what is seen."""
    return image.mode not in ("RGB", "L", "1", "CMYK", "YCbCr") or "transparency" in image.info


def _on(image: Image.Image, ground: tuple[int, int, int, int]) -> Image.Image:
    """RGB, as it is seen before ``ground``."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _in_eight_bits(image)
    if not (image.mode.upper().endswith("A") or "transparency" in image.info):
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, ground), seen).convert("RGB")


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits, which Pillow would cut off at 255."""
    grey = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        top = 1 if grey.max() <= 1 else 255
    else:
        top = 255 if image.mode == "I" and grey.max() <= 255 else 65535
    return Image.fromarray((grey / top * 255).round().clip(0, 255).astype(np.uint8))


def _encoded(image: Image.Image) -> bytes:
    """Without loss, for `decode_face` to crop and resize."""
    out = io.BytesIO()
    image.save(out, "BMP")
    return out.getvalue()
