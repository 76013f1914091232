"""``reports/data.html``: one page about the prepared data, to look at before hardware is spent on it.

It stands alone, as the report does: pictures are data URIs, charts inline SVG, no script, nothing fetched. The same
tables give the same bytes. Names and reasons are a stranger's text: the template escapes them, and what prints nothing
or turns a line round is spelled out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facet.artifacts import VALIDATION_SCHEMA, read_json, whole_file
from facet.data.profile import drift
from facet.data.tables import Tables, readable
from facet.evaluation import data_exhibits as exhibits
from facet.evaluation.data_charts import association_map, binned
from facet.evaluation.page import fill

TEMPLATE = "data_page.html.j2"
STYLES = ("report.css", "data_page.css")

_MOVED = 15


@dataclasses.dataclass(frozen=True)
class Beside:
    """What else the page speaks of where it is there: the record of `validate`, its Data Docs, a baseline's profile."""

    validation: Path | None = None
    docs: Path | None = None
    baseline: Mapping[str, Any] | None = None


def write_data_page(out: Path, folder: Path, tables: Tables, profile: Mapping[str, Any], beside: Beside) -> None:
    """Write the page on ``tables``, those of the prepared faces in ``folder``, and their ``profile`` to ``out``.

    Raises ArtifactError where a shard or the record of `validate` is damaged.
    """
    here = Path(__file__)
    page = fill(here.with_name(TEMPLATE), _sections(out, folder, tables, profile, beside))
    with whole_file(out) as scratch:
        scratch.write_text(page, encoding="utf-8", newline="\n")


def _sections(out: Path, folder: Path, tables: Tables, profile: Mapping[str, Any], beside: Beside) -> dict[str, Any]:
    gallery = exhibits.Gallery(folder, tables)
    validation = _validation(beside.validation)
    docs = beside.docs is not None and beside.docs.is_file()
    return {
        "style": "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in STYLES),
        "profile": profile,
        "facts": list(_facts(tables, profile)),
        "licence": _noted(tables, "licence"),
        "sample": exhibits.sample(tables, gallery),
        "extremes": exhibits.extremes(tables, gallery),
        "balance": exhibits.balance(profile),
        "pairs": _pairs(tables),
        "figures": _figures(tables, profile, exhibits.limits(validation), beside.baseline),
        "validation": validation,
        "broken": [readable(o["name"], 120) for o in (validation or {}).get("outcomes", []) if not o["passed"]],
        "docs": Path(os.path.relpath(beside.docs, out.parent)).as_posix() if docs else None,
        "sizes": exhibits.sizes(tables),
        "near": exhibits.near_duplicates(tables, gallery),
        "aside": list(exhibits.put_aside(tables)),
        "drift": None if beside.baseline is None else _drift(beside.baseline, profile),
    }


def _validation(path: Path | None) -> dict[str, Any] | None:
    return read_json(path, VALIDATION_SCHEMA) if path is not None and path.is_file() else None


def _noted(tables: Tables, key: str) -> str | None:
    value = (tables.about.get("source") or {}).get(key)
    return None if value is None else readable(str(value), 200)


def _facts(tables: Tables, profile: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, its value) for the list of facts; what `facet fetch` noted of the source comes as it is."""
    yield "prepared", f"{profile['size']} px, crop {profile['crop']}, layout {profile['layout']}"
    for key, value in sorted((tables.about.get("source") or {}).items()):
        if isinstance(value, str | int | float):
            yield f"source, {readable(key)}", readable(str(value), 200)
    yield "SHA-256 of the manifest", profile["digest"]


def _pairs(tables: Tables) -> dict[str, Any] | None:
    """The map of which attributes go together, None where fewer than two of them vary."""
    chosen = exhibits.mapped(tables.states)
    if len(chosen) < 2:
        return None
    names = [tables.names[k] for k in chosen]
    phi = exhibits.association(tables.states[:, chosen])
    strongest = [(readable(a, 40), readable(b, 40), value) for a, b, value in exhibits.strongest(names, phi)]
    return {"svg": association_map(names, phi), "strongest": strongest, "left_out": len(tables.names) - len(names)}


def _figures(
    tables: Tables,
    profile: Mapping[str, Any],
    limits: Mapping[str, list[float]],
    baseline: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    before = {} if baseline is None else baseline["figures"]
    found = []
    for name, figure in profile["figures"].items():
        if name in ("width", "height") and not figure["std"] and baseline is None:
            continue  # one size, which the page says in words
        values, ends = tables.column(name), limits.get(name, [])
        # One limit is a least; of two the greater is a most.
        beyond = int((values < ends[0]).sum() + (values > ends[-1]).sum() * (len(ends) > 1)) if ends else 0
        title = f"How {name} is spread: {figure['mean']:.4g} ± {figure['std']:.3g}"
        svg = binned(figure, title, ends, before.get(name))
        found.append({"name": name, **figure, "svg": svg, "limits": ends, "beyond": beyond})
    return found


def _drift(baseline: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    moved = drift(baseline, profile)
    differ = [one for one in moved.attributes if one.before != one.after]
    shown = [dataclasses.replace(one, name=readable(one.name, 40)) for one in differ[:_MOVED]]
    return {
        "count": baseline["count"],
        "digest": baseline["digest"],
        "attributes": shown,
        "left_out": len(moved.attributes) - len(shown),
        "notable": sum(one.notable for one in moved.attributes),
        "figures": moved.figures,
        "appeared": [readable(name) for name in moved.appeared],
        "vanished": [readable(name) for name in moved.vanished],
    }
