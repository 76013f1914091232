"""What can be held of the Dockerfile without a container engine: it is read, not built."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from tests.contracts.closure import ROOT

TEXT = (ROOT / "Dockerfile").read_text()
LINES = re.sub(r"\\\n", " ", "\n".join(line for line in TEXT.splitlines() if not line.lstrip().startswith("#")))
INSTRUCTIONS = [tuple(line.split(None, 1)) for line in LINES.splitlines() if line.strip()]
FINAL = INSTRUCTIONS[max(i for i, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]
IGNORE = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def _arguments(word: str, instructions: list[tuple[str, str]] = INSTRUCTIONS) -> list[str]:
    return [rest for name, rest in instructions if name == word]


def _copied() -> list[str]:
    paths = []
    for rest in _arguments("COPY"):
        words = rest.split()
        if not any(word.startswith("--from=") for word in words):
            paths += [word for word in words if not word.startswith("--")][:-1]
    return paths


@pytest.mark.parametrize("path", sorted(set(_copied())))
def test_what_is_copied_exists_and_is_not_ignored(path: str):
    assert (ROOT / path).exists()
    assert f"!{path}" in IGNORE
    assert not any(fnmatch(path, pattern) for pattern in IGNORE if not pattern.startswith("!") and pattern != "*")


def test_two_stages_on_bases_with_exact_tags():
    bases = _arguments("FROM")
    assert len(bases) == 2
    for base in bases:
        assert re.match(r"\S+:\d+\.\d+\.\d+\S* AS \w+$", base), f"{base} is not pinned to a version and named"
    assert "latest" not in LINES


def test_the_image_runs_as_a_fixed_user_that_is_not_root():
    users = _arguments("USER", FINAL)
    assert users, "the final stage sets no user, so it runs as root"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    assert f"--uid {users[-1].split(':')[0]} " in LINES


def test_everything_installed_is_checked_by_hash():
    installs = [
        command
        for rest in _arguments("RUN")
        for command in rest.split("&&")
        if re.search(r"\bpip (install|sync)\b", command)
    ]
    assert len(installs) == 3
    assert all("--require-hashes" in command or "--no-deps --no-build-isolation" in command for command in installs)
    assert any("requirements-gpu.lock" in command for command in installs)


def test_the_final_stage_has_no_compilers_and_installs_no_python_packages():
    commands = " ".join(_arguments("RUN", FINAL))
    assert not re.search(r"\b(gcc|g\+\+|build-essential|clang|make|pip|uv)\b", commands)


def test_health_cache_and_telemetry_are_set():
    assert len(_arguments("HEALTHCHECK", FINAL)) == 1
    environment = " ".join(_arguments("ENV", FINAL))
    assert "DVC_SITE_CACHE_DIR=/" in environment
    for silence in re.findall(
        r"export (\w*(?:TRACK|TELEMETRY|ANALYTICS)\w*) := (\w+)", (ROOT / "Makefile").read_text()
    ):
        assert "=".join(silence) in environment
