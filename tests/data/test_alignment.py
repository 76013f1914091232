"""A face comes upright whatever was done to its picture; one that is upright stays; points of no face are refused."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from facet.data.alignment import TEMPLATE, frame_of, similarity, straighten
from facet.data.faces import decode_face, read_face
from facet.errors import PictureError

ORIENTATION = 0x0112
# The template in an aligned CelebA picture, as its landmark table would have it.
ALIGNED = TEMPLATE * 148 + (15, 35) - 0.5


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-10)))


def moved(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = math.radians(degrees)
    matrix = scale * np.array([(math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))])
    return points @ matrix.T + shift


@pytest.mark.parametrize("points", [2, 5])
@pytest.mark.parametrize(("degrees", "scale", "shift"), [(0, 1, (0, 0)), (33, 2.5, (300, 120)), (-170, 0.3, (90, 90))])
def test_a_known_similarity_is_recovered(points, degrees, scale, shift):
    there = moved(ALIGNED[:points], degrees, scale, shift)
    matrix, by = similarity(ALIGNED[:points], there)
    assert np.allclose(ALIGNED[:points] @ matrix.T + by, there)
    assert math.isclose(np.hypot(*matrix[:, 0]), scale)
    assert math.isclose(math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])), degrees)


def test_with_noise_no_other_similarity_is_nearer():
    rng = np.random.default_rng(0)
    there = moved(ALIGNED, 20, 1.5, (30, 40)) + rng.normal(0, 3, (5, 2))

    def error(matrix: np.ndarray, by: np.ndarray) -> float:
        return float(np.square(ALIGNED @ matrix.T + by - there).sum())

    matrix, by = similarity(ALIGNED, there)
    for _ in range(200):
        angle, size = rng.normal(0, 0.01, 2)
        other = moved(matrix.T, math.degrees(angle), 1 + size, (0, 0)).T
        assert error(other, by + rng.normal(0, 0.3, 2)) >= error(matrix, by)


@pytest.mark.parametrize("size", [32, 64, 128, 148])
def test_an_aligned_face_stays_where_it_is(size, raw):
    for name in raw.ids[:8]:
        data = raw.read(name)
        ours, plain = (decode_face(data, size, rule, ALIGNED) for rule in ("landmarks", "celeba-148"))
        assert psnr(ours, plain) >= 40


def test_landmarks_in_whole_pixels_move_an_aligned_face_by_no_more_than_one():
    rng = np.random.default_rng(0)
    for _ in range(50):
        eyes = ALIGNED[:2] + rng.uniform(-0.5, 0.5, (2, 2))
        frame = frame_of(eyes, 178, 218)
        middle = frame.origin + (frame.across + frame.down) / 2
        assert np.hypot(*(middle - (89, 109))) <= 1
        assert abs(frame.side - 148) <= 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("points", [2, 5])
@pytest.mark.parametrize(("degrees", "scale"), [(0, 2), (25, 3), (-40, 1.6), (90, 6)])
def test_a_face_that_was_turned_comes_upright(degrees, scale, points, kind, raw):
    with Image.open(io.BytesIO(raw.read(raw.ids[0]))) as image:
        upright = image.convert("RGB")
    side = math.ceil(300 * scale)
    turn = math.radians(degrees)
    back = np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))]) / scale
    x, y = (89, 109) - back @ (side / 2, side / 2)
    affine = (back[0, 0], back[0, 1], x, back[1, 0], back[1, 1], y)
    turned = upright.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    there = (np.linalg.inv(back) @ (ALIGNED + 0.5 - (x, y)).T).T - 0.5
    face = decode_face(encoded(turned, kind, quality=95), 64, "landmarks", there[:points])
    assert psnr(face, decode_face(encoded(upright), 64, "celeba-148")) >= 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_landmarks_are_those_of_the_picture_as_shown(orientation, raw):
    """Large enough to be decoded at a reduced scale, and of a size that no power of two divides."""
    with Image.open(io.BytesIO(raw.read(raw.ids[1]))) as image:
        shown = image.convert("RGB").resize((178 * 5 + 1, 218 * 5 + 3), Image.Resampling.BICUBIC)
    back = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}
    back |= {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    back |= {8: Image.Transpose.ROTATE_270}
    stored = shown.transpose(back[orientation]) if orientation > 1 else shown
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    there = (ALIGNED + 0.5) * np.array(shown.size) / (178, 218) - 0.5
    face = read_face(encoded(stored, "JPEG", exif=exif, quality=95), 64, "landmarks", there)
    assert (face.width, face.height) == shown.size
    assert psnr(face.pixels, read_face(encoded(shown), 64, "landmarks", there).pixels) >= 38


def test_beyond_the_edges_the_outermost_pixels_are_repeated():
    picture = np.full((100, 100, 3), 90, np.uint8)
    picture[:, 0] = (200, 0, 0)
    face = decode_face(encoded(Image.fromarray(picture)), 64, "landmarks", ALIGNED - (60, 60))
    assert (face[:, :17] == (200, 0, 0)).all()
    assert (face[:, -4:] == 90).all()


def test_a_large_face_is_averaged_and_not_sampled():
    """Stripes of one pixel are grey from afar."""
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::2] = 255
    there = moved(ALIGNED, 10, 7, (100, 20))
    face = decode_face(encoded(Image.fromarray(stripes)), 32, "landmarks", there)
    assert np.abs(face[8:-8, 8:-8].astype(int) - 128).max() <= 6


def test_a_square_is_straightened_at_its_own_scale(raw):
    with Image.open(io.BytesIO(raw.read(raw.ids[0]))) as image:
        pixels = np.asarray(image.convert("RGB"))
    upright = straighten(pixels, frame_of(ALIGNED, 178, 218), 64)
    assert upright.shape == (148, 148, 3)
    assert np.abs(upright.astype(int) - pixels[35:183, 15:163]).max() <= 1


UNKNOWN = np.full((5, 2), np.nan)


@pytest.mark.parametrize(
    ("landmarks", "says"),
    [
        (None, "no landmarks"),
        (UNKNOWN, "unknown"),
        (np.concatenate([ALIGNED[:1], UNKNOWN[1:]]), "unknown"),
        (np.full((5, 2), np.inf), "unknown"),
        (np.zeros((5, 2)), "no face's"),
        (np.full((5, 2), 70.0), "no face's"),
        (ALIGNED + 5000, "no face's"),
        (ALIGNED * 1e6, "no face's"),
        (moved(ALIGNED, 0, 100, (-8800, -10900)), "no face's"),
        (ALIGNED[[1, 0, 2, 4, 3]], "mirrored"),
    ],
)
def test_points_that_are_no_face_are_one_sentence(landmarks, says, raw):
    with pytest.raises(PictureError, match=says) as caught:
        decode_face(raw.read(raw.ids[0]), 64, "landmarks", landmarks)
    assert caught.value.kind == "crop"


def test_an_unknown_mouth_leaves_the_eyes(raw):
    partly = np.concatenate([ALIGNED[:2], UNKNOWN[2:]])
    data = raw.read(raw.ids[0])
    assert np.array_equal(decode_face(data, 64, "landmarks", partly), decode_face(data, 64, "landmarks", ALIGNED[:2]))


def test_a_face_too_small_by_its_landmarks_is_refused(raw):
    with pytest.raises(PictureError, match="the face is 74 pixels wide, expected at least 100") as caught:
        read_face(raw.read(raw.ids[0]), 64, "landmarks", moved(ALIGNED, 0, 0.5, (40, 50)), min_side=100)
    assert caught.value.kind == "too small"
