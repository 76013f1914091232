"""The report: one file that stands alone, the same bytes every time, every attribute in it, and nothing unescaped."""

import dataclasses
import re

import numpy as np
import pytest

from facet.artifacts import write_json
from facet.errors import ArtifactError
from facet.evaluation.record import EvaluateParams, evaluate
from facet.evaluation.reference import ReferenceParams, load_reference, write_reference
from facet.evaluation.report import write_report
from facet.evaluation.samples import load_samples, write_samples
from facet.training.session import write_curve
from tests import tiny

STEPS = ("train_vae", "tune_decoder", "train_unet", "train_judge")


@pytest.fixture(scope="module")
def inputs(faces, latents, judge_folder, tmp_path_factory):
    """Everything that the page shows, from tiny untrained models."""
    root = tmp_path_factory.mktemp("report")
    write_reference(faces, judge_folder, ReferenceParams("train", floor_faces=8), 0, root / "reference")
    write_samples(tiny.pipeline(), "0" * 64, np.sign(faces.attributes[:24]), root / "samples")
    samples = load_samples(root / "samples")
    reference = load_reference(root / "reference")
    vae = tiny.autoencoder()
    done = evaluate(EvaluateParams(None), samples, faces, reference, judge_folder, vae, 0, latents)
    for step in STEPS:
        write_curve(
            root / "metrics" / "curves" / f"{step}.csv",
            [{"step": s, "loss": 1 / s, "gradient_norm": 0.5, "learning_rate": 0.1} for s in (1, 2, 3)],
        )
        content = {"parameters": 1000, "latent": "4x4x4", "condition_share": 0.5, "enabled": True, "final": {}}
        write_json(root / "metrics" / f"{step}.json", content | {"accuracy": 0.5, "warnings": []})
    return root, faces, samples, done


def render(inputs, out) -> str:
    root, faces, samples, done = inputs
    write_report(out, root / "metrics", faces, samples, done.seen, done)
    return out.read_text(encoding="utf-8")


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    assert render(inputs, tmp_path / "a.html") == render(inputs, tmp_path / "b.html")


def test_the_page_stands_alone_and_is_light(inputs, tmp_path):
    page = render(inputs, tmp_path / "report.html")
    assert len(page) < 2_000_000
    loaded = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", page)
    assert loaded
    assert all(target.startswith(("data:", "#")) for target in loaded), [t for t in loaded if t[0] not in "d#"]
    assert "<script" not in page
    assert "<html lang=" in page
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", page))


def test_every_scored_attribute_is_named(inputs, tmp_path):
    page = render(inputs, tmp_path / "report.html")
    scored = inputs[3].record["adherence"]["attributes"]
    assert len(scored) > 3
    assert all(name.replace("_", " ") in page for name in scored)


def test_a_hostile_attribute_name_stays_text(inputs, tmp_path):
    root, faces, samples, done = inputs
    name = "<script>alert(1)</script>"
    scored = next(iter(done.record["adherence"]["attributes"]))
    names = [name if n == scored else n for n in faces.about["attributes"]]
    renamed = {name if n == scored else n: v for n, v in done.record["adherence"]["attributes"].items()}
    record = done.record | {"adherence": done.record["adherence"] | {"attributes": renamed}}
    hostile = dataclasses.replace(faces, about=faces.about | {"attributes": names})
    samples = dataclasses.replace(samples, about=samples.about | {"attributes": names})
    page = render((root, hostile, samples, dataclasses.replace(done, record=record)), tmp_path / "report.html")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_missing_curve_is_named(inputs, tmp_path):
    _, faces, samples, done = inputs
    with pytest.raises(ArtifactError, match=r"train_vae"):
        write_report(tmp_path / "report.html", tmp_path / "nowhere", faces, samples, done.seen, done)
    assert not (tmp_path / "report.html").exists()
