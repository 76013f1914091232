"""The pictures and attributes that the report shows, chosen by rule and never by looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from facet.data.attributes import ABSENT, PRESENT
from facet.data.datasets import FaceSet
from facet.data.faces import quality
from facet.data.latents import LatentSet
from facet.evaluation.altered import Altered
from facet.evaluation.latents import colours, means, walk
from facet.evaluation.memorisation import FEATURES, PIXELS, Pair, closest_pairs
from facet.evaluation.page import picture
from facet.evaluation.reconstruction import psnr
from facet.evaluation.record import Evaluation
from facet.evaluation.samples import SampleSet
from facet.evaluation.scores import interval_of

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_GRID = 24
_CONTRASTS, _COLUMNS = 8, 6
_PAIRS = 10
_WALKS, _STEPS = 3, 8
_LATENTS = 10
_NEAREST = 10
# What facet.data.faces.quality measures, in its order.
_LIGHT = ("brightness", "contrast", "sharpness")


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One sample: its picture, what was asked, and where the judge disagrees."""

    source: str
    seed: int
    asked: list[str]
    missing: list[str]
    extra: list[str]

    @property
    def alt(self) -> str:
        asked = ", ".join(name.replace("_", " ") for name in self.asked) or "no attribute present"
        return f"Face drawn with seed {self.seed}, asked for: {asked}"


def sample_grid(samples: SampleSet, seen: np.ndarray, names: Sequence[str], columns: np.ndarray) -> list[Drawn]:
    """The first samples in the order of their seeds: nothing is picked."""
    drawn = []
    for i in range(min(_GRID, len(samples.faces))):
        asked, judged = samples.states[i, columns], seen[i, columns]
        drawn.append(
            Drawn(
                source=picture(samples.faces[i]),
                seed=int(samples.seeds[i]),
                asked=_named(names, asked == PRESENT),
                missing=_named(names, (asked == PRESENT) & (judged == ABSENT)),
                extra=_named(names, (asked == ABSENT) & (judged == PRESENT)),
            )
        )
    return drawn


def _named(names: Sequence[str], chosen: np.ndarray) -> list[str]:
    return [name for name, one in zip(names, chosen, strict=True) if one]


def contrasts(
    record: Mapping[str, Any], samples: SampleSet, seen: np.ndarray, names: Sequence[str], columns: np.ndarray
) -> list[dict[str, Any]]:
    """For some attributes, samples that asked for it above their closest relatives that asked for its absence."""
    asked, judged = samples.states[:, columns], seen[:, columns]
    rows = []
    for k in telling(asked, _CONTRASTS, least=_COLUMNS):
        couples = [
            [
                {
                    "source": picture(samples.faces[i]),
                    "seed": int(samples.seeds[i]),
                    "wrong": bool(asked[i, k] != judged[i, k]),
                }
                for i in couple
            ]
            for couple in matched(asked, k, _COLUMNS)
        ]
        rows.append({"name": names[k], "rates": record["adherence"]["attributes"][names[k]], "couples": couples})
    return rows


def telling(asked: np.ndarray, most: int, least: int) -> list[int]:
    """Columns of ``asked`` int8 [n, k] that are asked both ways ``least`` times or more: the even ones first, and of
    those the ones that say something the columns before them don't (weight: variance × (1 - highest |correlation|))."""
    usable = [
        k for k in range(asked.shape[1]) if min((asked[:, k] == PRESENT).sum(), (asked[:, k] == ABSENT).sum()) >= least
    ]
    if not usable:
        return []
    values = asked[:, usable].astype(np.float64)
    variance, correlation = values.var(axis=0), np.abs(np.corrcoef(values, rowvar=False)).reshape(len(usable), -1)
    chosen: list[int] = []
    while len(chosen) < min(most, len(usable)):
        novelty = 1 - correlation[:, chosen].max(axis=1) if chosen else np.ones(len(usable))
        weight = variance * novelty
        weight[chosen] = -1
        chosen.append(int(weight.argmax()))
    return [usable[i] for i in chosen]


