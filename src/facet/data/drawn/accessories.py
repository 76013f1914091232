"""What is worn: hats, glasses, earrings."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import blurred, closed_curve, ellipse, mix, rgb
from facet.data.drawn.geometry import EYE
from facet.data.drawn.scene import Scene, mirrored

_HATS = (
    (178, 36, 44),
    (32, 66, 132),
    (38, 110, 84),
    (226, 172, 52),
    (104, 60, 128),
    (236, 232, 222),
    (60, 64, 72),
    (216, 112, 140),
)
_FRAMES_DARK = ((22, 20, 24), (72, 34, 18), (24, 36, 84), (120, 18, 34))
_FRAMES_LIGHT = ((236, 232, 226), (232, 190, 84), (206, 40, 52), (96, 200, 214))
_WHITE = rgb(255, 255, 255)


def draw_hat(scene: Scene) -> None:
    """A cap, a beanie or a brimmed hat."""
    if not scene.has["Wearing_Hat"]:
        return
    pick = scene.now.hat
    base = scene.warm(rgb(*_HATS[int(pick[0] * len(_HATS))]))
    cloth = scene.ramp(base * np.float32(0.5), base, mix(base, _WHITE, 0.3), scene.light)
    trim = rgb(*_HATS[int(pick[1] * len(_HATS))])
    (_draw_cap, _draw_beanie, _draw_brimmed)[int(pick[2] * 3)](scene, base, cloth, trim)


def _cast_shadow(scene: Scene, outline: np.ndarray) -> None:
    """The shadow of a hat on the face below it."""
    mask = np.roll(blurred(scene.mask(outline), 3), (5, round(-2 * scene.now.light_from)), axis=(0, 1))
    scene.canvas.lay(mask * scene.face_mask, scene.skin_line, 0.55)


def _dome(scene: Scene, top: float, foot: float, spread: float) -> np.ndarray:
    """A hat's body from ``foot`` up to ``top``, wider than the head by ``spread``."""
    w = scene.face.width + spread
    return closed_curve(
        mirrored(
            [(0, top), (24, top + 4), (w - 7, top + 18), (w, foot - 14), (w, foot), (w - 12, foot + 3), (0, foot + 4)]
        )
    )


def _draw_cap(scene: Scene, base: np.ndarray, cloth: np.ndarray, trim: np.ndarray) -> None:
    """A baseball cap with a visor."""
    dome = _dome(scene, -75, -30, 4)
    visor = closed_curve(mirrored([(0, -35), (24, -33), (41, -26), (45, -19), (36, -17), (20, -21), (0, -22.5)]))
    _cast_shadow(scene, visor)
    scene.fill(dome, cloth)
    dark = base * np.float32(0.55)
    for u in (-20, 0, 20):
        scene.stroke(np.array([(u * 0.2, -74), (u, -56), (u * 1.25, -32)]), 1.2, dark, alpha=0.5, blur=0.3)
    scene.fill(ellipse(0, -51, 9, 8), trim, alpha=0.95, lift=0.1)
    scene.fill(visor, mix(base, rgb(0, 0, 0), 0.25), lift=0.25)
    scene.stroke(
        np.array([(-40, -25), (-20, -31), (0, -33), (20, -31), (40, -25)]),
        1.6,
        mix(base, _WHITE, 0.35),
        alpha=0.7,
        lift=0.25,
    )


def _draw_beanie(scene: Scene, base: np.ndarray, cloth: np.ndarray, trim: np.ndarray) -> None:
    """A knitted cap with a turned-up cuff."""
    dome = _dome(scene, -80, -30, 3.5)
    cuff = closed_curve(
        mirrored(
            [
                (0, -42),
                (30, -41),
                (scene.face.width + 4, -36),
                (scene.face.width + 5.5, -25),
                (scene.face.width + 3, -18),
                (26, -22),
                (0, -23.5),
            ]
        )
    )
    _cast_shadow(scene, cuff)
    scene.fill(dome, cloth)
    for u in range(-36, 37, 12):
        scene.stroke(
            np.array([(u * 0.4, -78), (u * 0.95, -60), (u, -42)]), 1.6, base * np.float32(0.6), alpha=0.4, blur=0.5
        )
    scene.fill(cuff, mix(cloth, trim, 0.55))
    for u in range(-40, 41, 8):
        scene.stroke(np.array([(u, -40), (u * 1.02, -23)]), 1.4, base * np.float32(0.5), alpha=0.35, blur=0.4)


def _draw_brimmed(scene: Scene, base: np.ndarray, cloth: np.ndarray, trim: np.ndarray) -> None:
    """A hat with a band and a wide brim."""
    brim = ellipse(0, -29, 68, 10.5)
    _cast_shadow(scene, brim + (0, 2))
    scene.fill(brim, cloth * np.float32(0.82))
    crown = closed_curve(mirrored([(0, -72), (16, -77), (34, -72), (40, -50), (42, -32), (24, -28), (0, -27)]))
    scene.fill(crown, cloth)
    inside = scene.mask(crown)
    band = np.array([(-46, -44), (0, -40), (46, -44), (46, -32), (0, -27), (-46, -32)])
    scene.fill(band, trim, clip=inside)
    scene.stroke(
        np.array([(-66, -27), (-30, -20.5), (0, -19), (30, -20.5), (66, -27)]), 2.0, mix(base, _WHITE, 0.25), alpha=0.6
    )


