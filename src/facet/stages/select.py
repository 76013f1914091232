"""artifacts/unet, decoder, judge, reference, faces -> artifacts/selection.json: the denoiser's best snapshot."""

from __future__ import annotations

from facet.artifacts import (
    CURVES,
    FACES,
    JUDGE,
    METRICS,
    REFERENCE,
    SELECTION,
    SELECTION_SCHEMA,
    UNET,
    write_curve,
    write_json,
)
from facet.data.datasets import load_faces
from facet.evaluation.features import load_judge
from facet.evaluation.reference import load_reference
from facet.evaluation.samples import SampleParams
from facet.evaluation.selection import SelectParams, best, score_snapshots
from facet.models.denoiser import snapshots
from facet.params import read_section, read_seed
from facet.precision import be_deterministic, default_device
from facet.stages import run

SECTION = SelectParams


def main() -> None:
    params, sampling = read_section("select", SECTION), read_section("sample", SampleParams).sampling
    be_deterministic()
    judge = load_judge(JUDGE).to(default_device())
    found = snapshots(UNET)
    scores = score_snapshots(found, params, sampling, load_faces(FACES), load_reference(REFERENCE), judge, read_seed())
    step = best(scores, params.by)
    write_curve(CURVES / "select.csv", [{"step": float(at)} | score for at, score in scores.items()])
    write_json(SELECTION, {"schema": SELECTION_SCHEMA, "step": step, "by": params.by, "faces": params.faces})
    write_json(METRICS / "select.json", {"step": step, "of": max(found), "chosen": scores[step]})


if __name__ == "__main__":
    run(main)
