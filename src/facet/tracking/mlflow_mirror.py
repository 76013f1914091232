"""An idempotent copy of what the steps wrote into MLflow: one run for the chain, one below it for each step.

Steps never talk to MLflow. They leave params, metrics and curves in files; this reads the files and brings MLflow up
to them. Runs are found again by their tags and metrics carry reproducible timestamps, so mirroring twice, mirroring
after a kill, or two mirrors at once leave what one mirror leaves.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import json
import logging
import math
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

from facet.artifacts import CURVES, METRICS, digest_json, flatten, read_json
from facet.errors import ArtifactError, FacetError, RegistryError, UnreachableError
from facet.params import DEFAULT_PATH, load_yaml

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAIN_TAG = "facet.chain"
STAGE_TAG = "facet.stage"
_WHOLE_TAG = "facet.mirrored"
_CHAIN = "chain"

# MLflow's own limits for one log_batch call.
_METRICS_A_BATCH = 1000
_PARAMS_A_BATCH = 100
_PARAM_LENGTH = 6000


# --- what there is to mirror ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """What a step left in files: flat params, flat numbers, and curves as (name, step, value) in the file's order."""

    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    curve: tuple[tuple[str, int, float], ...] = ()


def read_records(
    params: Path = DEFAULT_PATH, metrics: Path = METRICS, curves: Path = CURVES, leave_out: Sequence[str] = ()
) -> list[StageRecord]:
    """One record for each section of ``params`` and each file in ``metrics`` and ``curves``, in params.yaml's order."""
    content = load_yaml(params)
    sections = {name: section for name, section in content.items() if isinstance(section, Mapping)}
    written = sorted({p.stem for p in [*metrics.glob("*.json"), *curves.glob("*.csv")]} - set(sections))
    return [
        StageRecord(
            name=name,
            params={key: _text(value) for key, value in flatten(sections.get(name, {})).items()},
            metrics=_numbers(metrics / f"{name}.json"),
            curve=read_curve(curves / f"{name}.csv"),
        )
        for name in [*sections, *written]
        if name not in leave_out
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _numbers(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    flat = flatten(read_json(path))
    return {k: float(v) for k, v in flat.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def read_curve(path: Path) -> tuple[tuple[str, int, float], ...]:
    """A curve file (first column ``step``, then one column a value) as (name, step, value); blanks and NaN left out."""
    if not path.exists():
        return ()
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        points = [(k, int(float(row["step"])), float(v)) for row in rows for k, v in row.items() if k != "step" and v]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is not a curve ({error!r}): delete it and run `dvc repro`.") from None
    return tuple(point for point in points if math.isfinite(point[2]))


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
        # SQL drivers, HTTP clients and object stores each raise families of their own through MLflow.
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


def mirror(client: MlflowClient, experiment: str, key: str, records: Sequence[StageRecord], headline: str) -> str:
    """Bring the runs of chain ``key`` in experiment (id) ``experiment`` up to ``records``; return the chain run's id.

    The chain's run holds the params of all steps and the metrics of step ``headline``, the steps' runs their own
    params, metrics and curves. The same ``key`` always finds the same runs.
    """
    chain = find_or_create_run(client, experiment, key, _CHAIN)
    summary = StageRecord(
        name=_CHAIN,
        params={f"{r.name}.{k}": v for r in records for k, v in r.params.items()},
        metrics=next((r.metrics for r in records if r.name == headline), {}),
    )
    for record in records:
        run = find_or_create_run(client, experiment, key, record.name, parent=chain.info.run_id)
        _bring_up(client, run, record)
    _bring_up(client, chain, summary)
    return chain.info.run_id


def find_or_create_run(client: MlflowClient, experiment: str, key: str, stage: str, parent: str | None = None) -> Any:
    """The one run with these tags. MLflow can't refuse a second one, so mirrors of one host take turns here, and what
    mirrors of two hosts made at once is brought back to the oldest by whoever looks next."""
    with alone_at(client.tracking_uri):
        found = _runs(client, experiment, key, stage)
        if not found:
            tags = {CHAIN_TAG: key, STAGE_TAG: stage} | ({"mlflow.parentRunId": parent} if parent else {})
            name = f"{stage}-{key[:8]}" if parent is None else stage
            client.create_run(experiment, run_name=name, tags=tags)
            found = _runs(client, experiment, key, stage)
    keep, *surplus = found
    for run in surplus:
        client.delete_run(run.info.run_id)
    return keep


def _runs(client: MlflowClient, experiment: str, key: str, stage: str) -> list[Any]:
    wanted = f"tags.`{CHAIN_TAG}` = '{key}' and tags.`{STAGE_TAG}` = '{stage}'"
    runs = client.search_runs([experiment], filter_string=wanted)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _bring_up(client: MlflowClient, run: Any, record: StageRecord) -> None:
    content = digest_json(dataclasses.asdict(record))
    if run.data.tags.get(_WHOLE_TAG) == content:
        return
    from mlflow.entities import Metric, Param

    # The file has no times; start time + row is the same on every pass, so MLflow recognises what it already has.
    start = run.info.start_time
    last = max((step for _, step, _ in record.curve), default=0)
    metrics = [Metric(metric_name(k), v, start + row, step) for row, (k, step, v) in enumerate(record.curve)]
    metrics += [Metric(metric_name(k), v, start + len(record.curve), last) for k, v in record.metrics.items()]
    params = [Param(metric_name(k), v[:_PARAM_LENGTH]) for k, v in record.params.items()]
    for at in range(0, len(params), _PARAMS_A_BATCH):
        client.log_batch(run.info.run_id, params=params[at : at + _PARAMS_A_BATCH])
    for at in range(0, len(metrics), _METRICS_A_BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[at : at + _METRICS_A_BATCH])
    client.set_tag(run.info.run_id, _WHOLE_TAG, content)
    client.set_terminated(run.info.run_id)


def tag_run(client: MlflowClient, run: str, tags: Mapping[str, str]) -> None:
    """Set all ``tags`` of run (id) ``run`` in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])


def metric_name(name: str) -> str:
    """``name`` with what MLflow's names may not hold replaced."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]
