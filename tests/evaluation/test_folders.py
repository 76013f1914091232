"""`facet score`: two folders of pictures, against torch-fidelity itself, known answers and broken input."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch_fidelity
from PIL import Image

from facet.cli import main
from facet.errors import DataError, ParamsError
from facet.evaluation.features import JUDGE_EXTRACTOR
from facet.evaluation.folders import judge_space, read_picture, score_folders

# torch-fidelity opens worker pools and files of its own.
pytestmark = pytest.mark.filterwarnings("ignore")


def write(folder, faces):
    folder.mkdir()
    for number, face in enumerate(faces):
        Image.fromarray(np.array(face)).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def folders(faces, tmp_path_factory):
    """Two halves of the real faces."""
    root = tmp_path_factory.mktemp("folders")
    return write(root / "a", faces.pixels[:32]), write(root / "b", faces.pixels[32:64])


@pytest.fixture(scope="module")
def space(judge_folder):
    return judge_space(judge_folder)


def test_torch_fidelity_says_the_same_of_the_same_folders(folders, judge_folder, space):
    ours = score_folders(*folders, space, resize=False, seed=2020)
    theirs = torch_fidelity.calculate_metrics(
        input1=str(folders[1]),
        input2=str(folders[0]),
        fid=True,
        kid=True,
        prc=True,
        prc_neighborhood=3,
        kid_subset_size=32,
        kid_subsets=20,
        rng_seed=2020,
        feature_extractor=JUDGE_EXTRACTOR,
        feature_layer_fid="penultimate",
        feature_extractor_weights_path=str(judge_folder),
        samples_find_deep=False,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    assert ours["frechet"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert ours["kid_mean"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)
    assert ours["precision"] == pytest.approx(theirs["precision"])
    assert ours["recall"] == pytest.approx(theirs["recall"])


def test_a_folder_lies_at_no_distance_from_itself_and_twice_is_the_same(folders, space):
    first = score_folders(folders[0], folders[0], space, resize=False, seed=0)
    assert first["frechet"] == pytest.approx(0, abs=1e-4)
    assert (first["precision"], first["recall"]) == (1, 1)
    assert first == score_folders(folders[0], folders[0], space, resize=False, seed=0)
    assert first["protocol"]["reference"] == first["protocol"]["samples"]
    assert "say little" in first["warnings"][0]


def test_another_size_is_refused_or_resized_by_name(folders, space, faces, tmp_path):
    large = write(tmp_path / "large", [np.asarray(Image.fromarray(f).resize((48, 48))) for f in faces.pixels[:8]])
    with pytest.raises(ParamsError, match="48 x 48, the judge knows 32 x 32: give --resize"):
        score_folders(folders[0], large, space, resize=False, seed=0)
    record = score_folders(folders[0], large, space, resize=True, seed=0)
    assert record["protocol"]["resize"] == "bicubic, antialiased"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: [p.unlink() for p in f.iterdir()], "holds 0 pictures"),
        (lambda f: (f / "000.png").write_bytes(b"no picture"), "can't be read as a picture"),
        (lambda f: Image.new("L", (32, 32)).save(f / "000.png"), "has mode L, expected RGB"),
        (lambda f: Image.new("RGBA", (32, 32)).save(f / "000.png"), "has mode RGBA, expected RGB"),
        (lambda f: Image.new("RGB", (32, 30)).save(f / "003.png"), "003.png is 30 x 32, the pictures before it are 32"),
        (lambda f: (f / "000.png").write_bytes((f / "001.png").read_bytes()[:200]), "can't be read as a picture"),
    ],
)
def test_a_spoilt_folder_is_one_sentence(spoil, told, faces, folders, space, tmp_path):
    folder = write(tmp_path / "spoilt", faces.pixels[:6])
    spoil(folder)
    with pytest.raises(DataError, match=told) as raised:
        score_folders(folders[0], folder, space, resize=False, seed=0)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_none_is_one_sentence(folders, space, tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        score_folders(folders[0], tmp_path / "nowhere", space, resize=False, seed=0)


def test_a_picture_comes_as_it_is(folders, faces):
    assert (read_picture(folders[0] / "000.png", None) == faces.pixels[0]).all()


def test_the_command_prints_and_writes_the_record(folders, judge_folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "score.json"
    given = ["facet", "score", *map(str, folders), "--judge", str(judge_folder), "--out", str(out), "--json"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads(out.read_text())
    assert said.err.startswith("warning: only 32 pictures")
