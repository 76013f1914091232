"""Captions written from attributes: what a person might say of a face, true to its labels and never all of them.

A caption names a random part of what is known, in one of several manners (a sentence, a clause, a list of words) and
with synonyms. It comes with the states that it says, which are those of the face or unknown: asked for by sentence, a
face can be scored like one asked for by attributes. CelebA's forty attributes have words of their own; any other name
is spoken as it is written ("Wearing_Scarf": wearing scarf; "Red_Shirt": with red shirt).

Everything is drawn from the stream (seed, "caption", face, number), so no caption depends on how many are written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from facet.data.attributes import ABSENT, EXCLUSIVE, PRESENT, UNKNOWN
from facet.seeding import numpy_stream

Role = Literal["with", "wearing", "being"]


class _Words(NamedTuple):
    """How an attribute is spoken of: ``present`` and ``absent`` are synonyms; without ``absent``, "no" does."""

    role: Role
    present: tuple[str, ...]
    absent: tuple[str, ...] = ()
    # Where it is another than ``role``.
    absent_role: Role | None = None


_WORDS: Mapping[str, _Words] = {
    "5_o_Clock_Shadow": _Words("with", ("a five o'clock shadow", "stubble")),
    "Arched_Eyebrows": _Words("with", ("arched eyebrows",)),
    "Attractive": _Words("being", ("attractive", "good-looking"), ("plain",)),
    "Bags_Under_Eyes": _Words("with", ("bags under the eyes",)),
    "Bald": _Words("being", ("bald", "hairless"), ("not bald",)),
    "Bangs": _Words("with", ("bangs", "a fringe")),
    "Big_Lips": _Words("with", ("full lips", "big lips"), ("thin lips",)),
    "Big_Nose": _Words("with", ("a big nose", "a large nose"), ("a small nose",)),
    "Blurry": _Words("being", ("blurry", "out of focus"), ("sharp", "in focus")),
    "Bushy_Eyebrows": _Words("with", ("bushy eyebrows", "thick eyebrows"), ("thin eyebrows",)),
    "Chubby": _Words("being", ("chubby",), ("slim",)),
    "Double_Chin": _Words("with", ("a double chin",)),
    "Eyeglasses": _Words("wearing", ("glasses", "eyeglasses", "spectacles")),
    "Goatee": _Words("with", ("a goatee", "a chin beard")),
    "Heavy_Makeup": _Words("wearing", ("heavy makeup", "makeup")),
    "High_Cheekbones": _Words("with", ("high cheekbones",)),
    "Mouth_Slightly_Open": _Words(
        "with",
        ("an open mouth", "a slightly open mouth", "parted lips"),
        ("a closed mouth", "closed lips"),
    ),
    "Mustache": _Words("with", ("a mustache", "a moustache")),
    "Narrow_Eyes": _Words("with", ("narrow eyes",), ("wide eyes",)),
    "No_Beard": _Words("being", ("clean-shaven", "beardless"), ("a beard", "facial hair"), "with"),
    "Oval_Face": _Words("with", ("an oval face",)),
    "Pale_Skin": _Words("with", ("pale skin", "a pale complexion")),
    "Pointy_Nose": _Words("with", ("a pointy nose", "a pointed nose")),
    "Receding_Hairline": _Words("with", ("a receding hairline",)),
    "Rosy_Cheeks": _Words("with", ("rosy cheeks", "flushed cheeks", "blush on the cheeks")),
    "Sideburns": _Words("with", ("sideburns",)),
    "Smiling": _Words("being", ("smiling", "beaming"), ("not smiling", "unsmiling", "serious")),
    "Wearing_Earrings": _Words("wearing", ("earrings", "ear rings")),
    "Wearing_Hat": _Words("wearing", ("a hat", "headwear")),
    "Wearing_Lipstick": _Words("wearing", ("lipstick", "painted lips")),
    "Wearing_Necklace": _Words("wearing", ("a necklace",)),
    "Wearing_Necktie": _Words("wearing", ("a tie", "a necktie")),
}
# Spoken of together, in the subject and in one phrase on the hair.
_SUBJECT = ("Male", "Young")
_COLOURS = {
    "Black_Hair": ("black",),
    "Blond_Hair": ("blond", "blonde", "fair"),
    "Brown_Hair": ("brown", "chestnut"),
    "Gray_Hair": ("gray", "grey"),
}
_TEXTURES = {"Straight_Hair": ("straight",), "Wavy_Hair": ("wavy", "curly")}
_NOUNS = {PRESENT: ("man", "guy", "gentleman"), ABSENT: ("woman", "lady"), UNKNOWN: ("person",)}
_AGES = {PRESENT: ("young", "youthful"), ABSENT: ("older", "elderly"), UNKNOWN: ("",)}
_MOST_ABSENCES = 4
_OPENINGS = (
    "a photo of ",
    "a portrait of ",
    "a picture of ",
    "a close-up of ",
    "the face of ",
    "a headshot of ",
    "",
    "",
)


@dataclasses.dataclass(frozen=True)
class Caption:
    """``text``, and what it says: ``states`` int8 [k] of -1, 0, 1."""

    text: str
    states: np.ndarray


@dataclasses.dataclass
class _Said:
    """The phrases of a caption by role, for what is there and for what is not."""

    being: list[str] = dataclasses.field(default_factory=list)
    has: list[str] = dataclasses.field(default_factory=list)
    wears: list[str] = dataclasses.field(default_factory=list)
    lacks: list[str] = dataclasses.field(default_factory=list)


def write_caption(states: np.ndarray, names: Sequence[str], seed: int, face: int, number: int = 0) -> Caption:
    """Caption ``number`` of face ``face``, whose attributes ``names`` are in ``states`` int8 [k] of -1, 0, 1; what
    should never be spoken of is 0 there."""
    stream = numpy_stream(seed, "caption", face, number)
    told = _chosen(np.asarray(states, dtype=np.int8), {name: k for k, name in enumerate(names)}, stream)
    said = {name: int(state) for name, state in zip(names, told, strict=True) if state != UNKNOWN}
    subject = _subject(said, stream)
    text = _MANNERS[int(stream.integers(len(_MANNERS)))](subject, _phrases(said, stream), stream)
    return Caption(text, told)


def _chosen(states: np.ndarray, column: Mapping[str, int], stream: np.random.Generator) -> np.ndarray:
    """What the caption will say: part of what is present, little of what is absent, no contradiction."""
    # Some captions say nearly all and some little, and most leave absences unsaid, as people do.
    present, absent = 0.3 + 0.7 * stream.random(), 0.35 * stream.random() ** 2
    rate = np.where(states == PRESENT, present, absent)
    rate[[column[name] for name in _SUBJECT if name in column]] = 0.8
    # A colour or texture of hair that is not there is a clumsy thing to say, and so is that a woman has no beard.
    rate[[k for name, k in column.items() if states[k] == ABSENT and (name in _COLOURS or name in _TEXTURES)]] = 0
    if "Male" in column and "No_Beard" in column and states[column["Male"]] == ABSENT:
        rate[column["No_Beard"]] *= 0.1
    told = np.where(stream.random(len(states)) < rate, states, UNKNOWN).astype(np.int8)
    absences = stream.permutation([k for k in range(len(told)) if told[k] == ABSENT and k != column.get("Male")])
    told[absences[_MOST_ABSENCES:].astype(int)] = UNKNOWN
    for group in EXCLUSIVE:
        members = [k for name, k in column.items() if name in group and told[k] == PRESENT]
        # Labels that contradict one another are left unsaid, all of them.
        if len(members) > 1:
            told[members] = UNKNOWN
    return told


def _pick(words: Sequence[str], stream: np.random.Generator) -> str:
    return words[int(stream.integers(len(words)))]


def _subject(said: Mapping[str, int], stream: np.random.Generator) -> str:
    """ "young woman", "older man", "person" """
    noun = _pick(_NOUNS[said.get("Male", UNKNOWN)], stream)
    return f"{_pick(_AGES[said.get('Young', UNKNOWN)], stream)} {noun}".strip()


def _phrases(said: Mapping[str, int], stream: np.random.Generator) -> _Said:
    found = _Said()
    hair = " ".join(
        _pick(words, stream) for table in (_TEXTURES, _COLOURS) for name, words in table.items() if name in said
    )
    if hair:
        found.has.append(f"{hair} hair")
    for name in stream.permutation(sorted(said)):
        if name in _SUBJECT or name in _COLOURS or name in _TEXTURES:
            continue
        words = _WORDS.get(name) or _spoken(str(name))
        if said[name] == ABSENT and not words.absent:
            found.lacks.append(_pick(words.present, stream))
            continue
        phrase = _pick(words.present if said[name] == PRESENT else words.absent, stream)
        role = words.role if said[name] == PRESENT else words.absent_role or words.role
        {"with": found.has, "wearing": found.wears, "being": found.being}[role].append(phrase)
    return found


def _spoken(name: str) -> _Words:
    """Words for an attribute that CelebA does not have."""
    role: Role = "wearing" if name.casefold().startswith("wearing_") else "with"
    return _Words(role, (name[8 * (role == "wearing") :].replace("_", " ").strip().casefold(),))


def _listed(phrases: Sequence[str], last: str = "and") -> str:
    """ "a, b and c" """
    return f" {last} ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _bare(phrase: str) -> str:
    """ "a hat" -> "hat": what follows "no"."""
    return phrase.removeprefix("an ").removeprefix("a ")


def _with_article(subject: str) -> str:
    return f"{'an' if subject[0] in 'aeiou' else 'a'} {subject}"


def _sentence(subject: str, said: _Said, stream: np.random.Generator) -> str:
    """ "a photo of a smiling young woman with wavy hair, wearing a hat, without glasses" """
    before = said.being[:1] if said.being and not said.being[0].startswith("not ") else []
    text = _pick(_OPENINGS, stream) + _with_article(" ".join([*before, subject]))
    rest = said.being[len(before) :]
    groups = []
    if said.has:
        groups.append(f" with {_listed(said.has)}")
    if said.wears:
        groups.append(f", wearing {_listed(said.wears)}")
    if rest:
        groups.append(f", {_listed(rest)}")
    if said.lacks:
        groups.append(f", without {_listed(said.lacks, 'or')}")
    return text + "".join(groups)


def _clause(subject: str, said: _Said, stream: np.random.Generator) -> str:
    """ "a young woman who is smiling, has wavy hair, wears a hat and has no glasses" """
    deeds = []
    if said.being:
        deeds.append(f"is {_listed(said.being)}")
    if said.has:
        deeds.append(f"has {_listed(said.has)}")
    if said.wears:
        deeds.append(f"wears {_listed(said.wears)}")
    if said.lacks:
        deeds.append(f"has no {_listed([_bare(p) for p in said.lacks], 'or')}")
    text = _pick(_OPENINGS, stream) + _with_article(subject)
    order = stream.permutation(len(deeds))
    return f"{text} who {_listed([deeds[i] for i in order])}" if deeds else text


def _tags(subject: str, said: _Said, stream: np.random.Generator) -> str:
    """ "young woman, smiling, wavy hair, no glasses, hat" """
    words = [*said.being, *map(_bare, said.has), *map(_bare, said.wears), *(f"no {_bare(p)}" for p in said.lacks)]
    return ", ".join([subject, *(words[i] for i in stream.permutation(len(words)))])


_MANNERS = (_sentence, _clause, _tags)
