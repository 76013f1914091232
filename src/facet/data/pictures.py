"""Encoded pictures as they are shown: turned as their EXIF data says, in RGB of 8 bits, before one ground.

What is opened was sent by anyone: few formats, bounded sizes, and every way to be wrong is a PictureError.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from facet.errors import PictureError

WHITE, BLACK = (255, 255, 255, 255), (0, 0, 0, 255)
# Pillow knows many more; each is one more decoder to trust.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# Above these it is a decompression bomb, or a whole archive, and no photograph of a face.
MOST_PIXELS = 50_000_000
MOST_BYTES = 64 << 20
# Pillow itself only warns of it, and refuses twice as many.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS

_EXIF_ORIENTATION = 0x0112
# With these first bytes it is a picture, if perhaps a damaged one.
_SIGNATURES = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")


class Turn(NamedTuple):
    """How stored pixels become shown ones: rows and columns trade places or not, then each is reversed or not."""

    swapped: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """[h, w, 3] as stored -> a view of it as shown."""
        shown = pixels.swapaxes(0, 1) if self.swapped else pixels
        return shown[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


_TURNS = {
    2: Turn(False, False, True),
    3: Turn(False, True, True),
    4: Turn(False, True, False),
    5: Turn(True, False, False),
    6: Turn(True, False, True),
    7: Turn(True, True, True),
    8: Turn(True, True, False),
}


class Decoded(NamedTuple):
    """``pixels``, uint8 [h, w, 3], are the picture as shown, ``factor`` times smaller in both directions. Point (x, y)
    of the picture lies at ((x + left) / factor, (y + top) / factor) in them."""

    pixels: np.ndarray
    factor: int = 1
    left: int = 0
    top: int = 0


class Picture:
    """An encoded picture; a JPEG's pixels are only read by `decode`. ``width`` and ``height`` are in pixels as shown.

    Opening it raises PictureError of kind "empty", "not a picture", "too large" (in bytes or pixels) or "broken".
    """

    def __init__(self, encoded: bytes):
        if not encoded:
            raise PictureError("empty", "an empty file")
        if len(encoded) > MOST_BYTES:
            raise PictureError(
                "too large", f"a file of {len(encoded):,} bytes, more than {MOST_BYTES:,}: scale it down"
            )
        self._encoded = encoded
        self._kind = "JPEG" if encoded[:2] == b"\xff\xd8" else "picture"
        self._image: Image.Image | None = None
        with _refusing(self._kind):
            if self._kind == "JPEG":
                height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
                _refuse_bomb(width, height)
            # simplejpeg makes no RGB of CMYK; Pillow does, taking it as Adobe writes it, inverted.
            if self._kind == "JPEG" and colours not in ("CMYK", "YCCK"):
                orientation = _jpeg_orientation(encoded)
            else:
                self._image = _opened(encoded)
                (width, height), orientation = self._image.size, _orientation(self._image)
        self._turn = _TURNS.get(orientation, Turn())
        self.width, self.height = (height, width) if self._turn.swapped else (width, height)

    def decode(self, factor: int = 1, ground: tuple[int, int, int, int] = WHITE) -> Decoded:
        """All of it, what is transparent as seen before ``ground``; of an animation, the first picture.

        ``factor`` 2, 4 or 8 lets JPEGs be decoded at that part of their size, in the DCT domain, which costs under
        half; others are decoded in full. Raises PictureError of kind "broken" or "too large".
        """
        with _refusing(self._kind):
            if self._image is not None:
                with _quiet:
                    return Decoded(self._turn(np.asarray(_in_rgb(self._image, ground))))
            height, width = (self.width, self.height) if self._turn.swapped else (self.height, self.width)
            pixels = simplejpeg.decode_jpeg(
                self._encoded, min_height=-(-height // factor), min_width=-(-width // factor), min_factor=1
            )
        shown = self._turn(pixels)
        # The last row and column of a reduced picture stand for fewer pixels; reversed, they come first.
        left = shown.shape[1] * factor - self.width if self._turn.mirrored else 0
        top = shown.shape[0] * factor - self.height if self._turn.upside_down else 0
        return Decoded(shown, factor, left, top)


def _jpeg_orientation(encoded: bytes) -> int:
    """How EXIF says a JPEG is turned; only one with an APP1 segment, EXIF or XMP, costs more than microseconds."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF and encoded[at + 1] != 0xE1:
        if encoded[at + 1] == 0xDA:  # the pixels follow
            return 1
        padding = encoded[at + 1] == 0xFF
        at += 1 if padding else 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    with contextlib.suppress(PictureError), _refusing("JPEG"):
        return _orientation(_opened(encoded, load=False))
    return 1


def _orientation(image: Image.Image) -> int:
    """1 to 8; damaged EXIF data are no reason to lose a picture."""
    with contextlib.suppress(Exception), _quiet:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    return 1


def _opened(encoded: bytes, load: bool = True) -> Image.Image:
    with _quiet:
        try:
            image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        except Image.UnidentifiedImageError:  # its text holds an address in memory
            if encoded.startswith(_SIGNATURES):
                raise PictureError("broken", "broken picture (its head can't be read)") from None
            raise PictureError("not a picture", f"no picture of a known format ({', '.join(FORMATS)})") from None
        _refuse_bomb(*image.size)
        if load:
            image.load()
        return image


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        told = f"{width:,} x {height:,}, more than {MOST_PIXELS:,} pixels"
        raise PictureError("too large", f"{told}: scale it down")
    if min(width, height) < 1:
        raise PictureError("broken", f"broken picture (of {width}x{height} pixels)")


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Whatever the decoder of ``what`` raises as a PictureError: Pillow's plugins let out far more than OSError."""
    try:
        yield
    except PictureError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise PictureError("too large", f"more than {MOST_PIXELS:,} pixels: scale it down") from None
    except Exception as error:
        detail = " ".join(str(error).split()).rstrip(".")[:80] or type(error).__name__
        raise PictureError("broken", f"broken {what} ({detail})") from None


class _Quiet:
    """Pillow's warnings of odd files unheard while any thread is in here; `warnings.catch_warnings` alone is not made
    for threads that leave in another order than they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__()


_quiet = _Quiet()


def _in_rgb(image: Image.Image, ground: tuple[int, int, int, int]) -> Image.Image:
    """As it is seen before ``ground``."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _in_eight_bits(image)
    if not (image.mode.upper().endswith("A") or "transparency" in image.info):
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, ground), seen).convert("RGB")


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or more bits, or of floating point, which Pillow would cut off at 255.

    What holds no larger value than 1 (floating point), 255 (but for 16 bits) or 65535 is taken to end there.
    """
    grey = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
    ends = {"F": (1, 255, 65535), "I": (255, 65535)}.get(image.mode, (65535,))
    largest = float(grey.max())
    top = next((end for end in ends if largest <= end), largest)
    return Image.fromarray((grey * (255 / top)).round().clip(0, 255).astype(np.uint8))
