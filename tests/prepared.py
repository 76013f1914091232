"""artifacts/faces written by hand: any labels, any pictures, any quarantine, without a raw set behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from facet.artifacts import FACES_SCHEMA, digest_file, write_json

NAMES = ("Male", "Smiling", "Young")


def columns(count: int, names: Sequence[str] = NAMES, seed: int = 0) -> dict[str, Any]:
    """The manifest's columns of ``count`` plausible faces; change them, then `write_prepared`."""
    draw = np.random.default_rng(seed)
    made: dict[str, Any] = {
        "id": [f"{i:06d}.jpg" for i in range(count)],
        "source": [f"{i:064x}" for i in range(count)],
        "split": [("train", "train", "train", "valid", "test")[i % 5] for i in range(count)],
        "identity": np.arange(count) // 2,
        "captions": [["a face"] if i % 4 == 0 else [] for i in range(count)],
        "width": np.full(count, 178),
        "height": np.full(count, 218),
        "brightness": draw.normal(128, 30, count).clip(0, 255),
        "contrast": draw.normal(60, 10, count).clip(0, 127),
        "sharpness": draw.gamma(4, 2, count),
        "near": np.arange(count),
    }
    return made | {f"attribute:{name}": draw.choice([-1, 0, 1], count, p=[0.5, 0.1, 0.4]) for name in names}


def write_prepared(
    folder: Path,
    faces: Mapping[str, Any],
    quarantine: Sequence[tuple[str, str, str]] = (),
    size: int = 16,
    per_shard: int = 40,
    **about: Any,
) -> Path:
    """Write ``folder`` as `prepare` does, with drawn noise for pixels, and return it."""
    folder.mkdir(parents=True)
    count = len(faces["id"])
    rows, draw = np.arange(count), np.random.default_rng(1)
    types = {"split": pa.string(), "identity": pa.int64(), "near": pa.int64(), "captions": pa.list_(pa.string())}
    types |= dict.fromkeys(("id", "source"), pa.string()) | dict.fromkeys(("width", "height"), pa.int32())
    types |= dict.fromkeys(("brightness", "contrast", "sharpness"), pa.float32())
    table = {name: pa.array(values, types.get(name, pa.int8())) for name, values in faces.items()}
    table |= {"shard": pa.array(rows // per_shard, pa.int32()), "row": pa.array(rows % per_shard, pa.int32())}
    table["phash"] = pa.array([f"{i:016x}" for i in rows])
    pq.write_table(pa.table(table), folder / "manifest.parquet")
    names = ("id", "kind", "reason")
    aside = {name: pa.array([row[k] for row in quarantine], pa.string()) for k, name in enumerate(names)}
    pq.write_table(pa.table(aside), folder / "quarantine.parquet")
    shards = []
    for number, start in enumerate(range(0, count, per_shard)):
        file = folder / f"faces-{number:05d}.safetensors"
        held = min(per_shard, count - start)
        save_file({"faces": draw.integers(0, 256, (held, size, size, 3), dtype=np.uint8)}, file)
        shards.append({"file": file.name, "count": held, "sha256": digest_file(file)})
    content = {
        "schema": FACES_SCHEMA,
        "size": size,
        "crop": "celeba-148",
        "resize": "pillow-bicubic-antialias",
        "layout": "celeba",
        "attributes": [name.removeprefix("attribute:") for name in faces if name.startswith("attribute:")],
        "count": count,
        "splits": {split: list(faces["split"]).count(split) for split in ("train", "valid", "test")},
        "shards": shards,
        "manifest_sha256": digest_file(folder / "manifest.parquet"),
        "quarantined": len(quarantine),
        "source": None,
    }
    write_json(folder / "faces.json", content | about)
    return folder
