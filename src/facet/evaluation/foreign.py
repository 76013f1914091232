"""Pipelines from elsewhere: any that diffusers saved and that draws pictures from noise, or from a prompt.

What is read is not trusted. A pipeline's index names classes, and diffusers would import them from wherever it says, a
``.py`` file in the folder included. So the index may name diffusers, transformers and facet alone, files of code are
refused, and weights are safetensors.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from facet import collector
from facet.artifacts import SAMPLES_SCHEMA, read_json
from facet.errors import ArtifactError, DataError, ParamsError
from facet.evaluation.samples import SampleSet
from facet.progress import bar
from facet.torchvision_ops import declare_missing

with collector.paused():
    declare_missing()
    import diffusers
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging as diffusers_logging

INDEX = "model_index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack")
_LIBRARIES = ("diffusers", "transformers")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """How a pipeline from elsewhere is asked; None is its own default."""

    prompt: str
    steps: int | None
    guidance: float | None
    # Pictures drawn at a time. The last block is filled up, so that a picture doesn't depend on how many are drawn.
    batch_size: int


# --- loading ----------------------------------------------------------------------------------------------------------


def read_index(folder: Path) -> dict[str, Any]:
    """The checked content of ``folder``/model_index.json. Raises ArtifactError for what isn't a pipeline, or could run
    code of its own."""
    if not folder.exists():
        raise ArtifactError(f"{folder} does not exist: give the folder of a saved pipeline, or models:/NAME@staging.")
    if not (folder / INDEX).is_file():
        raise ArtifactError(f"{folder} holds no pipeline (no {INDEX}): give a folder that save_pretrained wrote.")
    try:
        index = read_json(folder / INDEX)
    except ArtifactError:
        index = None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise ArtifactError(f"{folder / INDEX} names no class of a pipeline: save the pipeline again.")
    code = next(iter(sorted(folder.rglob("*.py"))), None)
    if code is not None:
        raise ArtifactError(f"{code} is code, and facet runs none that comes with a model: give one without.")
    for part, named in index.items():
        if isinstance(named, list) and len(named) == 2 and all(isinstance(name, str) for name in named):
            _check_library(folder, part, named[0])
            _check_weights_file(folder / part)
    return index


def _check_library(folder: Path, part: str, library: str) -> None:
    if library in _LIBRARIES or library.startswith("facet.models.") or hasattr(diffusers.pipelines, library):
        return
    raise ArtifactError(
        f"{folder / INDEX} takes {part} from {library!r}, expected {' or '.join(_LIBRARIES)}: facet runs no other code."
    )


def _check_weights_file(part: Path) -> None:
    files = sorted(part.iterdir()) if part.is_dir() else []
    pickled = [file for file in files if file.suffix in _PICKLES]
    if pickled and not any(file.suffix == ".safetensors" for file in files):
        raise ArtifactError(
            f"{pickled[0]} is a pickle, which can run code, and there is no safetensors beside it: save the pipeline "
            "again with safe_serialization=True."
        )


def load_foreign(folder: Path, index: Mapping[str, Any]) -> DiffusionPipeline:
    """The pipeline in ``folder`` as ``index`` names it: safetensors only, no network. Raises ArtifactError where it
    can't be loaded."""
    name = index["_class_name"]
    if not hasattr(diffusers, name):
        raise ArtifactError(
            f"{folder} is a {name}, which diffusers {diffusers.__version__} doesn't know: give another."
        )
    if not sys.stderr.isatty():
        diffusers_logging.disable_progress_bar()
    try:
        pipeline = DiffusionPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except Exception as error:  # whatever a library raises at a damaged part
        raise ArtifactError(f"{folder} can't be loaded as {name} ({told(error)}): save it again.") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_weights(pipeline: DiffusionPipeline) -> None:
    """Raises ArtifactError where a weight is NaN or infinite: a training that went astray, or a damaged file."""
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            for key, value in part.named_parameters():
                if not bool(torch.isfinite(value).all()):
                    raise ArtifactError(
                        f"weight {name}.{key} holds NaN or infinity: train the model again, or save it."
                    )


def told(error: Exception) -> str:
    """The first line of what a library raised, cut where it is long."""
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first[:160]}"


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw_foreign(pipeline: DiffusionPipeline, digest: str, seeds: list[int], how: Foreign) -> SampleSet:
    """One picture a seed, of nothing but ``how.prompt``; each from a ``torch.Generator`` of its own, seeded with it.

    Raises ParamsError for what the pipeline can't be asked for, ArtifactError where it doesn't draw RGB pictures.
    """
    name, parameters = type(pipeline).__name__, inspect.signature(pipeline.__call__).parameters
    options = _options(name, parameters, how)
    blocks = []
    with bar(len(seeds), "draw", "picture") as progress:
        for start in range(0, len(seeds), how.batch_size):
            block = seeds[start : start + how.batch_size]
            filled = block + block[-1:] * (how.batch_size - len(block))
            blocks.append(_draw(pipeline, name, parameters, filled, options, how.prompt)[: len(block)])
            progress.update(len(block))
    sampling = {"steps": options.get("num_inference_steps"), "guidance_scale": options.get("guidance_scale")}
    if getattr(pipeline, "scheduler", None) is not None:
        sampling["sampler"] = type(pipeline.scheduler).__name__
    about = {
        "schema": SAMPLES_SCHEMA,
        "count": len(seeds),
        "asked": "none",
        "further": {},
        "altered": {},
        "conditions": f"prompt {how.prompt!r}" if how.prompt else "none",
        "first_seed": seeds[0],
        "model": digest,
        "pipeline": name,
        "sampling": {key: value for key, value in sampling.items() if value is not None},
    }
    return SampleSet(np.concatenate(blocks), None, np.array(seeds, dtype=np.int64), about)


