"""The event log: a line an event at once, resumable after a cut line, silent where the disk is full."""

import json
import signal
import subprocess
import sys

import numpy as np

from facet.tracking.events import is_being_written, read_events
from facet.tracking.runlog import RunLog
from tests import tiny


def test_each_event_is_on_disk_at_once(tmp_path):
    log = RunLog("train_unet", tmp_path, run="1f0c")
    log.log(10, {"loss": np.float32(0.5), "note": "ok"})
    (line,) = (tmp_path / "train_unet/events.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert (event["step"], event["run"], event["loss"], event["note"]) == (10, "1f0c", 0.5, "ok")
    assert event["time"] > 1e9


def test_a_cut_line_costs_that_line_only(tmp_path):
    log = RunLog("s", tmp_path)
    log.log(1, {"loss": 1.0})
    with log.path.open("a") as stream:
        stream.write('{"step": 2, "lo')
    RunLog("s", tmp_path).log(3, {"loss": 0.5})
    assert [event["step"] for event in read_events(log.path)] == [1, 3]


def test_a_full_disk_warns_once_and_does_not_raise(tmp_path, capsys):
    log = RunLog("s", tmp_path)
    log.path.parent.mkdir()
    log.path.symlink_to("/dev/full")
    for step in range(3):
        log.log(step, {"loss": 1.0})
    assert capsys.readouterr().err.count("can't be written (No space left on device)") == 1


def test_no_log_yet_is_no_events(tmp_path):
    assert read_events(tmp_path / "events.jsonl") == []
    assert not is_being_written(tmp_path / "events.jsonl")


def test_the_log_tells_whether_its_writer_lives(tmp_path):
    code = (
        "import pathlib, sys, time; from facet.tracking.runlog import RunLog\n"
        "log = RunLog('s', pathlib.Path(sys.argv[1])); log.log(1, {'loss': 1.0}); print('up', flush=True)\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    path = tmp_path / "s/events.jsonl"
    with subprocess.Popen(command, env=tiny.child_environment(), stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"up\n"
        assert is_being_written(path)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert not is_being_written(path)


def test_a_line_written_while_a_follower_looks_gets_its_lock_with_the_next(tmp_path):
    import fcntl

    log = RunLog("s", tmp_path)
    (tmp_path / "s").mkdir()
    with (tmp_path / "s/events.jsonl").open("a") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        log.log(1, {"loss": 1.0})
    assert not is_being_written(log.path)
    log.log(2, {"loss": 1.0})
    assert is_being_written(log.path)
    log.close()
    assert not is_being_written(log.path)
