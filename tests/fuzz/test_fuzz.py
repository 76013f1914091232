"""The readers meet five seconds of broken data; longer runs are `python -m tests.fuzz.fuzz_readers --seconds 600`."""

from __future__ import annotations

from tests.fuzz.fuzz_readers import fuzz


def test_nothing_but_sentences():
    summary = fuzz(seed=1, seconds=5)
    assert "failure" not in summary, f"{summary['again']}\n{summary['failure']}"
    assert summary["accepted"] > 0
    assert summary["refused"] > 0
