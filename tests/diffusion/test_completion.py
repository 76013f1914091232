"""What is left open is filled in from a face that fits, by seed; what is asked for stays."""

import warnings

import numpy as np
import pytest
import torch

from facet.diffusion.completion import completed, never_seen
from facet.diffusion.editing import edit
from facet.diffusion.requests import RequestWarning
from tests import tiny

NAMES = ("Male", "Bald", "Bangs", "Smiling")
EXAMPLES = torch.tensor([[1, 1, -1, 1], [1, -1, -1, -1], [-1, -1, 1, 1], [-1, -1, 1, -1]], dtype=torch.int8)


def filled(*rows: list[int], seeds: list[int] | None = None) -> list[list[int]]:
    states = torch.tensor(rows, dtype=torch.float32)
    return completed(states, seeds or list(range(len(rows))), EXAMPLES, NAMES).int().tolist()


def test_the_rest_comes_from_a_face_that_has_all_that_was_asked_for():
    assert filled([-1, 0, 0, 1]) == [[-1, -1, 1, 1]]
    assert filled([1, 1, -1, 1]) == [[1, 1, -1, 1]]
    found = {tuple(row) for row in filled(*[[1, 0, 0, 0]] * 40)}
    assert found == {(1, 1, -1, 1), (1, -1, -1, -1)}


def test_asked_for_nothing_each_face_is_as_likely():
    rows = filled(*[[0, 0, 0, 0]] * 2000)
    shares = [sum(row == example for row in rows) / 2000 for example in EXAMPLES.int().tolist()]
    assert shares == pytest.approx([0.25] * 4, abs=0.04)


def test_what_no_face_has_is_drawn_all_the_same_and_nothing_beside_it_that_it_excludes():
    for row in filled(*[[-1, 1, 0, 0]] * 30):
        assert row[:2] == [-1, 1]
        assert row[2] == -1, "Bangs on a bald head"


def test_a_seed_chooses_alike_in_any_company():
    alone = filled([0, 0, 0, 0], seeds=[7])
    assert filled([1, 0, 0, 0], [0, 0, 0, 0], seeds=[3, 7])[1:] == alone


def unseen(*rows: list[int]) -> list[str]:
    return never_seen(torch.tensor(rows, dtype=torch.float32), EXAMPLES, NAMES)


def test_what_no_face_has_alone_or_at_once_is_named():
    assert unseen([1, 0, 0, 1], [-1, 0, 0, -1]) == []  # both rows have a face; their mixture is asked for by neither
    assert unseen([-1, 1, 0, 0]) == ["Bald,-Male"]
    assert unseen([1, 0, 1, 0], [0, 1, 0, -1]) == ["Male,Bangs", "Bald,-Smiling"]
    assert unseen([0, 0, 0, 0]) == []
    nobody = torch.zeros_like(EXAMPLES)
    nobody[:, 1:] = EXAMPLES[:, 1:]  # of whom nothing is known in the first attribute
    row = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert never_seen(row, nobody, NAMES) == ["Male"], "and not 'Male,Bald' besides"


def told(pipe, **given) -> list[str]:
    """What the pipeline warns of when it draws these; it must point at whoever asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RequestWarning)
        pipe(seeds=[5], output_type="np", **given)
    asked = [one for one in caught if one.category is RequestWarning]
    assert {one.filename for one in asked} <= {__file__}
    return [str(one.message) for one in asked]


def test_a_request_that_no_training_face_fits_is_drawn_with_a_warning():
    pipe = tiny.pipeline(conditioning="attributes")
    assert told(pipe, attributes="Sideburns") == []  # no face is kept that could tell
    states = np.full((30, 40), -1, np.int8)
    male, goatee, young = (pipe.attribute_names.index(name) for name in ("Male", "Goatee", "Young"))
    states[:15, [male, young]] = 1
    states[:5, goatee] = 1
    pipe.condition_encoder.examples = torch.from_numpy(states)
    assert told(pipe, attributes="Goatee,Young") == []
    (one,) = told(pipe, attributes="Goatee,-Male")
    assert "none of the 30 training faces that the model knows of has 'Goatee,-Male'" in one
    (many,) = told(pipe, attributes="Bald,Sideburns,Chubby,Blurry")
    assert "'Bald' or 'Blurry' or 'Chubby' and 1 more" in many
    mixture = states[:1] * np.float32(0.5)
    assert told(pipe, attributes=mixture) == []
    photo = pipe(seeds=[5], output_type="np").images
    with pytest.warns(RequestWarning, match="'Sideburns'"):
        edit(pipe, photo, "Sideburns", steps=2)


def test_one_sentence_for_all_is_warned_of_like_attributes():
    pipe = tiny.pipeline()
    male, goatee = (pipe.attribute_names.index(name) for name in ("Male", "Goatee"))
    states = np.full((30, 40), -1, np.int8)
    states[:15, [male, goatee]] = 1
    pipe.condition_encoder.examples = torch.from_numpy(states)
    with torch.no_grad():  # reads "no man, a goatee" from whatever is said
        pipe.condition_encoder.reader.weight.zero_()
        pipe.condition_encoder.reader.bias[[2 * male, 2 * goatee + 1]] = 9.0
    (one,) = told(pipe, prompt="a man")
    assert "has 'Goatee,-Male'" in one
    assert told(pipe, prompt="a man", attributes="Male") == []
    assert told(pipe) == []


def with_examples(conditioning="both"):
    pipe = tiny.pipeline(conditioning=conditioning)
    states = np.random.default_rng(0).choice([-1, 1], size=(30, 40)).astype(np.int8)
    pipe.condition_encoder.examples = torch.from_numpy(states)
    return pipe


def test_the_pipeline_completes_requests_and_not_photos():
    pipe = with_examples()
    states = np.zeros((1, 40), np.int8)
    chosen = completed(torch.zeros(1, 40), [5], pipe.condition_encoder.examples, pipe.attribute_names)

    def drawn(**given):
        return pipe(seeds=[5], output_type="np", **given).images

    assert np.array_equal(drawn(attributes=states), drawn(attributes=chosen))
    assert not np.array_equal(drawn(attributes=states), drawn(attributes=states, complete=False))
    photo = drawn()[0]
    changed = drawn(image=photo, strength=0.5)
    assert np.array_equal(changed, drawn(image=photo, strength=0.5, complete=False))
    half = np.full((1, 40), 0.5)
    assert np.array_equal(drawn(attributes=half), drawn(attributes=half, complete=False))


def test_what_a_prompt_says_counts_as_asked_for(monkeypatch):
    pipe = with_examples()
    read = type(pipe.condition_encoder).read
    seen = []

    def surely(self, text):
        logits = read(self, text)
        logits[:, 3] = torch.tensor([9.0, 0, 0])
        return logits

    def remember(states, *given):
        seen.append(states.clone())
        return completed(states, *given)

    monkeypatch.setattr(type(pipe.condition_encoder), "read", surely)
    monkeypatch.setattr("facet.diffusion.pipeline.completed", remember)
    pipe(["a man", ""], seeds=[1, 2])
    assert seen[0][0, 3] == -1
    assert (seen[0][1] == 0).all()