def _options(name: str, parameters: Mapping[str, inspect.Parameter], how: Foreign) -> dict[str, Any]:
    """Arguments that every call has: what is given, and the pipeline's own defaults, for the record."""
    if how.prompt and "prompt" not in parameters:
        raise ParamsError(f"{name} takes no prompt: leave out --prompt.")
    if "generator" not in parameters:
        raise ParamsError(f"{name} takes no generator, so its pictures can't be drawn again: score another pipeline.")
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in kinds and key not in ("prompt", "batch_size")
    ]
    if missing:
        raise ParamsError(
            f"{name} must be given {', '.join(missing)}: only what draws from noise or a prompt is scored."
        )
    if not {"batch_size", "prompt"} & parameters.keys():
        raise ParamsError(f"{name} takes neither batch_size nor prompt: it does not draw from noise alone.")
    options: dict[str, Any] = {"output_type": "np"} if "output_type" in parameters else {}
    for flag, key, value in (
        ("--steps", "num_inference_steps", how.steps),
        ("--guidance", "guidance_scale", how.guidance),
    ):
        if key in parameters:
            options[key] = parameters[key].default if value is None else value
        elif value is not None:
            raise ParamsError(f"{name} takes no {key}: leave out {flag}.")
    return options


def _draw(
    pipeline: DiffusionPipeline,
    name: str,
    parameters: Mapping[str, inspect.Parameter],
    seeds: list[int],
    options: Mapping[str, Any],
    prompt: str,
) -> np.ndarray:
    many = {"prompt": [prompt] * len(seeds)} if "prompt" in parameters else {"batch_size": len(seeds)}
    # On the CPU whatever the device: a seed names the same noise everywhere.
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    try:
        with torch.no_grad():
            drawn = pipeline(generator=generators, **many, **options)
    except torch.cuda.OutOfMemoryError:
        raise ParamsError(f"{len(seeds)} pictures at a time don't fit into the GPU: lower --batch-size.") from None
    except Exception as error:  # whatever a pipeline that wants something else raises
        raise ArtifactError(
            f"{name} drew nothing ({told(error)}): score one that draws from noise, or a prompt."
        ) from error
    pictures = to_pictures(name, getattr(drawn, "images", drawn))
    if len(pictures) != len(seeds):
        raise ArtifactError(f"{name} drew {len(pictures)} pictures for {len(seeds)} seeds: expected one each.")
    return pictures


def to_pictures(name: str, drawn: Any) -> np.ndarray:
    """A pipeline's PIL images, or its float [n, h, w, 3] of 0..1, as uint8 [n, h, w, 3]. Raises ArtifactError."""
    if isinstance(drawn, list) and drawn and all(isinstance(picture, Image.Image) for picture in drawn):
        return np.stack([np.asarray(picture.convert("RGB")) for picture in drawn])
    if not isinstance(drawn, np.ndarray) or drawn.ndim != 4 or drawn.shape[-1] != 3:
        what = f"an array of shape {drawn.shape}" if isinstance(drawn, np.ndarray) else f"a {type(drawn).__name__}"
        raise ArtifactError(f"{name} drew {what}, expected RGB pictures [n, h, w, 3]: score another pipeline.")
    if drawn.dtype == np.uint8:
        return drawn
    if not np.isfinite(drawn).all():
        raise ArtifactError(
            f"{name} drew pixels that are NaN or infinite: the model is broken, or its precision too low."
        )
    # As diffusers' numpy_to_pil rounds.
    return (drawn.clip(0, 1) * 255).round().astype(np.uint8)


# --- size -------------------------------------------------------------------------------------------------------------


def fitted(samples: SampleSet, size: int, resize: bool) -> SampleSet:
    """``samples`` at ``size`` x ``size``: as they are, or with ``resize`` by Pillow's bicubic, antialiased.

    Raises DataError, with both sizes, where they have another and ``resize`` is not given.
    """
    height, width = samples.faces.shape[1:3]
    if (height, width) == (size, size):
        return samples
    if not resize:
        raise DataError(
            f"the model draws {width} x {height} pixels, the faces are {size} x {size}: give --resize, or other --data."
        )
    note = {"resize": f"bicubic, antialiased, from {width} x {height}"}
    pictures = {name: getattr(samples, name) for name in ("faces", "unconditional")}
    fitting: dict[str, Any] = {name: _resized(given, size) for name, given in pictures.items() if given is not None}
    fitting["further"] = {
        kind: dataclasses.replace(answered, faces=_resized(answered.faces, size))
        for kind, answered in samples.further.items()
    }
    fitting["altered"] = {
        kind: dataclasses.replace(done, faces=_resized(done.faces, size)) for kind, done in samples.altered.items()
    }
    return dataclasses.replace(samples, **fitting, about=samples.about | note)


def _resized(pictures: np.ndarray, size: int) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(face).resize((size, size), Image.Resampling.BICUBIC)) for face in pictures]
    )
