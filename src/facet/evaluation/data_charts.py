"""Charts of the data's page as inline SVG: histograms over a profile's bins, and which attributes go together.

Like those of `charts`, they carry classes and no colours of their own, and the same numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from facet.data.tables import readable
from facet.evaluation.charts import BOTTOM, HEIGHT, LEFT, WIDTH, line, svg, text
from facet.evaluation.scores import spaced

_TOP, _RIGHT = 26, WIDTH - 10
# Of the map: a cell's side, and the room for the longest label right of the last one.
_CELL, _LABEL = 15, 170


def binned(figure: Mapping[str, Any], title: str, limits: Sequence[float], baseline: Mapping[str, Any] | None) -> str:
    """An ``<svg>`` of a profile's ``figure``, bins of equal width whatever they span, as shares.

    ``limits`` are drawn as upright lines; ``baseline``, the same figure of another profile, as an outline.
    """
    edges = np.array(figure["edges"])
    series = [_shares(one) for one in (figure, baseline) if one is not None and one["edges"] == figure["edges"]]
    used = np.flatnonzero(np.sum(series, axis=0) > 0)
    reach = [edges[used[0]], edges[used[-1] + 1], *limits]
    first = max(0, int(np.searchsorted(edges, min(reach), side="right")) - 2)
    last = min(len(edges) - 1, int(np.searchsorted(edges, max(reach))) + 1)
    most = max(float(shares.max()) for shares in series)
    root = svg(title, WIDTH, HEIGHT)

    def across(value: float) -> float:
        place = np.interp(value, edges[first : last + 1], np.arange(last + 1 - first))
        return float(LEFT + place / (last - first) * (_RIGHT - LEFT))

    def up(share: float) -> float:
        return HEIGHT - BOTTOM - share / most * (HEIGHT - BOTTOM - _TOP)

    for tick in (0.0, most / 2, most):
        line(root, "grid", LEFT, up(tick), _RIGHT, up(tick))
        text(root, "tick end", LEFT - 6, up(tick) + 4, f"{100 * tick:.2g}%")
    for edge in edges[first : last + 1 : -(-(last - first) // 6)]:
        text(root, "tick middle", across(edge), HEIGHT - BOTTOM + 15, f"{edge:g}")
    for style, shares in zip(("area", "line s1"), series, strict=False):
        tops = (f"V{up(shares[k]):.1f}H{across(edges[k + 1]):.1f}" for k in range(first, last))
        path = f"M{across(edges[first]):.1f} {up(0):.1f}{''.join(tops)}V{up(0):.1f}"
        ElementTree.SubElement(root, "path", {"class": style, "d": path})
    for limit in limits:
        line(root, "limit", across(limit), _TOP - 6, across(limit), HEIGHT - BOTTOM)
        text(root, "limit middle", across(limit), _TOP - 11, f"{limit:g}")
    return ElementTree.tostring(root, encoding="unicode")


def _shares(figure: Mapping[str, Any]) -> np.ndarray:
    counts = np.array(figure["counts"], dtype=np.float64)
    return counts / counts.sum()


def association_map(names: Sequence[str], phi: np.ndarray) -> str:
    """An ``<svg>`` of ``phi``, [k, k] in -1..1 with NaN where there is none, as the half below the diagonal.

    A name stands on the diagonal: its row lies left of it, its column below it, so that none has to be written upright.
    """
    side = len(names) * _CELL
    root = svg(f"How {len(names)} attributes go together, phi of each pair", side + _LABEL, side, "chart map")
    # At its own size, so that the names stay readable: a narrow page scrolls it.
    root.set("width", f"{side + _LABEL}")
    for row, name in enumerate(names):
        for column in range(row):
            value = phi[row, column]
            if np.isfinite(value):
                _cell(root, row, column, float(value), f"{spaced(names[column])} and {spaced(name)}")
        text(root, "diagonal", row * _CELL + 4, (row + 0.8) * _CELL, readable(spaced(name), 26))
    return ElementTree.tostring(root, encoding="unicode")


def _cell(root: ElementTree.Element, row: int, column: int, value: float, pair: str) -> None:
    """What is near 0 is drawn near the page's own colour, which is what most pairs are."""
    style = {"class": "with" if value > 0 else "without", "fill-opacity": f"{min(1.0, 0.04 + abs(value)):.2f}"}
    place = {"x": f"{column * _CELL}", "y": f"{row * _CELL}", "width": f"{_CELL - 1}", "height": f"{_CELL - 1}"}
    cell = ElementTree.SubElement(root, "rect", style | place)
    ElementTree.SubElement(cell, "title").text = f"{readable(pair, 120)}: {value:+.2f}"
