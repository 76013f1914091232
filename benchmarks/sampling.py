"""Drawing faces: 8 second-order steps with guidance in an interval, beside 50 guided Euler steps in fp32."""

from __future__ import annotations

from benchmarks.timing import side_by_side
from facet.artifacts import PIPELINE
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.saving import load_pipeline


def measure() -> dict[str, object]:
    """Faces/s with the trained pipeline's defaults beside the way tutorials sample."""
    ours, plain = load_pipeline(PIPELINE), load_pipeline(PIPELINE)
    plain.register_to_config(sampling=dict(plain.config.sampling) | {"precision": "fp32"})
    for pipeline in (ours, plain):
        pipeline.set_progress_bar_config(disable=True)
    return {"plain": "50 Euler steps, constant guidance, fp32"} | side_by_side(
        lambda: _draw(ours), lambda: _draw(plain, steps=50, sampler="euler", guidance_interval=(0.0, 1.0)), rounds=3
    )


def _draw(pipeline: FacePipeline, **options: object) -> int:
    return len(pipeline(attributes="Smiling", num_images=64, output_type="np", **options).images)
