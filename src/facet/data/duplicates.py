"""The same photograph twice in a set of faces: found by a perceptual hash, confirmed by a thumbnail.

Aligned faces have their low frequencies in common, so that a hash alone takes one for another about once in ten
thousand pairs; a set of 200,000 has 2e10 pairs. Exact copies are found by the sha256 of their files, elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])
_GRID, _KEPT, _THUMBNAIL = 32, 8, 16
# How far apart two hashes, of 64 bits, and two thumbnails, in grey levels, may be for one photograph; measured on drawn
# faces: a JPEG of quality 40, half the size, 5 % more light stay below, and no two faces do.
MAX_BITS, MAX_DIFFERENCE = 6, 5.0

# A hash is compared by four bands of 16 bits with at most these many others of one bucket, and a face gets at most so
# many partners in each band: the bounds for a set that was made to be slow. Faces beyond them are compared with others
# of the bucket in turn, so that equal ones are still one group.
_BANDS, _MOST_NEIGHBOURS, _MOST_PARTNERS = 4, 4096, 16
_AT_ONCE = 1024


def perceptual_hashes(faces: np.ndarray) -> np.ndarray:
    """uint8 [n, h, w, 3] -> uint64 [n]: bit k says whether low frequency k of the luma is above their median.

    The 8 x 8 frequencies from 1 to 8 in both directions of a discrete cosine transform, of luma averaged to 32 x 32.
    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
    """
    down, across = (_cosines() @ _averages(n, _GRID) for n in faces.shape[1:3])
    hashes = np.empty(len(faces), dtype=np.uint64)
    for at, luma in _lumas(faces):
        waves = (down @ luma @ across.T).reshape(len(luma), _KEPT * _KEPT)
        above = waves > np.median(waves, axis=1, keepdims=True)
        hashes[at : at + len(luma)] = np.packbits(above, axis=1).view(">u8")[:, 0]
    return hashes


def perceptual_hash(face: np.ndarray) -> int:
    """The hash of one face, uint8 [h, w, 3], as an int of 64 bits."""
    return int(perceptual_hashes(face[None])[0])


def thumbnails(faces: np.ndarray) -> np.ndarray:
    """uint8 [n, h, w, 3] -> luma uint8 [n, 16, 16], each an average of what it stands for."""
    down, across = (_averages(n, _THUMBNAIL) for n in faces.shape[1:3])
    small = np.empty((len(faces), _THUMBNAIL, _THUMBNAIL), dtype=np.uint8)
    for at, luma in _lumas(faces):
        small[at : at + len(luma)] = (down @ luma @ across.T).round()
    return small


def thumbnail(face: np.ndarray) -> np.ndarray:
    """The thumbnail of one face, uint8 [h, w, 3] -> luma uint8 [16, 16]."""
    return thumbnails(face[None])[0]


def near_duplicates(
    hashes: np.ndarray, thumbnails: np.ndarray, max_bits: int = MAX_BITS, max_difference: float = MAX_DIFFERENCE
) -> np.ndarray:
    """int64 [m, 2], pairs i < j in order, of faces that are one photograph: their ``hashes`` (uint64 [n]) differ in at
    most ``max_bits`` bits, and their ``thumbnails`` (uint8 [n, 16, 16]), less their own mean, by at most
    ``max_difference`` grey levels (root mean square).

    No pair is missed, unless over four thousand faces agree in a quarter of their hash, or over sixteen are alike: then
    some of their pairs are left out, so that time and memory stay proportional to n.
    """
    # One number a pair, so that those that several bands found are counted once.
    alike = [p.min(axis=0) * len(hashes) + p.max(axis=0) for p in _alike(hashes.astype(np.uint64), max_bits)]
    pairs = np.stack(np.divmod(np.unique(np.concatenate(alike)), max(len(hashes), 1)), axis=1)
    return pairs[_differences(thumbnails, pairs) <= max_difference]


def groups(n: int, pairs: np.ndarray) -> np.ndarray:
    """int64 [n]: for each of ``n`` faces the smallest index it is connected to by ``pairs``, int64 [m, 2]."""
    smallest = np.arange(n)
    while True:
        # Each pair takes the smaller of its two, then everyone what that one has, until nothing changes.
        lower = smallest[pairs].min(axis=1)
        before = smallest.copy()
        for side in (0, 1):
            np.minimum.at(smallest, before[pairs[:, side]], lower)
        smallest = smallest[smallest]
        if np.array_equal(before, smallest):
            return smallest


def _lumas(faces: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(index of the first, float64 [k, h, w]) for some at a time."""
    for at in range(0, len(faces), _AT_ONCE):
        yield at, faces[at : at + _AT_ONCE] @ _LUMA


