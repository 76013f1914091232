"""The report's table against another version: the headline scores side by side, and which way each has moved.

The chain's own page leaves the place open. The step that makes it is cached and depends on nothing but its deps, and
what the registry holds is none of them; so whoever knows another version fills the place in a copy: ``register`` in the
one that it keeps with the version, ``facet report`` in one to look at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facet.errors import ArtifactError
from facet.evaluation.compare import Row, compare
from facet.evaluation.page import fill
from facet.evaluation.scores import Score, scores

TEMPLATE = "comparison.html.j2"
# What encloses the part on the page. Text on the page is escaped, so that nothing else can look like it.
BEGIN, END = "<!-- another version: begin -->", "<!-- another version: end -->"
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"


@dataclasses.dataclass(frozen=True)
class Line:
    """One score as the table shows it; ``verdict`` is better, worse or unclear, or empty without an interval."""

    name: str
    there: str
    here: str
    difference: str
    interval: str
    verdict: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """``sentence`` says what came of it; ``rows`` are empty where nothing could be compared."""

    sentence: str
    rows: tuple[Line, ...] = ()


OPEN = Comparison(
    "Which versions there are is the registry’s to say, and this page is the same wherever the chain is run. The copy "
    "that is kept with the registered version has the table against the version before; “facet report” makes one here."
)


def compared(record: Mapping[str, Any], name: str | None, other: Mapping[str, Any] | None) -> Comparison:
    """The headline scores of ``record`` beside those of ``other``, the record of the version called ``name``.

    ``name`` is None where there is no other version, ``other`` None where that version has no record. Neither is an
    error, nor are unlike protocols: the sentence says so.
    """
    if name is None:
        return Comparison("No earlier version with other weights is registered: there is nothing to compare with.")
    if other is None:
        return Comparison(f"Not compared with {name}: it has no evaluation record.")
    if other.get("schema") != record["schema"]:
        return Comparison(
            f"Not compared with {name}: its record is of schema {other.get('schema')!r}, this one {record['schema']!r}."
        )
    try:
        found = {row.name: row for row in compare(other, record)}
    except ArtifactError as error:
        return Comparison(f"Not compared with {name}: {error}")
    rows = tuple(_line(score, found[score.path]) for score in scores(record) if score.path in found)
    verdicts = {verdict: verdict for verdict in (BETTER, WORSE, UNCLEAR)} | {"": "without an interval"}
    counts = {told: sum(row.verdict == verdict for row in rows) for verdict, told in verdicts.items()}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return Comparison(f"Held against {name}, of {len(rows)} scores: {told}.", rows)


def _line(score: Score, row: Row) -> Line:
    """``row``'s a is the other version, its b the one on the page."""
    missing = "not measured"
    apart = "" if row.difference is None else score.change(row.difference)
    between = "" if row.interval is None else score.change(*row.interval)
    return Line(
        name=score.name,
        there=missing if row.a is None else score.show(row.a),
        here=missing if row.b is None else score.show(row.b),
        difference=apart,
        interval=between,
        verdict=_verdict(score, row),
    )


def _verdict(score: Score, row: Row) -> str:
    if row.difference is None or row.interval is None:
        return ""
    if not row.significant:
        return UNCLEAR
    return BETTER if (row.difference > 0) == score.higher_is_better else WORSE


# --- on the page ------------------------------------------------------------------------------------------------------


def part(comparison: Comparison) -> str:
    """The part as HTML, within its marks."""
    content = fill(Path(__file__).with_name(TEMPLATE), dataclasses.asdict(comparison))
    return f"{BEGIN}\n{content}{END}"


def with_comparison(page: str, record: Mapping[str, Any], comparison: Comparison) -> str:
    """``page``, the report on ``record``, with ``comparison`` in place of what stood there.

    Doing it again changes nothing. Raises ArtifactError where the page has no such place, or is another model's.
    """
    model = record["protocol"]["model"]
    if model not in page:
        raise ArtifactError(
            f"the report is not that of model {model[:12]}, which the evaluation record speaks of: "
            "make both again with `dvc repro evaluate`."
        )
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ArtifactError(
            "the report has no place for a comparison with another version, or several: make it again with "
            "`dvc repro evaluate`."
        )
    return before + part(comparison) + after
