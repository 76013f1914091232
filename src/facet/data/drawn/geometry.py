"""Where things are on a drawn head, and how a pose carries them onto the picture.

Parts are described in *head coordinates*: pixels of an unposed picture, ``u`` to the right and ``v`` down, with the
origin midway between the eyes. In them the eyes lie at ``(±19.5, 0)``, the nose tip at ``(0, 24)``, the corners of
the mouth near ``(±16, 41)``, the chin near ``(0, 66)`` and the crown near ``(0, -62)``, which is where CelebA's
alignment puts them once the origin is laid on pixel ``(88.5, 111)`` of its 178 x 218 pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 178, 218
ORIGIN = (88.5, 111.0)

EYE = (19.5, 0.0)
NOSE_TIP = (0.0, 24.0)
MOUTH_V = 41.0

# The half axes of the ellipsoid that stands for a head where depth matters: turning, and shading.
HEAD_AXES = (50.0, 80.0)
# The depth that stays put when the head turns: about that of the eyes, since CelebA's pictures are aligned by them.
PIVOT_DEPTH = 0.8


def depth(uv: np.ndarray) -> np.ndarray:
    """Relative depth of points ``(n, 2)`` on the head's ellipsoid: 1 at the front, 0 on and beyond its outline."""
    u, v = uv[:, 0] / HEAD_AXES[0], uv[:, 1] / HEAD_AXES[1]
    return np.sqrt(np.maximum(0.0, 1.0 - u * u - v * v))


@dataclass(frozen=True)
class Pose:
    """Where a head is: offset in pixels, scale, tilt in radians, yaw and pitch in pixels of parallax."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    tilt: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0

    def place(self, points: np.ndarray, lift: float = 0.0) -> np.ndarray:
        """Head coordinates ``(n, 2)`` to pixels ``(n, 2)``; ``lift`` is how far a part stands out of the head."""
        uv = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        parallax = depth(uv) - PIVOT_DEPTH + lift
        u, v = uv[:, 0] + self.yaw * parallax, uv[:, 1] + self.pitch * parallax
        cos, sin = self.scale * math.cos(self.tilt), self.scale * math.sin(self.tilt)
        x = ORIGIN[0] + self.x + cos * u - sin * v
        y = ORIGIN[1] + self.y + sin * u + cos * v
        return np.stack([x, y], axis=1)

    def head_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Head coordinates ``u`` and ``v`` of every pixel, float32 ``(218, 178)``, parallax of the outline only."""
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        x = x + np.float32(0.5 - ORIGIN[0] - self.x)
        y = y + np.float32(0.5 - ORIGIN[1] - self.y)
        cos, sin = np.float32(math.cos(self.tilt) / self.scale), np.float32(math.sin(self.tilt) / self.scale)
        u = cos * x + sin * y + np.float32(self.yaw * PIVOT_DEPTH)
        v = cos * y - sin * x + np.float32(self.pitch * PIVOT_DEPTH)
        return u, v


def mouth_corner(smiling: bool, is_open: bool, width: float) -> tuple[float, float]:
    """The right corner of the mouth in head coordinates; ``width`` is the half width of the mouth at rest."""
    if smiling:
        return width + 5.5, MOUTH_V - 8.5
    return (width - 4.0 if is_open else width - 1.0), MOUTH_V + 0.6


def landmarks(pose: Pose, corner: tuple[float, float]) -> dict[str, tuple[int, int]]:
    """CelebA's five landmarks in whole pixels ``(x, y)``; left and right are those of the picture, as in CelebA."""
    cu, cv = corner
    flat = pose.place(np.array([(-EYE[0], EYE[1]), EYE, (-cu, cv), (cu, cv)]))
    nose = pose.place(np.array([NOSE_TIP]), lift=0.5)
    points = np.rint(np.concatenate([flat[:2], nose, flat[2:]])).astype(int)
    names = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    return {name: (int(x), int(y)) for name, (x, y) in zip(names, points, strict=True)}
