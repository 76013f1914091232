"""FacePipeline's promises: one seed, one picture; what is saved is what is loaded; bad requests are sentences."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.diffusion.objective import ObjectiveParams
from facet.diffusion.saved_files import write_manifest
from facet.diffusion.saving import load_pipeline, save_pipeline
from facet.errors import ArtifactError, ParamsError
from facet.models.denoiser import DenoiserParams, build_denoiser
from tests import tiny

NAMES = CELEBA_ATTRIBUTES
# The seed that is looked at, and the company it is drawn in: batch size -> seeds.
COMPANY = {3: [100, 7, 101], 8: [*range(200, 207), 7], 17: [*range(300, 316), 7], 40: [*range(400, 439), 7]}


@pytest.fixture(scope="module")
def pipe():
    return tiny.pipeline()


def states_of(seeds: list[int]) -> np.ndarray:
    """An attribute vector that follows from the seed alone, so that a seed's condition is the same in any batch."""
    return np.stack([np.random.default_rng(seed).integers(-1, 2, len(NAMES)) for seed in seeds])


def floats_of(pipe, seeds: list[int], batch_size: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """What the sampler hands to the decoder, the decoder's floats and the picture, of seed 7."""
    seen = []
    decode = pipe.decode_latents

    def remember(latents):
        seen.append((latents.clone(), decode(latents)))
        return seen[-1][1]

    pipe.decode_latents = remember
    try:
        drawn = pipe(attributes=states_of(seeds), seeds=seeds, output_type="np", batch_size=batch_size).images
    finally:
        del pipe.decode_latents
    latents, pixels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    at = seeds.index(7)
    return latents[at], pixels[at], drawn[at]


def sized(channels: tuple[int, int], precision: str):
    """A pipeline with a denoiser of real size, whose kernels block otherwise than a tiny one's."""
    pipe = tiny.pipeline(dataclasses.replace(tiny.SAMPLING, steps=2, precision=precision))
    shape = DenoiserParams(channels, (False, True), 1, token_dim=128, head_dim=16, norm_groups=16)
    torch.manual_seed(5)
    network = build_denoiser(shape, (4, 8, 8), NAMES, pipe.text_encoder).eval()
    pipe.register_modules(unet=network.unet, condition_encoder=network.condition_encoder)
    return pipe


@pytest.mark.parametrize(
    ("channels", "precision", "threads"),
    [((64, 192), "fp32", 1), ((64, 192), "fp32", 2), ((64, 192), "bf16", 1), ((48, 96), "fp32", 8)],
)
def test_a_seed_gives_the_same_picture_in_any_company(channels, precision, threads):
    """To the last bit of the floats, not only of the pixels: at 8 threads, blocking depends most on the batch."""
    torch.set_num_threads(threads)
    pipe = sized(channels, precision)
    latents, pixels, picture = floats_of(pipe, [7], 1)
    for size, seeds in COMPANY.items():
        other = floats_of(pipe, seeds, batch_size=size)
        assert torch.equal(other[0], latents), f"batch of {size}: {(other[0] - latents).abs().max()}"
        assert torch.equal(other[1], pixels), f"batch of {size}: {(other[1] - pixels).abs().max()}"
        assert np.array_equal(other[2], picture)


def test_how_many_are_drawn_and_in_which_order_changes_no_picture(pipe):
    few = pipe(attributes="Smiling,-Male", num_images=3, seeds=10, output_type="np").images
    many = pipe(attributes="Smiling,-Male", num_images=11, seeds=10, output_type="np", batch_size=4).images
    backwards = pipe(attributes="Smiling,-Male", seeds=[12, 11, 10], output_type="np").images
    assert np.array_equal(many[:3], few)
    assert np.array_equal(backwards[::-1], few)
    assert not np.array_equal(few[0], few[1])


def test_the_same_seed_draws_something_else_under_another_condition(pipe):
    smiling, serious = (pipe(attributes=text, seeds=5, output_type="np").images for text in ("Smiling", "-Smiling"))
    assert not np.array_equal(smiling, serious)


@pytest.mark.parametrize("sampler", ["dpm++", "unipc", "euler", "heun"])
def test_a_saved_pipeline_draws_the_same_pixels(sampler, tmp_path):
    pipe = tiny.pipeline(dataclasses.replace(tiny.SAMPLING, sampler=sampler))
    save_pipeline(pipe, tmp_path / "model")
    loaded = load_pipeline(tmp_path / "model")
    assert loaded.attribute_names == NAMES
    drawn = [p(attributes="Smiling", num_images=3, seeds=4, output_type="np").images for p in (pipe, loaded)]
    assert np.array_equal(*drawn)


def test_a_saved_pipeline_holds_tensors_and_json_and_no_place(tmp_path):
    save_pipeline(tiny.pipeline(), tmp_path / "first")
    save_pipeline(load_pipeline(tmp_path / "first"), tmp_path / "second")
    first, second = (tiny.contents(tmp_path / name) for name in ("first", "second"))
    assert {name.rpartition(".")[2] for name in first} == {"safetensors", "json"}
    assert first == second
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]


