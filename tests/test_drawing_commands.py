"""`facet generate, edit, inpaint, interpolate, sweep, export, inspect`: what they draw, what they write down, and what
they refuse."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from facet.cli import main
from facet.data.faces import decode_face
from facet.data.layouts import read_celeba
from facet.data.manifest import write_faces
from facet.diffusion.provenance import read_provenance
from facet.diffusion.saving import load_pipeline, save_pipeline
from tests import tiny

PROMPT = "a photo of a woman"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    pipeline = tiny.pipeline()
    pipeline.register_to_config(closed_vocabulary=True)
    save_pipeline(pipeline, folder)
    return folder


@pytest.fixture
def facet(model, tmp_path, monkeypatch, capsys):
    """`facet …` with the tiny model, inside this process and an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    # A command takes a thread for each core; tiny networks on busy cores would wait for the second.
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})

    def call(command: str, *arguments: str) -> tuple[int, str, str]:
        given = () if command == "inspect" or "--model" in arguments else ("--model", str(model))
        monkeypatch.setattr(sys, "argv", ["facet", command, *arguments, *given])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return call


def done(result: tuple[int, str, str]) -> str:
    code, said, errors = result
    assert code == 0, errors
    return said


def refused(result: tuple[int, str, str]) -> str:
    code, said, errors = result
    assert code == 1
    assert said == ""
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    return line


