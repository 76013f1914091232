"""Diagrams are read from the modules: every parameter is in one block, shapes are those of a real pass."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from diffusers import AutoencoderKL

from facet.evaluation.networks import diagram, look, networks, sizes, skips
from tests import tiny


@pytest.fixture(scope="module")
def found():
    names = ("vae", "text_encoder", "condition_encoder", "unet", "judge")
    return dict(zip(names, networks(tiny.pipeline(), tiny.judge(), 32), strict=True))


def test_every_parameter_is_in_exactly_one_block(found):
    models = {name: getattr(tiny.pipeline(), name) for name in ("vae", "text_encoder", "condition_encoder", "unet")}
    for name, model in (models | {"judge": tiny.judge()}).items():
        assert found[name].parameters == sum(p.numel() for p in model.parameters()), name
        assert all(block.parameters > 0 for block in found[name].blocks)


def test_shapes_are_those_of_a_pass(found):
    vae, unet, judge = (found[name] for name in ("vae", "unet", "judge"))
    assert (vae.given, vae.made) == (((3, 32, 32),), ((3, 32, 32),))
    by_name = {block.name: block for block in vae.blocks}
    assert by_name["encoder.conv_in"].given == (48, 8, 8)  # patches of 4 x 4 pixels
    assert by_name["quant_conv"].made == (8, 4, 4)  # mean and log-variance of 4 channels
    assert by_name["linear_decoder"].made == (3, 32, 32)
    tokens = 40 + tiny.TEXT.length
    assert unet.given == ((4, 4, 4), (), (tokens, 16), (16,))
    assert unet.made == ((4, 4, 4),)
    assert judge.made == ((16,), (40,))
    assert found["condition_encoder"].made == ((tokens, 16), (16,), (tokens,))
    assert found["text_encoder"].made == ((tiny.TEXT.length, 16), (16,))


def test_normalisation_is_counted_with_its_convolution(found):
    first = found["judge"].blocks[0]
    assert (first.kind, first.made) == ("Conv2d", (8, 16, 16))
    assert first.parameters == (3 * 4 * 4 + 1) * 8 + 2 * 8
    last = found["unet"].blocks[-1]
    assert (last.name, last.parameters) == ("conv_out", 2 * 16 + (16 * 9 + 1) * 4)


def test_skip_connections_join_each_way_down_with_its_way_up(found):
    names = [block.name for block in found["unet"].blocks]
    assert [(names[a], names[b]) for a, b in skips(found["unet"])] == [
        ("down_blocks.0", "up_blocks.1"),
        ("down_blocks.1", "up_blocks.0"),
    ]
    assert skips(found["vae"]) == []


def test_a_diagram_is_a_drawing_with_every_block_shape_and_count(found):
    for network in found.values():
        root = ElementTree.fromstring(diagram(network))
        said = {element.text for element in root.iter("text")}
        assert f"{network.parameters:,} parameters" in root.get("aria-label")
        assert {sizes(block.made) for block in network.blocks} <= said
        assert len(list(root.iter("rect"))) == len(network.blocks)
        assert all(0 < float(bar.get("width")) <= 88 for bar in root.iter("rect"))
    assert len(list(ElementTree.fromstring(diagram(found["unet"])).iter("path"))) == 2


def test_another_autoencoder_is_read_as_well_and_left_without_hooks():
    vae = AutoencoderKL(block_out_channels=(8, 8), norm_num_groups=4, latent_channels=2, **_TWO_LEVELS).eval()
    network = look("other", vae, lambda: vae(torch.zeros(1, 3, 16, 16)))
    assert network.parameters == sum(p.numel() for p in vae.parameters())
    assert not any(module._forward_hooks for module in vae.modules())


_TWO_LEVELS = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
