"""The faces' promises: a good set passes to the byte, each kind of broken set is stopped and named."""

import dataclasses
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from facet.data.expectations import check_faces
from facet.data.manifest import write_faces
from facet.data.promises import DriftParams, SplitShares, ValidateParams, exclusive_groups, suite
from facet.data.raw import RawSet
from facet.errors import ArtifactError, DataError, ParamsError
from facet.stages import run, validate
from tests import tiny

# Great Expectations warns of its own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ("Smiling", "Black_Hair", "Blond_Hair")
PARAMS = ValidateParams(
    split_share=SplitShares(train=0.5, valid=0.05, test=0.05),
    attribute_share=0.05,
    exclusive=(("Black_Hair", "Blond_Hair", "Gray_Hair"), ("No_Beard", "Goatee")),
    max_contradictory=0.02,
    bands=(),
    max_leaking=0.0,
    drift=DriftParams(severity="fail", max_share=0.05, max_shift=0.25),
    min_brightness=10,
    max_brightness=245,
    min_contrast=5,
    min_sharpness=0.5,
    max_unusable=0.02,
)


def raw_set(count: int = 100, **changes) -> RawSet:
    """Noise pictures with sound tables: 80/10/10 splits, two pictures a person, attributes half and half."""
    rng = np.random.default_rng(0)
    rows = np.arange(count)
    smiling, dark = rows % 2 * 2 - 1, rows // 2 % 2 * 2 - 1
    fields = {
        "ids": tuple(f"{i:06d}.png" for i in rows),
        "names": NAMES,
        "attributes": np.stack([smiling, dark, -dark], axis=1).astype(np.int8),
        "splits": np.select([rows < count * 0.8, rows < count * 0.9], [0, 1], 2),
        "identities": rows // 2,
        "read": dict(zip([f"{i:06d}.png" for i in rows], (_png(rng) for _ in rows), strict=True)).__getitem__,
    }
    return RawSet(**fields | changes)


