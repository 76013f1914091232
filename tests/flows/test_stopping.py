"""A stopped flow stops its trainer: real flows, servers and workers, really killed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.flows.conftest import Project, Server, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STEPS = 120
# How a flow's own process is called: by hand, or by a worker.
FLOW = {"flows.pipeline", "flows.refresh", "prefect.engine"}
TRAIN = {
    "train": {"cmd": f"python trainer.py {STEPS} model", "deps": ["in.txt"], "outs": ["model"], "meta": {"gpu": True}}
}


@pytest.fixture
def training(project) -> Project:
    project.stages(TRAIN)
    return project


def wait_for_training(project: Project) -> int:
    """Let it come past a few checkpoints; the newest."""
    before = project.step()
    return until(lambda: project.step() > before + 5 and project.step(), 60, "the trainer trains")


def wait_for_the_end(project: Project) -> None:
    """The trainer's whole tree is gone within ten seconds, and soon the flow that may still tell Prefect."""
    until(lambda: not project.processes(FLOW), 10, lambda: f"gone: {project.processes(FLOW)}")
    until(lambda: not project.processes(), 20, lambda: f"gone: {project.processes()}")


def finish(project: Project, before: int) -> None:
    """The next run goes on from the checkpoint, and nothing that the last one held is in its way."""
    said = project.run()
    line = next(line for line in said.splitlines() if "from step" in line)
    assert int(line.rsplit(" ", 1)[1]) >= before
    assert project.server.states(project.server.runs()[0])["train"] == "Completed"
    assert (project.folder / "model").read_text() == "trained"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_flow_that_is_signalled(how, training):
    flow = training.start()
    reached = wait_for_training(training)
    os.kill(flow.pid, how)
    wait_for_the_end(training)
    flow.communicate()
    run = training.server.runs()[0]
    if how == signal.SIGKILL:
        assert run["state_type"] == "RUNNING", "nobody could tell Prefect"
        said = training.run("doctor")
        assert f"flow run {run['name']} was Running: now Crashed" in said
        assert "its process is dead" in said
        run = training.server.runs()[0]
        assert "nothing to mend" in training.run("doctor")
    assert run["state_type"] == "CRASHED", run["state_name"]
    assert "RUNNING" not in {task["state_type"] for task in training.server.tasks(run)}
    if how != signal.SIGHUP:  # which is taken for SIGTERM
        finish(training, reached)


def test_a_refresh_that_is_killed_is_ended_with_the_pipeline_below_it(training):
    (training.folder / "source").mkdir()
    (training.folder / "source/faces").write_text("one")
    (training.folder / "data.dvc").write_text("deps:\n- path: source\nouts:\n- path: data\n")
    flow = training.start("refresh", "--promote-to", "")
    reached = wait_for_training(training)
    flow.kill()
    wait_for_the_end(training)
    flow.communicate()
    assert training.server.runs("refresh")[0]["state_type"] == "RUNNING"
    said = training.run("doctor")
    for name in ("refresh", "pipeline"):
        run = training.server.runs(name)[0]
        assert run["state_type"] == "CRASHED"
        assert f"flow run {run['name']} was Running: now Crashed" in said
    # The next flow doesn't wait for the place on the GPU that the dead one held.
    finish(training, reached)


@pytest.fixture
def served(training):
    """A schedule that is served; yields (project, process, start): ``start()`` makes a run and awaits its training."""
    process = training.start("serve", "--cron", "0 3 1 1 *", "--flow", "pipeline", "--promote-to", "")
    line = process.stdout.readline()
    assert line.startswith("pipeline/scheduled: 0 3 1 1 * UTC"), line + process.stdout.read()

    def start() -> tuple[dict, int]:
        made = until(
            lambda: training.server.ask("deployments/filter", {"deployments": {"name": {"any_": ["scheduled"]}}}),
            30,
            "the deployment is there",
        )
        run = training.server.ask(f"deployments/{made[0]['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        return run, wait_for_training(training)

    yield training, process, start
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_cancelled_run(served):
    project, process, start = served
    run, reached = start()
    project.server.ask(f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    until(lambda: all(p.pid == process.pid for p in project.processes()), 10, "only the server of schedules is left")
    ended = until(
        lambda: (found := project.server.ask(f"flow_runs/{run['id']}"))["state_type"] == "CANCELLED" and found,
        10,
        "Prefect shows it cancelled",
    )
    assert ended["state_name"] == "Cancelled"
    process.kill()
    finish(project, reached)


def test_a_killed_worker(served):
    project, process, start = served
    run, reached = start()
    process.kill()
    wait_for_the_end(project)
    assert project.server.ask(f"flow_runs/{run['id']}")["state_type"] == "CRASHED"
    said = project.run("doctor", "--resume")
    assert f"is scheduled in the place of {run['name']}" in said
    assert "nothing to mend" in project.run("doctor", "--resume")
    finish(project, reached)


def test_a_killed_server(training, tmp_path):
    training.server = Server(tmp_path / "mortal", free_port())
    training.server.start()
    try:
        # Sooner than the trainer is done.
        flow = training.start(FACET_SERVER_GRACE="1")
        reached = wait_for_training(training)
        training.server.kill()
        until(lambda: all(p.pid == flow.pid for p in training.processes()), 10, "the trainer is gone")
        until(lambda: not training.processes(), 30, "the flow is gone")
        flow.communicate()
        assert "can't be reached" in training.run("doctor", code=75)
        training.server.start()
        assert "now Crashed" in training.run("doctor")
        assert training.server.runs()[0]["state_type"] == "CRASHED"
        finish(training, reached)
    finally:
        training.server.kill()
