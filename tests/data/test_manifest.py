"""artifacts/faces: the same bytes on any number of cores, read back as written, or not there at all."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest

from facet.artifacts import digest_file
from facet.data import blocks
from facet.data.datasets import load_faces, map_tensor
from facet.data.faces import decode_face
from facet.data.manifest import write_faces
from facet.errors import ArtifactError, DataError
from tests import tiny

PARAMS = tiny.prepare_params()


def test_the_bytes_do_not_depend_on_the_core_count(raw, faces_folder, tmp_path, monkeypatch):
    for cores in (1, 7):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        write_faces(raw, PARAMS, tmp_path / str(cores))
        assert tiny.contents(tmp_path / str(cores)) == tiny.contents(faces_folder)


def test_what_is_read_is_what_was_written(raw, faces):
    assert faces.pixels.shape == (64, 32, 32, 3)
    assert np.array_equal(faces.pixels[5], decode_face(raw.read(raw.ids[5]), 32, "celeba-148"))
    assert np.array_equal(faces.attributes, raw.attributes)
    assert faces.attributes.dtype == np.int8
    assert tuple(faces.ids) == raw.ids
    assert np.array_equal(faces.identity, raw.identities)
    assert faces.names == raw.names


def test_splits_are_row_numbers(faces, raw):
    assert np.array_equal(faces.rows("train"), np.flatnonzero(raw.splits == 0))
    assert np.array_equal(faces.rows("test", "valid"), np.flatnonzero(raw.splits != 0))
    with pytest.raises(ArtifactError, match="no face is in split holdout"):
        faces.rows("holdout")


def test_only_attributes_seen_both_ways_are_learnable(faces):
    states = np.array(faces.attributes)
    states[:, 0], states[:, 1] = 1, -1
    states[faces.rows("train")[:7], 1] = 1
    changed = dataclasses.replace(faces, attributes=states)
    assert not {0, 1} & set(changed.learnable())
    assert 1 in changed.learnable(least=7)


def test_faces_without_attributes_are_prepared_and_not_learned_from(raw, faces, tmp_path):
    faces.check_labelled()
    unlabelled = dataclasses.replace(raw, names=(), attributes=np.zeros((len(raw), 0), np.int8))
    write_faces(unlabelled, PARAMS, tmp_path / "faces")
    found = load_faces(tmp_path / "faces")
    assert found.attributes.shape == (len(raw), 0)
    with pytest.raises(DataError, match=r"no attributes.*add a table or class folders"):
        found.check_labelled()


def test_several_shards_read_as_one(raw, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 32 * 32 * 3 * 25)
    about = write_faces(raw, PARAMS, tmp_path / "faces")
    assert [shard["count"] for shard in about["shards"]] == [25, 25, 14]
    assert np.array_equal(load_faces(tmp_path / "faces").pixels, faces.pixels)
    for shard in about["shards"]:
        assert digest_file(tmp_path / "faces" / shard["file"]) == shard["sha256"]


def test_a_broken_picture_is_named_and_leaves_the_old_faces(raw, tmp_path):
    write_faces(raw, PARAMS, tmp_path / "faces")
    before = tiny.contents(tmp_path)
    broken = dataclasses.replace(raw, read=lambda name: raw.read(name)[: 700 if name == "000050.jpg" else None])
    with pytest.raises(DataError, match=r"1 broken, such as 000050\.jpg \(broken JPEG .*; mend the data"):
        write_faces(broken, PARAMS, tmp_path / "faces")
    assert tiny.contents(tmp_path) == before
    with pytest.raises(DataError, match=r"000050\.jpg"):
        write_faces(broken, PARAMS, tmp_path / "others")
    assert tiny.contents(tmp_path) == before


def test_an_empty_table_is_a_sentence(raw, tmp_path):
    none = dataclasses.replace(raw, ids=())
    with pytest.raises(DataError, match="lists no picture"):
        write_faces(none, PARAMS, tmp_path / "faces")


@pytest.mark.parametrize("what", ["attributes", "splits"])
def test_other_labels_make_another_description(what, raw, tmp_path):
    """Steps tell their inputs apart by faces.json: the same pixels under other labels are another set."""
    changed = np.array(getattr(raw, what))
    if what == "attributes":
        changed[0] *= -1
    else:  # two rows change places, so that the counts stay
        first, second = np.flatnonzero(changed == 0)[0], np.flatnonzero(changed == 1)[0]
        changed[[first, second]] = changed[[second, first]]
    a = write_faces(raw, PARAMS, tmp_path / "a")
    b = write_faces(dataclasses.replace(raw, **{what: changed}), PARAMS, tmp_path / "b")
    assert a["shards"] == b["shards"]
    assert a != b


def test_nothing_in_it_names_a_place_or_a_time(faces_folder):
    content = b"".join(tiny.contents(faces_folder).values())
    assert str(faces_folder.parent).encode() not in content
    assert b"202" not in json.dumps(sorted(json.loads((faces_folder / "faces.json").read_text()))).encode()


def test_a_damaged_shard_is_a_sentence(faces_folder, tmp_path):
    whole = (faces_folder / "faces-00000.safetensors").read_bytes()
    for content in (b"", whole[:5], whole[:40], b"\xff" * 100):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ArtifactError, match="missing or damaged"):
            map_tensor(tmp_path / "x.safetensors", "faces")
    with pytest.raises(ArtifactError, match="missing or damaged"):
        map_tensor(faces_folder / "faces-00000.safetensors", "pixels")


def test_a_shard_cut_short_is_a_sentence(faces_folder, tmp_path):
    whole = (faces_folder / "faces-00000.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match="missing or damaged"):
        map_tensor(tmp_path / "x.safetensors", "faces")


@pytest.mark.parametrize("size", [40, 17])
def test_a_size_that_networks_can_not_halve_is_refused(size):
    with pytest.raises(ValueError, match="multiple of 16"):
        tiny.prepare_params(size=size, crop="square")
