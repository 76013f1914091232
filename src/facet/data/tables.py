"""The tables beside the prepared pixels, read without them: what is known of each face, and what was put aside."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facet.artifacts import FACES_SCHEMA, read_json
from facet.data.datasets import ATTRIBUTE
from facet.errors import ArtifactError

# The files that make a Tables, below artifacts/faces.
ABOUT, MANIFEST, QUARANTINE = "faces.json", "manifest.parquet", "quarantine.parquet"

_COLUMNS = ("id", "source", "shard", "row", "split", "identity", "captions", "width", "height")
_COLUMNS += ("brightness", "contrast", "sharpness", "near")
_QUARANTINE_COLUMNS = ("id", "kind", "reason")


@dataclasses.dataclass(frozen=True)
class Tables:
    """``about`` is the content of faces.json, ``faces`` the manifest, a row a face, ``quarantine`` what was put aside:
    id, kind and reason of each picture."""

    about: dict[str, Any]
    faces: pa.Table
    quarantine: pa.Table

    def __len__(self) -> int:
        return self.faces.num_rows

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes, in the order of the table they came from."""
        return tuple(self.about["attributes"])

    def column(self, name: str) -> np.ndarray:
        """One column of the manifest, [n]."""
        return self.faces[name].to_numpy()

    @functools.cached_property
    def states(self) -> np.ndarray:
        """int8 [n, attributes] of ABSENT, UNKNOWN, PRESENT."""
        if not self.names:
            return np.zeros((len(self), 0), dtype=np.int8)
        return np.stack([self.column(ATTRIBUTE + name) for name in self.names], axis=1)

    @functools.cached_property
    def split(self) -> np.ndarray:
        """The split of each face, str [n]."""
        return self.column("split").astype(str)

    @functools.cached_property
    def caption_counts(self) -> np.ndarray:
        """How many captions each face has, int64 [n]."""
        return pc.list_value_length(self.faces["captions"]).fill_null(0).to_numpy().astype(np.int64)


def read_tables(folder: Path) -> Tables:
    """The tables of ``folder``, an artifacts/faces. Raises ArtifactError where one is missing, damaged, without a
    column it should have, or without a face."""
    about = read_json(folder / ABOUT, FACES_SCHEMA)
    faces = _read(folder / MANIFEST, [*_COLUMNS, *(ATTRIBUTE + name for name in about["attributes"])])
    if faces.num_rows == 0:
        raise ArtifactError(f"{folder / MANIFEST} lists no face: prepare them again with `dvc repro prepare`.")
    return Tables(about, faces, _read(folder / QUARANTINE, _QUARANTINE_COLUMNS))


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist: make it with `dvc repro prepare`.") from None
    except (OSError, ValueError) as error:  # pyarrow's own errors descend from these
        raise ArtifactError(f"{path} is damaged ({error}): delete its folder, run `dvc repro prepare`.") from None
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ArtifactError(
            f"{path} has no column {', '.join(missing[:5])}: delete its folder, run `dvc repro prepare`."
        )
    return table.select(list(columns)).combine_chunks()


def readable(text: str, most: int = 60) -> str:
    """``text`` from the data, such as a file's name, fit for a line or a page: signs that print nothing or turn the
    line round become escapes, and beyond ``most`` signs the middle is left out."""
    text = text if text.isprintable() else repr(text)[1:-1]
    kept = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - kept]}…{text[-kept:]}"
