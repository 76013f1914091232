"""Image to image and inpainting: what is known stays to the byte, strength is the way from photo to seed."""

import numpy as np
import pytest
import torch
from PIL import Image

from facet.errors import ParamsError
from tests import tiny

SIZE = tiny.SIZE


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


def photos(count: int, first: int = 0) -> np.ndarray:
    """Each its own random grey levels in coarse blocks."""
    made = [np.random.default_rng(first + i).integers(0, 256, (4, 4, 3), np.uint8) for i in range(count)]
    return np.stack([face.repeat(SIZE // 4, axis=0).repeat(SIZE // 4, axis=1) for face in made])


def right_half() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:, SIZE // 2 :] = True
    return mask


def draw(pipe, **asked) -> np.ndarray:
    return pipe(**{"attributes": "Smiling", "output_type": "np"} | asked).images


def moved(images: np.ndarray, photo: np.ndarray) -> float:
    return float(np.abs(images.astype(float) - photo).mean())


@pytest.mark.parametrize("sampler", ["dpm++", "unipc", "euler", "heun"])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_known_pixels_come_back_to_the_byte(pipe, sampler, strength):
    photo, mask = photos(1), right_half()
    mask[3, 3] = True  # one pixel of a latent that is otherwise known
    images = draw(pipe, image=photo, mask=mask, strength=strength, sampler=sampler, seeds=[1, 2, 3])
    assert (images[:, ~mask] == photo[:, ~mask]).all()
    assert (images[:, mask] != photo[:, mask]).any()
    assert not np.array_equal(images[0], images[1])


def test_a_white_mask_is_plain_image_to_image(pipe):
    white = Image.new("L", (SIZE, SIZE), 255)
    for strength in (0.5, 1.0):
        plain, masked = (
            draw(pipe, image=photos(2), strength=strength, seeds=[4, 5], **extra) for extra in ({}, {"mask": white})
        )
        assert np.array_equal(plain, masked)


def test_strength_goes_from_the_photo_to_the_seed(pipe):
    photo = photos(1)
    same = pipe.decode_faces(pipe.encode_faces(photo))
    images = [draw(pipe, image=photo, strength=strength, steps=20) for strength in (0.05, 0.5, 1.0)]
    assert moved(images[0], same) < moved(images[1], same)
    assert moved(images[0], same) < 12, "a small strength is the photo as the autoencoder gives it"
    assert np.array_equal(images[2], draw(pipe, steps=20)), "a strength of 1 leaves nothing of it"


@pytest.mark.parametrize("masked", [False, True])
def test_a_photo_does_not_depend_on_its_company(pipe, masked):
    several = photos(18)
    mask = {"mask": right_half()} if masked else {}
    together = draw(pipe, image=several, strength=0.5, seeds=list(range(18)), **mask)
    assert together.shape == several.shape
    for row in (0, 17):
        alone = draw(pipe, image=several[row], strength=0.5, seeds=[row], **mask)
        assert np.array_equal(alone[0], together[row])


def test_photos_and_masks_of_every_kind(pipe):
    photo, mask = photos(1)[0], right_half()
    as_array = draw(pipe, image=photo, mask=mask, strength=0.5)
    as_pil = draw(pipe, image=Image.fromarray(photo), mask=Image.fromarray(mask), strength=0.5)
    as_list = draw(pipe, image=[Image.fromarray(photo)], mask=[mask], strength=0.5)
    grey = Image.fromarray(photo).convert("L")
    assert np.array_equal(as_array, as_pil)
    assert np.array_equal(as_array, as_list)
    assert np.array_equal(
        draw(pipe, image=grey, strength=0.5), draw(pipe, image=np.asarray(grey.convert("RGB")), strength=0.5)
    )
    each = draw(pipe, image=photos(2), mask=np.stack([mask, ~mask]), strength=0.5)
    assert (each[0][~mask] == photos(2)[0][~mask]).all()
    assert (each[1][mask] == photos(2)[1][mask]).all()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"image": np.zeros((1, 8, 8, 3), np.uint8)}, "8x8x3, expected uint8 32x32x3"),
        ({"image": np.zeros((SIZE, SIZE, 3))}, "float64 32x32x3, expected uint8"),
        ({"image": photos(1), "mask": np.ones((8, 9), bool)}, "the mask is 8x9, expected 32x32"),
        ({"image": photos(1), "mask": np.zeros((SIZE, SIZE), bool)}, "all black"),
        ({"mask": right_half()}, "give the photo too"),
        ({"image": photos(2), "seeds": [1, 2, 3]}, "2 of photo for 3 pictures"),
        ({"image": photos(1), "strength": 0.0}, "strength is 0.0"),
        ({"image": photos(1), "strength": 1.5}, "strength is 1.5"),
        ({"image": photos(1), "strength": float("nan")}, "strength is nan"),
        ({"strength": 0.5}, "no photo to change"),
        ({"latents": torch.zeros(1, 4, 8, 8)}, r"latents have shape \(1, 4, 8, 8\), expected \(1, 4, 4, 4\)"),
    ],
)
def test_what_does_not_fit_is_one_sentence(pipe, asked, says):
    with pytest.raises(ParamsError, match=says):
        draw(pipe, **asked)


def test_latents_take_the_place_of_the_seeds_noise(pipe):
    from facet.seeding import torch_stream

    noise = torch.stack([torch.randn(pipe.latent_shape, generator=torch_stream(seed, "draw")) for seed in (8, 9)])
    assert np.array_equal(draw(pipe, latents=noise, seeds=[0, 0]), draw(pipe, seeds=[8, 9]))
