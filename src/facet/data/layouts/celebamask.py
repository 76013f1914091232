"""CelebAMask-HQ, and CelebA-HQ as it comes with it: 30,000 large faces of CelebA with CelebA's attributes.

The masks are not read. Which split a picture belongs to is CelebA's own word: the mapping names the CelebA file it was
made from, and where CelebA's partition and identities lie beside it, they are looked up by that.
"""

from __future__ import annotations

from facet.data.files import Files
from facet.data.layouts import celeba
from facet.data.layouts.text import short, text_of
from facet.data.raw import RawSet
from facet.errors import DataError

_ATTRIBUTES = "CelebAMask-HQ-attribute-anno"
_MAPPING = "CelebA-HQ-to-CelebA-mapping"
_IMAGES = "CelebA-HQ-img"
MARK = f"{_ATTRIBUTES}.txt"


def fits(files: Files) -> bool:
    return celeba.find(files, _ATTRIBUTES) is not None


def read(files: Files) -> RawSet:
    """The attribute table, the pictures of CelebA-HQ-img/, and of the mapping the originals, where it is there.

    Raises DataError naming file and line, as CelebA's reader does.
    """
    table = celeba.find(files, _ATTRIBUTES)
    if table is None:
        raise DataError(f"{files.where(MARK)} is missing: CelebAMask-HQ's layout needs it, and {_IMAGES}/.")
    ids, names, attributes = celeba.read_attributes(files, table)
    folder = _folder(files)
    celeba.refuse_missing(files, folder, [name for name in ids if f"{folder}/{name}" not in files])
    originals = _originals(files, ids)
    return RawSet(
        ids,
        names,
        attributes,
        celeba.read_splits(files, originals),
        celeba.read_identities(files, originals),
        lambda name: files.read(f"{folder}/{name}"),
    )


def _folder(files: Files) -> str:
    folders = {name.rpartition("/")[0] for name in files}
    found = sorted(folder for folder in folders if folder.rpartition("/")[2] == _IMAGES)
    if not found:
        raise DataError(f"{files.root} holds no {_IMAGES}/: put CelebAMask-HQ's pictures there.")
    return found[0]


def _originals(files: Files, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The CelebA file that each picture was made from.

    Raises DataError where CelebA's tables are there and the mapping is not, since by name they speak of other faces.
    """
    mapping = celeba.find(files, _MAPPING)
    if mapping is None:
        if any(celeba.find(files, stem) for stem in (celeba.PARTITION, celeba.IDENTITY)):
            raise DataError(f"{files.where(_MAPPING)}.txt is missing: without it CelebA's tables can't be looked up.")
        return ids
    path, originals = files.where(mapping), {}
    for number, line in enumerate(text_of(files, mapping).splitlines()[1:], start=2):
        words = line.split()
        if words and len(words) != 3:
            raise DataError(f"{path}, line {number}: {short(line)}, expected idx, orig_idx and orig_file.")
        if words:
            originals[f"{words[0]}.jpg"] = words[2]
    missing = [name for name in ids if name not in originals]
    if missing:
        raise DataError(f"{path} has no row for {missing[0]} ({len(missing)} missing): fetch the matching tables.")
    return tuple(originals[name] for name in ids)
