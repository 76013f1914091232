"""Two evaluation records side by side: is B better than A, or was it only the draw?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facet.artifacts import EVALUATION, EVALUATION_SCHEMA, flatten, read_json
from facet.errors import ArtifactError
from facet.evaluation.bootstrap import Interval

# Which model was scored is the question itself.
_MAY_DIFFER = {"model"}
# Two kinds of pipeline have no sampler and no steps in common; how each is run is part of the model.
_PIPELINE, _SAMPLING = "pipeline", "sampling."
# What isn't a score.
_NO_SCORES = {"schema", "protocol", "intervals", "made_by", "warnings"}
# Fields of a protocol that stand among the scores: another layer or weights file is another feature space.
_SPACE = ("layer", "weights_sha256")


@dataclasses.dataclass(frozen=True)
class Row:
    """One score of both records; None where a record has no such score or no interval for it."""

    name: str
    a: float | None
    b: float | None
    a_interval: Interval | None
    b_interval: Interval | None
    # b - a, and its 95 % interval.
    difference: float | None
    interval: Interval | None

    @property
    def significant(self) -> bool:
        """Whether the difference's interval leaves out 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def read_record(place: Path) -> dict[str, Any]:
    """The record in a file, or in the folder of a chain. Raises ArtifactError where there is none."""
    if place.is_dir():
        inside = (place / EVALUATION, place / EVALUATION.name)
        found = next((path for path in inside if path.is_file()), None)
        if found is None:
            raise ArtifactError(
                f"{place} holds neither {EVALUATION} nor {EVALUATION.name}: give a record, or a folder where "
                "`dvc repro evaluate` has run."
            )
        place = found
    return read_json(place, EVALUATION_SCHEMA)


def compare(a: Mapping[str, Any], b: Mapping[str, Any], attributes: bool = False) -> list[Row]:
    """The scores of records ``a`` and ``b``, by their path; ``attributes`` adds those of single attributes.

    Raises ArtifactError, naming the fields, where the two were measured by different protocols.
    """
    unlike = unlike_fields(a, b)
    if unlike:
        unasked = "none" in unlike.get("conditions", ())
        told = ", ".join(f"{name} {_told(ours)} and {_told(theirs)}" for name, (ours, theirs) in unlike.items())
        raise ArtifactError(
            f"the two records have different protocols ({told}), so their scores can't be compared: evaluate both with "
            f"the same params, data and judge{', asking neither (--conditions none)' if unasked else ''}."
        )
    ours, theirs = _scores(a, attributes), _scores(b, attributes)
    names = [*ours, *(name for name in theirs if name not in ours)]
    return [_row(name, ours.get(name), theirs.get(name), a, b) for name in names]


def unlike_fields(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Protocol field -> (a's, b's), where they differ.

    A record from before there were intervals has fewer fields; those it can't have are not held against it.
    """
    ours, theirs = (_protocol(record) for record in (a, b))
    if not ours or not theirs:  # a score without its protocol is no score
        return {"protocol": (None if not ours else "given", None if not theirs else "given")}
    names = (ours.keys() | theirs.keys()) - _MAY_DIFFER
    if ours.get(_PIPELINE) != theirs.get(_PIPELINE):
        names = {name for name in names if name != _PIPELINE and not name.startswith(_SAMPLING)}
    if not ("intervals" in a and "intervals" in b):
        names &= ours.keys() & theirs.keys()
    # What one was not measured in leaves its scores blank, and all others comparable.
    names -= {name for name in names if _says_space(name) and not (name in ours and name in theirs)}
    return {name: (ours.get(name), theirs.get(name)) for name in sorted(names) if ours.get(name) != theirs.get(name)}


def _protocol(record: Mapping[str, Any]) -> dict[str, Any]:
    fields = flatten(record.get("protocol", {}))
    return fields | {name: value for name, value in flatten(record).items() if _says_space(name)}


def _says_space(name: str) -> bool:
    return name.startswith("fidelity.") and name.rpartition(".")[2] in _SPACE


def _told(value: Any) -> str:
    return "none" if value is None else str(value)


def _scores(record: Mapping[str, Any], attributes: bool) -> dict[str, float]:
    """Path -> number, all that the record measured; whole numbers in it are counts."""
    flat = flatten({name: part for name, part in record.items() if name not in _NO_SCORES})
    return {
        name: value
        for name, value in flat.items()
        if isinstance(value, float) and (attributes or ".attributes." not in name)
    }


def _row(name: str, ours: float | None, theirs: float | None, a: Mapping[str, Any], b: Mapping[str, Any]) -> Row:
    around = [_interval(record, name) for record in (a, b)]
    if ours is None or theirs is None:
        return Row(name, ours, theirs, *around, None, None)
    # Beyond the last digit that scores are rounded to, a difference is the arithmetic's.
    difference = round(theirs - ours, 6)
    whole = None if None in around else difference_interval(ours, around[0], theirs, around[1])
    return Row(name, ours, theirs, *around, difference, whole)


def _interval(record: Mapping[str, Any], name: str) -> Interval | None:
    found = record.get("intervals", {}).get(name)
    return None if found is None else (float(found[0]), float(found[1]))


def difference_interval(a: float, a_interval: Interval, b: float, b_interval: Interval) -> Interval:
    """The 95 % interval of b - a from both intervals, which need not be symmetric (Zou & Donner, 2008).

    It takes the two for independent. Scores on the same seeds, conditions or held-out faces vary together, so that the
    true interval is narrower: a difference that is called significant here is one.
    """
    down = math.hypot(b - b_interval[0], a_interval[1] - a)
    up = math.hypot(b_interval[1] - b, a - a_interval[0])
    return round(b - a - down, 6), round(b - a + up, 6)
