"""From an alias to a running scoring server: which version it names, and the program that serves it."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from pathlib import Path

from facet.errors import RegistryError, did_you_mean
from facet.registry.transaction import alias_name
from facet.tracking.mlflow_mirror import connect, mlflow_errors_named, place, tracking_uri

# Seconds for one request, those before it included; MLflow's own 60 are short for a CPU with a queue.
DEFAULT_TIMEOUT = 120


@dataclasses.dataclass(frozen=True)
class Served:
    """What is to be served where."""

    model: str
    version: int
    alias: str
    uri: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where requests go."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/invocations"


def resolve(model: str, alias: str, host: str, port: int) -> Served:
    """The version that ``alias`` names now. Raises RegistryError where there is none, or where ``port`` is taken."""
    alias, uri = alias_name(alias), tracking_uri()
    client = connect(uri)
    with mlflow_errors_named(uri, "nothing is served"):
        found = client.search_registered_models(f"name = '{model}'")
        aliases = {name: int(version) for name, version in found[0].aliases.items()} if found else {}
    if not found:
        raise RegistryError(f"MLflow at {place(uri)} has no model {model!r}: register it with `dvc repro`.")
    if alias not in aliases:
        there = ", ".join(f"{name} (version {version})" for name, version in sorted(aliases.items()))
        raise RegistryError(
            f"{model} has no alias {alias!r}, {f'only {there}' if there else 'nor any other'}:"
            f"{did_you_mean(alias, aliases)} `facet promote latest --to {alias}` gives it to the latest version."
        )
    _check_port(host, port)
    return Served(model, aliases[alias], alias, uri, host, port)


def _check_port(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            asked.bind(address)
    except OSError as error:
        raise RegistryError(
            f"can't listen on {host} port {port} ({error.strerror}): choose others with --host, --port."
        ) from None


def become_server(served: Served, timeout: int = DEFAULT_TIMEOUT) -> None:
    """Replace this process by the scoring server; a signal then reaches the server itself. Does not return."""
    # -P: this folder's modules must not stand in for the libraries'.
    program = [sys.executable, "-P", str(Path(__file__).with_name("scoring_program.py"))]
    arguments = [f"models:/{served.model}/{served.version}", "--host", served.host, "--port", str(served.port)]
    os.execve(program[0], [*program, *arguments], environment(served, timeout))


def environment(served: Served, timeout: int) -> dict[str, str]:
    """The server's environment: its registry, no pickles, no telemetry, and threads that sleep while they wait."""
    quiet = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {
        **quiet,
        **os.environ,
        "MLFLOW_TRACKING_URI": served.uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(timeout),
    }
