"""Copying the chain's files into MLflow while it runs: curves that grow, steps that begin, end or die.

It runs in a process of its own beside the chain, reads what the steps write, and is no part of them: a server that is
dead, slow or gone costs them nothing, and what it missed is caught up on when it answers again. The runs it makes carry
the checkout's live key until step `register` knows the model's digest and takes them over
(`facet.tracking.mlflow_mirror`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facet.errors import FacetError
from facet.params import DEFAULT_PATH
from facet.tracking.live import NOT_MIRRORED, LiveRecord, StageWatch, Status, live_key, taking_turns
from facet.tracking.mlflow_mirror import (
    CHAIN,
    CHAIN_TAG,
    LIVE_TAG,
    STAGE_TAG,
    SYSTEM,
    Row,
    connect,
    content_of,
    experiment_id,
    find_or_create_run,
    finish,
    holds,
    is_part_of,
    log_params,
    log_points,
    logged_points,
    mlflow_errors_named,
    params_of_all,
    place,
    points,
    runs_of,
    tag_run,
)
from facet.tracking.records import read_params

if TYPE_CHECKING:
    from mlflow import MlflowClient

ERROR_TAG = "facet.error"
SPEED = f"{SYSTEM}samples_per_second"

_LONGEST_WAIT = 30.0


def follow(mirror: LiveMirror, stop: threading.Event, say: Callable[[str], None], interval: float = 2.0) -> None:
    """Bring MLflow up to the files every ``interval`` seconds until ``stop`` is set, and once more then.

    An error, MLflow's or a file's, is told once to ``say``; it is then tried again at growing intervals.
    """
    failing, wait = False, interval
    while True:
        last = stop.is_set()
        try:
            mirror.bring_up(last)
            if failing:
                say(f"MLflow at {place(mirror.uri)} has everything again.")
            failing, wait = False, interval
        except (FacetError, OSError) as error:
            mirror.forget()
            if last:
                say(f"MLflow lacks the latest of this chain, which `facet mirror` copies: {error}")
            elif not failing:
                say(f"the chain goes on, and is copied as soon as this is mended: {error}")
            failing, wait = True, min(2 * wait, _LONGEST_WAIT)
        if last:
            return
        stop.wait(wait)


class LiveMirror:
    """The files of this checkout on one side, the live chain's runs in MLflow on the other."""

    def __init__(self, uri: str, experiment: str, params: Path = DEFAULT_PATH, everything: bool = False):
        """``experiment`` is a name. With ``everything`` all that lies in the files is copied; without, what changes
        from now on: the rest is from earlier chains, or from steps that DVC finds unchanged."""
        self.uri, self.experiment, self.params = uri, experiment, params
        self.run: str | None = None
        self._watches: dict[str, StageWatch] = {}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._chain: LiveChain | None = None
        self._client: MlflowClient | None = None
        self._given = read_params(params)
        if not everything:
            self._seen = {name: watch.signature() for name, watch in self._watch_all().items()}

    def forget(self) -> None:
        """Ask MLflow anew about everything, after an error that leaves open what it has."""
        self._chain = self._client = None

    def bring_up(self, last: bool) -> dict[str, Status]:
        """Copy what changed; the states of the chain's steps by name. With ``last`` nothing more is to come."""
        signatures = {name: watch.signature() for name, watch in self._watch_all().items()}
        pending = [name for name, now in signatures.items() if self._is_news(name, now)]
        if not pending and (self._chain is None or not last):
            return {}
        with mlflow_errors_named(self.uri, "not all was mirrored"), taking_turns():
            chain = self._open_chain(pending)
            if chain is None:
                self._seen = signatures
                return {}
            for name in [name for name in signatures if name in pending or name in chain.unseen]:
                if (now := self._watches[name].read(self._given[name])) is not None:
                    chain.bring_up(now)
                self._seen[name] = signatures[name]
            return self._close(chain) if last else dict(chain.states)

    def _close(self, chain: LiveChain) -> dict[str, Status]:
        """Say how the chain ended; where it made again what is registered, its runs say nothing new, and go."""
        chain.close()
        registered = _registered(self._client, chain.experiment, chain.key, list(chain.records.values()))
        if registered is not None:
            chain.delete()
            self.run = registered
        return dict(chain.states)

    def _watch_all(self) -> dict[str, StageWatch]:
        self._given = {name: flat for name, flat in read_params(self.params).items() if name not in NOT_MIRRORED}
        for name in self._given:
            self._watches.setdefault(name, StageWatch(name))
        return {name: self._watches[name] for name in self._given}

    def _is_news(self, name: str, now: tuple[object, ...]) -> bool:
        return any(now) and now != self._seen.get(name)

    def _open_chain(self, pending: list[str]) -> LiveChain | None:
        """The chain's runs, made where missing; None where MLflow has all of it as a registered chain's."""
        if self._client is None:
            self._client = connect(self.uri)
        key = live_key(self.params)
        if key is None:
            return None
        if self._chain is not None and self._chain.key != key:  # somebody edited params.yaml: another chain begins
            self._chain.close()
            self._chain = None
        if self._chain is not None and not self._chain.is_live():  # registered, or deleted: it is no longer ours
            self._chain = None
            return None
        if self._chain is None:
            experiment = experiment_id(self._client, self.experiment)
            records = [r for name in pending if (r := self._watches[name].read(self._given[name])) is not None]
            if not records:
                return None
            self.run = _registered(self._client, experiment, key, records)
            if self.run is not None:
                return None
            self._chain = LiveChain(self._client, experiment, key, self._given)
        self.run = self._chain.run
        return self._chain