def matched(asked: np.ndarray, column: int, count: int) -> list[tuple[int, int]]:
    """The first ``count`` samples that ask for ``column``, each with the sample that asks for its absence and is
    closest in everything else that is asked; none is used twice."""
    others = np.delete(asked, column, axis=1).astype(np.int16)
    free = list(np.flatnonzero(asked[:, column] == ABSENT))
    couples = []
    for i in np.flatnonzero(asked[:, column] == PRESENT)[:count]:
        nearest = free.pop(int(np.abs(others[free] - others[i]).sum(axis=1).argmin()))
        couples.append((int(i), int(nearest)))
    return couples


def reconstructions(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Pairs spread evenly over the quality: from the worst to the best of all held-out faces."""
    quality = psnr(evaluation.originals, evaluation.reconstructions)
    order = np.argsort(quality, kind="stable")
    places = np.linspace(0, len(order) - 1, min(_PAIRS, len(order))).astype(int)
    pairs = []
    for i in order[places]:
        original, reconstruction = evaluation.originals[i], evaluation.reconstructions[i]
        error = np.abs(original.astype(np.int16) - reconstruction) * 4
        pairs.append(
            {
                "original": picture(original),
                "reconstruction": picture(reconstruction),
                "error": picture(np.minimum(error, 255).astype(np.uint8)),
                "psnr": f"{quality[i]:.1f}",
            }
        )
    return pairs


def walks(vae: AutoencoderKL, latents: LatentSet, faces: FaceSet) -> list[list[str]]:
    """Walks between held-out faces, each as one picture a step: neighbours in a list spread evenly over them."""
    held_out = faces.rows("valid", "test")
    ends = held_out[np.linspace(0, len(held_out) - 1, 2 * _WALKS).astype(int)]
    return [
        [picture(step) for step in walk(vae, latents, int(start), int(end), _STEPS)]
        for start, end in zip(ends[::2], ends[1::2], strict=True)
    ]


def coloured_latents(latents: LatentSet, faces: FaceSet) -> dict[str, Any]:
    """Held-out faces above their latents in the colours of ``facet.evaluation.latents.colours``, spread evenly."""
    held_out = faces.rows("valid", "test")
    paint = colours(latents, held_out)
    chosen = held_out[np.linspace(0, len(held_out) - 1, min(_LATENTS, len(held_out))).astype(int)]
    couples = [
        {"face": picture(faces.pixels[i]), "latent": picture(paint(means(latents, np.array([i]))[0]))} for i in chosen
    ]
    return {"couples": couples, "share": paint.share, "shape": " × ".join(map(str, latents.shape))}


def neighbours(record: Mapping[str, Any], samples: SampleSet, faces: FaceSet) -> list[dict[str, Any]]:
    """The samples that lie closest to a training face, in the judge's features and in pixels, each with that face."""

    def couple(pair: Pair) -> dict[str, Any]:
        face = faces.pixels[pair.row]
        return {
            "sample": picture(samples.faces[pair.sample]),
            "face": picture(face[:, ::-1] if pair.mirrored else face),
            "seed": int(samples.seeds[pair.sample]),
            "mirrored": pair.mirrored,
            "percentile": pair.percentile,
        }

    spaces = {FEATURES: "the judge’s features", PIXELS: "pixels"}
    return [
        {
            "space": what,
            "scores": record["memorisation"][space],
            "couples": [couple(pair) for pair in closest_pairs(record, space)[:_NEAREST]],
        }
        for space, what in spaces.items()
        if space in record.get("memorisation", {})
    ]


def alterations(record: Mapping[str, Any], samples: SampleSet, faces: FaceSet) -> list[dict[str, Any]]:
    """The first photos that were edited, and inpainted: each before and after, with what was to change."""
    told = {"edited": ("Edited", record.get("editing")), "inpainted": ("Inpainted", record.get("inpainting"))}
    return [
        {"kind": kind, "title": told[kind][0], "scores": told[kind][1], "couples": _couples(done, faces)}
        for kind, done in sorted(samples.altered.items())
    ]


def _couples(done: Altered, faces: FaceSet) -> list[dict[str, Any]]:
    shown = []
    for i in range(min(_NEAREST, len(done.faces))):
        photo, changed = faces.pixels[done.rows[i]], np.flatnonzero(done.touched[i])
        # What was to be drawn anew is grey in the photo.
        hidden = done.masks[i] if not changed.size else np.zeros_like(done.masks[i])
        shown.append(
            {
                "photo": picture(np.where(hidden[..., None], np.uint8(128), photo)),
                "face": picture(done.faces[i]),
                "changes": [("" if done.states[i, k] > 0 else "−") + faces.names[k] for k in changed],
            }
        )
    return shown


# --- attributes -------------------------------------------------------------------------------------------------------


def adherence_rows(
    record: Mapping[str, Any],
    samples: SampleSet,
    names: Sequence[str],
    columns: np.ndarray,
) -> list[dict[str, Any]]:
    """One row an attribute, the weakest first, with the judge's ceiling by side."""
    rows = []
    for name, k in zip(names, columns, strict=True):
        rates = record["adherence"]["attributes"][name]
        sides = {}
        for side, state in (("present", PRESENT), ("absent", ABSENT)):
            ceiling = rates["judge_on_real"][side]
            sides[side] = {
                "rate": rates[side],
                "asked": int((samples.states[:, k] == state).sum()),
                "interval": interval_of(record, f"adherence.attributes.{name}.{side}"),
                "ceiling": rates["judge_on_real"]["overall"] if ceiling is None else ceiling,
            }
        known = [rates[side] for side in ("present", "absent") if rates[side] is not None]
        rows.append({"name": name, "balanced": float(np.mean(known)) if known else None, **sides})
    return sorted(rows, key=lambda row: (2.0 if row["balanced"] is None else row["balanced"], row["name"]))


def marginals(
    faces: FaceSet, samples: SampleSet, seen: np.ndarray, names: Sequence[str], columns: np.ndarray
) -> dict[str, Any]:
    """How common each attribute is in the training faces, in what was asked, and in what the judge saw."""
    train = faces.attributes[faces.rows("train")]
    rows = [
        {
            "name": name,
            "data": float((train[:, k] == PRESENT).mean()),
            "asked": float((samples.states[:, k] == PRESENT).mean()),
            "seen": float((seen[:, k] == PRESENT).mean()),
        }
        for name, k in zip(names, columns, strict=True)
    ]
    left_out = [name for name in faces.names if name not in names]
    return {"rows": sorted(rows, key=lambda row: (-row["data"], row["name"])), "left_out": left_out}


def groups(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a grouping attribute: its two sides, and the difference of their adherence with its interval."""
    found = record.get("balance", {}).get("groups", {})
    return [
        {
            "name": name,
            "sides": [{"asked": asked, **group[side]} for side, asked in (("present", "with"), ("absent", "without"))],
            "difference": group["difference"],
            "interval": group["interval"],
        }
        for name, group in found.items()
    ]


def unasked(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """How often each attribute is seen in held-out faces, and in samples that asked for nothing: the furthest apart
    first. Empty where no such samples were drawn."""
    found = (record.get("balance", {}).get("marginals") or {}).get("attributes", {})
    order = sorted(found, key=lambda name: (-abs(found[name]["difference"]), name))
    return {name: {"real": found[name]["real"], "drawn": found[name]["drawn"]} for name in order}


def shares_by_split(faces: FaceSet) -> dict[str, dict[str, float]]:
    """How common each attribute is in each split that has faces, the commonest in training first."""
    splits = [name for name in ("train", "valid", "test") if (faces.split == name).any()]
    shares = {name: (faces.attributes[faces.rows(name)] == PRESENT).mean(axis=0) for name in splits}
    order = np.argsort(-shares[splits[0]], kind="stable")
    return {faces.names[k]: {name: float(shares[name][k]) for name in splits} for k in order}


def read_light(folder: Path) -> dict[str, np.ndarray]:
    """Brightness, contrast and sharpness of the faces in ``folder``, float [n] each, where its manifest has them."""
    table = pq.read_table(folder / "manifest.parquet")
    return {name: table[name].to_numpy() for name in _LIGHT if name in table.column_names}


def qualities(faces: FaceSet, samples: SampleSet, light: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What ``read_light`` found, of training and of held-out faces, beside the same of the samples."""
    drawn = np.array([quality(face) for face in samples.faces])
    return {
        name: {
            "training": light[name][faces.split == "train"],
            "held out": light[name][faces.split != "train"],
            "drawn": drawn[:, k],
        }
        for k, name in enumerate(_LIGHT)
        if name in light
    }
