"""Hair of the head: every cut is an outline around the skull less the opening that shows the face."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import blurred, closed_curve, ellipse, mix, open_curve, smoothstep
from facet.data.drawn.scene import Scene, mirrored

LONG_END, BOB_END = 118.0, 52.0


def cut_of(scene: Scene) -> str:
    """What the hair looks like: ``long``, ``bob`` or ``short`` where it hangs, else the way it is tied or cropped."""
    if scene.has["Bald"] or not scene.hair_seen:
        return "bald"
    if scene.has["Wavy_Hair"]:
        return scene.face.fall if scene.face.fall != "up" else "short"
    if scene.has["Straight_Hair"]:
        return scene.face.fall if scene.face.fall in ("bob", "long") else "bob"
    return scene.face.tied


def draw_hair_behind(scene: Scene) -> None:
    """The hair that falls behind neck and shoulders, and a bun."""
    cut = cut_of(scene)
    dark, middle, _ = scene.hair_tones
    if cut in ("long", "bob"):
        scene.fill(_hanging_outline(scene, cut), mix(dark, middle, 0.25))
    elif cut == "bun" and not scene.has["Wearing_Hat"]:
        field = _hair_field(scene, cut)
        side = 10 * scene.now.part
        scene.fill(ellipse(side, -71, 17, 14), field)
        scene.stroke(np.array([(side - 11, -70), (side, -76), (side + 11, -71)]), 2.2, dark, alpha=0.5, blur=0.6)


def draw_hair(scene: Scene) -> None:
    """The hair in front: what frames the face, and bangs."""
    cut = cut_of(scene)
    if cut == "bald":
        _draw_scalp(scene)
        return
    field = _hair_field(scene, cut)
    outer = _hanging_outline(scene, cut) if cut in ("long", "bob") else _close_outline(scene, cut)
    mask = scene.mask(outer) * (1 - scene.mask(_opening(scene, cut)))
    if scene.has["Bangs"]:
        mask = np.maximum(mask, scene.mask(_bangs(scene)))
    shadow = np.roll(blurred(mask, 2.5), (3, round(-2 * scene.now.light_from)), axis=(0, 1))
    scene.canvas.lay(shadow * scene.face_mask, scene.skin_line, 0.5)
    scene.canvas.lay(mask, field)
    if scene.has["Bangs"]:
        _draw_bang_strands(scene)


def _hair_field(scene: Scene, cut: str) -> np.ndarray:
    """Colour of the hair at each pixel: lit like the head, streaked along the strands, with a band of gloss."""
    u, v = scene.u, scene.v
    phase = np.float32(6.28 * scene.now.hair[0])
    spread = np.sqrt(np.clip((v + 78) / 64, 0.06, 1))
    across = (u - np.float32(14 * scene.now.part) * (1 - spread)) / spread
    strength = 0.13
    if scene.has["Wavy_Hair"]:
        strength = 0.24
        if cut == "short":
            across = across + 5 * np.sin(v * np.float32(0.34) + phase) + 2.5 * np.sin(u * np.float32(0.3))
        else:
            across = across + 4.2 * np.sin(np.abs(u) * np.float32(0.05) + v * np.float32(0.235) + phase) * smoothstep(
                -58, -20, v
            )
    streak = 0.6 * np.sin(across * np.float32(0.42) + phase) + 0.4 * np.sin(across * np.float32(0.8) + 2 * phase)
    gloss = np.maximum(0, 1 - ((v + 49 - u * u * np.float32(0.011)) / 9) ** 2) ** 2
    if cut in ("buzz", "short"):
        gloss = gloss * np.float32(0.35)
    lit = 0.12 + 0.62 * scene.light + np.float32(strength) * streak + gloss * (0.26 + 0.1 * streak)
    # Hair that hangs beside the neck lies in the head's shadow.
    lit = lit - 0.14 * smoothstep(20, 80, v)
    dark, middle, light = scene.hair_tones
    return scene.ramp(dark, middle, light, np.clip(lit, 0, 1).astype(np.float32))


def _wave(scene: Scene, points: np.ndarray, size: float) -> np.ndarray:
    """``points`` ``(n, 2)`` along a hanging edge, pushed out and in again as they go down, where the hair is wavy."""
    if not scene.has["Wavy_Hair"]:
        return points
    swing = size * np.sin(points[:, 1] * 0.235 + 6.28 * scene.now.hair[1]) * smoothstep(-50, -15, points[:, 1])
    return points + np.stack([swing, 0 * swing], axis=1)


def _hanging_outline(scene: Scene, cut: str) -> np.ndarray:
    """The outer edge of hair that hangs to the chin or below, ``(n, 2)``."""
    wavy = scene.has["Wavy_Hair"]
    w = scene.face.width + (9.5 if wavy else 5.5)
    end = BOB_END + 8 * scene.now.hair[2] if cut == "bob" else LONG_END
    top = -71.0 - (2 if wavy else 0)
    right = [(0, top), (22, top + 4), (w - 10, -54), (w - 1.5, -34), (w + 0.5, -14)]
    flare = 4.0 if wavy else (1.0 if cut == "bob" else 3.0)
    down = np.linspace(-2, end, max(4, int((end + 2) / 6)))
    side = np.stack([w + 1 + flare * np.clip(down / 60, 0, 1), down], axis=1)
    edge = np.concatenate([np.array(right), _wave(scene, side, 4.2)])
    foot = np.array([(w - 6, end + 3), (w - 18, end + 2), (0, end)])
    half = np.concatenate([edge, foot])
    return closed_curve(np.concatenate([half, half[-2:0:-1] * (-1, 1)]), 3)


def _close_outline(scene: Scene, cut: str) -> np.ndarray:
    """The outer edge of hair that lies close to the head and ends at the sideburns, ``(n, 2)``."""
    w = scene.face.width
    top, side = {"crop": (7, 2.5), "quiff": (9, 2.5), "side": (8, 3), "buzz": (3.2, 1.8), "bun": (5, 2)}.get(
        cut, (10, 6)
    )
    if scene.has["Wearing_Hat"]:
        side += 3
    burn = 9.0 if scene.has["Male"] else 1.0
    if cut == "bun":
        burn = -8.0
    crest = 9 * (1 if scene.now.part > 0 else -1) if cut == "quiff" else 0
    right = [(0, -63 - top), (22, -59 - top), (36 + side, -46 - top * 0.4), (w + side + 0.5, -24), (w + side, -6)]
    outline = closed_curve(mirrored([*right, (w + 0.5, burn), (w - 6, burn + 1.5), (0, burn)]))
    outline = outline + np.stack([crest * smoothstep(-56, -72, outline[:, 1]), 0 * outline[:, 1]], axis=1)
    if cut == "short":
        angle = np.arctan2(outline[:, 0], -(outline[:, 1] + 10))
        bump = 1 + 0.075 * np.abs(np.sin(angle * 5.5 + 3 * scene.now.hair[1])) * (np.abs(angle) < 1.9)
        outline = (outline + (0, 10)) * bump[:, None] - (0, 10)
    return outline


def _opening(scene: Scene, cut: str) -> np.ndarray:
    """The outline of what the hair leaves free: the face below the hairline, and all between two curtains."""
    w, part = scene.face.width, 16 * scene.now.part
    if cut in ("long", "bob"):
        down = np.linspace(-4, 130, 18)
        inner = _wave(scene, np.stack([w - 4.5 + 1.5 * np.clip(down / 60, 0, 1), down], axis=1), 2.6)
        right = np.concatenate([np.array([(19, -45), (31, -33), (w - 5.5, -18)]), inner])
        left = right[::-1] * (-1, 1)
        # The hair parts in a small peak, to the side or in the middle.
        return closed_curve(np.concatenate([right, left, np.array([(part, -51)])]), 3)
    line = -46.0 if scene.has["Young"] or not scene.has["Male"] else -50.0
    corner = (26, line + 1) if scene.has["Young"] or not scene.has["Male"] else (29, line - 1)
    width = w - 3.2 - (2 if scene.has["Wearing_Hat"] else 0)
    right = np.array([corner, (width - 2, -26), (width, -10), (width, 30), (width, 90)])
    left = right[::-1] * (-1, 1)
    side = 1 if scene.now.part > 0 else -1
    if cut == "side":
        # Swept from the part across the forehead, low on the far side.
        right[0] = (24, line + 9) if side < 0 else (22, line - 2)
        left[-1] = (-24, line + 9) if side > 0 else (-22, line - 2)
    middle = np.array([(0, line - (2.5 if cut == "quiff" else 0.5))])
    return closed_curve(np.concatenate([right, left, middle]))


def _bang_edge(scene: Scene) -> np.ndarray:
    """The lower edge of the bangs from left temple to right, ``(n, 2)``: locks that end just above the brows."""
    w = scene.face.width - 2.5
    locks = 5 + int(scene.now.hair[2] * 3)
    sweep = 5 * scene.now.part
    knots = np.linspace(-w, w, 2 * locks + 1)
    edge = -20.5 + 6.0 * (np.abs(knots) / w) ** 3 + sweep * knots / w
    edge[1::2] -= 0.4
    edge[0::2] -= 3.2
    edge[[0, -1]] = -4.0
    edge = np.minimum(edge, -4.0)
    shift = np.where(np.arange(len(knots)) % 2 == 1, 1.5 * scene.now.part, 0)
    return np.stack([knots + shift, edge], axis=1)


def _bangs(scene: Scene) -> np.ndarray:
    """The outline of the bangs, from the crown to the brows."""
    edge = open_curve(_bang_edge(scene), 4)
    top = np.array([(34, -46), (18, -60), (0, -64), (-18, -60), (-34, -46)])
    return np.concatenate([edge, top])


def _draw_bang_strands(scene: Scene) -> None:
    """Dark gaps between the locks of the bangs."""
    edge = _bang_edge(scene)
    for u, v in edge[2:-2:2]:
        path = np.array([(u, v + 0.5), (u * 0.92, v - 10), (u * 0.7 + 4 * scene.now.part, v - 24)])
        scene.stroke(path, 1.8, scene.hair_tones[0], alpha=0.55, blur=0.5, taper="end")


def _draw_scalp(scene: Scene) -> None:
    """The gloss on a bald head."""
    if scene.has["Wearing_Hat"]:
        return
    u = 16 * scene.now.light_from
    scene.fill(ellipse(u, -50, 14, 5.5, 0.012 * u), scene.skin_light, alpha=0.8, blur=2.5, clip=scene.face_mask)
