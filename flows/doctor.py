"""`facet doctor`: what dead processes left behind, mended and told.

A flow that was killed can't report its end, so Prefect shows it running for ever. This compares each run that Prefect
holds for running with the process that its record names, and ends what is dead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

import psutil

from facet.errors import FacetError, UnreachableError
from flows import overrides, records


def mend_files() -> list[str]:
    """Mend what lies in this checkout, asking nobody: left-over programs and an overridden params.yaml. In words."""
    done = []
    dead = {record.flow_run: record for record in records.left_over()}
    for process in _programs_of(dead):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            done.append(f"killed process {process.pid} ({process.name()}), left over by a flow run that is dead")
    if restored := overrides.restore():
        done.append(restored)
    return done


def _programs_of(dead: dict[str, records.Record]) -> list[psutil.Process]:
    """Processes that carry the mark of a dead run."""
    found = []
    for process in psutil.process_iter() if dead else []:
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(records.VARIABLE) in dead:
                found.append(process)
    return found


def mend_prefect(resume: bool = False) -> list[str]:
    """End in Prefect what is dead here; with ``resume``, schedule crashed runs of a deployment once more. In words.

    Raises UnreachableError where the server does not answer.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        if error := client.api_healthcheck():
            raise UnreachableError(
                f"Prefect at {client.api_url} can't be reached ({error}): start it (`make prefect`), or correct "
                "PREFECT_API_URL, and run it again."
            )
        done = []
        for record in records.left_over():
            done += _end(client, record, resume)
            record.path.unlink(missing_ok=True)
        done += _free_gpu(client)
    return done


def _end(client, record: records.Record, resume: bool) -> list[str]:
    from prefect.exceptions import ObjectNotFound

    try:
        run = client.read_flow_run(record.flow_run)
    except (ObjectNotFound, ValueError):
        return []
    if run.state is None:
        return []
    done = [] if run.state.is_final() else _end_run(client, run, record)
    # A flow whose worker was lost stopped itself, and could still tell Prefect.
    if resume and run.deployment_id and not run.state.is_cancelling() and (done or run.state.is_crashed()):
        again = client.create_flow_run_from_deployment(run.deployment_id, parameters=run.parameters)
        done.append(f"flow run {again.name} is scheduled in the place of {run.name}")
    return done


def _end_run(client, run, record: records.Record) -> list[str]:
    from prefect.states import Cancelled, Crashed

    why = f"its process {record.pid} is dead; facet doctor ended the run"
    asked = run.state.is_cancelling()
    client.set_flow_run_state(run.id, Cancelled(message=why) if asked else Crashed(message=why), force=True)
    _end_tasks(client, run.id, why)
    return [f"flow run {run.name} was {run.state.name}: now {'Cancelled' if asked else 'Crashed'}, its process is dead"]


def _end_tasks(client, flow_run_id, why: str) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.states import Crashed

    runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
    for run in runs:
        if run.state is not None and not run.state.is_final():
            client.set_task_run_state(run.id, Crashed(message=why), force=True)


def _free_gpu(client) -> list[str]:
    """Places on the GPU that nobody holds: no run of ours is running, yet Prefect counts some as taken."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    from flows import gpu

    busy = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING]))
    )
    # A flow that looks before it starts holds no place yet.
    own = {record.flow_run for record in records.read_all() if record.pid == os.getpid()}
    running = client.read_flow_runs(flow_run_filter=busy, sort=FlowRunSort.ID_DESC, limit=len(own) + 1)
    if any(str(run.id) not in own for run in running):
        return []
    taken = gpu.free_places()
    return [f"gave back {taken} place{'s' * (taken > 1)} of the limit {gpu.LIMIT}: no flow is running"] if taken else []


def main() -> None:
    """Print what was mended; exit code 0 also where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="facet doctor", description="End what is dead, and say what was done.")
    parser.add_argument("--resume", action="store_true", help="schedule crashed runs of a deployment once more")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    given = parser.parse_args()
    try:
        done = mend_files() + mend_prefect(given.resume)
    except FacetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    if given.json:
        print(json.dumps({"done": done}))
    else:
        print("\n".join(done) or "nothing to mend.")


if __name__ == "__main__":
    main()
