"""What a table asks of a registered model: a row a face, of attributes, sentences, a photo and a mask, each checked.

All of a row is checked before anything is drawn, so that a wrong one is nobody else's error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from facet.data.attributes import EXCLUSIVE, UNKNOWN
from facet.diffusion.drawing import full_sampling
from facet.diffusion.provenance import Provenance, facet_version
from facet.diffusion.requests import build_request
from facet.errors import ParamsError, did_you_mean
from facet.models.text import cut_off
from facet.registry.columns import PICTURES, TEXTS
from facet.registry.pictures import Sent, read_pictures

if TYPE_CHECKING:
    import pandas as pd

    from facet.diffusion.pipeline import FacePipeline

# A caption has a tenth of it; what is beyond the model's own length is not read in any case.
_MOST_CHARACTERS = 2000
# JSON numbers are doubles to many clients; below it they are exact.
_MOST_SEED = 2**53


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One face: ``states`` int8 [k], two sentences, the pictures that came with it, and its seed."""

    states: np.ndarray
    prompt: str
    negative_prompt: str
    sent: Sent
    seed: int


class Options(NamedTuple):
    """What the faces of one call of the pipeline have in common; None is the model's own."""

    from_photo: bool
    masked: bool
    strength: float
    steps: int | None
    guidance: float | None
    sampler: str | None


def read_rows(table: pd.DataFrame, pipeline: FacePipeline, seed: int) -> list[Row]:
    """The rows of ``table``, whose columns are attributes of -1, 0, 1 and `TEXTS` and `PICTURES`, all of them optional;
    row i has seed ``seed`` + i. Raises ParamsError for other columns or values, and for what the model does not read.
    """
    names = pipeline.attribute_names
    known = (*names, *TEXTS, *PICTURES)
    if len(table) == 0:  # MLflow drops columns it doesn't know, and with the last one the rows
        raise ParamsError(
            f"the request names no column of the model ({', '.join(known)}): give at least one; an attribute that is 0 "
            "is left open."
        )
    for column in table.columns:
        if column not in known:
            raise ParamsError(f"the model knows no attribute {column!r}:{did_you_mean(str(column), known)} drop it.")
    if not 0 <= seed <= _MOST_SEED - len(table):
        raise ParamsError(f"seed is {seed}, expected 0 to {_MOST_SEED - len(table)}.")
    columns = [table[column].tolist() for column in table.columns]
    rows = []
    for number, values in enumerate(zip(*columns, strict=True)):
        given = {c: value for c, value in zip(table.columns, values, strict=True) if not _is_missing(value)}
        rows.append(_row(number, given, pipeline, seed + number))
    return rows


def _is_missing(value: Any) -> bool:
    """None, NaN or pandas' NA, which is how a table says that a row has no value here."""
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _row(number: int, given: Mapping[str, Any], pipeline: FacePipeline, seed: int) -> Row:
    states = attribute_states(number, given, pipeline.attribute_names)
    prompt, negative = (_sentence(number, name, given.get(name, "")) for name in TEXTS)
    try:
        build_request(prompt, states[None], negative, [seed], 1, pipeline.attribute_names, pipeline.conditioning)
    except ParamsError as error:
        raise ParamsError(f"row {number}: {error}") from None
    if pipeline.tokenizer is not None:
        _check_length(number, pipeline, prompt, negative)
    try:
        sent = read_pictures(*(given.get(name) for name in PICTURES), pipeline.size)
    except ParamsError as error:
        raise ParamsError(f"row {number}, {error}") from None
    return Row(states, prompt, negative, sent, seed)


