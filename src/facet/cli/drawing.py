"""``facet generate`` and ``facet draw-faces``: pictures from a model, and pictures to train one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from facet.cli.options import AsJson
from facet.errors import ParamsError


def generate(
    attributes: Annotated[
        str, typer.Option("--attributes", "-a", help='Wanted and, with a minus, unwanted: "Smiling,Eyeglasses,-Male".')
    ] = "",
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="How many faces.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first face; the others follow it.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write: a grid.")] = Path("faces.png"),
    model: Annotated[Path, typer.Option(help="Folder of a saved pipeline.")] = Path("artifacts/pipeline"),
    steps: Annotated[int | None, typer.Option(help="Denoising steps (default: the model's own).")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 is none (default: as trained).")] = None,
    list_names: Annotated[bool, typer.Option("--list", help="Only list the attributes that the model knows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw faces with the attributes asked for.

    Example: facet generate --attributes "Smiling,Eyeglasses,-Male" --num 16 --seed 0 --out faces.png
    """
    from facet.diffusion.grids import grid, save_picture
    from facet.diffusion.pipeline import load_pipeline
    from facet.precision import be_deterministic, default_device

    if not out.parent.is_dir():
        raise ParamsError(f"folder {out.parent} of --out does not exist: make it, or write elsewhere.")
    be_deterministic()
    pipeline = load_pipeline(model).to(default_device())
    if list_names:
        names = list(pipeline.attribute_names)
        print(json.dumps(names) if as_json else "\n".join(names))
        return
    faces = pipeline(
        attributes=attributes, num_images=num, seeds=seed, steps=steps, guidance_scale=guidance, output_type="np"
    ).images
    save_picture(grid(faces, columns=math.ceil(math.sqrt(num)), zoom=2), out)
    facts = {"out": str(out), "faces": num, "seeds": [seed, seed + num - 1], "attributes": attributes}
    print(json.dumps(facts) if as_json else f"{num} faces, seeds {seed} to {seed + num - 1}: {out}")


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
