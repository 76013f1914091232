"""The `pipeline` flow: one Prefect task for each stage that `dvc dag` lists, each after those it needs.

python -m flows.pipeline                                  # or `facet flow`
python -m flows.pipeline --set train_unet.loop.steps=2000 --promote-to staging
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import yaml
from prefect import Flow, flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.futures import wait
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from facet.errors import FacetError, ParamsError
from flows import commands, dag, doctor, dvc, gpu, locks, overrides, pages, processes, records
from flows.notify import notify
from flows.retries import retried
from flows.watch import Watch, leave_in_time

_BUSY_SECONDS = 5.0
# Between the end of a stopped flow's programs and the signal that ends the flow.
_SIGNAL_SECONDS = 10.0


class Run:
    """One run of the chain: the graph, what has run so far, and the places on the GPU."""

    def __init__(self, graph: dag.Graph, force: bool, wait_when_busy: bool):
        self.graph, self._force, self._wait = graph, force, wait_when_busy
        self._slots = locks.GpuSlots()
        self._ran: set[str] = set()
        self._lock = threading.Lock()
        self.told: dict[str, tuple[str, str]] = {}

    def execute(self, stage: dag.Stage) -> State:
        """Run ``stage`` if it has changed. Called in a thread of its own, after all that it needs."""
        logger = get_run_logger()
        why = ["asked to (force)"] if self._force else self._reasons(stage)
        if not why:
            return self._told(stage, "Cached", "unchanged since it last ran")
        logger.info("%s runs: %s", stage.name, "; ".join(why))
        progress = pages.Progress(stage.name)
        with self._gpu(stage) as place:
            outcome = self._reproduce(stage, progress, place)
        if outcome.how == "unchanged":
            return self._told(stage, "Cached", "DVC found it unchanged")
        with self._lock:
            self._ran.add(stage.name)
        with pages.harmless():
            pages.show_metrics(stage.name)
        if outcome.how == "restored":
            return self._told(stage, "Cached", f"restored from DVC's run cache ({'; '.join(why)})")
        return self._told(stage, "Completed", f"ran {pages.seconds(outcome.seconds)}: {'; '.join(why)}")

    def _reasons(self, stage: dag.Stage) -> list[str]:
        with self._lock:
            ran = set(self._ran)
        return dag.reasons(stage.name, self.graph.changed.get(stage.name, []), dag.read_lock(), ran)

    @contextlib.contextmanager
    def _gpu(self, stage: dag.Stage) -> Iterator[tuple[int, ...]]:
        """The GPU, first on this host, then in Prefect, which knows of other hosts; nothing for other stages."""
        if not stage.gpu:
            yield ()
            return
        tell = get_run_logger().info
        with self._slots.hold(f"{stage.name} of flow run {flow_run.name}", tell) as place, gpu.slot():
            yield (place,)

    def _reproduce(self, stage: dag.Stage, progress: pages.Progress, place: tuple[int, ...]) -> dvc.Outcome:
        logger = get_run_logger()

        def look() -> None:
            with pages.harmless():
                progress.look()

        return _when_free(
            lambda: dvc.reproduce(
                stage.name,
                tell=logger.info,
                meanwhile=look,
                force=self._force,
                keep_open=place,
                environment={records.VARIABLE: str(flow_run.id)},
            ),
            self._wait,
        )

    def _told(self, stage: dag.Stage, name: str, message: str) -> State:
        self.told[stage.name] = (name.lower(), message)
        return Completed(name=name, message=message)

    def table(self) -> list[tuple[str, str, str]]:
        """(stage, outcome, why) of all stages so far, in the graph's order."""
        return [(s.name, *self.told[s.name]) for s in self.graph.stages if s.name in self.told]


def _when_free(call: Callable[[], Any], wait_: bool) -> Any:
    """``call()``, again and again while another dvc is at work in this checkout, if asked to wait."""
    while True:
        try:
            return call()
        except dvc.DvcBusy as busy:
            if not wait_:
                raise
            get_run_logger().info("waiting for another dvc in this checkout: %s", busy)
            time.sleep(_BUSY_SECONDS)


def _submit(run: Run, stages: list[dag.Stage]) -> dict[str, Any]:
    """A task for each stage, waiting for those of the stages that it needs."""
    futures: dict[str, Any] = {}
    for stage in stages:

        def execute(stage: dag.Stage = stage) -> State:
            return run.execute(stage)

        step = retried(
            execute,
            name=stage.name,
            description=f"`dvc repro --single-item {stage.name}`, where DVC finds it changed",
            tags=["gpu"] if stage.gpu else [],
        )
        needs = [futures[name] for name in stage.upstream if name in futures]
        futures[stage.name] = step.submit(wait_for=needs)
    return futures


@flow(
    name="pipeline",
    description="The chain of dvc.yaml: raw faces to a registered model, and promoted where asked.",
    task_runner=ThreadPoolTaskRunner(max_workers=64),
    on_failure=[notify],
    on_crashed=[notify],
    on_cancellation=[notify],
)
def pipeline(
    params: dict[str, Any] | None = None,
    targets: list[str] | None = None,
    force: bool = False,
    promote_to: str | None = None,
    if_busy: Literal["wait", "refuse"] = "wait",
) -> State:
    """Run what has changed.

    Args:
        params: overrides of params.yaml for this run alone, by dotted key: {"train_unet.loop.steps": 2000}.
        targets: stages to bring up to date, with all that they need; all stages where empty.
        force: run them even where nothing has changed.
        promote_to: an alias ("staging") to give the registered model, if it passes the gate.
        if_busy: wait for, or refuse to run beside, another flow or dvc in this checkout.
    """
    try:
        return _pipeline(params or {}, targets or [], force, promote_to, if_busy == "wait")
    except FacetError as error:
        get_run_logger().error("%s", error)
        return Failed(message=str(error), data=error)