def attribute_states(number: int, given: Mapping[str, Any], names: Sequence[str]) -> np.ndarray:
    """The attributes in row ``number`` as int8 [len(names)]. Raises ParamsError for values other than -1, 0, 1, and for
    two present at once of which a face has at most one."""
    states = np.zeros(len(names), dtype=np.int8)
    for column, name in enumerate(names):
        value = given.get(name, 0)
        # A boolean is refused too: False would have to mean "absent" to some and "not asked for" to others.
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float)) or value not in (-1, 0, 1):
            raise ParamsError(
                f"row {number}, attribute {name}: {value!r}, expected -1 (absent), 0 or missing (unknown) or 1 "
                "(present)."
            )
        states[column] = value
    present = {name for name, state in zip(names, states, strict=True) if state == 1}
    for group in EXCLUSIVE:
        if len(both := sorted(group & present)) > 1:
            raise ParamsError(f"row {number}: no face has {' and '.join(both)} at once: ask for one of them.")
    return states


def _sentence(number: int, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ParamsError(f"row {number}, {name}: {type(value).__name__}, expected text.")
    if len(value) > _MOST_CHARACTERS:
        raise ParamsError(f"row {number}, {name}: {len(value)} characters, at most {_MOST_CHARACTERS}: shorten it.")
    return value


def _check_length(number: int, pipeline: FacePipeline, *texts: str) -> None:
    """Where the pipeline warns of what it will not read, a server's client would not hear it: so it is refused."""
    for name, text in zip(TEXTS, texts, strict=True):
        if cut := cut_off(pipeline.tokenizer, text, pipeline.text_length):
            raise ParamsError(
                f"row {number}, {name}: longer than {pipeline.text_length - 2} tokens, so that {cut!r} would not be "
                "read: shorten it."
            )


def options_of(row: Row, strength: float, params: Mapping[str, Any]) -> Options:
    """What ``row`` needs of the call that draws it, with the params of its request."""
    photo, masked = row.sent.face is not None, row.sent.mask is not None
    given = (params.get(name) for name in ("steps", "guidance", "sampler"))
    return Options(photo, masked, strength if photo else 1.0, *given)


def check_strength(rows: Sequence[Row], strength: float) -> None:
    """Raises ParamsError where ``strength`` says nothing about these rows, or says to leave nothing of a photo."""
    if not 0 < strength <= 1:
        raise ParamsError(f"strength is {strength}, expected above 0 (the image as it is) to 1 (all anew).")
    if strength < 1 and all(row.sent.face is None for row in rows):
        raise ParamsError(f"strength is {strength}, but no row has an image to change: leave it out.")
    for number, row in enumerate(rows):
        if strength == 1 and row.sent.face is not None and row.sent.mask is None:
            raise ParamsError(
                f"row {number} has an image and no mask, and strength 1 leaves nothing of it: give a strength below 1, "
                "0.6 say, or a mask."
            )


def draw_rows(pipeline: FacePipeline, rows: Sequence[Row], options: Options) -> list[Image.Image]:
    """A picture for each row, in one call of ``pipeline``."""
    return pipeline(
        prompt=[row.prompt for row in rows],
        attributes=np.stack([row.states for row in rows]),
        negative_prompt=[row.negative_prompt for row in rows],
        seeds=[row.seed for row in rows],
        image=np.stack([row.sent.face for row in rows]) if options.from_photo else None,
        mask=np.stack([row.sent.mask for row in rows]) if options.masked else None,
        strength=options.strength,
        steps=options.steps,
        guidance_scale=options.guidance,
        sampler=options.sampler,
        output_type="pil",
    ).images


def record_of(row: Row, options: Options, pipeline: FacePipeline, digest: str) -> Provenance:
    """What the picture of ``row`` is drawn from by the model of that ``digest``: `facet generate --like` draws it
    again."""
    given = {"steps": options.steps, "guidance_scale": options.guidance, "sampler": options.sampler}
    return Provenance(
        command="generate",
        model=digest,
        version=facet_version(),
        seeds=(row.seed,),
        sampling=full_sampling(pipeline, given),
        columns=1,
        zoom=1,
        strength=options.strength,
        prompt=row.prompt,
        negative_prompt=row.negative_prompt,
        attributes={n: int(s) for n, s in zip(pipeline.attribute_names, row.states, strict=True) if s != UNKNOWN},
        image=row.sent.image_source,
        mask=row.sent.mask_source,
    )
