"""Raw data in the one shape that every layout is read into: a RawSet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

SPLITS = ("train", "valid", "test")
# The five points of CelebA's landmark table, in its order.
LANDMARKS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")


@dataclasses.dataclass(frozen=True)
class RawSet:
    """Pictures and what is known of them; row i of every field speaks of picture i.

    ``attributes`` is int8 [n, len(names)] of ABSENT, UNKNOWN, PRESENT; ``splits`` indexes SPLITS, -1 where the data
    names none; ``identities`` is int64 [n], -1 where not known; ``read`` returns the encoded bytes of a picture by id,
    from any thread; ``captions`` holds none or some for each picture, or is empty; ``landmarks`` is float32 [n, 5, 2],
    x and y of LANDMARKS in pixels of the picture as it is shown, NaN where not known, or None; ``layout`` names the
    reader; ``source`` is what `facet fetch` noted of where the data came from and under which licence.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    attributes: np.ndarray
    splits: np.ndarray
    identities: np.ndarray
    read: Callable[[str], bytes]
    captions: tuple[tuple[str, ...], ...] = ()
    landmarks: np.ndarray | None = None
    layout: str = "celeba"
    source: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)
