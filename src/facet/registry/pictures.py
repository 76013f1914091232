"""Photos and masks as a request brings them, bytes or base64, held to a server's limits before they are opened."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from facet.diffusion.photo_files import open_mask, open_photo
from facet.diffusion.provenance import Source
from facet.errors import DataError, ParamsError

# One encoded picture, and what it may unfold to: 48 MB of RGB.
MOST_BYTES, MOST_PIXELS = 4 << 20, 4096 * 4096
# Pillow knows many more; each that a stranger may send is one more decoder to trust.
_FORMATS = ("PNG", "JPEG", "WEBP")
_TAKES = "send the bytes of a PNG, JPEG or WebP file, as base64 in JSON"


class Sent(NamedTuple):
    """A face uint8 [size, size, 3] and what of it to draw anew, bool [size, size], None as given; and what they were
    as sent."""

    face: np.ndarray | None = None
    mask: np.ndarray | None = None
    image_source: Source | None = None
    mask_source: Source | None = None


def read_pictures(image: Any, mask: Any, size: int) -> Sent:
    """``image`` and ``mask``, encoded or None, brought to size as `facet.diffusion.photo_files` does. Raises
    ParamsError for what can't be read, or where one does not fit the other."""
    if image is None:
        if mask is not None:
            raise ParamsError("mask: there is no image, of which it says what is drawn anew: send that too.")
        return Sent()
    what, encoded = "image", _checked("image", image)
    try:
        photo = open_photo(encoded, size)
        sent = Sent(photo.face, image_source=_source("image", encoded))
        if mask is None:
            return sent
        what, encoded = "mask", _checked("mask", mask)
        return sent._replace(mask=open_mask(encoded, photo), mask_source=_source("mask", encoded))
    except DataError as error:
        raise ParamsError(f"{what}: {error}") from None


def _source(what: str, encoded: bytes) -> Source:
    """A picture that was sent has no name but what it was sent as."""
    return Source(what, hashlib.sha256(encoded).hexdigest())


def _checked(what: str, given: Any) -> bytes:
    """The encoded picture, of a kind and size that may be opened."""
    encoded = _as_bytes(what, given)
    if not encoded:
        raise ParamsError(f"{what}: it is empty: {_TAKES}, or leave it out.")
    if len(encoded) > MOST_BYTES:
        raise ParamsError(f"{what}: {len(encoded):,} bytes, at most {MOST_BYTES:,}: make it smaller.")
    try:
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as picture:  # its head alone
            width, height = picture.size
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        raise ParamsError(f"{what}: no picture, or a damaged one: {_TAKES}.") from None
    if width * height > MOST_PIXELS:
        raise ParamsError(f"{what}: {width}x{height}, at most {MOST_PIXELS:,} pixels: make it smaller.")
    return encoded


def _as_bytes(what: str, given: Any) -> bytes:
    if isinstance(given, (bytes, bytearray)):
        return bytes(given)
    if not isinstance(given, str):
        raise ParamsError(f"{what}: {type(given).__name__}, expected a picture's bytes, or their base64.")
    if given.startswith("data:"):  # as a browser gives it
        given = given.partition(",")[2]
    try:
        return base64.b64decode("".join(given.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ParamsError(f"{what}: no base64: {_TAKES}.") from None
