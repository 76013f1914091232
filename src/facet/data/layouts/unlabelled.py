"""Pictures and nothing else: enough for an autoencoder, for `validate` and for the page of `facet data report`."""

from __future__ import annotations

import warnings

import numpy as np

from facet.data.files import Files
from facet.data.layouts.names import is_picture, split_of
from facet.data.raw import RawSet
from facet.errors import DataError

MARK = "pictures"


def fits(files: Files) -> bool:
    return any(map(is_picture, files))


def read(files: Files) -> RawSet:
    """Every picture, with no attribute; its folder may name a split. Raises DataError where there is none."""
    names = tuple(filter(is_picture, files))
    if not names:
        raise DataError(f"{files.root} holds no {MARK}: put some there.")
    warnings.warn(
        f"{files.root}: no table and no class folder says anything of the {len(names):,} pictures: they have no "
        "attributes (docs/layouts.md).",
        stacklevel=2,
    )
    return RawSet(
        names,
        (),
        np.zeros((len(names), 0), np.int8),
        np.array([split_of(name) for name in names], np.int64),
        np.full(len(names), -1, np.int64),
        files.read,
    )
