"""``facet export``: a labelled set of drawn faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facet.cli.drawing import new_record
from facet.cli.opening import asked_sampling, asked_texts, check_folder, open_model, say, warnings_told
from facet.cli.options import DEFAULT_MODEL, AsJson, Attributes, Guidance, Model, Negative, Prompt, Sampler, Steps
from facet.errors import ParamsError


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder, in CelebA's layout.")],
    num: Annotated[int, typer.Option("--num", "-n", min=1, max=999_999, help="How many faces.")] = 1000,
    like_data: Annotated[
        Path | None,
        typer.Option(help="Attributes as often together as there: artifacts/faces, or a folder of CelebA's layout."),
    ] = None,
    attributes: Attributes = None,
    prompt: Prompt = None,
    negative: Negative = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first face; the others follow it.")] = 0,
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    model: Model = DEFAULT_MODEL,
    as_json: AsJson = False,
) -> None:
    """Write a labelled set of drawn faces: pictures, attribute table, split table and captions.

    The labels are what was asked for: by default the attributes of --like-data artifacts/faces, or one request for all.
    `dvc repro` reads the set like raw data; its pictures are square, so set prepare.crop to none.

    Examples:

    facet export --num 1000 --out synthetic

    facet export --num 100 --attributes "Smiling,Wearing_Hat" --out hats
    """
    check_folder(out)
    fixed = attributes is not None or prompt is not None
    if fixed and like_data is not None:
        raise ParamsError("--like-data asks for each face's own attributes: leave --attributes and --prompt out.")
    texts = asked_texts(prompt, negative)
    import numpy as np

    from facet.data.attributes import parse_request
    from facet.diffusion.export import states_like, write_set

    opened = open_model(model)
    pipeline = opened.pipeline
    if fixed:
        states = np.tile(parse_request(attributes or "", pipeline.attribute_names), (num, 1))
    else:
        states = states_like(like_data or Path("artifacts/faces"), pipeline, num, seed)
    record = new_record(
        opened,
        "export",
        seeds=range(seed, seed + num),
        sampling=asked_sampling(steps, guidance, sampler),
        columns=1,
        zoom=1,
        **texts,
    )
    with warnings_told() as warned:
        write_set(pipeline, record, states, out, seed)
    facts = {"out": str(out), "faces": num, "seeds": [seed, seed + num - 1], "size": pipeline.size}
    facts["prepare"] = {"crop": "none", "size": pipeline.size}
    hint = f"to train on them, make them data/ and set prepare.crop to none, prepare.size to {pipeline.size}"
    say(as_json, facts, warned, f"{num} faces of {pipeline.size} px in {out}/; {hint}")
