"""The data's page: it stands alone, shows what the tables say, and nothing that a stranger named gets to act on it."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from facet.artifacts import VALIDATION_SCHEMA, read_json, write_json
from facet.data.attributes import CELEBA_ATTRIBUTES
from facet.data.profile import describe
from facet.data.tables import read_tables, readable
from facet.errors import ArtifactError
from facet.evaluation import data_exhibits as exhibits
from facet.evaluation.data_charts import association_map, binned
from facet.evaluation.data_page import Beside, write_data_page
from tests.cli_app import data_app
from tests.prepared import columns, write_prepared

NOTHING_FETCHED = re.compile(r"<script|\b(?:src|href)\s*=\s*[\"']?(?!data:|#)[^\"'#>]*[:/]", re.IGNORECASE)


@pytest.fixture
def page(tmp_path):
    """The page about a manifest's columns, as text; each call writes another folder."""
    made = []

    def write(faces, aside=(), beside=None, **about):
        made.append(tmp_path / f"faces-{len(made)}")
        tables = read_tables(write_prepared(made[-1], faces, aside, **about))
        write_data_page(tmp_path / "out/data.html", made[-1], tables, describe(tables), beside or Beside())
        return (tmp_path / "out/data.html").read_text(encoding="utf-8")

    return write


def test_the_same_tables_give_the_same_page(page):
    aside = [("a.jpg", "broken", "cut")]
    assert page(columns(100), aside) == page(columns(100), aside)


def test_the_page_stands_alone_and_says_what_is_there(page):
    source = {"name": "Drawn People", "licence": "CC-BY-4.0"}
    text = page(columns(100), [("a.jpg", "broken", "the file ends early")], source=source)
    assert not NOTHING_FETCHED.search(text)
    assert text.count("<img") == 64 + 4 * 10
    for said in ("100 faces of 16 px", "CC-BY-4.0", "Drawn People", "All are 178×218", "the file ends early"):
        assert said in text, said
    assert "No two faces look almost the same" in text
    assert "What moved" not in text


def test_what_is_not_known_is_not_made_up(page):
    faces = columns(30, names=())
    faces["identity"], faces["captions"] = np.full(30, -1), [[] for _ in range(30)]
    text = page(faces)
    assert "No licence was noted" in text
    assert "every picture of the table became a face" in text
    assert 'id="balance"' not in text
    assert 'id="pairs"' not in text
    assert 'id="near"' in page(columns(1))


def test_hostile_names_are_text(page):
    evil = "<script>alert(1)</script>"
    faces = columns(40)
    faces["id"][0] = f'"onerror="x{evil}\u202egpj.exe'
    faces[f"attribute:{evil}"] = faces.pop("attribute:Young")
    faces["attribute:\x1b[31mred"] = faces["attribute:Male"]
    aside = [(evil, f"{evil}\x07", f"{evil} {'y' * 5000}"), ("../" * 100, "broken", "line\nbreak")]
    text = page(faces, aside, source={"licence": evil, "url": "javascript:alert(1)", evil: evil})
    assert "<script" not in text
    assert not re.search(r"<img[^>]*\sonerror", text)
    assert 'href="javascript' not in text
    assert not set("\u202e\x1b\x07") & set(text)
    assert r"\u202egpj.exe" in text
    assert r"line\nbreak" in text
    assert "y" * 200 not in text


def test_names_are_made_readable():
    assert readable("Größe 3.jpg") == "Größe 3.jpg"
    assert readable("a\tb\x00\u200b") == r"a\tb\x00\u200b"
    assert readable("x" * 30 + "y" * 100, most=21) == "x" * 10 + "…" + "y" * 10


def test_the_extremes_are_the_extremes(page, tmp_path):
    faces = columns(100)
    faces["brightness"] = np.linspace(10, 200, 100)
    faces["sharpness"] = np.linspace(9, 1, 100)
    tables = read_tables(write_prepared(tmp_path / "faces", faces))
    rows = {
        row["name"]: row["faces"] for row in exhibits.extremes(tables, exhibits.Gallery(tmp_path / "faces", tables))
    }
    assert [one.alt for one in rows["darkest"][:2]] == ["000000.jpg, train", "000001.jpg, train"]
    assert (rows["brightest"][0].alt, rows["brightest"][0].caption) == ("000099.jpg, test", "200.0")
    assert rows["blurriest"][0].alt == "000099.jpg, test"


def test_only_the_shards_of_what_is_shown_are_read(page, tmp_path):
    tables = read_tables(write_prepared(tmp_path / "faces", columns(100), per_shard=10))
    gallery = exhibits.Gallery(tmp_path / "faces", tables)
    (tmp_path / "faces/faces-00005.safetensors").unlink()
    assert gallery.show(49).source != gallery.show(60).source
    with pytest.raises(ArtifactError, match=r"faces-00005\.safetensors is missing or damaged"):
        gallery.show(55)


def test_a_manifest_that_outruns_its_shards_is_an_error(page, tmp_path):
    faces = write_prepared(tmp_path / "faces", columns(100))
    about = read_json(faces / "faces.json")
    write_json(faces / "faces.json", about | {"shards": about["shards"][:1]})
    tables = read_tables(faces)
    with pytest.raises(ArtifactError, match="has no face 0 in shard 1, which its manifest names"):
        exhibits.Gallery(faces, tables).show(40)


