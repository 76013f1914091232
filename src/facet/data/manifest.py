"""Raw set -> artifacts/faces: shards of uint8 pictures and a table of what is known of each.

``artifacts/faces/`` holds

- ``faces.json``       schema, size, crop rule, attribute names, counts by split, shards with their sha256
- ``manifest.parquet`` one row a face: id, shard, row, split, identity, quality figures, the captions that came
  with it, one int8 column an attribute
- ``faces-00000.safetensors`` …  tensor "faces", uint8 [n, size, size, 3] RGB, in the manifest's order
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from facet.artifacts import FACES_SCHEMA, digest_file, whole_folder, write_json
from facet.data.faces import CropRule, decode_face, quality
from facet.data.raw import SPLITS, RawSet
from facet.errors import DataError
from facet.params import Between
from facet.progress import bar

# Big enough that a whole CelebA at 64 px is 19 files, small enough that a shard fits anywhere in memory.
_SHARD_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True)
class PrepareParams:
    """How raw pictures become faces."""

    # Side of the square face in pixels; the autoencoder divides it by 8.
    size: Annotated[int, Between(16, 1024)]
    # Which part of the picture is the face; the rule's name travels with every metric.
    crop: CropRule

    def __post_init__(self) -> None:
        if self.size % 16:
            raise ValueError(f"size is {self.size}, expected a multiple of 16")


def write_faces(raw: RawSet, params: PrepareParams, out: Path) -> dict:
    """Write ``out`` from ``raw`` and return the content of its faces.json. The bytes don't depend on the core count.

    Raises DataError naming the first picture that can't be read.
    """
    if len(raw) == 0:
        raise DataError("the attribute table lists no picture: nothing to prepare.")
    per_shard = max(1, _SHARD_BYTES // (params.size * params.size * 3))
    figures = np.empty((len(raw), 3), dtype=np.float32)
    shards = []
    with whole_folder(out) as folder, bar(len(raw), "prepare", "face") as progress:
        for number, start in enumerate(range(0, len(raw), per_shard)):
            ids = raw.ids[start : start + per_shard]
            faces = np.empty((len(ids), params.size, params.size, 3), dtype=np.uint8)
            for i, face in enumerate(_decode_all(raw, ids, params)):
                faces[i] = face
                figures[start + i] = quality(face)
                progress.update()
            file = folder / f"faces-{number:05d}.safetensors"
            save_file({"faces": faces}, file)
            shards.append({"file": file.name, "count": len(ids), "sha256": digest_file(file)})
        pq.write_table(_table(raw, figures, per_shard), folder / "manifest.parquet")
        about = {
            "schema": FACES_SCHEMA,
            "size": params.size,
            "crop": params.crop,
            "resize": "pillow-bicubic-antialias",
            "attributes": list(raw.names),
            "count": len(raw),
            "splits": {name: int((raw.splits == i).sum()) for i, name in enumerate(SPLITS)},
            "shards": shards,
            # Labels and splits: faces of the same pixels under other labels are another set.
            "manifest_sha256": digest_file(folder / "manifest.parquet"),
        }
        write_json(folder / "faces.json", about)
    return about


def _decode_all(raw: RawSet, ids: tuple[str, ...], params: PrepareParams) -> Iterator[np.ndarray]:
    """Faces in order; threads suffice, since decoding and resizing release the interpreter lock."""

    def decode(name: str) -> np.ndarray:
        try:
            return decode_face(raw.read(name), params.size, params.crop)
        except DataError as error:
            raise DataError(
                f"picture {name}: {str(error).rstrip('.')}; replace it or drop its row from the tables."
            ) from None

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(decode, ids)


def _table(raw: RawSet, figures: np.ndarray, per_shard: int) -> pa.Table:
    rows = np.arange(len(raw))
    columns = {
        "id": pa.array(raw.ids),
        "shard": pa.array(rows // per_shard, pa.int32()),
        "row": pa.array(rows % per_shard, pa.int32()),
        "split": pa.array([SPLITS[i] for i in raw.splits]),
        "identity": pa.array(raw.identities, pa.int64()),
        "brightness": pa.array(figures[:, 0]),
        "contrast": pa.array(figures[:, 1]),
        "sharpness": pa.array(figures[:, 2]),
        "captions": pa.array(raw.captions or [()] * len(raw), pa.list_(pa.string())),
    }
    columns |= {name: pa.array(raw.attributes[:, k], pa.int8()) for k, name in enumerate(raw.names)}
    return pa.table(columns)
