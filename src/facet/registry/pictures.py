"""Photos and masks as a request brings them: PNG or JPEG bytes, or their base64, to what the model sees.

A photo is turned as its EXIF orientation says, laid on white where it is transparent, cut to its largest centred square
and resized; its mask goes the same way.
"""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from facet.diffusion.photos import as_faces, as_masks
from facet.errors import ParamsError

# One encoded picture, and what it may unfold to: 48 MB of RGB.
MOST_BYTES, MOST_PIXELS = 4 << 20, 4096 * 4096
_FORMATS = ("PNG", "JPEG")


def read_pictures(image: Any, mask: Any, size: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """``image`` and ``mask``, encoded or None -> a face uint8 [size, size, 3] and what of it to draw anew, bool
    [size, size], None as given. Raises ParamsError for what can't be read, or where one does not fit the other."""
    if image is None:
        if mask is not None:
            raise ParamsError("there is a mask but no image: a mask says what of an image is drawn anew.")
        return None, None
    photo = _decoded("image", image)
    face = as_faces(_fitted(_on(photo, "white").convert("RGB"), size, Image.Resampling.BICUBIC), size)[0]
    if mask is None:
        return face, None
    painted = _decoded("mask", mask)
    if painted.size != photo.size:
        sizes = [f"{width}x{height}" for width, height in (painted.size, photo.size)]
        raise ParamsError(f"the mask is {sizes[0]}, the image {sizes[1]}: paint the mask in the image's own size.")
    return face, as_masks(_fitted(_on(painted, "black").convert("L"), size, Image.Resampling.BOX), size)[0]


def _decoded(what: str, given: Any) -> Image.Image:
    """The picture, upright."""
    encoded = _as_bytes(what, given)
    if not encoded:
        raise ParamsError(f"the {what} is empty: send a PNG or JPEG, or leave {what} out.")
    if len(encoded) > MOST_BYTES:
        raise ParamsError(f"the {what} has {len(encoded):,} bytes, at most {MOST_BYTES:,}: make it smaller.")
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise ParamsError(f"the {what} is {width}x{height}, at most {MOST_PIXELS:,} pixels: make it smaller.")
            if picture.mode.startswith(("I", "F")):
                raise ParamsError(f"the {what} has more than 8 bits a channel: save it with 8.")
            return ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError:
        raise ParamsError(f"the {what} has more than {MOST_PIXELS:,} pixels: make it smaller.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        told = "no PNG or JPEG" if isinstance(error, Image.UnidentifiedImageError) else f"damaged ({error})"
        raise ParamsError(f"the {what} is {told}: send the bytes of a PNG or JPEG file, as base64 in JSON.") from None


def _as_bytes(what: str, given: Any) -> bytes:
    if isinstance(given, (bytes, bytearray)):
        return bytes(given)
    if not isinstance(given, str):
        raise ParamsError(f"the {what} is {type(given).__name__}, expected a PNG's or JPEG's bytes, or their base64.")
    if given.startswith("data:"):
        given = given.partition(",")[2]
    try:
        return base64.b64decode("".join(given.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ParamsError(f"the {what} is no base64: send a PNG's or JPEG's bytes in it.") from None


def _on(picture: Image.Image, background: str) -> Image.Image:
    """``picture`` with ``background`` where it is transparent."""
    if not picture.has_transparency_data:
        return picture
    above = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", above.size, background), above)


def _fitted(picture: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.resize((size, size), resampling, box=(left, top, left + side, top + side))
