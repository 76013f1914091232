"""``facet generate`` and ``facet draw-faces``: pictures from a model, and pictures to train one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facet.cli.opening import (
    Opened,
    asked_sampling,
    asked_texts,
    check_folder,
    check_picture,
    counted,
    draw_picture,
    open_model,
    say,
    warnings_told,
)
from facet.cli.options import DEFAULT_MODEL, AsJson, Attributes, Guidance, Model, Negative, Prompt, Sampler, Steps
from facet.errors import ParamsError

if TYPE_CHECKING:
    from facet.diffusion.provenance import Provenance

_NUM = 16
# A sheet enlarges small faces.
ZOOM = 2


def generate(
    prompt: Prompt = None,
    attributes: Attributes = None,
    negative: Negative = None,
    num: Annotated[int | None, typer.Option("--num", "-n", min=1, help="How many faces (default: 16).")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first face; the others follow it (default: 0).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write: a grid.")] = Path("faces.png"),
    each: Annotated[
        bool, typer.Option("--each", help="--out is a new folder, and each face a PNG of its own size in it.")
    ] = False,
    image: Annotated[Path | None, typer.Option(help="A photo to start from, its centre square.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far the photo may change, above 0 to 1 (default: 0.7).")
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    like: Annotated[
        Path | None, typer.Option(help="Draw this PNG again, as its record says (`facet inspect` shows it).")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="With --like: the mask that the picture was drawn with.")] = None,
    any_model: Annotated[
        bool,
        typer.Option("--any-model", help="With --like: draw it with another model than the one it was drawn with."),
    ] = False,
    model: Model = DEFAULT_MODEL,
    list_names: Annotated[bool, typer.Option("--list", help="Only list the attributes that the model knows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw faces by a sentence, by attributes, by both, or from a photo; the same request gives the same pixels.

    Examples:

    facet generate --prompt "a smiling young woman with glasses" --out faces.png

    facet generate --attributes "Smiling,Eyeglasses,-Male" --num 16 --seed 0 --out faces.png

    facet generate --num 4 --each --out faces

    facet generate --image faces/seed-0.png --strength 0.6 --prompt "a man with a hat" --num 4 --out variations.png

    facet generate --like faces.png --out again.png
    """
    (check_folder if each else check_picture)(out)
    if like is not None:
        given = {"prompt": prompt, "attributes": attributes, "negative": negative, "num": num, "seed": seed}
        given |= {"strength": strength, "steps": steps, "guidance": guidance, "sampler": sampler, "each": each or None}
        _refuse(given, "--like draws what the picture's record says")
        _draw_again(like, out, image, mask, model, any_model, as_json)
        return
    _refuse({"mask": mask, "any-model": any_model or None}, "it goes with --like; `facet inpaint` takes a mask")
    if strength is not None and image is None:
        raise ParamsError("--strength says how far a photo may change: give one with --image.")
    texts = asked_texts(prompt, negative)
    opened = open_model(model)
    if list_names:
        names = list(opened.pipeline.attribute_names)
        print(json.dumps(names) if as_json else "\n".join(names))
        return
    num, seed = _NUM if num is None else num, seed or 0
    record = new_record(
        opened,
        "generate",
        seeds=range(seed, seed + num),
        attributes=attributes,
        sampling=asked_sampling(steps, guidance, sampler),
        image=image,
        strength=1.0 if image is None else 0.7 if strength is None else strength,
        **texts,
    )
    warned = _draw_each(opened, record, out, image) if each else draw_picture(opened, record, out, image)[1]
    facts = {"out": str(out), "faces": num, "seeds": [seed, seed + num - 1], "attributes": attributes or ""}
    facts |= {name: text for name, text in texts.items() if text} | ({"image": str(image)} if image else {})
    say(as_json, facts, warned, f"{counted(num, seed)}: {out}{'/' if each else ''}")


def new_record(
    opened: Opened,
    command: str,
    *,
    seeds: range | tuple[int, ...],
    sampling: dict[str, Any],
    attributes: str | None = None,
    to_attributes: str | None = None,
    change: str | None = None,
    image: Path | None = None,
    mask: Path | None = None,
    columns: int | None = None,
    zoom: int = ZOOM,
    **more: Any,
) -> Provenance:
    """The record of what a command asks of the model. Raises FacetError on what can't be asked."""
    from facet.diffusion.drawing import check_size, full_sampling, states_asked
    from facet.diffusion.provenance import Provenance, facet_version, source_of

    if command != "export":
        # Before a million seeds are written down.
        check_size(opened.pipeline, len(seeds), 1)
    return Provenance(
        command=command,
        model=opened.digest,
        version=facet_version(),
        seeds=tuple(seeds),
        sampling=full_sampling(opened.pipeline, sampling),
        columns=columns or math.ceil(math.sqrt(len(seeds))),
        zoom=zoom,
        attributes=states_asked(attributes or "", opened.pipeline),
        to_attributes=states_asked(to_attributes or "", opened.pipeline),
        change=states_asked(change or "", opened.pipeline),
        image=None if image is None else source_of(image),
        mask=None if mask is None else source_of(mask),
        **more,
    )


def _refuse(given: dict[str, Any], why: str) -> None:
    found = [f"--{name}" for name, value in given.items() if value is not None]
    if found:
        raise ParamsError(f"{found[0]} does not go here: {why}; leave it out.")


def _draw_each(opened: Opened, record: Provenance, out: Path, image: Path | None) -> list[str]:
    """Each face of ``record`` as a PNG of its own, with a record of its own."""
    import dataclasses

    from facet.artifacts import whole_folder
    from facet.diffusion.drawing import draw
    from facet.diffusion.grids import grid, save_picture

    with warnings_told() as told:
        drawn = draw(opened.pipeline, record, image)
        told += [drawn.changed] if drawn.changed else []
    with whole_folder(out) as folder:
        for seed, face in zip(record.seeds, drawn.faces, strict=True):
            own = dataclasses.replace(record, seeds=(seed,), columns=1, zoom=1)
            save_picture(grid(face[None], 1), folder / f"seed-{seed}.png", own.chunks())
    return told


def _draw_again(
    like: Path, out: Path, image: Path | None, mask: Path | None, model: str, any_model: bool, as_json: bool
) -> None:
    import dataclasses

    from facet.diffusion.drawing import full_sampling
    from facet.diffusion.provenance import facet_version, read_provenance

    record = read_provenance(like)
    opened = open_model(model)
    if record.model != opened.digest and not any_model:
        raise ParamsError(
            f"{like} was drawn by model {record.model[:12]}, but {model} is {opened.digest[:12]}: name that one with "
            "--model, or draw with this one by --any-model."
        )
    sampling = full_sampling(opened.pipeline, record.sampling)
    record = dataclasses.replace(record, model=opened.digest, version=facet_version(), sampling=sampling)
    _, warned = draw_picture(opened, record, out, image, mask)
    facts = {"out": str(out), "like": str(like), "model": opened.digest}
    say(as_json, facts, warned, f"{like.name} again: {out}")


def draw_faces(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write, in CelebA's layout.")],
    n: Annotated[int, typer.Option("--n", help="How many faces.")] = 4000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw a synthetic set of faces in CelebA's own layout, 40 attribute columns, nobody's face.

    Example: facet draw-faces --n 50000 --out data-drawn
    """
    from facet.data.drawn import write_drawn_set
    from facet.progress import bar

    with bar(n, "draw", "face") as progress:
        write_drawn_set(out, n, seed, progress=lambda done: progress.update(done - progress.n))
    print(json.dumps({"out": str(out), "faces": n, "seed": seed}) if as_json else f"{n} faces in {out}/")
