"""The pipeline flow over small real DVC projects, against a real Prefect server."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import threading
from pathlib import Path

import pytest
import yaml

from flows import dag
from tests.flows.conftest import Project, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def fails(sentence: str) -> dict:
    return {"cmd": f"echo 'error: {sentence}' >&2; exit 1", "outs": ["bad"], "deps": ["in.txt"]}


@pytest.fixture
def diamond(project) -> Project:
    project.stages(
        {
            "top": {"cmd": "head -c 3 in.txt > top", "deps": ["in.txt"], "outs": ["top"]},
            "left": {"cmd": "cut -c1 top > left", "deps": ["top"], "outs": ["left"], "meta": {"gpu": True}},
            "right": {"cmd": "cut -c2- top > right", "deps": ["top"], "outs": ["right"], "meta": {"gpu": True}},
            "bottom": {
                "cmd": "cat left right > bottom",
                "deps": ["left", "right"],
                "params": ["seed"],
                "outs": ["bottom"],
            },
        }
    )
    return project


def test_one_task_a_stage_and_the_graph_is_dvcs(diamond):
    said = diamond.run()
    assert "ran top, left, right, bottom; 0 cached" in said
    run = diamond.server.runs()[0]
    tasks = diamond.server.tasks(run)
    names = {task["id"]: task["name"] for task in tasks}
    found = {
        task["name"]: sorted(names[i["id"]] for inputs in task["task_inputs"].values() for i in inputs)
        for task in tasks
    }
    assert found == {name: sorted(needs) for name, needs in dag.parse_dot(diamond.dvc("dag", "--dot")).items()}


def test_what_is_unchanged_is_cached_with_the_reason_and_takes_no_gpu(diamond):
    diamond.dvc("repro")
    # Somebody else has the GPU for all this time.
    lock = Path(diamond.environment()["TMPDIR"]) / f"facet-{os.getuid()}-gpu-all-0.lock"
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "ran nothing; 4 cached" in diamond.run()
        messages = {t["name"]: t["state"]["message"] for t in diamond.server.tasks(diamond.server.runs()[0])}
        assert messages == dict.fromkeys(("top", "left", "right", "bottom"), "unchanged since it last ran")
    # What was made again, byte by byte the same, changes nothing further down.
    (diamond.folder / "in.txt").write_text("rawer")
    assert "ran top; 3 cached" in diamond.run()
    (diamond.folder / "in.txt").write_text("rAW")
    said = diamond.run()
    assert "ran top, left, right, bottom; 0 cached" in said
    assert "bottom runs: right is another" in said
    # What was made once before comes from DVC's run cache.
    (diamond.folder / "in.txt").write_text("rawer")
    assert "ran nothing; 4 cached" in diamond.run()
    messages = {t["name"]: t["state"]["message"] for t in diamond.server.tasks(diamond.server.runs()[0])}
    assert messages["top"] == "restored from DVC's run cache (in.txt modified)"


def test_only_the_targets_and_force(diamond):
    diamond.dvc("repro", "left")
    assert "ran top, left; 0 cached" in diamond.run("pipeline", "left", "--force")
    assert "no stage is called 'lefty'" in diamond.run("pipeline", "lefty", code=1)


def test_branches_run_side_by_side_within_the_limit(project):
    """Each stage waits a while for the other to be there at the same time, and says whether it was."""
    project.server.limit_gpu(2)
    look = "for i in $(seq {2}); do test -e {1}.on && break; sleep 0.1; done; test -e {1}.on && touch {0}.met"
    meet = f"touch {{0}}.on; {look}; sleep 1; rm {{0}}.on; cp in.txt {{0}}"
    both = (("judge", "unet"), ("unet", "judge"))
    for slots, tries in (("1", 10), ("2", 400)):
        commands = {name: meet.format(name, other, tries) for name, other in both}
        project.stages(
            {
                name: {"cmd": commands[name], "deps": ["in.txt"], "outs": [name], "meta": {"gpu": True}}
                for name, _ in both
            }
        )
        project.run(FACET_GPU_SLOTS=slots)
        assert [(project.folder / f"{name}.met").exists() for name, _ in both] == [slots == "2"] * 2


def test_a_failed_stage_is_told_in_a_sentence_and_what_follows_never_ran(project):
    project.stages(
        {
            "bad": {
                "cmd": "echo 'error: the loss is not finite at step 3.' >&2; exit 1",
                "outs": ["bad"],
                "deps": ["in.txt"],
            },
            "after": {"cmd": "cp bad after", "deps": ["bad"], "outs": ["after"]},
            "aside": {"cmd": "cp in.txt aside", "deps": ["in.txt"], "outs": ["aside"]},
        }
    )
    # A webhook that can't be reached changes nothing.
    said = project.run(code=1, FACET_WEBHOOK_URL="http://127.0.0.1:9/token")
    assert "FACET_WEBHOOK_URL could not be told" in said
    assert "token" not in said
    assert "error: bad: the loss is not finite at step 3." in said
    run = project.server.runs()[0]
    assert (run["state_type"], run["state"]["message"]) == ("FAILED", "bad: the loss is not finite at step 3.")
    states = project.server.states(run)
    assert states == {"bad": "Failed", "after": "NotReady", "aside": "Completed"}
    (task,) = [t for t in project.server.tasks(run) if t["name"] == "bad"]
    assert task["run_count"] == 1, "a training alarm is never tried again"


def test_only_what_did_not_answer_is_tried_again(project):
    flaky = "test -e tried && echo ok > out || { touch tried; echo 'error: MLflow can not be reached.' >&2; exit 75; }"
    project.stages({"flaky": {"cmd": flaky, "deps": ["in.txt"], "outs": ["out"]}})
    said = project.run(FACET_RETRY_SECONDS="1")
    assert "ran flaky; 0 cached" in said
    (task,) = project.server.tasks(project.server.runs()[0])
    assert (task["run_count"], task["state_name"]) == (2, "Completed")


# A stage that ends when the test says so.
HELD = {"held": {"cmd": "until test -e go; do sleep 0.1; done; echo done > held", "deps": ["in.txt"], "outs": ["held"]}}


def hear(process, words: str) -> str:
    """Read what ``process`` says until a line holds ``words``."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    pytest.fail(f"never said {words!r}: {said}")


