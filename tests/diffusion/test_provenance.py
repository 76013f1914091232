"""The record in a PNG: what went in comes out, and a stranger's is read with care."""

import contextlib
import dataclasses
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facet.diffusion.grids import save_picture
from facet.diffusion.provenance import KEY, Provenance, Source, read_provenance
from facet.errors import DataError

SAMPLING = {
    "sampler": "dpm++",
    "steps": 4,
    "guidance_scale": 2.0,
    "guidance_interval": (0.2, 0.8),
    "guidance_rescale": 0.0,
    "complete": True,
    "precision": "fp32",
}
RECORD = Provenance(
    command="inpaint",
    model="ab" * 32,
    version="0.1.0",
    seeds=(3, 2**53 - 1),
    sampling=SAMPLING,
    columns=3,
    zoom=2,
    strength=0.5,
    prompt="a ſmiling woman — wïth «hat» 😀",
    attributes={"Smiling": 1, "Male": -1},
    image=Source("photo.png", "cd" * 32),
    box=(0.0, 0.25, 1.0, 0.5),
)
BLANK = Image.fromarray(np.zeros((4, 4, 3), np.uint8))


def written(path, text, compressed=False):
    info = PngInfo()
    info.add_itxt(KEY, text, zip=compressed)
    BLANK.save(path, pnginfo=info)
    return path


def test_what_is_written_is_read(tmp_path):
    save_picture(BLANK, tmp_path / "a.png", RECORD.chunks())
    assert read_provenance(tmp_path / "a.png") == RECORD
    least = dataclasses.replace(RECORD, prompt="", attributes={}, image=None, box=(), command="generate")
    save_picture(BLANK, tmp_path / "b.png", least.chunks())
    assert read_provenance(tmp_path / "b.png") == least


def test_a_picture_without_a_record_says_so(tmp_path):
    BLANK.save(tmp_path / "plain.png")
    with pytest.raises(DataError, match="carries no record"):
        read_provenance(tmp_path / "plain.png")


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\xff" * 100])
def test_what_is_no_png_is_a_sentence(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match="not a readable PNG"):
        read_provenance(tmp_path / "a.png")
    with pytest.raises(DataError, match="no file"):
        read_provenance(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "facet.picture/99"},
        {"seeds": []},
        {"seeds": [-1]},
        {"seeds": [1.5]},
        {"seeds": [True]},
        {"seeds": [2**53]},
        {"seeds": [10**400]},
        {"seeds": list(range(5000))},
        {"frames": 4096},
        {"columns": 0},
        {"zoom": 10**6},
        {"strength": 2},
        {"prompt": "a" * 5000},
        {"prompt": "\ud800"},
        {"prompt": 7},
        {"attributes": ["Smiling"]},
        {"attributes": {"Smiling": 2}},
        {"model": "AB" * 32},
        {"model": "ab"},
        {"command": "rm"},
        {"image": "../../etc/passwd"},
        {"image": {"name": "../photo.png", "sha256": "cd" * 32}},
        {"box": [0, 0, 1]},
        {"sampling": {}},
        {"sampling": SAMPLING | {"steps": 10**6}},
        {"sampling": SAMPLING | {"guidance_interval": 1}},
        {"sampling": SAMPLING | {"precision": "fp64"}},
        {"sampling": SAMPLING | {"complete": 1}},
        {"sampling": SAMPLING | {"surprise": 1}},
        {"surprise": 1},
    ],
)
def test_a_strangers_record_is_checked(change, tmp_path):
    with pytest.raises(DataError, match="damaged record"):
        read_provenance(written(tmp_path / "a.png", json.dumps(RECORD.as_json() | change)))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "NaN", '{"seeds": NaN}', "[" * 100_000, "9" * 10_000])
def test_a_record_that_is_no_record(text, tmp_path):
    with pytest.raises(DataError, match="damaged record"):
        read_provenance(written(tmp_path / "a.png", text))


@pytest.mark.parametrize("megabytes", [0.5, 50])
def test_compressed_text_is_not_unpacked_without_end(megabytes, tmp_path):
    path = written(tmp_path / "a.png", " " * int(megabytes * 2**20), compressed=True)
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError):
        read_provenance(path)


def test_every_flipped_byte_is_read_or_refused(tmp_path):
    save_picture(BLANK, tmp_path / "a.png", RECORD.chunks())
    whole = (tmp_path / "a.png").read_bytes()
    at = whole.index(b"iTXt")
    length = int.from_bytes(whole[at - 4 : at], "big")
    for place in range(at, at + 4 + length, 7):
        broken = bytearray(whole)
        broken[place] ^= 0x15
        # With the checksum of what is there now, so that the damage is seen by nobody before facet.
        broken[at + 4 + length : at + 8 + length] = zlib.crc32(broken[at : at + 4 + length]).to_bytes(4, "big")
        (tmp_path / "b.png").write_bytes(broken)
        with contextlib.suppress(DataError):
            read_provenance(tmp_path / "b.png")
