"""Importing any module of facet changes nothing: no file, no variable, no global state, no word on the terminal.

One child interpreter, in an empty read-only folder and with next to no environment, first runs the imports from other
packages that stand at the top of facet's modules. It then forks once for each module of facet, so that each is imported
as if it were the first, and compares what was before with what is after. Files are watched from the very start: what a
module pulls in at its top may not write either.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.closure import ROOT, Sources

# mlflow writes a telemetry file as it is imported, unless it is told not to; the Makefile and the image tell it.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the child forks")

CHILD = r"""
import importlib, importlib.util, json, logging, os, pathlib, random, signal, sys, threading, traceback

modules, foreign, src = json.load(sys.stdin)
sys.path.insert(0, src)
here = pathlib.Path.cwd()


def files():
    return sorted(str(p) for top in (here, pathlib.Path(os.environ["HOME"])) for p in top.rglob("*"))


written = files()
import numpy, torch
shim = pathlib.Path(src, "facet/torchvision_ops.py")
if shim.exists():  # a copy, so that the module itself stays to be imported
    spec = importlib.util.spec_from_file_location("copy_of_torchvision_ops", shim)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    copy.declare_missing()
for statement in foreign:
    exec(statement, {})


def state():
    root = logging.getLogger()
    return {
        "files": files(),
        "environment": dict(os.environ),
        "working folder": os.getcwd(),
        "signal handlers": {s.name: repr(signal.getsignal(s)) for s in signal.Signals},
        "root logger": (root.level, [repr(h) for h in root.handlers], logging.root.manager.disable),
        "threads": sorted(t.name for t in threading.enumerate()),
        "umask": (lambda mask: (os.umask(mask), mask)[1])(os.umask(0)),
        "sys.path": list(sys.path),
        "excepthook": repr(sys.excepthook),
        "random state": hash(random.getstate()),
        "numpy random state": str(numpy.random.get_state()),
        "numpy error handling": numpy.geterr(),
        "torch dtype": str(torch.get_default_dtype()),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch random state": torch.random.get_rng_state().tolist(),
        "torch gradients": torch.is_grad_enabled(),
        "torch determinism": (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.get_float32_matmul_precision(),
        ),
    }


def effects(name):
    before = state()
    importlib.import_module(name)
    after = state()
    return [f"{what}: {before[what]!r} became {after[what]!r}"[:600] for what in before if before[what] != after[what]]


found = {"other packages": [f"wrote {path}" for path in files() if path not in written]}
for name in modules:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        said, says = os.pipe()
        os.dup2(says, 1), os.dup2(says, 2), os.close(says)
        try:
            problems = effects(name)
        except BaseException:
            problems = [traceback.format_exc()]
        sys.stdout.flush(), sys.stderr.flush()
        os.close(1), os.close(2)
        words = os.read(said, 2000)
        if words:
            problems.append(f"said {words!r}")
        os.write(writes, json.dumps(problems).encode()[:60000])
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        found[name] = json.loads(pipe.read() or b'["died"]')
    os.waitpid(child, 0)
json.dump(found, sys.stdout)
"""


def test_imports_have_no_effects(tmp_path: Path):
    sources = Sources(ROOT / "src")
    found = _import_each(tmp_path, sorted(sources.files), sorted(_foreign(sources)), ROOT / "src")
    assert found.keys() - {"other packages"} == set(sources.files)
    assert sources.files, "no module was found, so nothing was tested"
    effects = {name: problems for name, problems in found.items() if problems}
    assert not effects, json.dumps(effects, indent=2)


EFFECTS = {
    "files": "import os; open(os.environ['HOME'] + '/left_behind', 'w').close()",
    "environment": "import os; os.environ['FACET'] = '1'",
    "working folder": "import os; os.chdir('/')",
    "torch random state": "import torch; torch.manual_seed(0)",
    "torch threads": "import torch; torch.set_num_threads(torch.get_num_threads() + 1)",
    "root logger": "import logging; logging.basicConfig()",
    "signal handlers": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "said": "print('hello')",
    "ModuleNotFoundError": "import no_such_package",
    "(none)": "import math",
}


@pytest.fixture(scope="module")
def effects_found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    tmp_path = tmp_path_factory.mktemp("effects")
    (tmp_path / "src/facet").mkdir(parents=True)
    (tmp_path / "src/facet/__init__.py").touch()
    names = {effect: f"facet.module{number}" for number, effect in enumerate(EFFECTS)}
    for effect, name in names.items():
        (tmp_path / "src" / f"{name.replace('.', '/')}.py").write_text(EFFECTS[effect])
    found = _import_each(tmp_path, sorted(names.values()), [], tmp_path / "src")
    return {effect: found[name] for effect, name in names.items()}


@pytest.mark.parametrize("effect", [effect for effect in EFFECTS if effect != "(none)"])
def test_an_effect_is_noticed(effects_found: dict[str, list[str]], effect: str):
    assert any(effect in problem for problem in effects_found[effect])


def test_a_quiet_module_passes(effects_found: dict[str, list[str]]):
    assert effects_found["(none)"] == []


def _import_each(tmp_path: Path, modules: list[str], foreign: list[str], src: Path) -> dict[str, list[str]]:
    empty, home = tmp_path / "empty", tmp_path / "home"
    home.mkdir()
    empty.mkdir()
    empty.chmod(0o555)  # root may write all the same, and is found out by the list of files
    done = subprocess.run(
        [sys.executable, "-B", "-c", CHILD],
        input=json.dumps([modules, foreign, str(src)]),
        cwd=empty,
        env={"HOME": str(home), "PATH": os.defpath, "LANG": "C.UTF-8"} | QUIET,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _foreign(sources: Sources) -> set[str]:
    """The import statements at the top of facet's modules, so run before any function is called, that name others."""
    found: set[str] = set()
    for path in sources.files.values():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.Import(names=[ast.alias(name=name), *_]) | ast.ImportFrom(module=str(name), level=0):
                    if name.partition(".")[0] not in {"facet", "__future__"}:
                        found.add(ast.unparse(node))
    return found
