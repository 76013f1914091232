"""Random streams follow from their name alone."""

import numpy as np
import torch

from facet.seeding import derive, numpy_stream, torch_stream


def test_a_stream_is_what_it_always_was():
    """Changing these numbers changes every picture that a saved model draws."""
    assert derive(0, "draw") == 8625320256004318671
    assert derive(0, "noise", 3) == derive(0, "noise", 3)
    assert 0 <= derive(2**70, "x") < 2**63


def test_seed_purpose_and_index_each_name_another_stream():
    names = [
        (0, "a"),
        (1, "a"),
        (0, "b"),
        (0, "a", 0),
        (0, "a", 1),
        (0, "a", 0, 1),
        (0, "a", 1, 0),
        (11, "a"),
        (1, "1a"),
    ]
    assert len({derive(*name) for name in names}) == len(names)


def test_a_stream_does_not_care_what_was_drawn_before():
    torch.manual_seed(5)
    first = torch.randn(4, generator=torch_stream(0, "noise", 7))
    torch.randn(100)
    torch_stream(0, "flip", 7)
    assert torch.equal(first, torch.randn(4, generator=torch_stream(0, "noise", 7)))
    assert np.array_equal(numpy_stream(0, "a").random(5), numpy_stream(0, "a").random(5))


def test_drawing_leaves_the_global_generators_alone():
    before = torch.get_rng_state()
    torch.randn(3, generator=torch_stream(0, "noise"))
    assert torch.equal(before, torch.get_rng_state())


def test_neighbouring_streams_are_not_alike():
    steps = 100
    drawn = np.stack([numpy_stream(0, "noise", step).standard_normal(500) for step in range(steps)])
    correlation = np.corrcoef(drawn) - np.eye(steps)
    assert np.abs(correlation).max() < 0.25
