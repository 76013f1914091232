"""What is tried again: only what failed because a server or a bucket did not answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.states import State

from facet.errors import ParamsError, UnreachableError


def retried(function: Callable[..., Any], name: str, description: str, tags: Sequence[str] = ()) -> Task[..., Any]:
    """``function`` as a Prefect task that is tried again, later each time, while `worth_a_retry`.

    Prefect's own cache is off: DVC decides what is up to date. Raises ParamsError for a wrong FACET_RETRY_SECONDS.
    """
    delays = delays_of_environment()
    return task(
        function,
        name=name,
        task_run_name=name,
        description=description,
        cache_policy=NO_CACHE,
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_condition_fn=worth_a_retry,
        tags=tags,
    )


def worth_a_retry(_task: Any, _run: Any, state: State) -> bool:
    """Only where a server or a bucket did not answer. A training alarm, a broken file or a stop come again at once."""
    return isinstance(state.result(raise_on_failure=False), UnreachableError)


def delays_of_environment() -> list[float]:
    """FACET_RETRY_SECONDS as seconds before each new try, "10,60,300" unless set."""
    given = os.environ.get("FACET_RETRY_SECONDS", "10,60,300")
    try:
        return [float(seconds) for seconds in given.split(",")]
    except ValueError:
        raise ParamsError(
            f"FACET_RETRY_SECONDS is {given!r}, expected the seconds before each new try, such as 10,60,300."
        ) from None
