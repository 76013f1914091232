"""Write artifacts/text: captions of all faces, a tokenizer, and a pretrained text model's features of each caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.numpy import save_file

from facet.artifacts import TEXT_SCHEMA, digest_file, whole_folder, write_json
from facet.data.attributes import UNKNOWN
from facet.data.captions import write_caption
from facet.data.datasets import FaceSet
from facet.models.text import (
    CLIPTextModel,
    CLIPTokenizer,
    TextModelParams,
    fetch_pretrained_text,
    save_text_model,
    save_tokenizer,
    text_features,
    token_ids,
    train_tokenizer,
    unread_words,
)
from facet.params import Positive
from facet.precision import default_device
from facet.progress import bar

_SHARD_BYTES = 128 * 2**20
_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class TextParams:
    """Captions and the text model that reads them."""

    # A pretrained CLIP text model, frozen: a folder or a hub name. null: a small one of ``model``, trained with the
    # denoiser on a vocabulary learned from the captions.
    pretrained: str | None
    # Captions written of each face that comes without one.
    captions: Positive
    model: TextModelParams


@dataclasses.dataclass
class _Collected:
    """Different captions in the order they were met, and which each face has."""

    row: dict[str, int] = dataclasses.field(default_factory=dict)
    said: list[np.ndarray] = dataclasses.field(default_factory=list)
    written: list[bool] = dataclasses.field(default_factory=list)

    def add(self, caption: str, said: np.ndarray, written: bool) -> int:
        if caption not in self.row:
            self.row[caption] = len(self.row)
            self.said.append(said)
            self.written.append(written)
        return self.row[caption]


def write_sentences(faces: FaceSet, params: TextParams, seed: int, out: Path) -> dict:
    """Write ``out`` and return the content of its text.json. The tokenizer learns from the train split alone."""
    found, index = _captions(faces, params.captions, seed)
    captions = list(found.row)
    if params.pretrained:
        tokenizer, model = fetch_pretrained_text(params.pretrained)
    else:
        of_train = np.unique(index[faces.rows("train")])
        tokenizer, model = train_tokenizer([captions[row] for row in of_train], params.model), None
    ids = _ids(tokenizer, [*captions, ""], params, model)
    nothing = np.full((1, len(faces.names)), UNKNOWN, np.int8)
    with whole_folder(out) as folder:
        save_tokenizer(tokenizer, folder / "tokenizer")
        table = {"caption": captions, "written": np.array(found.written)}
        pq.write_table(pa.table(table), folder / "captions.parquet")
        said = np.concatenate([np.stack(found.said), nothing])
        save_file({"index": index, "ids": ids, "said": said}, folder / "captions.safetensors")
        shards = []
        if model is not None:
            save_text_model(model, folder / "model")
            shards = _write_features(model.to(default_device()), ids, folder)
        about = {
            "schema": TEXT_SCHEMA,
            "pretrained": params.pretrained,
            "model": None if params.pretrained else dataclasses.asdict(params.model),
            "different": len(captions),
            "per_face": index.shape[1],
            "length": ids.shape[1],
            "vocabulary": len(tokenizer),
            # Whether a word that the tokenizer has only in pieces is one that training never met.
            "closed_vocabulary": not params.pretrained and not unread_words(tokenizer, " ".join(captions)),
            "shards": shards,
            "captions_sha256": digest_file(folder / "captions.safetensors"),
        }
        write_json(folder / "text.json", about)
    return about


def _captions(faces: FaceSet, count: int, seed: int) -> tuple[_Collected, np.ndarray]:
    """The captions of all faces: those given with the data, else ``count`` written ones."""
    found = _Collected()
    # What never changes among the training faces can't be learned, so nothing is said of it.
    states = np.full_like(faces.attributes, UNKNOWN)
    states[:, faces.learnable()] = faces.attributes[:, faces.learnable()]
    nothing = np.full(len(faces.names), UNKNOWN, np.int8)
    rows: list[list[int]] = []
    with bar(len(states), "caption", "face") as progress:
        for face, own in enumerate(faces.captions):
            if own:
                rows.append([found.add(caption, nothing, False) for caption in own])
            else:
                told = [write_caption(states[face], faces.names, seed, face, number) for number in range(count)]
                rows.append([found.add(caption.text, caption.states, True) for caption in told])
            progress.update()
    most = max(len(row) for row in rows)
    return found, np.array([(row * most)[:most] for row in rows], dtype=np.int32)


def _ids(
    tokenizer: CLIPTokenizer, captions: Sequence[str], params: TextParams, model: CLIPTextModel | None
) -> np.ndarray:
    """Ids int32 [n, l]. A frozen model sees no token after the longest caption's end: each token sees only those before
    it, so what follows is of no use to anyone."""
    ids = token_ids(tokenizer, captions, params.model.length if model is None else model.config.max_position_embeddings)
    if model is not None:
        longest = int((ids != tokenizer.pad_token_id).sum(dim=1).max()) + 1
        ids = ids[:, : min(ids.shape[1], longest)]
    return ids.numpy().astype(np.int32)


@torch.no_grad()
def _write_features(model: CLIPTextModel, ids: np.ndarray, folder: Path) -> list[dict]:
    width = model.config.hidden_size
    per_shard = max(1, _SHARD_BYTES // (2 * (ids.shape[1] + 1) * width))
    shards = []
    with bar(len(ids), "encode text", "caption") as progress:
        for number, start in enumerate(range(0, len(ids), per_shard)):
            rows = ids[start : start + per_shard]
            tensors = {
                "hidden": np.empty((*rows.shape, width), dtype=np.float16),
                "whole": np.empty((len(rows), width), dtype=np.float16),
            }
            for at in range(0, len(rows), _AT_ONCE):
                batch = torch.from_numpy(rows[at : at + _AT_ONCE]).long().to(model.device)
                for tensor, values in zip(tensors.values(), text_features(model, batch), strict=True):
                    tensor[at : at + len(batch)] = values.to(torch.float16).cpu().numpy()
                progress.update(len(batch))
            file = folder / f"features-{number:05d}.safetensors"
            save_file(tensors, file)
            shards.append({"file": file.name, "count": len(rows), "sha256": digest_file(file)})
    return shards
