"""Inversion finds the latents that a photo comes from; editing changes what is asked; ways, sweeps and strips."""

import dataclasses

import numpy as np
import pytest
import torch

from facet.data.attributes import CELEBA_ATTRIBUTES, parse_request
from facet.diffusion.editing import (
    denoising_strip,
    edit,
    interpolate,
    movement,
    slerp,
    sweep,
    with_changes,
)
from facet.diffusion.inversion import invert, upwards
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.sampling import Condition
from facet.diffusion.schedulers import levels
from facet.errors import ParamsError
from facet.seeding import torch_stream
from tests import tiny
from tests.diffusion.test_samplers import MEAN, SPREAD, objective_of, perfect
from tests.diffusion.test_starts import photos

NAMES = CELEBA_ATTRIBUTES


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


@pytest.mark.parametrize("prediction", ["flow", "epsilon", "v"])
@pytest.mark.parametrize("end", [400.0, 999.0])
def test_inversion_solves_the_ode_upwards(prediction, end):
    """Of normal data it keeps each point's distance from the mean in standard deviations."""
    objective = objective_of(prediction)
    clean = MEAN + SPREAD * torch.randn(3, 4, 4, 4, generator=torch_stream(0, "test"))
    condition = Condition(torch.zeros(3, 1, 1), torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool))
    found = upwards(perfect(objective), objective, clean, condition, np.linspace(0, end, 31).tolist())
    alpha, sigma = levels(objective, end)
    spread = (alpha**2 * SPREAD**2 + sigma**2) ** 0.5
    expected = alpha * MEAN + spread * (clean - MEAN) / SPREAD
    assert (found - expected).abs().max() < 0.02, (found - expected).abs().max()


@pytest.mark.parametrize(("prediction", "sampler"), [("flow", "dpm++"), ("epsilon", "dpm++"), ("v", "heun")])
def test_up_and_down_again_gives_the_photo_back(prediction, sampler):
    objective = ObjectiveParams(prediction, 0.0, 1.0, 5.0, "scaled_linear")
    pipe = tiny.pipeline(dataclasses.replace(tiny.SAMPLING, sampler=sampler, steps=24), objective)
    photo = photos(2)
    same = pipe.decode_faces(pipe.encode_faces(photo))
    latents = invert(pipe, photo, attributes="Male", strength=0.5)
    again = pipe(
        attributes="Male", latents=latents, strength=0.5, guidance_scale=1.0, num_images=2, output_type="np"
    ).images
    other = pipe(attributes="Male", num_images=2, output_type="np").images
    assert np.abs(again.astype(float) - same).mean() < 1.5
    assert np.abs(other.astype(float) - same).mean() > 10, "else the bound above means nothing"


def test_a_photo_is_inverted_the_same_in_any_company(pipe):
    several = photos(18)
    together = invert(pipe, several)
    assert together.shape == (18, *pipe.latent_shape)
    assert torch.equal(invert(pipe, several[17:])[0], together[17])


def test_changes_are_laid_over_what_is_known():
    known = np.stack([parse_request(text, NAMES) for text in ("Blond_Hair,Male", "Brown_Hair,-Smiling,No_Beard")])

    def changed(changes: str) -> list[dict[str, int]]:
        rows = with_changes(known, parse_request(changes, NAMES), NAMES)
        return [{NAMES[k]: int(row[k]) for k in np.flatnonzero(row)} for row in rows]

    assert changed("Smiling") == [
        {"Blond_Hair": 1, "Male": 1, "Smiling": 1},
        {"Brown_Hair": 1, "Smiling": 1, "No_Beard": 1},
    ]
    black = changed("Black_Hair")
    assert black[0] == {"Black_Hair": 1, "Blond_Hair": -1, "Brown_Hair": -1, "Gray_Hair": -1, "Male": 1}
    assert changed("Goatee")[1]["No_Beard"] == -1
    assert changed("-No_Beard")[1] == {"Brown_Hair": 1, "Smiling": -1, "No_Beard": -1}
    assert (known[0] == parse_request("Blond_Hair,Male", NAMES)).all(), "what was given stays as it was"


def test_an_edited_photo_is_another_one_and_says_how_far_it_moved(pipe):
    several = photos(3)
    edited = edit(pipe, several, "Male,-Young", guidance_scale=8.0)
    assert edited.images.shape == several.shape
    assert edited.moved == [movement(*pair) for pair in zip(several, edited.images, strict=True)]
    other = edit(pipe, several, "-Male,Young", guidance_scale=8.0)
    assert not np.array_equal(edited.images, other.images)
    alone = edit(pipe, several[2], "Male,-Young", guidance_scale=8.0)
    assert np.array_equal(alone.images[0], edited.images[2])


def test_what_is_known_to_be_there_is_not_changed(pipe):
    """Guidance leads from what the photo shows to what is asked: the same, so it leads nowhere."""
    several = photos(2)
    known = np.tile(parse_request("Male", NAMES), (2, 1))
    one, nine = (edit(pipe, several, "Male", known=known, guidance_scale=scale).images for scale in (1.0, 9.0))
    assert np.abs(one.astype(int) - nine).max() <= 1


