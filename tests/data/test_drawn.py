"""The drawn set: the same bytes every time, CelebA's layout, labels that agree with each other and with the pixels."""

import dataclasses
import zipfile

import numpy as np
import pytest

from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.drawn import DRAWN_ATTRIBUTES, draw_face, sample_person, write_drawn_set
from facet.data.layouts import read_celeba
from facet.errors import ParamsError

COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")


@pytest.fixture(scope="module")
def people():
    return [sample_person(0, i) for i in range(2000)]


def shares(people) -> dict[str, float]:
    return {name: float(np.mean([p.attributes[name] for p in people])) for name in CELEBA_ATTRIBUTES}


def test_a_set_has_the_same_bytes_whatever_its_size_and_workers(tmp_path):
    write_drawn_set(tmp_path / "a", 6, seed=3)
    write_drawn_set(tmp_path / "b", 6, seed=3, workers=2)
    write_drawn_set(tmp_path / "c", 9, seed=3)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    small, large = (zipfile.ZipFile(tmp_path / name / "img_align_celeba.zip") for name in "ac")
    assert len(small.namelist()) == 6
    for name in small.namelist():
        assert small.read(name) == large.read(name)


def test_the_layout_is_celebas(tmp_path):
    write_drawn_set(tmp_path, 5)
    raw = read_celeba(tmp_path)
    assert raw.names == CELEBA_ATTRIBUTES
    assert raw.ids == tuple(f"{i:06d}.jpg" for i in range(1, 6))
    landmarks = (tmp_path / "list_landmarks_align_celeba.txt").read_text().splitlines()
    assert landmarks[1].split()[:2] == ["lefteye_x", "lefteye_y"]
    assert len(landmarks[2].split()) == 11
    assert draw_face(sample_person(0, 0)).size == (178, 218)


def test_the_shipped_sample_is_what_the_command_draws(tmp_path):
    write_drawn_set(tmp_path, 3)
    drawn, shipped = zipfile.ZipFile(tmp_path / "img_align_celeba.zip"), zipfile.ZipFile("sample/img_align_celeba.zip")
    for name in drawn.namelist():
        assert drawn.read(name) == shipped.read(name)


def test_each_drawn_attribute_is_common_enough_to_learn_and_no_other_is_ever_present(people):
    seen = shares(people)
    assert len(DRAWN_ATTRIBUTES) >= 15
    for name in DRAWN_ATTRIBUTES:
        assert 0.05 <= seen[name] <= 0.95, (name, seen[name])
    assert all(seen[name] == 0 for name in CELEBA_ATTRIBUTES if name not in DRAWN_ATTRIBUTES)


def test_labels_never_contradict_each_other(people):
    for person in people:
        has = person.attributes
        assert sum(has[colour] for colour in COLOURS) <= 1
        assert not (has["Bald"] and (has["Bangs"] or has["Wearing_Hat"] or any(has[colour] for colour in COLOURS)))
        assert not (has["No_Beard"] and (has["Goatee"] or has["Mustache"]))
        assert not (has["Wearing_Hat"] and has["Bangs"])
        assert not (has["Straight_Hair"] and has["Wavy_Hair"])


def test_correlations_are_realistic_and_not_absolute(people):
    men = [p for p in people if p.attributes["Male"]]
    women = [p for p in people if not p.attributes["Male"]]
    assert shares(men)["Wearing_Lipstick"] < 0.05 < 0.4 < shares(women)["Wearing_Lipstick"]
    assert 0 < shares(men)["Wavy_Hair"] < shares(women)["Wavy_Hair"] < 1
    smiling = [p for p in people if p.attributes["Smiling"]]
    assert shares(smiling)["Mouth_Slightly_Open"] > shares(people)["Mouth_Slightly_Open"] + 0.1


def test_no_identity_is_in_two_partitions(people):
    partition = {}
    for person in people:
        assert partition.setdefault(person.identity, person.partition) == person.partition
    train = np.mean([p.partition == 0 for p in people])
    assert 0.75 <= train <= 0.85


@pytest.mark.parametrize("name", ["Eyeglasses", "Smiling", "Wearing_Hat", "Wearing_Lipstick", "Mouth_Slightly_Open"])
def test_flipping_an_attribute_shows(name):
    person = next(p for p in (sample_person(1, i) for i in range(100)) if not p.attributes[name])
    changed = dataclasses.replace(person, attributes={**person.attributes, name: True})
    difference = np.abs(np.asarray(draw_face(person), int) - np.asarray(draw_face(changed), int)).max(axis=-1)
    assert (difference > 40).sum() > 60


@pytest.mark.parametrize("n", [0, -1, 1_000_000])
def test_a_senseless_count_is_refused_before_anything_is_written(tmp_path, n):
    with pytest.raises(ParamsError, match="n of the drawn faces is"):
        write_drawn_set(tmp_path / "out", n)
    assert not (tmp_path / "out").exists()
