"""Reading, comparing and showing records starts in no time: it imports no torch. What does need it, finds it whole."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.contracts.closure import ROOT

LIGHT = ["compare", "comparison", "page", "scores", "summary"]
HEAVY = {"accelerate", "diffusers", "torch_fidelity", "torchvision", "transformers"}


def test_records_are_compared_without_torch():
    code = "import sys\n" + "".join(f"import facet.evaluation.{name}\n" for name in LIGHT)
    code += "assert not {'torch', 'diffusers', 'scipy', 'pandas', 'mlflow'} & set(sys.modules), 'something heavy'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["features", "fidelity", "foreign"])
def test_a_heavy_module_imports_by_itself(name: str):
    code = f"import facet.evaluation.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "src/facet/evaluation").glob("*.py")), ids=lambda path: path.stem)
def test_what_probes_for_torchvision_is_imported_after_the_declaration(path):
    # At a module's top the libraries would come before anything of facet, so before what makes torchvision import.
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found = {name.partition(".")[0] for name in names} & HEAVY
        assert not found, f"line {node.lineno}: import {found} below `declare_missing()`, as fidelity.py does"
