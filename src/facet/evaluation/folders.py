"""How far one folder of pictures lies from another: Fréchet distance, KID, precision and recall, with their record."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from facet.errors import DataError, ParamsError
from facet.evaluation.features import (
    digest_extractor,
    extract_layers,
    inception_extractor,
    judge_extractor,
    weights_file,
)
from facet.evaluation.fidelity import NEIGHBOURS, kid_subset_size
from facet.evaluation.measures import FEW_SAMPLES, gathered, set_fidelity
from facet.progress import bar

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

SCHEMA = "facet.score/1"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# Pictures in memory at a time.
_AT_ONCE = 512


@dataclasses.dataclass(frozen=True)
class Space:
    """A feature space: an extractor, its name with its digest, and the size it wants (None: any)."""

    extractor: FeatureExtractorBase
    name: str
    size: int | None


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder as features float64 [n, d], logits [n, classes] where the extractor gives them, and what was read."""

    features: np.ndarray
    logits: np.ndarray | None
    about: dict[str, Any]


def judge_space(folder: Path) -> Space:
    """The judge's features; its pictures have one size."""
    extractor = judge_extractor(folder)
    return Space(extractor, f"judge:{digest_extractor(folder)}", int(extractor.judge.config.size))


def inception_space(weights: str, sha256: str) -> Space:
    """Inception-v3's features, which resize by themselves (bilinear to 299, as every published FID does), by
    ``weights``, a file or a URL."""
    return Space(inception_extractor(weights_file(weights, sha256), sha256), f"inception:{sha256[:16]}", None)


def score_folders(reference: Path, samples: Path, space: Space, resize: bool, seed: int) -> dict[str, Any]:
    """Score folder ``samples`` against folder ``reference``; the record, with 95 % intervals.

    ``resize`` brings pictures to the size that the space wants (Pillow's bicubic, antialiased); without it they must
    have it. Raises DataError where a folder can't be scored: empty, mixed sizes, not RGB, damaged.
    """
    theirs, ours = (measure(folder, space, resize) for folder in (reference, samples))
    if not resize and theirs.about["size"] != ours.about["size"]:
        raise DataError(
            f"{reference} holds pictures of {_times(theirs.about['size'])}, {samples} of {_times(ours.about['size'])}: "
            "score pictures of one size, or give --resize."
        )
    found = set_fidelity(theirs.features, ours.features, ours.logits, seed)
    record = {
        "schema": SCHEMA,
        **found.values,
        "intervals": gathered({"": found}),
        "protocol": {
            "reference": theirs.about,
            "samples": ours.about,
            "extractor": space.name,
            "resize": "bicubic, antialiased" if resize else "none",
            "kid_subset_size": kid_subset_size(len(theirs.features), len(ours.features)),
            "neighbours": NEIGHBOURS,
            "seed": seed,
        },
    }
    few = min(len(theirs.features), len(ours.features))
    if few < max(FEW_SAMPLES, theirs.features.shape[1] + 1):
        record["warnings"] = [f"only {few:,} pictures in one folder: distances between sets say little at so few."]
    return record


def measure(folder: Path, space: Space, resize: bool) -> Folder:
    """All pictures of ``folder``, in the order of their names, as features. Raises DataError."""
    files = picture_files(folder)
    parts: list[list[np.ndarray]] = []
    digest = hashlib.sha256()
    with bar(len(files), folder.name, "picture") as progress:
        for block in _blocks(files, space.size if resize else None):
            if not resize:
                _check_size(folder, block, space)
            digest.update(block.tobytes())
            parts.append(extract_layers(space.extractor, block, ""))
            progress.update(len(block))
    layers = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    about = {"count": len(files), "size": list(block.shape[1:3]), "pixels": digest.hexdigest()[:16]}
    return Folder(layers[0], layers[1] if len(layers) > 1 else None, about)


def picture_files(folder: Path) -> list[Path]:
    """The pictures below ``folder``, sorted by name. Raises DataError for fewer than two, or no folder."""
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give one with pictures ({', '.join(SUFFIXES)}).")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(files) < 2:
        raise DataError(f"{folder} holds {len(files)} pictures ({', '.join(SUFFIXES)}), expected two at least.")
    return files


def _blocks(files: list[Path], size: int | None) -> Iterator[np.ndarray]:
    """Pictures as uint8 [n, h, w, 3], some hundred at a time; all of one size, that of the first."""
    first: tuple[int, ...] | None = None
    for start in range(0, len(files), _AT_ONCE):
        pictures = []
        for path in files[start : start + _AT_ONCE]:
            picture = read_picture(path, size)
            first = first or picture.shape
            if picture.shape != first:
                raise DataError(
                    f"{path} is {_times(picture.shape)}, the pictures before it are {_times(first)}: make them one "
                    "size, or give --resize."
                )
            pictures.append(picture)
        yield np.stack(pictures)


def read_picture(path: Path, size: int | None) -> np.ndarray:
    """uint8 [h, w, 3], resized to ``size`` x ``size`` where given. Raises DataError for anything but an RGB picture."""
    try:
        with Image.open(path) as image:
            if image.mode != "RGB":
                raise DataError(f"{path} has mode {image.mode}, expected RGB: convert it, so that both folders agree.")
            if size is not None:
                image = image.resize((size, size), Image.Resampling.BICUBIC)
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} can't be read as a picture ({error}): remove it.") from None


def _check_size(folder: Path, block: np.ndarray, space: Space) -> None:
    if space.size is not None and block.shape[1:3] != (space.size, space.size):
        raise ParamsError(
            f"{folder} holds pictures of {_times(block.shape[1:3])}, the judge knows {space.size} x {space.size}: give "
            "--resize, or another --judge."
        )


def _times(shape: Any) -> str:
    return f"{shape[0]} x {shape[1]}"
