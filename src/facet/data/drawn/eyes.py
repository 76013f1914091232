"""Eyes, brows, and the make-up around the eyes."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import closed_curve, ellipse, mix, open_curve, rgb
from facet.data.drawn.geometry import EYE
from facet.data.drawn.scene import Scene

_IRIS = ((70, 40, 24), (98, 60, 32), (52, 32, 24), (64, 112, 150), (84, 124, 84), (112, 124, 136))
_EYE_SHADOW = ((122, 44, 158), (14, 120, 150), (206, 46, 118), (44, 78, 176), (24, 128, 96))
_LASH = rgb(22, 16, 20)


def draw_eyes(scene: Scene) -> None:
    """Both eyes, with eye shadow where the person is heavily made up."""
    for side in (-1, 1):
        if scene.has["Heavy_Makeup"]:
            _draw_eye_shadow(scene, side)
        _draw_eye(scene, side)


def _lids(scene: Scene, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower lid of an eye as curves ``(n, 2)`` from the inner corner to the outer."""
    male = scene.has["Male"]
    half = (8.6 if male else 9.6) + 0.9 * scene.face.eye_size
    up = (4.6 if male else 6.0) + 0.9 * scene.face.eye_size
    low = 3.6 if male else 4.2
    if not scene.has["Young"]:
        up -= 0.9
    if scene.has["Smiling"]:
        up, low = up - 0.8, low - 2.2
    outer = 0.3 - 1.8 * scene.face.eye_slant
    upper = np.array([(-half, 1.6), (-half * 0.55, -up * 0.62), (0.2, -up), (half * 0.62, -up * 0.68), (half, outer)])
    lower = np.array([(-half, 1.6), (-half * 0.5, low * 0.8), (0.8, low), (half * 0.65, low * 0.66), (half, outer)])
    at = np.array([EYE[0], 0.0])
    flip = np.array([side, 1.0])
    return open_curve((upper + at) * flip), open_curve((lower + at) * flip)


def _draw_eye(scene: Scene, side: int) -> None:
    """Eyeball, iris with a catch of light, and lids."""
    upper, lower = _lids(scene, side)
    almond = np.concatenate([upper, lower[::-1]])
    inside = scene.mask(almond)
    white = mix(rgb(250, 248, 246), scene.skin_base, 0.1)
    scene.fill(almond, white)
    u, v = side * EYE[0] + scene.now.gaze[0], -0.3 + scene.now.gaze[1]
    iris = rgb(*_IRIS[scene.face.eye_colour])
    radius = 4.7 if scene.has["Male"] else 5.4
    scene.fill(ellipse(u, v, radius, radius), iris * np.float32(0.6), clip=inside)
    scene.fill(
        ellipse(u, v + 1.2, radius - 1.2, radius - 1.8), mix(iris, rgb(255, 235, 210), 0.22), blur=0.6, clip=inside
    )
    scene.fill(ellipse(u, v, 2.2, 2.2), rgb(12, 9, 12), clip=inside)
    scene.stroke(upper + (0, 1.3), 2.6, mix(scene.skin_line, rgb(30, 20, 40), 0.5), alpha=0.4, blur=0.8, clip=inside)
    glint = 1.5 if scene.now.light_from > 0 else -1.5
    scene.fill(ellipse(u + glint, v - 1.7, 1.35, 1.35), rgb(255, 255, 255))
    scene.stroke(lower, 1.1, scene.skin_line, alpha=0.7, blur=0.3)
    _draw_upper_lid(scene, side, upper)


def _draw_upper_lid(scene: Scene, side: int, upper: np.ndarray) -> None:
    """The lid's crease, and a lash line: thin on a man, winged on a woman, heavy with make-up."""
    scene.stroke(upper[3:-2] + (0, -3.4), 1.3, scene.skin_line, alpha=0.6, blur=0.4)
    made_up = scene.has["Heavy_Makeup"]
    outer = upper[-1]
    if scene.has["Male"] and not made_up:
        scene.stroke(upper, 1.7, mix(_LASH, scene.skin_line, 0.35), taper="none")
        return
    wing = (4.5, -3.6) if made_up else (2.6, -1.8)
    path = np.concatenate([upper[1:], [outer + np.array(wing) * (side, 1)]])
    widths = np.linspace(1.4, 4.2 if made_up else 3.0, len(path))
    widths[-1] = 0.4
    scene.stroke(path, widths, _LASH, taper="none")
    lashes = 3 if made_up else 2
    for k in range(lashes):
        start = upper[-2 - 4 * k]
        tip = start + np.array((3.4 - 0.7 * k, -4.2 if made_up else -3.2)) * (side, 1)
        scene.stroke(np.array([start, tip]), 1.6 if made_up else 1.2, _LASH, taper="end")
    if made_up:
        lower = _lids(scene, side)[1]
        scene.stroke(lower[len(lower) // 3 :], 1.8, _LASH, alpha=0.8)


def _draw_eye_shadow(scene: Scene, side: int) -> None:
    """A saturated colour from the lashes almost up to the brow."""
    colour = rgb(*_EYE_SHADOW[int(scene.now.shadow * len(_EYE_SHADOW))])
    if scene.deep:
        colour = mix(colour, rgb(255, 255, 255), 0.2)
    eye = EYE[0]
    lid = np.array(
        [(eye - 11, 2), (eye - 9, -6), (eye, -11), (eye + 10, -10), (eye + 15, -4.5), (eye + 11, 1), (eye, 2)]
    )
    scene.fill(closed_curve(lid * (side, 1)), colour, alpha=0.9, blur=1.0)
    under = np.array([(eye - 4, 4.5), (eye + 5, 4.5), (eye + 11, 0)]) * (side, 1)
    scene.stroke(under, 3.0, colour, alpha=0.7, blur=0.6)


def draw_brows(scene: Scene) -> None:
    """Thin brows, or bushy ones: three times as thick, and darker."""
    male, bushy = scene.has["Male"], scene.has["Bushy_Eyebrows"]
    v = -14.0 - (0.0 if male else 1.8) - 1.2 * scene.face.brow_height
    arch = 1.8 if male else 4.2
    eye = EYE[0]
    thick = 9.0 if bushy else (3.0 if male else 2.4)
    for side in (-1, 1):
        spine = np.array(
            [
                (eye - 11.5, v + 2.2),
                (eye - 5, v - 0.2),
                (eye + 3, v - arch * 0.7),
                (eye + 8, v - arch * 0.6),
                (eye + 13.5, v + 2.4),
            ]
        )
        if bushy:
            spine = spine + (0, 1.2)
        points = open_curve(spine)
        width = np.interp(np.linspace(0, 1, len(points)), [0, 0.12, 0.55, 1], [0.55, 1, 0.9, 0.15]) * thick
        colour = mix(scene.brow_colour, rgb(20, 15, 15), 0.35 if bushy else 0.0)
        scene.stroke(spine * (side, 1), width, colour, alpha=0.97 if bushy else 0.8, blur=0.4, taper="none")