def test_near_duplicates_across_splits_come_first(page, tmp_path):
    faces = columns(100)
    faces["near"][[10, 20, 30, 40]] = 10  # all of them train but one
    faces["near"][[50, 55]] = 50
    faces["near"][[1, 3]] = 1
    tables = read_tables(write_prepared(tmp_path / "faces", faces))
    found = exhibits.near_duplicates(tables, exhibits.Gallery(tmp_path / "faces", tables))
    assert (found["groups"], found["faces"], found["across"]) == (3, 8, 1)
    assert [(strip["count"], strip["across"]) for strip in found["strips"]] == [(2, True), (4, False), (2, False)]
    assert [one.caption for one in found["strips"][0]["faces"]] == ["train", "valid"]
    assert "1 of the groups lies across splits" in page(faces)


def test_phi_against_known_answers():
    yes = np.array([1, 1, -1, -1] * 5, dtype=np.int8)
    half = np.array([1, 1, 1, -1] * 5, dtype=np.int8)
    gaps = np.where(np.arange(20) < 8, 0, yes).astype(np.int8)
    states = np.stack([yes, -yes, half, gaps, np.ones(20, np.int8)], axis=1)
    phi = exhibits.association(states)
    assert phi[0, 1] == pytest.approx(-1)
    assert phi[0, 2] == pytest.approx(np.corrcoef(yes, half)[0, 1])
    assert phi[0, 3] == phi[3, 0] == pytest.approx(1)
    assert np.isnan(phi[0, 4])
    assert list(exhibits.mapped(states)) == [0, 1, 2, 3]
    assert exhibits.strongest("abcde", phi)[0][2] in (1.0, -1.0)


def test_the_map_names_every_attribute_and_every_pair():
    phi = np.linspace(-1, 1, 1600).reshape(40, 40)
    phi[5, 2] = np.nan
    drawn = association_map(CELEBA_ATTRIBUTES, phi)
    assert drawn.count("<rect") == 40 * 39 // 2 - 1
    assert drawn.count("<text") == 40
    assert "Attractive and Bags Under Eyes: " in drawn
    assert "Attractive and Bangs: " not in drawn


def test_a_histogram_shows_limits_and_baseline():
    figure = {"edges": [0, 10, 20, 30, 40], "counts": [0, 3, 1, 0]}
    drawn = binned(figure, "t", [5.0], figure | {"counts": [0, 0, 4, 0]})
    assert drawn.count("<path") == 2
    assert 'class="limit middle"' in drawn
    assert drawn.count("<path") - 1 == binned(figure, "t", [], figure | {"edges": [0, 1, 2, 3, 4]}).count("<path")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`facet data report …` in a folder with prepared faces: its result."""
    monkeypatch.chdir(tmp_path)
    write_prepared(tmp_path / "artifacts/faces", columns(100), [("a.jpg", "broken", "cut")])
    return lambda *words: CliRunner().invoke(data_app(), ["report", *words], catch_exceptions=False)


def test_the_page_holds_the_limits_and_links_to_data_docs(run, tmp_path):
    settings = {"column": "brightness", "min_value": 100, "max_value": 240, "mostly": 0.99}
    broken = {"name": "pictures are <dark>", "severity": "fail", "check": "X", "settings": settings, "passed": False}
    counts = {"expectations": 1, "passed": 0, "warned": 0, "faces": 100}
    content = {"schema": VALIDATION_SCHEMA, "outcomes": [broken | {"unexpected": 9}], **counts}
    write_json(tmp_path / "artifacts/validation.json", content)
    (tmp_path / "reports/data_docs").mkdir(parents=True)
    (tmp_path / "reports/data_docs/index.html").touch()
    done = run("--out", "reports/deep/data.html")
    assert done.stdout == "reports/deep/data.html: 100 faces, 3 attributes, 1 picture put aside.\n"
    text = (tmp_path / "reports/deep/data.html").read_text(encoding="utf-8")
    assert 'href="../data_docs/index.html"' in text
    assert "1 of 1 expectations is not kept:</strong>\npictures are &lt;dark&gt;" in text
    values = columns(100)["brightness"].astype(np.float32)
    assert f"{(values < 100).sum() + (values > 240).sum()} beyond the limits" in text


def test_a_profile_is_kept_and_held_against(run, tmp_path):
    assert run("--save-profile", "may.json").exit_code == 0
    assert "beyond chance" not in run("--against", "may.json").stdout
    changed = columns(100)
    changed["attribute:Male"] = np.ones(100)
    changed["attribute:Old"] = changed.pop("attribute:Young")
    write_prepared(tmp_path / "june", changed)
    done = run("--faces", "june", "--against", "may.json")
    assert re.search(r"Male .* 100\.0% .*beyond chance", done.stdout)
    assert "attributes that appeared: Old" in done.stdout
    text = (tmp_path / "reports/data.html").read_text(encoding="utf-8")
    assert "1 attribute has moved by more than chance gives" in text
    assert "<strong>Attributes that vanished:</strong> Young." in text


def test_json_holds_the_profile_and_the_drift(run, tmp_path):
    told = json.loads(run("--json", "--against", "artifacts/faces").stdout)
    assert told["profile"]["count"] == 100
    assert [one["z"] for one in told["drift"]["attributes"]] == [0, 0, 0]
    assert json.loads(run("--json").stdout)["drift"] is None
