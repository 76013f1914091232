"""What a table asks of a registered model: read row by row, or refused in one sentence that names the row."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facet.data.faces import decode_face
from facet.diffusion.drawing import draw
from facet.diffusion.provenance import read_provenance
from facet.errors import ParamsError
from facet.registry import pictures
from facet.registry.asking import check_strength, draw_rows, options_of, read_rows, record_of
from facet.registry.pictures import read_pictures
from tests import tiny

SIZE = tiny.SIZE


@pytest.fixture(scope="module")
def pipeline():
    return tiny.pipeline()


def picture(mode: str = "RGB", size: tuple[int, int] = (SIZE, SIZE), seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **how) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


MASK = encoded(Image.new("L", (SIZE, SIZE), 255))


def test_rows_ask_for_different_things(pipeline):
    photo = encoded(picture())
    table = pd.DataFrame(
        [
            {"Smiling": 1, "Male": -1.0},
            {"prompt": "a smiling man", "Smiling": None},
            {"image": base64.b64encode(photo).decode()},
            {"image": photo, "mask": MASK, "negative_prompt": "a hat"},
        ]
    )
    rows = read_rows(table, pipeline, seed=5)
    names = pipeline.attribute_names
    assert [int(np.abs(row.states).sum()) for row in rows] == [2, 0, 0, 0]
    assert (rows[0].states[names.index("Smiling")], rows[0].states[names.index("Male")]) == (1, -1)
    assert [row.prompt for row in rows] == ["", "a smiling man", "", ""]
    assert [row.negative_prompt for row in rows] == ["", "", "", "a hat"]
    assert [row.seed for row in rows] == [5, 6, 7, 8]
    assert [row.sent.face is None for row in rows] == [True, True, False, False]
    assert [row.sent.mask is None for row in rows] == [True, True, True, False]
    np.testing.assert_array_equal(rows[2].sent.face, np.asarray(picture()))
    calls = {options_of(row, 0.5, {"steps": 3}) for row in rows}
    assert {(call.from_photo, call.masked, call.strength) for call in calls} == {
        (False, False, 1.0),
        (True, False, 0.5),
        (True, True, 0.5),
    }


@pytest.mark.parametrize(
    ("asked", "params"),
    [
        ({"Smiling": 1, "Male": -1, "prompt": "a smiling man"}, {}),
        ({"negative_prompt": "a hat"}, {"steps": 3, "guidance": 2.5, "sampler": "euler"}),
        ({"image": encoded(picture(size=(40, 30))), "prompt": "a hat"}, {"steps": 4}),
        ({"image": encoded(picture(), "JPEG"), "mask": MASK}, {}),
    ],
)
def test_what_an_answer_says_of_itself_draws_it_again(asked, params, pipeline, tmp_path):
    (row,) = read_rows(pd.DataFrame([asked]), pipeline, seed=5)
    options = options_of(row, 0.5, params)
    (drawn,) = draw_rows(pipeline, [row], options)
    drawn.save(tmp_path / "drawn.png", pnginfo=record_of(row, options, pipeline, "0" * 64).chunks())
    files = {}
    for name in ("image", "mask"):
        if name in asked:
            files[name] = tmp_path / f"sent-{name}"
            files[name].write_bytes(asked[name])
    record = read_provenance(tmp_path / "drawn.png")
    assert (record.model, record.seeds, record.command) == ("0" * 64, (5,), "generate")
    (again,) = draw(pipeline, record, **files).faces
    np.testing.assert_array_equal(again, np.asarray(drawn))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"Smilling": 1}, "no attribute 'Smilling': did you mean Smiling"),
        ({"Smiling": 0.5}, "row 0, attribute Smiling: 0.5, expected -1"),
        ({"Smiling": True}, "row 0, attribute Smiling: True"),
        ({"Straight_Hair": 1, "Wavy_Hair": 1}, "row 0: no face has Straight_Hair and Wavy_Hair at once"),
        ({"prompt": 3}, "row 0, prompt: int, expected text"),
        ({"prompt": "man " * 600}, "row 0, prompt: 2400 characters, at most 2000"),
        ({"prompt": "a man " * 60}, r"row 0, prompt: longer than \d+ tokens, so that '.*a man' would not be read"),
        ({"mask": MASK}, "row 0, mask: there is no image"),
        ({"image": b""}, "row 0, image: it is empty"),
        ({"image": ""}, "row 0, image: it is empty"),
        ({"image": "a photo!"}, "row 0, image: no base64"),
        ({"image": 3}, "row 0, image: int, expected"),
        ({"image": b"photo"}, "row 0, image: no picture, or a damaged one"),
        ({"image": encoded(picture("P"), "GIF")}, "row 0, image: no picture, or a damaged one"),
        ({"image": encoded(picture())[:500]}, "row 0, image: .* a damaged one"),
        ({"image": encoded(picture()), "mask": encoded(Image.new("L", (8, 8)))}, "row 0, mask: .* is 8x8"),
        ({"image": encoded(picture()), "mask": encoded(picture())}, "row 0, mask: .* has colours"),
        ({"image": encoded(picture()), "mask": encoded(Image.new("L", (SIZE, SIZE)))}, "the mask is all black"),
    ],
)
def test_what_can_not_be_meant_is_one_sentence(pipeline, row, told):
    with pytest.raises(ParamsError, match=told) as raised:
        read_rows(pd.DataFrame([row]), pipeline, 0)
    said = str(raised.value)
    assert "\n" not in said
    assert said.endswith((".", ")"))


@pytest.mark.parametrize(
    ("conditioning", "row", "told"),
    [
        ("attributes", {"prompt": "a man"}, "conditioning 'attributes' and reads no prompt"),
        ("attributes", {"negative_prompt": "a man"}, "conditioning 'attributes' and reads no prompt"),
        ("text", {"Smiling": 1}, "conditioning 'text': leave the attributes out"),
    ],
)
def test_a_model_says_what_it_does_not_read(conditioning, row, told):
    model = tiny.pipeline(conditioning=conditioning)
    with pytest.raises(ParamsError, match=told):
        read_rows(pd.DataFrame([row]), model, 0)
    assert len(read_rows(pd.DataFrame([{"Smiling": 0, "prompt": ""}]), model, 0)) == 1  # nothing asked is no error


@pytest.mark.parametrize("seed", [-1, 2**53])
def test_a_seed_out_of_range_is_refused_before_it_is_drawn(pipeline, seed):
    with pytest.raises(ParamsError, match="seed is "):
        read_rows(pd.DataFrame([{"Smiling": 1}]), pipeline, seed)


@pytest.mark.parametrize(
    ("columns", "strength", "told"),
    [
        ({"Smiling": 1}, 0.5, "no row has an image"),
        ({"image": encoded(picture())}, 1.0, "row 0 has an image and no mask"),
        ({"image": encoded(picture())}, 0.0, "expected above 0"),
    ],
)
def test_a_strength_that_says_nothing_is_refused(pipeline, columns, strength, told):
    rows = read_rows(pd.DataFrame([columns]), pipeline, 0)
    with pytest.raises(ParamsError, match=told):
        check_strength(rows, strength)


def test_a_photo_comes_as_bytes_as_base64_or_as_a_browser_has_it():
    wide = encoded(picture(size=(96, 64)))
    text = base64.encodebytes(wide).decode()
    for given in (wide, bytearray(wide), text, "data:image/png;base64," + text):
        np.testing.assert_array_equal(read_pictures(given, None, SIZE)[0], decode_face(wide, SIZE, "square"))


def test_a_mask_goes_the_way_of_its_photo():
    half = Image.new("L", (96, 64))
    half.paste(255, (48, 0, 96, 64))
    mask = read_pictures(encoded(picture(size=(96, 64))), encoded(half), SIZE)[1]
    assert not mask[:, : SIZE // 2].any()
    assert mask[:, SIZE // 2 :].all()


def test_too_large_is_refused_before_it_is_unfolded(monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", SIZE * SIZE - 1)
    with pytest.raises(ParamsError, match="image: 32x32, at most 1,023 pixels"):
        read_pictures(encoded(picture()), None, SIZE)
    monkeypatch.setattr(pictures, "MOST_BYTES", 99)
    with pytest.raises(ParamsError, match=r"image: [\d,]+ bytes, at most 99"):
        read_pictures(encoded(picture()), None, SIZE)
