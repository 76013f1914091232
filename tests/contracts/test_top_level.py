"""The names people rely on exist, and no file grows beyond what can be read in one sitting."""

from __future__ import annotations

import os

import pytest

from tests.contracts.closure import ROOT

FIXED = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "Dockerfile",
    "pyproject.toml",
    "requirements.lock",
    "requirements-gpu.lock",
    "requirements-bootstrap.lock",
    "params.yaml",
    "dvc.yaml",
    "dvc.lock",
    "data.dvc",
    ".dvcignore",
    ".dvc/config",
    ".ci/run",
    ".pre-commit-config.yaml",
    ".github/workflows/ci.yml",
    "presets/",
    "sample/",
    "flows/",
    "src/facet/",
    "tests/",
    "benchmarks/",
]
LONGEST = 400
SAYS_NOTHING = {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_name_exists(name: str):
    path = ROOT / name
    assert path.is_dir() if name.endswith("/") else path.is_file()


def test_ci_can_be_run():
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("folder", ["src", "flows", "benchmarks"])
def test_no_file_is_too_long(folder: str):
    lengths = {path: len(path.read_bytes().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert not {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > LONGEST}


@pytest.mark.parametrize("folder", ["src", "flows", "benchmarks", "tests"])
def test_every_module_has_a_name_that_says_what_it_holds(folder: str):
    parts = {part.removesuffix(".py") for path in (ROOT / folder).rglob("*.py") for part in path.parts}
    assert not parts & SAYS_NOTHING


def test_the_version_is_written_once():
    """A version constant in the package would change every step's code, and so rerun every step, at each release."""
    assert "__version__" not in (ROOT / "src/facet/__init__.py").read_text()


def test_both_locks_differ_in_torch_alone():
    cpu, gpu = (_pins(name) for name in ("requirements.lock", "requirements-gpu.lock"))
    assert cpu["torch"] == gpu["torch"] + "+cpu"
    assert {name for name in cpu if name.startswith(("nvidia", "cuda", "triton"))} == set()
    assert {name: pin for name, pin in cpu.items() if name != "torch" and gpu.get(name) != pin} == {}
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in gpu.keys() - cpu.keys())


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-gpu.lock", "requirements-bootstrap.lock"])
def test_a_lock_names_no_machine_and_no_host(name: str):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert " /" not in text
    assert all("--hash=sha256:" in block for block in text.split("\n") if block.startswith("    --"))
    assert _pins(name)


def _pins(lock: str) -> dict[str, str]:
    heads = [line.split(" ")[0] for line in (ROOT / lock).read_text().splitlines() if line[:1].isalnum()]
    return dict(head.split("==") for head in heads)
