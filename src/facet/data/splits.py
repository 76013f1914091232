"""Which usable pictures become faces, and in which split: nothing of what is held out may be learned from.

Exact copies go but for one. A picture that is nearly the same as one of a split held out further (test, then valid,
then train) goes too; within one split near duplicates stay, and are told. Where the data names no split, a hash
decides: of the identity where known, of the picture where not, so that neither a person nor a picture is in two splits,
and more data moves nobody. Data that name every picture's split, but none valid or none test, lend them a share of
train by the same hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence

import numpy as np

from facet.data.blocks import Measured, Refused
from facet.data.duplicates import groups, near_duplicates
from facet.data.raw import SPLITS, RawSet
from facet.params import Fraction

_UNKNOWN = -1
_TRAIN, _VALID, _TEST = range(len(SPLITS))


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Shares of the faces that are held out where the data does not say itself which."""

    valid: Fraction
    test: Fraction

    def __post_init__(self) -> None:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid and test are {self.valid:g} and {self.test:g}: nothing is left to learn from")


@dataclasses.dataclass(frozen=True)
class Decision:
    """``kept`` bool [m] of the measured pictures; of those kept, ``split`` int8 (index of SPLITS) and ``near`` int64,
    the first kept picture of the group of near duplicates that each is in; ``refused``: the others, and why."""

    kept: np.ndarray
    split: np.ndarray
    near: np.ndarray
    refused: list[Refused]


def decide(raw: RawSet, measured: Measured, held_out: HeldOut) -> Decision:
    """Splits and duplicates of the usable pictures of ``raw``."""
    # Held out first, then in order: of equal pictures the first stays.
    named = raw.splits[measured.rows].astype(np.int8)
    order = np.argsort(-named, kind="stable")
    copy_of = _first_of_equal(measured.sources, order)
    kept = copy_of == np.arange(len(measured))
    refused = [
        Refused(int(measured.rows[k]), "duplicate", f"the same file as {raw.ids[measured.rows[copy_of[k]]]}")
        for k in np.flatnonzero(~kept)
    ]
    rows = np.flatnonzero(kept)
    near = groups(len(rows), near_duplicates(measured.hashes[rows].view(np.uint64), measured.thumbnails[rows]))
    split = _assigned(raw, measured, rows, near, named[rows], held_out)
    leaking = _held_out_further(near, split)
    for k in np.flatnonzero(leaking >= 0):
        twin = raw.ids[measured.rows[rows[leaking[k]]]]
        reason = f"nearly the same picture as {twin} of split {SPLITS[split[leaking[k]]]}"
        refused.append(Refused(int(measured.rows[rows[k]]), "near duplicate", reason))
    stays = leaking < 0
    kept[rows[~stays]] = False
    return Decision(kept, split[stays], _renumbered(near, stays), refused)


def _first_of_equal(sources: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each row of ``sources`` uint8 [m, 32] the row of the equal one that comes first in ``order``."""
    _, found, of = np.unique(sources[order], axis=0, return_index=True, return_inverse=True)
    first = np.empty(len(order), np.int64)
    first[order] = order[found[of.ravel()]]
    return first


def _assigned(
    raw: RawSet, measured: Measured, rows: np.ndarray, near: np.ndarray, named: np.ndarray, held_out: HeldOut
) -> np.ndarray:
    """The split of each kept picture: as named, or that of its whole family by hash."""
    unnamed = (named == _UNKNOWN).any()
    lacking = [] if unnamed else [k for k in (_VALID, _TEST) if not (named == k).any()]
    if not unnamed and not lacking:
        return named
    identities = raw.identities[measured.rows[rows]]
    family = _families(near, identities)
    split = named.copy()
    members: dict[int, list[int]] = {}
    for k, head in enumerate(family.tolist()):
        members.setdefault(head, []).append(k)
    for own in members.values():
        known = [int(named[k]) for k in own if named[k] != _UNKNOWN]
        open_ones = [k for k in own if named[k] == _UNKNOWN]
        if open_ones:
            split[open_ones] = max(known) if known else _hashed(own, identities, measured.sources[rows], held_out)
        elif set(known) == {_TRAIN}:
            lent = _hashed(own, identities, measured.sources[rows], held_out)
            split[own] = lent if lent in lacking else _TRAIN
    _tell_lent(lacking, split)
    return split


def _tell_lent(lacking: Sequence[int], split: np.ndarray) -> None:
    for k in lacking:
        if lent := int((split == k).sum()):
            warnings.warn(
                f"the data names no picture {SPLITS[k]}: {lent:,} of train are taken (prepare.held_out)", stacklevel=2
            )


def _families(near: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Groups of pictures of one person or of near duplicates, by their first member."""
    known = np.flatnonzero(identities != _UNKNOWN)
    _, first, of = np.unique(identities[known], return_index=True, return_inverse=True)
    same_person = np.stack([known[first[of.ravel()]], known], axis=1)
    same_picture = np.stack([near, np.arange(len(near))], axis=1)
    pairs = np.concatenate([same_person, same_picture])
    return groups(len(near), pairs[pairs[:, 0] != pairs[:, 1]])


def _hashed(own: Sequence[int], identities: np.ndarray, sources: np.ndarray, held_out: HeldOut) -> int:
    """The split of a family, by what does not depend on the order of the pictures: its least identity or digest."""
    people = [int(identities[k]) for k in own if identities[k] != _UNKNOWN]
    name = str(min(people)) if people else min(sources[k].tobytes() for k in own).hex()
    place = int.from_bytes(hashlib.sha256(f"split:{name}".encode()).digest()[:8], "big") / 2**64
    if place < held_out.test:
        return _TEST
    return _VALID if place < held_out.test + held_out.valid else _TRAIN


def _held_out_further(near: np.ndarray, split: np.ndarray) -> np.ndarray:
    """For each picture the one of its near duplicates that is held out further than itself, -1 where none is."""
    furthest = np.full(len(near), -1, np.int64)
    # Written in ascending order of how far a picture is held out, so that the last one written is the furthest.
    order = np.lexsort((-np.arange(len(near)), split))
    furthest[near[order]] = order
    mine = furthest[near]
    return np.where(split[mine] > split, mine, -1)


def _renumbered(near: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Groups among those that stay, each by its first member there."""
    rows = np.flatnonzero(stays)
    _, first, of = np.unique(near[rows], return_index=True, return_inverse=True)
    return first[of.ravel()].astype(np.int64)
