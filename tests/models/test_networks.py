"""The networks: shapes as announced, one vector a state, saved and loaded to the bit, wrong shapes refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from facet.errors import ArtifactError, ParamsError
from facet.models.autoencoder import build_autoencoder, fetch_pretrained, latent_shape, load_autoencoder, save_model
from facet.models.conditioning import ConditionEncoder
from facet.models.denoiser import load_denoiser, save_denoiser
from facet.models.text import token_ids
from tests import tiny


def test_every_attribute_and_state_owns_its_vector():
    torch.manual_seed(0)
    encoder = ConditionEncoder(("a", "b"), token_dim=4, pooled_dim=6)
    states = torch.tensor([[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)])
    tokens, pooled, kept = encoder(states)
    assert (tokens.shape, pooled.shape, kept.shape) == ((9, 2, 4), (9, 6), (9, 2))
    assert len({tuple(token) for token in tokens.flatten(0, 1).tolist()}) == 6
    assert len({tuple(row) for row in pooled.tolist()}) == 9
    # The pooled condition is a sum, so what one attribute adds does not depend on the other.
    torch.testing.assert_close(pooled[2] - pooled[0], pooled[8] - pooled[6])


def test_the_autoencoder_keeps_its_word_about_shapes():
    vae = tiny.autoencoder()
    assert latent_shape(vae, tiny.SIZE) == (4, 4, 4)
    with torch.no_grad():
        latents = vae.encode(torch.zeros(2, 3, 32, 32)).latent_dist.mean
        assert latents.shape == (2, 4, 4, 4)
        assert vae.decode(latents).sample.shape == (2, 3, 32, 32)
    with pytest.raises(ParamsError, match="36 px are no multiple of the autoencoder's downscale 8"):
        build_autoencoder(tiny.VAE, 36)


def test_a_saved_autoencoder_is_the_same_and_says_nothing_of_where_it_lay(tmp_path):
    vae = tiny.autoencoder()
    save_model(vae, tmp_path / "first")
    loaded = load_autoencoder(tmp_path / "first")
    save_model(loaded, tmp_path / "second")
    assert tiny.contents(tmp_path / "first") == tiny.contents(tmp_path / "second")
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), loaded.parameters(), strict=True))
    assert {p.suffix for p in (tmp_path / "first").iterdir()} == {".safetensors", ".json"}
    assert fetch_pretrained(str(tmp_path / "first")).config.latent_channels == 4


def test_another_kind_of_model_is_refused(tmp_path):
    save_model(tiny.judge(), tmp_path)
    with pytest.raises(ArtifactError, match="holds a Judge, expected one of PatchAutoencoderKL, AutoencoderKL"):
        load_autoencoder(tmp_path)


def test_a_saved_denoiser_predicts_the_same(tmp_path):
    network = tiny.denoiser().eval()
    save_denoiser(network, {"latents_mean": [0.0]}, tmp_path)
    loaded, about = load_denoiser(tmp_path)
    assert about["latents_mean"] == [0.0]
    x, time, states = torch.randn(2, 4, 4, 4), torch.tensor([3.0, 900.0]), torch.randint(-1, 2, (2, 40))
    ids = token_ids(tiny.tokenizer(), ["a smiling man", "no hat"], tiny.TEXT.length)
    with torch.no_grad():
        one, other = network(x, time, states, ids), loaded(x, time, states, ids)
    assert torch.equal(one.target, other.target)
    assert torch.equal(one.reading, other.reading)
    with pytest.raises(ArtifactError, match="dvc repro"):
        load_denoiser(tmp_path / "none")


@pytest.mark.parametrize(
    ("params", "changes", "says"),
    [
        (tiny.DENOISER, {"attention": (True,)}, "2 levels, attention 1"),
        (tiny.DENOISER, {"norm_groups": 12}, "no multiples of norm_groups"),
        (tiny.DENOISER, {"head_dim": 12}, "no multiples of head_dim"),
        (tiny.VAE, {"channels": ()}, "channels is empty"),
        (tiny.VAE, {"norm_groups": 7}, "no multiples of norm_groups"),
        (tiny.VAE, {"norm_groups": 0}, "no multiples of norm_groups"),
    ],
)
def test_widths_that_do_not_divide_are_refused(params, changes, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(params, **changes)
