"""`facet mirror --follow` as a real process beside a real server that dies, comes back and hangs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from facet.artifacts import CURVES, METRICS, write_curve, write_json
from facet.tracking.live import live_key
from facet.tracking.mlflow_mirror import STAGE_TAG, connect, experiment_id, mirror
from facet.tracking.records import read_records
from facet.tracking.runlog import RunLog
from tests import tiny
from tests.deploy.processes import BIN, answers, free_port, running

# MLflow and the libraries below it warn of their own doings.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_params(tmp_path, tiny.chain_params())
    return tmp_path


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def serve(here, port):
    """A context in which MLflow's server answers on ``port``; each time over the same database."""

    def start():
        command = [f"{BIN}/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{here}/server.db", "--artifacts-destination", f"{here}/kept"]
        env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return running(command, lambda: answers(f"http://127.0.0.1:{port}/health"), here / "server.log", env=env)

    return start


@contextlib.contextmanager
def following(uri: str) -> Iterator[subprocess.Popen]:
    """`facet mirror --follow` in the current folder, once it says that it follows."""
    command = [sys.executable, "-c", "from facet.cli import main; main()", "mirror", "--follow", "--interval", "0.2"]
    env = tiny.child_environment(MLFLOW_TRACKING_URI=uri)
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert "following the chain" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen) -> str:
    """SIGTERM: it ends soon, where MLflow's own client would try again for minutes; what it had said on the way."""
    process.terminate()
    said, errors = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert "Traceback" not in errors
    return errors


def steps_in(uri: str) -> list[int]:
    """The steps of train_unet's loss that MLflow has, in the order of their timestamps."""
    client = connect(uri)
    found = client.search_runs([experiment_id(client, "facet")], f"tags.`{STAGE_TAG}` = 'train_unet'")
    history = client.get_metric_history(found[0].info.run_id, "loss") if found else []
    return [metric.step for metric in sorted(history, key=lambda metric: metric.timestamp)]


def until(true, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_server_that_dies_and_hangs_costs_nothing_and_is_caught_up_with(here, port, serve):
    uri, log, rows = f"http://127.0.0.1:{port}", RunLog("train_unet", run="a"), []

    def train(step: int) -> None:
        rows.append({"step": step, "loss": 1 / (3 * step)})
        log.log(step, {"loss": 1 / (3 * step), "samples_per_second": 100.0})

    with serve() as server, following(uri) as follower:
        train(1)
        train(2)
        until(lambda: steps_in(uri) == [1, 2])
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        train(3)
        assert "can't be reached" in follower.stderr.readline()
        train(4)
        with serve() as server:
            until(lambda: steps_in(uri) == [1, 2, 3, 4])
            assert "has everything again" in follower.stderr.readline()
            os.killpg(server.pid, signal.SIGSTOP)
            train(5)
            time.sleep(1)  # it waits for an answer now
            end(follower)
            os.killpg(server.pid, signal.SIGCONT)
            log.log(5, {"ended": True})
            write_curve(CURVES / "train_unet.csv", rows)
            write_json(METRICS / "train_unet.json", {"final": rows[-1]})
            client = connect(uri)
            records = read_records(leave_out=("register",))
            mirror(client, experiment_id(client, "facet"), "k1", records, "evaluate", live_key())
            assert steps_in(uri) == [1, 2, 3, 4, 5]


def test_what_was_written_just_before_the_end_is_copied(here):
    uri = f"sqlite:///{here}/mlflow.db"
    connect(uri)
    with following(uri) as follower:
        log = RunLog("train_unet", run="a")
        log.log(1, {"loss": 1.0})
        until(lambda: steps_in(uri) == [1])
        log.log(2, {"loss": 1.0})
        errors = end(follower)
    assert errors == ""
    assert steps_in(uri) == [1, 2]


def test_no_server_from_beginning_to_end_is_two_sentences(here, port):
    with following(f"http://127.0.0.1:{port}") as follower:
        RunLog("train_unet", run="a").log(1, {"loss": 1.0})
        assert "the chain goes on" in follower.stderr.readline()
        errors = end(follower)
    assert len(errors.splitlines()) == 1
    assert "`facet mirror` copies" in errors


def test_mirroring_once_says_what_it_did_or_that_nobody_answers(here, port):
    def once(uri: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", "from facet.cli import main; main()", "mirror"]
        env = tiny.child_environment(MLFLOW_TRACKING_URI=uri)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert "Nothing to copy yet" in once(f"http://127.0.0.1:{port}").stdout
    write_json(METRICS / "evaluate.json", {"fid": 3.0})
    dead = once(f"http://127.0.0.1:{port}")
    assert (dead.returncode, dead.stderr.count("\n")) == (75, 1)
    assert "1 steps (evaluate finished): run" in once(f"sqlite:///{here}/mlflow.db").stdout
