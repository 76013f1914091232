"""The event log: a line an event at once, resumable after a cut line, silent where the disk is full."""

import json

import numpy as np

from facet.tracking.runlog import RunLog, read_events


def test_each_event_is_on_disk_at_once(tmp_path):
    log = RunLog("train_unet", tmp_path)
    log.log(10, {"loss": np.float32(0.5), "note": "ok"})
    (line,) = (tmp_path / "train_unet/events.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert (event["step"], event["loss"], event["note"]) == (10, 0.5, "ok")
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
