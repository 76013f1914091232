"""deploy/compose.yaml as data: variables filled in, and a service's command and environment moved to loopback."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.contracts.closure import ROOT

FOLDER = ROOT / "deploy"
# ${NAME}, ${NAME:-default} or ${NAME:?what to do}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[-?])(?P<word>[^}]*))?\}")
RAW: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())


def example() -> dict[str, str]:
    """The variables of .env.example and their values."""
    lines = (FOLDER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def fill_in(node: Any, variables: Mapping[str, str]) -> Any:
    """``node`` with its variables replaced as compose does it. Raises KeyError where one that must be set is empty."""
    if isinstance(node, dict):
        return {key: fill_in(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [fill_in(value, variables) for value in node]
    return VARIABLE.sub(lambda found: _value(found, variables), node) if isinstance(node, str) else node


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    value = variables.get(found["name"], "")
    if not value and found["how"] == "?":
        raise KeyError(found["word"])
    return value or (found["word"] if found["how"] == "-" else "")


@dataclasses.dataclass(frozen=True)
class Service:
    """A service as it can run here: what its container would execute, with other hosts' addresses replaced."""

    command: list[str]
    env: dict[str, str]


def service(name: str, variables: Mapping[str, str], addresses: Mapping[str, str]) -> Service:
    """Service ``name``; ``addresses`` maps what stands in the file (``postgres:5432``) to what holds here."""
    filled = fill_in(RAW["services"][name], variables)

    def here(text: str) -> str:
        for there, local in addresses.items():
            text = text.replace(there, local)
        return text

    command = [here(word) for word in filled["command"]]
    return Service(command, {key: here(value) for key, value in filled["environment"].items()})
