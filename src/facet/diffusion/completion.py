"""What nobody asked for, chosen as the data has it: a request for part of the attributes becomes one for all.

A picture has a value of each attribute, asked for or not. So what is left open is taken from a training face that has
all that was asked for, drawn by the picture's seed: p(x | asked) is the sum over the rest of p(rest | asked)
p(x | asked, rest), which is sampled from left to right. Asked for nothing at all, the model thus draws attributes as
often as the data shows them; the null condition of guidance, asked to do that by itself, tends to the average face.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from facet.data.attributes import ABSENT, EXCLUSIVE, PRESENT, UNKNOWN
from facet.seeding import numpy_stream


def completed(states: torch.Tensor, seeds: Sequence[int], examples: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
    """``states`` [n, k] of -1, 0, 1 with the unknown ones as one of ``examples`` int8 [m, k] has them: of those that
    contradict a row least, one drawn by its seed. What is asked for always stays."""
    asked = states != UNKNOWN
    unlike = ((examples[None] != states[:, None]) & asked[:, None]).sum(dim=-1)
    best = unlike == unlike.min(dim=1, keepdim=True).values
    chosen = []
    for row, seed in zip(best, seeds, strict=True):
        fitting = row.nonzero().flatten()
        chosen.append(fitting[int(numpy_stream(seed, "complete").random() * len(fitting))])
    found = torch.where(asked, states, examples[torch.stack(chosen)].to(states.dtype))
    return _without_contradictions(found, asked, names)


def never_seen(states: torch.Tensor, examples: torch.Tensor, names: Sequence[str]) -> list[str]:
    """What rows of ``states`` [n, k] of -1, 0, 1 ask for that no one of ``examples`` int8 [m, k] has: ``"Sideburns"``,
    or two things that none has at once, ``"Goatee,-Male"``. Most sets know nothing of what excludes what; their faces
    do."""
    words = [*names, *(f"-{name}" for name in names)]
    asked, had = (torch.cat([rows == PRESENT, rows == ABSENT], dim=1) for rows in (states, examples))
    columns = asked.any(dim=0).nonzero().flatten()
    asked, had = asked[:, columns].float(), had[:, columns].float()
    missing = (asked.T @ asked > 0) & (had.T @ had == 0)
    alone = missing.diagonal()
    pairs = (missing & ~alone & ~alone[:, None]).triu(diagonal=1).nonzero().tolist()
    return [words[columns[i]] for i in alone.nonzero().flatten().tolist()] + [
        f"{words[columns[i]]},{words[columns[j]]}" for i, j in pairs
    ]


def _without_contradictions(states: torch.Tensor, asked: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
    """Beside what was asked to be present, nothing present that excludes it: no example may have had it all."""
    for group in EXCLUSIVE:
        members = torch.tensor([k for k, name in enumerate(names) if name in group], device=states.device)
        if len(members) > 1:
            part = states[:, members]
            wanted = (part == PRESENT) & asked[:, members]
            drop = wanted.any(dim=1, keepdim=True) & ~asked[:, members] & (part == PRESENT)
            states = states.index_copy(1, members, torch.where(drop, -part, part))
    return states
