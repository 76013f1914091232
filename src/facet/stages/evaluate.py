"""samples, reference, judge, decoder, latents, pipeline -> artifacts/evaluation.json, metrics, plots, the report."""

from __future__ import annotations

import numpy as np

from facet.artifacts import (
    DECODER,
    EVALUATION,
    FACES,
    JUDGE,
    LATENTS,
    METRICS,
    PIPELINE,
    RECONSTRUCTION_GRID,
    REFERENCE,
    REPORT,
    SAMPLE_GRID,
    SAMPLES,
    digest_folder,
    write_json,
)
from facet.data.datasets import load_faces
from facet.data.latents import load_latents
from facet.diffusion.grids import grid, pairs, save_picture
from facet.diffusion.saving import load_pipeline
from facet.evaluation.exhibits import read_light
from facet.evaluation.features import load_judge
from facet.evaluation.record import EvaluateParams, evaluate, headline, write_adherence
from facet.evaluation.reference import ReferenceParams, load_reference
from facet.evaluation.report import Shown, write_report
from facet.evaluation.samples import load_samples
from facet.models.autoencoder import load_autoencoder
from facet.params import read_section, read_seed
from facet.precision import be_deterministic, default_device
from facet.stages import run

SECTION = EvaluateParams


def main() -> None:
    read_section("evaluate", SECTION)
    # Which feature spaces there are is the reference's to say; their weights are needed here once more.
    extractors = read_section("reference", ReferenceParams).extractors
    be_deterministic()
    samples, faces = load_samples(SAMPLES), load_faces(FACES)
    vae = load_autoencoder(DECODER).to(default_device())
    latents = load_latents(LATENTS)
    done = evaluate(extractors, samples, faces, load_reference(REFERENCE), JUDGE, vae, read_seed(), latents)
    write_json(EVALUATION, done.record)
    write_json(METRICS / "evaluate.json", headline(done.record))
    write_adherence(METRICS / "adherence.csv", done.record)
    save_picture(grid(samples.faces[:80], columns=10, zoom=2), SAMPLE_GRID)
    some = np.linspace(0, len(done.originals) - 1, 30).astype(int)
    side_by_side = pairs(done.originals[some], done.reconstructions[some], columns=10)
    save_picture(grid(side_by_side, columns=10, zoom=2), RECONSTRUCTION_GRID)
    shown = Shown(
        faces=faces,
        samples=samples,
        latents=latents,
        pipeline=load_pipeline(PIPELINE),
        judge=load_judge(JUDGE),
        light=read_light(FACES),
        digests={folder.name: digest_folder(folder) for folder in (DECODER, JUDGE, LATENTS, REFERENCE)},
    )
    write_report(REPORT, METRICS, shown, done)


if __name__ == "__main__":
    run(main)
