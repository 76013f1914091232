"""``facet inspect``: how a picture was drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facet.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facet.diffusion.provenance import Provenance


def inspect(
    file: Annotated[Path, typer.Argument(help="A PNG that facet drew.")],
    as_json: AsJson = False,
) -> None:
    """Print what a PNG was drawn from: model, prompt, attributes, seeds, sampler; exit code 1 where it doesn't say.

    Example: facet inspect faces.png
    """
    from facet.diffusion.provenance import read_provenance

    record = read_provenance(file)
    if as_json:
        print(json.dumps(record.as_json()))
        return
    for name, value in _lines(record).items():
        if value:
            # A stranger's picture must not move the cursor of this terminal.
            print(f"{name:<12} {''.join(sign if sign.isprintable() else '?' for sign in value)}")


def _lines(record: Provenance) -> dict[str, str]:
    sampling = record.sampling
    low, high = sampling["guidance_interval"]
    where = "" if (low, high) == (0, 1) else f" from {low:g} to {high:g} of the noise axis"
    rescale = f", rescale {sampling['guidance_rescale']:g}" if sampling["guidance_rescale"] else ""
    sources = {
        name: f"{source.name} (sha256 {source.sha256})" if source else ""
        for name, source in (("photo", record.image), ("mask", record.mask))
    }
    return {
        "drawn by": f"facet {record.version}, facet {record.command}",
        "model": record.model,
        "prompt": record.prompt,
        "negative": record.negative_prompt,
        "attributes": _told(record.attributes),
        "to": _told(record.to_attributes),
        "change": _told(record.change),
        "sweep": record.sweep,
        **sources,
        "box": " ".join(f"{edge:g}" for edge in record.box),
        "strength": f"{record.strength:g}" if record.image else "",
        "seeds": _seeds(record.seeds),
        "sampler": f"{sampling['sampler']}, {sampling['steps']} steps, {sampling['precision']}",
        "guidance": f"{sampling['guidance_scale']:g}{where}{rescale}",
        "open": "filled in from a training face" if sampling["complete"] and not record.image else "",
        "sheet": f"{record.columns} columns, enlarged {record.zoom} times",
    }


def _told(states: Mapping[str, int]) -> str:
    return ",".join(f"{'-' * (state < 0)}{name}" for name, state in states.items())


def _seeds(seeds: tuple[int, ...]) -> str:
    follow = seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if follow and len(seeds) > 1 else ", ".join(map(str, seeds))
