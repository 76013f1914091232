"""The evaluation record: every score beside the protocol that it was measured by."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import facet
from facet.artifacts import EVALUATION_SCHEMA, whole_file
from facet.data.datasets import FaceSet
from facet.data.latents import LatentSet
from facet.errors import ArtifactError
from facet.evaluation.altered_scores import altered_scores
from facet.evaluation.balance import balance, balance_unasked, gaps, judged, verdicts
from facet.evaluation.bootstrap import LEVEL, RESAMPLES
from facet.evaluation.features import digest_extractor, extract_layers, judge_extractor
from facet.evaluation.fidelity import NEIGHBOURS, kid_subset_size
from facet.evaluation.latents import moments_by_channel
from facet.evaluation.measures import (
    Measured,
    adherence,
    autoencoder,
    by_condition,
    gathered,
    inception_scores,
    reference_fidelity,
    small_n,
)
from facet.evaluation.memorisation import memorisation
from facet.evaluation.reconstruction import reconstruct
from facet.evaluation.reference import ExtractorParams, Reference, digest_faces
from facet.evaluation.samples import SampleSet

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

# What samples.json may say beside what it always says.
_OPTIONAL = ("asked", "further", "altered", "pipeline", "resize")
_BY_CONDITION = "adherence.by_condition"


@dataclasses.dataclass(frozen=True)
class EvaluateParams:
    """Section ``evaluate``, empty: what is measured, and against what, follows from ``reference`` and ``sample``."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The record, and the pictures that were computed on the way."""

    record: dict[str, Any]
    # The judge's verdicts on the samples, int8 [n, k] of -1, 1.
    seen: np.ndarray
    originals: np.ndarray
    # None where no autoencoder was given.
    reconstructions: np.ndarray | None


def evaluate(
    extractors: Sequence[ExtractorParams],
    samples: SampleSet,
    faces: FaceSet,
    reference: Reference,
    judge: Path,
    vae: AutoencoderKL | None,
    seed: int,
    latents: LatentSet | None = None,
) -> Evaluation:
    """Score ``samples`` and, where there is one, ``vae``, in the judge's features and in those of ``extractors``, which
    the reference has too. Samples that nothing was asked for have no adherence, and their marginals stand in for those
    of further unconditional ones.

    Raises ArtifactError where samples and reference don't fit one another.
    """
    _check_fit(samples, faces, reference, judge)
    _check_extractors(extractors, reference)
    extractor = judge_extractor(judge)
    held_out = faces.rows("valid", "test")
    originals = np.array(faces.pixels[held_out])
    reconstructions = None if vae is None else reconstruct(vae, originals)
    drawn, real = judged(extractor.judge, samples.faces, "samples"), judged(extractor.judge, originals, "real faces")
    features = drawn.features
    measured = {"fidelity.judge": reference_fidelity(features, reference, seed)}
    scores: dict[str, Any] = {
        "fidelity": {"judge": measured["fidelity.judge"].values},
        "memorisation": memorisation(extractor, samples.faces, faces, reference, (features, real.features)),
    }
    of_data = verdicts(extractor.judge, reference.features)
    if samples.states is None:
        scores["balance"] = balance_unasked(drawn, of_data, faces)
    else:
        measured["adherence"] = adherence(real.seen, samples, drawn.seen, faces, held_out, seed)
        unasked = samples.unconditional
        free = None if unasked is None else judged(extractor.judge, unasked, "unconditional")
        kinds = {samples.about["asked"]: (samples.states, drawn.seen)}
        for kind, answered in samples.further.items():
            kinds[kind] = (answered.states, judged(extractor.judge, answered.faces, f"asked, {kind}").seen)
        measured[_BY_CONDITION] = by_condition(kinds, faces, seed)
        scores["adherence"] = measured["adherence"].values | {"by_condition": measured[_BY_CONDITION].values}
        scores["balance"] = balance(drawn, samples.states, real, free, of_data, faces, reference)
    for part, found in altered_scores(samples.altered, extractor.judge, faces, seed).items():
        measured[part] = found
        scores[part] = found.values
    if reconstructions is not None:
        given_back = autoencoder(extractor, originals, reconstructions, reference, seed, real.features)
        measured["autoencoder"] = given_back
        scores["autoencoder"] = measured["autoencoder"].values | _latents(latents, held_out)
    for further in extractors:
        found = _further(further, samples, reference.further[further.name], seed)
        measured[f"fidelity.{further.name}"] = found
        scores["fidelity"][further.name] = found.values
    record = {
        "schema": EVALUATION_SCHEMA,
        **scores,
        "intervals": gathered(measured),
        "protocol": _protocol(samples, reference),
        "made_by": _made_by(),
    }
    _warn(record, features, reference)
    return Evaluation(record, drawn.seen, originals, reconstructions)


def _warn(record: dict[str, Any], features: np.ndarray, reference: Reference) -> None:
    """Say on stderr and in ``record`` what a small number of samples does to it."""
    warning = small_n(len(features), features.shape[1], reference.about["floor"]["faces"])
    if warning:
        record["warnings"] = [warning]
        print(f"warning: {warning}", file=sys.stderr)


