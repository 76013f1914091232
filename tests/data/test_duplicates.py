"""A photograph is found again after what happens to photographs, no other face is taken for it, and no set is slow."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from facet.data.duplicates import (
    groups,
    near_duplicates,
    perceptual_hash,
    perceptual_hashes,
    thumbnail,
    thumbnails,
)
from facet.data.faces import decode_face


def again(data: bytes, how: str) -> np.ndarray:
    """The face of ``data`` after its photograph was worked on."""
    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGB")
    if how == "resized":
        picture = picture.resize((89, 109), Image.Resampling.BILINEAR).resize((178, 218), Image.Resampling.BICUBIC)
    elif how == "brightened":
        picture = ImageEnhance.Brightness(picture).enhance(1.05)
    elif how == "shifted":
        picture = Image.fromarray(np.pad(np.asarray(picture), ((0, 0), (1, 0), (0, 0)), mode="edge")[:, :178])
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=40 if how == "re-encoded" else 90)
    return decode_face(out.getvalue(), 64, "celeba-148")


@pytest.fixture(scope="module")
def faces(raw) -> np.ndarray:
    return np.stack([decode_face(raw.read(name), 64, "celeba-148") for name in raw.ids])


def pairs_of(faces: np.ndarray, **options) -> set[tuple[int, int]]:
    return set(map(tuple, near_duplicates(perceptual_hashes(faces), thumbnails(faces), **options).tolist()))


@pytest.mark.parametrize(
    ("how", "recall"), [("re-encoded", 0.95), ("resized", 0.95), ("brightened", 0.95), ("shifted", 0.5)]
)
def test_a_photograph_is_found_again_and_no_other_is(how, recall, raw, faces):
    copies = np.stack([again(raw.read(name), how) for name in raw.ids])
    found = pairs_of(np.concatenate([faces, copies]))
    own = {(i, i + len(faces)) for i in range(len(faces))}
    assert len(found & own) >= recall * len(own)
    # A copy is near the others of its own photograph alone.
    assert not found - own


def test_different_faces_are_no_duplicates(faces):
    assert not pairs_of(faces)


def test_the_hash_of_one_is_the_hash_among_many(faces):
    hashes, small = perceptual_hashes(faces), thumbnails(faces)
    assert (hashes.dtype, small.dtype, small.shape[1:]) == (np.uint64, np.uint8, (16, 16))
    assert [perceptual_hash(face) for face in faces[:8]] == hashes[:8].tolist()
    assert np.array_equal(thumbnail(faces[3]), small[3])
    # Half of the frequencies are above their median.
    assert (np.bitwise_count(hashes) == 32).mean() > 0.9


@pytest.mark.parametrize("size", [(16, 16), (40, 56), (128, 128)])
def test_faces_of_any_size_have_a_hash(size, faces):
    other = np.stack([np.asarray(Image.fromarray(face).resize(size)) for face in faces[:8]])
    apart = np.bitwise_count(perceptual_hashes(other) ^ perceptual_hashes(faces[:8]))
    assert apart.max() <= 20
    assert thumbnails(other).shape == (8, 16, 16)


@pytest.mark.parametrize("max_bits", [0, 3, 4, 6, 7, 9])
def test_the_bands_miss_no_pair(max_bits):
    rng = np.random.default_rng(max_bits)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    flips = [np.bitwise_xor.reduce(np.uint64(1) << rng.permutation(64)[: k % 11].astype(np.uint64)) for k in range(300)]
    hashes = np.concatenate([hashes, hashes ^ np.array(flips, dtype=np.uint64)])
    found = near_duplicates(hashes, np.zeros((600, 16, 16), np.uint8), max_bits, 0)
    i, j = np.triu_indices(600, 1)
    near = np.bitwise_count(hashes[i] ^ hashes[j]) <= max_bits
    assert np.array_equal(found, np.stack([i[near], j[near]], axis=1))


def test_a_thumbnail_has_the_last_word():
    small = np.zeros((3, 16, 16), np.uint8)
    small[1] += 40  # lighter all over: the same photograph
    small[2, :, :8] = 40
    assert near_duplicates(np.zeros(3, np.uint64), small).tolist() == [[0, 1]]
    assert len(near_duplicates(np.zeros(3, np.uint64), small, max_difference=25)) == 3


def test_none_and_one():
    for n in (0, 1):
        assert near_duplicates(np.zeros(n, np.uint64), np.zeros((n, 16, 16), np.uint8)).shape == (0, 2)
        assert perceptual_hashes(np.zeros((n, 64, 64, 3), np.uint8)).shape == (n,)
        assert groups(n, np.zeros((0, 2), np.int64)).tolist() == list(range(n))


def test_a_set_made_of_one_face_is_one_group_and_not_quadratic():
    n = 20_000
    started = time.monotonic()
    pairs = near_duplicates(np.full(n, 7, np.uint64), np.zeros((n, 16, 16), np.uint8))
    assert len(pairs) <= 20 * n
    assert not groups(n, pairs).any()
    assert time.monotonic() - started < 20  # all 2e8 pairs would take minutes, and 3 GB


def test_hashes_that_share_a_band_are_all_compared_up_to_the_bound():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**48, 4000).astype(np.uint64) << np.uint64(16)
    hashes[3999] = hashes[0] ^ np.uint64(3 << 62)
    assert near_duplicates(hashes, np.zeros((4000, 16, 16), np.uint8)).tolist() == [[0, 3999]]


def test_groups_go_by_their_smallest_index():
    chain = np.array([(i, i + 1) for i in range(999)])
    assert not groups(1000, chain[np.random.default_rng(0).permutation(999)]).any()
    pairs = np.array([(5, 9), (1, 4), (4, 9), (2, 3)])
    assert groups(10, pairs).tolist() == [0, 1, 2, 2, 1, 1, 6, 7, 8, 1]