def test_two_flows_in_one_checkout_take_turns_or_refuse(project):
    project.stages(HELD)
    first = project.start()
    hear(first, "Running stage 'held'")
    assert "is at work in project/" in project.run("pipeline", "--if-busy", "refuse", code=1)
    second = project.start()
    hear(second, "waiting for the checkout: flow run")
    (project.folder / "go").touch()
    assert "ran held" in first.communicate(timeout=100)[0]
    assert "ran nothing; 1 cached" in second.communicate(timeout=100)[0]


def test_a_dvc_at_work_is_waited_for(project):
    project.stages(HELD)
    outside = threading.Thread(target=project.dvc, args=("repro",))
    outside.start()
    until(lambda: any("until test" in " ".join(p.cmdline()) for p in project.processes()), 60, "dvc runs the stage")
    flow = project.start()
    hear(flow, "waiting for another dvc in this checkout")
    (project.folder / "go").touch()
    outside.join()
    assert "ran nothing; 1 cached" in flow.communicate(timeout=100)[0]


def test_params_are_checked_before_anything_starts_and_taken_back_afterwards(project):
    from tests.tiny import chain_params

    content = yaml.safe_dump(chain_params())
    (project.folder / "params.yaml").write_text(content)
    echo = "grep -A30 '^train_unet:' params.yaml | grep -m1 'steps:' | tr -d ' ' > out"
    project.stages({"train_unet": {"cmd": echo, "params": ["train_unet.loop.steps"], "outs": ["out"]}})
    said = project.run("pipeline", "--set", "train_unet.loop.steps=many", code=1)
    assert "steps is 'many'" in said
    assert not (project.folder / "out").exists()
    project.run("pipeline", "--set", "train_unet.loop.steps=31")
    assert (project.folder / "out").read_text() == "steps:31\n"
    assert (project.folder / "params.yaml").read_text() == content


def test_a_failure_is_posted_to_the_webhook(project):
    heard = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = threading.Thread(target=hook.serve_forever)
        thread.start()
        project.stages({"bad": fails("no good.")})
        project.run(code=1, FACET_WEBHOOK_URL=f"http://127.0.0.1:{hook.server_port}/token")
        hook.shutdown()
        thread.join()
    (told,) = heard
    assert told["text"].startswith("facet: pipeline ")
    assert told["text"].endswith("is failed: bad: no good.")


