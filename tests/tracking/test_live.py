"""Following a chain into MLflow: losses that move, deaths that show, and at the end what one mirror would have left."""

import json

import pytest

from facet.artifacts import CURVES, METRICS, write_curve, write_json
from facet.tracking.events import EventTail, live_curve, read_events
from facet.tracking.follow import LiveMirror
from facet.tracking.live import live_key
from facet.tracking.mlflow_mirror import CHAIN, CHAIN_TAG, STAGE_TAG, connect, experiment_id, mirror, runs_of
from facet.tracking.records import read_curve, read_records
from facet.tracking.runlog import RunLog
from facet.training.checkpoint import CheckpointStore
from facet.training.session import Session
from facet.training.vae import VaeTask
from tests import tiny

# MLflow and the libraries below it warn of their own doings.
pytestmark = pytest.mark.filterwarnings("ignore")

PARAMS = "seed: 0\ntrain_unet: {steps: 100}\nevaluate: {guidance: 1.5}\nregister: {name: faces, experiment: facet}\n"
CURVE, NUMBERS, EVENTS = "metrics/curves/train_unet.csv", "metrics/train_unet.json", "runs/train_unet/events.jsonl"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests of this file."""
    root = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{root}/mlflow.db"
    return connect(uri), uri


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


class Chain:
    """A chain of one training step, by hand, and the follower beside it."""

    def __init__(self, store, experiment: str):
        self.client, self.uri = store
        self.name = experiment
        self.follower = LiveMirror(self.uri, experiment)
        self.rows: dict[int, dict[str, float]] = {}

    @property
    def experiment(self) -> str:
        return experiment_id(self.client, self.name)

    def train(self, steps, run="a", scale=1.0, log=None) -> RunLog:
        log = log or RunLog("train_unet", run=run)
        for step in steps:
            values = {"loss": scale / (3 * step), "gradient_norm": 1 / 7 + step, "learning_rate": 1e-3}
            self.rows[step] = values
            log.log(step, values | {"samples_per_second": 100.0 + step})
        return log

    def end(self, log: RunLog) -> None:
        log.log(max(self.rows), {"ended": True})
        log.close()
        rows = [{"step": step} | self.rows[step] for step in sorted(self.rows)]
        write_curve(CURVES / "train_unet.csv", rows)
        write_json(METRICS / "train_unet.json", {"final": rows[-1]})

    def register(self, key: str) -> str:
        return mirror(self.client, self.experiment, key, read_records(leave_out=("register",)), "evaluate", live_key())

    def run(self):
        (found,) = self.client.search_runs([self.experiment], f"tags.`{STAGE_TAG}` = 'train_unet'")
        return found

    def losses(self) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(self.run().info.run_id, "loss")
        return [(metric.step, metric.value) for metric in sorted(history, key=lambda m: m.timestamp)]

    def all_points(self) -> int:
        run = self.run()
        names = [name for name in run.data.metrics if not name.startswith("system/")]
        return sum(len(self.client.get_metric_history(run.info.run_id, name)) for name in names)


def numbers_of(path: str = NUMBERS) -> int:
    with open(path) as stream:
        return len(json.load(stream)["final"])


def test_losses_move_and_registration_takes_the_runs_over(store, here):
    chain = Chain(store, "moving")
    log = chain.train([10, 20])
    assert chain.follower.bring_up(False) == {"train_unet": "RUNNING"}
    assert [step for step, _ in chain.losses()] == [10, 20]
    before = chain.run()
    assert (before.info.status, before.data.params) == ("RUNNING", {"steps": "100"})
    chain.train([30], log=log)
    chain.follower.bring_up(False)
    assert [step for step, _ in chain.losses()] == [10, 20, 30]
    chain.end(log)
    assert chain.follower.bring_up(False) == {"train_unet": "FINISHED"}

    registered = chain.register("k1")
    after = chain.run()
    assert after.info.run_id == before.info.run_id
    assert (after.info.status, after.data.tags[CHAIN_TAG]) == ("FINISHED", "k1")
    assert chain.losses() == [(step, value) for name, step, value in read_curve(here / CURVE) if name == "loss"]
    assert chain.all_points() == 9 + numbers_of()
    assert after.data.metrics["system/samples_per_second"] == 130.0
    whole = runs_of(chain.client, chain.experiment, "k1")
    assert sorted(run.data.tags[STAGE_TAG] for run in whole) == [CHAIN, "evaluate", "train_unet"]
    assert len(chain.client.search_runs([chain.experiment])) == 3
    parent = chain.client.get_run(registered)
    assert (parent.info.run_name, parent.info.status) == ("chain-k1", "FINISHED")
    assert after.data.tags["mlflow.parentRunId"] == registered
    # The follower finds its runs taken over, and nothing that is left to copy; nor does a later mirror.
    assert chain.follower.bring_up(True) == {}
    late = LiveMirror(chain.uri, chain.name, everything=True)
    assert (late.bring_up(True), late.run) == ({}, registered)
    assert len(chain.client.search_runs([chain.experiment])) == 3


def test_what_was_never_followed_is_registered_as_ever(store, here):
    chain = Chain(store, "unfollowed")
    chain.end(chain.train([10, 20]))
    chain.register("k1")
    # Its follower comes late: all it sees is registered.
    assert chain.follower.bring_up(True) == {}
    assert len(chain.client.search_runs([chain.experiment])) == 3


def test_a_killed_training_shows_and_its_resumption_goes_on_in_the_same_run(store, here):
    chain = Chain(store, "resumed")
    chain.train([10, 20, 30]).close()  # the lock goes with the process
    assert chain.follower.bring_up(False) == {"train_unet": "KILLED"}
    killed = chain.run()
    assert killed.info.status == "KILLED"
    with (here / EVENTS).open("a") as stream:
        stream.write('{"step": 40, "lo')
    log = chain.train([30, 40])  # from the checkpoint at 20
    assert chain.follower.bring_up(False) == {"train_unet": "RUNNING"}
    assert chain.run().info.status == "RUNNING"
    chain.end(log)
    # Another follower, which knows nothing of the first one's runs but what MLflow says.
    late = LiveMirror(chain.uri, chain.name, everything=True)
    assert late.bring_up(True) == {"train_unet": "FINISHED"}
    assert [step for step, _ in chain.losses()] == [10, 20, 30, 40]
    chain.register("k1")
    assert chain.run().info.run_id == killed.info.run_id
    assert chain.all_points() == 12 + numbers_of()


def test_a_failed_alarm_says_why(store, here):
    chain = Chain(store, "failed")
    log = chain.train([10])
    log.log(10, {"error": "the loss is nan at step 12"})
    log.close()
    assert chain.follower.bring_up(True) == {"train_unet": "FAILED"}
    assert chain.run().data.tags["facet.error"] == "the loss is nan at step 12"
    (parent,) = chain.client.search_runs([chain.experiment], f"tags.`{STAGE_TAG}` = '{CHAIN}'")
    assert (chain.run().info.status, parent.info.status) == ("FAILED", "FAILED")


@pytest.mark.parametrize("followed", [True, False])
def test_points_of_other_code_do_not_stay(store, here, followed):
    chain = Chain(store, f"other code {followed}")
    chain.train([10, 20, 30]).close()
    chain.follower.bring_up(False)
    first = chain.run().info.run_id
    chain.rows.clear()
    log = chain.train([10, 20], run="b", scale=2.0)
    if followed:
        chain.follower.bring_up(False)
    chain.end(log)
    chain.register("k1")
    assert chain.run().info.run_id != first
    assert chain.losses() == [(10, 0.0666667), (20, 0.0333333)]
    assert chain.all_points() == 6 + numbers_of()


def test_training_the_same_again_leaves_nothing_new(store, here):
    chain = Chain(store, "again")
    chain.end(chain.train([10, 20]))
    registered = chain.register("k1")
    for name in (CURVE, NUMBERS):
        (here / name).unlink()
    again = LiveMirror(chain.uri, chain.name)
    chain.train([10, 20])
    again.bring_up(False)
    assert len(chain.client.search_runs([chain.experiment])) == 5
    chain.end(RunLog("train_unet", run="a"))
    again.bring_up(True)  # DVC sees unchanged bytes: `register` does not run
    assert again.run == registered
    assert len(chain.client.search_runs([chain.experiment])) == 3
    # Where it does run, it finds its runs, and the live ones go.
    again = LiveMirror(chain.uri, chain.name)
    (here / CURVE).unlink()
    chain.train([10])
    again.bring_up(False)
    chain.end(RunLog("train_unet", run="a"))
    assert chain.register("k1") == registered
    assert len(chain.client.search_runs([chain.experiment])) == 3


def test_what_lay_there_before_is_not_the_chain_that_runs(store, here):
    chain = Chain(store, "before")
    chain.end(chain.train([10, 20]))
    chain.follower = LiveMirror("http://127.0.0.1:9", chain.name)  # nobody is asked while nothing happens
    assert chain.follower.bring_up(False) == chain.follower.bring_up(True) == {}
    (here / CURVE).unlink()
    (here / NUMBERS).unlink()  # as DVC does when the step begins
    chain.follower = LiveMirror(chain.uri, chain.name, everything=True)
    assert chain.follower.bring_up(True) == {}


def test_edited_params_are_another_chain(store, here):
    chain = Chain(store, "edited")
    log = chain.train([10])
    chain.follower.bring_up(False)
    first = live_key()
    (here / "params.yaml").write_text(PARAMS.replace("faces", "people"))
    assert live_key() == first  # how a model is registered makes no other model
    (here / "params.yaml").write_text(PARAMS.replace("100", "200"))
    chain.train([20], run="b", log=RunLog("train_unet", run="b"))
    log.close()
    chain.follower.bring_up(False)
    parents = chain.client.search_runs([chain.experiment], f"tags.`{STAGE_TAG}` = '{CHAIN}'")
    assert {run.data.params["train_unet.steps"] for run in parents} == {"100", "200"}


def test_a_tail_reads_what_was_added_and_starts_anew_with_another_file(tmp_path):
    log = RunLog("s", tmp_path, run="a")
    log.log(1, {"loss": 1.0})
    tail = EventTail(log.path)
    assert [event["step"] for event in tail.read()] == [1]
    with log.path.open("a") as stream:
        stream.write('{"step": 2, "run": "a", "lo')
    assert len(tail.read()) == 1
    with log.path.open("a") as stream:
        stream.write('ss": 0.123456789, "nan": NaN}\n')
    assert live_curve(tail.read()).curve == (("loss", 1, 1.0), ("loss", 2, 0.123457))
    log.path.unlink()
    assert tail.read() == []


@pytest.mark.parametrize("failing", [False, True])
def test_a_real_training_logs_the_curve_that_it_writes_at_its_end(here, faces, monkeypatch, failing):
    session, params = Session("train_vae", 0), tiny.loop_params(precision="fp32")
    task = VaeTask(tiny.autoencoder(), faces.pixels, tiny.RECONSTRUCTION, session.device)
    save, moments = CheckpointStore.save, iter([None, KeyboardInterrupt() if not failing else ValueError("no luck\n")])

    def interrupted(*arguments):
        save(*arguments)
        if (error := next(moments, None)) is not None:
            raise error

    monkeypatch.setattr(CheckpointStore, "save", interrupted)
    with pytest.raises((KeyboardInterrupt, ValueError)):
        session.train(task, params, {})
    before = live_curve(read_events(here / "runs/train_vae/events.jsonl"))
    assert (len(before.speed), before.error) == (4, "no luck" if failing else None)  # every 3 steps until the 12th
    task = VaeTask(tiny.autoencoder(), faces.pixels, tiny.RECONSTRUCTION, session.device)
    Session("train_vae", 0).train(task, params, {})
    logged = live_curve(read_events(here / "runs/train_vae/events.jsonl"))
    assert logged.curve == read_curve(CURVES / "train_vae.csv")
    assert logged.curve[: len(before.curve)] == before.curve
    assert logged.ended
