"""What is asked of the pipeline, checked and spelled out: one row a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from facet.data.attributes import UNKNOWN, parse_request
from facet.errors import ParamsError
from facet.models.conditioning import Conditioning

# A seed names a random stream; the digits of a longer one would be lost on the way through JSON.
MOST_SEED = 2**53


class RequestWarning(UserWarning):
    """Part of what was asked is not read, or not known."""


@dataclasses.dataclass(frozen=True)
class Request:
    """``states`` float32 [n, k] from -1 (absent) over 0 (unknown) to 1 (present), what lies between being a mixture,
    and for each of n pictures a prompt and a seed. Guidance leads away from ``negative_states`` and the prompts
    ``negative``."""

    states: torch.Tensor
    prompts: list[str]
    negative_states: torch.Tensor
    negative: list[str]
    seeds: list[int]

    def __len__(self) -> int:
        return len(self.seeds)

    def part(self, rows: slice) -> Request:
        """These rows alone."""
        return Request(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def padded(self, multiple: int) -> Request:
        """The last row repeated until the count is a multiple."""
        missing = -len(self) % multiple
        last = self.part(slice(len(self) - 1, None))

        def longer(rows: torch.Tensor | list, end: torch.Tensor | list) -> torch.Tensor | list:
            return rows + end * missing if isinstance(rows, list) else torch.cat([rows, end.expand(missing, -1)])

        names = [field.name for field in dataclasses.fields(self)]
        return Request(*(longer(getattr(self, name), getattr(last, name)) for name in names))


def build_request(
    prompt: str | Sequence[str],
    attributes: str | np.ndarray | torch.Tensor,
    negative_prompt: str | Sequence[str],
    seeds: Sequence[int] | int,
    num_images: int | None,
    names: Sequence[str],
    conditioning: Conditioning,
    negative_attributes: str | np.ndarray | torch.Tensor = "",
) -> Request:
    """``seeds`` is one seed a picture, or the first of ``num_images`` consecutive ones, of which there are by default
    as many as rows in what else is given. Raises ParamsError for what does not fit together, or the model."""
    if isinstance(seeds, (int, np.integer)):
        count = _count(prompt, attributes, negative_prompt, negative_attributes) if num_images is None else num_images
        seeds = range(int(seeds), int(seeds) + count)
    seeds = [int(seed) for seed in seeds]
    if not seeds:
        raise ParamsError("0 pictures were asked for, expected at least one.")
    if min(seeds) < 0 or max(seeds) >= MOST_SEED:
        raise ParamsError(f"seeds run from {min(seeds)} to {max(seeds)}, expected 0 to {MOST_SEED - 1}.")
    request = Request(
        states_of(attributes, names, len(seeds)),
        _texts("prompt", prompt, len(seeds)),
        states_of(negative_attributes, names, len(seeds)),
        _texts("negative prompt", negative_prompt, len(seeds)),
        seeds,
    )
    if conditioning not in ("text", "both") and any(request.prompts + request.negative):
        raise ParamsError(
            f"the model was trained with conditioning {conditioning!r} and reads no prompt: leave it out."
        )
    asked = torch.cat([request.states, request.negative_states])
    if conditioning not in ("attributes", "both") and bool((asked != UNKNOWN).any()):
        raise ParamsError(f"the model was trained with conditioning {conditioning!r}: leave the attributes out.")
    return request


def _count(*given: str | Sequence[str] | np.ndarray | torch.Tensor) -> int:
    return next((len(part) for part in given if not isinstance(part, str)), 1)


def _texts(what: str, given: str | Sequence[str], count: int) -> list[str]:
    texts = [given] * count if isinstance(given, str) else list(given)
    if len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise ParamsError(f"{what} is {len(texts)} values for {count} pictures: give one text, or one a picture.")
    return [" ".join(text.split()) for text in texts]


def states_of(attributes: str | np.ndarray | torch.Tensor, names: Sequence[str], count: int) -> torch.Tensor:
    """``attributes`` as text for all, or states [count, k] -> float32 [count, k]. Raises ParamsError otherwise."""
    if isinstance(attributes, str):
        attributes = np.tile(parse_request(attributes, names), (count, 1))
    states = torch.tensor(np.asarray(attributes))  # a copy: a manifest's rows can't be written to
    expected = (count, len(names))
    if tuple(states.shape) != expected:
        raise ParamsError(f"attributes have shape {tuple(states.shape)}, expected {expected}: a row a picture.")
    states = states.float()
    if not bool((states.abs() <= 1).all()):  # nor NaN
        raise ParamsError("attributes hold values outside -1 to 1: say -1 absent, 0 unknown, 1 present.")
    return states