def test_a_sentence_changes_too(pipe):
    several = photos(2)
    spoken = edit(pipe, several, prompt="a man with glasses", guidance_scale=8.0).images
    assert not np.array_equal(spoken, edit(pipe, several, prompt="a lady", guidance_scale=8.0).images)
    text = tiny.pipeline(conditioning="text")
    assert edit(text, several, prompt="a man with glasses").images.shape == several.shape


def test_movement_is_what_it_says():
    photo = np.full((4, 4, 3), 100, np.uint8)
    assert movement(photo, photo) == {"pixels": 0.0, "psnr": None}
    assert movement(photo, photo + np.uint8(10)) == {"pixels": 10.0, "psnr": 28.13}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"changes": ""}, "no change was asked for"),
        ({"changes": "Smilling"}, "did you mean Smiling"),
        ({"changes": "Black_Hair,Blond_Hair"}, "no face has Black_Hair and Blond_Hair at once"),
        ({"changes": "Smiling", "known": np.zeros((2, 40))}, r"\(2, 40\), expected \(1, 40\)"),
        ({"changes": "Smiling", "strength": 0.0}, "strength is 0.0"),
        ({"changes": "Smiling", "strength": 1.2}, "strength is 1.2"),
        ({"changes": "Smiling", "steps": 10_000}, "steps is 10000, expected 1 to 1000"),
    ],
)
def test_an_edit_that_makes_no_sense_is_one_sentence(pipe, asked, says):
    with pytest.raises(ParamsError, match=says):
        edit(pipe, photos(1), **asked)


def test_a_model_without_attributes_can_not_change_them():
    with pytest.raises(ParamsError, match="leave the attributes out"):
        edit(tiny.pipeline(conditioning="text"), photos(1), "Smiling")
    with pytest.raises(ParamsError, match="reads no prompt"):
        edit(tiny.pipeline(conditioning="attributes"), photos(1), prompt="a man")


def test_a_way_between_two_faces_begins_and_ends_at_them(pipe):
    way = interpolate(pipe, (3, 8), ("Male,Young", "-Male"), prompt="a person with hair", frames=5)
    assert way.shape == (5, tiny.SIZE, tiny.SIZE, 3)
    for at, seed, attributes in ((0, 3, "Male,Young"), (-1, 8, "-Male")):
        drawn = pipe("a person with hair", attributes, seeds=[seed], output_type="np").images[0]
        assert np.array_equal(way[at], drawn)
    steps = np.abs(np.diff(way.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert (steps < np.abs(way[0].astype(float) - way[-1]).mean()).all()
    with pytest.raises(ParamsError, match="1 frames were asked for, expected at least 2"):
        interpolate(pipe, (1, 2), frames=1)


def test_slerp_keeps_the_length_of_noise():
    first, last = (torch.randn(4, 16, 16, generator=torch_stream(seed, "test")) for seed in (0, 1))
    assert slerp(first, last, 0.0) is first
    assert slerp(first, last, 1.0) is last
    middle = slerp(first, last, 0.5)
    assert abs(float(middle.norm() / ((first.norm() + last.norm()) / 2)) - 1) < 0.02
    assert float(((first + last) / 2).norm() / first.norm()) < 0.8, "what a straight line would do"
    assert torch.allclose(slerp(first, first, 0.3), first)


def test_a_sweep_is_one_attribute_in_steps_for_each_seed(pipe):
    grid = sweep(pipe, "Male", [4, 9], (-1, 0, 1), attributes="Young")
    assert grid.shape == (2, 3, tiny.SIZE, tiny.SIZE, 3)
    for column, asked in ((0, "Young,-Male"), (1, "Young"), (2, "Young,Male")):
        assert np.array_equal(grid[:, column], pipe(attributes=asked, seeds=[4, 9], output_type="np").images)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"attribute": "Mael"}, "did you mean Male"),
        ({"attribute": ""}, "expected one attribute"),
        ({"attribute": "Male,Young"}, "expected one attribute"),
        ({"attribute": "Male", "attributes": "Male"}, "'Male' is swept and asked for"),
        ({"attribute": "Male", "values": (-2, 1)}, "outside -1 to 1"),
        ({"attribute": "Male", "values": ()}, "no values"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_one_sentence(pipe, asked, says):
    with pytest.raises(ParamsError, match=says):
        sweep(pipe, **{"seeds": [1]} | asked)


@pytest.mark.parametrize("sampler", ["dpm++", "heun"])
def test_a_strip_ends_with_the_picture(pipe, sampler):
    strip = denoising_strip(pipe, 6, attributes="Male", steps=5, sampler=sampler)
    assert strip.shape == (6, tiny.SIZE, tiny.SIZE, 3)
    drawn = pipe(attributes="Male", seeds=[6], steps=5, sampler=sampler, output_type="np").images
    assert np.array_equal(strip[-1], drawn[0])
    assert np.abs(strip[-2].astype(float) - strip[-1]).mean() < np.abs(strip[0].astype(float) - strip[-1]).mean()
