"""Feature spaces that fidelity is measured in, as torch-fidelity feature extractors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from facet import collector
from facet.artifacts import digest_file, digest_folder
from facet.data.pixels import to_pixels
from facet.errors import ArtifactError, ParamsError, UnreachableError
from facet.models.judge import Judge
from facet.progress import bar
from facet.torchvision_ops import declare_missing

with collector.paused():
    declare_missing()
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
    from torch_fidelity.utils import create_feature_extractor

JUDGE_EXTRACTOR = "facet-judge"
INCEPTION_EXTRACTOR = "inception-v3-compat"


class JudgeFeatures(FeatureExtractorBase):
    """The judge's penultimate layer: uint8 [n, 3, h, w] -> float32 [n, d]. Offline, and trained on the data at hand."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str, **_: object):
        super().__init__(name, features_list)
        self.judge = load_judge(Path(feature_extractor_weights_path))

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("penultimate",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "penultimate"

    @staticmethod
    def can_be_compiled() -> bool:
        return True

    @staticmethod
    def get_dummy_input_for_compile() -> torch.Tensor:
        return torch.zeros(1, 3, 64, 64, dtype=torch.uint8)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.judge.features(to_pixels(pictures.permute(0, 2, 3, 1))),)


register_feature_extractor(JUDGE_EXTRACTOR, JudgeFeatures)


def load_judge(folder: Path) -> Judge:
    """The judge in ``folder``, frozen. Raises ArtifactError where there is none."""
    if not (folder / "config.json").exists():
        raise ArtifactError(f"{folder} holds no judge: run `dvc repro train_judge`.")
    return Judge.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval().requires_grad_(False)


def judge_extractor(folder: Path) -> FeatureExtractorBase:
    """The judge in ``folder`` as torch-fidelity sees it."""
    return _create(JUDGE_EXTRACTOR, ["penultimate"], folder)


def inception_extractor(weights: Path, sha256: str) -> FeatureExtractorBase:
    """torch-fidelity's Inception-v3 (layers "2048", "logits_unbiased") from weights of this SHA-256."""
    return weighed_extractor(INCEPTION_EXTRACTOR, ["2048", "logits_unbiased"], weights, sha256)


def weights_file(given: str, sha256: str) -> Path:
    """``given`` as a path; of a URL the file in torch's cache, downloaded once and kept only with this SHA-256.

    Raises ParamsError for another hash, UnreachableError where the host does not answer.
    """
    if not given.startswith(("https://", "http://")):
        return Path(given)
    path = Path(torch.hub.get_dir()) / "checkpoints" / f"{sha256[:16]}-{given.rpartition('/')[2]}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(given, str(path), hash_prefix=sha256, progress=sys.stderr.isatty())
        except RuntimeError:
            raise ParamsError(f"{given} is no file with sha256 {sha256}: check the address and the hash.") from None
        except OSError as error:
            raise UnreachableError(f"{given} can't be fetched ({error}): try again, or fetch it by hand.") from None
    return path


def weighed_extractor(name: str, layers: list[str], weights: Path, sha256: str) -> FeatureExtractorBase:
    """Extractor ``name`` of torch-fidelity's registry, giving ``layers``, from weights of this SHA-256.

    torch-fidelity unpickles the file without restriction. So the hash is checked first, and then that the file loads
    with ``weights_only=True``: a file that passes holds tensors and nothing that could run. Raises ParamsError.
    """
    _check_layers(name, layers)
    if not weights.is_file():
        raise ParamsError(f"{name}: weights {weights} do not exist: give torch-fidelity's weights file, or none.")
    seen = digest_file(weights)
    if seen != sha256:
        raise ParamsError(f"{name}: weights {weights} have sha256 {seen}, expected {sha256}: fetch the right file.")
    try:
        torch.load(weights, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ParamsError(
            f"{name}: weights {weights} hold more than tensors ({type(error).__name__}): refused."
        ) from None
    try:
        return _create(name, layers, weights)
    except NotImplementedError:
        raise ParamsError(f"{name} takes no weights file in torch-fidelity: choose another extractor.") from None
    except RuntimeError as error:  # load_state_dict's
        raise ParamsError(f"{name}: weights {weights} are another network's ({str(error).splitlines()[0]}).") from None


def _check_layers(name: str, layers: list[str]) -> None:
    if name not in FEATURE_EXTRACTORS_REGISTRY or name == JUDGE_EXTRACTOR:
        known = sorted(FEATURE_EXTRACTORS_REGISTRY.keys() - {JUDGE_EXTRACTOR})
        raise ParamsError(f"no extractor {name!r} in torch-fidelity's registry: choose from {', '.join(known)}.")
    provided = FEATURE_EXTRACTORS_REGISTRY[name].get_provided_features_list()
    for layer in layers:
        if layer not in provided:
            raise ParamsError(f"{name} has no layer {layer!r}: choose from {', '.join(provided)}.")


def _create(name: str, layers: list[str], weights: Path) -> FeatureExtractorBase:
    return create_feature_extractor(
        name, layers, cuda=torch.cuda.is_available(), feature_extractor_weights_path=str(weights), verbose=False
    )


def digest_extractor(folder: Path) -> str:
    """Which judge: a score in another judge's features is another score."""
    return digest_folder(folder)[:16]


def extract(extractor: FeatureExtractorBase, faces: np.ndarray, what: str, batch_size: int = 128) -> np.ndarray:
    """uint8 [n, h, w, 3] -> float64 [n, d], the extractor's first layer; fp32 inside."""
    return extract_layers(extractor, faces, what, batch_size)[0]


@torch.no_grad()
def extract_layers(
    extractor: FeatureExtractorBase, faces: np.ndarray, what: str, batch_size: int = 128
) -> list[np.ndarray]:
    """uint8 [n, h, w, 3] -> float64 [n, d] for each layer that the extractor gives; fp32 inside."""
    device = next(extractor.parameters()).device
    parts = []
    with bar(len(faces), what, "face") as progress:
        for start in range(0, len(faces), batch_size):
            batch = torch.from_numpy(np.array(faces[start : start + batch_size])).permute(0, 3, 1, 2).to(device)
            parts.append([layer.double().cpu().numpy() for layer in extractor(batch)])
            progress.update(len(batch))
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]
