"""The mouth: at rest or smiling, closed or open, with or without lipstick."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import ellipse, mix, rgb
from facet.data.drawn.geometry import MOUTH_V
from facet.data.drawn.scene import Scene

_LIPSTICK = ((200, 14, 44), (222, 36, 104), (140, 10, 52), (232, 52, 50), (176, 20, 112))
_INSIDE = rgb(66, 14, 22)


def _lines(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Upper edge, upper inner, lower inner and lower edge of the lips, each ``(25, 2)`` from left corner to right."""
    smiling, is_open = scene.has["Smiling"], scene.has["Mouth_Slightly_Open"]
    corner_u, corner_v = scene.person.mouth_corner
    t = np.linspace(-1, 1, 25)
    round_ = 1 - t * t
    middle = MOUTH_V + (4.4 if smiling else 0.0)
    line = middle + (corner_v - middle) * t * t
    gap = (10.0 if smiling else 8.5) * round_ ** (0.7 if smiling else 0.9) if is_open else 0 * t
    full = 3.0 + 1.2 * scene.face.lip_fullness + (0.0 if scene.has["Male"] else 0.9)
    if not scene.has["Young"]:
        full -= 0.7
    if scene.has["Wearing_Lipstick"]:
        full += 0.7
    bow = np.sqrt(np.maximum(0, 1 - np.abs(t) ** 1.6)) * (1 - 0.22 * np.exp(-((t / 0.16) ** 2)))
    inner_up, inner_low = line - 0.3 * gap, line + 0.7 * gap
    top = inner_up - full * 0.95 * bow
    foot = inner_low + full * 1.25 * np.sqrt(round_) * (0.9 if is_open else 1)
    u = corner_u * t
    return tuple(np.stack([u, v], axis=1) for v in (top, inner_up, inner_low, foot))


def draw_mouth(scene: Scene) -> None:
    """Lips, and between them teeth and tongue where the mouth is open."""
    top, inner_up, inner_low, foot = _lines(scene)
    painted = scene.has["Wearing_Lipstick"]
    if painted:
        colour = rgb(*_LIPSTICK[int(scene.now.lipstick * len(_LIPSTICK))])
    else:
        colour = mix(scene.skin_base, rgb(112, 52, 52) if scene.deep else rgb(186, 104, 96), 0.42)
    if not painted and not scene.has["No_Beard"]:
        # Lips amid a beard need to stand out from it, or nobody sees the smile.
        colour = mix(colour, rgb(226, 132, 122), 0.6)
    upper_colour = colour * np.float32(0.82)
    scene.fill(np.concatenate([foot[4:-4] + (0, 1.6), foot[4:-4][::-1] + (0, 4)]), scene.skin_dark, alpha=0.8, blur=1.3)
    scene.fill(np.concatenate([top, inner_up[::-1]]), upper_colour, blur=0.3)
    scene.fill(np.concatenate([inner_low, foot[::-1]]), colour, blur=0.3)
    if scene.has["Mouth_Slightly_Open"]:
        _draw_inside(scene, inner_up, inner_low)
    else:
        scene.stroke(inner_up[::4], 2.4, mix(scene.skin_line, _INSIDE, 0.5), alpha=0.95, blur=0.3)
    shine = foot[9:16] * (1, 1) - (scene.now.light_from * -2, 2.4)
    scene.stroke(shine, 1.8, rgb(255, 236, 230), alpha=0.5 if painted else 0.28, blur=0.6)
    if scene.has["Smiling"]:
        for side in (-1, 1):
            u, v = scene.person.mouth_corner
            dimple = np.array([(u + 1.2, v - 2.2), (u + 2.4, v + 0.3), (u + 1.4, v + 2.6)]) * (side, 1)
            scene.stroke(dimple, 1.6, scene.skin_line, alpha=0.7, blur=0.4)


def _draw_inside(scene: Scene, inner_up: np.ndarray, inner_low: np.ndarray) -> None:
    """The dark of the open mouth, a tongue, and in a smile the upper teeth."""
    hollow = np.concatenate([inner_up, inner_low[::-1]])
    inside = scene.mask(hollow)
    scene.fill(hollow, _INSIDE)
    low = inner_low[12]
    scene.fill(ellipse(0, low[1], 8, 3.2), rgb(196, 88, 92), alpha=0.8, blur=0.8, clip=inside)
    if scene.has["Smiling"]:
        edge = inner_up + (inner_low - inner_up) * 0.62
        scene.fill(np.concatenate([inner_up, edge[::-1]]), rgb(250, 247, 240), clip=inside)
