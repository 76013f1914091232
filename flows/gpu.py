"""The GPU as Prefect knows it: a global concurrency limit, seen by the flows of every host and in the UI."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.locks import slots_of_environment

LIMIT = "facet-gpu"
# A holder that died gives its place back after this long; the shortest that Prefect allows.
_LEASE_SECONDS = 60.0


@contextlib.contextmanager
def slot() -> Iterator[None]:
    """Hold one place of the limit. Strict: where the lease can't be renewed, the block is ended."""
    ensure_limit()
    with concurrency(LIMIT, strict=True, lease_duration=_LEASE_SECONDS):
        yield


def ensure_limit() -> None:
    """Make the limit where it is missing, with FACET_GPU_SLOTS places; one that is there stays as the user set it."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=LIMIT, limit=slots_of_environment())
                )


def free_places() -> int:
    """Give back all places of the limit, whose holders are known to be dead; how many were taken."""
    with get_client(sync_client=True) as client:
        try:
            taken = client.read_global_concurrency_limit_by_name(LIMIT).active_slots
        except ObjectNotFound:
            return 0
        if taken:
            client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))
        return taken
