"""The program behind `facet.registry.trial`: reads a folder from standard input, loads the MLflow model in it, draws.

It imports nothing of facet by name: the model brings its own copy of facet, and that is the one to be tried. While it
waits for the folder it imports what any such copy needs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from pathlib import Path


def main() -> None:
    # Before MLflow is imported, which reads it.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    with contextlib.redirect_stdout(sys.stderr):
        _warm_up()
        folder = sys.stdin.readline().rstrip("\n")
        error = _try(folder) if folder else "no folder was given"
    print(json.dumps({"error": error}), flush=True)
    # Taking down torch, diffusers and MLflow in order takes more than a second, and there is nothing left to lose.
    os._exit(0)


def _warm_up() -> None:
    spec = importlib.util.spec_from_file_location("ops", Path(__file__).parents[1] / "torchvision_ops.py")
    ops = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ops)
    ops.declare_missing()
    import mlflow.pyfunc  # noqa: F401
    import pandas  # noqa: F401
    from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel  # noqa: F401


def _try(folder: str) -> str:
    """Why the model in ``folder`` draws no face; the empty string where it does."""
    import mlflow

    try:
        model = mlflow.pyfunc.load_model(folder)
        (picture,) = model.predict(model.metadata.load_input_example(folder), params={"steps": 1})["png"]
        return "" if picture.startswith(b"\x89PNG") else "what it drew is not a PNG"
    except Exception as error:  # whatever a broken model raises is the answer
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


if __name__ == "__main__":
    main()
