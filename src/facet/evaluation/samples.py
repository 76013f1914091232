"""N labelled samples, one seed each, kept so that a new metric need not draw them again.

``artifacts/samples/`` holds

- ``samples.json``         schema, counts, sampling defaults used, digest of the pipeline, first seed
- ``samples.safetensors``  "faces" uint8 [n, h, w, 3], "states" int8 [n, k], "seeds" int64 [n]; where some were asked
  for, "unconditional" uint8 [m, h, w, 3], drawn with nothing asked and the m seeds that follow; and for each further
  kind of request ("partial", "text", "both") "KIND" uint8 [p, h, w, 3] with "KIND_states" int8 [p, k], what was asked,
  drawn with the next p seeds. Of photos that were changed ("edited", "inpainted"): "KIND" uint8 [q, h, w, 3] and
  "KIND_rows", "KIND_states", "KIND_touched", "KIND_masks", as facet.evaluation.altered explains them
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from facet.artifacts import SAMPLES_SCHEMA, TEXT, digest_folder, read_json, whole_folder, write_json
from facet.data.attributes import UNKNOWN
from facet.data.captions import Caption, write_caption
from facet.data.datasets import FaceSet
from facet.data.sentences import load_sentences
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.sampling import SamplingParams
from facet.evaluation.altered import Altered
from facet.models.conditioning import Conditioning
from facet.params import Between, Natural
from facet.seeding import derive, numpy_stream

# Further kinds of request, in the order in which they take their seeds: for part of the attributes, for what a sentence
# says, for all attributes and such a sentence.
KINDS = ("partial", "text", "both")
_OF_ALTERED = ("rows", "states", "touched", "masks")
# A written caption that training had is written anew, this often.
_TRIES = 20


@dataclasses.dataclass(frozen=True)
class SampleParams:
    """Section ``sample``: how many are drawn for the evaluation, and how."""

    # Samples; a Frechet distance below about a thousand says little.
    count: Annotated[int, Between(2)]
    # Further samples with nothing asked, whose attributes the balance compares with the data's; 0 draws none.
    unconditional: Natural
    # Further samples asked for otherwise, for the adherence by kind of request; 0 draws none. Kinds that the model does
    # not take are left out.
    partial: Natural
    text: Natural
    both: Natural
    # Held-out faces that are edited, and as many that are inpainted; 0 changes none.
    altered: Natural
    sampling: SamplingParams

    @property
    def further(self) -> dict[str, int]:
        """How many of each further kind."""
        return {kind: getattr(self, kind) for kind in KINDS}


@dataclasses.dataclass(frozen=True)
class Asking:
    """A kind of request: ``states`` int8 [n, k] are asked for, by ``prompts`` that say them where those are given, as
    attributes where ``attributes`` is true."""

    states: np.ndarray
    prompts: list[str] | None = None
    attributes: bool = True


@dataclasses.dataclass(frozen=True)
class Answered:
    """``faces`` uint8 [p, h, w, 3], drawn for ``states`` int8 [p, k]."""

    faces: np.ndarray
    states: np.ndarray


@dataclasses.dataclass(frozen=True)
class SampleSet:
    """``faces`` uint8 [n, h, w, 3] drawn for ``states`` int8 [n, k], or None where nothing was asked for, with
    ``seeds`` int64 [n]; ``unconditional`` uint8 [m, h, w, 3], or None where none were drawn; ``further`` kinds of
    request. ``about["asked"]`` names the kind of ``faces``. ``altered`` are held-out faces that were changed."""

    faces: np.ndarray
    states: np.ndarray | None
    seeds: np.ndarray
    about: dict[str, Any]
    unconditional: np.ndarray | None = None
    further: Mapping[str, Answered] = dataclasses.field(default_factory=dict)
    altered: Mapping[str, Altered] = dataclasses.field(default_factory=dict)


def askings(
    conditioning: Conditioning,
    faces: FaceSet,
    count: int,
    further: Mapping[str, int],
    seed: int,
    known: Collection[str] = (),
) -> dict[str, Asking]:
    """What a model of this ``conditioning`` is asked: by name the main kind, of ``count``, and then the ``further``
    ones. Empty where it can be asked nothing. No prompt is one of ``known``, the captions it was trained on."""
    if conditioning == "none":
        return {}
    states = conditions(faces, count, seed)
    if conditioning == "text":
        return {"text": _by_sentence(states, faces, seed, known, attributes=False)}
    kinds = {"whole": Asking(states)}
    if further.get("partial"):
        kinds["partial"] = Asking(part_of(states, further["partial"], seed))
    for kind in ("text", "both") if conditioning == "both" else ():
        if further.get(kind):
            some = np.resize(states, (further[kind], states.shape[1]))
            kinds[kind] = _by_sentence(some, faces, seed, known, attributes=kind == "both")
    return kinds


def training_captions() -> frozenset[str]:
    """The captions that this folder's chain trains on; none where there is no chain, or it has none."""
    return frozenset(load_sentences(TEXT).captions) if (TEXT / "text.json").is_file() else frozenset()


def _by_sentence(states: np.ndarray, faces: FaceSet, seed: int, known: Collection[str], *, attributes: bool) -> Asking:
    """Sentences about faces of these ``states``; without the attributes beside them, only what they say is asked."""
    learnable = np.full(states.shape[1], False)
    learnable[faces.learnable()] = True
    spoken_of = np.where(learnable, states, UNKNOWN)
    told = [_new_caption(row, faces.names, seed, i, known) for i, row in enumerate(spoken_of)]
    asked = states if attributes else np.stack([caption.states for caption in told])
    return Asking(asked, [caption.text for caption in told], attributes)


