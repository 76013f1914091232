"""What attributes are called, and which words mean a part of the data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from facet.data.layouts.text import short
from facet.errors import DataError

_LONGEST = 80
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "0"), 0),
    **dict.fromkeys(("valid", "validation", "val", "dev", "1"), 1),
    **dict.fromkeys(("test", "testing", "2"), 2),
}
PICTURES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif")


def attribute_name(text: str) -> str:
    """``text`` as an attribute can be asked for: NFC, inner white space as ``_``, no comma, no leading sign, no control
    characters, 80 characters at most. Raises DataError where nothing is left."""
    kept = "".join(" " if c in ",\t\r\n" else c for c in unicodedata.normalize("NFC", text))
    kept = "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    name = "_".join(kept.split()).lstrip("+-_").rstrip("_")[:_LONGEST]
    if not name:
        raise DataError(f"{short(text)} can't name an attribute: rename it, with a letter or a digit first.")
    # What follows was composed before; cutting or dropping can't leave anything to compose but at a seam.
    return unicodedata.normalize("NFC", name)


def attribute_names(texts: Iterable[str], where: str) -> tuple[str, ...]:
    """The attribute names of ``texts``, in order. Raises DataError where two are one, but for case; ``where`` says in
    which file."""
    seen: dict[str, str] = {}
    names = []
    for text in texts:
        try:
            name = attribute_name(text)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        other = seen.setdefault(name.casefold(), text)
        if other is not text:
            raise DataError(f"{where}: {short(other)} and {short(text)} are both attribute {name!r}; rename one.")
        names.append(name)
    return tuple(names)


def is_picture(name: str) -> bool:
    """Whether a file of that name is a picture."""
    return name.casefold().endswith(PICTURES)


def split_of(name: str) -> int:
    """The split that a folder of ``name``, or the beginning of its file name, announces; -1 where none does."""
    *folders, file = name.casefold().split("/")
    for folder in folders:
        if folder in SPLIT_WORDS and not folder.isdecimal():
            return SPLIT_WORDS[folder]
    word = re.match(r"([a-z]+)(?=[-_.])", file)
    return SPLIT_WORDS.get(word[1], -1) if word else -1
