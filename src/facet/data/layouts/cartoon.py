"""Google's Cartoon Set: drawn avatars, each with a CSV of its own beside it, a row a trait.

A row is the trait, which of its variants this avatar has, and how many there are: ``"hair_color", 3, 10``
(https://google.github.io/cartoonset/).
"""

from __future__ import annotations

import re

import numpy as np

from facet.data.attributes import ABSENT, PRESENT
from facet.data.files import Files
from facet.data.layouts.names import attribute_names
from facet.data.layouts.text import csv_rows, short
from facet.data.raw import RawSet
from facet.errors import DataError
from facet.progress import bar

_TABLE = re.compile(r"(.*/)?cs[0-9A-Za-z]+\.csv")
_Trait = tuple[str, int]
MARK = "cs….png with cs….csv beside it"


def fits(files: Files) -> bool:
    return bool(_tables(files))


def read(files: Files) -> RawSet:
    """Each variant of a trait that any avatar has is an attribute: ``hair_color_3``. No splits, nobody's identity.

    Raises DataError naming file and line for a table of another form.
    """
    tables = _tables(files)
    if not tables:
        raise DataError(f"{files.root} holds no {MARK}: put the Cartoon Set there, as fetched or unpacked.")
    with bar(len(tables), "read traits", unit="file") as progress:
        traits = []
        for name in tables:
            traits.append(_traits(files, name))
            progress.update()
    found = sorted(set().union(*traits))
    column = {trait: k for k, trait in enumerate(found)}
    attributes = np.full((len(tables), len(found)), ABSENT, np.int8)
    for row, own in enumerate(traits):
        attributes[row, [column[trait] for trait in own]] = PRESENT
    return RawSet(
        tuple(_picture(name) for name in tables),
        attribute_names((f"{trait}_{variant}" for trait, variant in found), str(files.root)),
        attributes,
        np.full(len(tables), -1, np.int64),
        np.full(len(tables), -1, np.int64),
        files.read,
    )


def _tables(files: Files) -> list[str]:
    return [name for name in files if _TABLE.fullmatch(name) and _picture(name) in files]


def _picture(table: str) -> str:
    return table.removesuffix(".csv") + ".png"


def _traits(files: Files, name: str) -> list[_Trait]:
    """The variant of each trait."""
    traits: dict[str, int] = {}
    for line, row in csv_rows(files, name):
        trait, variant = row[0].strip(), row[1].strip() if len(row) == 3 else ""
        if not re.fullmatch(r"\d{1,3}", variant, re.ASCII) or trait in traits:
            place = f"{files.where(name)}, line {line}"
            raise DataError(f"{place}: {short(row)}, expected each trait once as name, variant, count; mend the row.")
        traits[trait] = int(variant)
    if not traits:
        raise DataError(f"{files.where(name)} holds no trait: fetch the set again.")
    return list(traits.items())
