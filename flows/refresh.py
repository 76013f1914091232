"""The `refresh` flow: look whether the source of data.dvc has changed, and only then run the chain and promote.

python -m flows.refresh                                   # or `facet schedule`, every night
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State

from facet.errors import FacetError
from flows import dag, dvc, locks, records
from flows.notify import notify
from flows.pipeline import pipeline, stoppable, to_its_end
from flows.retries import retried

SOURCE = "data.dvc"


def update() -> bool:
    """Whether the source has changed since it was last taken."""
    logger = get_run_logger()
    before = Path(SOURCE).read_bytes()
    with locks.checkout(f"flow run {flow_run.name}", wait=True, tell=logger.info):
        dvc.ask("update", SOURCE).output()
    changed = Path(SOURCE).read_bytes() != before
    logger.info("%s: the source %s", SOURCE, "has changed" if changed else "is what it was")
    return changed


@flow(
    name="refresh",
    description="Take new data where there is any, run the chain over it, and promote what passes the gate.",
    on_failure=[notify],
    on_crashed=[notify],
    on_cancellation=[notify],
)
def refresh(promote_to: str | None = "staging", params: dict[str, Any] | None = None) -> State:
    """Bring the model up to its data.

    A run that failed, or was killed, after it had taken new data is caught up with by the next one, although the
    source has not changed since.

    Args:
        promote_to: the alias for the new model, if it passes the gate; none where empty.
        params: overrides of params.yaml for this run alone, by dotted key.
    """
    try:
        with records.recorded(str(flow_run.id), flow_run.name):
            return _refresh(promote_to or None, params)
    except FacetError as error:
        get_run_logger().error("%s", error)
        return Failed(message=str(error), data=error)


def _refresh(promote_to: str | None, params: dict[str, Any] | None) -> State:
    with stoppable():
        changed = retried(update, f"update {SOURCE}", f"`dvc update {SOURCE}`: ask the source, take what is new")()
        behind = [] if changed else _behind()
    if not changed and not behind:
        return Completed(name="Cached", message=f"{SOURCE}: the source is what it was, and the chain is up to it")
    if behind:
        get_run_logger().info("the chain is not up to its data yet: %s", ", ".join(behind))
    state = pipeline(params=params, promote_to=promote_to, return_state=True)
    return (Completed if state.is_completed() else Failed)(message=state.message)


def _behind() -> list[str]:
    """Stages that have to run although the source is what it was: an earlier run did not come to its end."""
    graph = dag.read_graph()
    return [stage.name for stage in graph.stages if stage.name in graph.changed]


def main() -> None:
    """The flow from the command line; exit code 0 when it completed."""
    parser = argparse.ArgumentParser(prog="facet refresh", description="New data? Then run the chain and promote.")
    parser.add_argument("--promote-to", metavar="ALIAS", default="staging", help="default: staging; '' for none")
    given = parser.parse_args()
    print(to_its_end(refresh, promote_to=given.promote_to or None).message)


if __name__ == "__main__":
    # Run as the module that a worker imports, so that Prefect finds the same flow.
    from flows.refresh import main as main_of_module

    main_of_module()
