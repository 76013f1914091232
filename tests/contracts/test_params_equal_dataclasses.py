"""params.yaml, the dataclasses that read it, the stage files and dvc.yaml name the same things."""

from __future__ import annotations

import dataclasses
import typing

import pytest
import yaml

from facet.params import read_section
from facet.sections import BESIDE_THE_CHAIN, section_classes
from tests.contracts.closure import ROOT

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
CLASSES = section_classes()


def fields_of(cls: type) -> dict:
    """Field name -> None, or the fields of the dataclass it holds."""
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        kinds = [hints[field.name], *typing.get_args(hints[field.name])]
        nested = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
        found[field.name] = fields_of(nested) if nested else None
    return found


def differences(content: dict, fields: dict, where: str) -> list[str]:
    wrong = [f"{where}.{name}" for name in content.keys() ^ fields.keys()]
    for name in content.keys() & fields.keys():
        if fields[name] and isinstance(content[name], dict):
            wrong += differences(content[name], fields[name], f"{where}.{name}")
    return wrong


def test_sections_steps_and_stage_files_are_the_same_names():
    files = {path.stem for path in (ROOT / "src/facet/stages").glob("*.py")} - {"__init__"}
    beside = {"seed", *BESIDE_THE_CHAIN}
    assert files == set(STAGES) == SHIPPED.keys() - beside == CLASSES.keys() - beside


def test_the_one_section_that_is_no_step_is_read_by_none():
    """The gate decides upon what the chain made: changing its policy must not run anything again."""
    assert set(BESIDE_THE_CHAIN) == {"promote"}
    assert not [name for name, step in STAGES.items() if set(BESIDE_THE_CHAIN) & set(step["params"])]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_sections_keys_are_its_dataclasss_fields(name):
    assert differences(SHIPPED[name], fields_of(CLASSES[name]), name) == []
    read_section(name, CLASSES[name], ROOT / "params.yaml")


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_step_runs_its_file_and_declares_its_section(name):
    assert STAGES[name]["cmd"].endswith(f"-m facet.stages.{name}")
    assert name in STAGES[name]["params"]
    assert {key.partition(".")[0] for key in STAGES[name]["params"]} <= {*CLASSES, "seed"}


def test_a_step_that_reads_the_seed_declares_it():
    for name, step in STAGES.items():
        reads = "read_seed" in (ROOT / f"src/facet/stages/{name}.py").read_text(encoding="utf-8")
        assert not reads or "seed" in step["params"], name
