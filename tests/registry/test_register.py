"""Registering a tiny real pipeline in a real SQLite store: one digest, one version, and a model that loads."""

import ast
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from facet.artifacts import FACES_SCHEMA, VALIDATION_SCHEMA, digest_folder, write_json
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.sampling import SamplingParams
from facet.diffusion.saving import load_pipeline, save_pipeline
from facet.diffusion.schedulers import build_scheduler
from facet.errors import ArtifactError, FacetError, RegistryError, UnreachableError
from facet.models.autoencoder import AutoencoderParams, build_autoencoder
from facet.models.denoiser import DenoiserParams, build_denoiser
from facet.registry import lineage, mlflow_registry
from facet.registry.card import CardParams
from facet.registry.mlflow_registry import RegisterParams, requirements, versions_of
from facet.registry.publication import publish
from facet.stages import run
from facet.tracking.mlflow_mirror import connect, tracking_uri
from tests import tiny
from tests.contracts.closure import Sources
from tests.contracts.test_layers import imported_packages

# MLflow, diffusers and the libraries below them warn of their own doings.
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ("Smiling", "Male")
CARD = CardParams(
    data="Drawn faces.",
    data_licence="Apache-2.0",
    model_licence="Apache-2.0",
    intended_use="Tests.",
    limits=("Not for people.",),
)


