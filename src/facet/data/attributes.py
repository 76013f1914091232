"""Attribute names, and the three states an attribute can be in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facet.errors import ParamsError, did_you_mean

# The state of one attribute of one face, as stored in manifests and fed to the condition encoder.
ABSENT, UNKNOWN, PRESENT = -1, 0, 1

# The 40 binary attributes of CelebA (Liu et al., 2015), in the order of the columns of list_attr_celeba.txt. Tables are
# read by name, never by position; the order matters only where such a table is written.
CELEBA_ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)

# Attributes of which a face has at most one; whoever asks for two of a group asks for nothing that exists.
EXCLUSIVE: tuple[frozenset[str], ...] = (
    frozenset({"Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"}),
    frozenset({"Straight_Hair", "Wavy_Hair"}),
    frozenset({"Bald", "Bangs"}),
    *(frozenset({"Bald", f"{hair}_Hair"}) for hair in ("Straight", "Wavy")),
    *(frozenset({"No_Beard", beard}) for beard in ("Goatee", "Mustache", "5_o_Clock_Shadow")),
)


def parse_request(text: str, names: Sequence[str]) -> np.ndarray:
    """Turn ``"Smiling,Eyeglasses,-Male"`` into states, int8 [len(names)], every unnamed attribute UNKNOWN.

    Names are matched without regard to case. Raises ParamsError on an unknown name (naming the closest valid ones), on
    an attribute that is asked for both present and absent, and on two of which a face has at most one.
    """
    column = {name.casefold(): i for i, name in enumerate(names)}
    states = np.full(len(names), UNKNOWN, dtype=np.int8)
    for word in filter(None, (part.strip() for part in text.split(","))):
        wanted = ABSENT if word.startswith("-") else PRESENT
        name = word.lstrip("+-").strip()
        if name.casefold() not in column:
            raise ParamsError(
                f"unknown attribute {name!r}:{did_you_mean(name, names)} the model knows {len(names)} attributes, "
                "listed by `facet generate --list`."
            )
        i = column[name.casefold()]
        if states[i] not in (UNKNOWN, wanted):
            raise ParamsError(f"attribute {names[i]!r} was asked for both present and absent: name it once.")
        states[i] = wanted
    present = [name for name, state in zip(names, states, strict=True) if state == PRESENT]
    for group in EXCLUSIVE:
        members = [name for name in present if name in group]
        if len(members) > 1:
            raise ParamsError(f"no face has {' and '.join(members)} at once: ask for one of them.")
    return states
