"""What a picture was drawn from, kept in the PNG itself: enough to draw it again, nothing of who drew it where.

The record is JSON in one text chunk, ``facet`` (PNG specification, third edition, section 11.3.3). Whoever sends a
picture wrote its chunks, so what is read is checked in size, type and range before anything is done with it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facet.data.attributes import ABSENT, PRESENT
from facet.diffusion.requests import MOST_SEED
from facet.errors import DataError

KEY, SCHEMA = "facet", "facet.picture/1"
Command = Literal["generate", "inpaint", "edit", "interpolate", "sweep", "export"]
# Faces on one sheet, of 64 px each about as many as a picture may have pixels.
MOST_FACES = 4096
_MOST_TEXT, _MOST_PROMPT, _MOST_ATTRIBUTES, _MOST_NAME = 2**18, 4096, 1024, 255
_MOST_ZOOM, _MOST_STEPS, _MOST_GUIDANCE = 16, 1000, 1000


@dataclasses.dataclass(frozen=True)
class Source:
    """A file that a picture was made from: its ``name`` without folders, and the ``sha256`` of its bytes."""

    name: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What a sheet of faces was drawn from.

    ``attributes`` are the states that were asked for, -1 or 1 by name. ``sampling`` are the pipeline's arguments by
    name, none left to a default. A sheet is ``columns`` faces wide, each enlarged ``zoom`` times. The way between two
    faces also has ``to_attributes`` and a number of ``frames``, as the ``sweep`` of an attribute has; an edited photo
    has its ``change``. What of a photo is drawn anew, ``mask`` says, or ``box``: left, top, right, bottom as shares of
    its sides.
    """

    command: Command
    model: str
    version: str
    seeds: tuple[int, ...]
    sampling: Mapping[str, Any]
    columns: int
    zoom: int
    frames: int = 1
    strength: float = 1.0
    prompt: str = ""
    negative_prompt: str = ""
    attributes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    to_attributes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    change: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sweep: str = ""
    image: Source | None = None
    mask: Source | None = None
    box: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as it is kept, without what says nothing."""
        content = {name: value for name, value in dataclasses.asdict(self).items() if value not in ("", None, {}, ())}
        return {"schema": SCHEMA, **content}

    def chunks(self) -> PngInfo:
        """The text chunks of a PNG."""
        info = PngInfo()
        info.add_itxt(KEY, json.dumps(self.as_json(), sort_keys=True, ensure_ascii=False, allow_nan=False))
        info.add_text("Software", f"facet {self.version}")
        return info


def facet_version() -> str:
    """The version of facet that is installed, "unknown" where only its code is there."""
    try:
        return importlib.metadata.version("facet")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def source_of(path: Path) -> Source:
    """What a photo or mask was. Raises DataError where there is no such file."""
    return Source(path.name, hashlib.sha256(read_bytes(path)).hexdigest())


def read_bytes(path: Path) -> bytes:
    """A picture file's bytes. Raises DataError where there are none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): name a picture that exists.") from None
    if not content:
        raise DataError(f"{path} is empty: name a picture with something in it.")
    return content


def read_provenance(path: Path) -> Provenance:
    """What the picture ``path`` was drawn from, of facet's own or a stranger's making.

    Raises DataError where it is no PNG, carries no such record, or one that can't be true.
    """
    text = _chunk(path)
    if text is None:
        raise DataError(
            f"{path} carries no record of how it was drawn: only a PNG that facet wrote, unchanged, has one."
        )
    try:
        return _checked(text)
    except _Wrong as wrong:
        raise DataError(
            f"{path} carries a damaged record ({wrong}): take the picture again from who drew it."
        ) from None


