"""What can be held of the GitHub workflows without GitHub."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from facet.cli import app
from tests.contracts.closure import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
BIN = Path(sys.executable).parent


def _steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def _scripts(path: Path) -> list[str]:
    return [step["run"] for step in _steps(path) if "run" in step]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def workflow(request) -> Path:
    return request.param


def test_it_is_what_github_publishes_as_the_schema(workflow):
    done = subprocess.run(
        [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(workflow)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(workflow):
    uses = re.findall(r"uses: (.*)", workflow.read_text())
    assert uses
    assert not [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]


def test_workflows_agree_on_the_actions_they_use():
    pins = {use for path in FILES for use in re.findall(r"uses: (.*)", path.read_text())}
    assert len(pins) == len({use.partition("@")[0] for use in pins})


def test_no_expression_is_pasted_into_a_script(workflow):
    """What a person typed, or called a branch, reaches a script as a variable and is never part of its text."""
    assert not [script for script in _scripts(workflow) if "${{" in script]


def test_permissions_are_named_and_no_more_than_reading_by_default(workflow):
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}


def test_scripts_are_bash(workflow):
    for script in _scripts(workflow):
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _deployment_page() -> str:
    return "\n".join(re.findall(r"```bash\n(.*?)```", (ROOT / "docs/deployment.md").read_text(), re.S))


@pytest.mark.parametrize("text", [*("\n".join(_scripts(path)) for path in FILES), _deployment_page()])
def test_what_scripts_and_the_deployment_page_call_exists(text):
    assert text
    targets = set(re.findall(r"^\s*make (\w+)", text, re.M))
    assert not [name for name in targets if not re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.M)]
    for words in re.findall(r"\bfacet ([a-z][a-z -]*)", text):
        command = typer.main.get_command(app)
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"facet {words.strip()}"
            command = command.commands[word]
    for path in re.findall(r"(?:^\s*|--file )((?:\.ci|deploy)/\S+)", text, re.M):
        assert (ROOT / path).is_file()


def test_the_flags_that_the_training_gives_to_dvc_exist():
    for words in re.findall(r"\bdvc (?:remote )?[a-z]+ .*", "\n".join(_scripts(ROOT / ".github/workflows/train.yml"))):
        plain = words.replace("dvc ", "").split()
        command = plain[:2] if plain[0] in {"remote", "metrics"} else plain[:1]
        told = subprocess.run([str(BIN / "dvc"), *command, "--help"], capture_output=True, text=True, check=True).stdout
        assert not [flag for flag in re.findall(r"(?<= )--[a-z-]+", words) if flag not in told], words


def test_the_training_never_runs_for_a_pull_request_or_beside_another():
    train = yaml.safe_load((ROOT / ".github/workflows/train.yml").read_text())
    assert set(train[True]) <= {"workflow_dispatch", "schedule"}  # YAML reads the key `on` as true
    assert train["concurrency"] == {"group": "train", "cancel-in-progress": False}
    assert "self-hosted" in train["jobs"]["train"]["runs-on"]
