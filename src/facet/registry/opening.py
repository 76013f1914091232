"""A pipeline from wherever it lies: a folder, a checkout with the chain's artifacts, the registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from facet.artifacts import PIPELINE
from facet.errors import ArtifactError
from facet.registry.references import PREFIX, registered_pipeline

if TYPE_CHECKING:
    import torch

    from facet.diffusion.pipeline import FacePipeline


def open_pipeline(source: str | Path = PIPELINE, device: str | torch.device | None = None) -> FacePipeline:
    """The pipeline at ``source``, ready to draw on ``device`` (default: the GPU if there is one).

    ``source`` is a folder that holds a saved pipeline, a checkout in which `dvc repro` or `dvc pull` has made
    ``artifacts/pipeline``, ``models:/NAME/3`` or ``models:/NAME@staging``. Only the last two ask MLflow, at
    MLFLOW_TRACKING_URI or in this folder's mlflow.db; the weights alone are fetched, the code stored beside them is
    not run. Raises ArtifactError or RegistryError where there is none.
    """
    from facet.diffusion.saving import load_pipeline
    from facet.precision import default_device

    with pipeline_folder(source) as folder:
        return load_pipeline(folder).to(device or default_device())


@contextlib.contextmanager
def pipeline_folder(source: str | Path) -> Iterator[Path]:
    """The folder of the saved pipeline at ``source``, as `open_pipeline` reads it; what was fetched is gone when the
    block ends. Raises ArtifactError or RegistryError where there is none."""
    if str(source).startswith(PREFIX):
        with registered_pipeline(str(source)) as folder:
            yield folder
        return
    folder = Path(source)
    for held in (folder, folder / PIPELINE):
        if (held / "model_index.json").is_file():
            yield held
            return
    if folder == PIPELINE or (folder / "dvc.yaml").is_file():
        raise ArtifactError(f"{folder} holds no pipeline: make it with `dvc repro`, or fetch it with `dvc pull`.")
    raise ArtifactError(
        f"{folder} holds no pipeline: expected a folder with model_index.json, a checkout with {PIPELINE}, "
        f"{PREFIX}NAME/3 or {PREFIX}NAME@staging."
    )
