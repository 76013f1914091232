"""The head itself: its outline and shading, ears, nose, cheeks, and the marks of age."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import closed_curve, ellipse, mix, rgb
from facet.data.drawn.geometry import EYE
from facet.data.drawn.scene import Scene, mirrored


def head_outline(scene: Scene) -> np.ndarray:
    """The outline of skull and face: square-jawed and broad for a man, tapering for a woman; ``(n, 2)``."""
    face, w = scene.face, scene.face.width
    if scene.has["Male"]:
        w = max(w, 41.5)
        chin = max(face.chin, 66.5)
        jaw, corner, tip = 35.5 + 2.5 * face.jaw, 24.5 + 3 * face.jaw, 13.5 + 2 * face.jaw
    else:
        w = min(w, 40.5)
        chin = min(face.chin, 65.0)
        jaw, corner, tip = 30.0 + 3 * face.jaw, 17.0 + 3 * face.jaw, 8.0 + 2 * face.jaw
    if not scene.has["Young"]:
        jaw, corner = jaw + 1.5, corner + 2.5
    right = [(0, -63), (21, -59), (35, -45), (w - 0.5, -22), (w, -2), (w - 2.2, 18), (jaw, 39), (corner, chin - 10)]
    return closed_curve(mirrored([*right, (tip, chin - 2.2), (0, chin)]))


def draw_ears(scene: Scene) -> None:
    """Both ears, behind the face."""
    w = scene.face.width
    for side in (-1, 1):
        ear = np.array([(w - 3, -8), (w + 4, -9), (w + 7, -1), (w + 5, 11), (w + 2, 19), (w - 3, 20)]) * (side, 1)
        scene.fill(closed_curve(ear), mix(scene.skin_dark, scene.skin_base, 0.65))
        inner = np.array([(w, -4), (w + 4.2, -3), (w + 3.2, 5), (w + 1, 13)]) * (side, 1)
        scene.stroke(inner, 2.2, scene.skin_line, alpha=0.45, blur=0.5)


def draw_head(scene: Scene) -> None:
    """Skin with soft light on it, and the hollows and planes that do not depend on expression."""
    outline = head_outline(scene)
    scene.face_mask = scene.mask(outline)
    scene.fill(outline, scene.skin)
    on_face = scene.face_mask
    for side in (-1, 1):
        socket = ellipse(side * EYE[0], -5, 13, 9, side * 0.12)
        scene.fill(socket, scene.skin_dark, alpha=0.34, blur=3.5, clip=on_face)
        cheek = ellipse(side * 33, 30, 8, 20, side * 0.35)
        scene.fill(cheek, scene.skin_dark, alpha=0.32 - 0.2 * side * scene.now.light_from, blur=5, clip=on_face)
        glow = ellipse(side * 24, 17, 8, 5.5, -side * 0.3)
        scene.fill(glow, scene.skin_light, alpha=0.35, blur=3, clip=on_face)
    scene.fill(ellipse(4 * scene.now.light_from, -30, 20, 8), scene.skin_light, alpha=0.35, blur=5, clip=on_face)
    chin = scene.face.chin
    scene.fill(ellipse(0, chin - 11, 7, 4), scene.skin_light, alpha=0.35, blur=2.5, clip=on_face)


def draw_nose(scene: Scene) -> None:
    """The nose: a shaded side away from the light, a lit bridge and tip, wings and nostrils."""
    w = scene.face.nose_width
    tip = 23.5 + 2 * scene.face.nose_length
    away = -1 if scene.now.light_from > 0 else 1
    side = np.array([(3.5, -8), (3.2, 4), (4.5, 13), (w * 0.8, tip - 4), (w, tip + 2), (3, tip + 2), (1.5, 8)])
    scene.fill(closed_curve(side * (away, 1)), scene.skin_dark, alpha=0.55, blur=1.8, lift=0.3)
    scene.fill(ellipse(0, tip + 4.2, w * 0.85, 2.4), scene.skin_dark, alpha=0.75, blur=1.4, lift=0.4)
    scene.fill(ellipse(-away * 0.8, 6, 2, 11), scene.skin_light, alpha=0.5, blur=1.5, lift=0.4)
    scene.fill(ellipse(-away * 1.0, tip - 2, 3.2, 2.6), scene.skin_light, alpha=0.75, blur=1.2, lift=0.5)
    for s in (-1, 1):
        wing = np.array([(w - 1.6, tip - 3.5), (w + 0.4, tip), (w - 0.4, tip + 3), (w - 3, tip + 3.4)]) * (s, 1)
        scene.stroke(wing, 1.6, scene.skin_line, alpha=0.6, blur=0.4, lift=0.4)
        scene.fill(ellipse(s * 3.9, tip + 2.6, 2.5, 1.25, -s * 0.3), scene.skin_line, alpha=0.85, blur=0.4, lift=0.45)


def draw_cheeks(scene: Scene) -> None:
    """The blush of rosy cheeks, and what a smile does to the cheeks."""
    on_face = scene.face_mask
    if scene.has["Rosy_Cheeks"]:
        colour = rgb(206, 44, 62) if scene.deep else rgb(238, 70, 88)
        for side in (-1, 1):
            scene.fill(ellipse(side * 25, 20, 12, 9.5), colour, alpha=0.78, blur=3, clip=on_face)
    if scene.has["Smiling"]:
        for side in (-1, 1):
            fold = np.array([(10.5, 25), (17, 30), (22.5, 38)]) * (side, 1)
            scene.stroke(fold, 2.6, scene.skin_dark, alpha=0.3, blur=1.2, clip=on_face)
            scene.fill(ellipse(side * 24, 17, 7, 4, -side * 0.3), scene.skin_light, alpha=0.35, blur=2, clip=on_face)


def draw_age(scene: Scene) -> None:
    """Wrinkles, bags under the eyes and the folds beside nose and mouth, on a face that is not young."""
    if scene.has["Young"]:
        return
    line, on_face = scene.skin_line, scene.face_mask
    for row, (v, half) in enumerate(((-39, 19), (-32, 22), (-25, 20))):
        path = [(-half, v + 2), (-half / 2, v), (0, v + 1.2), (half / 2, v), (half, v + 2)]
        scene.stroke(np.array(path), 2.6, line, alpha=0.78 + 0.05 * row, blur=0.5, clip=on_face)
    for side in (-1, 1):
        eye = EYE[0]
        bag = np.array([(eye - 9, 6.5), (eye - 3, 11), (eye + 4, 11), (eye + 9, 7)]) * (side, 1)
        scene.stroke(bag, 3.2, line, alpha=0.9, blur=0.6)
        shade = ellipse(side * eye, 7.5, 9, 3)
        scene.fill(shade, scene.skin_dark, alpha=0.6, blur=1.5)
        for v in (-4, 0, 4):
            foot = np.array([(eye + 11.5, v * 0.5), (eye + 17, v * 1.5)]) * (side, 1)
            scene.stroke(foot, 1.5, line, alpha=0.6, blur=0.4, clip=on_face)
        fold = np.array([(11, 23), (17, 30), (20.5, 38), (20, 44)]) * (side, 1)
        scene.stroke(fold, 3.8, line, alpha=0.95, blur=0.7, clip=on_face)
        corner = np.array([(18.5, 47), (19.5, 52), (18.5, 57)]) * (side, 1)
        scene.stroke(corner, 3.0, line, alpha=0.85, blur=0.7, clip=on_face)
        hollow = ellipse(side * 27, 30, 4, 10, side * 0.4)
        scene.fill(hollow, scene.skin_dark, alpha=0.5, blur=2.5, clip=on_face)