def test_a_pickle_in_place_of_the_weights_is_not_loaded(tmp_path):
    save_pipeline(tiny.pipeline(), tmp_path)
    (weights,) = (tmp_path / "unet").glob("*.safetensors")
    torch.save(tiny.pipeline().unet.state_dict(), weights.with_name("diffusion_pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"unet/.*\.safetensors is missing"):
        load_pipeline(tmp_path)
    write_manifest(tmp_path)
    with pytest.raises(ArtifactError, match="can't be loaded"):
        load_pipeline(tmp_path)


@pytest.fixture
def rows_seen(pipe, monkeypatch) -> list[int]:
    """How many rows the denoiser was given, call by call."""
    rows: list[int] = []
    forward = type(pipe.unet).forward

    def counted(self, latents, *given, **named):
        rows.append(len(latents))
        return forward(self, latents, *given, **named)

    monkeypatch.setattr(type(pipe.unet), "forward", counted)
    return rows


def test_on_a_cpu_the_network_sees_one_number_of_rows_whatever_is_asked(pipe, rows_seen):
    """What makes the test above true on processors that nobody here has tried."""
    for count, batch_size in ((1, 1), (5, 2), (17, 64), (40, 64)):
        pipe(attributes="Smiling", num_images=count, batch_size=batch_size, guidance_interval=(0.0, 1.0))
    assert len(set(rows_seen)) == 1


def test_guidance_of_one_is_no_guidance(pipe, rows_seen):
    plain = pipe(attributes="Smiling", seeds=3, guidance_scale=1.0, output_type="np").images
    unguided = set(rows_seen)
    outside = pipe(
        attributes="Smiling", seeds=3, guidance_scale=9.0, guidance_interval=(0.0, 0.0), output_type="np"
    ).images
    assert set(rows_seen) == unguided
    guided = pipe(
        attributes="Smiling", seeds=3, guidance_scale=9.0, guidance_interval=(0.0, 1.0), output_type="np"
    ).images
    assert np.array_equal(plain, outside)
    assert not np.array_equal(plain, guided)
    assert set(rows_seen) == unguided | {2 * rows for rows in unguided}, "guidance needs a second look, no more"


def test_nothing_asked_is_the_null_condition(pipe):
    """All attributes unknown: guidance away from itself changes nothing but rounding."""
    free = pipe("", num_images=2, output_type="np").images
    rows = pipe(attributes=np.zeros((2, len(NAMES)), dtype=np.int8), seeds=[0, 1], output_type="np").images
    unguided = pipe("", num_images=2, guidance_scale=1.0, output_type="np").images
    assert np.array_equal(free, rows)
    assert np.abs(free.astype(int) - unguided).max() <= 1


def test_pil_and_numpy_hold_the_same_pixels(pipe):
    pictures = pipe(attributes="Smiling", num_images=2).images
    assert np.array_equal(
        np.stack([np.asarray(p) for p in pictures]), pipe(attributes="Smiling", num_images=2, output_type="np").images
    )


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"attributes": "Smilin"}, "Smiling"),
        ({"attributes": "Smiling,-Smiling"}, "both"),
        ({"attributes": np.zeros((2, 40)), "seeds": [1]}, r"\(2, 40\)"),
        ({"attributes": np.zeros((1, 39))}, r"\(1, 39\)"),
        ({"attributes": np.full((1, 40), 2)}, "outside -1 to 1"),
        ({"attributes": np.full((1, 40), np.nan)}, "outside -1 to 1"),
        ({"num_images": 0}, "at least one"),
        ({"seeds": []}, "at least one"),
        ({"steps": 0}, "1 to 1000"),
        ({"steps": 1001}, "1 to 1000"),
        ({"guidance_scale": -1.0}, "guidance"),
        ({"guidance_scale": float("nan")}, "guidance"),
        ({"guidance_interval": (0.8, 0.2)}, "interval"),
        ({"guidance_interval": (0.5,)}, "interval"),
        ({"sampler": "ddim"}, "dpm"),
        ({"sampler": "dpm+++"}, "dpm"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_a_request_out_of_range_is_refused_in_a_sentence(pipe, request_, says):
    with pytest.raises(ParamsError, match=says):
        pipe(**request_)


def test_a_folder_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(ArtifactError, match="dvc repro"):
        load_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        load_pipeline(tmp_path)


@pytest.mark.parametrize(("prediction", "sampler"), [("epsilon", "ddim"), ("v", "dpm++"), ("v", "unipc")])
def test_the_other_objectives_draw_too(prediction, sampler, tmp_path):
    objective = ObjectiveParams(prediction, 0.0, 1.0, 5.0, "linear")
    pipe = tiny.pipeline(dataclasses.replace(tiny.SAMPLING, sampler=sampler), objective)
    save_pipeline(pipe, tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["objective"]["prediction"] == prediction
    assert pipe(num_images=2, output_type="np").images.shape == (2, 32, 32, 3)