def _pipeline(params: dict[str, Any], targets: list[str], force: bool, promote_to: str | None, wait_: bool) -> State:
    logger = get_run_logger()
    if not Path("dvc.yaml").is_file():
        raise ParamsError(f"{Path.cwd()} holds no dvc.yaml: run the flow in a checkout of facet.")
    recorded = records.recorded(str(flow_run.id), flow_run.name)
    with recorded, stoppable(), locks.checkout(f"flow run {flow_run.name}", wait_, logger.info):
        for line in doctor.mend_files() + (doctor.mend_prefect() if records.left_over() else []):
            logger.info(line)
        with overrides.applied(params):
            graph = _when_free(dag.read_graph, wait_)
            stages = graph.wanted(targets)
            run = Run(graph, force, wait_)
            with commands.mirrored(bool(graph.changed or force)):
                futures = _submit(run, stages)
                wait(list(futures.values()))
            failed = {name: future.state for name, future in futures.items() if not future.state.is_completed()}
            with pages.harmless():
                pages.show_plan(run.table())
            if failed:
                if processes.stopping():
                    # They did not fail: whoever stopped them ends this flow with a signal, which is on its way.
                    time.sleep(_SIGNAL_SECONDS)
                return _failed(failed)
            if run.told.get("evaluate", ("cached",))[0] == "completed":
                with pages.harmless():
                    pages.show_results(logger, _share_report())
        promoted = _promote(promote_to) if promote_to else ""
    ran = [name for name, outcome, _ in run.table() if outcome == "completed"]
    return Completed(message=f"ran {', '.join(ran) or 'nothing'}; {len(run.told) - len(ran)} cached{promoted}")


def _failed(states: dict[str, State]) -> State:
    """The flow's end where stages failed: the first one's sentence; those behind it never ran."""
    name, state = next(((n, s) for n, s in states.items() if s.is_failed()), next(iter(states.items())))
    error = state.result(raise_on_failure=False) if state.is_failed() else None
    if isinstance(error, FacetError):
        return Failed(message=str(error), data=error)
    return Failed(message=f"{name}: {state.message}")


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Whatever ends this block early (a cancel, a signal, a lost worker or server) ends all its programs first."""
    processes.reopen()
    logger = get_run_logger()

    def lost(why: str) -> None:
        processes.stop_all()
        with contextlib.suppress(OSError):  # the worker that is gone was reading what is logged
            logger.error("stopped: %s", why)
        os.kill(os.getpid(), signal.SIGTERM)

    with get_client(sync_client=True) as client:
        api = str(client.api_url)
    try:
        with _signals_stop_first(), Watch(api, lost):
            yield
    except BaseException:
        processes.stop_all()
        raise


@contextlib.contextmanager
def _signals_stop_first() -> Iterator[None]:
    """Have a signal end all programs before anything else hears of it: what unwinds behind it takes its time.

    A closed terminal then stops the flow as SIGTERM does, so that it still tells Prefect; `nohup` is heeded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def stop(number: int, frame: FrameType | None) -> None:
        leave_in_time()
        processes.stop_all()
        then = before[signal.SIGTERM if number == signal.SIGHUP else number]
        if callable(then):
            then(number, frame)

    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _share_report() -> str | None:
    try:
        return commands.share_report(flow_run.name)
    except FacetError as error:
        get_run_logger().warning("the report was not shared: %s", error)
        return None


def _promote(alias: str) -> str:
    """Promote in a task of its own; the gate's refusal is its failure. For the flow's last message."""

    def promote() -> None:
        get_run_logger().info(commands.promote(alias))

    retried(promote, f"promote to {alias}", f"`facet promote latest --to {alias}`")()
    return f"; promoted to {alias}"


def main() -> None:
    """The flow from the command line; exit code 0 when it completed."""
    parser = argparse.ArgumentParser(prog="facet flow", description="Run what has changed of the chain, in Prefect.")
    parser.add_argument("targets", nargs="*", help="stages to bring up to date (default: all)")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a param, for this run alone")
    parser.add_argument("--force", action="store_true", help="run stages even where nothing has changed")
    parser.add_argument("--promote-to", metavar="ALIAS", help="give the registered model this alias, past the gate")
    parser.add_argument("--if-busy", choices=("wait", "refuse"), default="wait", help="another flow in this checkout")
    given = parser.parse_args()
    pairs = [pair.partition("=") for pair in given.set]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        parser.error(f"--set {wrong[0]}: expected KEY=VALUE")
    state = to_its_end(
        pipeline,
        params={key: yaml.safe_load(value) for key, _, value in pairs},
        targets=given.targets,
        force=given.force,
        promote_to=given.promote_to,
        if_busy=given.if_busy,
    )
    print(state.message)


def to_its_end(run: Flow[..., Any], **parameters: Any) -> State:
    """Call flow ``run`` for a person: its state where it completed, else this process's end with one sentence."""
    try:
        state = run(**parameters, return_state=True)
    except (KeyboardInterrupt, TerminationSignal):
        print("stopped: the same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)
    if not state.is_completed():
        sys.exit(f"error: {state.message}")
    return state


if __name__ == "__main__":
    # Run as the module that a worker imports, so that Prefect finds the same flow.
    from flows.pipeline import main as main_of_module

    main_of_module()
