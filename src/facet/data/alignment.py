"""A face brought upright by its landmarks: rotation, one scale and a shift to a fixed template, by least squares.

The template stands in the square that `celeba-148` cuts out of an aligned 178x218 CelebA picture, so that a face that
is aligned already stays where it is. Umeyama, "Least-squares estimation of transformation parameters between two point
patterns", 1991.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from facet.errors import PictureError

# Eyes, nose, corners of the mouth as fractions of the square's side, from its upper left corner. In CelebA's aligned
# pictures they are at x 69 and 108, y 111; (88.5, 135); x 72 and 105, y 150; pixel 0 has its centre at 0.5, and
# celeba-148's square begins at (15, 35).
_IN_CELEBA = np.array([(69, 111), (108, 111), (88.5, 135), (72, 150), (105, 150)])
TEMPLATE = (_IN_CELEBA + 0.5 - (15, 35)) / 148

_EYES = 2
# A square that is more times larger than the picture would be little but repeated edges.
_LARGEST = 4


class Frame(NamedTuple):
    """A square in a picture, turned or not: fraction (u, v) of it lies at ``origin`` + u ``across`` + v ``down``, all
    float64 [2] in pixels from the picture's upper left corner."""

    origin: np.ndarray
    across: np.ndarray
    down: np.ndarray

    @property
    def side(self) -> float:
        """In pixels."""
        return float(np.hypot(*self.across))


def similarity(points: np.ndarray, onto: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation and scale A, [2, 2], and the shift b, [2], with the least sum of squares of A p + b - q over
    ``points`` p and ``onto`` q, both [n, 2], n at least 2, not all of them equal."""
    centre, target = points.mean(axis=0), onto.mean(axis=0)
    a, b = points - centre, onto - target
    # A rotation with scale is the complex number w of the least |w a - b|^2.
    size = np.square(a).sum()
    cosine, sine = (a * b).sum() / size, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    turn = np.array([(cosine, -sine), (sine, cosine)])
    return turn, target - turn @ centre


def frame_of(landmarks: np.ndarray | None, width: int, height: int) -> Frame:
    """The square of a face in a picture of ``width`` x ``height`` from its ``landmarks``, [5, 2] as in
    `facet.data.raw.LANDMARKS` or [2, 2] for the eyes alone, x and y in pixels, the first pixel's centre being 0.

    With one of nose and mouth unknown (NaN), the eyes alone decide. Raises PictureError of kind "crop" for unknown
    eyes, points that are no face, and a square that is out of proportion to the picture.
    """
    if landmarks is None:
        raise PictureError("crop", "it has no landmarks, which crop `landmarks` needs: set prepare.crop to `square`")
    points = np.asarray(landmarks, dtype=np.float64)
    if not np.isfinite(points).all():
        points = points[:_EYES]
    if not np.isfinite(points).all():
        raise PictureError("crop", "its eyes' landmarks are unknown, which crop `landmarks` needs: leave it out")
    template = TEMPLATE[: len(points)]
    spread = points - points.mean(axis=0)
    if np.linalg.det(spread.T @ (template - template.mean(axis=0))) < -1e-6 * np.square(spread).sum():
        raise PictureError("crop", "its landmarks are those of a mirrored face: lefteye is the one further left")
    # Fitted in the picture's pixels, where the points were placed: from the template onto them.
    turn, origin = similarity(template, points + 0.5)
    frame = Frame(origin, turn[:, 0], turn[:, 1])
    middle = origin + turn @ (0.5, 0.5)
    inside = (middle > 0).all() and (middle < (width, height)).all()
    if not (1 <= frame.side <= _LARGEST * max(width, height) and inside):
        raise PictureError(
            "crop", f"its landmarks are no face's in a picture of {width}x{height}: mend the table, or leave it out"
        )
    return frame


def straighten(pixels: np.ndarray, frame: Frame, size: int) -> np.ndarray:
    """The square ``frame`` of ``pixels`` (uint8 [h, w, 3]) upright, uint8 [n, n, 3]: n is its own side, so that no
    detail is lost or made, unless that is four times ``size`` or more; then it is a whole fraction of it, averaged.

    Beyond the picture's edges the outermost pixels are repeated.
    """
    factor = max(1, math.floor(frame.side / (2 * size)))
    if factor > 1:
        pixels, frame = np.asarray(Image.fromarray(pixels).reduce(factor)), Frame(*(part / factor for part in frame))
    corners = frame.origin + np.array([(u * frame.across + v * frame.down) for u in (0, 1) for v in (0, 1)])
    # Bicubic sampling reads two pixels beyond.
    low, high = np.floor(corners.min(axis=0)).astype(int) - 2, np.ceil(corners.max(axis=0)).astype(int) + 2
    columns, rows = (np.arange(low[i], high[i]).clip(0, pixels.shape[1 - i] - 1) for i in (0, 1))
    region = Image.fromarray(pixels[np.ix_(rows, columns)])
    n = max(1, round(frame.side))
    across, down, (x, y) = frame.across / n, frame.down / n, frame.origin - low
    affine = (across[0], down[0], x, across[1], down[1], y)
    return np.asarray(region.transform((n, n), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC))
