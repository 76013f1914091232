"""An idempotent copy of what the steps wrote into MLflow: one run for the chain, one below it for each step.

Steps never talk to MLflow. They leave params, metrics and curves in files (`facet.tracking.records`); this brings
MLflow up to them. Runs are found again by their tags and metrics carry reproducible timestamps, so mirroring twice,
mirroring after a kill, or two mirrors at once leave what one mirror leaves. What `facet.tracking.follow` copied while
the chain ran is taken over where it is right, and made anew where it isn't.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
import os
import re
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from facet.artifacts import digest_json
from facet.errors import FacetError, RegistryError, UnreachableError
from facet.tracking.live import taking_turns
from facet.tracking.records import StageRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAIN_TAG = "facet.chain"
STAGE_TAG = "facet.stage"
# On the chain's run: under which name it was, or would have been, followed while it ran.
LIVE_TAG = "facet.live"
_WHOLE_TAG = "facet.mirrored"
CHAIN = "chain"

# MLflow's prefix for figures of the machine; they are no part of a record.
SYSTEM = "system/"

# MLflow's own limits for one log_batch call.
_METRICS_A_BATCH = 1000
_PARAMS_A_BATCH = 100
_PARAM_LENGTH = 6000


# --- reaching MLflow --------------------------------------------------------------------------------------------------


def tracking_uri(root: Path | None = None) -> str:
    """MLFLOW_TRACKING_URI where set, else the SQLite file in ``root``: absolute, so that no other cwd makes another."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root or Path.cwd()).resolve() / 'mlflow.db'}"


def connect(uri: str) -> MlflowClient:
    """A client for the server or database at ``uri``. Raises UnreachableError at once where nobody answers."""
    # MLflow reads these when it is imported; its default of seven retries waits for minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    _knock(uri)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with mlflow_errors_named(uri), alone_at(uri):
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient(tracking_uri=uri)
        # The first question to a new or older database makes or migrates its tables.
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    return client


def _knock(uri: str) -> None:
    """Find out in seconds whether ``uri`` can be reached; MLflow itself keeps trying for minutes."""
    parts = urlsplit(uri)
    try:
        if parts.scheme in ("http", "https"):
            with contextlib.suppress(urllib.error.HTTPError):  # it answered; whether it likes us shows later
                urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5).close()
        elif parts.hostname:
            port = parts.port or {"postgresql": 5432, "mysql": 3306}.get(parts.scheme.partition("+")[0], 1433)
            socket.create_connection((parts.hostname, port), timeout=5).close()
        elif parts.scheme == "sqlite":
            database = Path(uri.removeprefix("sqlite:///"))
            if not os.access(database if database.exists() else database.parent, os.R_OK | os.W_OK):
                raise RegistryError(
                    f"MLflow's database {database} is missing or not writable: make its folder, or correct or unset "
                    "MLFLOW_TRACKING_URI, and run it again."
                )
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(
            f"MLflow at {place(uri)} can't be reached ({reason}): start it, or correct or unset MLFLOW_TRACKING_URI, "
            "and run it again."
        ) from error


