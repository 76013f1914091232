"""Charts as inline SVG: text stays text, colours come from the page's style sheet, and the same numbers give the
same bytes.

A chart carries no colour of its own: series ``i`` has class ``s<i>``, so that one chart serves light and dark pages.
Lines are labelled at their ends, where a reader's eye arrives, and not in a legend by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import numpy as np

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 44, 92, 10, 34
_LABEL_GAP = 13
# Of a dot chart: the names' width, the rows' height, and the legend and axis above them.
_NAMES, _ROW_HEIGHT, _ROWS_TOP = 140, 16, 44
# A circle, an upright bar and a diamond, so that colour is not all that tells them apart.
_MARKS = ("m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0", "m-1 -5h2v10h-2z", "m0 -4l4 4l-4 4l-4 -4z")


def line_chart(series: Mapping[str, Points], title: str, dashed: Sequence[str] = (), x_label: str = "step") -> str:
    """An ``<svg>`` element of ``series``, each a name and its (x, y) points; logarithmic where that shows more.

    ``title`` is what a reader who sees no chart is told. Series named in ``dashed`` are context, drawn thin and grey.
    """
    shown = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    shown = {name: points for name, points in shown.items() if points}
    root = svg(title, WIDTH, HEIGHT)
    if shown:
        _draw(root, shown, dashed, x_label)
    return ElementTree.tostring(root, encoding="unicode")


def histogram(series: Mapping[str, np.ndarray], title: str, x_label: str, bins: int = 40) -> str:
    """An ``<svg>`` element of how the values of each name are spread, as the share of them a bin.

    All share one axis, from the least to the greatest of all values. The first is an area, the others are outlines.
    """
    edges = np.histogram_bin_edges(np.concatenate(list(series.values())), bins=bins)
    shares = {name: np.histogram(values, edges)[0] / max(1, len(values)) for name, values in series.items()}
    root = svg(title, WIDTH, HEIGHT)
    x = _Axis([float(edges[0]), float(edges[-1])], LEFT, WIDTH - 8, logarithmic=False)
    y = _Axis([0.0, float(max(s.max() for s in shares.values()))], HEIGHT - BOTTOM, TOP + 22, logarithmic=False)
    for tick in y.ticks():
        line(root, "grid", LEFT, y(tick), WIDTH - 8, y(tick))
        text(root, "tick end", LEFT - 6, y(tick) + 4, f"{100 * tick:g}%")
    for tick in x.ticks():
        text(root, "tick middle", x(tick), HEIGHT - BOTTOM + 15, f"{tick:g}")
    text(root, "tick end", WIDTH - 8, HEIGHT - 4, x_label)
    for i, name in enumerate(shares):
        tops = (f"V{y(share):.1f}H{x(end):.1f}" for end, share in zip(edges[1:], shares[name], strict=True))
        path = f"M{x(edges[0]):.1f} {y(0):.1f}{''.join(tops)}V{y(0):.1f}"
        style = "area" if i == 0 else f"line dash{i} s{i}"
        ElementTree.SubElement(root, "path", {"class": style, "d": path})
    _legend(root, [(name, "area" if i == 0 else f"line dash{i} s{i}") for i, name in enumerate(shares)], LEFT)
    return ElementTree.tostring(root, encoding="unicode")


def dot_chart(rows: Mapping[str, Mapping[str, float]], title: str) -> str:
    """An ``<svg>`` element of shares in 0..1, a row a name, a mark for each of its series."""
    kinds = list(next(iter(rows.values())))
    height = _ROWS_TOP + len(rows) * _ROW_HEIGHT + 4
    root = svg(title, WIDTH, height)
    most = max(max(shares.values()) for shares in rows.values()) or 1.0
    x = _Axis([0.0, most], _NAMES, WIDTH - 10, logarithmic=False)
    for tick in x.ticks():
        line(root, "grid", x(tick), _ROWS_TOP - 4, x(tick), height)
        text(root, "tick middle", x(tick), _ROWS_TOP - 9, f"{100 * tick:g}%")
    for row, (name, shares) in enumerate(rows.items()):
        middle = _ROWS_TOP + (row + 0.5) * _ROW_HEIGHT
        text(root, "end", _NAMES - 9, middle + 4, name)
        for i, kind in enumerate(kinds):
            _mark(root, i, x(shares[kind]), middle)
    for i, (kind, left) in enumerate(zip(kinds, (_NAMES + 70 * i for i in range(len(kinds))), strict=True)):
        _mark(root, i, left + 3, 8)
        text(root, "label", left + 11, 12, kind)
    return ElementTree.tostring(root, encoding="unicode")


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis shows more: all values positive, and the largest over eight times the smallest."""
    return min(values) > 0 and max(values) > 8 * min(values)


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most ``most`` round numbers from ``low`` to ``high``, in steps of 1, 2 or 5 times a power of ten."""
    for step in _steps(high - low):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [float(f"{i * step:.10g}") for i in range(first, last + 1)]
    return []


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from ``low`` to ``high``: 1, 2, 5 a decade where they fit, else powers of ten, thinned."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{d}e{k}") for k in decades for d in digits if low <= float(f"{d}e{k}") <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def _steps(span: float) -> list[float]:
    start = math.floor(math.log10(span)) - 2 if span > 0 else 0
    return [float(f"{d}e{k}") for k in range(start, start + 5) for d in (1, 2, 5)]


class _Axis:
    """Values to pixels along one direction."""

    def __init__(self, values: Sequence[float], start: float, end: float, logarithmic: bool, pad: float = 0.0):
        self._log = logarithmic
        low, high = (math.log10(min(values)), math.log10(max(values))) if logarithmic else (min(values), max(values))
        margin = pad * (high - low) or (0.0 if high > low else (abs(high) * 0.1 or 1.0))
        self._low, self._high = low - margin, high + margin
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        at = math.log10(value) if self._log else value
        return self._start + (at - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        if self._log:
            return log_ticks(10**self._low, 10**self._high)
        return linear_ticks(self._low, self._high)


def _draw(root: ElementTree.Element, series: Mapping[str, Points], dashed: Sequence[str], x_label: str) -> None:
    heights = [y for points in series.values() for _, y in points]
    x = _Axis([x for points in series.values() for x, _ in points], LEFT, WIDTH - RIGHT, logarithmic=False)
    y = _Axis(heights, HEIGHT - BOTTOM, TOP, is_logarithmic(heights), pad=0.04)
    for tick in y.ticks():
        line(root, "grid", LEFT, y(tick), WIDTH - RIGHT, y(tick))
        text(root, "tick end", LEFT - 6, y(tick) + 4, f"{tick:g}")
    for tick in x.ticks():
        if LEFT <= x(tick) <= WIDTH - RIGHT:
            text(root, "tick middle", x(tick), HEIGHT - BOTTOM + 15, f"{tick:g}")
    text(root, "tick end", WIDTH - RIGHT, HEIGHT - 4, x_label)
    colours = {name: f"s{i}" for i, name in enumerate(n for n in series if n not in dashed)}
    for name, points in series.items():
        path = "M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points)
        ElementTree.SubElement(root, "path", {"class": f"line {colours.get(name, 'context')}", "d": path})
    ends = {name: y(points[-1][1]) for name, points in series.items()}
    for name, height in _spread(ends).items():
        colour = colours.get(name, "context")
        line(root, f"leader {colour}", WIDTH - RIGHT + 1, ends[name], WIDTH - RIGHT + 7, height)
        text(root, f"label {colour}", WIDTH - RIGHT + 9, height + 4, name)


def _spread(heights: Mapping[str, float]) -> dict[str, float]:
    """Heights moved apart to ``_LABEL_GAP`` at least, in their order, inside the chart."""
    order = sorted(heights, key=heights.__getitem__)
    placed: dict[str, float] = {}
    below = -math.inf
    for name in order:
        below = placed[name] = max(heights[name], below + _LABEL_GAP)
    limit = HEIGHT - BOTTOM
    for name in reversed(order):
        placed[name] = min(placed[name], limit)
        limit = placed[name] - _LABEL_GAP
    return placed


def _legend(root: ElementTree.Element, entries: Sequence[tuple[str, str]], left: float) -> None:
    """What each line or area is, side by side at the top, each with a piece of it."""
    for i, (name, style) in enumerate(entries):
        at = left + i * 88
        ElementTree.SubElement(root, "path", {"class": style, "d": f"M{at:g} 12V6H{at + 20:g}V12"})
        text(root, "label", at + 25, 13, name)


def _mark(root: ElementTree.Element, i: int, x: float, y: float) -> None:
    path = f"M{x:.1f} {y:.1f}{_MARKS[i % len(_MARKS)]}"
    ElementTree.SubElement(root, "path", {"class": f"mark{i} s{i}", "d": path})


def svg(title: str, width: float, height: float, style: str = "chart") -> ElementTree.Element:
    """An empty drawing; ``title`` is what a reader who sees none is told."""
    return ElementTree.Element(
        "svg", {"viewBox": f"0 0 {width:g} {height:g}", "class": style, "role": "img", "aria-label": title}
    )


def line(root: ElementTree.Element, style: str, x1: float, y1: float, x2: float, y2: float) -> None:
    """A ``<line>`` of class ``style`` in ``root``."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    ElementTree.SubElement(root, "line", {"class": style} | {key: f"{value:.1f}" for key, value in ends.items()})


def text(root: ElementTree.Element, style: str, x: float, y: float, content: str) -> None:
    """A ``<text>`` of class ``style`` in ``root``; ``content`` is escaped when it is written."""
    element = ElementTree.SubElement(root, "text", {"class": style, "x": f"{x:.1f}", "y": f"{y:.1f}"})
    element.text = content
