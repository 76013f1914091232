"""What the registry holds, a line a version, for `facet models`."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from facet.artifacts import flatten
from facet.registry.facts import read_facts
from facet.registry.gate import Policy
from facet.registry.mlflow_registry import OVERRIDE_TAG
from facet.registry.transaction import Registry


@dataclasses.dataclass(frozen=True)
class Listed:
    """One version as it is listed."""

    version: int
    aliases: tuple[str, ...]
    # Name -> value, for each score that the policy names; None where it was not measured.
    scores: dict[str, float | None]
    # UTC, ISO 8601.
    registered: str
    age_s: float
    # Digest of the prepared faces, and by which DVC pins the raw ones.
    data: str | None
    raw_data: str | None
    digest: str | None
    commit: str | None
    # Alias -> why a person overrode the gate.
    overrides: dict[str, str]


def listing(registry: Registry, policy: Policy) -> list[Listed]:
    """All versions, newest first. Raises RegistryError where there is none."""
    now = datetime.datetime.now(datetime.UTC)
    aliases = registry.aliases()
    return [
        _listed(registry, policy, version, tuple(sorted(a for a, at in aliases.items() if at == number)), now)
        for number, version in sorted(registry.versions().items(), reverse=True)
    ]


def _listed(
    registry: Registry, policy: Policy, version: Any, aliases: tuple[str, ...], now: datetime.datetime
) -> Listed:
    scores = flatten(read_facts(registry.client, version, "", records=("evaluation",)).evaluation or {})
    made = datetime.datetime.fromtimestamp(version.creation_timestamp / 1000, datetime.UTC)
    tags = version.tags
    return Listed(
        version=int(version.version),
        aliases=aliases,
        scores={limit.name: scores.get(limit.name) for limit in policy.scores},
        registered=made.isoformat(timespec="seconds"),
        age_s=round((now - made).total_seconds(), 1),
        data=tags.get("facet.faces_digest"),
        raw_data=tags.get("facet.data.raw_md5"),
        digest=tags.get("facet.digest"),
        commit=tags.get("facet.git.commit"),
        overrides={
            key.removeprefix(f"{OVERRIDE_TAG}."): value
            for key, value in sorted(tags.items())
            if key.startswith(f"{OVERRIDE_TAG}.")
        },
    )
