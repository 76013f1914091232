"""Who is drawn: a person's forty attributes and the traits that no attribute names, all from ``(seed, index)``.

Pictures come in blocks of forty that show ten identities, one to eight times each; an identity keeps its skin, face,
sex, age and hair, while pose, light, expression and what is worn change from picture to picture. Nothing here depends
on how many pictures are asked for: person ``index`` is the same in every set of the same seed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.drawn.geometry import Pose, landmarks, mouth_corner
from facet.seeding import numpy_stream

DRAWN_ATTRIBUTES: tuple[str, ...] = (
    "Bald",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "No_Beard",
    "Pale_Skin",
    "Rosy_Cheeks",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Young",
)
"""The attributes that can be seen in the drawings; all others are false on every picture."""

HAIR_COLOURS = {"black": "Black_Hair", "brown": "Brown_Hair", "blond": "Blond_Hair", "gray": "Gray_Hair"}
"""The hair colours that have an attribute; the one that has none is ``"red"``."""

BLOCK = 40
IDENTITIES_PER_BLOCK = 10
# Of the ten identities of a block: so eight, one and one in ten go to train, validation and test, in every block.
_PARTITIONS = (0,) * 8 + (1, 2)

# What the beard of a man may be: mustache, goatee, full beard (a full beard is no goatee: its cheeks are covered too).
BEARDS = ("none", "mustache", "goatee", "goatee+mustache", "full+mustache", "full")


@dataclass(frozen=True)
class Face:
    """The traits an identity keeps. Lengths are pixels of head coordinates, all other numbers run from 0 to 1."""

    male: bool
    young: bool
    pale: bool
    bald: bool
    bushy: bool
    skin_tone: float  # 0 deep, 1 light; not used for a pale skin
    undertone: float
    width: float
    jaw: float
    chin: float
    eye_size: float
    eye_slant: float
    eye_colour: int
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    brow_height: float
    hair: str  # black, brown, blond, gray or red
    hair_shade: float
    fall: str  # how far the hair hangs: up (not at all), short, bob or long
    tied: str  # how hair that does not hang is worn: crop, quiff, side, buzz or bun
    wavy: float  # the chance that this hair is worn wavy where it hangs
    beard: str
    wears_glasses: float
    paints: float  # how fond of make-up


@dataclass(frozen=True)
class Moment:
    """The traits of one picture. Numbers run from 0 to 1 unless said otherwise; colours are picked by them."""

    pose: Pose
    light_from: float  # -1 left .. 1 right
    light_warmth: float  # -1 cool .. 1 warm
    light_contrast: float
    gaze: tuple[float, float]  # pixels
    backdrop: tuple[float, ...]
    clothes: tuple[float, ...]
    hat: tuple[float, ...]
    glasses: tuple[float, ...]
    earrings: tuple[float, ...]
    lipstick: float
    shadow: float  # the colour of the eye shadow
    part: float  # where the hair parts, -1 left .. 1 right
    hair: tuple[float, ...]


@dataclass(frozen=True)
class Person:
    """One picture to draw. ``attributes`` holds all forty of CelebA's, in its order."""

    index: int
    identity: int  # from 1 on
    partition: int  # 0 train, 1 validation, 2 test
    attributes: Mapping[str, bool]
    face: Face
    moment: Moment

    @property
    def mouth_corner(self) -> tuple[float, float]:
        """The right corner of the mouth in head coordinates."""
        smiling, is_open = self.attributes["Smiling"], self.attributes["Mouth_Slightly_Open"]
        return mouth_corner(smiling, is_open, self.face.mouth_width)

    @property
    def landmarks(self) -> dict[str, tuple[int, int]]:
        """``lefteye``, ``righteye``, ``nose``, ``leftmouth``, ``rightmouth`` as whole pixels ``(x, y)``."""
        return landmarks(self.moment.pose, self.mouth_corner)