def _lens(kind: int, side: int) -> np.ndarray:
    """One lens of a pair of glasses: round, square, or swept up at the outside."""
    u = EYE[0] + 0.3
    if kind == 0:
        return ellipse(side * u, 1.5, 13.2, 12.6)
    if kind == 1:
        box = [(-12.5, -8.5), (0, -9.5), (12.5, -8.5), (14, 0), (12.5, 10.5), (0, 11.5), (-12, 10.5), (-13.5, 0)]
    else:
        box = [(-11.5, -6.5), (2, -8.5), (15.5, -10.5), (14.5, 1), (9, 10.5), (-1, 11.5), (-10, 8), (-12.5, 0)]
    return closed_curve((np.array(box) + (u, 0.5)) * (side, 1))


def draw_glasses(scene: Scene) -> None:
    """Glasses with a bold frame, or sunglasses where there is no eye make-up that they would hide."""
    if not scene.has["Eyeglasses"]:
        return
    pick = scene.now.glasses
    kind = int(pick[0] * 3)
    frames = _FRAMES_LIGHT if scene.deep else _FRAMES_DARK
    frame = rgb(*frames[int(pick[1] * len(frames))])
    dark_lens = pick[2] < 0.22 and not scene.has["Heavy_Makeup"]
    for side in (-1, 1):
        lens = _lens(kind, side)
        inside = scene.mask(lens, lift=0.25)
        arm = np.array([(side * 33, -3), (side * 39, -4), (side * 45, -4)])
        scene.stroke(arm, 2.6, frame, taper="none", lift=0.1)
        if dark_lens:
            scene.fill(lens, mix(rgb(30, 30, 42), frame, 0.15), alpha=0.9, lift=0.25)
        else:
            scene.fill(lens, rgb(225, 240, 250), alpha=0.13, lift=0.25)
        u = side * EYE[0]
        gleam = np.array([(u - 7, -9), (u - 1, -11), (u - 9, 7), (u - 12, 3)])
        scene.fill(gleam, _WHITE, alpha=0.32 if dark_lens else 0.2, blur=0.5, lift=0.25, clip=inside)
        rim = np.concatenate([lens, lens[:2]])[::2]
        scene.stroke(rim, 2.9, frame, taper="none", lift=0.25)
    scene.stroke(np.array([(-7, -1.5), (0, -4), (7, -1.5)]), 2.8, frame, taper="none", lift=0.35)


def _earring_tones(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Colour and gleam of the earrings, chosen to stand out from the hair."""
    pick = scene.now.earrings[0]
    gold, silver = rgb(250, 196, 52), rgb(226, 232, 240)
    teal, ruby, pearl = rgb(0, 186, 190), rgb(226, 22, 70), rgb(255, 246, 236)
    choices = {
        "black": (gold, silver, teal, pearl),
        "brown": (gold, silver, teal, pearl),
        "red": (silver, teal, pearl),
        "blond": (teal, ruby, rgb(32, 60, 170)),
        "gray": (teal, ruby, rgb(32, 60, 170)),
    }[scene.hair_kind]
    colour = choices[int(pick * len(choices))]
    return colour, mix(colour, _WHITE, 0.6)


def draw_earrings(scene: Scene) -> None:
    """Hoops, drops or large studs on both lobes, always in front of the hair."""
    if not scene.has["Wearing_Earrings"]:
        return
    colour, gleam = _earring_tones(scene)
    edge = colour * np.float32(0.4)
    kind = int(scene.now.earrings[1] * 3)
    for side in (-1, 1):
        u, v = side * (scene.face.width + 2.5), 20.0
        if kind == 0:
            ring = ellipse(u, v + 8.5, 7.0, 8.5)
            ring = np.concatenate([ring, ring[:2]])[::2]
            scene.stroke(ring, 4.2, edge, taper="none", alpha=0.7)
            scene.stroke(ring, 2.8, colour, taper="none")
        elif kind == 1:
            drop = np.array([(0, -1), (3.0, 8), (5.6, 15), (0, 20.5), (-5.6, 15), (-3.0, 8)]) + (u, v)
            scene.fill(closed_curve(drop) * (1.0, 1.0), edge, alpha=0.7, blur=0.8)
            scene.fill(closed_curve((drop - (u, v + 10)) * 0.88 + (u, v + 10)), colour)
            scene.fill(ellipse(u - 1.5, v + 13, 1.5, 2.4), gleam, blur=0.4)
        else:
            scene.fill(ellipse(u, v + 2, 6.2, 6.2), edge, alpha=0.7, blur=0.5)
            scene.fill(ellipse(u, v + 2, 5.4, 5.4), colour)
            scene.fill(ellipse(u - 1.6, v, 1.9, 1.9), gleam, blur=0.4)
