"""The reference: every feature space measured once, under a name that holds what it depends on, and read again."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import threading

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from facet.artifacts import digest_file, read_json, write_json
from facet.errors import ArtifactError, ParamsError, UnreachableError
from facet.evaluation import reference as module
from facet.evaluation.compare import compare
from facet.evaluation.features import extract, weights_file
from facet.evaluation.fidelity import frechet_of, gaussian
from facet.evaluation.record import evaluate
from facet.evaluation.reference import ExtractorParams, ReferenceParams, load_reference, write_reference
from facet.evaluation.samples import SampleSet
from facet.params import build
from tests import tiny

NAME = "tests-projection"


class Projection(FeatureExtractorBase):
    """Five projections of a face of 32 px and the logits of three classes, by weights from a file."""

    def __init__(self, name, features_list, feature_extractor_weights_path, **_):
        super().__init__(name, features_list)
        self.network = torch.nn.Linear(3 * 16, 5)
        self.network.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=True))

    @staticmethod
    def get_provided_features_list():
        return ("five", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "five"

    @staticmethod
    def can_be_compiled():
        return False

    def forward(self, pictures):
        seen = self.network(torch.nn.functional.avg_pool2d(pictures.float() / 255, 8).flatten(1))
        return tuple({"five": seen, "logits": seen[:, :3]}[name] for name in self.features_list)


@pytest.fixture(scope="module", autouse=True)
def _registered():
    register_feature_extractor(NAME, Projection)
    yield
    del FEATURE_EXTRACTORS_REGISTRY[NAME]


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(torch.nn.Linear(3 * 16, 5).state_dict(), weights)
    return ExtractorParams(NAME, "five", "logits", str(weights), digest_file(weights))


@pytest.fixture(scope="module")
def folder(extractor, faces, judge_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("measured") / "reference"
    write_reference(faces, judge_folder, ReferenceParams("train", 12, (extractor,)), 0, out)
    return out


@pytest.fixture(scope="module")
def drawn(faces):
    about = {
        "count": 40,
        "asked": "whole",
        "conditions": "theirs",
        "first_seed": 0,
        "sampling": {"steps": 2},
        "model": "0" * 64,
    }
    return SampleSet(np.array(faces.pixels[:40]), np.sign(faces.attributes[:40]), np.arange(40), about)


def test_weights_from_a_url_are_fetched_once_and_only_with_their_hash(tmp_path, monkeypatch):
    asked, weights = [], tmp_path / "served" / "weights.pth"
    weights.parent.mkdir()
    weights.write_bytes(b"any file: what is in it is looked at later")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    handler = functools.partial(Quiet, directory=str(weights.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{host.server_port}/{weights.name}"
        with pytest.raises(ParamsError, match="is no file with sha256 0000"):
            weights_file(url, "0" * 64)
        assert not list((tmp_path / "checkpoints").iterdir())
        found = weights_file(url, digest_file(weights))
        assert found.read_bytes() == weights.read_bytes()
        assert weights_file(url, digest_file(weights)) == found
        host.shutdown()
    assert len(asked) == 2
    with pytest.raises(UnreachableError, match="can't be fetched"):
        weights_file("http://127.0.0.1:9/weights.pth", "1" * 64)


def test_a_file_is_named_by_all_that_its_numbers_depend_on(folder, extractor, faces):
    about = read_json(folder / "reference.json", module.REFERENCE_SCHEMA)
    name = about["extractors"][NAME]["file"]
    parts = (NAME, "five", extractor.sha256[:12], module.digest_faces(faces), faces.about["resize"])
    assert name == ".".join(parts) + ".safetensors"
    assert {path.name for path in folder.iterdir()} == {"reference.json", "reference.safetensors", name}
    assert "/" not in str(about["extractors"])


def test_what_is_read_is_what_was_measured(folder, extractor, faces):
    other, opened = load_reference(folder).further[NAME], extractor.open()
    features = extract(opened, faces.pixels[faces.rows("train")], "test")
    np.testing.assert_array_equal(other.features, features)
    floor = other.about["floor"]
    assert floor["faces"] == 12
    assert floor["frechet"] > 0
    np.testing.assert_allclose(other.gaussian.factor.T @ other.gaussian.factor, np.cov(features, rowvar=False))


def test_the_evaluation_reads_the_real_features_and_does_not_measure_them(
    folder, extractor, faces, judge_folder, drawn, monkeypatch
):
    reference, seen = load_reference(folder), []
    there = Projection.forward

    def counted(self, pictures):
        seen.append(len(pictures))
        return there(self, pictures)

    monkeypatch.setattr(Projection, "forward", counted)
    record = evaluate((extractor,), drawn, faces, reference, judge_folder, tiny.autoencoder(), 0).record
    assert sum(seen) == len(drawn.faces)
    found, other = record["fidelity"][NAME], reference.further[NAME]
    features = extract(extractor.open(), drawn.faces, "test")
    assert found["frechet"] == pytest.approx(frechet_of(gaussian(other.features), features), abs=1e-4)
    assert found["frechet_floor"] == other.about["floor"]["frechet"]
    assert (found["layer"], found["weights_sha256"]) == ("five", extractor.sha256)
    measured = {"frechet", "frechet_at_floor_n", "kid_mean", "precision", "recall", "inception_score"}
    assert {f"fidelity.{NAME}.{name}" for name in measured} <= record["intervals"].keys()
    plain = evaluate_without(record)
    assert compare(plain, record)
    otherwise = record | {"fidelity": record["fidelity"] | {NAME: found | {"layer": "logits"}}}
    with pytest.raises(ArtifactError, match=rf"fidelity\.{NAME}\.layer five and logits"):
        compare(record, otherwise)


def evaluate_without(record):
    """The record, as if the judge alone had measured."""
    return record | {"fidelity": {"judge": record["fidelity"]["judge"]}}


def test_a_reference_of_other_spaces_or_faces_is_refused(folder, extractor, faces, judge_folder, drawn):
    reference, vae = load_reference(folder), tiny.autoencoder()
    with pytest.raises(ArtifactError, match=r"further feature spaces tests-projection:five:\w+, .* asks for none"):
        evaluate((), drawn, faces, reference, judge_folder, vae, 0)
    other = dataclasses.replace(extractor, layer="logits", logits=None)
    with pytest.raises(ArtifactError, match="asks for tests-projection:logits"):
        evaluate((other,), drawn, faces, reference, judge_folder, vae, 0)
    faces = dataclasses.replace(faces, about=faces.about | {"resize": "nearest"})
    with pytest.raises(ArtifactError, match="on other faces than those here"):
        evaluate((extractor,), drawn, faces, reference, judge_folder, vae, 0)


def test_wrong_extractors_are_told_before_anything_is_measured(extractor, faces, judge_folder, tmp_path):
    wrong = {
        "no extractor 'inception-v4'": {"name": "inception-v4"},
        "no extractor 'facet-judge'": {"name": "facet-judge"},
        "has no layer 'six': choose from five, logits": {"layer": "six"},
        "weights no/where do not exist": {"weights": "no/where"},
        "expected 0000": {"sha256": "0" * 64},
        "takes no weights file": {"name": "dinov2-vit-s-14", "layer": "dinov2", "logits": None},
    }
    for told, change in wrong.items():
        asked = ReferenceParams("train", 12, (dataclasses.replace(extractor, **change),))
        with pytest.raises(ParamsError, match=told):
            write_reference(faces, judge_folder, asked, 0, tmp_path / "reference")
    torch.save(torch.nn.Linear(48, 4).state_dict(), tmp_path / "other.pth")
    other = {"weights": str(tmp_path / "other.pth"), "sha256": digest_file(tmp_path / "other.pth")}
    with pytest.raises(ParamsError, match="are another network's"):
        dataclasses.replace(extractor, **other).open()
    assert not (tmp_path / "reference").exists()


def test_an_extractor_given_twice_is_refused(extractor):
    content = {"split": "train", "floor_faces": 12, "extractors": [vars(extractor)] * 2}
    with pytest.raises(ParamsError, match="expected each once"):
        build(ReferenceParams, content, where="reference", source="params.yaml")


def test_a_reference_of_an_earlier_facet_or_damaged_is_refused(folder, tmp_path):
    about = read_json(folder / "reference.json", module.REFERENCE_SCHEMA)
    write_json(tmp_path / "reference.json", {name: part for name, part in about.items() if name != "extractors"})
    with pytest.raises(ArtifactError, match="written by an earlier facet"):
        load_reference(tmp_path)
    write_json(tmp_path / "reference.json", about)
    with pytest.raises(ArtifactError, match="missing or damaged"):
        load_reference(tmp_path)
