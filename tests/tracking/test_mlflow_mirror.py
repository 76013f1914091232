"""Mirroring into a real SQLite store: complete, without duplicates however often, quick to say that nobody answers."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from facet.errors import ArtifactError, RegistryError, UnreachableError
from facet.tracking.mlflow_mirror import (
    CHAIN_TAG,
    STAGE_TAG,
    connect,
    experiment_id,
    mirror,
    place,
    tracking_uri,
)
from facet.tracking.records import read_records

# MLflow and the libraries below it warn of their own doings.
pytestmark = pytest.mark.filterwarnings("ignore")

PARAMS = """
seed: 0
train_unet:
  model: {channels: [8, 16]}
  loop: {steps: 1500, precision: auto}
evaluate: {guidance: 1.5}
register: {name: faces}
"""


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """A folder with what two steps leave: params, metrics, and a curve longer than one of MLflow's batches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "metrics/curves").mkdir(parents=True)
    (tmp_path / "metrics/train_unet.json").write_text('{"final": {"loss": 0.25}, "shape": "8x8"}')
    (tmp_path / "metrics/evaluate.json").write_text('{"fid": 12.5, "per": {"Smiling": 0.9}, "protocol": {"n": 1000}}')
    rows = "".join(f"{step},{1 / (step + 1):.6g},0.001\n" for step in range(0, 1500, 2))
    (tmp_path / "metrics/curves/train_unet.csv").write_text(f"step,loss,learning_rate\n{rows}1500,nan,\n")
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests of this file, made by two processes at once, which plain MLflow does not survive."""
    root = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{root}/mlflow.db"
    code = f"from facet.tracking.mlflow_mirror import connect; connect({uri!r})"
    makers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for maker in makers:
        _, said = maker.communicate()
        assert maker.returncode == 0, said
    return connect(uri), root


def mirror_here(store, experiment: str, key: str = "k1") -> tuple:
    client, root = store
    number = experiment_id(client, experiment, root)
    run = mirror(client, number, key, read_records(leave_out=("register",)), headline="evaluate")
    return client, number, run


def test_everything_in_the_files_arrives(store, chain):
    client, experiment, run = mirror_here(store, "everything")
    parent = client.get_run(run)
    assert parent.data.metrics["fid"] == 12.5
    assert parent.data.params["train_unet.model.channels"] == "[8, 16]"
    children = {r.data.tags[STAGE_TAG]: r for r in client.search_runs([experiment]) if r.info.run_id != run}
    assert sorted(children) == ["evaluate", "train_unet"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children.values()} == {run}
    unet = children["train_unet"]
    assert unet.data.params == {"model.channels": "[8, 16]", "loop.steps": "1500", "loop.precision": "auto"}
    assert unet.data.metrics["final.loss"] == 0.25
    losses = client.get_metric_history(unet.info.run_id, "loss")
    assert [m.step for m in losses] == list(range(0, 1500, 2))
    assert losses[2].value == pytest.approx(0.2)
    assert unet.info.status == "FINISHED"
    assert client.get_experiment(experiment).artifact_location == (store[1] / "mlartifacts").as_uri()


def test_mirroring_twice_or_after_a_kill_leaves_no_duplicate(store, chain):
    client, experiment, run = mirror_here(store, "twice")
    (unet,) = client.search_runs([experiment], f"tags.`{STAGE_TAG}` = 'train_unet'")
    # As a kill leaves it: everything logged, but not yet marked as whole.
    client.delete_tag(unet.info.run_id, "facet.mirrored")
    client.delete_tag(run, "facet.mirrored")
    assert mirror_here(store, "twice")[2] == run
    assert len(client.search_runs([experiment])) == 3
    assert len(client.get_metric_history(unet.info.run_id, "loss")) == 750


def test_a_killed_mirror_is_completed(store, chain, monkeypatch):
    client, root = store
    number = experiment_id(client, "killed", root)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client, "set_terminated", killed)
        with pytest.raises(KeyboardInterrupt):
            mirror(client, number, "k1", read_records(leave_out=("register",)), headline="evaluate")
    mirror_here(store, "killed")
    runs = client.search_runs([number])
    assert sorted(r.data.tags[STAGE_TAG] for r in runs) == ["chain", "evaluate", "train_unet"]


def test_two_mirrors_at_once_agree_on_the_runs(store, chain):
    client, root = store
    number = experiment_id(client, "race", root)
    records, runs = read_records(leave_out=("register",)), []
    threads = [
        threading.Thread(target=lambda: runs.append(mirror(client, number, "k1", records, "evaluate")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mirror_here(store, "race")
    left = client.search_runs([number])
    assert sorted(r.data.tags[STAGE_TAG] for r in left) == ["chain", "evaluate", "train_unet"]
    assert len(set(runs)) == 1


def test_what_two_hosts_made_at_once_is_brought_back_to_the_oldest(store, chain):
    client, number, run = mirror_here(store, "hosts")
    for _ in range(2):
        client.create_run(number, tags={CHAIN_TAG: "k1", STAGE_TAG: "chain"})
    assert mirror_here(store, "hosts")[2] == run
    assert len(client.search_runs([number])) == 3


def test_another_key_is_another_chain(store, chain):
    client, experiment, first = mirror_here(store, "keys")
    _, _, second = mirror_here(store, "keys", key="k2")
    assert first != second
    assert {r.data.tags[CHAIN_TAG] for r in client.search_runs([experiment])} == {"k1", "k2"}


def test_a_dead_server_is_one_sentence_within_seconds():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = taken.getsockname()[1]
        start = time.monotonic()
        for uri in (f"http://127.0.0.1:{port}", f"postgresql://me:secret@127.0.0.1:{port}/mlflow"):
            with pytest.raises(UnreachableError, match="can't be reached") as raised:
                connect(uri)
            assert "secret" not in str(raised.value)
            assert "\n" not in str(raised.value)
        assert time.monotonic() - start < 20  # MLflow's own client tries again for minutes


def test_a_database_in_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(RegistryError, match="missing or not writable"):
        connect(f"sqlite:///{tmp_path}/nowhere/mlflow.db")


def test_the_default_store_is_absolute_and_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri() == "http://mlflow:5000"
    assert place("http://me:pw@mlflow:5000/x") == "http://mlflow:5000/x"


def test_a_broken_curve_is_one_sentence(chain):
    (chain / "metrics/curves/train_unet.csv").write_text("step,loss\n1,much\n")
    with pytest.raises(ArtifactError, match=r"train_unet\.csv is not a curve"):
        read_records()
