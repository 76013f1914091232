"""Params for one run: laid over params.yaml, checked whole before anything starts, taken back when it has ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from facet.artifacts import RUNS, whole_file
from facet.errors import ParamsError, did_you_mean
from facet.params import DEFAULT_PATH, load_yaml

# The user's own params.yaml while a run has another; whoever finds it without a run puts it back.
KEPT = RUNS / "flows" / "params.before.yaml"
# What was put in its place: a params.yaml that is neither was edited meanwhile, and that edit is not ours to undo.
_GIVEN = RUNS / "flows" / "params.given.yaml"


@contextlib.contextmanager
def applied(overrides: Mapping[str, Any]) -> Iterator[None]:
    """Have params.yaml hold ``overrides`` ({"train_unet.loop.steps": 2000, …}) inside the block.

    DVC reads params from that one file. Afterwards it is what it was, byte by byte; the artifacts are the run's, and
    the next run without overrides finds its own in DVC's run cache. Raises ParamsError, with params.yaml untouched,
    where a key is unknown or a value is not what its step expects.
    """
    restore()
    if not overrides:
        yield
        return
    content = laid_over(load_yaml(DEFAULT_PATH), overrides)
    with whole_file(_GIVEN) as scratch:
        scratch.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    check(_GIVEN)
    try:
        with whole_file(KEPT) as scratch:
            shutil.copyfile(DEFAULT_PATH, scratch)
        with whole_file(DEFAULT_PATH) as scratch:
            shutil.copyfile(_GIVEN, scratch)
        yield
    finally:
        restore()


def restore() -> str:
    """Put the user's own params.yaml back where a run, ended or killed, left another; what was done, in words."""
    if not KEPT.exists():
        return ""
    if DEFAULT_PATH.exists() and DEFAULT_PATH.read_bytes() not in (_GIVEN.read_bytes(), KEPT.read_bytes()):
        aside = KEPT.with_name(f"params.{int(time.time())}.yaml")
        os.replace(KEPT, aside)
        return f"params.yaml was edited during a run with overrides: it stays so, and what it was before is {aside}"
    os.replace(KEPT, DEFAULT_PATH)
    return "params.yaml is again what it was before a run with overrides"


def laid_over(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with each dotted key of ``overrides`` replaced. Raises ParamsError for keys that are not there."""
    result = yaml.safe_load(yaml.safe_dump(content))
    for key, value in overrides.items():
        *path, last = key.split(".")
        at = result
        for name in path:
            at = at.get(name) if isinstance(at, dict) else None
        if not isinstance(at, dict) or last not in at:
            known = sorted(_dotted(content))
            raise ParamsError(f"params.yaml has no {key!r}:{did_you_mean(key, known) or ' see `facet params`'}.")
        at[last] = value
    return result


def _dotted(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")


def check(path: Path) -> None:
    """Have every step check its section of ``path``, in a process that may import them. Raises ParamsError."""
    done = subprocess.run(
        [sys.executable, "-m", "facet", "params", "--path", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["the check ended without a word"]
        raise ParamsError(said[-1].removeprefix("error: ").replace(f"{path}: ", ""))
