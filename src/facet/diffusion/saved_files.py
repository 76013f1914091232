"""What a saved pipeline's folder must hold, file by file, and one sentence for whatever is wrong with it.

``facet.json`` names every file that was saved with its SHA-256. It finds what was damaged, left out, added or edited by
hand; it is no signature: whoever changes a file and this list too is not found.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import safe_open

from facet.artifacts import digest_file, read_json, write_json
from facet.errors import ArtifactError

INDEX, MANIFEST = "model_index.json", "facet.json"
_SCHEMA = "facet.pipeline/1"
# What a loader would read where it finds it; a README beside the model harms nobody.
_READ = {".json", ".safetensors", ".txt", ".model", ".py", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5"}
# Where the parts may come from: (module, class) as model_index.json has them. A loader imports what it finds there.
_PARTS: Mapping[str, tuple[list[str], ...]] = {
    "vae": (["facet.models.autoencoder", "PatchAutoencoderKL"], ["diffusers", "AutoencoderKL"]),
    "unet": (["diffusers", "UNet2DConditionModel"],),
    "condition_encoder": (["facet.models.conditioning", "ConditionEncoder"],),
    "tokenizer": (["transformers", "CLIPTokenizer"], ["transformers", "CLIPTokenizerFast"]),
    "text_encoder": (["transformers", "CLIPTextModel"],),
    "scheduler": tuple(["diffusers", name] for name in dir(diffusers) if name.endswith("Scheduler")),
}
_MEND = "take the folder again from where it came, or run `dvc repro`"


def write_manifest(folder: Path) -> None:
    """List every file below ``folder`` with its SHA-256 in ``folder``/facet.json."""
    (folder / MANIFEST).unlink(missing_ok=True)
    write_json(
        folder / MANIFEST, {"schema": _SCHEMA, "files": {name: digest_file(folder / name) for name in _files(folder)}}
    )


def check_files(folder: Path) -> None:
    """Raises ArtifactError naming the first file below ``folder`` that is missing, not as it was saved, or too much."""
    if not (folder / INDEX).is_file():
        raise ArtifactError(
            f"{folder} holds no model ({INDEX} is missing): train one with `dvc repro`, or name another."
        )
    _check_index(folder)
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(
            f"{folder / MANIFEST} is missing, so nothing says what the model's files should be: {_MEND}."
        )
    listed = read_json(folder / MANIFEST, _SCHEMA).get("files")
    if not isinstance(listed, dict):
        raise ArtifactError(f"{folder / MANIFEST} lists no files: {_MEND}.")
    found = set(_files(folder))
    for name, digest in sorted(listed.items()):
        if name not in found:
            raise ArtifactError(f"{folder / name} is missing: {_MEND}.")
        if digest_file(folder / name) != digest:
            raise ArtifactError(f"{folder / name} is not as it was saved (other SHA-256 than in {MANIFEST}): {_MEND}.")
    for name in sorted(found - set(listed)):
        if Path(name).suffix in _READ:
            raise ArtifactError(f"{folder / name} is no part of the model ({MANIFEST} does not list it): remove it.")


def _check_index(folder: Path) -> None:
    """Raises ArtifactError where model_index.json takes a part from a class that is none of facet's, or is
    of another pipeline."""
    index = read_json(folder / INDEX)
    if not isinstance(index, dict) or index.get("_class_name") != "FacePipeline":
        raise ArtifactError(f"{folder / INDEX} is of no FacePipeline: {_MEND}.")
    for part, classes in _PARTS.items():
        given = index.get(part)
        if given not in (None, [None, None]) and given not in classes:
            told = " or ".join(".".join(each) for each in classes)
            raise ArtifactError(f"{folder / INDEX} takes {part} from {given!r}, expected {told}: {_MEND}.")


@contextlib.contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Whatever a library raises at a file below ``folder`` becomes an ArtifactError."""
    try:
        yield
    except ArtifactError:
        raise
    except Exception as error:  # each library has its own errors for the same damage
        told = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")[:200]
        raise ArtifactError(f"{folder} can't be loaded ({type(error).__name__}: {told}): {_MEND}.") from error


def check_weights(parts: Mapping[str, Any], folder: Path) -> None:
    """Raises ArtifactError where a weight is NaN or infinite, or the files hold more or fewer than the parts need: the
    libraries fill in at random what is missing, and only warn."""
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            _check_names(folder / name, part)
            for key, value in part.named_parameters():
                if not bool(torch.isfinite(value).all()):
                    raise ArtifactError(f"{folder / name}: weight {key} holds NaN or infinity: {_MEND}.")


def _check_names(folder: Path, part: torch.nn.Module) -> None:
    stored: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            stored |= {key: tensors.get_slice(key).get_shape() for key in tensors.keys()}  # noqa: SIM118
    needed = {key: list(value.shape) for key, value in part.state_dict().items()}
    unlike = sorted(key for key in stored.keys() | needed.keys() if stored.get(key) != needed.get(key))
    if unlike:
        raise ArtifactError(f"the weights in {folder} are not those of its config.json ({unlike[0]}): {_MEND}.")


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths if path != folder / MANIFEST)
