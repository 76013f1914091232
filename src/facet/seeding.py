"""Random streams named by (seed, purpose, index).

No code in facet draws from a global generator. A stream is named, not carried along, so a resumed run meets the
same numbers as an uninterrupted one, a sample's noise does not depend on the batch it is drawn in, and adding a
purpose never shifts the numbers of another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *index: int) -> int:
    """A 63-bit integer that names the stream ``(seed, purpose, *index)``: SHA-256 of the name, truncated."""
    name = ":".join([str(int(seed)), purpose, *(str(int(i)) for i in index)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def numpy_stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A NumPy PCG64 generator for the stream ``(seed, purpose, *index)``."""
    return np.random.Generator(np.random.PCG64(derive(seed, purpose, *index)))


def torch_stream(seed: int, purpose: str, *index: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on ``device`` for the stream ``(seed, purpose, *index)``."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, purpose, *index))