def _made_by() -> dict[str, Any]:
    """What made the record, beside the protocol and not in it: neither changes a score, and records of two releases
    of facet stay comparable."""
    return {"facet": code_version(), "resamples": RESAMPLES, "interval_level": LEVEL}


def code_version() -> str | None:
    """facet's version: that of the checkout it runs from, else of the installed package; None where neither tells."""
    project = Path(facet.__file__).parents[2] / "pyproject.toml"
    with contextlib.suppress(OSError, tomllib.TOMLDecodeError, KeyError):
        about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        if about["name"] == "facet":
            return about["version"]
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("facet")
    return None


def _check_fit(samples: SampleSet, faces: FaceSet, reference: Reference, judge: Path) -> None:
    expected = f"judge:{digest_extractor(judge)}"
    if reference.about["extractor"] != expected:
        raise ArtifactError(
            f"the reference was measured by {reference.about['extractor']}, the judge here is {expected}: "
            "run `dvc repro reference`."
        )
    if reference.about["faces"] != digest_faces(faces):
        raise ArtifactError("the reference was measured on other faces than those here: run `dvc repro reference`.")
    if samples.faces.shape[1:] != faces.pixels.shape[1:]:
        raise ArtifactError(
            f"samples are {samples.faces.shape[1:]}, real faces {faces.pixels.shape[1:]}: run `dvc repro sample`."
        )


def _check_extractors(extractors: Sequence[ExtractorParams], reference: Reference) -> None:
    asked = {extractor.name: extractor.key for extractor in extractors}
    held = {name: other.about["extractor"] for name, other in reference.further.items()}
    if asked != held:
        told = (", ".join(sorted(keys.values())) or "none" for keys in (held, asked))
        raise ArtifactError(
            "the reference was measured in further feature spaces {}, reference.extractors asks for {}: run `dvc repro "
            "reference`.".format(*told)
        )


def _further(extractor: ExtractorParams, samples: SampleSet, reference: Reference, seed: int) -> Measured:
    """Scores in a feature space beside the judge's; of the real faces only what ``reference`` holds is read."""
    layers = extract_layers(extractor.open(), samples.faces, f"{extractor.name}, samples")
    found = reference_fidelity(layers[0], reference, seed)
    values, intervals = found.values, found.intervals
    if extractor.logits is not None:
        score = inception_scores(layers[1], seed)
        values, intervals = values | score.values, intervals | score.intervals
    which = {"layer": extractor.layer, "weights_sha256": extractor.sha256}
    return Measured(values | which, intervals)


def _latents(latents: LatentSet | None, held_out: np.ndarray) -> dict[str, Any]:
    return {} if latents is None else latent_scores(latents, held_out)


def latent_scores(latents: LatentSet, rows: np.ndarray) -> dict[str, Any]:
    """What the record's part ``autoencoder`` says of the latents of the faces ``rows``."""
    by_channel = moments_by_channel(latents, rows)
    return {"kurtosis": round(float(np.mean(by_channel["kurtosis"])), 4), "latents": by_channel}


def _protocol(samples: SampleSet, reference: Reference) -> dict[str, Any]:
    about = reference.about
    return {
        "samples": samples.about["count"],
        "conditions": samples.about["conditions"],
        "first_seed": samples.about["first_seed"],
        "sampling": samples.about["sampling"],
        "model": samples.about["model"],
        "reference": {key: about[key] for key in ("split", "count", "faces", "crop", "resize", "size", "extractor")},
        "floor_faces": about["floor"]["faces"],
        "kid_subset_size": kid_subset_size(about["count"], samples.about["count"]),
        "neighbours": NEIGHBOURS,
        # Only where there are any; of a model from elsewhere: what draws, and what was done to its pictures.
        **{key: samples.about[key] for key in _OPTIONAL if samples.about.get(key)},
    }


def headline(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record's scores without protocol and per-attribute tables: what `dvc metrics` shows and compares."""
    rates = {name: value for name, value in record["adherence"].items() if name != "attributes"}
    vae = {name: value for name, value in record["autoencoder"].items() if name != "latents"}
    copying = {name: value for name, value in record["memorisation"].items() if name not in ("closest", "faces")}
    return {
        "fidelity": record["fidelity"],
        "adherence": rates,
        "autoencoder": vae,
        "memorisation": copying,
        "balance": gaps(record["balance"]),
        **{part: record[part] for part in ("inpainting", "editing") if part in record},
    }


def write_adherence(path: Path, record: Mapping[str, Any]) -> None:
    """Per-attribute adherence as CSV for `dvc plots`: attribute, asked vs seen, the judge's ceiling, 95 % intervals."""
    sides = ("overall", "present", "absent")
    columns = ("attribute", *sides, "judge_on_real", *(f"{side}_{end}" for side in sides for end in ("low", "high")))
    with whole_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for name, rates in record["adherence"]["attributes"].items():
            row = {**rates, "judge_on_real": rates["judge_on_real"]["overall"]}
            for side in sides:
                interval = record["intervals"].get(f"adherence.attributes.{name}.{side}", (None, None))
                row |= zip((f"{side}_low", f"{side}_high"), interval, strict=True)
            writer.writerow([name, *("" if row[c] is None else row[c] for c in columns[1:])])