def _averages(n: int, k: int) -> np.ndarray:
    """[k, n]: averages ``n`` values over ``k`` equal parts of them, which may begin or end within a value."""
    edges, at = np.arange(k + 1) * n / k, np.arange(n)
    shared = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    return shared.clip(0) * k / n


def _cosines() -> np.ndarray:
    """[8, 32]: the lowest frequencies of a discrete cosine transform but for the constant."""
    frequency, at = np.arange(1, _KEPT + 1), np.arange(_GRID)
    return np.cos(np.pi * frequency[:, None] * (2 * at + 1) / (2 * _GRID))


def _alike(hashes: np.ndarray, max_bits: int) -> Iterator[np.ndarray]:
    """int64 [2, m] of pairs with at most ``max_bits`` different bits; several times where several bands show them.

    Of four bands one at least differs in no more than a quarter of the bits, rounded down: all faces with such a band
    are in the buckets of few keys.
    """
    width = 64 // _BANDS
    flips = [
        sum(1 << bit for bit in bits)
        for count in range(max_bits // _BANDS + 1)
        for bits in itertools.combinations(range(width), count)
    ]
    for band in range(_BANDS):
        keys = (hashes >> np.uint64(width * band)) & np.uint64((1 << width) - 1)
        order = np.lexsort((hashes, keys))
        keys = keys[order].astype(np.int64)
        for flip in flips:
            yield order[_within_buckets(hashes[order], keys, flip, max_bits)]


def _within_buckets(hashes: np.ndarray, keys: np.ndarray, flip: int, max_bits: int) -> np.ndarray:
    """Places [2, m] of pairs whose sorted ``keys`` differ by ``flip``, each pair once."""
    places = np.arange(len(keys))
    partner, end = (np.searchsorted(keys, keys ^ flip, side) for side in ("left", "right"))
    if flip:
        # Seen from the key that is the smaller.
        places = places[keys < keys ^ flip]
        partner, end = partner[places], end[places]
    else:
        partner = places + 1
    count = np.zeros(len(places), dtype=np.int64)
    found = [np.empty((2, 0), dtype=np.int64)]
    for _ in range(_MOST_NEIGHBOURS):
        alive = (partner < end) & (count < _MOST_PARTNERS)
        if not alive.any():
            break
        places, partner, end, count = places[alive], partner[alive], end[alive], count[alive]
        near = np.bitwise_count(hashes[places] ^ hashes[partner]) <= max_bits
        found.append(np.stack([places[near], partner[near]]))
        count += near
        partner = partner + 1
    return np.concatenate(found, axis=1)


def _differences(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Root mean square difference of each pair's thumbnails, float64 [m], each thumbnail less its own mean."""
    found = np.empty(len(pairs))
    flat = thumbnails.reshape(len(thumbnails), _THUMBNAIL**2)
    for at in range(0, len(pairs), _AT_ONCE):
        here = pairs[at : at + _AT_ONCE]
        apart = flat[here[:, 0]].astype(np.float32) - flat[here[:, 1]]
        found[at : at + _AT_ONCE] = apart.std(axis=1)
    return found
