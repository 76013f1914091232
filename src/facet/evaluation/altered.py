"""Photos that the model changes: an attribute flipped, a part drawn anew. How well it does, and what it leaves alone.

The photos are held-out faces, whose labels say what should stay. Everything is drawn by the step that draws the
samples, and scored by the one that scores them (facet.evaluation.altered_scores).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from facet.data.attributes import UNKNOWN
from facet.data.datasets import FaceSet
from facet.diffusion.editing import edit, with_changes
from facet.diffusion.pipeline import FacePipeline
from facet.seeding import numpy_stream

# Above the seeds of samples and of snapshots.
_FIRST_SEED = 2**31
# What a photo is changed to must have been seen: each pair of its states in so many training faces.
_SEEN = 8
# Side of the part drawn anew, as shares of the picture's.
_SIDES = (0.25, 0.5)


@dataclasses.dataclass(frozen=True)
class Altered:
    """``faces`` uint8 [n, h, w, 3], made of the photos ``rows`` int64 [n]; ``states`` int8 [n, k] is what they should
    show: ``touched`` bool [n, k] are those that were to change; ``masks`` bool [n, h, w] what was drawn anew."""

    faces: np.ndarray
    rows: np.ndarray
    states: np.ndarray
    touched: np.ndarray
    masks: np.ndarray


def alter(pipeline: FacePipeline, faces: FaceSet, count: int, seed: int) -> dict[str, Altered]:
    """``count`` held-out faces ``edited``, each in one attribute, and as many ``inpainted``; only the latter where the
    model takes no attributes, and nothing where ``count`` is 0."""
    if not count:
        return {}
    held_out = faces.rows("valid", "test")
    rows = np.sort(np.resize(numpy_stream(seed, "altered photos").permutation(held_out), count))
    takes_attributes = pipeline.conditioning in ("attributes", "both")
    done = {"inpainted": _inpaint(pipeline, faces, rows, seed, known=takes_attributes)}
    return done | ({"edited": _edit(pipeline, faces, rows, seed)} if takes_attributes else {})


def _inpaint(pipeline: FacePipeline, faces: FaceSet, rows: np.ndarray, seed: int, *, known: bool) -> Altered:
    photos, states = np.array(faces.pixels[rows]), faces.attributes[rows]
    masks = np.stack([_box(photos.shape[1:3], seed, int(row)) for row in rows])
    asked = states if known else np.full_like(states, UNKNOWN)
    seeds = range(_FIRST_SEED, _FIRST_SEED + len(rows))
    drawn = pipeline(attributes=asked, image=photos, mask=masks, seeds=seeds, output_type="np").images
    return Altered(drawn, rows, states, np.zeros(states.shape, bool), masks)


def _box(size: tuple[int, int], seed: int, row: int) -> np.ndarray:
    """A rectangle anywhere in the picture, bool [h, w]."""
    stream = numpy_stream(seed, "inpainting box", row)
    mask = np.zeros(size, bool)
    lengths = [round(side * stream.uniform(*_SIDES)) for side in size]
    top, left = (int(stream.integers(side - length + 1)) for side, length in zip(size, lengths, strict=True))
    mask[top : top + lengths[0], left : left + lengths[1]] = True
    return mask


def _edit(pipeline: FacePipeline, faces: FaceSet, rows: np.ndarray, seed: int) -> Altered:
    photos, states = np.array(faces.pixels[rows]), faces.attributes[rows]
    flips = np.stack(
        [_flip(known, faces, numpy_stream(seed, "edit", int(row))) for known, row in zip(states, rows, strict=True)]
    )
    target = with_changes(states, flips, faces.names)
    drawn = edit(pipeline, photos, flips, known=states, seeds=range(_FIRST_SEED, _FIRST_SEED + len(rows))).images
    return Altered(drawn, rows, target, target != states, np.ones(photos.shape[:3], bool))


def _flip(states: np.ndarray, faces: FaceSet, stream: np.random.Generator) -> np.ndarray:
    """One attribute's opposite, int8 [k], such that no pair of states that the change leads to is unheard of."""
    train = faces.attributes[faces.rows("train")]
    options = stream.permutation([k for k in faces.learnable() if states[k] != UNKNOWN])
    for k in options:
        wanted = np.full(len(states), UNKNOWN, np.int8)
        wanted[k] = -states[k]
        target = with_changes(states[None], wanted, faces.names)[0]
        alike = train[train[:, k] == target[k]] == target
        if alike[:, target != UNKNOWN].sum(axis=0).min() >= _SEEN:
            return wanted
    return wanted
