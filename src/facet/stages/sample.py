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
from facet.diffusion.saving import assemble, load_pipeline, save_pipeline
from facet.evaluation.altered import alter
from facet.evaluation.samples import (
    SampleParams,
    askings,
    digest_pipeline,
    draw_samples,
    save_samples,
    training_captions,
    with_altered,
)
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
    faces = load_faces(FACES)
    asked = askings(pipeline.conditioning, faces, params.count, params.further, read_seed(), training_captions())
    samples = draw_samples(pipeline, digest, asked, params.count, params.unconditional)
    samples = with_altered(samples, alter(pipeline, faces, params.altered, read_seed()))
    save_samples(samples, SAMPLES)
    counts = {"samples": params.count, "unconditional": params.unconditional}
    counts |= samples.about["further"] | samples.about["altered"]
    write_json(METRICS / "sample.json", counts)


if __name__ == "__main__":
    run(main)