def _chunk(path: Path) -> str | None:
    """The text of the chunk, unread pixels left alone."""
    if not path.is_file():
        raise DataError(f"{path} is no file: name a PNG.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as picture:
                text = picture.info.get(KEY)
    # Pillow itself refuses compressed text that grows beyond a megabyte, with a ValueError.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError):
        raise DataError(f"{path} is not a readable PNG: facet writes what it draws as PNG.") from None
    return str(text) if isinstance(text, str) else None


# --- checking ---------------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """What of a record can't be true."""


def _checked(text: str) -> Provenance:
    if len(text) > _MOST_TEXT:
        raise _Wrong("it is too long")
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise _Wrong("it is no JSON") from None
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise _Wrong(f"it is not of schema {SCHEMA}")
    fields = {field.name: field for field in dataclasses.fields(Provenance)}
    for name in content:
        if name not in fields:
            raise _Wrong(f"unknown key {name[:40]!r}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in content:
            raise _Wrong(f"{name} is missing")
    found = Provenance(**{name: _READERS[name](name, value) for name, value in content.items()})
    if len(found.seeds) * found.frames > MOST_FACES:
        raise _Wrong("it has too many faces")
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(constant)


def _text(most: int, pattern: str = ".*") -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or not re.fullmatch(pattern, value, re.DOTALL):
            raise _Wrong(f"{name} is no text as expected")
        # A lone surrogate, which JSON can spell, could be written nowhere.
        if any(0xD800 <= ord(sign) <= 0xDFFF for sign in value):
            raise _Wrong(f"{name} is no text as expected")
        return value

    return read


def _number(kind: type, low: float, high: float) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> Any:
        known = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
        if not known or not low <= value <= high or not math.isfinite(value):
            raise _Wrong(f"{name} is no number from {low:g} to {high:g}")
        return kind(value)

    return read


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"{name} is neither true nor false")
    return value


def _states(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or len(value) > _MOST_ATTRIBUTES:
        raise _Wrong(f"{name} is no table of attributes")
    state = _number(int, ABSENT, PRESENT)
    return {_text(_MOST_NAME)(name, key): state(name, given) for key, given in value.items()}


def _seeds(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_FACES:
        raise _Wrong(f"{name} is no list of 1 to {MOST_FACES} numbers")
    return tuple(_number(int, 0, MOST_SEED - 1)(name, seed) for seed in value)


def _sampling(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(_SAMPLING):
        raise _Wrong(f"{name} does not name {', '.join(_SAMPLING)}")
    return {key: read(key, value[key]) for key, read in _SAMPLING.items()}


def _interval(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 2:
        raise _Wrong(f"{name} is no pair")
    return tuple(_number(float, 0, 1)(name, end) for end in value)


def _box(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 4:
        raise _Wrong(f"{name} is no box")
    return tuple(_number(float, 0, 1)(name, edge) for edge in value)


def _source(name: str, value: Any) -> Source:
    if not isinstance(value, dict) or set(value) != {"name", "sha256"}:
        raise _Wrong(f"{name} is no file's name and sha256")
    return Source(_text(_MOST_NAME, r"[^/\\\0]+")(name, value["name"]), _DIGEST(name, value["sha256"]))


_DIGEST = _text(64, "[0-9a-f]{64}")
_SAMPLING: dict[str, Callable[[str, Any], Any]] = {
    "sampler": _text(40),
    "steps": _number(int, 1, _MOST_STEPS),
    "guidance_scale": _number(float, 0, _MOST_GUIDANCE),
    "guidance_interval": _interval,
    "guidance_rescale": _number(float, 0, 1),
    "complete": _flag,
    "precision": _text(4, "fp32|bf16"),
}
_READERS: dict[str, Callable[[str, Any], Any]] = {
    "command": _text(20, "|".join(get_args(Command))),
    "model": _DIGEST,
    "version": _text(40),
    "seeds": _seeds,
    "sampling": _sampling,
    "columns": _number(int, 1, MOST_FACES),
    "zoom": _number(int, 1, _MOST_ZOOM),
    "frames": _number(int, 1, MOST_FACES),
    "strength": _number(float, 0, 1),
    "prompt": _text(_MOST_PROMPT),
    "negative_prompt": _text(_MOST_PROMPT),
    "attributes": _states,
    "to_attributes": _states,
    "change": _states,
    "sweep": _text(_MOST_NAME),
    "image": _source,
    "mask": _source,
    "box": _box,
}