def test_metrics_progress_and_plan_are_there_to_look_at(project):
    (project.folder / "params.yaml").write_text("seed: 0\ntrain_vae: {loop: {steps: 8}}\n")
    script = (
        "import json, os, time\n"
        "os.makedirs('runs/train_vae'); os.makedirs('metrics')\n"
        "for step in range(1, 9):\n"
        "    with open('runs/train_vae/events.jsonl', 'a') as events:\n"
        "        events.write(json.dumps({'step': step, 'time': 0, 'loss': 1 / step}) + '\\n')\n"
        "    time.sleep(0.3)\n"
        "json.dump({'final': {'loss': 0.125}}, open('metrics/train_vae.json', 'w'))\n"
    )
    (project.folder / "train.py").write_text(script)
    project.stages(
        {
            "train_vae": {
                "cmd": "python train.py",
                "deps": ["in.txt"],
                "metrics": [{"metrics/train_vae.json": {"cache": False}}],
            }
        }
    )
    project.run()
    run = project.server.runs()[0]
    made = project.server.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    by_key = {a["key"]: a for a in made}
    assert "final.loss" in str(by_key["train-vae-metrics"]["data"])
    assert "| train_vae | completed | ran" in by_key["stages"]["data"]
    bar = project.server.ask("artifacts/filter", {"artifacts": {"type": {"any_": ["progress"]}}})
    assert any((a["description"] or "").startswith("train_vae: step") for a in bar)
    logs = project.server.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert any("> python train.py" in line["message"] for line in logs)


def test_the_samples_and_the_report_are_there_to_look_at(project):
    draw = "mkdir -p reports && echo '<p>report</p>' > reports/report.html && cp face.png reports/samples.png"
    (project.folder / "face.png").write_bytes(b"\x89PNG")
    project.stages({"evaluate": {"cmd": draw, "deps": ["in.txt"], "outs": ["reports/report.html"]}})
    said = project.run()
    assert "not shown in Prefect" not in said
    run = project.server.runs()[0]
    made = project.server.ask("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    by_key = {a["key"]: str(a["data"]) for a in made}
    assert "data:image/png;base64,iVBORw==" in by_key["samples"]
    assert "reports/report.html" in by_key["report"]


def test_refresh_runs_the_chain_only_where_the_source_has_changed(project):
    (project.folder / "source").mkdir()
    (project.folder / "source/faces").write_text("one")
    (project.folder / "data.dvc").write_text("deps:\n- path: source\nouts:\n- path: data\n")
    project.stages({"prepare": {"cmd": "cp data/faces faces", "deps": ["data"], "outs": ["faces"]}})
    assert "ran prepare" in project.run("refresh", "--promote-to", "")
    assert "the source is what it was, and the chain is up to it" in project.run("refresh", "--promote-to", "")
    assert project.server.runs("refresh")[0]["state_name"] == "Cached"
    (project.folder / "source/faces").write_text("two")
    assert "ran prepare" in project.run("refresh", "--promote-to", "")
    assert (project.folder / "faces").read_text() == "two"


def test_a_schedule_fires(project):
    project.stages({"only": {"cmd": "cp in.txt out", "deps": ["in.txt"], "outs": ["out"]}})
    process = project.start("serve", "--cron", "* * * * *", "--flow", "pipeline", "--name", "often", "--promote-to", "")
    try:
        until(lambda: (project.folder / "out").exists(), 100, "the scheduled run has run the stage")
        until(lambda: project.server.runs()[0]["state_type"] == "COMPLETED", 30, "the run completes")
        assert project.server.runs()[0]["auto_scheduled"]
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--cron", "0 3 * *"], "--cron is '0 3 * *', expected five fields"),
        (["--cron", "0 3 * * *", "--timezone", "Berlin"], "--timezone is 'Berlin', expected an IANA name"),
    ],
)
def test_a_wrong_schedule_is_one_sentence(wrong, told, project):
    said = project.run("serve", *wrong, code=1)
    assert said.startswith(f"error: {told}")
    assert "\n" not in said.strip()


def test_a_schedule_needs_a_server(project):
    said = project.run("serve", "--cron", "0 3 * * *", code=1, PREFECT_API_URL="")
    assert said.startswith("error: PREFECT_API_URL is not set")
