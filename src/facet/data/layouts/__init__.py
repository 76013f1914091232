"""Raw data as people have it, read into one shape: a RawSet. One file a layout; docs/layouts.md shows each."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from facet.artifacts import SOURCE, SOURCE_SCHEMA
from facet.data.files import Files, open_files
from facet.data.layouts import cartoon, celeba, celebamask, classes, mnist, parquet, table, unlabelled
from facet.data.layouts.text import json_object, short
from facet.data.raw import RawSet
from facet.errors import DataError

Layout = Literal["auto", "celeba", "celebamask-hq", "cartoon-set", "table", "classes", "parquet", "mnist", "unlabelled"]

# In the order in which "auto" tries them: the marks of the first four can't be mistaken, a class folder is any folder.
_READERS: dict[str, tuple[Callable[[Files], bool], Callable[[Files], RawSet], str]] = {
    "celeba": (celeba.fits, celeba.read, celeba.MARK),
    "celebamask-hq": (celebamask.fits, celebamask.read, celebamask.MARK),
    "cartoon-set": (cartoon.fits, cartoon.read, cartoon.MARK),
    "mnist": (mnist.fits, mnist.read, mnist.MARK),
    "parquet": (parquet.fits, parquet.read, parquet.MARK),
    "table": (table.fits, table.read, table.MARK),
    "classes": (classes.fits, classes.read, classes.MARK),
    "unlabelled": (unlabelled.fits, unlabelled.read, unlabelled.MARK),
}


def read_raw(root: Path, layout: Layout = "auto") -> RawSet:
    """The raw data below ``root``, by the layout of that name, or by the first one whose mark is there.

    What is left out of an archive, and pictures of which nothing is known, are a warning each. Raises DataError, one
    sentence, for everything that can't be read as it stands.
    """
    files = open_files(root)
    name = _detect(files) if layout == "auto" else layout
    _, read, _ = _READERS[name]
    if files.left_out:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(files.left_out.items()))
        warnings.warn(f"{root}: {sum(files.left_out.values()):,} files are left out: {reasons}.", stacklevel=2)
    return dataclasses.replace(read(files), layout=name, source=_source(files))


def read_celeba(root: Path) -> RawSet:
    """CelebA's own layout, as `facet.data.layouts.celeba` describes it."""
    return celeba.read(open_files(root))


def _detect(files: Files) -> str:
    for name, (fits, _, _) in _READERS.items():
        if fits(files):
            return name
    looked_for = "; ".join(f"{name}: {mark}" for name, (_, _, mark) in _READERS.items())
    raise DataError(f"{files.root} has none of the layouts that facet reads. Looked for {looked_for}.")


def _source(files: Files) -> dict | None:
    """What `facet fetch` noted of the data, None where nobody did."""
    if SOURCE not in files:
        return None
    source = json_object(files, SOURCE)
    if source.get("schema") != SOURCE_SCHEMA:
        given = short(source.get("schema"))
        raise DataError(f"{files.where(SOURCE)} has schema {given}, expected {SOURCE_SCHEMA!r}: fetch it again.")
    return source
