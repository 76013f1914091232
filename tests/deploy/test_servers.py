"""The servers of deploy/compose.yaml as real processes: started with its commands and variables, and used."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.deploy.compose import service
from tests.deploy.processes import BIN, answers, free_port, running
from tests.registry import test_register as registering

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280), pytest.mark.filterwarnings("ignore")]

# A folder as the chain leaves it before `register`.
one_thread, checkout, here = registering.one_thread, registering.checkout, registering.here


def status(url: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> int:
    """The status of a request with exactly these headers, ``Host`` included."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse().status
    connection.close()
    return answer


SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


@pytest.mark.parametrize("host", ["mlflow", "mlflow:5000", "localhost", "localhost:5000", "127.0.0.1:15000"])
def test_mlflow_answers_to_the_names_it_is_called_by(mlflow_server, host):
    assert status(mlflow_server.url, SEARCH, Host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "mlflow.evil.example", "mlflow:80"])
def test_mlflow_answers_to_no_other_name(mlflow_server, host):
    assert status(mlflow_server.url, SEARCH, Host=host) == 403


@pytest.mark.parametrize(("origin", "expected"), [("http://localhost:5000", 200), ("http://evil.example", 403)])
def test_a_foreign_page_cannot_write_to_mlflow(mlflow_server, origin, expected):
    body = json.dumps({"max_results": 1}).encode()
    headers = {"Host": "mlflow:5000", "Origin": origin, "Content-Type": "application/json"}
    path = "/api/2.0/mlflow/experiments/search"
    assert status(mlflow_server.url, path, "POST", body, **headers) == expected


def test_a_model_is_registered_with_records_in_postgresql_and_artifacts_on_s3(
    mlflow_server,
    s3,
    database,
    here,
    tmp_path,
    monkeypatch,
):
    import mlflow

    from facet.artifacts import digest_folder
    from facet.registry.publication import publish
    from facet.tracking.mlflow_mirror import connect, tracking_uri

    # The client has no key of the bucket: the server is the one that writes there.
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    made = publish(registering.tiny_pipeline(), registering.params("deployed"))
    assert (made.version, made.created) == (1, True)

    tag = "SELECT value FROM model_version_tags WHERE name = 'deployed' AND key = 'facet.digest'"
    assert database.run(tag, "mlflow") == made.record["digest"]
    assert any(
        key.endswith("artifacts/pipeline/unet/diffusion_pytorch_model.safetensors") for key in s3.keys("facet-mlflow")
    )

    (version,) = connect(tracking_uri()).search_model_versions("name = 'deployed'")
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/deployed/{version.version}", dst_path=str(tmp_path)))
    assert digest_folder(folder / "artifacts/pipeline") == made.record["digest"]
    assert publish(registering.tiny_pipeline(), registering.params("deployed")).created is False


FLOW = """
from prefect import flow

@flow
def greet(name: str):
    return "hello " + name

assert greet("postgres") == "hello postgres"
"""


def test_a_flow_run_ends_up_in_postgresql(prefect_server, database, tmp_path):
    script = tmp_path / "greet.py"
    script.write_text(FLOW)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **prefect_server.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert database.run("SELECT state_type FROM flow_run", "prefect") == "COMPLETED"
    assert database.run("SELECT extname FROM pg_extension WHERE extname = 'pg_trgm'", "prefect") == "pg_trgm"


def test_the_worker_of_the_compose_file_logs_in_and_makes_its_pool(prefect_server, database, variables, tmp_path):
    port = free_port()
    started = service("worker", variables, {})
    env = started.env | prefect_server.env | {"PREFECT_WORKER_WEBSERVER_PORT": str(port)}
    command = [str(BIN / started.command[0]), *started.command[1:]]

    def online() -> bool:
        pools = database.run(
            "SELECT p.name, p.type, w.name FROM work_pool p JOIN worker w ON w.work_pool_id = p.id", "prefect"
        )
        return pools == "gpu|process|gpu-runner"

    with running(command, online, tmp_path / "log", env=env):
        assert answers(f"http://127.0.0.1:{port}/health")


def test_prefect_wants_its_password_and_its_health_does_not(prefect_server):
    assert status(prefect_server.url, "/api/admin/version") == 401
    assert status(prefect_server.url, "/api/health") == 200
