"""A photograph that what decodes and resizes is held to."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photograph() -> Image.Image:
    """Smooth noise at CelebA's size: nothing in it is symmetric."""
    small = np.random.default_rng(0).integers(0, 256, (28, 23, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)
