"""Faces over HTTP: `facet serve` with the trained model, one client and four, one face a request and sixteen."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from facet.artifacts import PIPELINE
from facet.diffusion.saving import load_pipeline
from facet.lifeline import die_with_parent
from facet.registry.mlflow_registry import Bundle, register
from facet.tracking.mlflow_mirror import connect, experiment_id

_SECONDS = 8.0
_PATIENCE = 120.0


def measure() -> dict[str, object]:
    """Seconds until the server answers, then latency and rates of each load, at the model's default steps."""
    with tempfile.TemporaryDirectory(prefix="facet-serving-") as scratch, _serving(Path(scratch)) as (port, seconds):
        _one_request(port, 1, 0)
        loads = {
            f"{faces} faces, {clients} clients": _load(port, faces, clients) for faces in (1, 16) for clients in (1, 4)
        }
    return {"start_s": round(seconds, 1), **loads}


def _load(port: int, faces: int, clients: int) -> dict[str, float]:
    """``clients`` ask one request after the other for _SECONDS."""
    begun = time.perf_counter()

    def client(number: int) -> list[float]:
        latencies = []
        while time.perf_counter() - begun < _SECONDS:
            latencies.append(_one_request(port, faces, 1000 * number + len(latencies)))
        return latencies

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        latencies = sorted(value for each in pool.map(client, range(clients)) for value in each)
    rate = len(latencies) / (time.perf_counter() - begun)
    return {
        "p50_s": round(statistics.median(latencies), 3),
        "p95_s": round(latencies[int(0.95 * (len(latencies) - 1))], 3),
        "requests_per_s": round(rate, 2),
        "faces_per_s": round(rate * faces, 1),
    }


def _one_request(port: int, faces: int, seed: int) -> float:
    """Seconds from the question to the last byte of the answer."""
    body = json.dumps({"dataframe_records": [{"Smiling": 1, "Male": -1}] * faces, "params": {"seed": seed}})
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    seconds = time.perf_counter() - started
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {content[:300].decode(errors='replace')}")
    return seconds


@contextlib.contextmanager
def _serving(root: Path) -> Iterator[tuple[int, float]]:
    """The trained pipeline, registered in a store of its own and served: the port, and the seconds it took to start."""
    uri = _registered(root)
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    command = [sys.executable, "-c", "from facet.cli import main; main()"]
    command += ["serve", "--name", "faces", "--alias", "staging", "--port", str(port)]
    started = time.perf_counter()
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, "MLFLOW_TRACKING_URI": uri},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
    try:
        while not _answers(port):
            if server.poll() is not None or time.perf_counter() - started > _PATIENCE:
                raise RuntimeError(f"facet serve did not start:\n{(root / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield port, time.perf_counter() - started
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


def _registered(root: Path) -> str:
    uri = f"sqlite:///{root}/mlflow.db"
    client, pipeline = connect(uri), load_pipeline(PIPELINE)
    experiment = experiment_id(client, "benchmark", root)
    bundle = Bundle.of(pipeline, PIPELINE, {})
    version, _ = register(client, experiment, client.create_run(experiment).info.run_id, "faces", bundle, {})
    client.set_registered_model_alias("faces", "staging", str(version))
    return uri


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
