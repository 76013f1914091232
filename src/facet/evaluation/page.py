"""Parts of ``reports/report.html`` as text: one way to fill a template, whoever fills it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from facet.evaluation.scores import percent, spaced


def fill(template: Path, content: Mapping[str, Any]) -> str:
    """``template`` with ``content``, escaped; without empty lines, with a final newline. The same content gives the
    same text. Raises jinja2.UndefinedError where the template names what ``content`` lacks."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "spaced": spaced, "count": "{:,}".format, "decimal": "{:.3g}".format}
    filled = environment.from_string(template.read_text(encoding="utf-8")).render(content)
    return "\n".join(filter(str.strip, filled.split("\n"))) + "\n"