def sample_person(seed: int, index: int) -> Person:
    """Person ``index`` (from 0 on) of the set named by ``seed``."""
    identity, partition = _identity_of(seed, index)
    face = _sample_face(numpy_stream(seed, "drawn-identity", identity))
    rng = numpy_stream(seed, "drawn-picture", index)
    moment = _sample_moment(rng)
    present = _sample_attributes(rng, face)
    attributes = {name: present.get(name, False) for name in CELEBA_ATTRIBUTES}
    return Person(index, identity, partition, attributes, face, moment)


def _identity_of(seed: int, index: int) -> tuple[int, int]:
    """The identity shown on picture ``index``, and the partition that all of this identity's pictures are in."""
    block, place = divmod(index, BLOCK)
    members, partitions = _block(seed, block)
    member = members[place]
    return block * IDENTITIES_PER_BLOCK + member + 1, partitions[member]


@functools.lru_cache(maxsize=256)
def _block(seed: int, block: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which of a block's ten identities each of its forty pictures shows, and each identity's partition."""
    rng = numpy_stream(seed, "drawn-block", block)
    counts = 1 + rng.binomial(7, 3 / 7, size=IDENTITIES_PER_BLOCK)
    while counts.sum() != BLOCK:
        step = 1 if counts.sum() < BLOCK else -1
        open_ones = np.flatnonzero((counts + step >= 1) & (counts + step <= 8))
        counts[rng.choice(open_ones)] += step
    members = rng.permutation(np.repeat(np.arange(IDENTITIES_PER_BLOCK), counts))
    partitions = rng.permutation(np.array(_PARTITIONS))
    return tuple(int(m) for m in members), tuple(int(p) for p in partitions)


def _pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """One of the keys of ``weights``, as often as its weight says."""
    edges = np.cumsum(list(weights.values()))
    return list(weights)[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def _sample_face(rng: np.random.Generator) -> Face:
    """An identity."""
    male = rng.random() < 0.43
    young = rng.random() < (0.73 if male else 0.82)
    pale = rng.random() < 0.09
    tone = 1.0 if pale else float(rng.random() ** 0.75)
    bald = rng.random() < ((0.12 if young else 0.36) if male else 0.012)
    cut = rng.random()
    return Face(
        male=male,
        young=young,
        pale=pale,
        bald=bald,
        bushy=rng.random() < (0.31 if male else 0.08),
        skin_tone=tone,
        undertone=float(rng.random()),
        width=float(rng.uniform(40.5, 43.5) if male else rng.uniform(38.5, 41)),
        jaw=float(rng.random()),
        chin=float(rng.uniform(65.5, 69) if male else rng.uniform(62, 65.5)),
        eye_size=float(rng.random()),
        eye_slant=float(rng.random()),
        eye_colour=int(rng.integers(0, 3) if tone < 0.45 else rng.integers(0, 6)),
        nose_width=float(rng.uniform(8.5, 11) if male else rng.uniform(6.8, 8.8)),
        nose_length=float(rng.random()),
        mouth_width=float(rng.uniform(14.5, 17)),
        lip_fullness=float(rng.random()),
        brow_height=float(rng.random()),
        hair=_sample_hair(rng, male, young, tone),
        hair_shade=float(rng.random()),
        fall=_sample_fall(cut, male),
        tied=_pick(rng, {"crop": 3, "quiff": 3, "side": 3, "buzz": 1.2} if male else {"bun": 6, "side": 3, "crop": 1}),
        wavy=0.9 if rng.random() < 0.58 else 0.08,
        beard=_sample_beard(rng, young),
        wears_glasses=float(rng.random()),
        paints=float(rng.random()),
    )


def _sample_hair(rng: np.random.Generator, male: bool, young: bool, tone: float) -> str:
    """The colour of an identity's hair."""
    if rng.random() < (0.012 if young else 0.58):
        return "gray"
    if tone < 0.35:
        return _pick(rng, {"black": 0.68, "brown": 0.22, "blond": 0.07, "red": 0.03})
    fair = 0.6 if male else 1.0
    return _pick(rng, {"black": 0.24, "brown": 0.36, "blond": 0.34 * fair, "red": 0.11})


def _sample_fall(cut: float, male: bool) -> str:
    """How far an identity's hair hangs down; ``"up"`` where it does not hang."""
    bounds = {"up": 0.78, "short": 0.9, "bob": 0.95} if male else {"up": 0.16, "short": 0.2, "bob": 0.44}
    return next((fall for fall, bound in bounds.items() if cut < bound), "long")


def _sample_beard(rng: np.random.Generator, young: bool) -> str:
    """The beard this identity would wear as a man."""
    shaven = 0.56 if young else 0.36
    chances = dict(zip(BEARDS, (shaven, 0.11, 0.10, 0.10, 0.11, 0.04), strict=True))
    return _pick(rng, chances)


def _sample_moment(rng: np.random.Generator) -> Moment:
    """Pose, light and all that is picked anew for a picture."""

    def several(n: int) -> tuple[float, ...]:
        return tuple(float(x) for x in rng.random(n))

    pose = Pose(
        x=float(rng.uniform(-1.5, 1.5)),
        y=float(rng.uniform(-1.5, 1.5)),
        scale=float(rng.uniform(0.95, 1.05)),
        tilt=float(math.radians(np.clip(rng.normal(0, 2.6), -6, 6))),
        yaw=float(np.clip(rng.normal(0, 4), -8, 8)),
        pitch=float(rng.uniform(-2.5, 2.5)),
    )
    return Moment(
        pose=pose,
        light_from=float(rng.uniform(-1, 1)),
        light_warmth=float(rng.uniform(-1, 1)),
        light_contrast=float(rng.random()),
        gaze=(float(rng.uniform(-1.6, 1.6)), float(rng.uniform(-0.5, 0.6))),
        backdrop=several(14),
        clothes=several(4),
        hat=several(5),
        glasses=several(4),
        earrings=several(3),
        lipstick=float(rng.random()),
        shadow=float(rng.random()),
        part=float(rng.uniform(-1, 1)),
        hair=several(4),
    )


def _sample_attributes(rng: np.random.Generator, face: Face) -> dict[str, bool]:
    """What can be seen on one picture of ``face``. An attribute that something else hides is false."""
    male, young = face.male, face.young
    hat = rng.random() < 0.095
    bald = face.bald and not hat
    has_hair = not face.bald
    hanging = has_hair and face.fall != "up"
    wavy = hanging and (face.fall == "short" or rng.random() < face.wavy)
    bangs = has_hair and not hat and rng.random() < (0.06 if male else 0.32)
    beard = face.beard if rng.random() < 0.85 else BEARDS[int(rng.integers(len(BEARDS)))]
    if not male:
        beard = "none"
    smiling = rng.random() < (0.43 if male else 0.54)
    lipstick = rng.random() < (0.012 if male else 0.25 + 0.72 * face.paints)
    makeup = rng.random() < (0.008 if male else 0.08 + (0.9 if lipstick else 0.3) * face.paints)
    rosy = rng.random() < (0.05 if male else 0.1 + 0.08 * smiling + 0.12 * makeup)
    glasses = rng.random() < (0.82 if face.wears_glasses < (0.1 if young else 0.26) else 0.02)
    # Hair that does not hang peeps out from under a hat only where it is not worn buzzed or tied up.
    shows_hair = has_hair and (not hat or hanging or face.tied in ("crop", "quiff", "side"))
    present = {
        "Bald": bald,
        "Bangs": bangs,
        "Bushy_Eyebrows": face.bushy,
        "Eyeglasses": glasses,
        "Goatee": beard.startswith("goatee"),
        "Heavy_Makeup": makeup,
        "Male": male,
        "Mouth_Slightly_Open": rng.random() < (0.72 if smiling else 0.28),
        "Mustache": beard.endswith("mustache"),
        "No_Beard": beard == "none",
        "Pale_Skin": face.pale,
        "Rosy_Cheeks": rosy,
        "Smiling": smiling,
        "Straight_Hair": hanging and not wavy,
        "Wavy_Hair": wavy,
        "Wearing_Earrings": rng.random() < (0.05 if male else 0.36),
        "Wearing_Hat": hat,
        "Wearing_Lipstick": lipstick,
        "Young": young,
    }
    return present | {name: shows_hair and face.hair == colour for colour, name in HAIR_COLOURS.items()}
