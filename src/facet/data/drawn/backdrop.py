"""What is behind and below the face: the background, the neck, and clothes."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import closed_curve, ellipse, mix, rgb, smoothstep
from facet.data.drawn.geometry import HEIGHT, WIDTH
from facet.data.drawn.scene import Scene, mirrored

_BACKDROPS = (
    ((38, 62, 92), (116, 158, 190)),
    ((226, 214, 196), (248, 241, 230)),
    ((24, 84, 88), (122, 190, 178)),
    ((92, 58, 98), (196, 150, 190)),
    ((196, 108, 84), (246, 200, 160)),
    ((54, 58, 70), (138, 144, 158)),
    ((84, 116, 72), (190, 208, 152)),
    ((150, 196, 222), (232, 244, 250)),
    ((222, 160, 168), (252, 224, 222)),
    ((30, 34, 58), (92, 84, 140)),
)
_CLOTHES = ((44, 58, 92), (150, 52, 60), (238, 236, 230), (40, 42, 48), (88, 122, 100), (214, 160, 70), (118, 90, 140))


def draw_backdrop(scene: Scene) -> None:
    """A smooth two-colour gradient with a few large, soft discs of light."""
    pick = scene.now.backdrop
    dark, light = (rgb(*c) for c in _BACKDROPS[int(pick[0] * len(_BACKDROPS))])
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    across = (x / WIDTH - 0.5) * np.float32(2 * pick[1] - 1)
    t = smoothstep(0, 1, 0.5 + across + (0.5 - y / HEIGHT) * np.float32(1.6 * pick[2] - 0.6))[..., None]
    scene.canvas.pixels[:] = dark + (light - dark) * (0.1 + 0.8 * t)
    for k in range(int(pick[3] * 4)):
        u, v, size = pick[4 + 3 * k : 7 + 3 * k]
        disc = ellipse(u * WIDTH, 20 + v * 130, 12 + 16 * size, 12 + 16 * size)
        scene.canvas.fill(disc, mix(light, rgb(255, 255, 255), 0.3), alpha=0.16 + 0.1 * size, blur=1.5 + 3 * size)


def draw_neck(scene: Scene) -> None:
    """Neck and shoulders of bare skin, with the shadow that the chin throws on them."""
    half = 30.0 if scene.has["Male"] else 18.5
    slope = 5.0 if scene.has["Male"] else 0.0
    neck = mirrored(
        [(0, 30), (half, 30), (half, 58), (half + 2 + slope, 74), (half + 16, 84), (72, 94), (100, 112), (0, 118)]
    )
    lit = mix(scene.skin_dark, scene.skin_base, 0.72)
    scene.fill(closed_curve(neck), lit)
    mask = scene.mask(closed_curve(neck))
    chin = scene.face.chin
    side = -6 * scene.now.light_from
    scene.fill(ellipse(side, chin - 14, half + 16, 30), scene.skin_dark, alpha=0.85, blur=3.5, clip=mask)


def draw_clothes(scene: Scene) -> None:
    """The neckline at the picture's foot: round, V-shaped, a collar, or high."""
    pick = scene.now.clothes
    colour = scene.warm(rgb(*_CLOTHES[int(pick[0] * len(_CLOTHES))]))
    dark = colour * np.float32(0.72)
    kind = int(pick[1] * 4)
    top = {0: 90.0, 1: 104.0, 2: 94.0, 3: 74.0}[kind]
    edge = 36.0 if scene.has["Male"] else 28.0
    half = [(0, top), (14, top - 1.5), (edge - 4, top - 8 if kind != 3 else top), (edge + 8, 80), (70, 90), (110, 112)]
    if kind == 1:
        half[1] = (12, top - 9)
    outline = mirrored([*half, (110, 140), (0, 140)])
    body = closed_curve(outline, 4)
    scene.fill(body, colour)
    rim = np.array([(-edge - 6, 81), half[2], half[1], half[0]][1:][::-1])
    rim = np.concatenate([rim[::-1] * (-1, 1), rim[1:]])
    scene.stroke(rim, 3.0, dark, taper="none", alpha=0.8)
    if kind == 2:
        for side in (-1, 1):
            wing = np.array([(3, top + 6), (edge - 4, 80), (edge + 6, 80), (edge, 104), (18, 112)]) * (side, 1)
            scene.fill(wing, mix(colour, rgb(255, 255, 255), 0.25))
