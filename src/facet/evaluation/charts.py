"""Line charts as inline SVG: text stays text, colours come from the page's style sheet, and the same numbers give the
same bytes.

A chart carries no colour of its own: series ``i`` has class ``s<i>``, so that one chart serves light and dark pages.
Lines are labelled at their ends, where a reader's eye arrives, and not in a legend by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 44, 92, 10, 34
_LABEL_GAP = 13


def line_chart(series: Mapping[str, Points], title: str, dashed: Sequence[str] = (), x_label: str = "step") -> str:
    """An ``<svg>`` element of ``series``, each a name and its (x, y) points; logarithmic where that shows more.

    ``title`` is what a reader who sees no chart is told. Series named in ``dashed`` are context, drawn thin and grey.
    """
    shown = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in series.items()}
    shown = {name: points for name, points in shown.items() if points}
    root = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": "chart", "role": "img", "aria-label": title}
    )
    if shown:
        _draw(root, shown, dashed, x_label)
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
        _line(root, "grid", LEFT, y(tick), WIDTH - RIGHT, y(tick))
        _text(root, "tick end", LEFT - 6, y(tick) + 4, f"{tick:g}")
    for tick in x.ticks():
        if LEFT <= x(tick) <= WIDTH - RIGHT:
            _text(root, "tick middle", x(tick), HEIGHT - BOTTOM + 15, f"{tick:g}")
    _text(root, "tick end", WIDTH - RIGHT, HEIGHT - 4, x_label)
    colours = {name: f"s{i}" for i, name in enumerate(n for n in series if n not in dashed)}
    for name, points in series.items():
        path = "M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points)
        ElementTree.SubElement(root, "path", {"class": f"line {colours.get(name, 'context')}", "d": path})
    ends = {name: y(points[-1][1]) for name, points in series.items()}
    for name, height in _spread(ends).items():
        colour = colours.get(name, "context")
        _line(root, f"leader {colour}", WIDTH - RIGHT + 1, ends[name], WIDTH - RIGHT + 7, height)
        _text(root, f"label {colour}", WIDTH - RIGHT + 9, height + 4, name)


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


def _line(root: ElementTree.Element, style: str, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    ElementTree.SubElement(root, "line", {"class": style} | {key: f"{value:.1f}" for key, value in ends.items()})


def _text(root: ElementTree.Element, style: str, x: float, y: float, text: str) -> None:
    element = ElementTree.SubElement(root, "text", {"class": style, "x": f"{x:.1f}", "y": f"{y:.1f}"})
    element.text = text
