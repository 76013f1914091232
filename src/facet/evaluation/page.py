"""Parts of pages such as ``reports/report.html`` as text: one way to fill a template and to show a picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from facet.evaluation.scores import percent, spaced

# Pictures make the page's size: up to 64 px they are shown to the pixel, larger ones are shrunk to 128 px and
# compressed, so that a page of some two hundred stays below 3 MB.
_LOSSLESS, _LARGEST = 64, 128


def fill(template: Path, content: Mapping[str, Any]) -> str:
    """``template`` with ``content``, escaped; without empty lines, with a final newline. The same content gives the
    same text. Raises jinja2.UndefinedError where the template names what ``content`` lacks."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "spaced": spaced, "count": "{:,}".format, "decimal": "{:.3g}".format}
    filled = environment.from_string(template.read_text(encoding="utf-8")).render(content)
    return "\n".join(filter(str.strip, filled.split("\n"))) + "\n"


def picture(face: np.ndarray) -> str:
    """uint8 [h, w, 3] as a data URI."""
    image = Image.fromarray(np.ascontiguousarray(face))
    buffer = io.BytesIO()
    if max(image.size) <= _LOSSLESS:
        kind = "png"
        image.save(buffer, format="PNG", optimize=True)
    else:
        kind = "jpeg"
        image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        image.save(buffer, format="JPEG", quality=90, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
