"""What changed between two prepared sets, picture by picture: pictures are told apart by their ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from facet.data.datasets import ATTRIBUTE
from facet.data.profile import STATES
from facet.data.raw import SPLITS
from facet.data.tables import Tables

_EXAMPLES = 5
# What faces.json says of how all pictures were made.
_PREPARED = ("size", "crop", "resize", "layout")


@dataclasses.dataclass(frozen=True)
class Some:
    """How many pictures, and the ids of the first few in the order of the set they are in."""

    count: int
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Relabelled:
    """An attribute some of whose labels changed. ``ways`` counts them by "absent to present" and the like."""

    name: str
    ways: dict[str, int]
    faces: Some


@dataclasses.dataclass(frozen=True)
class Moved:
    """Pictures that went from one split to another."""

    before: str
    after: str
    faces: Some


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """Pictures put aside for one reason that were not before; ``were_faces`` counts those that were in the set."""

    kind: str
    pictures: Some
    were_faces: int


@dataclasses.dataclass(frozen=True)
class Difference:
    """``changed`` pictures have another source digest. What follows it speaks of pictures in both sets, changed ones
    too; ``relabelled`` only of attributes that both have, the most often changed first.

    ``prepared`` maps size, crop and the like to (before, after) where they differ; ``released`` were in quarantine and
    are no more.
    """

    prepared: dict[str, tuple[Any, Any]]
    kept: int
    added: Some
    removed: Some
    changed: Some
    relabelled: tuple[Relabelled, ...]
    moved: tuple[Moved, ...]
    recaptioned: Some
    reidentified: Some
    quarantined: tuple[Quarantined, ...]
    released: Some

    @property
    def nothing(self) -> bool:
        """Whether no picture, no label and no setting differs."""
        several = (self.added, self.removed, self.changed, self.recaptioned, self.reidentified, self.released)
        listed = (self.prepared, self.relabelled, self.moved, self.quarantined)
        return not any(listed) and not any(some.count for some in several)


def difference(before: Tables, after: Tables) -> Difference:
    """What one has to do to ``before`` to get ``after``."""
    place = _places(after.faces["id"], before.faces["id"])
    here = np.flatnonzero(place >= 0)
    old, new = before.faces.take(place[here]), after.faces.take(here)
    ids = new["id"]
    gone = np.flatnonzero(_places(before.faces["id"], after.faces["id"]) < 0)
    common = [name for name in after.names if name in before.names]
    relabelled = [_relabelled(name, old[ATTRIBUTE + name], new[ATTRIBUTE + name], ids) for name in common]
    return Difference(
        prepared={
            name: (before.about.get(name), after.about.get(name))
            for name in _PREPARED
            if before.about.get(name) != after.about.get(name)
        },
        kept=len(here),
        added=_some(after.faces["id"], place < 0),
        removed=_some(before.faces["id"].take(gone)),
        changed=_some(ids, _differ(old["source"], new["source"])),
        relabelled=tuple(sorted((one for one in relabelled if one.ways), key=lambda one: -one.faces.count)),
        moved=tuple(_moves(old["split"], new["split"], ids)),
        recaptioned=_some(ids, _differ(_joined(old["captions"]), _joined(new["captions"]))),
        reidentified=_some(ids, _differ(old["identity"], new["identity"])),
        quarantined=tuple(_quarantined(before, after)),
        released=_some(_fresh(before.quarantine, after.quarantine)["id"]),
    )


def _places(ids: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray:
    """The row of each id in ``among``, int64 [n], -1 where it is not there."""
    return pc.index_in(ids, value_set=among).fill_null(-1).to_numpy().astype(np.int64)


def _some(ids: pa.ChunkedArray, chosen: np.ndarray | None = None) -> Some:
    """Those ``ids`` that are ``chosen``, a mask [n]; all where it is left out."""
    rows = np.arange(len(ids)) if chosen is None else np.flatnonzero(chosen)
    return Some(len(rows), tuple(ids.take(rows[:_EXAMPLES]).to_pylist()))


def _differ(old: pa.ChunkedArray, new: pa.ChunkedArray) -> np.ndarray:
    return pc.not_equal(old, new).fill_null(True).to_numpy().astype(bool)


def _joined(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each face's captions as one string; no caption and one empty caption are told apart."""
    texts = pc.fill_null(pc.binary_join(captions.cast(pa.list_(pa.string())), "\0"), "")
    counts = pc.list_value_length(captions).fill_null(0).cast(pa.string())
    return pc.binary_join_element_wise(counts, texts, "\0")


def _relabelled(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray, ids: pa.ChunkedArray) -> Relabelled:
    was, now = old.to_numpy(), new.to_numpy()
    ways = {
        f"{before} to {after}": int(((was == a) & (now == b)).sum())
        for before, a in STATES.items()
        for after, b in STATES.items()
        if a != b
    }
    return Relabelled(name, {way: count for way, count in ways.items() if count}, _some(ids, was != now))


def _moves(old: pa.ChunkedArray, new: pa.ChunkedArray, ids: pa.ChunkedArray) -> Iterable[Moved]:
    was, now = (column.to_numpy().astype(str) for column in (old, new))
    for before in SPLITS:
        for after in SPLITS:
            mask = (was == before) & (now == after)
            if before != after and mask.any():
                yield Moved(before, after, _some(ids, mask))


def _fresh(now: pa.Table, before: pa.Table) -> pa.Table:
    """The rows of one quarantine whose ids the other does not hold."""
    return now.filter(pa.array(_places(now["id"], before["id"]) < 0))


def _quarantined(before: Tables, after: Tables) -> Iterable[Quarantined]:
    fresh = _fresh(after.quarantine, before.quarantine)
    were = _places(fresh["id"], before.faces["id"]) >= 0
    kinds = fresh["kind"].to_numpy().astype(str)
    for kind in np.unique(kinds):
        mask = kinds == kind
        yield Quarantined(str(kind), _some(fresh["id"], mask), int((were & mask).sum()))
