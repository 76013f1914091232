"""``facet edit``, ``inpaint``, ``interpolate`` and ``sweep``: photos changed, and faces on the way to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facet.cli.drawing import new_record
from facet.cli.opening import (
    asked_sampling,
    asked_texts,
    check_picture,
    checked_prompt,
    counted,
    draw_picture,
    open_model,
    say,
)
from facet.cli.options import DEFAULT_MODEL, AsJson, Attributes, Guidance, Model, Negative, Prompt, Sampler, Steps
from facet.errors import ParamsError

if TYPE_CHECKING:
    from facet.diffusion.drawing import Drawn

_Photo = Annotated[Path, typer.Argument(help="A picture file; its centre square is taken.")]
_Strength = Annotated[float, typer.Option(help="How far the photo may change, above 0 to 1.")]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of the first face; the others follow it.")]


def edit(
    photo: _Photo,
    change: Annotated[str, typer.Option("--change", "-c", help='What should change: "Smiling,-Eyeglasses".')] = "",
    shows: Annotated[
        str, typer.Option(help='What the photo shows already, which keeps it better: "Male,-Smiling".')
    ] = "",
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="What it should show, as a sentence.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far the photo may change, above 0 to 1 (default: as measured best).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write: before and after.")] = Path("edited.png"),
    steps: Steps = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="Guidance scale, away from what the photo shows (default: as measured best)."),
    ] = None,
    sampler: Sampler = None,
    model: Model = DEFAULT_MODEL,
    as_json: AsJson = False,
) -> None:
    """Change attributes of a photo and keep the rest; says how far the picture moved.

    Examples:

    facet generate --attributes "-Eyeglasses" --num 1 --each --out face

    facet edit face/seed-0.png --change "Eyeglasses" --out edited.png
    """
    from facet.diffusion.editing import GUIDANCE, STRENGTH

    check_picture(out)
    strength = STRENGTH if strength is None else strength
    _check_strength(strength)
    prompt = checked_prompt(prompt)
    if not change.strip() and not prompt:
        raise ParamsError("nothing should change: name attributes with --change, or say it with --prompt.")
    opened = open_model(model)
    record = new_record(
        opened,
        "edit",
        seeds=(0,),
        sampling=asked_sampling(steps, GUIDANCE if guidance is None else guidance, sampler),
        prompt=prompt,
        attributes=shows,
        change=change,
        image=photo,
        strength=strength,
        columns=2,
    )
    drawn, warned = draw_picture(opened, record, out, photo)
    facts = {"out": str(out), "photo": str(photo), "change": change, "moved": drawn.moved}
    say(as_json, facts, warned, f"{photo} with {change or prompt}: {out}; {_moved(drawn)}")


def inpaint(
    photo: _Photo,
    mask: Annotated[
        Path | None, typer.Option(help="A picture of the photo's size, white where the photo is drawn anew.")
    ] = None,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="In place of a mask: left, top, right, bottom as shares of the sides, 0 to 1."),
    ] = None,
    prompt: Prompt = None,
    attributes: Attributes = None,
    negative: Negative = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="How many ways to fill it.")] = 3,
    seed: _Seed = 0,
    strength: _Strength = 1.0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write: the photo, then each way.")] = Path(
        "inpainted.png"
    ),
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    model: Model = DEFAULT_MODEL,
    as_json: AsJson = False,
) -> None:
    """Draw part of a photo anew; every other pixel comes back as it was.

    Examples:

    facet generate --num 1 --each --out face

    facet inpaint face/seed-0.png --box 0 0.2 1 0.6 --attributes "Eyeglasses" --out inpainted.png
    """
    check_picture(out)
    _check_strength(strength)
    if (mask is None) == (box is None):
        raise ParamsError("give what is to be drawn anew by --mask or by --box, one of the two.")
    if box is not None and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise ParamsError(f"--box is {' '.join(map(str, box))}, expected left, top, right, bottom of 0 to 1, in order.")
    texts = asked_texts(prompt, negative)
    opened = open_model(model)
    record = new_record(
        opened,
        "inpaint",
        seeds=range(seed, seed + num),
        sampling=asked_sampling(steps, guidance, sampler),
        attributes=attributes,
        image=photo,
        mask=mask,
        box=box or (),
        strength=strength,
        columns=num + 1,
        **texts,
    )
    _, warned = draw_picture(opened, record, out, photo, mask)
    facts = {"out": str(out), "photo": str(photo), "faces": num, "seeds": [seed, seed + num - 1]}
    say(as_json, facts, warned, f"{photo} filled in {counted(num, seed, 'way')}: {out}")


def interpolate(
    first: Annotated[int, typer.Option("--from", min=0, help="Seed of the first face.")] = 0,
    last: Annotated[int, typer.Option("--to", min=0, help="Seed of the last face.")] = 1,
    attributes: Attributes = None,
    to_attributes: Annotated[
        str | None, typer.Option(help="Attributes of the last face (default: those of the first).")
    ] = None,
    prompt: Prompt = None,
    negative: Negative = None,
    frames: Annotated[int, typer.Option("--num", "-n", min=2, help="Faces on the way, both ends included.")] = 8,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write: a strip.")] = Path("interpolated.png"),
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    model: Model = DEFAULT_MODEL,
    as_json: AsJson = False,
) -> None:
    """Draw the way from one face to another: over the sphere of noise, and straight between their attributes.

    Examples:

    facet interpolate --from 0 --to 1 --out interpolated.png

    facet interpolate --from 3 --to 3 --attributes "-Smiling" --to-attributes "Smiling" --out smile.png
    """
    check_picture(out)
    texts = asked_texts(prompt, negative)
    opened = open_model(model)
    record = new_record(
        opened,
        "interpolate",
        seeds=(first, last),
        sampling=asked_sampling(steps, guidance, sampler),
        attributes=attributes,
        to_attributes=attributes if to_attributes is None else to_attributes,
        frames=frames,
        columns=frames,
        **texts,
    )
    _, warned = draw_picture(opened, record, out)
    facts = {"out": str(out), "faces": frames, "seeds": [first, last]}
    say(as_json, facts, warned, f"{frames} faces from seed {first} to {last}: {out}")


def sweep(
    attribute: Annotated[str, typer.Argument(help="The attribute that goes from absent to present.")],
    attributes: Attributes = None,
    prompt: Prompt = None,
    negative: Negative = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="How many faces, a row each.")] = 4,
    frames: Annotated[int, typer.Option("--values", min=2, help="Columns from absent to present.")] = 5,
    seed: _Seed = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write: a grid.")] = Path("sweep.png"),
    steps: Steps = None,
    guidance: Guidance = None,
    sampler: Sampler = None,
    model: Model = DEFAULT_MODEL,
    as_json: AsJson = False,
) -> None:
    """Draw the same faces with one attribute from absent, left, to present, right.

    Example: facet sweep Smiling --num 4 --attributes "Male" --out sweep.png
    """
    check_picture(out)
    texts = asked_texts(prompt, negative)
    opened = open_model(model)
    record = new_record(
        opened,
        "sweep",
        seeds=range(seed, seed + num),
        sampling=asked_sampling(steps, guidance, sampler),
        attributes=attributes,
        sweep=attribute,
        frames=frames,
        columns=frames,
        **texts,
    )
    _, warned = draw_picture(opened, record, out)
    facts = {"out": str(out), "attribute": attribute, "faces": num * frames, "seeds": [seed, seed + num - 1]}
    say(as_json, facts, warned, f"{attribute} from absent to present, {counted(num, seed)}: {out}")


def _check_strength(strength: float) -> None:
    if not 0 < strength <= 1:
        raise ParamsError(f"--strength is {strength:g}, expected above 0 (the photo as it is) to 1 (all anew).")


def _moved(drawn: Drawn) -> str:
    moved = drawn.moved or {}
    psnr = "" if moved.get("psnr") is None else f", PSNR {moved['psnr']:.1f} dB"
    return f"the picture moved by {moved.get('pixels', 0):.1f} of 255 grey levels on average{psnr}"
