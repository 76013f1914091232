"""What can be held of the two Dockerfiles without a container engine: they are read, not built."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.contracts.closure import ROOT

# Each with the folder-wide rules of what its build may see.
IGNORES = {"Dockerfile": ".dockerignore", "deploy/servers.Dockerfile": "deploy/servers.Dockerfile.dockerignore"}


class Dockerfile:
    """A Dockerfile as instructions: (word, arguments), continued lines joined and comments gone."""

    def __init__(self, name: str):
        self.path = ROOT / name
        lines = [line for line in self.path.read_text().splitlines() if not line.lstrip().startswith("#")]
        joined = re.sub(r"\\\n", " ", "\n".join(lines))
        self.instructions = [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]
        self.final = self.instructions[max(i for i, (word, _) in enumerate(self.instructions) if word == "FROM") :]
        ignore = (ROOT / IGNORES[name]).read_text().splitlines()
        self.ignore = [line for line in ignore if line and not line.startswith("#")]

    def all(self, word: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == word]

    def last(self, word: str) -> list[str]:
        """The arguments of ``word`` in the final stage."""
        return [rest for name, rest in self.final if name == word]

    def copied(self) -> list[str]:
        paths = []
        for rest in self.all("COPY"):
            words = rest.split()
            if not any(word.startswith("--from=") for word in words):
                paths += [word for word in words if not word.startswith("--")][:-1]
        return paths


@pytest.fixture(params=IGNORES)
def dockerfile(request) -> Dockerfile:
    return Dockerfile(request.param)


def test_hadolint_has_nothing_to_say(dockerfile):
    """Exemptions stand in the file, each with its reason above it."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "hadolint"),
            "--failure-threshold",
            "info",
            "--no-color",
            str(dockerfile.path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    lines = dockerfile.path.read_text().splitlines()
    assert all(lines[i - 1].startswith("# ") for i, line in enumerate(lines) if line.startswith("# hadolint ignore="))


def test_what_is_copied_exists_and_is_not_ignored(dockerfile):
    for path in dockerfile.copied():
        assert (ROOT / path).exists(), path
        assert f"!{path}" in dockerfile.ignore
        patterns = [pattern for pattern in dockerfile.ignore if not pattern.startswith("!") and pattern != "*"]
        assert not any(fnmatch(path, pattern) for pattern in patterns)


def test_the_gpu_runner_has_what_dvc_and_prefect_read():
    """All that stands at the top of the repository for them; prefect.yaml is where a worker's deployments come from."""
    needed = {"dvc.yaml", "dvc.lock", "data.dvc", "params.yaml", ".dvc/config", "flows/", "src/", "presets/"}
    needed |= {name for name in ("prefect.yaml",) if (ROOT / name).exists()}
    assert needed <= {*Dockerfile("Dockerfile").copied()}


def test_two_stages_on_bases_with_exact_tags(dockerfile):
    bases = dockerfile.all("FROM")
    assert len(bases) == 2
    for base in bases:
        assert re.match(r"\S+:\d+\.\d+\.\d+\S* AS \w+$", base), f"{base} is not pinned to a version and named"


def test_both_images_stand_on_one_base():
    bases = {base.split()[0] for name in IGNORES for base in Dockerfile(name).all("FROM")}
    assert len(bases) == 1


def test_the_image_runs_as_a_fixed_user_that_is_not_root(dockerfile):
    users = dockerfile.last("USER")
    assert users, "the final stage sets no user, so it runs as root"
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_the_user_of_the_gpu_runner_has_a_name():
    dockerfile = Dockerfile("Dockerfile")
    assert any(f"--uid {dockerfile.last('USER')[-1].split(':')[0]} " in command for command in dockerfile.last("RUN"))


def test_everything_installed_is_checked_by_hash(dockerfile):
    installs = [
        command
        for rest in dockerfile.all("RUN")
        for command in rest.split("&&")
        if re.search(r"\bpip (install|sync)\b", command)
    ]
    assert len(installs) >= 2
    assert all("--require-hashes" in command or "--no-deps --no-build-isolation" in command for command in installs)
    locks = {word for command in installs for word in command.split() if word.endswith(".lock")}
    assert locks <= {Path(path).name for path in dockerfile.copied()}
    assert len(locks) == 2


def test_the_final_stage_has_no_compilers_and_installs_no_python_packages(dockerfile):
    assert not re.search(r"\b(gcc|g\+\+|build-essential|clang|make|pip|uv)\b", " ".join(dockerfile.last("RUN")))


def test_health_and_silence_are_set(dockerfile):
    assert len(dockerfile.last("HEALTHCHECK")) == 1
    environment = " ".join(dockerfile.last("ENV"))
    for silence in re.findall(
        r"export (\w*(?:TRACK|TELEMETRY|ANALYTICS)\w*) := (\w+)", (ROOT / "Makefile").read_text()
    ):
        assert "=".join(silence) in environment


def test_dvc_keeps_its_site_cache_where_the_user_may_write():
    assert "DVC_SITE_CACHE_DIR=/" in " ".join(Dockerfile("Dockerfile").last("ENV"))
