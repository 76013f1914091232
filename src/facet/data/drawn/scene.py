"""What every part of a drawing needs: the canvas, the pose, the light, and the colours of skin and hair in it."""

from __future__ import annotations

import numpy as np

from facet.data.drawn.canvas import Canvas, Colour, mix, open_curve, rgb, ribbon, smoothstep
from facet.data.drawn.geometry import HEIGHT, WIDTH
from facet.data.drawn.person import HAIR_COLOURS, Person

# From deep to light. The lightest still is clearly tan next to a pale skin.
_SKIN = tuple(rgb(*c) for c in ((96, 58, 42), (140, 91, 64), (184, 130, 96), (212, 162, 126), (233, 190, 156)))
_PALE = rgb(250, 234, 229)

# Dark, middle and light tone of each hair colour: well apart, since each of them is an attribute.
_HAIR = {
    "black": (rgb(13, 12, 17), rgb(33, 30, 38), rgb(92, 90, 112)),
    "brown": (rgb(58, 32, 20), rgb(104, 62, 38), rgb(164, 112, 74)),
    "blond": (rgb(172, 124, 50), rgb(228, 186, 98), rgb(252, 232, 168)),
    "gray": (rgb(118, 122, 132), rgb(172, 176, 185), rgb(228, 231, 236)),
    "red": (rgb(128, 36, 14), rgb(196, 74, 30), rgb(246, 142, 78)),
}


class Scene:
    """A person on a canvas, posed and lit. ``u`` and ``v`` are the head coordinates of each pixel."""

    def __init__(self, person: Person) -> None:
        self.person, self.face, self.now = person, person.face, person.moment
        self.has = person.attributes
        self.canvas = Canvas(WIDTH, HEIGHT)
        self.pose = person.moment.pose
        self.u, self.v = self.pose.head_grid()
        self.light = self._light()
        self._set_skin()
        self._set_hair()
        self.face_mask = np.ones((HEIGHT, WIDTH), dtype=np.float32)

    def _light(self) -> np.ndarray:
        """How lit a head's surface is at each pixel, 0..1: an ellipsoid's normals against the light's direction."""
        x = np.float32(0.75 * self.now.light_from)
        direction = np.array([x, -0.45, 0.7], dtype=np.float32)
        direction /= np.sqrt((direction**2).sum())
        nu, nv = np.clip(self.u / 52, -1, 1), np.clip((self.v - 6) / 84, -1, 1)
        nz = np.sqrt(np.maximum(0, 1 - nu * nu - nv * nv))
        lit = nu * direction[0] + nv * direction[1] + nz * direction[2]
        soft = np.float32(0.75 + 0.35 * self.now.light_contrast)
        return np.clip(0.5 + (lit - 0.6) * soft, 0, 1).astype(np.float32)

    def _set_skin(self) -> None:
        """``skin`` (lit, per pixel) and the flat tones that lines, shadows and highlights of the skin are drawn in."""
        if self.has["Pale_Skin"]:
            base = _PALE
        else:
            place = np.clip(self.face.skin_tone, 0, 1) * (len(_SKIN) - 1)
            low = min(int(place), len(_SKIN) - 2)
            base = mix(_SKIN[low], _SKIN[low + 1], place - low)
            base = base + np.float32((self.face.undertone - 0.5) * 0.03) * np.array([0.6, 0.2, -1], dtype=np.float32)
        self.skin_base = self.warm(base)
        self.skin_dark = self.skin_base * np.array([0.72, 0.60, 0.60], dtype=np.float32)
        self.skin_line = self.skin_base * np.array([0.52, 0.38, 0.36], dtype=np.float32)
        self.skin_light = mix(self.skin_base, self.warm(rgb(255, 244, 230)), 0.34)
        self.skin = self.ramp(self.skin_dark, self.skin_base, self.skin_light, self.light)
        self.deep = float(self.skin_base.mean()) < 0.5

    def _set_hair(self) -> None:
        """``hair_tones`` of the hair that is seen, and ``brow_colour``."""
        seen = [colour for colour, name in HAIR_COLOURS.items() if self.has[name]]
        self.hair_seen = bool(seen) or not self.has["Wearing_Hat"]
        fallback = self.face.hair if self.face.hair not in HAIR_COLOURS or not self.hair_seen else "red"
        kind = seen[0] if seen else fallback
        if self.has["Bald"]:
            kind = self.face.hair
        shade = 0.9 + 0.2 * self.face.hair_shade
        self.hair_kind = kind
        self.hair_tones = tuple(self.warm(np.clip(tone * np.float32(shade), 0, 1), 0.5) for tone in _HAIR[kind])
        dark, middle, _ = self.hair_tones
        self.brow_colour = {"blond": mix(dark, rgb(110, 72, 30), 0.6), "gray": mix(dark, rgb(70, 70, 78), 0.5)}.get(
            kind, mix(dark, middle, 0.2)
        )

    def warm(self, colour: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """``colour`` as the picture's light shows it: a little warmer or cooler."""
        by = np.float32(0.022 * strength * self.now.light_warmth)
        return np.clip(colour * (1 + by * np.array([1, 0.1, -1.4], dtype=np.float32)), 0, 1).astype(np.float32)

    @staticmethod
    def ramp(dark: np.ndarray, base: np.ndarray, light: np.ndarray, lit: np.ndarray) -> np.ndarray:
        """A colour per pixel, ``dark`` over ``base`` to ``light`` as ``lit`` ``(height, width)`` goes from 0 to 1."""
        low, high = smoothstep(0.0, 0.62, lit)[..., None], smoothstep(0.6, 1.0, lit)[..., None]
        return dark + (base - dark) * low + (light - base) * high

    def fill(
        self,
        outline: np.ndarray,
        colour: Colour,
        alpha: float = 1.0,
        blur: float = 0.0,
        lift: float = 0.0,
        clip: np.ndarray | None = None,
    ) -> None:
        """Paint an outline given in head coordinates."""
        self.canvas.fill(self.pose.place(outline, lift), colour, alpha, blur, clip)

    def stroke(
        self,
        points: np.ndarray,
        width: float | np.ndarray,
        colour: Colour,
        alpha: float = 1.0,
        blur: float = 0.0,
        lift: float = 0.0,
        taper: str = "both",
        clip: np.ndarray | None = None,
    ) -> None:
        """Paint a smooth line through points given in head coordinates; ``width`` in pixels, one or many along it."""
        path = open_curve(self.pose.place(np.asarray(points, dtype=np.float64), lift))
        if np.ndim(width):
            width = np.interp(np.linspace(0, 1, len(path)), np.linspace(0, 1, len(width)), width)
        self.canvas.fill(ribbon(path, width, taper), colour, alpha, blur, clip)

    def mask(self, outline: np.ndarray, lift: float = 0.0, blur: float = 0.0) -> np.ndarray:
        """The coverage of an outline given in head coordinates, over the whole picture."""
        return self.canvas.mask(self.pose.place(outline, lift), blur)


def mirrored(right: list[tuple[float, float]]) -> np.ndarray:
    """A symmetric outline from its right half, listed from its top on the axis to its bottom on the axis."""
    half = np.array(right, dtype=np.float64)
    return np.concatenate([half, half[-2:0:-1] * (-1, 1)])
