"""Facial hair: mustache, goatee, full beard."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import closed_curve, mix, rgb
from facet.data.drawn.scene import Scene, mirrored


def draw_beard(scene: Scene) -> None:
    """What grows below the mouth: a goatee, or a full beard where there is a beard but no goatee; drawn before lips."""
    if scene.has["No_Beard"]:
        return
    if scene.has["Goatee"]:
        _draw_goatee(scene)
    elif not scene.has["Mustache"] or scene.face.beard.startswith("full"):
        _draw_full(scene)


def draw_mustache(scene: Scene) -> None:
    """A thick mustache over the upper lip, drawn after the lips."""
    if not scene.has["Mustache"]:
        return
    droop = 3.0 * scene.now.hair[3]
    for side in (-1, 1):
        half = [(0.5, 31.5), (7, 30.5), (14, 33.5), (20, 39 + droop), (21, 43 + droop), (15, 40.5), (7, 38), (0, 37.2)]
        lobe = closed_curve(np.array(half) * (side, 1))
        scene.fill(lobe, _field(scene), blur=0.4, lift=0.15)


def _field(scene: Scene) -> np.ndarray:
    """The colour of facial hair at each pixel: darker than the hair of the head, so that it shows on any skin."""
    dark, middle, light = scene.hair_tones
    if scene.hair_kind == "blond":
        dark, middle, light = mix(dark, rgb(104, 62, 20), 0.6), mix(middle, rgb(150, 98, 36), 0.7), middle
    streak = 0.1 * np.sin(scene.u * np.float32(0.75)) + 0.06 * np.sin(scene.u * np.float32(0.4) + 1)
    lit = np.clip(0.05 + 0.55 * scene.light + streak, 0, 1).astype(np.float32)
    return scene.ramp(dark, middle, light, lit)


def _chin(scene: Scene) -> float:
    """Where the chin is, as :func:`facet.data.drawn.face.head_outline` has it."""
    return max(scene.face.chin, 66.5) if scene.has["Male"] else min(scene.face.chin, 65.0)


def _draw_goatee(scene: Scene) -> None:
    """A tuft on the chin, the cheeks and jaws clean."""
    chin = _chin(scene)
    low = 5.0 if scene.has["Mouth_Slightly_Open"] else 0.0
    half = [
        (0, 50 + low),
        (5, 50.5 + low),
        (11, 53 + low * 0.7),
        (14.5, 60),
        (12, chin + 1),
        (5, chin + 5.5),
        (0, chin + 6.5),
    ]
    scene.fill(closed_curve(mirrored(half)), _field(scene), blur=0.6)


def _draw_full(scene: Scene) -> None:
    """A beard from sideburn to sideburn, reaching around the mouth."""
    chin, w = _chin(scene), scene.face.width
    outer = [(w - 0.5, 2), (w + 0.5, 16), (w - 2.5, 36), (31, chin - 8), (18, chin + 4), (0, chin + 7)]
    top = 30.0 if scene.has["Mustache"] else 47.0
    inner = [(0, top), (10, top), (20, 31), (30, 27), (w - 6, 14), (w - 5, 1)]
    if not scene.has["Mustache"]:
        inner = [(0, 52), (12, 51), (22, 45), (29, 33), (w - 6, 14), (w - 5, 1)]
    half = np.array(inner + outer)
    outline = np.concatenate([half, half[::-1] * (-1, 1)])
    scene.fill(closed_curve(outline, 4), _field(scene), blur=0.7)
