"""A labelled set of drawn faces, in the layout that raw faces come in: what a model draws can train another.

The folder has CelebA's layout, as `facet.data.layouts.read_celeba` takes it: ``img_align_celeba/``, the tables
``list_attr_celeba.txt`` and ``list_eval_partition.txt``, and ``metadata.jsonl``, which Hugging Face's image folders
have too. The labels are what was asked for, and each picture carries its record.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from facet.artifacts import whole_folder
from facet.data.attributes import UNKNOWN
from facet.data.captions import write_caption
from facet.data.datasets import load_faces
from facet.data.layouts import read_celeba
from facet.data.raw import SPLITS
from facet.diffusion.drawing import draw
from facet.diffusion.grids import grid, save_picture
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.provenance import Provenance
from facet.errors import ParamsError
from facet.progress import bar
from facet.seeding import numpy_stream

MOST_FACES = 999_999  # six digits name a picture
# Drawn between two writes.
_AT_ONCE = 256
# Every tenth picture is of the second split, every tenth of the third, about as in CelebA.
_TENTHS = (0, 0, 0, 0, 0, 0, 0, 0, 1, 2)


def states_like(data: Path, pipeline: FacePipeline, count: int, seed: int) -> np.ndarray:
    """Attributes of ``count`` faces, int8 [count, k], as often together as in ``data``, which is an artifacts/faces or
    a folder of CelebA's layout: its training faces in random order, in rounds. What the table lacks is unknown.

    Raises ParamsError where the table and the model have no attribute in common.
    """
    if (data / "faces.json").is_file():
        faces = load_faces(data)
        names, table = faces.names, faces.attributes[faces.rows("train")]
    else:
        raw = read_celeba(data)
        names, table = raw.names, raw.attributes[raw.splits == SPLITS.index("train")]
    shared = [name for name in pipeline.attribute_names if name in names]
    if not shared or not len(table):
        raise ParamsError(f"{data} has no training face with an attribute of the model: name the data it learned from.")
    rounds = -(-count // len(table))
    order = np.concatenate([numpy_stream(seed, "export", r).permutation(len(table)) for r in range(rounds)])[:count]
    states = np.full((count, len(pipeline.attribute_names)), UNKNOWN, np.int8)
    for name in shared:
        states[:, pipeline.attribute_names.index(name)] = table[order, names.index(name)]
    return states


def write_set(pipeline: FacePipeline, record: Provenance, states: np.ndarray, out: Path, seed: int = 0) -> None:
    """Draw a face a row of ``states`` int8 [n, k] into the folder ``out``, whole or not at all; the same arguments give
    the same bytes.

    ``record`` says how, its seeds one a row; the labels are its prompt's where it has one, of which nothing is known.
    Captions are written by the stream of ``seed``.
    """
    names, seeds = pipeline.attribute_names, record.seeds
    files = [f"{number + 1:06d}.png" for number in range(len(states))]
    was = dict(pipeline._progress_bar_config)
    pipeline.set_progress_bar_config(disable=True)  # one bar for all
    try:
        with whole_folder(out) as folder, bar(len(states), "export", "face") as progress:
            (folder / "img_align_celeba").mkdir()
            for at in range(0, len(states), _AT_ONCE):
                rows = range(at, min(at + _AT_ONCE, len(states)))
                for row, face in zip(rows, _drawn(pipeline, record, states, rows), strict=True):
                    own = dataclasses.replace(record, seeds=(seeds[row],), attributes=_named(names, states[row]))
                    save_picture(grid(face[None], 1), folder / "img_align_celeba" / files[row], own.chunks())
                    progress.update()
            _write_tables(folder, names, states, files)
            captions = [record.prompt or write_caption(row, names, seed, k).text for k, row in enumerate(states)]
            _write_captions(folder, files, captions)
    finally:
        pipeline.set_progress_bar_config(**was)


def _drawn(pipeline: FacePipeline, record: Provenance, states: np.ndarray, rows: range) -> np.ndarray:
    some = dataclasses.replace(record, seeds=tuple(record.seeds[row] for row in rows))
    return draw(pipeline, some, states=states[rows.start : rows.stop]).faces


def _named(names: tuple[str, ...], states: np.ndarray) -> dict[str, int]:
    return {name: int(state) for name, state in zip(names, states, strict=True) if state != UNKNOWN}


def _write_tables(folder: Path, names: tuple[str, ...], states: np.ndarray, files: list[str]) -> None:
    rows = [f"{file} {' '.join(f'{state:2d}' for state in row)}" for file, row in zip(files, states, strict=True)]
    _write_lines(folder / "list_attr_celeba.txt", [str(len(rows)), f"{' '.join(names)} ", *rows])
    _write_lines(folder / "list_eval_partition.txt", [f"{file} {_TENTHS[k % 10]}" for k, file in enumerate(files)])


def _write_captions(folder: Path, files: list[str], captions: list[str]) -> None:
    lines = [
        json.dumps({"file_name": f"img_align_celeba/{file}", "text": text}, ensure_ascii=False)
        for file, text in zip(files, captions, strict=True)
    ]
    _write_lines(folder / "metadata.jsonl", lines)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