def photo(path, size=(32, 32), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


# --- drawn, recorded, drawn again -------------------------------------------------------------------------------------

COMMANDS = {
    "generate": ["generate", "-p", PROMPT, "-a", "Smiling,-Male", "--negative", "a man", "-n", "3", "--seed", "5"],
    "sampler": ["generate", "--steps", "3", "--sampler", "euler", "--guidance", "3.5", "-n", "2"],
    "from a photo": ["generate", "--image", "photo.png", "--strength", "0.6", "-n", "2"],
    "edit": ["edit", "photo.png", "--change", "Smiling,-Eyeglasses", "--shows", "Male"],
    "mask": ["inpaint", "photo.png", "--mask", "mask.png", "-p", PROMPT, "-n", "2"],
    "box": ["inpaint", "photo.png", "--box", "0", "0.25", "1", "0.75", "-a", "Eyeglasses", "-n", "2"],
    "interpolate": [
        "interpolate",
        "--from",
        "3",
        "--to",
        "9",
        "-a",
        "-Smiling",
        "--to-attributes",
        "Smiling",
        "-n",
        "4",
    ],
    "sweep": ["sweep", "Smiling", "-a", "Male", "--num", "2", "--values", "3"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_any_picture_is_drawn_again_pixel_for_pixel(arguments, facet, tmp_path, model):
    photo(tmp_path / "photo.png")
    Image.fromarray(np.triu(np.full((32, 32), 255, np.uint8))).save(tmp_path / "mask.png")
    facts = json.loads(done(facet(*arguments, "--out", "first.png", "--json")))
    assert facts["out"] == "first.png"
    again = [part for option in ("image", "mask") for part in (f"--{option}", f"{option}.png")]
    record = read_provenance(tmp_path / "first.png")
    (tmp_path / "photo.png").rename(tmp_path / "image.png")
    kept = [part for part in again if getattr(record, part.removeprefix("--").removesuffix(".png"))]
    done(facet("generate", "--like", "first.png", "--out", "again.png", *kept))
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "first.png").read_bytes()
    told = json.loads(done(facet("inspect", "first.png", "--json")))
    assert told["command"] == arguments[0]
    assert told == json.loads(json.dumps(record.as_json()))
    if kept:
        photo(tmp_path / "image.png", seed=1)
        assert "is not the photo.png" in refused(facet("generate", "--like", "first.png", "--out", "x.png", *kept))
        assert "--image" in refused(facet("generate", "--like", "first.png", "--out", "x.png"))


def test_inspect_tells_what_was_asked(facet, tmp_path):
    done(facet("generate", "-p", PROMPT, "-a", "Smiling,-Male", "-n", "2", "--seed", "5", "-o", "a.png"))
    lines = dict(line.split(maxsplit=1) for line in done(facet("inspect", "a.png")).splitlines())
    assert lines["prompt"] == PROMPT
    assert set(lines["attributes"].split(",")) == {"Smiling", "-Male"}
    assert lines["seeds"] == "5 to 6"
    assert lines["sampler"] == "dpm++, 4 steps, fp32"
    Image.open(tmp_path / "a.png").save(tmp_path / "b.png")
    assert "carries no record" in refused(facet("inspect", "b.png"))


def test_another_model_draws_only_when_told_to(facet, tmp_path):
    save_pipeline(tiny.pipeline(seed=9), tmp_path / "other")
    done(facet("generate", "-n", "1", "-o", "a.png"))
    assert "--any-model" in refused(facet("generate", "--like", "a.png", "-o", "b.png", "--model", "other"))
    done(facet("generate", "--like", "a.png", "-o", "b.png", "--model", "other", "--any-model"))
    first, second = (read_provenance(tmp_path / name) for name in ("a.png", "b.png"))
    assert first.model != second.model
    assert "--prompt does not go here" in refused(facet("generate", "--like", "a.png", "-p", "a man", "-o", "c.png"))


def test_each_face_in_a_file_of_its_own(facet, tmp_path, model):
    done(facet("generate", "-n", "3", "--seed", "4", "-a", "Smiling", "--each", "--out", "faces"))
    assert sorted(p.name for p in (tmp_path / "faces").iterdir()) == ["seed-4.png", "seed-5.png", "seed-6.png"]
    face = np.asarray(Image.open(tmp_path / "faces/seed-6.png"))
    (expected,) = load_pipeline(model)(attributes="Smiling", seeds=[6], output_type="np").images
    assert np.abs(face.astype(int) - expected).max() <= 1
    done(facet("generate", "--like", "faces/seed-5.png", "--out", "again.png"))
    assert np.array_equal(Image.open(tmp_path / "again.png"), Image.open(tmp_path / "faces/seed-5.png"))
    assert "exists already" in refused(facet("generate", "-n", "1", "--each", "--out", "faces"))


def test_inpainting_gives_the_rest_of_the_photo_back(facet, tmp_path):
    pixels = photo(tmp_path / "photo.png")
    done(facet("inpaint", "photo.png", "--box", "0", "0", "1", "0.5", "-n", "1", "-o", "a.png"))
    sheet = np.asarray(Image.open(tmp_path / "a.png"))[::2, ::2]
    assert np.array_equal(sheet[:, :32], pixels)
    assert np.array_equal(sheet[16:, 33:], pixels[16:])
    assert not np.array_equal(sheet[:16, 33:], pixels[:16])


def test_a_photo_of_another_size_is_fitted_and_that_is_said(facet, tmp_path):
    photo(tmp_path / "photo.png", (100, 80))
    code, said, errors = facet("edit", "photo.png", "-c", "Smiling", "--json")
    assert code == 0
    facts = json.loads(said)
    assert "100x80" in facts["warnings"][0]
    assert "warning: the photo is 100x80" in errors
    assert facts["moved"]["pixels"] > 0


# --- an exported set --------------------------------------------------------------------------------------------------


def test_an_exported_set_is_read_back_like_raw_data(facet, tmp_path, faces_folder, faces, model):
    for name in ("set", "again"):
        facts = json.loads(
            done(facet("export", "--num", "20", "--like-data", str(faces_folder), "--out", name, "--json"))
        )
    assert facts["prepare"] == {"crop": "none", "size": 32}
    assert tiny.contents(tmp_path / "set") == tiny.contents(tmp_path / "again")
    raw = read_celeba(tmp_path / "set")
    assert len(raw) == 20
    assert raw.names == faces.names
    assert np.bincount(raw.splits).tolist() == [16, 2, 2]
    assert all(len(own) == 1 for own in raw.captions)
    known = {tuple(row) for row in faces.attributes}
    assert {tuple(row) for row in raw.attributes} <= known
    drawn = decode_face(raw.read(raw.ids[3]), 32, "none")
    (expected,) = load_pipeline(model)(attributes=raw.attributes[3:4], seeds=[3], output_type="np").images
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    about = write_faces(raw, tiny.prepare_params(crop="none"), tmp_path / "faces")
    assert about["size"] == 32


def test_an_exported_picture_is_drawn_again_even_with_labels_that_exclude_one_another(facet, tmp_path, raw_folder):
    """Data hold what no request may ask for."""
    table = (raw_folder / "list_attr_celeba.txt").read_text().splitlines()
    names, rows = table[1].split(), [line.split() for line in table[2:]]
    for row in rows:
        row[1 + names.index("Black_Hair")] = row[1 + names.index("Gray_Hair")] = "1"
    data = tmp_path / "data"
    data.mkdir()
    for path in raw_folder.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    (data / "list_attr_celeba.txt").write_text("\n".join([*table[:2], *map(" ".join, rows)]))
    done(facet("export", "--num", "2", "--like-data", str(data), "--out", "set"))
    done(facet("generate", "--like", "set/img_align_celeba/000002.png", "--out", "again.png"))
    assert np.array_equal(Image.open(tmp_path / "again.png"), Image.open(tmp_path / "set/img_align_celeba/000002.png"))


def test_a_set_of_one_request_has_its_labels_or_its_words(facet, tmp_path):
    done(facet("export", "--num", "2", "-a", "Smiling,-Male", "--out", "smiles"))
    raw = read_celeba(tmp_path / "smiles")
    said = dict(zip(raw.names, raw.attributes[0], strict=True))
    assert (said["Smiling"], said["Male"], said["Bald"]) == (1, -1, 0)
    done(facet("export", "--num", "2", "-p", PROMPT, "--out", "words"))
    assert read_celeba(tmp_path / "words").captions == ((PROMPT,), (PROMPT,))


# --- what is refused, and what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generate", "-a", "Black_Hair,Blond_Hair"], "Black_Hair and Blond_Hair at once"),
        (["generate", "-p", "  "], "--prompt is blank"),
        (["generate", "--negative", ""], "--negative is blank"),
        (["generate", "--steps", "0"], "steps is 0"),
        (["generate", "--steps", "10000"], "steps is 10000, expected 1 to 1000"),
        (["generate", "--sampler", "dpm"], "did you mean dpm++"),
        (["generate", "--guidance", "nan"], "guidance scale is nan"),
        (["generate", "-n", "1000000"], "too many for one picture"),
        (["generate", "--seed", str(2**53)], "seeds run"),
        (["generate", "--out", "."], "is a folder"),
        (["generate", "--out", "faces.jpg"], "name it faces.png"),
        (["generate", "--strength", "0.5"], "--image"),
        (["generate", "--image", "nowhere.png"], "nowhere.png can't be read"),
        (["generate", "--image", "empty.png"], "empty.png is empty"),
        (["generate", "--image", "text.png"], "text.png is not a picture"),
        (["generate", "--image", "photo.png", "--strength", "0"], "strength is 0"),
        (["generate", "--mask", "photo.png"], "facet inpaint"),
        (["generate", "--like", "photo.png"], "carries no record"),
        (["edit", "photo.png"], "nothing should change"),
        (["edit", "photo.png", "-c", "Smiling,-Smiling"], "both present and absent"),
        (["edit", "photo.png", "-c", "Smiling", "--strength", "2"], "--strength is 2"),
        (["inpaint", "photo.png"], "--mask or by --box"),
        (["inpaint", "photo.png", "--box", "0.5", "0", "0.2", "1"], "--box is"),
        (["inpaint", "photo.png", "--mask", "small.png"], "small.png is 7x7, but the photo is 32x32"),
        (["inpaint", "photo.png", "--mask", "empty.png"], "empty.png is empty"),
        (["interpolate", "--to-attributes", "Smilin"], "did you mean Smiling"),
        (["sweep", "Smilin"], "did you mean Smiling"),
        (["sweep", "Smiling", "--num", "100000"], "too many for one picture"),
        (["export", "--out", "there"], "exists already"),
        (["export", "--out", "no/where"], "does not exist"),
        (["export", "--out", "set"], "artifacts/faces"),
        (["export", "--out", "set", "-a", "Bald,Bangs"], "Bald and Bangs at once"),
        (["export", "--out", "set", "-a", "Bald", "--like-data", "there"], "leave --attributes"),
        (["inspect", "nowhere.png"], "no file"),
        (["inspect", "text.png"], "not a readable PNG"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_nothing_is_written(arguments, says, facet, tmp_path):
    photo(tmp_path / "photo.png")
    Image.fromarray(np.full((7, 7), 255, np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("a face")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    before = tiny.contents(tmp_path)
    assert says in refused(facet(*arguments))
    assert tiny.contents(tmp_path) == before


@pytest.mark.parametrize("arguments", [["--num", "0"], ["--seed", "-1"], ["--steps", "many"]])
def test_what_is_no_such_number_is_a_usage_error(arguments, facet, tmp_path):
    code, _, errors = facet("generate", *arguments)
    assert code == 2
    assert arguments[0] in errors
    assert list(tmp_path.iterdir()) == []


def test_a_long_prompt_is_drawn_and_what_was_cut_is_said(facet, tmp_path):
    text = f"{PROMPT} {'with a hat and a tie ' * 30} zyxwv"
    code, said, errors = facet("generate", "-p", text, "-n", "1", "--json")
    assert code == 0
    cut, unread = json.loads(said)["warnings"]
    assert "not read" in cut
    assert "'zyxwv'" in unread
    assert errors.count("warning: ") == 2
    assert (tmp_path / "faces.png").is_file()


def test_a_folder_that_can_not_be_written_is_said_before_anything_is_drawn(facet, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "can't be written" in refused(facet("generate"))
