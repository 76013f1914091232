"""`facet data push`: a fetched set as a mirror in a bucket of one's own."""

from __future__ import annotations

from pathlib import Path

from facet.artifacts import SOURCE
from facet.bucket import Upload, upload_folder
from facet.data.fetch import record
from facet.errors import DataError


def push(folder: Path, url: str) -> Upload:
    """Copy ``folder`` to ``url``; its source.json goes last, so that a mirror that has it is whole.

    Raises DataError where the folder is not what its source.json says.
    """
    known = record.read(folder)
    if known is not None and (wrong := record.differing(folder, known)):
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{folder} is not what its {SOURCE} says: {wrong[0]}{more} is missing or changed; fetch the set again, or "
            f"remove {SOURCE} to push the folder as it is"
        )
    return upload_folder(folder, url, seal=SOURCE)
