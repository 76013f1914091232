"""The layers of ARCHITECTURE.md hold, and facet imports no package that pyproject.toml does not name."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib

from tests.contracts.closure import ROOT, Sources


def test_layers():
    """import-linter, with the contracts of pyproject.toml."""
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout, done.stdout


def test_every_package_imported_is_declared():
    """A package that only comes along with another one leaves with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["pipeline"]
    declared = {_normal(re.match(r"[\w.-]+", line)[0]) for line in lines}
    owners = importlib.metadata.packages_distributions()
    undeclared = {}
    for module, path in Sources(ROOT / "src").files.items():
        for name in imported_packages(ast.parse(path.read_text(encoding="utf-8"))):
            if not {_normal(owner) for owner in owners.get(name, [])} & declared:
                undeclared.setdefault(name, []).append(module)
    assert not undeclared


def imported_packages(tree: ast.AST) -> set[str]:
    """The top-level packages that are neither facet's nor Python's own."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found.update(alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(name), level=0):
                found.add(name.partition(".")[0])
    return found - sys.stdlib_module_names - {"facet"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
