"""``facet evaluate``: the scores of any saved pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facet.cli.opening import model_folder
from facet.cli.options import AsJson
from facet.errors import ParamsError

if TYPE_CHECKING:
    from facet.evaluation.reference import ExtractorParams

_JUDGE = "fidelity.judge"
# Name, path of the score, path of what real faces reach, what it says.
_TOLD = (
    ("adherence", "adherence.mean", "adherence.judge_on_real", "asked attributes that are seen"),
    ("adherence, balanced", "adherence.balanced", "adherence.judge_on_real_balanced", "present and absent alike"),
    ("… asked in part", "adherence.by_condition.partial.mean", None, "part of the attributes asked"),
    ("Frechet distance", f"{_JUDGE}.frechet", f"{_JUDGE}.frechet_floor", "lower is better"),
    ("… at the floor's N", f"{_JUDGE}.frechet_at_floor_n", f"{_JUDGE}.frechet_floor", "lower is better"),
    ("… over the floor", f"{_JUDGE}.frechet_over_floor", None, "1 is as good as real"),
    ("KID", f"{_JUDGE}.kid_mean", f"{_JUDGE}.kid_floor", "lower is better"),
    ("precision", f"{_JUDGE}.precision", f"{_JUDGE}.precision_floor", "samples that look real"),
    ("recall", f"{_JUDGE}.recall", f"{_JUDGE}.recall_floor", "real faces that it can draw"),
    ("copies, features", "memorisation.judge.share", None, "0.01 is innocent"),
    ("copies, pixels", "memorisation.pixels.share", None, "0.01 is innocent"),
    ("adherence gap", "balance.adherence_gap", None, "between groups"),
    ("marginal gap", "balance.marginals.max_gap", None, "asked for nothing"),
    ("VAE PSNR", "autoencoder.psnr_db", None, "dB, held-out faces"),
    ("VAE SSIM", "autoencoder.ssim", None, "1 is identical"),
    ("VAE rFD", "autoencoder.rfd", None, "lower is better"),
)


def evaluate(
    model: Annotated[
        str,
        typer.Option(help="Folder of a saved pipeline, facet's or diffusers', models:/NAME/3 or models:/NAME@staging."),
    ] = "artifacts/pipeline",
    data: Annotated[Path, typer.Option(help="Prepared faces to hold it against.")] = Path("artifacts/faces"),
    reference: Annotated[Path | None, typer.Option(help="Their reference (default: beside --data).")] = None,
    judge: Annotated[Path | None, typer.Option(help="The judge that measured it (default: beside --data).")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=2, help="How many samples.")] = 1024,
    unconditional: Annotated[
        int | None,
        typer.Option(min=0, help="More of them, nothing asked, for the marginals (default: half of --count)."),
    ] = None,
    partial: Annotated[
        int | None,
        typer.Option(min=0, help="More of them, asked for part of the attributes (default: a quarter of --count)."),
    ] = None,
    conditions: Annotated[
        Literal["data", "none"], typer.Option(help="Ask a model of attributes for those of held-out faces, or nothing.")
    ] = "data",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first sample; the others follow it.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps (default: the model's own).")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale (default: the model's own).")] = None,
    prompt: Annotated[str, typer.Option(help="What a model of prompts is asked for, each time.")] = "",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures drawn at a time.")] = None,
    resize: Annotated[bool, typer.Option("--resize", help="Bring pictures of another size to the faces'.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the record here, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score any saved pipeline: facet's own as the chain does, one from elsewhere by all that needs no attributes.

    The record is an evaluation record, which `facet compare` reads. The seed of conditions, KID's subsets and
    intervals, and further feature spaces, are those of params.yaml where there is one; else the seed is 0.

    Examples: facet evaluate --model models:/facet-faces@staging --out staging.json; facet evaluate --model ddpm/ -n 256
    """
    if out is not None and not out.parent.is_dir():
        raise ParamsError(f"folder {out.parent} of --out does not exist: make it, or write elsewhere.")
    from facet.artifacts import write_json
    from facet.evaluation.saved import Asked, evaluate_saved, load_against
    from facet.precision import be_deterministic

    be_deterministic()
    asked = Asked(count, unconditional, partial, seed, conditions, steps, guidance, batch_size, prompt, resize)
    against = load_against(data, reference, judge)
    extractors, chain_seed = _chain_params()
    with model_folder(model) as folder:
        record = evaluate_saved(folder, against, asked, extractors, chain_seed)
    if out is not None:
        write_json(out, record)
    if as_json:
        print(json.dumps(record))
    else:
        _print_record(model, record)


def _chain_params() -> tuple[tuple[ExtractorParams, ...], int]:
    """The feature spaces beside the judge's and the seed, as the chain has them."""
    from facet.evaluation.reference import ReferenceParams
    from facet.params import DEFAULT_PATH, read_section, read_seed

    if not DEFAULT_PATH.is_file():
        return (), 0
    return read_section("reference", ReferenceParams).extractors, read_seed()


def _print_record(model: str, record: Mapping[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from facet.artifacts import flatten

    values, intervals, protocol = flatten(record), record["intervals"], record["protocol"]
    sampling = ", ".join(f"{name} {value}" for name, value in flatten(protocol["sampling"]).items())
    print(f"{model}: {protocol['samples']:,} samples, conditions: {protocol['conditions']}; {sampling}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("score", "value", "95 % interval", "real faces", ""):
        table.add_column(
            heading, justify="right" if heading in ("value", "real faces") else "left", no_wrap=bool(heading)
        )
    for name, path, bound, meaning in _TOLD:
        if values.get(path) is None:
            continue
        low, high = intervals.get(path, (None, None))
        around = "" if low is None else f"{low:.4g} to {high:.4g}"
        real = "" if bound is None else f"{values[bound]:.4g}"
        table.add_row(*map(Text, (name, f"{values[path]:.4g}", around, real, meaning)))
    Console(highlight=False).print(table)
