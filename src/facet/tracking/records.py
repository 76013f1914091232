"""What the steps left in files for a mirror to copy: params, numbers and curves, a record a step."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facet.artifacts import CURVES, METRICS, flatten, read_json
from facet.errors import ArtifactError
from facet.params import DEFAULT_PATH, load_yaml
from facet.tracking.events import Point


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """What a step left in files: flat params, flat numbers, and curves as (name, step, value) in the file's order."""

    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    curve: tuple[Point, ...] = ()


def read_records(
    params: Path = DEFAULT_PATH, metrics: Path = METRICS, curves: Path = CURVES, leave_out: Sequence[str] = ()
) -> list[StageRecord]:
    """One record for each section of ``params`` and each file in ``metrics`` and ``curves``, in params.yaml's order."""
    return [
        StageRecord(name, given, read_numbers(metrics / f"{name}.json"), read_curve(curves / f"{name}.csv"))
        for name, given in read_params(params, metrics, curves).items()
        if name not in leave_out
    ]


def read_params(
    params: Path = DEFAULT_PATH, metrics: Path = METRICS, curves: Path = CURVES
) -> dict[str, dict[str, str]]:
    """Flat params by step, in params.yaml's order; a step known by its files alone has none."""
    sections = {name: section for name, section in load_yaml(params).items() if isinstance(section, Mapping)}
    written = sorted({p.stem for p in [*metrics.glob("*.json"), *curves.glob("*.csv")]} - set(sections))
    return {
        name: {key: _text(value) for key, value in flatten(sections.get(name, {})).items()}
        for name in [*sections, *written]
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_numbers(path: Path) -> dict[str, float]:
    """The numbers of a metrics file by flat name; none where there is no file."""
    if not path.exists():
        return {}
    flat = flatten(read_json(path))
    return {k: float(v) for k, v in flat.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def read_curve(path: Path) -> tuple[Point, ...]:
    """A curve file (first column ``step``, then one column a value) as (name, step, value); blanks and NaN left out."""
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        points = [(k, int(float(row["step"])), float(v)) for row in rows for k, v in row.items() if k != "step" and v]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is not a curve ({error!r}): delete it and run `dvc repro`.") from None
    return tuple(point for point in points if math.isfinite(point[2]))
