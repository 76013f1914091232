"""What the commands that draw have in common: the model they open, where they write, what they warn of."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facet.errors import ParamsError

if TYPE_CHECKING:
    from facet.diffusion.drawing import Drawn
    from facet.diffusion.pipeline import FacePipeline
    from facet.diffusion.provenance import Provenance


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model ready to draw, and which one it is."""

    pipeline: FacePipeline
    digest: str


def open_model(given: str) -> Opened:
    """The model that ``--model`` names, on the GPU where there is one. Raises FacetError where it can't be opened."""
    from facet.artifacts import digest_folder
    from facet.diffusion.saving import load_pipeline
    from facet.precision import be_deterministic, default_device
    from facet.registry.opening import pipeline_folder

    be_deterministic()
    with pipeline_folder(given) as folder:
        return Opened(load_pipeline(folder).to(default_device()), digest_folder(folder))


def check_picture(out: Path) -> None:
    """Raises ParamsError where ``--out`` can't become a PNG; before anything is loaded or drawn."""
    if out.is_dir():
        raise ParamsError(f"--out {out} is a folder: name a file in it, such as {out / 'faces.png'}.")
    if out.suffix.lower() != ".png":
        raise ParamsError(f"--out {out} is no PNG, which says how it was drawn: name it {out.with_suffix('.png')}.")
    check_parent(out)


def check_folder(out: Path) -> None:
    """Raises ParamsError where ``--out`` can't become a folder of new files."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParamsError(f"--out {out} exists already: name a new folder, or remove that one.")
    check_parent(out.absolute())


def check_parent(out: Path) -> None:
    """Raises ParamsError where nothing can be written beside ``out``."""
    if not out.parent.is_dir():
        raise ParamsError(f"folder {out.parent} of --out does not exist: make it, or write elsewhere.")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise ParamsError(f"folder {out.parent} of --out can't be written: change its permissions, or write elsewhere.")


def checked_prompt(given: str | None, option: str = "--prompt") -> str:
    """The sentence without needless white space. Raises ParamsError where it was given and says nothing."""
    if given is not None and not given.strip():
        raise ParamsError(f"{option} is blank: say what to draw, or leave the option out.")
    return " ".join((given or "").split())


def asked_texts(prompt: str | None, negative: str | None) -> dict[str, str]:
    """What --prompt and --negative say, by the names that records and pipelines have for it. Raises ParamsError where
    one is blank."""
    return {"prompt": checked_prompt(prompt), "negative_prompt": checked_prompt(negative, "--negative")}


def asked_sampling(steps: int | None, guidance: float | None, sampler: str | None) -> dict[str, Any]:
    """What --steps, --guidance and --sampler say, likewise; None is the model's own."""
    return {"steps": steps, "guidance_scale": guidance, "sampler": sampler}


@contextlib.contextmanager
def warnings_told() -> Iterator[list[str]]:
    """Collect what the pipeline warns of; it is told on stderr when the block ends well."""
    from facet.diffusion.requests import RequestWarning

    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RequestWarning)
        yield told
    told += dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, RequestWarning))
    for message in told:
        print(f"warning: {message}", file=sys.stderr)


def draw_picture(
    opened: Opened, record: Provenance, out: Path, image: Path | None = None, mask: Path | None = None
) -> tuple[Drawn, list[str]]:
    """Draw ``record`` into ``out``, and what was warned of."""
    from facet.diffusion.drawing import draw
    from facet.diffusion.grids import save_picture

    with warnings_told() as told:
        drawn = draw(opened.pipeline, record, image, mask)
        told += [drawn.changed] if drawn.changed else []
    save_picture(drawn.sheet(record), out, record.chunks())
    return drawn, told


def say(as_json: bool, facts: Mapping[str, Any], warned: list[str], sentence: str) -> None:
    """The facts as JSON, with what was warned of where there is something, or the sentence."""
    print(json.dumps({**facts, **({"warnings": warned} if warned else {})}) if as_json else sentence)


def counted(num: int, seed: int, what: str = "face") -> str:
    """ "1 face, seed 3" or "4 faces, seeds 3 to 6" """
    return f"1 {what}, seed {seed}" if num == 1 else f"{num} {what}s, seeds {seed} to {seed + num - 1}"
