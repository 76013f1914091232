"""FacePipeline in each of its modes: what a model reads, guidance, callbacks, outputs, arithmetic, samplers."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.requests import RequestWarning
from facet.diffusion.sampling import _rescaled
from facet.errors import ParamsError
from tests import tiny

PROMPT = "a person with hair"


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


def draw(pipe, *given, **asked) -> np.ndarray:
    return pipe(*given, **{"output_type": "np"} | asked).images


@pytest.mark.parametrize(("conditioning", "reads"), [("both", "pa"), ("text", "p"), ("attributes", "a"), ("none", "")])
def test_a_model_takes_what_it_was_trained_with_and_refuses_the_rest(conditioning, reads):
    pipe = tiny.pipeline(conditioning=conditioning)
    free = draw(pipe)
    asked = {"p": {"prompt": PROMPT}, "a": {"attributes": "Male"}}
    away = {"p": {"negative_prompt": PROMPT}, "a": {"negative_attributes": "Male"}}
    for kind in "pa":
        for given in (asked[kind], away[kind]):
            if kind in reads:
                assert not np.array_equal(draw(pipe, guidance_scale=3.0, **given), free)
            else:
                with pytest.raises(ParamsError, match=f"conditioning '{conditioning}'.*: leave"):
                    draw(pipe, **given)


SAMPLERS = {
    "flow": ("dpm++", "unipc", "euler", "heun"),
    "epsilon": ("ddpm", "ddim", "pndm", "dpm++", "unipc", "euler", "heun"),
}


@pytest.mark.parametrize(
    ("prediction", "sampler"), [(kind, name) for kind, names in SAMPLERS.items() for name in names]
)
def test_a_seed_is_a_picture_under_every_sampler(prediction, sampler):
    """Also where the sampler draws noise on the way: alone, in company, with a photo, again."""
    objective = ObjectiveParams(prediction, 0.0, 1.0, 5.0, "scaled_linear")
    pipe = tiny.pipeline(dataclasses.replace(tiny.SAMPLING, sampler=sampler), objective)
    alone = draw(pipe, attributes="Male", seeds=[7])
    many = draw(pipe, attributes="Male", seeds=[*range(20, 36), 7])
    assert np.array_equal(alone[0], many[-1])
    photo = np.full((tiny.SIZE, tiny.SIZE, 3), 90, np.uint8)
    one = draw(pipe, seeds=[7], image=photo, strength=0.5)
    assert np.array_equal(one[0], draw(pipe, seeds=[3, 7], image=photo, strength=0.5)[1])
    assert not np.array_equal(one, alone)


def test_sixty_four_at_once_are_sixty_four_one_by_one(pipe):
    seeds = list(range(64))
    together = draw(pipe, PROMPT, attributes="Smiling", seeds=seeds, steps=1, batch_size=64)
    single = [draw(pipe, PROMPT, attributes="Smiling", seeds=[seed], steps=1, batch_size=1)[0] for seed in seeds]
    assert np.array_equal(together, np.stack(single))


def test_a_negative_prompt_leads_away_and_none_is_nothing(pipe):
    plain = draw(pipe, PROMPT, seeds=3)
    assert np.array_equal(draw(pipe, f"  {PROMPT.replace(' ', '   ')} ", seeds=3, negative_prompt=" "), plain)
    assert not np.array_equal(draw(pipe, PROMPT, seeds=3, negative_prompt="a man"), plain)
    assert not np.array_equal(draw(pipe, "", seeds=3, negative_prompt="a man"), draw(pipe, "", seeds=3))
    each = draw(pipe, [PROMPT, ""], seeds=[3, 3])
    assert np.array_equal(each[0], plain[0])
    assert np.array_equal(each[1], draw(pipe, seeds=3)[0])
    with pytest.raises(ParamsError, match="prompt is 2 values for 3 pictures"):
        draw(pipe, ["a", "b"], seeds=[1, 2, 3])


def test_what_is_asked_and_what_is_led_away_from_cancel_out(pipe):
    alike = {"attributes": "Male", "guidance_interval": (0.0, 1.0)}
    one, nine = (draw(pipe, **alike, negative_attributes="Male", guidance_scale=scale) for scale in (1.0, 9.0))
    assert np.abs(one.astype(int) - nine).max() <= 1


def test_a_prompt_that_is_too_long_says_what_was_cut(pipe):
    long = " ".join(["a man with big eyes and"] * 30) + " makeup"
    with pytest.warns(UserWarning, match="longer than 94 tokens; not read: .*makeup") as told:
        draw(pipe, long)
    assert told[0].filename == __file__, "the warning points at the caller"


def test_words_that_no_caption_had_are_named_once():
    pipe = tiny.pipeline()
    pipe.register_to_config(closed_vocabulary=True)
    read = set(re.findall(r"[a-z]+", PROMPT))
    # The tiny vocabulary has some words in pieces; those of the prompt it must have whole.
    assert not [word for word in read if len(pipe.tokenizer.tokenize(word)) > 1]
    with pytest.warns(UserWarning, match="no caption with 'zyzzyva': it") as told:
        draw(pipe, "a man zyzzyva on a zyzzyva", num_images=3)
    assert len([one for one in told if one.category is RequestWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", RequestWarning)
        draw(pipe, PROMPT)


def test_the_interval_says_where_guidance_acts(pipe):
    def drawn(interval):
        return draw(pipe, attributes="Male", guidance_scale=8.0, guidance_interval=interval)

    nowhere, low, everywhere = drawn((0.0, 0.0)), drawn((0.0, 0.4)), drawn((0.0, 1.0))
    assert not np.array_equal(nowhere, low)
    assert not np.array_equal(low, everywhere)


def test_rescaling_brings_the_spread_back(pipe):
    generator = torch.Generator().manual_seed(0)
    conditional = torch.randn(3, 4, 4, 4, generator=generator)
    guided = 5 * torch.randn(3, 4, 4, 4, generator=generator)
    assert torch.equal(_rescaled(guided, conditional, 0.0), guided)
    spread = _rescaled(guided, conditional, 1.0).std(dim=(1, 2, 3))
    assert torch.allclose(spread, conditional.std(dim=(1, 2, 3)))
    drawn = [draw(pipe, attributes="Male", guidance_scale=8.0, guidance_rescale=share) for share in (0.0, 0.7)]
    assert not np.array_equal(*drawn)
    with pytest.raises(ParamsError, match=r"rescale is 1\.5"):
        draw(pipe, guidance_rescale=1.5)


def test_a_callback_sees_each_step_and_what_it_gives_back_is_used(pipe):
    seen = []

    def look(pipeline, index, timestep, tensors):
        seen.append((index, float(timestep), tensors["latents"].shape, tensors["clean"].shape))

    plain = draw(pipe, seeds=[5], steps=4)
    assert np.array_equal(draw(pipe, seeds=[5], steps=4, callback_on_step_end=look), plain)
    assert [index for index, *_ in seen] == [0, 1, 2, 3]
    assert sorted((time for _, time, *_ in seen), reverse=True) == [time for _, time, *_ in seen]
    assert {shape[1:] for _, _, *shapes in seen for shape in shapes} == {(4, 4, 4)}

    def replace(pipeline, index, timestep, tensors):
        return {"latents": torch.zeros_like(tensors["latents"])} if index == 3 else {}

    blank = draw(pipe, seeds=[5], steps=4, callback_on_step_end=replace)
    assert np.array_equal(blank, pipe.decode_faces(torch.zeros(1, 4, 4, 4)))


def test_outputs_hold_the_same_pixels(pipe):
    array = draw(pipe, seeds=[1, 2])
    pictures = pipe(seeds=[1, 2]).images
    tensor = pipe(seeds=[1, 2], output_type="pt").images
    assert array.dtype == np.uint8
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), array)
    assert tensor.shape == (2, 3, tiny.SIZE, tiny.SIZE)
    assert np.array_equal((tensor * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), array)
    with pytest.raises(ParamsError, match="output_type is 'jpg', expected one of pil, np, pt"):
        pipe(output_type="jpg")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_the_bits_draw_nearly_the_same(pipe, dtype):
    asked = {"seeds": [1, 2], "attributes": "Male"}
    half = tiny.pipeline().to(dtype)
    assert half.unet.dtype == dtype
    drawn = draw(half, PROMPT, **asked)
    assert np.abs(drawn.astype(int) - draw(pipe, PROMPT, **asked)).mean() < 2
    assert draw(half, image=drawn, strength=0.5, seeds=[1, 2]).shape == drawn.shape
