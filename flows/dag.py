"""The chain as DVC sees it: which stage follows which, and why a stage has to run.

The graph is asked of DVC (`dvc dag`), never written down again. What has changed is asked once (`dvc status`); whether
a stage that follows a stage just run has changed too is read from dvc.lock, which holds the hash of every dep and out.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from facet.errors import ParamsError, did_you_mean
from flows import dvc

_NODE = re.compile(r'^"([^"]+)";$')
_EDGE = re.compile(r'^"([^"]+)" -> "([^"]+)";$')

# DVC's own words for what differs, in the order in which they are told.
Changes = list[Any]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, or a ``.dvc`` file. ``gpu`` is its ``meta: {gpu: true}``."""

    name: str
    upstream: tuple[str, ...]
    gpu: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """All stages, each after those that it needs, and what `dvc status` said of them."""

    stages: tuple[Stage, ...]
    changed: Mapping[str, Changes]

    def wanted(self, targets: Collection[str]) -> list[Stage]:
        """``targets`` and all that they need; everything where none is named. Raises ParamsError for unknown names."""
        known = {stage.name: stage for stage in self.stages}
        if unknown := [name for name in targets if name not in known]:
            raise ParamsError(
                f"no stage is called {unknown[0]!r}:{did_you_mean(unknown[0], known)} expected of {', '.join(known)}."
            )
        keep, queue = set(), list(targets or known)
        while queue:
            name = queue.pop()
            keep.add(name)
            queue += known[name].upstream
        return [stage for stage in self.stages if stage.name in keep]


def read_graph() -> Graph:
    """Ask DVC for the graph and for what has changed, both at once. Raises DvcError where it can't tell."""
    status = dvc.ask("status", "--json")
    drawn = dvc.ask("dag", "--dot")
    upstream = parse_dot(drawn.output())
    gpu = _gpu_stages()
    stages = tuple(
        Stage(name, tuple(needs), name.partition("@")[0] in gpu) for name, needs in in_order(upstream).items()
    )
    return Graph(stages, json.loads(status.output()))


def parse_dot(text: str) -> dict[str, list[str]]:
    """`dvc dag --dot` as stage -> the stages right before it."""
    upstream: dict[str, list[str]] = {}
    for line in text.splitlines():
        if node := _NODE.match(line.strip()):
            upstream.setdefault(node[1], [])
        elif edge := _EDGE.match(line.strip()):
            upstream.setdefault(edge[1], [])
            upstream.setdefault(edge[2], []).append(edge[1])
    return upstream


def in_order(upstream: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The same graph with every stage after those it needs, otherwise in the given order."""
    done: dict[str, list[str]] = {}
    while len(done) < len(upstream):
        done |= {name: needs for name, needs in upstream.items() if name not in done and done.keys() >= set(needs)}
    return done


def _gpu_stages() -> set[str]:
    content = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
    return {name for name, stage in content["stages"].items() if ((stage or {}).get("meta") or {}).get("gpu")}


# --- has it changed? --------------------------------------------------------------------------------------------------


def reasons(stage: str, changes: Changes, lock: Mapping[str, Any], ran: Collection[str]) -> list[str]:
    """Why ``stage`` has to run, in a few words each; nothing where it is as its last run left it.

    ``changes`` is what `dvc status` said of it before anything ran, ``ran`` the stages that have run since: what was
    said of their outs is out of date, and their hashes in ``lock`` (see `read_lock`) say it anew.
    """
    made = {path: name for name in ran for path in lock.get(name, {}).get("outs", {})}
    found = []
    for change in changes:
        if not isinstance(change, Mapping):
            found.append(str(change))
            continue
        for kind, paths in change.items():
            told = paths.items() if isinstance(paths, Mapping) else [(str(paths), "modified")]
            found += _told(kind, [(path, how) for path, how in told if not _within(path, made)])
    deps = lock.get(stage, {}).get("deps", {})
    found += [
        f"{path} is another"
        for path, producer in made.items()
        for dep, digest in deps.items()
        if dep == path and digest != lock[producer]["outs"][path]
    ]
    return found


def _told(kind: str, paths: list[tuple[str, Any]]) -> list[str]:
    """``changed deps {a: modified}`` as "a modified"; of a params file, the values that differ."""
    words = []
    for path, how in paths:
        if isinstance(how, Mapping):
            words += [f"{key} {what}" for key, what in how.items()]
        else:
            words.append(f"{path} {how}")
    if kind == "changed outs":
        words = [f"out {word}" for word in words]
    return words


def _within(path: str, made: Collection[str]) -> bool:
    return any(path == out or path.startswith(f"{out}/") for out in made)


def read_lock() -> dict[str, dict[str, dict[str, str]]]:
    """Stage -> {"deps": path -> hash, "outs": path -> hash}, of dvc.lock and every ``.dvc`` file."""
    return {
        name: {part: {entry["path"]: _digest(entry) for entry in stage.get(part, [])} for part in ("deps", "outs")}
        for name, stage in {**_lock_stages(), **_dot_dvc_files()}.items()
    }


def _lock_stages(attempts: int = 5) -> dict[str, Any]:
    """dvc.lock's stages. DVC writes it in place, so what is read in that moment is asked for again."""
    path = Path("dvc.lock")
    for attempt in range(attempts):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
            return dict((content or {}).get("stages", {}))
        except yaml.YAMLError as error:
            if attempt == attempts - 1:
                raise dvc.DvcError(f"dvc.lock is damaged ({error}): take it from git again.") from None
            time.sleep(0.1)
    return {}


def _dot_dvc_files() -> dict[str, Any]:
    files = [path for path in sorted(Path().glob("*.dvc")) if path.is_file()]
    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}


def _digest(entry: Mapping[str, Any]) -> str:
    return str(entry.get("md5") or entry.get("etag") or entry.get("checksum"))
