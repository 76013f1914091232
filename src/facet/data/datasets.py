"""Reading what the steps wrote: faces and latents as memory-mapped shards, without a copy until a batch is taken."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from facet.artifacts import FACES_SCHEMA, read_json
from facet.errors import ArtifactError, DataError

# What the manifest's columns of attributes start with: an attribute may have any name, "split" too.
ATTRIBUTE = "attribute:"


@dataclasses.dataclass(frozen=True)
class FaceSet:
    """The prepared faces: ``pixels`` uint8 [n, size, size, 3], ``attributes`` int8 [n, k], ``split`` str [n];
    ``captions`` holds those that came with the data, none or some for each face."""

    pixels: np.ndarray
    attributes: np.ndarray
    split: np.ndarray
    identity: np.ndarray
    ids: np.ndarray
    captions: list[list[str]]
    about: dict

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.about["attributes"])

    def rows(self, *splits: str) -> np.ndarray:
        """Indices of the faces of these splits, ascending, int64. Raises ArtifactError where there is none."""
        rows = np.flatnonzero(np.isin(self.split, splits))
        if rows.size == 0:
            raise ArtifactError(
                f"no face is in split {' or '.join(splits)}: check the partition table, run `dvc repro`."
            )
        return rows

    def check_labelled(self) -> None:
        """Raises DataError where there is no attribute: neither the judge nor a condition could be learned."""
        if not self.names:
            raise DataError(
                "the faces have no attributes, and there is nothing else to ask the model for or to score it by: add a "
                "table or class folders to the data (docs/layouts.md), and run `dvc repro`"
            )

    def learnable(self, least: int = 8) -> np.ndarray:
        """Indices of the attributes that the train split shows both present and absent at least ``least`` times.

        An attribute with a single value can't be learned, asked for or scored, so metrics leave it out.
        """
        train = self.attributes[self.rows("train")]
        return np.flatnonzero(((train > 0).sum(axis=0) >= least) & ((train < 0).sum(axis=0) >= least))


def load_faces(folder: Path) -> FaceSet:
    """Open ``artifacts/faces``; pixels of a single shard stay memory-mapped. Raises ArtifactError where damaged."""
    about = read_json(folder / "faces.json", FACES_SCHEMA)
    table = pq.read_table(folder / "manifest.parquet")
    columns = [table[f"{ATTRIBUTE}{name}"].to_numpy() for name in about["attributes"]]
    attributes = np.stack(columns, axis=1) if columns else np.empty((table.num_rows, 0), np.int8)
    return FaceSet(
        pixels=read_shards(folder, about["shards"], "faces"),
        attributes=np.ascontiguousarray(attributes),
        split=table["split"].to_numpy().astype(str),
        identity=table["identity"].to_numpy(),
        ids=table["id"].to_numpy().astype(str),
        captions=table["captions"].to_pylist(),
        about=about,
    )


_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32, "I64": np.int64, "I8": np.int8}


def map_tensor(file: Path, name: str) -> np.ndarray:
    """Tensor ``name`` of a safetensors file as a read-only memory map."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            entry = json.loads(stream.read(length))[name]
        offset = 8 + length + entry["data_offsets"][0]
        return np.memmap(file, dtype=_DTYPES[entry["dtype"]], mode="r", offset=offset, shape=tuple(entry["shape"]))
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise ArtifactError(f"{file} is missing or damaged ({error}): delete its folder, run `dvc repro`.") from None


def read_shards(folder: Path, shards: list[dict], name: str) -> np.ndarray:
    """The shards of one tensor as one array: a memory map where there is one shard, else in memory."""
    parts = [map_tensor(folder / shard["file"], name) for shard in shards]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
