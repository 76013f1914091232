"""A real SQLite registry with three tiny versions, and the records by which the gate knows them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facet.artifacts import EVALUATION_SCHEMA, FACES_SCHEMA, VALIDATION_SCHEMA, digest_folder, write_json
from facet.diffusion.saving import load_pipeline, save_pipeline
from facet.params import read_section
from facet.registry.gate import Policy
from facet.registry.promotion import promote
from facet.registry.publication import publish
from facet.registry.transaction import Registry, open_registry
from tests import tiny
from tests.registry.test_register import params, tiny_pipeline

MODEL = "faces"
SHIPPED = read_section("promote", Policy, tiny.ROOT / "params.yaml")


def evaluation(model: str, mean: float = 0.97, steps: int = 2) -> dict[str, Any]:
    """A record that the shipped policy lets pass."""
    rates = {"overall": mean, "present": 0.8, "absent": 0.98, "judge_on_real": {"overall": 0.99}}
    ceiling = {"judge_on_real": 0.99, "judge_on_real_balanced": 0.98}
    distances = {"frechet_floor": 46.0, "kid_mean": 0.01, "kid_std": 0.001, "kid_floor": 0.005}
    return {
        "schema": EVALUATION_SCHEMA,
        "fidelity": {"judge": {"frechet": 60.0, "frechet_over_floor": 1.3, **distances}},
        "adherence": {"mean": mean, "balanced": 0.94, "attributes": {"Smiling": rates, "Male": rates}, **ceiling},
        "autoencoder": {"faces": 4, "psnr_db": 23.0, "ssim": 0.9, "rfd": 12.0, "rfd_over_floor": 0.27},
        "memorisation": {"judge": {"share": 0.002}, "pixels": {"share": 0.007}},
        "balance": {"adherence_gap": 0.03, "marginals": {"max_gap": 0.17}},
        "protocol": {
            "model": model,
            "samples": 16,
            "floor_faces": 4,
            "first_seed": 0,
            "sampling": {"sampler": "euler", "steps": steps, "guidance_scale": 1.5},
            "reference": {"split": "train", "extractor": "judge:0123", "faces": "abcd"},
        },
    }


def validation(passed: bool = True) -> dict[str, Any]:
    return {
        "schema": VALIDATION_SCHEMA,
        "expectations": 1,
        "outcomes": [{"name": "every face has a file", "severity": "fail", "passed": passed, "unexpected": 0}],
    }


def write_inputs(root: Path) -> None:
    """What a checkout holds before `register`, but for the model and its record."""
    policy = (tiny.ROOT / "params.yaml").read_text(encoding="utf-8").partition("\npromote:")[2]
    register = (
        f"register:\n  name: {MODEL}\n  experiment: facet\n  card:\n    data: Drawn.\n    data_licence: Apache-2.0\n"
    )
    register += "    model_licence: Apache-2.0\n    intended_use: Tests.\n    limits: [Not for people.]\n"
    (root / "params.yaml").write_text(f"seed: 0\n{register}promote:{policy}", encoding="utf-8")
    faces = {"schema": FACES_SCHEMA, "size": 32, "crop": "none", "count": 4, "splits": {"train": 4}, "resize": "none"}
    write_json(root / "artifacts/faces/faces.json", faces)
    write_json(root / "artifacts/validation.json", validation())
    write_json(root / "metrics/evaluate.json", {})


def add_version(seed: int, scratch: Path, **scores: Any) -> int:
    """Register the tiny pipeline of ``seed`` from the current folder, scored as told; its version."""
    pipeline = tiny_pipeline(seed)
    save_pipeline(pipeline, scratch / f"pipeline-{seed}")
    write_json(Path("artifacts/evaluation.json"), evaluation(digest_folder(scratch / f"pipeline-{seed}"), **scores))
    return publish(pipeline, params(MODEL)).version


def build_store(root: Path, scratch: Path) -> None:
    """Versions 1, 2 and 3 of one model in ``root``: one as good as the other."""
    root.mkdir(parents=True, exist_ok=True)
    write_inputs(root)
    before = Path.cwd()
    os.chdir(root)
    try:
        for seed in range(3):
            add_version(seed, scratch, mean=0.97 + seed / 1000)
    finally:
        os.chdir(before)


def copy_store(template: Path, folder: Path) -> Path:
    """A checkout with a database of its own; the artifacts stay where the template has them."""
    folder.mkdir(exist_ok=True)
    for name in ("mlflow.db", "params.yaml"):
        shutil.copy(template / name, folder)
    shutil.copytree(template / "artifacts", folder / "artifacts", dirs_exist_ok=True)
    return folder


def promoted_store(template: Path, folder: Path) -> None:
    """A copy of ``template`` with version 1 in staging and production, then 2 in staging."""
    before = Path.cwd()
    os.chdir(copy_store(template, folder))
    try:
        with opened() as registry:
            promote(registry, SHIPPED, HereTrial(), "1", "staging")
            promote(registry, SHIPPED, HereTrial(), "1", "production")
            promote(registry, SHIPPED, HereTrial(), "2", "staging")
    finally:
        os.chdir(before)


class HereTrial:
    """A trial in this process, without the seconds that importing everything in another one takes."""

    def draw(self, folder: Path) -> str:
        try:
            pipeline = load_pipeline(folder / "artifacts/pipeline")
            pipeline.set_progress_bar_config(disable=True)
            return "" if len(pipeline("", num_images=1, steps=1).images) == 1 else "no face"
        except Exception as error:
            return f"{type(error).__name__}: {error}"


@contextmanager
def opened() -> Iterator[Registry]:
    """The registry of the current folder."""
    with open_registry(MODEL) as registry:
        yield registry