@contextlib.contextmanager
def alone_at(uri: str) -> Iterator[None]:
    """Hold this host's lock for ``uri``: two processes that both make MLflow's tables, or the same run, break each
    other."""
    lock = os.open(_lock_of(uri), os.O_RDONLY | (0 if _is_file(uri) else os.O_CREAT), 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _lock_of(uri: str) -> Path:
    """What is locked: the folder of a SQLite file, which all its users see, or a file of this user's for a server."""
    if _is_file(uri):
        return Path(uri.removeprefix("sqlite:///")).parent
    return Path(tempfile.gettempdir()) / f"facet-{os.getuid()}-mlflow-{digest_json(place(uri))[:16]}.lock"


def _is_file(uri: str) -> bool:
    return urlsplit(uri).scheme == "sqlite"


def place(uri: str) -> str:
    """The URI without user name and password, for messages."""
    parts = urlsplit(uri)
    return uri if "@" not in parts.netloc else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextlib.contextmanager
def mlflow_errors_named(uri: str, outcome: str = "nothing was registered") -> Iterator[None]:
    """Turn what MLflow and the libraries below it raise into one RegistryError sentence that tells of ``outcome``."""
    try:
        yield
    except FacetError:
        raise
    except Exception as error:
        # SQL drivers, HTTP clients and object stores each raise families of their own through MLflow. Whether it is the
        # server that went away, only a knock can tell.
        _knock(uri)
        said = str(error).strip().splitlines() or [""]
        raise RegistryError(
            f"MLflow at {place(uri)} refused ({type(error).__name__}: {said[0][:200].rstrip('.')}); "
            f"{outcome}: see to the server and run it again."
        ) from error


def experiment_id(client: MlflowClient, name: str, root: Path | None = None) -> str:
    """The id of experiment ``name``, created where missing, with its artifacts in ``root``/mlartifacts if no server
    keeps them."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        served = urlsplit(client.tracking_uri).scheme in ("http", "https")
        location = None if served else ((root or Path.cwd()) / "mlartifacts").resolve().as_uri()
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:  # somebody else was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise RegistryError(
            f"MLflow's experiment {name!r} is deleted: `mlflow experiments restore -x {found.experiment_id}`, or give "
            "register.experiment another name."
        )
    return found.experiment_id


# --- mirroring --------------------------------------------------------------------------------------------------------


def mirror(
    client: MlflowClient,
    experiment: str,
    key: str,
    records: Sequence[StageRecord],
    headline: str,
    live: str | None = None,
) -> str:
    """Bring the runs of chain ``key`` in experiment (id) ``experiment`` up to ``records``; return the chain run's id.

    The chain's run holds the params of all steps and the metrics of step ``headline``, the steps' runs their own
    params, metrics and curves. The same ``key`` always finds the same runs. ``live`` is the key under which the chain
    may have been followed while it ran: those runs become the chain's.
    """
    if live is None:
        return _mirror(client, experiment, key, records, headline)
    with taking_turns():
        _adopt(client, experiment, live, key, records)
        chain = _mirror(client, experiment, key, records, headline)
        client.set_tag(chain, LIVE_TAG, live)
    return chain


def _mirror(client: MlflowClient, experiment: str, key: str, records: Sequence[StageRecord], headline: str) -> str:
    chain = find_or_create_run(client, experiment, key, CHAIN)
    for record in records:
        run = find_or_create_run(client, experiment, key, record.name, parent=chain.info.run_id)
        _bring_up(client, run, record)
    summary = StageRecord(
        name=CHAIN,
        params=params_of_all({r.name: r.params for r in records}),
        metrics=next((r.metrics for r in records if r.name == headline), {}),
    )
    _bring_up(client, chain, summary)
    return chain.info.run_id


def params_of_all(params: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Flat params by step as the chain's: ``step.param``."""
    return {f"{name}.{key}": value for name, flat in params.items() for key, value in flat.items()}


def find_or_create_run(client: MlflowClient, experiment: str, key: str, stage: str, parent: str | None = None) -> Any:
    """The one run with these tags. MLflow can't refuse a second one, so mirrors of one host take turns here, and what
    mirrors of two hosts made at once is brought back to the oldest by whoever looks next."""
    with alone_at(client.tracking_uri):
        found = runs_of(client, experiment, key, stage)
        if not found:
            tags = {CHAIN_TAG: key, STAGE_TAG: stage} | ({"mlflow.parentRunId": parent} if parent else {})
            client.create_run(experiment, run_name=_run_name(key, stage), tags=tags)
            found = runs_of(client, experiment, key, stage)
    keep, *surplus = found
    for run in surplus:
        client.delete_run(run.info.run_id)
    return keep


def _run_name(key: str, stage: str) -> str:
    return f"{stage}-{key[:8]}" if stage == CHAIN else stage


def runs_of(client: MlflowClient, experiment: str, key: str, stage: str | None = None) -> list[Any]:
    """The runs of chain ``key``, of one ``stage`` or of all, oldest first."""
    wanted = f"tags.`{CHAIN_TAG}` = '{key}'" + (f" and tags.`{STAGE_TAG}` = '{stage}'" if stage else "")
    runs = client.search_runs([experiment], filter_string=wanted)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _bring_up(client: MlflowClient, run: Any, record: StageRecord) -> None:
    content = content_of(record)
    if run.data.tags.get(_WHOLE_TAG) == content:
        return
    log_params(client, run.info.run_id, record.params)
    log_points(client, run.info.run_id, points(record, run.info.start_time))
    finish(client, run.info.run_id, content)


def content_of(record: StageRecord) -> str:
    """The digest of a record: what a whole run's tag says it holds."""
    return digest_json(dataclasses.asdict(record))


def finish(client: MlflowClient, run: str, content: str) -> None:
    """Mark run (id) ``run`` as whole and finished, with the digest of the record it holds."""
    client.set_tag(run, _WHOLE_TAG, content)
    client.set_terminated(run)


def holds(run: Any, record: StageRecord) -> bool:
    """Whether ``run`` is marked as holding the whole ``record``."""
    return run.data.tags.get(_WHOLE_TAG) == content_of(record)


# A metric as MLflow keys it: name, value, timestamp in ms, step.
Row = tuple[str, float, int, int]


def points(record: StageRecord, start: int) -> list[Row]:
    """The rows of a record in a run that began at ``start`` (ms): first its curve, then its numbers.

    The files have no times; start time + row is the same on every pass, so MLflow recognises what it already has.
    """
    last = max((step for _, step, _ in record.curve), default=0)
    rows = [(metric_name(k), v, start + row, step) for row, (k, step, v) in enumerate(record.curve)]
    return rows + [(metric_name(k), v, start + len(record.curve), last) for k, v in record.metrics.items()]


def logged_points(client: MlflowClient, run: Any) -> set[Row]:
    """All rows that ``run`` holds."""
    found = (metric for name in run.data.metrics for metric in client.get_metric_history(run.info.run_id, name))
    return {(metric.key, metric.value, metric.timestamp, metric.step) for metric in found}


def log_points(client: MlflowClient, run: str, rows: Sequence[Row]) -> None:
    """Add ``rows`` to run (id) ``run``; those it has change nothing."""
    from mlflow.entities import Metric

    for at in range(0, len(rows), _METRICS_A_BATCH):
        batch = [Metric(name, value, time, step) for name, value, time, step in rows[at : at + _METRICS_A_BATCH]]
        client.log_batch(run, metrics=batch)


def log_params(client: MlflowClient, run: str, params: Mapping[str, str]) -> None:
    """Add ``params`` to run (id) ``run``, cut to MLflow's length."""
    from mlflow.entities import Param

    entities = [Param(metric_name(name), value[:_PARAM_LENGTH]) for name, value in params.items()]
    for at in range(0, len(entities), _PARAMS_A_BATCH):
        client.log_batch(run, params=entities[at : at + _PARAMS_A_BATCH])


def tag_run(client: MlflowClient, run: str, tags: Mapping[str, str]) -> None:
    """Set all ``tags`` of run (id) ``run`` in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])


def metric_name(name: str) -> str:
    """``name`` with what MLflow's names may not hold replaced."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


# --- taking over what was followed ------------------------------------------------------------------------------------


def _adopt(client: MlflowClient, experiment: str, live: str, key: str, records: Sequence[StageRecord]) -> None:
    """Make the runs of the live chain ``live`` those of chain ``key``; drop what isn't in ``records`` as it is there.

    Where ``key`` has its runs already, they hold the same and the live ones go. The chain's run comes last: until
    then, an adoption that was killed is found and gone on with.
    """
    found = runs_of(client, experiment, live)
    chains = [run for run in found if run.data.tags[STAGE_TAG] == CHAIN]
    if not chains:
        return
    there_already = bool(runs_of(client, experiment, key, CHAIN))
    by_name = {} if there_already else {record.name: record for record in records}
    for run in found:
        record = by_name.get(run.data.tags[STAGE_TAG])
        if run.data.tags[STAGE_TAG] == CHAIN:
            continue
        if record is not None and is_part_of(client, run, record):
            client.set_tag(run.info.run_id, CHAIN_TAG, key)
        else:
            client.delete_run(run.info.run_id)
    first, *surplus = chains
    for run in chains if there_already else surplus:
        client.delete_run(run.info.run_id)
    if not there_already:
        client.update_run(first.info.run_id, name=_run_name(key, CHAIN))
        tag_run(client, first.info.run_id, {CHAIN_TAG: key, LIVE_TAG: live})


def is_part_of(client: MlflowClient, run: Any, record: StageRecord) -> bool:
    """Whether all that ``run`` holds is in ``record``, so that bringing it up to the record makes no duplicate."""
    expected = set(points(record, run.info.start_time))
    given = {metric_name(name): value[:_PARAM_LENGTH] for name, value in record.params.items()}
    return run.data.params.items() <= given.items() and all(
        row in expected for row in logged_points(client, run) if not row[0].startswith(SYSTEM)
    )
