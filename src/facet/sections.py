"""All sections of params.yaml at once: each stage's file names the dataclass that reads its section.

One section is no step: ``promote``, the policy of the gate, which decides upon what the chain has made.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import facet.stages
from facet.errors import ParamsError, did_you_mean
from facet.params import DEFAULT_PATH, build, load_yaml, read_seed
from facet.registry.gate import Policy

# Sections without a step in dvc.yaml.
BESIDE_THE_CHAIN: dict[str, type] = {"promote": Policy}


def section_classes() -> dict[str, type]:
    """Section name -> dataclass, for every step of the chain and the gate. Imports all stages, so it takes seconds."""
    names = sorted(module.name for module in pkgutil.iter_modules(facet.stages.__path__))
    return {name: importlib.import_module(f"facet.stages.{name}").SECTION for name in names} | BESIDE_THE_CHAIN


def check_file(path: Path = DEFAULT_PATH) -> list[str]:
    """The names of the sections of a well-formed file. Raises ParamsError listing every problem of every section."""
    content, classes = load_yaml(path), section_classes()
    problems = []
    for name in content:
        if name != "seed" and name not in classes:
            problems.append(f"unknown section {name}:{did_you_mean(name, classes) or ' remove it'}")
    read_seed(path)
    for name, cls in classes.items():
        if name not in content:
            problems.append(f"section {name} is missing")
            continue
        try:
            build(cls, content[name], where=name, source="")
        except ParamsError as error:
            problems.append(str(error).removeprefix(": ").removesuffix("."))
    if problems:
        raise ParamsError(f"{path}: " + "; ".join(problems) + ".")
    return list(classes)
