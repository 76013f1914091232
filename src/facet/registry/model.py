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
from PIL.PngImagePlugin import PngInfo

# The name of the one output column.
OUTPUT = "png"


class FaceModel(mlflow.pyfunc.PythonModel):
    """One row, one face. Attribute columns hold -1 (absent), 0 (unknown) or 1 (present); `prompt` and
    `negative_prompt` text; `image` and `mask` a picture file's bytes or their base64. What is missing is not asked
    for."""

    def load_context(self, context: Any) -> None:
        # Imported here: the package travels with the model and is on the path only once MLflow loads it.
        from functools import partial

        from facet.artifacts import digest_folder
        from facet.diffusion.saving import load_pipeline
        from facet.precision import default_device
        from facet.registry.asking import draw_rows
        from facet.registry.batching import Together

        folder = Path(context.artifacts["pipeline"])
        self._pipeline, self._digest = load_pipeline(folder).to(default_device()), digest_folder(folder)
        # A server answers in many threads.
        self._draw_together = Together(partial(draw_rows, self._pipeline))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Draw ``len(model_input)`` faces; row i has seed ``params["seed"] + i``. Raises MlflowException on bad values,
        which the scoring server answers with 400."""
        from facet.errors import ParamsError

        try:
            return pd.DataFrame({OUTPUT: self._drawn(model_input, params or {})})
        except ParamsError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def _drawn(self, table: pd.DataFrame, params: dict[str, Any]) -> list[bytes]:
        from facet.registry.asking import check_strength, options_of, read_rows, record_of

        strength = params.get("strength")
        strength = 1.0 if strength is None else float(strength)
        rows = read_rows(table, self._pipeline, int(params.get("seed") or 0))
        check_strength(rows, strength)
        # Faces that start from noise, from a photo or from part of one are calls of their own.
        calls: dict[Any, list[int]] = {}
        for number, row in enumerate(rows):
            calls.setdefault(options_of(row, strength, params), []).append(number)
        drawn: dict[int, bytes] = {}
        for options, numbers in calls.items():
            images = self._draw_together([rows[number] for number in numbers], options)
            for number, image in zip(numbers, images, strict=True):
                record = record_of(rows[number], options, self._pipeline, self._digest)
                drawn[number] = _encoded(image, record.chunks())
        return [drawn[number] for number in range(len(rows))]


def _encoded(image: Image.Image, chunks: PngInfo) -> bytes:
    """The picture as PNG bytes, with what it was drawn from; the same request gives the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


mlflow.models.set_model(FaceModel())