def tiny_pipeline(seed: int = 0, names: tuple[str, ...] = NAMES) -> FacePipeline:
    torch.manual_seed(seed)
    vae = build_autoencoder(AutoencoderParams(4, (8, 16), 1, 4, False, 4), 32)
    denoiser = build_denoiser(DenoiserParams((16, 32), (False, True), 1, 16, 8, 8), (4, 4, 4), names)
    objective = ObjectiveParams("flow", 0.0, 1.0, 5.0, "linear")
    return FacePipeline(
        vae=vae.eval(),
        unet=denoiser.unet.eval(),
        condition_encoder=denoiser.condition_encoder.eval(),
        scheduler=build_scheduler("euler", objective),
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
        objective=dataclasses.asdict(objective),
        sampling=dataclasses.asdict(SamplingParams("euler", 2, 1.5, (0.0, 1.0), 0.0, True, "fp32", 8)),
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two busy threads for a model this small take a hundred times longer where others use the cores too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder as the chain leaves it before `register`, with the store that all tests of this file share."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "params.yaml").write_text("seed: 0\nevaluate: {samples: 16}\nregister: {}\n")
    write_json(root / "metrics/evaluate.json", {"fd": 3.5})
    write_json(root / "artifacts/evaluation.json", {"fd": 3.5, "protocol": {"n": 16, "steps": 2}})
    write_json(root / "artifacts/validation.json", {"schema": VALIDATION_SCHEMA, "outcomes": []})
    faces = {"schema": FACES_SCHEMA, "size": 32, "crop": "none", "count": 4, "splits": {"train": 4}, "resize": "none"}
    write_json(root / "artifacts/faces/faces.json", faces)
    (root / "reports").mkdir()
    (root / "reports/report.html").write_text("<p>report</p>")
    (root / "reports/samples.png").write_bytes(b"\x89PNG")
    return root


@pytest.fixture
def here(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return checkout


def params(name: str) -> RegisterParams:
    return RegisterParams(name=name, experiment="facet", card=CARD)


def test_one_digest_is_one_version_and_the_record_tells_nothing_of_the_registry(here):
    first = publish(tiny_pipeline(), params("faces"))
    second = publish(tiny_pipeline(), params("faces"))
    assert (first.version, first.created, second.version, second.created) == (1, True, 1, False)
    assert first.record == second.record
    assert first.run == second.run
    told = json.dumps(first.record)
    assert not any(word in told for word in (first.run, str(here), "mlflow", "sqlite"))

    client = connect(tracking_uri())
    (version,) = client.search_model_versions("name = 'faces'")
    assert version.tags["facet.digest"] == first.record["digest"]
    assert version.tags["facet.protocol_digest"] == first.record["protocol_digest"]
    assert version.tags["facet.run"] == first.run
    assert version.tags["facet.conditioning"] == "attributes"
    assert "facet.closed_vocabulary" not in version.tags  # it reads no text
    assert {"facet.git.dirty", "facet.faces_digest", "facet.data_licence"} <= set(version.tags)
    left = {item.path for folder in ("", "reports") for item in client.list_artifacts(first.run, folder)}
    papers = {"card.md", "lineage.json", "evaluation.json", "validation.json"}
    assert papers | {"metrics", "reports/report.html", "reports/samples.png"} <= left


def test_the_digest_does_not_tell_where_the_parts_lay(here, tmp_path):
    digests = set()
    for name in ("a", "b"):
        save_pipeline(tiny_pipeline(), tmp_path / name)
        save_pipeline(load_pipeline(tmp_path / name), tmp_path / f"{name} again")
        digests |= {digest_folder(tmp_path / name), digest_folder(tmp_path / f"{name} again")}
    assert len(digests) == 1


def test_other_weights_are_another_version(here):
    assert publish(tiny_pipeline(0), params("others")).version == 1
    assert publish(tiny_pipeline(1), params("others")).version == 2


def test_a_new_score_of_the_same_weights_makes_no_version_but_reaches_its_tags(here):
    before = publish(tiny_pipeline(), params("rescored"))
    evaluation, metrics = (here / "artifacts/evaluation.json").read_text(), (here / "metrics/evaluate.json").read_text()
    write_json(here / "artifacts/evaluation.json", {"fd": 3.0, "protocol": {"n": 32, "steps": 2}})
    write_json(here / "metrics/evaluate.json", {"fd": 3.0})
    try:
        after = publish(tiny_pipeline(), params("rescored"))
    finally:
        (here / "artifacts/evaluation.json").write_text(evaluation)
        (here / "metrics/evaluate.json").write_text(metrics)
    assert (after.version, after.created) == (1, False)
    assert after.run != before.run
    (version,) = connect(tracking_uri()).search_model_versions("name = 'rescored'")
    assert version.tags["facet.protocol_digest"] == after.record["protocol_digest"] != before.record["protocol_digest"]


def test_who_raced_and_lost_takes_its_version_back(here, monkeypatch):
    winner = publish(tiny_pipeline(), params("raced"))
    real, asked = versions_of, []

    def blind_at_first(*arguments):
        asked.append(arguments)
        return [] if len(asked) == 1 else real(*arguments)

    monkeypatch.setattr(mlflow_registry, "versions_of", blind_at_first)
    loser = publish(tiny_pipeline(), params("raced"))
    assert (loser.version, loser.created) == (winner.version, False)
    client = connect(tracking_uri())
    (left,) = client.search_model_versions("name = 'raced'")
    assert int(left.version) == winner.version
    digest = winner.record["digest"]
    experiment = client.get_experiment_by_name("facet").experiment_id
    uploads = client.search_logged_models([experiment], f"name = 'raced' AND tags.`facet.digest` = '{digest}'")
    assert [f"models:/{model.model_id}" for model in uploads] == [left.source]


def test_a_registration_killed_before_its_version_is_completed_by_the_next(here, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mlflow.MlflowClient.create_model_version", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(tiny_pipeline(), params("killed"))
    client = connect(tracking_uri())
    assert client.search_model_versions("name = 'killed'") == []
    done = publish(tiny_pipeline(), params("killed"))
    assert (done.version, done.created) == (1, True)
    assert len(client.search_model_versions("name = 'killed'")) == 1


def test_a_model_that_does_not_load_is_never_listed(here, monkeypatch):
    save = mlflow_registry.save_bundle

    def save_broken(bundle, folder):
        save(bundle, folder)
        (folder / "artifacts/pipeline/unet/config.json").write_text("{")

    monkeypatch.setattr(mlflow_registry, "save_bundle", save_broken)
    with pytest.raises(FacetError, match="not as it was saved"):
        publish(tiny_pipeline(), params("broken"))
    assert connect(tracking_uri()).search_model_versions("name = 'broken'") == []


DRAW = """
import hashlib, io, json, sys
import mlflow, pandas as pd
from PIL import Image
from mlflow.pyfunc.scoring_server import infer_and_parse_data
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/loaded/1")
import facet

def draw(asked, **params):
    pictures = [Image.open(io.BytesIO(png)) for png in model.predict(asked, params=params)["png"]]
    assert all(json.loads(picture.info["facet"])["seeds"] for picture in pictures)
    return [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]

def refusal(asked):
    try:
        return str(draw(asked))
    except mlflow.exceptions.MlflowException as error:
        return error.error_code + " " + error.message

asked = pd.DataFrame({"Smiling": [1, 1], "Male": [-1, -1]})
rows = [{"Smiling": 1, "Male": -1}, {"Male": 1}]  # as a REST client may send them
print(json.dumps({
    "facet": facet.__file__,
    "two": draw(asked, seed=7),
    "second": draw(asked[:1], seed=8),
    "fewer": draw(asked[:1], seed=7, steps=1, guidance=1.0),
    "rest": draw(infer_and_parse_data({"dataframe_records": rows}, model.metadata.get_input_schema()), seed=7),
    "refused": [refusal(pd.DataFrame({"Smiling": [value]})) for value in (3, 0.5, True, "yes")],
    "said": refusal(pd.DataFrame({"prompt": ["a smiling man"]})),
    "unknown": refusal(pd.DataFrame({"Smilling": [1]})),
}))
"""


def test_the_registered_model_loads_without_facet_and_without_pickles_and_draws_the_same(here, tmp_path):
    pipeline = tiny_pipeline()
    publish(pipeline, params("loaded"))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, tracking_uri()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert str(here / "mlartifacts") in told["facet"]
    first, second = told["two"]
    assert [second] == told["second"]  # a picture is its seed's, wherever in the request it stands
    assert len({first, second, *told["fewer"]}) == 3
    assert told["rest"][0] == first
    assert all(said.startswith("INVALID_PARAMETER_VALUE row 0, attribute Smiling: ") for said in told["refused"])
    assert "names no column of the model (Smiling, Male, prompt, " in told["unknown"]
    assert "conditioning 'attributes' and reads no prompt" in told["said"]
    (image,) = pipeline(attributes="Smiling,-Male", seeds=[7]).images
    assert hashlib.sha256(image.tobytes()).hexdigest() == first


def test_the_bundle_is_complete_and_holds_no_pickle(here, tmp_path):
    publish(tiny_pipeline(), params("bundled"))
    import mlflow

    client = connect(tracking_uri())
    (version,) = client.search_model_versions("name = 'bundled'")
    folder = Path(mlflow.artifacts.download_artifacts(version.source, dst_path=str(tmp_path)))
    assert not [p for p in folder.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".bin", ".ckpt", ".pyc")]
    assert digest_folder(folder / "artifacts/pipeline") == version.tags["facet.digest"]
    assert json.loads((folder / "artifacts/evaluation.json").read_text())["fd"] == 3.5
    card = (folder / "artifacts/card.md").read_text()
    assert all(words in card for words in ("Not for people.", "| fd | 3.5 |", "| n | 16 |", "Apache-2.0"))
    signature = mlflow.models.get_model_info(version.source).signature
    columns = (*NAMES, "prompt", "negative_prompt", "image", "mask")
    assert [(c.name, c.required) for c in signature.inputs.inputs] == [(name, False) for name in columns]
    defaults = {"seed": 0, "steps": 2, "guidance": 1.5, "strength": 1.0, "sampler": "euler"}
    assert {p.name: p.default for p in signature.params.params} == defaults
    pins = (folder / "requirements.txt").read_text().split()
    assert all("==" in pin and "+" not in pin for pin in pins)
    assert {"torch", "diffusers", "transformers", "tokenizers", "mlflow"} <= {pin.partition("==")[0] for pin in pins}
    assert sorted(pins) == sorted(requirements())


def test_what_the_model_is_asked_by_stands_on_its_card_and_in_its_tags(here):
    done = publish(tiny.pipeline(), params("reading"))
    client = connect(tracking_uri())
    tags = client.get_model_version("reading", str(done.version)).tags
    assert (tags["facet.conditioning"], tags["facet.closed_vocabulary"]) == ("both", "false")
    card = Path(client.download_artifacts(done.run, "card.md")).read_text()
    assert "`prompt` and `negative_prompt` are text: any words." in card
    assert '{"prompt": "a photo of a smiling young woman"}' in card


def test_an_attribute_named_like_a_column_of_requests_is_refused(here):
    pipeline = tiny_pipeline(names=("Smiling", "mask"))
    with pytest.raises(RegistryError, match=r"an attribute is named 'mask', .* rename it"):
        publish(pipeline, params("misnamed"))
    assert connect(tracking_uri()).search_model_versions("name = 'misnamed'") == []


def test_the_requirements_name_all_that_the_models_code_imports():
    """Else the model would load here and nowhere else."""
    sources = Sources(tiny.ROOT / "src")
    named = {pin.partition("==")[0] for pin in requirements()}
    owners = importlib.metadata.packages_distributions()
    lacking = {}
    for path in sources.closure("facet.registry.model"):
        if path.suffix != ".py":
            continue
        for name in imported_packages(ast.parse((tiny.ROOT / path).read_text(encoding="utf-8"))):
            if not {owner.lower() for owner in owners.get(name, [])} & named:
                lacking.setdefault(name, []).append(str(path))
    assert not lacking


def test_a_dead_server_is_one_sentence_and_worth_another_try(here, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SystemExit) as raised:
            run(lambda: publish(tiny_pipeline(), params("dead")))
    assert raised.value.code == UnreachableError.exit_code == 75
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: MLflow at http://127.0.0.1:")
    assert "can't be reached" in said


def test_a_model_without_scores_is_not_registered(here, tmp_path, monkeypatch):
    shutil.copytree(here / "artifacts", tmp_path / "artifacts", ignore=shutil.ignore_patterns("evaluation.json"))
    shutil.copy(here / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow.db")
    with pytest.raises(ArtifactError, match=r"evaluation\.json does not exist"):
        publish(tiny_pipeline(), params("unscored"))


def test_the_lock_digest_does_not_depend_on_the_previous_registration(tmp_path):
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  train: {cmd: a}\n")
    plain = lineage.dvc_lock_digest(lock)
    lock.write_text("schema: '2.0'\nstages:\n  train: {cmd: a}\n  register: {cmd: b}\n")
    assert lineage.dvc_lock_digest(lock) == plain
    lock.write_text("schema: '2.0'\nstages:\n  train: {cmd: c}\n")
    assert lineage.dvc_lock_digest(lock) != plain


def test_a_folder_without_git_or_locks_has_a_lineage_all_the_same(tmp_path):
    origin = lineage.collect(tmp_path)
    assert (origin["git"]["commit"], origin["dvc_lock"], origin["data"]["raw_md5"]) == (None, None, None)
    assert origin["environment"]["packages"]["torch"]


def test_a_tag_that_only_an_earlier_registration_knew_is_gone_from_version_and_run(here):
    first = publish(tiny_pipeline(), params("outgrown"))
    client = connect(tracking_uri())
    client.set_tag(first.run, "facet.environment.compiler", "gcc")
    client.set_model_version_tag("outgrown", str(first.version), "facet.environment.compiler", "gcc")
    again = publish(tiny_pipeline(), params("outgrown"))
    assert (again.run, again.version) == (first.run, first.version)
    (version,) = client.search_model_versions("name = 'outgrown'")
    assert "facet.environment.compiler" not in client.get_run(first.run).data.tags
    assert "facet.environment.compiler" not in version.tags
