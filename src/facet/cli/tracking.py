"""``facet mirror``: what the steps wrote into files, copied to MLflow, once or while the chain runs."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Annotated, Any

import typer

from facet.cli.options import AsJson

# A server that hangs must not keep a follower that was told to end; what it didn't copy, the next mirror does.
_SECONDS_TO_END = 4.5


def mirror(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on copying while the chain runs, until Ctrl-C or SIGTERM.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the files.")] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Copy the steps' params, metrics and curves to MLflow: one run for the chain, one below it for each step.

    Copying again makes no duplicates, and step `register` takes the runs over. With --follow, losses move in MLflow's
    charts while models train; a server that is down costs the chain nothing and is caught up with later.
    """
    # MLflow's own patience is minutes; here, trying again is somebody else's loop or the user's.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from facet.params import read_section
    from facet.registry.mlflow_registry import RegisterParams
    from facet.tracking.follow import LiveMirror
    from facet.tracking.mlflow_mirror import place, tracking_uri

    experiment = read_section("register", RegisterParams).experiment
    copy = LiveMirror(tracking_uri(), experiment, everything=not follow)
    if follow:
        _follow_until_told(copy, interval)
        return
    states = copy.bring_up(last=True)
    if as_json:
        print(json.dumps({"uri": place(copy.uri), "experiment": experiment, "run": copy.run, "steps": states}))
    elif states:
        steps = ", ".join(f"{name} {state.lower()}" for name, state in states.items())
        print(f"{len(states)} steps ({steps}): run {copy.run} of experiment {experiment}, {place(copy.uri)}")
    elif copy.run:
        print(f"Nothing new: registered run {copy.run} of experiment {experiment}, {place(copy.uri)}, has all of it.")
    else:
        print("Nothing to copy yet: no step has written metrics/ or runs/ (`dvc repro`).")


def _follow_until_told(copy: Any, interval: float) -> None:
    from facet.tracking.follow import follow
    from facet.tracking.mlflow_mirror import place

    stop = threading.Event()

    def end(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            deadline = threading.Timer(_SECONDS_TO_END, os._exit, (0,))
            deadline.daemon = True
            deadline.start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    os.nice(10)  # the chain comes first
    _say(f"following the chain into MLflow at {place(copy.uri)}, experiment {copy.experiment}; Ctrl-C ends it.")
    follow(copy, stop, _say, interval)


def _say(text: str) -> None:
    print(f"mirror: {text}", file=sys.stderr, flush=True)