def _registered(client: MlflowClient, experiment: str, live: str, records: list[LiveRecord]) -> str | None:
    """The run of a registered chain, once followed as ``live``, that holds all of ``records`` whole."""
    wanted = f"tags.`{LIVE_TAG}` = '{live}' and tags.`{STAGE_TAG}` = '{CHAIN}'"
    for chain in client.search_runs([experiment], filter_string=wanted):
        key = chain.data.tags[CHAIN_TAG]
        if key == live:
            continue
        runs = {run.data.tags[STAGE_TAG]: run for run in runs_of(client, experiment, key)}
        if all(
            r.status == "FINISHED" and r.record.name in runs and holds(runs[r.record.name], r.record) for r in records
        ):
            return chain.info.run_id
    return None


class LiveChain:
    """The runs of a chain that has no digest yet: its own, and one below it for each step that has begun."""

    def __init__(self, client: MlflowClient, experiment: str, key: str, params: Mapping[str, Mapping[str, str]]):
        self.key = key
        self.experiment = experiment
        self.records: dict[str, LiveRecord] = {}
        self._client = client
        chain = find_or_create_run(client, experiment, key, CHAIN)
        self.run = chain.info.run_id
        if LIVE_TAG not in chain.data.tags:
            log_params(client, self.run, params_of_all(params))
            tag_run(client, self.run, {LIVE_TAG: key})
        self._set_status(self.run, chain.info.status, "RUNNING")
        self._runs: dict[str, _StageRun] = {}
        # Steps copied by an earlier follower of this chain, whose state may be out of date.
        self.unseen = {run.data.tags[STAGE_TAG] for run in runs_of(client, experiment, key)} - {CHAIN}
        self.unseen &= set(params)

    @property
    def states(self) -> dict[str, Status]:
        """How each step stands that was brought up."""
        return {name: live.status for name, live in self.records.items()}

    def is_live(self) -> bool:
        """Whether the chain's run is there and not yet that of a registered chain."""
        run = self._client.get_run(self.run)
        return run.info.lifecycle_stage == "active" and run.data.tags.get(CHAIN_TAG) == self.key

    def bring_up(self, live: LiveRecord) -> None:
        """Bring the step's run up to ``live``; a run that holds something else, of other code or data, is made anew."""
        name = live.record.name
        self.unseen.discard(name)
        run = self._runs.get(name) or self._open(live)
        if not run.agrees_with(live):
            self._client.delete_run(run.id)
            run = self._open(live)
        self._runs[name] = run
        run.add(self._client, live)
        if live.status == "FINISHED":
            finish(self._client, run.id, content_of(live.record))
        else:
            self._set_status(run.id, run.status, live.status)
        if live.error:
            tag_run(self._client, run.id, {ERROR_TAG: live.error})
        run.status = live.status
        self.records[name] = live

    def close(self) -> None:
        """Say how the chain ended, as far as its steps tell."""
        states = set(self.states.values())
        worst = next((s for s in ("RUNNING", "FAILED", "KILLED") if s in states), "FINISHED")
        self._set_status(self.run, "RUNNING", worst)

    def delete(self) -> None:
        """Take all runs of the chain away."""
        for run in runs_of(self._client, self.experiment, self.key):
            self._client.delete_run(run.info.run_id)

    def _open(self, live: LiveRecord) -> _StageRun:
        found = find_or_create_run(self._client, self.experiment, self.key, live.record.name, parent=self.run)
        if found.data.metrics and not is_part_of(self._client, found, live.record):
            self._client.delete_run(found.info.run_id)
            found = find_or_create_run(self._client, self.experiment, self.key, live.record.name, parent=self.run)
        if not found.data.params:
            log_params(self._client, found.info.run_id, live.record.params)
        return _StageRun(found, logged_points(self._client, found))

    def _set_status(self, run: str, before: str, after: str) -> None:
        if before == after:
            return
        if after == "RUNNING":
            self._client.update_run(run, status=after)
        else:
            self._client.set_terminated(run, status=after)


class _StageRun:
    """One step's run, and the rows known to be in it."""

    def __init__(self, found: Any, rows: set[Row]):
        self.id, self._start, self.status = found.info.run_id, found.info.start_time, found.info.status
        self._rows = {row for row in rows if not row[0].startswith(SYSTEM)}
        self._timed = {row[3] for row in rows if row[0] == SPEED}

    def agrees_with(self, live: LiveRecord) -> bool:
        """Whether all that the run holds is in ``live``."""
        return self._rows <= set(points(live.record, self._start))

    def add(self, client: MlflowClient, live: LiveRecord) -> None:
        """Copy what the run lacks. A step's speed is copied once, whatever a resumed run then measures there."""
        rows = [row for row in points(live.record, self._start) if row not in self._rows]
        speed = [(SPEED, value, time, step) for step, value, time in live.speed if step not in self._timed]
        log_points(client, self.id, rows + speed)
        self._rows |= set(rows)
        self._timed |= {row[3] for row in speed}
