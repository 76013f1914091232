"""Strict YAML: one section of params.yaml becomes one frozen dataclass, or one message that lists every problem.

Supported field types: bool, int, float, str, Literal, a nested dataclass, ``tuple[T, ...]``, ``T | None`` and
``Annotated[T, Between(low, high)]``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

import yaml

from facet.errors import ParamsError, did_you_mean

T = TypeVar("T")

DEFAULT_PATH = Path("params.yaml")


@dataclasses.dataclass(frozen=True)
class Between:
    """The closed range a number must lie in; None leaves that side open."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low:g}"
        if self.low is None:
            return f"at most {self.high:g}"
        return f"between {self.low:g} and {self.high:g}"

    def admits(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


Positive = Annotated[int, Between(1)]
Natural = Annotated[int, Between(0)]
NonNegative = Annotated[float, Between(0)]
Fraction = Annotated[float, Between(0, 1)]


class _UniqueKeyLoader(yaml.SafeLoader):
    """safe_load that refuses a key given twice, which YAML's default silently resolves to the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ParamsError(f"line {key_node.start_mark.line + 1}: {key!r} is given twice; keep one of them.")
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path = DEFAULT_PATH) -> dict[str, Any]:
    """The whole file as plain dicts. Raises ParamsError where it is missing, unreadable or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist: run from the repository's root, or restore it with git.") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8.") from None
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)
    except ParamsError as error:
        raise ParamsError(f"{path}, {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ParamsError(f"{path}{where} is not valid YAML: {getattr(error, 'problem', error)}; mend it.") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path} holds {_kind(content)}, expected sections (`prepare:`, `train_vae:`, …).")
    return content


def read_section(name: str, cls: type[T], path: Path = DEFAULT_PATH) -> T:
    """Section ``name`` of the file as ``cls``. Raises ParamsError listing every problem of the section at once."""
    content = load_yaml(path)
    if name not in content:
        raise ParamsError(f"{path} has no section {name!r}:{did_you_mean(name, content)} add `{name}:`.")
    return build(cls, content[name], where=name, source=str(path))


def read_seed(path: Path = DEFAULT_PATH) -> int:
    """The one seed that every random stream of the chain descends from."""
    seed = load_yaml(path).get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ParamsError(f"{path}: seed is {seed!r}, expected an integer of at least 0.")
    return seed


def build(cls: type[T], content: Any, *, where: str, source: str) -> T:
    """``content`` as dataclass ``cls``; ``where`` and ``source`` name the place in messages."""
    problems: list[str] = []
    value = _convert(cls, content, where, problems)
    if problems:
        raise ParamsError(f"{source}: " + "; ".join(problems) + ".")
    return value


def _convert(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(kind, value, where, problems)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        converted = _convert(arguments[0], value, where, problems)
        for limit in arguments[1:]:
            if isinstance(converted, (int, float)) and not limit.admits(converted):
                problems.append(f"{where} is {converted!r}, expected {limit}")
        return converted
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where, problems)
    if origin is Literal:
        if value not in arguments:
            hint = did_you_mean(str(value), map(str, arguments))
            problems.append(
                f"{where} is {value!r}, expected one of {', '.join(map(str, arguments))}{hint and ';' + hint}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, list):
            problems.append(f"{where} is {_kind(value)}, expected a list")
            return ()
        return tuple(_convert(arguments[0], item, f"{where}[{i}]", problems) for i, item in enumerate(value))
    return _convert_scalar(kind, value, where, problems)


def _convert_scalar(kind: type, value: Any, where: str, problems: list[str]) -> Any:
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 1e-3 (no dot) as text; DVC's YAML 1.2 reads a number. Follow DVC.
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        problems.append(f"{where} is {value!r} ({_kind(value)}), expected {kind.__name__}")
    return value


def _convert_dataclass(cls: type, value: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping):
        problems.append(f"{where} is {_kind(value)}, expected keys and values")
        return None
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in value:
        if key not in fields:
            problems.append(f"unknown key {where}.{key}:{did_you_mean(str(key), fields) or ' remove it'}")
    before = len(problems)
    arguments = {}
    for name, field in fields.items():
        if name in value:
            arguments[name] = _convert(hints[name], value[name], f"{where}.{name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{where}.{name} is missing")
    if len(problems) > before:
        return None
    try:
        return cls(**arguments)
    except ValueError as error:  # a cross-field check in __post_init__
        problems.append(f"{where}: {error}")
        return None


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean", int: "an integer", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
