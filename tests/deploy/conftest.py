"""The servers of deploy/compose.yaml, for real and on loopback; each starts when the first test asks for it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.compose import FOLDER, example, service
from tests.deploy.postgres import PASSWORD, Postgres, postgres
from tests.deploy.processes import BIN, answers, free_port, running
from tests.deploy.s3 import s3, s3_env

__all__ = ["s3", "s3_env"]


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        server.run_file(FOLDER / "databases.sql")
        yield server


@pytest.fixture(scope="session")
def buckets(s3, variables) -> list[str]:
    """The buckets of the deployment, made by its own init step."""
    _, script, *names = service("buckets", variables, {"/deploy": str(FOLDER)}).command
    done = subprocess.run(
        [sys.executable, script, *names], env={**os.environ, **s3.env}, check=True, capture_output=True
    )
    assert done.stdout.decode().splitlines() == [f"{name}: made" for name in names]
    return names


@pytest.fixture(scope="session")
def variables() -> dict[str, str]:
    """deploy/.env, filled in."""
    return {name: value or "testing" for name, value in example().items()} | {"POSTGRES_PASSWORD": PASSWORD}


@dataclasses.dataclass(frozen=True)
class Server:
    url: str
    # What a client must know, by the names compose.yaml gives the worker.
    env: dict[str, str]


@pytest.fixture(scope="session")
def mlflow_server(s3, database, buckets, variables, tmp_path_factory) -> Iterator[Server]:
    """MLflow as compose.yaml starts it: records in PostgreSQL, artifacts on S3."""
    addresses = {"postgres:5432": f"127.0.0.1:{database.port}", "http://s3:7070": s3.url}
    with _serving("mlflow", 5000, "/health", addresses, tmp_path_factory.mktemp("mlflow"), variables) as url:
        yield Server(url, {"MLFLOW_TRACKING_URI": url})


@pytest.fixture(scope="session")
def prefect_server(database, variables, tmp_path_factory) -> Iterator[Server]:
    """Prefect as compose.yaml starts it: PostgreSQL, a password, protection against forged requests."""
    home = tmp_path_factory.mktemp("prefect")
    addresses = {"postgres:5432": f"127.0.0.1:{database.port}"}
    with _serving("prefect", 4200, "/api/health", addresses, home, variables) as url:
        worker = service("worker", variables, {"http://prefect:4200": url}).env
        env = {name: worker[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
        yield Server(url, env | {"PREFECT_HOME": str(home / "client")})


@contextlib.contextmanager
def _serving(
    name: str, inner_port: int, health: str, addresses: dict[str, str], home: Path, variables
) -> Iterator[str]:
    """The Python service ``name`` of compose.yaml on a free port; ``home`` is what its container would call /tmp."""
    port = free_port()
    moved = {
        "0.0.0.0": "127.0.0.1",
        f"--port={inner_port}": f"--port={port}",
        f"127.0.0.1:{inner_port}/": f"127.0.0.1:{port}/",
        "/tmp": str(home),
    }
    started = service(name, variables, addresses | moved)
    url = f"http://127.0.0.1:{port}"
    command = [str(BIN / started.command[0]), *started.command[1:]]
    with running(command, lambda: answers(url + health), home / "log", env=started.env):
        yield url
