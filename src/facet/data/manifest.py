"""Raw set -> artifacts/faces: shards of uint8 pictures and a table of what is known of each.

``artifacts/faces/`` holds

- ``faces.json``       schema, size, crop rule, layout, attribute names, counts by split, shards with their sha256, how
  many pictures were put aside, and where the data came from
- ``manifest.parquet`` one row a face: id, source (SHA-256 of the picture's file), shard, row, split, identity, the
  captions that came with it, width and height of the picture, quality figures, perceptual hash, near (the row of the
  first face of its group of near duplicates), and an int8 column ``attribute:NAME`` an attribute
- ``quarantine.parquet`` one row a picture that was put aside: id, kind, reason
- ``faces-00000.safetensors`` …  tensor "faces", uint8 [n, size, size, 3] RGB, in the manifest's order
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file
from tqdm import tqdm

from facet.artifacts import FACES_SCHEMA, digest_code, digest_file, digest_json, whole_folder, write_json
from facet.data.blocks import How, Measured, Refused, write_blocks
from facet.data.datasets import ATTRIBUTE, map_tensor
from facet.data.faces import CropRule
from facet.data.layouts import Layout
from facet.data.raw import SPLITS, RawSet
from facet.data.splits import Decision, HeldOut, decide
from facet.data.tables import readable
from facet.errors import DataError
from facet.params import Between, Fraction, Positive
from facet.progress import bar

# What is put aside without anything being wrong with it, and so is no reason to stop.
_HARMLESS = frozenset({"duplicate", "near duplicate"})


@dataclasses.dataclass(frozen=True)
class PrepareParams:
    """How raw pictures become faces."""

    # How the raw data is laid out; auto finds out.
    layout: Layout
    # Side of the square face in pixels; the autoencoder divides it by 8.
    size: Annotated[int, Between(16, 1024)]
    # Which part of the picture is the face; the rule's name travels with every metric.
    crop: CropRule
    # Pictures of which the face, as cropped, is fewer pixels wide are put aside.
    min_side: Positive
    # Share of the pictures that may be put aside as broken, too small and the like, before it is the data that is
    # broken.
    max_quarantined: Fraction
    # Shares held out where the data does not say itself which.
    held_out: HeldOut

    def __post_init__(self) -> None:
        if self.size % 16:
            raise ValueError(f"size is {self.size}, expected a multiple of 16")

    @property
    def how(self) -> How:
        return How(self.size, self.crop, self.min_side)


def write_faces(raw: RawSet, params: PrepareParams, out: Path, scratch: Path | None = None) -> dict:
    """Write ``out`` from ``raw`` and return the content of its faces.json. The bytes don't depend on the core count.

    With a folder ``scratch``, finished blocks are kept there until all is done, and a later call goes on from them.
    Raises DataError where too many pictures can't be used, naming the reasons.
    """
    if len(raw) == 0:
        raise DataError("the attribute table lists no picture: nothing to prepare.")
    with _folder_of_blocks(raw, params, scratch) as blocks, bar(len(raw), "prepare", "face") as progress:
        files, measured, refused = _all_blocks(raw, params, blocks, progress)
        decision = decide(raw, measured, params.held_out)
        with whole_folder(out) as folder:
            shards = _write_shards(files, measured, decision.kept, params.how, folder)
            kept = dataclasses.replace(measured, **_rows_of(measured, decision.kept))
            pq.write_table(_table(raw, kept, decision, params.how), folder / "manifest.parquet")
            aside = sorted(refused + decision.refused)
            pq.write_table(_aside(raw, aside), folder / "quarantine.parquet")
            about = _about(raw, params, decision, aside, shards, folder)
            write_json(folder / "faces.json", about)
    return about


@contextlib.contextmanager
def _folder_of_blocks(raw: RawSet, params: PrepareParams, scratch: Path | None) -> Iterator[Path]:
    """The folder for the blocks of this very set and these params. It is gone when the block ends well; after an error
    it stays for the next try, where ``scratch`` says where."""
    if scratch is None:
        with tempfile.TemporaryDirectory(prefix="facet-prepare-") as folder:
            yield Path(folder)
        return
    marks = b"" if raw.landmarks is None else np.ascontiguousarray(raw.landmarks).tobytes()
    key = {
        "how": repr(params.how),
        "layout": raw.layout,
        "landmarks": hashlib.sha256(marks).hexdigest(),
        "code": digest_code(),
    }
    folder = scratch / digest_json(key)[:16]
    for other in scratch.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _all_blocks(
    raw: RawSet, params: PrepareParams, folder: Path, progress: tqdm
) -> tuple[list[Path], Measured, list[Refused]]:
    files, measured, refused = [], [], []
    for path, some, aside in write_blocks(raw, params.how, folder, progress):
        files.append(path)
        measured.append(some)
        refused += aside
        _stop_at_too_many(raw, refused, params.max_quarantined * len(raw))
    everything = Measured.joined(measured)
    if not len(everything):
        _stop_at_too_many(raw, refused, -1)
    return files, everything, refused


def _stop_at_too_many(raw: RawSet, refused: Sequence[Refused], most: float) -> None:
    """Raises DataError with each reason once, the commonest first."""
    bad = [one for one in refused if one.kind not in _HARMLESS]
    if len(bad) <= most:
        return
    told = []
    for kind, count in Counter(one.kind for one in bad).most_common(3):
        first = next(one for one in bad if one.kind == kind)
        told.append(f"{count} {kind}, such as {readable(raw.ids[first.row])} ({first.reason.rstrip('.')})")
    raise DataError(
        f"{len(bad)} of {len(raw)} pictures can't be used: {'; '.join(told)}; mend the data, or raise "
        "prepare.max_quarantined to go on without them."
    )


def _write_shards(files: Sequence[Path], measured: Measured, kept: np.ndarray, how: How, folder: Path) -> list[dict]:
    """The faces that are kept, in order, in shards of equal size; one block and one shard in memory at most."""
    shards: list[dict] = []
    for number, faces in enumerate(_regrouped(files, measured, kept, how.per_block)):
        file = folder / f"faces-{number:05d}.safetensors"
        save_file({"faces": faces}, file)
        shards.append({"file": file.name, "count": len(faces), "sha256": digest_file(file)})
    return shards


def _regrouped(files: Sequence[Path], measured: Measured, kept: np.ndarray, size: int) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    start = 0
    for file in files:
        faces = map_tensor(file, "faces")
        waiting.append(faces[kept[start : start + len(faces)]])
        start += len(faces)
        while sum(map(len, waiting)) >= size:
            joined = np.concatenate(waiting)
            yield np.ascontiguousarray(joined[:size])
            waiting = [joined[size:]]
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)


def _rows_of(measured: Measured, kept: np.ndarray) -> dict[str, np.ndarray]:
    return {field.name: getattr(measured, field.name)[kept] for field in dataclasses.fields(measured)}


def _table(raw: RawSet, kept: Measured, decision: Decision, how: How) -> pa.Table:
    rows, own = np.arange(len(kept)), kept.rows
    captions = [raw.captions[row] for row in own] if raw.captions else [()] * len(own)
    columns = {
        "id": pa.array([raw.ids[row] for row in own]),
        "source": pa.array([source.tobytes().hex() for source in kept.sources]),
        "shard": pa.array(rows // how.per_block, pa.int32()),
        "row": pa.array(rows % how.per_block, pa.int32()),
        "split": pa.array([SPLITS[i] for i in decision.split]),
        "identity": pa.array(raw.identities[own], pa.int64()),
        "captions": pa.array(captions, pa.list_(pa.string())),
        "width": pa.array(kept.sides[:, 0], pa.int32()),
        "height": pa.array(kept.sides[:, 1], pa.int32()),
        "brightness": pa.array(kept.quality[:, 0]),
        "contrast": pa.array(kept.quality[:, 1]),
        "sharpness": pa.array(kept.quality[:, 2]),
        "phash": pa.array([f"{value:016x}" for value in kept.hashes.view(np.uint64).tolist()]),
        "near": pa.array(decision.near, pa.int64()),
    }
    columns |= {f"{ATTRIBUTE}{name}": pa.array(raw.attributes[own, k], pa.int8()) for k, name in enumerate(raw.names)}
    return pa.table(columns)


def _aside(raw: RawSet, refused: Sequence[Refused]) -> pa.Table:
    columns = [[raw.ids[one.row] for one in refused], [one.kind for one in refused], [one.reason for one in refused]]
    return pa.table({name: pa.array(c, pa.string()) for name, c in zip(("id", "kind", "reason"), columns, strict=True)})


def _about(
    raw: RawSet,
    params: PrepareParams,
    decision: Decision,
    aside: Sequence[Refused],
    shards: list[dict],
    folder: Path,
) -> dict:
    source = raw.source or {}
    return {
        "schema": FACES_SCHEMA,
        "size": params.size,
        "crop": params.crop,
        "resize": "bicubic-antialias",
        "layout": raw.layout,
        "attributes": list(raw.names),
        "count": len(decision.split),
        "splits": {name: int((decision.split == i).sum()) for i, name in enumerate(SPLITS)},
        "quarantined": dict(sorted(Counter(one.kind for one in aside).items())),
        "source": {key: source[key] for key in ("name", "revision", "licence") if source.get(key)} or None,
        "shards": shards,
        # Labels and splits: faces of the same pixels under other labels are another set.
        "manifest_sha256": digest_file(folder / "manifest.parquet"),
    }
