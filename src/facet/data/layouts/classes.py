"""Folders of pictures as classes: ``cat/1.png``, or ``train/cat/1.png`` with the splits on top."""

from __future__ import annotations

import posixpath
import warnings

import numpy as np

from facet.data.attributes import ABSENT, PRESENT
from facet.data.files import Files
from facet.data.layouts.names import SPLIT_WORDS, attribute_names, is_picture
from facet.data.raw import RawSet
from facet.errors import DataError

_MOST_CLASSES = 1000
MARK = "two or more folders of pictures, each a class"


def fits(files: Files) -> bool:
    placed, _ = _placed(files)
    return len({folder for _, _, folder in placed}) > 1


def read(files: Files) -> RawSet:
    """Each class is an attribute, present for its own pictures and absent in the others.

    A picture's class is its first folder below the splits, or below the folder that holds everything. Raises DataError
    for fewer than two classes, and for more than a model can be asked for.
    """
    placed, beside = _placed(files)
    folders = sorted({folder for _, _, folder in placed})
    if not 1 < len(folders) <= _MOST_CLASSES:
        raise DataError(
            f"{files.root} has pictures in {len(folders)} class folders, expected 2 to {_MOST_CLASSES}: give "
            "each class a folder."
        )
    if beside:
        warnings.warn(f"{files.root}: {beside:,} pictures lie in no class folder and are left out.", stacklevel=2)
    column = {folder: k for k, folder in enumerate(folders)}
    attributes = np.full((len(placed), len(folders)), ABSENT, np.int8)
    attributes[np.arange(len(placed)), [column[folder] for _, _, folder in placed]] = PRESENT
    return RawSet(
        tuple(name for name, _, _ in placed),
        attribute_names(folders, str(files.root)),
        attributes,
        np.array([split for _, split, _ in placed], np.int64),
        np.full(len(placed), -1, np.int64),
        files.read,
    )


def _placed(files: Files) -> tuple[list[tuple[str, int, str]], int]:
    """(name, split or -1, class folder) of each picture, and how many lie in no class folder."""
    folders = {name: name.split("/")[:-1] for name in files if is_picture(name)}
    deep = ["/".join(parts) for parts in folders.values() if parts]
    top = posixpath.commonpath(deep).split("/") if deep else []
    # A folder that holds everything is no class, and neither is a set that has only its training part.
    skip = len([part for part in top if part])
    while skip and "/".join(top[:skip]) in deep:
        skip -= 1
    splits = {parts[skip].casefold() for parts in folders.values() if len(parts) > skip}
    split_on_top = bool(splits) and splits <= set(SPLIT_WORDS) and not any(word.isdecimal() for word in splits)
    above = next((SPLIT_WORDS[part.casefold()] for part in top[:skip] if part.casefold() in SPLIT_WORDS), -1)
    placed, beside = [], 0
    for name, parts in folders.items():
        rest = parts[skip + split_on_top :]
        if rest:
            placed.append((name, SPLIT_WORDS[parts[skip].casefold()] if split_on_top else above, rest[0]))
        else:
            beside += 1
    return placed, beside
