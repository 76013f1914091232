"""The report: one file that stands alone, the same bytes every time, every attribute in it, and nothing unescaped."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from facet.artifacts import write_curve, write_json
from facet.errors import ArtifactError
from facet.evaluation.altered import alter
from facet.evaluation.exhibits import read_light, unasked
from facet.evaluation.record import evaluate
from facet.evaluation.reference import ReferenceParams, load_reference, write_reference
from facet.evaluation.report import Shown, write_report
from facet.evaluation.samples import KINDS, askings, draw_samples, with_altered
from tests import tiny

STEPS = ("train_vae", "tune_decoder", "train_unet", "train_judge")


@pytest.fixture(scope="module")
def inputs(faces, latents, judge_folder, tmp_path_factory):
    """Everything that the page shows, from tiny untrained models."""
    root = tmp_path_factory.mktemp("report")
    write_reference(faces, judge_folder, ReferenceParams("train", floor_faces=8), 0, root / "reference")
    asked = askings("both", faces, 24, dict.fromkeys(KINDS, 8), seed=0)
    samples = draw_samples(tiny.pipeline(), "0" * 64, asked, 24)
    samples = with_altered(samples, alter(tiny.pipeline(), faces, 8, seed=0))
    reference = load_reference(root / "reference")
    vae = tiny.autoencoder()
    done = evaluate((), samples, faces, reference, judge_folder, vae, 0, latents)
    for step in STEPS:
        write_curve(
            root / "metrics" / "curves" / f"{step}.csv",
            [{"step": s, "loss": 1 / s, "gradient_norm": 0.5, "learning_rate": 0.1} for s in (1, 2, 3)],
        )
        content = {"parameters": 1000, "latent": "4x4x4", "condition_share": 0.5, "enabled": True, "final": {}}
        write_json(root / "metrics" / f"{step}.json", content | {"accuracy": 0.5, "warnings": []})
    scores = [{"step": step, "frechet": 90.0 / step, "adherence": 0.3 * step} for step in (1, 2, 3)]
    write_curve(root / "metrics/curves/select.csv", scores)
    write_json(root / "metrics/select.json", {"step": 3, "of": 3, "chosen": scores[2]})
    light = {name: np.linspace(0, 255, len(faces.ids)) for name in ("brightness", "contrast", "sharpness")}
    shown = Shown(faces, samples, latents, tiny.pipeline(), tiny.judge(), light, {"judge": "1" * 64})
    return root, shown, done


def render(inputs, out) -> str:
    root, shown, done = inputs
    write_report(out, root / "metrics", shown, done)
    return out.read_text(encoding="utf-8")


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    assert render(inputs, tmp_path / "a.html") == render(inputs, tmp_path / "b.html")


def test_the_page_stands_alone_and_is_light(inputs, tmp_path):
    page = render(inputs, tmp_path / "report.html")
    assert len(page) < 5_000_000
    loaded = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", page)
    assert loaded
    assert [t for t in loaded if not t.startswith(("data:", "#"))] == list(BESIDE)
    assert all(f'<a href="{target}">' in page for target in BESIDE), "links, nothing that is loaded"
    assert "<script" not in page
    assert "<html lang=" in page
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", page))


def test_every_scored_attribute_is_named(inputs, tmp_path):
    page = render(inputs, tmp_path / "report.html")
    scored = inputs[2].record["adherence"]["attributes"]
    assert len(scored) > 3
    assert all(name.replace("_", " ") in page for name in scored)


def test_a_hostile_attribute_name_stays_text(inputs, tmp_path):
    root, shown, done = inputs
    faces, samples = shown.faces, shown.samples
    name = "<script>alert(1)</script>"
    scored = next(iter(done.record["adherence"]["attributes"]))
    names = [name if n == scored else n for n in faces.about["attributes"]]
    renamed = {name if n == scored else n: v for n, v in done.record["adherence"]["attributes"].items()}
    record = done.record | {"adherence": done.record["adherence"] | {"attributes": renamed}}
    hostile = dataclasses.replace(faces, about=faces.about | {"attributes": names})
    samples = dataclasses.replace(samples, about=samples.about | {"attributes": names})
    changed = dataclasses.replace(shown, faces=hostile, samples=samples)
    page = render((root, changed, dataclasses.replace(done, record=record)), tmp_path / "report.html")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_missing_curve_is_named(inputs, tmp_path):
    _, shown, done = inputs
    with pytest.raises(ArtifactError, match=r"train_vae"):
        write_report(tmp_path / "report.html", tmp_path / "nowhere", shown, done)
    assert not (tmp_path / "report.html").exists()


# Pages about the data, linked to and lying beside the report.
BESIDE = ("data_docs/index.html", "data.html")
VOID = {"br", "hr", "img", "input", "link", "meta"}


class Nesting(HTMLParser):
    """What is closed that isn't open, a block inside a paragraph, an id or attribute given twice."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.wrong = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if len(given) < len(attrs) or (tag in ("p", "div", "dl", "ul", "table", "figure") and "p" in self.open):
            self.wrong.append((tag, self.getpos()))
        self.ids += [given["id"]] if "id" in given else []
        self.targets += [given["href"]] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))

    def handle_startendtag(self, tag, attrs):
        if "svg" not in self.open:
            self.wrong.append((tag, self.getpos()))


