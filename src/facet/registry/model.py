"""The registered model as MLflow runs it: rows of attributes, sentences, photos and masks in, PNGs out.

MLflow keeps this file and executes it at loading ("models from code"), so nothing is unpickled; the weights beside it
are safetensors. Nothing else imports this module for its class, since importing it announces the model to MLflow.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from PIL import Image

# The name of the one output column.
OUTPUT = "png"


class FaceModel(mlflow.pyfunc.PythonModel):
    """One row, one face. Attribute columns hold -1 (absent), 0 (unknown) or 1 (present); `prompt` and
    `negative_prompt` text; `image` and `mask` a picture file's bytes or their base64. What is missing is not asked
    for."""

    def load_context(self, context: Any) -> None:
        # Imported here: the package travels with the model and is on the path only once MLflow loads it.
        from functools import partial

        from facet.diffusion.saving import load_pipeline
        from facet.precision import default_device
        from facet.registry.asking import draw_rows
        from facet.registry.batching import Together

        self._pipeline = load_pipeline(Path(context.artifacts["pipeline"])).to(default_device())
        # A server answers in many threads.
        self._draw_together = Together(partial(draw_rows, self._pipeline))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Draw ``len(model_input)`` faces; row i has seed ``params["seed"] + i``. Raises MlflowException on bad values,
        which the scoring server answers with 400."""
        from facet.errors import ParamsError

        try:
            images = self._drawn(model_input, params or {})
        except ParamsError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame({OUTPUT: [encode_png(image) for image in images]})

    def _drawn(self, table: pd.DataFrame, params: dict[str, Any]) -> list[Image.Image]:
        from facet.registry.asking import check_strength, options_of, read_rows

        strength = params.get("strength")
        strength = 1.0 if strength is None else float(strength)
        rows = read_rows(table, self._pipeline, int(params.get("seed") or 0))
        check_strength(rows, strength)
        # Faces that start from noise, from a photo or from part of one are calls of their own.
        calls: dict[Any, list[int]] = {}
        for number, row in enumerate(rows):
            calls.setdefault(options_of(row, strength, params), []).append(number)
        images: dict[int, Image.Image] = {}
        for options, numbers in calls.items():
            images |= zip(numbers, self._draw_together([rows[number] for number in numbers], options), strict=True)
        return [images[number] for number in range(len(rows))]


def encode_png(image: Image.Image) -> bytes:
    """The picture as PNG bytes; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


mlflow.models.set_model(FaceModel())
