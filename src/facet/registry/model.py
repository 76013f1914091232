"""The registered model as MLflow runs it: attribute columns in, PNGs out.

MLflow keeps this file and executes it at loading ("models from code"), so nothing is unpickled; the weights beside it
are safetensors. Nothing else imports this module for its class, since importing it announces the model to MLflow.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from PIL import Image

# The name of the one output column.
OUTPUT = "png"


class FaceModel(mlflow.pyfunc.PythonModel):
    """One row of attribute columns, one face: -1 absent, 0 unknown, 1 present; a missing column is unknown."""

    def load_context(self, context: Any) -> None:
        # Imported here: the package travels with the model and is on the path only once MLflow loads it.
        from facet.diffusion.pipeline import load_pipeline
        from facet.precision import default_device
        from facet.registry.batching import Together

        self._pipeline = load_pipeline(Path(context.artifacts["pipeline"])).to(default_device())
        # A server answers in many threads.
        self._draw_together = Together(self._draw)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Draw ``len(model_input)`` faces; row i has seed ``params["seed"] + i``. Raises MlflowException on bad values,
        which the scoring server answers with 400."""
        from facet.errors import ParamsError

        params = params or {}
        seed = int(params.get("seed") or 0)
        try:
            states = attribute_states(model_input, self._pipeline.attribute_names)
            seeds = [seed + i for i in range(len(states))]
            images = self._draw_together(states, seeds, (params.get("steps"), params.get("guidance")))
        except ParamsError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame({OUTPUT: [encode_png(image) for image in images]})

    def _draw(
        self, states: np.ndarray, seeds: list[int], options: tuple[int | None, float | None]
    ) -> list[Image.Image]:
        steps, guidance = options
        return self._pipeline(
            attributes=states, seeds=seeds, steps=steps, guidance_scale=guidance, output_type="pil"
        ).images


def attribute_states(table: pd.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Columns of -1, 0, 1 (or missing) as int8 [rows, len(names)]. Raises ParamsError for other names or values."""
    from facet.errors import ParamsError, did_you_mean

    if len(table) == 0:  # MLflow drops columns it doesn't know, and with the last one the rows
        raise ParamsError(
            f"the request names none of the model's attributes ({', '.join(names)}): give at least one column, where 0 "
            "leaves the attribute open."
        )
    states = np.zeros((len(table), len(names)), dtype=np.int8)
    for column in table.columns:
        if column not in names:
            raise ParamsError(f"the model knows no attribute {column!r}:{did_you_mean(str(column), names)} drop it.")
        for row, value in enumerate(table[column].tolist()):
            if pd.isna(value):
                continue
            # A boolean is refused too: False would have to mean "absent" to some and "not asked for" to others.
            if isinstance(value, (bool, str)) or value not in (-1, 0, 1):
                raise ParamsError(
                    f"row {row}, attribute {column}: {value!r}, expected -1 (absent), 0 or missing (unknown) or 1 "
                    "(present)."
                )
            states[row, names.index(column)] = value
    return states


def encode_png(image: Image.Image) -> bytes:
    """The picture as PNG bytes; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


mlflow.models.set_model(FaceModel())