def _png(rng: np.random.Generator, low: int = 0, high: int = 256) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(low, high, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def verdict_of(raw: RawSet, tmp_path, params: ValidateParams = PARAMS):
    write_faces(raw, tiny.prepare_params(size=16, crop="none"), tmp_path / "faces")
    return check_faces(tmp_path / "faces", params, tmp_path / "docs")


def edit_manifest(faces, name: str, values) -> None:
    table = pq.read_table(faces / "manifest.parquet")
    column = table.schema.get_field_index(name)
    pq.write_table(table.set_column(column, name, pa.array(values)), faces / "manifest.parquet")


def test_sound_faces_pass_and_leave_the_same_record_twice(tmp_path):
    first = verdict_of(raw_set(), tmp_path / "a")
    second = verdict_of(raw_set(), tmp_path / "b")
    first.raise_if_failed(tmp_path, tmp_path)
    assert first.counts()["warned"] == 0, first.broken("warn")
    assert first.counts()["passed"] == first.counts()["expectations"] > 25
    assert json.dumps(first.record(), sort_keys=True) == json.dumps(second.record(), sort_keys=True)
    assert str(tmp_path) not in json.dumps(first.record())
    page = (tmp_path / "a/docs/index.html").read_text()
    assert "faces" in page
    assert list((tmp_path / "a/docs/validations").rglob("*.html"))


def test_a_person_in_two_splits_stops_the_chain_and_leaves_the_docs(tmp_path):
    identities = np.arange(100) // 2
    identities[99] = 0
    verdict = verdict_of(raw_set(identities=identities), tmp_path)
    assert [(o.promise.name, o.unexpected) for o in verdict.broken("fail")] == [("no person is in two splits", 3)]
    with pytest.raises(
        DataError, match=r"breaks 1 of \d+ expectations: no person is in two splits \(3 faces against it\)"
    ):
        verdict.raise_if_failed(tmp_path / "faces", tmp_path / "docs")
    assert (tmp_path / "docs/index.html").exists()


def test_unknown_persons_are_not_one_person(tmp_path):
    assert not verdict_of(raw_set(identities=np.full(100, -1)), tmp_path).broken("fail")


def test_contradictions_beyond_the_bound_stop(tmp_path):
    attributes = raw_set().attributes.copy()
    attributes[:3, 1:] = 1
    (broken,) = verdict_of(raw_set(attributes=attributes), tmp_path).broken("fail")
    assert (broken.promise.name, broken.unexpected) == ("a face has one at most of Black_Hair, Blond_Hair", 3)
    lenient = dataclasses.replace(PARAMS, max_contradictory=0.05)
    assert not check_faces(tmp_path / "faces", lenient, tmp_path / "docs").broken("fail")


def test_an_attribute_that_hardly_anyone_has_warns_and_does_not_stop(tmp_path):
    attributes = raw_set().attributes.copy()
    attributes[:, 0] = -1
    attributes[:2, 0] = 1
    verdict = verdict_of(raw_set(attributes=attributes), tmp_path)
    assert [o.promise.name for o in verdict.broken("warn")] == ["Smiling is present in at least 0.05 of the faces"]
    verdict.raise_if_failed(tmp_path, tmp_path)
    assert verdict.counts()["warned"] == 1


def test_flat_pictures_stop(tmp_path):
    rng = np.random.default_rng(1)
    flat = [_png(rng, 120, 122) for _ in range(10)]
    sound = raw_set().read
    raw = raw_set(read=lambda name: flat[int(name[:6])] if int(name[:6]) < 10 else sound(name))
    names = [o.promise.name for o in verdict_of(raw, tmp_path).broken("fail")]
    assert "pictures are not flat" in names


def test_a_split_that_is_too_small_stops(tmp_path):
    splits = np.zeros(100, dtype=int)
    splits[98:] = (1, 2)
    names = [
        o.promise.name for o in verdict_of(raw_set(splits=splits, identities=np.arange(100)), tmp_path).broken("fail")
    ]
    assert names == [f"at least 0.05 of the faces are in split {split}" for split in ("valid", "test")]


@pytest.mark.parametrize(
    ("column", "value", "broken"),
    [
        ("attribute:Smiling", 7, "Smiling is -1, 0 or 1"),
        ("split", "testing", "split is train, valid or test"),
        ("id", "000001.png", "id is unique"),
        ("row", 1, "no two faces share a place in the shards"),
        ("contrast", None, "contrast is never empty"),
        ("contrast", float("inf"), "contrast is a number from 0 to 255"),
    ],
)
def test_a_bad_value_is_stopped_and_named(tmp_path, column, value, broken):
    faces = tmp_path / "faces"
    lenient = dataclasses.replace(PARAMS, max_leaking=0.1)
    write_faces(raw_set(), tiny.prepare_params(size=16, crop="none"), faces)
    values = pq.read_table(faces / "manifest.parquet")[column].to_pylist()
    edit_manifest(faces, column, [*values[:40], value, *values[41:]])
    assert [o.promise.name for o in check_faces(faces, lenient, tmp_path / "docs").broken("fail")] == [broken]


def test_a_manifest_that_lacks_a_column_or_rows_is_stopped(tmp_path):
    faces = tmp_path / "faces"
    write_faces(raw_set(), tiny.prepare_params(size=16, crop="none"), faces)
    table = pq.read_table(faces / "manifest.parquet")
    pq.write_table(table.drop_columns(["attribute:Smiling"]).slice(0, 99), faces / "manifest.parquet")
    failed = [o.promise.name for o in check_faces(faces, PARAMS, tmp_path / "docs").broken("fail")]
    assert failed[:2] == ["the manifest has the columns it announces", "the manifest has one row a face"]


def test_a_damaged_manifest_is_one_sentence(tmp_path):
    faces = tmp_path / "faces"
    write_faces(raw_set(), tiny.prepare_params(size=16, crop="none"), faces)
    (faces / "manifest.parquet").write_bytes(b"not parquet")
    with pytest.raises(ArtifactError, match="damaged"):
        check_faces(faces, PARAMS, tmp_path / "docs")


def test_exclusive_groups_keep_only_what_the_faces_have():
    assert exclusive_groups(NAMES, PARAMS.exclusive) == [("Black_Hair", "Blond_Hair")]
    with pytest.raises(ParamsError, match="Blond_Hair"):
        exclusive_groups(NAMES, [("Blonde_Hair", "Black_Hair")])


def test_no_promise_has_the_name_of_another():
    about = {"attributes": list(NAMES), "count": 100}
    names = [p.name for p in suite(about, PARAMS)]
    assert len(names) == len(set(names))


SECTION = """
validate:
  split_share: {train: 0.5, valid: 0.05, test: 0.05}
  attribute_share: 0.05
  exclusive: [[Black_Hair, Blond_Hair, Gray_Hair]]
  max_contradictory: 0.02
  bands: []
  max_leaking: 0.0
  drift: {severity: fail, max_share: 0.05, max_shift: 0.25}
  min_brightness: 10
  max_brightness: 245
  min_contrast: 5
  min_sharpness: 0.5
  max_unusable: 0.02
"""


def test_the_step_writes_the_same_bytes_twice_and_nothing_for_faces_that_leak(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(SECTION)
    faces, out = tmp_path / "artifacts/faces", tmp_path / "artifacts/validation.json"
    written = []
    for _ in range(2):
        write_faces(raw_set(), tiny.prepare_params(size=16, crop="none"), faces)
        validate.main()
        written.append(out.read_bytes())
    assert written[0] == written[1]
    counts = json.loads((tmp_path / "metrics/validate.json").read_text())
    assert counts["passed"] == counts["expectations"]
    assert (counts["faces"], counts["warned"]) == (100, 0)
    capsys.readouterr()

    write_faces(raw_set(identities=np.zeros(100, dtype=int)), tiny.prepare_params(size=16, crop="none"), faces)
    with pytest.raises(SystemExit) as raised:
        run(validate.main)
    assert raised.value.code == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "no person is in two splits (100 faces against it)" in said[0]
    assert not out.exists()
    assert (tmp_path / "reports/data_docs/index.html").exists()
