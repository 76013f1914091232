"""The code deps of each step in dvc.yaml are exactly what the step imports, file by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.closure import ROOT, ClosureError, Sources, differences, steps, write

# --- the rule, on the project itself ----------------------------------------------------------------------------------


def test_deps_equal_imports():
    wrong = differences(ROOT)
    assert not wrong, f"`python -m tests.contracts.closure --write` mends dvc.yaml; (missing, too many): {wrong}"


def test_every_step_and_its_file_share_a_name():
    found = steps(ROOT / "dvc.yaml")
    assert {step.name for step in found} == {step.module for step in found}
    files = {path.stem for path in (ROOT / "src/facet/stages").glob("*.py") if path.stem != "__init__"}
    assert {step.module for step in found} == {name for name in files if not name.startswith("_")}


def test_no_data_file_is_left_out_of_every_module():
    """A template that no module names in a string would be invisible to every step's deps."""
    sources = Sources(ROOT / "src")
    named = set().union(*(sources.data_files(path) for path in sources.files.values()))
    lost = {
        path
        for path in (ROOT / "src/facet").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != "py.typed"
    } - named
    assert not lost


# --- the tool, on a made-up project -----------------------------------------------------------------------------------

TREE = {
    "__init__.py": "",
    "errors.py": "",
    "seeding.py": "from . import errors",
    "typed.py": "import nothing_there",
    "stages/__init__.py": "",
    "stages/draw.py": (
        "from facet.models import net\nimport numpy\n\ndef main():\n    from facet.data.faces import crop\n"
    ),
    "stages/score.py": "import facet.report.page as page\n",
    "models/__init__.py": "from facet.errors import FacetError\n",
    "models/net.py": (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from facet import typed\nelse:\n    from .. import seeding\n"
    ),
    "models/unused.py": "",
    "data/__init__.py": "",
    "data/faces.py": "",
    "report/__init__.py": "",
    "report/page.py": 'TEMPLATE = "page.html.j2"\n',
    "report/page.html.j2": "<html>",
}
DVC_YAML = """\
# the chain
stages:
  draw:  # first
    cmd: python -m facet.stages.draw
    deps:
      # code
      - src/facet/__init__.py
      - src/facet/models/unused.py
      - src/facet/models/net.py  # the net
      - data
    outs:
      - artifacts/drawn
  score:
    cmd: python -m facet.stages.score --all
    deps:
      - artifacts/drawn
    metrics:
      - metrics/score.json: {cache: false}
"""
DRAW = {
    "__init__.py",
    "errors.py",
    "seeding.py",
    "stages/__init__.py",
    "stages/draw.py",
    "models/__init__.py",
    "models/net.py",
    "data/__init__.py",
    "data/faces.py",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        path = tmp_path / "src/facet" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    return tmp_path


def test_closure_follows_functions_packages_and_relative_imports_but_not_type_checking(project: Path):
    closure = Sources(project / "src").closure("facet.stages.draw")
    assert closure == {Path("src/facet") / name for name in DRAW}


def test_a_file_named_in_a_string_belongs_to_its_module(project: Path):
    assert Path("src/facet/report/page.html.j2") in Sources(project / "src").closure("facet.stages.score")


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("import importlib\nimportlib.import_module('facet.' + 'errors')", "computed import"),
        ("from facet.models import *", "instead of"),
    ],
)
def test_imports_that_hide_are_refused(project: Path, code: str, complaint: str):
    (project / "src/facet/stages/draw.py").write_text(code)
    with pytest.raises(ClosureError, match=complaint):
        Sources(project / "src").closure("facet.stages.draw")


def test_an_import_by_name_counts(project: Path):
    (project / "src/facet/errors.py").write_text("import importlib\nimportlib.import_module('facet.typed')")
    assert Path("src/facet/typed.py") in Sources(project / "src").closure("facet.stages.draw")


def test_differences_name_the_missing_and_the_needless(project: Path):
    missing, extra = differences(project)["draw"]
    assert set(missing) == {f"src/facet/{name}" for name in DRAW - {"__init__.py", "models/net.py"}}
    assert extra == ["src/facet/models/unused.py"]


def test_a_whole_folder_is_no_substitute_for_its_files(project: Path):
    (project / "dvc.yaml").write_text(DVC_YAML.replace("src/facet/models/unused.py", "src/facet"))
    assert differences(project)["draw"][1] == ["src/facet"]


def test_write_mends_the_deps_and_nothing_else(project: Path):
    write(project)
    assert differences(project) == {}
    assert (project / "dvc.yaml").read_text() == (
        """\
# the chain
stages:
  draw:  # first
    cmd: python -m facet.stages.draw
    deps:
      # code
"""
        + "".join(f"      - src/facet/{n}{'  # the net' if n == 'models/net.py' else ''}\n" for n in sorted(DRAW))
        + """\
      - data
    outs:
      - artifacts/drawn
  score:
    cmd: python -m facet.stages.score --all
    deps:
      - artifacts/drawn
      - src/facet/__init__.py
      - src/facet/report/__init__.py
      - src/facet/report/page.html.j2
      - src/facet/report/page.py
      - src/facet/stages/__init__.py
      - src/facet/stages/score.py
    metrics:
      - metrics/score.json: {cache: false}
"""
    )
    before = (project / "dvc.yaml").read_text()
    write(project)
    assert (project / "dvc.yaml").read_text() == before


def test_deps_on_one_line_are_refused(project: Path):
    (project / "dvc.yaml").write_text("stages:\n  draw:\n    cmd: python -m facet.stages.draw\n    deps: [data]\n")
    with pytest.raises(ClosureError, match="one dep a line"):
        differences(project)
