"""artifacts/unet, selection, decoder, faces -> artifacts/pipeline, artifacts/samples: the whole model, and N faces."""

from __future__ import annotations

from facet.artifacts import (
    DECODER,
    FACES,
    METRICS,
    PIPELINE,
    SAMPLES,
    SELECTION,
    SELECTION_SCHEMA,
    TEXT,
    UNET,
    read_json,
    whole_folder,
    write_json,
)
from facet.data.datasets import load_faces
from facet.diffusion.pipeline import assemble, load_pipeline, save_pipeline
from facet.evaluation.samples import SampleParams, conditions, digest_pipeline, part_of, write_samples
from facet.models.denoiser import snapshot
from facet.params import read_section, read_seed
from facet.precision import be_deterministic, default_device
from facet.stages import run

SECTION = SampleParams


def main() -> None:
    params = read_section("sample", SECTION)
    be_deterministic()
    chosen = snapshot(UNET, read_json(SELECTION, SELECTION_SCHEMA)["step"])
    with whole_folder(PIPELINE) as folder:
        save_pipeline(assemble(chosen, TEXT, DECODER, params.sampling), folder)
    # Draw with what was saved, as every later user will.
    pipeline = load_pipeline(PIPELINE).to(default_device())
    digest = digest_pipeline(PIPELINE)
    states = conditions(load_faces(FACES), params.count, read_seed())
    partial = part_of(states, params.partial, read_seed())
    write_samples(pipeline, digest, states, SAMPLES, params.unconditional, partial)
    counts = {"samples": params.count, "unconditional": params.unconditional, "partial": params.partial}
    write_json(METRICS / "sample.json", counts)


if __name__ == "__main__":
    run(main)