def _new_caption(states: np.ndarray, names: tuple[str, ...], seed: int, row: int, known: Collection[str]) -> Caption:
    """A caption that is none of ``known``, unless it is so short that hardly any other can be written."""
    purpose = derive(seed, "held-out captions")
    for number in range(_TRIES):
        caption = write_caption(states, names, purpose, row, number)
        if caption.text not in known:
            break
    return caption


def conditions(faces: FaceSet, count: int, seed: int) -> np.ndarray:
    """``count`` attribute vectors, int8 [count, k], from the held-out splits: their joint distribution, in rounds."""
    rows = faces.rows("valid", "test")
    rounds = -(-count // len(rows))
    order = np.concatenate([numpy_stream(seed, "conditions", r).permutation(rows) for r in range(rounds)])
    return faces.attributes[order[:count]]


def part_of(states: np.ndarray, count: int, seed: int) -> np.ndarray:
    """``count`` rows of ``states`` int8 [n, k], in rounds, with a random part of each forgotten, int8 [count, k]: from
    one known attribute to all of them, each size as likely as another, as `train_unet.dropout.some` trains it."""
    stream = numpy_stream(seed, "partial conditions")
    states = np.resize(states, (count, states.shape[1]))
    # Each row's attributes in a random order, the known ones first; so many of them stay.
    order = np.argsort(stream.random(states.shape) + (states == UNKNOWN), axis=1).argsort(axis=1)
    known = (states != UNKNOWN).sum(axis=1)
    kept = 1 + (stream.random(count) * known).astype(np.int64)
    return np.where(order < kept[:, None], states, UNKNOWN).astype(np.int8)


def draw_samples(
    pipeline: FacePipeline,
    digest: str,
    asked: Mapping[str, Asking],
    count: int,
    unconditional: int = 0,
    first_seed: int = 0,
    **sampling: float | None,
) -> SampleSet:
    """One face a row of the first kind of ``asked``, with seeds ``first_seed`` and those that follow it, then as many
    as ``unconditional`` says with nothing asked, then the further kinds. Where nothing is ``asked``, ``count`` faces.

    ``sampling`` are arguments of the pipeline; what is missing or None is its own default.
    """
    width = len(pipeline.attribute_names)

    def draw(asking: Asking, start: int) -> np.ndarray:
        states = asking.states if asking.attributes else np.full_like(asking.states, UNKNOWN)
        seeds = list(range(start, start + len(states)))
        prompts = asking.prompts or ""
        return pipeline(prompts, attributes=states, seeds=seeds, output_type="np", **sampling).images

    def nothing(rows: int) -> Asking:
        return Asking(np.full((rows, width), UNKNOWN, np.int8))

    (kind, main), *others = asked.items() or [("none", nothing(count))]
    drawn = draw(main, first_seed)
    at = first_seed + len(drawn)
    free = draw(nothing(unconditional), at) if unconditional else None
    at += unconditional
    further = {}
    for name, asking in others:
        further[name] = Answered(draw(asking, at), asking.states)
        at += len(asking.states)
    given = {name: value for name, value in sampling.items() if value is not None}
    about = {
        "schema": SAMPLES_SCHEMA,
        "count": len(drawn),
        "unconditional": unconditional,
        "asked": kind,
        "further": {name: len(answered.faces) for name, answered in further.items()},
        "altered": {},
        "conditions": "joint distribution of splits valid+test" if asked else "none",
        "first_seed": first_seed,
        "model": digest,
        "attributes": list(pipeline.attribute_names),
        "sampling": {k: v for k, v in {**pipeline.config.sampling, **given}.items() if k != "batch_size"},
    }
    states = np.ascontiguousarray(main.states) if asked else None
    seeds = np.arange(first_seed, first_seed + len(drawn), dtype=np.int64)
    return SampleSet(drawn, states, seeds, about, free, further)


def with_altered(samples: SampleSet, altered: Mapping[str, Altered]) -> SampleSet:
    """``samples`` and these photos."""
    counts = {kind: len(done.faces) for kind, done in altered.items()}
    return dataclasses.replace(samples, altered=altered, about=samples.about | {"altered": counts})


def save_samples(samples: SampleSet, out: Path) -> None:
    """Write ``out``."""
    named = {name: getattr(samples, name) for name in ("faces", "states", "seeds", "unconditional")}
    for kind, answered in samples.further.items():
        named |= {kind: answered.faces, f"{kind}_states": answered.states}
    for kind, done in samples.altered.items():
        named |= {kind: done.faces} | {f"{kind}_{name}": getattr(done, name) for name in _OF_ALTERED}
    tensors = {name: np.ascontiguousarray(value) for name, value in named.items() if value is not None}
    with whole_folder(out) as folder:
        save_file(tensors, folder / "samples.safetensors")
        write_json(folder / "samples.json", samples.about)


def load_samples(folder: Path) -> SampleSet:
    """Open ``artifacts/samples``."""
    about = read_json(folder / "samples.json", SAMPLES_SCHEMA)
    tensors = load_file(folder / "samples.safetensors")
    further = {kind: Answered(tensors[kind], tensors[f"{kind}_states"]) for kind in about["further"]}
    altered = {
        kind: Altered(tensors[kind], **{name: tensors[f"{kind}_{name}"] for name in _OF_ALTERED})
        for kind in about["altered"]
    }
    return SampleSet(
        tensors["faces"], tensors.get("states"), tensors["seeds"], about, tensors.get("unconditional"), further, altered
    )


def digest_pipeline(folder: Path) -> str:
    """Which model: SHA-256 over the saved pipeline's files."""
    return digest_folder(folder)