def parsed(page: str) -> Nesting:
    found = Nesting()
    found.feed(page)
    found.close()
    return found


@pytest.mark.parametrize("bare", [False, True])
def test_the_page_is_well_nested_with_and_without_the_optional_parts(bare, inputs, tmp_path):
    root, shown, done = inputs
    if bare:
        record = {k: v for k, v in done.record.items() if k not in ("memorisation", "intervals", "balance", "made_by")}
        record["autoencoder"] = {k: v for k, v in record["autoencoder"].items() if k != "latents"}
        done, shown = dataclasses.replace(done, record=record), dataclasses.replace(shown, light={})
    page = render((root, shown, done), tmp_path / "report.html")
    found = parsed(page)
    assert (found.wrong, found.open) == ([], [])
    assert len(found.ids) == len(set(found.ids))
    assert {target.removeprefix("#") for target in found.targets} - set(BESIDE) <= set(found.ids)
    assert ('id="copies"' in page) is not bare
    assert ("Light and sharpness" in page) is not bare


def test_every_section_is_there(inputs, tmp_path):
    page = render(inputs, tmp_path / "report.html")
    for title in ("Copies", "Walks between faces", "Latents as colours", "Networks", "Splits", "Lineage"):
        assert f">{title}</h" in page, title
    assert f"{sum(p.numel() for p in inputs[1].pipeline.unet.parameters()):,} parameters" in page
    assert inputs[1].faces.about["manifest_sha256"] in page


def test_intervals_are_shown_where_the_record_has_them(inputs, tmp_path):
    root, shown, done = inputs
    name = next(iter(done.record["adherence"]["attributes"]))
    intervals = {"adherence.mean": [0.31, 0.472], f"adherence.attributes.{name}.present": [0.123, 0.2]}
    page = render(
        (root, shown, dataclasses.replace(done, record=done.record | {"intervals": intervals})), tmp_path / "r"
    )
    assert "95% interval: 31.0% to 47.2%" in page
    assert '<b style="left: 31.0%; width: 16.2%">' in page
    assert "12.3% to 20.0%" in page


def test_light_is_shown_as_far_as_the_manifest_has_it(inputs, faces_folder, tmp_path):
    assert set(read_light(faces_folder)) == {"brightness", "contrast", "sharpness"}
    root, shown, done = inputs
    some = dataclasses.replace(shown, light={"sharpness": shown.light["sharpness"]})
    page = render((root, some, done), tmp_path / "report.html")
    assert "<figcaption>Sharpness</figcaption>" in page
    assert "<figcaption>Contrast</figcaption>" not in page


def group(adherence: float | None) -> dict:
    return {
        "samples": 40,
        "adherence": adherence,
        "judge_on_real": adherence,
        "fidelity": {"n": 40, "frechet": None, "floor": None, "over_floor": None if adherence is None else 1.25},
    }


def test_balance_is_shown_as_far_as_the_record_has_it(inputs, tmp_path):
    root, shown, done = inputs
    whole = {"present": group(0.9), "absent": group(0.8), "difference": 0.1, "interval": [0.05, 0.15]}
    small = {"present": group(None), "absent": group(0.7), "difference": None, "interval": None}
    drawn = {"Bald": {"drawn": 0.1, "real": 0.3}, "Smiling": {"drawn": 0.9, "real": 0.4}}
    table = {name: row | {"difference": row["drawn"] - row["real"], "interval": [0, 1]} for name, row in drawn.items()}
    content = {"groups": {"Male": whole, "Young": small}, "marginals": {"samples": 77, "attributes": table}}

    def page(balance: dict | None) -> str:
        record = {k: v for k, v in done.record.items() if k != "balance"} | ({"balance": balance} if balance else {})
        return render((root, shown, dataclasses.replace(done, record=record)), tmp_path / "report.html")

    full = page(content)
    assert "+10.0 points (95% interval" in full
    assert "too few" in full
    assert "in 77 samples that asked for nothing" in full
    assert list(unasked({"balance": content})) == ["Smiling", "Bald"]
    assert parsed(full).wrong == []
    assert "asked for nothing, and in" not in page({"groups": content["groups"], "marginals": None})
    assert 'id="balance"' not in page(None)
