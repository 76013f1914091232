"""Photos that were edited and inpainted: what is drawn, and scores of made-up results with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from facet.data.datasets import FaceSet
from facet.evaluation.altered import Altered, _flip, alter
from facet.evaluation.altered_scores import editing, inpainting
from facet.evaluation.balance import Judged
from facet.evaluation.samples import draw_samples, load_samples, save_samples, with_altered
from facet.seeding import numpy_stream
from tests import tiny


@pytest.fixture(scope="module")
def done(faces):
    return alter(tiny.pipeline(), faces, 6, seed=0)


def labels_of(altered: Altered, faces) -> np.ndarray:
    return faces.attributes[altered.rows]


def test_photos_are_held_out_and_the_mask_is_kept_to_the_byte(done, faces):
    inpainted = done["inpainted"]
    assert set(inpainted.rows) <= set(faces.rows("valid", "test"))
    photos = faces.pixels[inpainted.rows]
    assert np.array_equal(inpainted.faces[~inpainted.masks], photos[~inpainted.masks])
    assert not np.array_equal(inpainted.faces[inpainted.masks], photos[inpainted.masks])
    shares = inpainted.masks.mean(axis=(1, 2))
    assert (shares > 0.04).all()
    assert (shares < 0.3).all()


def test_one_attribute_is_flipped_and_only_those_follow_that_it_excludes(done, faces):
    edited, labels = done["edited"], labels_of(done["edited"], faces)
    assert np.array_equal(edited.touched, edited.states != labels)
    flips = edited.touched.sum(axis=1)
    assert (flips >= 1).all()
    # More than one only where an exclusive group hands its one place on.
    assert all(((edited.states[i] > 0) & edited.touched[i]).sum() == 1 for i in np.flatnonzero(flips > 1))


def test_nothing_is_asked_for_that_training_never_showed(faces):
    """Attribute 1 is only ever seen beside attribute 0: it is not flipped on a face without that one."""
    rows = np.arange(300)
    attributes = np.stack(
        [np.where(rows % 2, 1, -1), np.where(rows % 4 == 1, 1, -1), np.where(rows % 3, 1, -1)], axis=1
    )
    about = faces.about | {"attributes": ["a", "b", "c"]}
    some = FaceSet(faces.pixels, attributes.astype(np.int8), np.full(300, "train"), rows, rows, [], about)
    without = np.array([-1, -1, 1], dtype=np.int8)
    flips = [_flip(without, some, numpy_stream(seed, "edit", 0)) for seed in range(40)]
    assert {int(np.flatnonzero(flip)[0]) for flip in flips} == {0, 2}
    assert all((flip == -without)[flip != 0].all() for flip in flips)


def test_the_same_seed_gives_the_same_and_no_attributes_no_edits(done, faces):
    again = alter(tiny.pipeline(), faces, 6, seed=0)
    assert all(np.array_equal(done[kind].faces, again[kind].faces) for kind in ("edited", "inpainted"))
    assert list(alter(tiny.pipeline(conditioning="text"), faces, 2, seed=0)) == ["inpainted"]
    assert alter(tiny.pipeline(), faces, 0, seed=0) == {}


def test_they_are_stored_with_the_samples(done, tmp_path):
    samples = with_altered(draw_samples(tiny.pipeline(), "0" * 64, {}, 2), done)
    save_samples(samples, tmp_path / "samples")
    found = load_samples(tmp_path / "samples")
    assert found.about["altered"] == {"inpainted": 6, "edited": 6}
    assert np.array_equal(found.altered["edited"].touched, done["edited"].touched)


def judged_as(states: np.ndarray, features: np.ndarray) -> Judged:
    return Judged(features, np.where(states > 0, 1, -1).astype(np.int8))


def test_an_edit_that_does_as_asked_and_nothing_else_is_perfect(done, faces):
    edited = done["edited"]
    features = np.eye(len(edited.rows))
    photos = judged_as(labels_of(edited, faces), features)
    found = editing(edited, judged_as(edited.states, features), photos, faces, 0).values
    assert (found["flipped"], found["kept"], found["kept_of_photos"]) == (1, 1, 1)
    assert (found["identity"], found["identity_of_others"]) == (1, 0)
    lazy = editing(edited, photos, photos, faces, 0).values
    assert (lazy["flipped"], lazy["kept"]) == (0, 1)
    careless = editing(edited, judged_as(-labels_of(edited, faces), features), photos, faces, 0).values
    assert (careless["flipped"], careless["kept"]) == (1, 0)


def test_inpainting_error_counts_each_side_of_the_mask_alone(faces):
    rows = faces.rows("valid", "test")[:4]
    photos = np.array(faces.pixels[rows])
    masks = np.zeros(photos.shape[:3], bool)
    masks[:, 4:12, 4:12] = True
    drawn = np.where(masks[..., None], photos // 2 + 10, photos)
    altered = Altered(drawn, rows, faces.attributes[rows], np.zeros((4, 40), bool), masks)
    seen = judged_as(faces.attributes[rows], np.eye(4))
    found = inpainting(altered, seen, seen, faces, 0).values
    expected = np.abs(photos.astype(float) - drawn).mean(axis=-1)[masks].reshape(4, -1).mean()
    assert found["inside"] == pytest.approx(expected, abs=1e-3)
    assert (found["outside"], found["kept"]) == (0, 1)
    drawn[0, 0, 0, 0] ^= 255
    assert inpainting(altered, seen, seen, faces, 0).values["outside"] > 0
