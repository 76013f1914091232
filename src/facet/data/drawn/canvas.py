"""Anti-aliased drawing: polygons from smooth curves, blurred and clipped, laid over a float picture.

Shapes are rasterised by Pillow at a multiple of the picture's resolution, only inside their bounding box, and
averaged down to a coverage between 0 and 1; colours are float32 RGB between 0 and 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = np.ndarray  # (3,) for a flat colour, (height, width, 3) for one that varies over the picture


def rgb(red: float, green: float, blue: float) -> np.ndarray:
    """A colour from the usual 0..255 numbers."""
    return np.array([red, green, blue], dtype=np.float32) / np.float32(255)


def mix(first: np.ndarray, second: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """``first`` where ``share`` is 0, ``second`` where it is 1."""
    return (first + (second - first) * np.float32(share)).astype(np.float32)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, a smooth ramp between them."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=16)
def _catmull_rom(steps: int) -> np.ndarray:
    """The Catmull-Rom weights ``(steps, 4)`` of a segment's four control points at evenly spaced places."""
    t = np.arange(steps) / steps
    return 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1
    )


def closed_curve(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """A smooth closed curve through ``points`` ``(n, 2)``, as ``(n * steps, 2)``."""
    p = np.asarray(points, dtype=np.float64)
    around = np.stack([np.roll(p, 1, axis=0), p, np.roll(p, -1, axis=0), np.roll(p, -2, axis=0)], axis=1)
    return (_catmull_rom(steps)[None, :, :, None] * around[:, None]).sum(axis=2).reshape(-1, 2)


def open_curve(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """A smooth open curve through ``points`` ``(n, 2)``, first to last, as ``((n - 1) * steps + 1, 2)``."""
    p = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    around = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    body = (_catmull_rom(steps)[None, :, :, None] * around[:, None]).sum(axis=2).reshape(-1, 2)
    return np.concatenate([body, p[-1:]])


def ellipse(u: float, v: float, ru: float, rv: float, turn: float = 0.0, steps: int = 28) -> np.ndarray:
    """An ellipse's outline ``(steps, 2)``, turned by ``turn`` radians."""
    angle = np.arange(steps) * (2 * np.pi / steps)
    x, y = ru * np.cos(angle), rv * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([u + cos * x - sin * y, v + sin * x + cos * y], axis=1)


def ribbon(path: np.ndarray, width: float | np.ndarray, taper: str = "both") -> np.ndarray:
    """The outline of a stroke along ``path`` ``(n, 2)``: ``width`` pixels wide, thinning towards the ends named.

    ``taper`` is ``"both"``, ``"end"``, ``"start"`` or ``"none"``.
    """
    t = np.linspace(0.0, 1.0, len(path))
    profile = {
        "both": np.sqrt(np.maximum(0.0, 1 - (2 * t - 1) ** 2)),
        "end": np.sqrt(np.maximum(0.0, 1 - t**2)),
        "start": np.sqrt(np.maximum(0.0, 1 - (1 - t) ** 2)),
        "none": np.ones_like(t),
    }[taper]
    along = np.gradient(path, axis=0)
    along /= np.maximum(1e-6, np.sqrt((along**2).sum(axis=1, keepdims=True)))
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * (0.5 * width * profile)[:, None]
    return np.concatenate([path + across, (path - across)[::-1]])


def blurred(mask: np.ndarray, radius: float) -> np.ndarray:
    """``mask`` ``(height, width)``, 0..1, softened by a Gaussian of ``radius`` pixels."""
    image = Image.fromarray((mask * np.float32(255)).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) * np.float32(1 / 255)


class Canvas:
    """A picture being painted: ``pixels`` is float32 ``(height, width, 3)`` between 0 and 1."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.pixels = np.zeros((height, width, 3), dtype=np.float32)

    def coverage(self, outline: np.ndarray, blur: float = 0.0) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """What ``outline`` (pixels, ``(n, 2)``) covers: the box it lies in and a coverage 0..1; None if outside."""
        margin = 3.0 * blur + 1.0
        low = np.maximum(np.floor(outline.min(axis=0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(outline.max(axis=0) + margin), (self.width, self.height)).astype(int)
        size = high - low
        if (size <= 0).any():
            return None
        # A blurred edge needs no fine raster: the blur hides the steps.
        fine = 4 if blur < 0.8 else 2
        mask = Image.new("L", (int(size[0]) * fine, int(size[1]) * fine))
        ImageDraw.Draw(mask).polygon(((outline - low) * fine).ravel().tolist(), fill=255)
        mask = mask.reduce(fine)
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur))
        box = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        return box, np.asarray(mask, dtype=np.float32) * np.float32(1 / 255)

    def mask(self, outline: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """The coverage of ``outline`` over the whole picture, float32 ``(height, width)``."""
        full = np.zeros((self.height, self.width), dtype=np.float32)
        found = self.coverage(outline, blur)
        if found is not None:
            full[found[0]] = found[1]
        return full

    def fill(
        self,
        outline: np.ndarray,
        colour: Colour,
        alpha: float = 1.0,
        blur: float = 0.0,
        clip: np.ndarray | None = None,
    ) -> None:
        """Lay ``colour`` over what ``outline`` covers; ``clip`` ``(height, width)`` limits it further."""
        found = self.coverage(outline, blur)
        if found is None:
            return
        box, cover = found
        if clip is not None:
            cover = cover * clip[box]
        if alpha != 1.0:
            cover = cover * np.float32(alpha)
        region = self.pixels[box]
        region += ((colour[box] if colour.ndim == 3 else colour) - region) * cover[..., None]

    def lay(self, mask: np.ndarray, colour: Colour, alpha: float = 1.0) -> None:
        """Lay ``colour`` over the picture as far as ``mask`` ``(height, width)`` covers it."""
        self.pixels += (colour - self.pixels) * (mask * np.float32(alpha))[..., None]

    def image(self) -> Image.Image:
        """The picture as 8-bit RGB."""
        return Image.fromarray((np.clip(self.pixels, 0, 1) * 255 + 0.5).astype(np.uint8), "RGB")
