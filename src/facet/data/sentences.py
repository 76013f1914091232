"""artifacts/text: every face's captions, as what the denoiser's text encoder is fed.

- ``text.json``             schema, kind of text model, captions a face, tokens a caption, shards of features
- ``captions.parquet``      each different caption once, in the order of the rows below: ``caption``, ``written`` from
  attributes or given with the data
- ``captions.safetensors``  "index" int32 [n, captions a face], rows of the captions of each face in the manifest's
  order; "ids" int32 [u + 1, l], token ids; "said" int8 [u + 1, k], the attribute states that a written caption says.
  The last row is the empty caption
- ``tokenizer/``            transformers' CLIPTokenizer
- ``model/``                of a pretrained text model: the model, frozen
- ``features-00000.safetensors`` …  of a pretrained text model: "hidden" float16 [rows, l, width] and "whole" float16
  [rows, width], so that it runs once a caption and not once a step
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from facet.artifacts import TEXT_SCHEMA, read_json
from facet.data.datasets import read_shards


@dataclasses.dataclass(frozen=True)
class SentenceSet:
    """``captions`` str [u], ``written`` bool [u + 1], ``index`` int32 [n, captions a face], ``ids`` int32 [u + 1, l],
    ``said`` int8 [u + 1, k]; ``features`` of a pretrained text model, (hidden [u + 1, l, width], whole [u + 1, width]),
    else None. The last row of all but ``captions`` is the empty caption."""

    captions: np.ndarray
    written: np.ndarray
    index: np.ndarray
    ids: np.ndarray
    said: np.ndarray
    features: tuple[np.ndarray, np.ndarray] | None
    about: dict

    @property
    def empty(self) -> int:
        """The row of the empty caption."""
        return len(self.ids) - 1


def load_sentences(folder: Path) -> SentenceSet:
    """Open ``artifacts/text``. Raises ArtifactError where it is missing, damaged or of another schema."""
    about = read_json(folder / "text.json", TEXT_SCHEMA)
    table = pq.read_table(folder / "captions.parquet")
    tensors = load_file(folder / "captions.safetensors")
    shards = about["shards"]
    features = None
    if shards:
        features = (read_shards(folder, shards, "hidden"), read_shards(folder, shards, "whole"))
    return SentenceSet(
        captions=table["caption"].to_numpy().astype(str),
        # The empty caption says nothing of any attribute, which is known as surely as of a written one.
        written=np.append(table["written"].to_numpy(), True),
        index=tensors["index"],
        ids=tensors["ids"],
        said=tensors["said"],
        features=features,
        about=about,
    )
