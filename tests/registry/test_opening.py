"""One function opens a pipeline from a folder, from the chain's artifacts and from the registry: the same pictures."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from facet.artifacts import PIPELINE
from facet.diffusion.saving import save_pipeline
from facet.errors import ArtifactError, RegistryError
from facet.registry.opening import open_pipeline, pipeline_folder
from facet.registry.references import named_version
from tests.registry.test_register import tiny_pipeline
from tests.registry.versions import MODEL

pytestmark = pytest.mark.filterwarnings("ignore")


def draw(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(attributes="Smiling", seeds=[7], output_type="np").images


def test_a_folder_the_artifacts_and_the_registry_draw_the_same(promoted):
    expected = draw(tiny_pipeline(1))
    save_pipeline(tiny_pipeline(1), promoted / PIPELINE)
    for source in (promoted / PIPELINE, promoted, str(promoted), f"models:/{MODEL}@staging", f"models:/{MODEL}/2"):
        np.testing.assert_array_equal(draw(open_pipeline(source)), expected)
    np.testing.assert_array_equal(draw(open_pipeline()), expected)  # the chain's, of the current folder


def test_a_folder_needs_no_mlflow(tmp_path, monkeypatch):
    save_pipeline(tiny_pipeline(), tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert open_pipeline(tmp_path, "cpu").size == 32


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere", r"nowhere holds no pipeline: expected a folder with model_index\.json, a checkout"),
        ("artifacts/pipeline", "fetch it with `dvc pull`"),
        (".", "fetch it with `dvc pull`"),
    ],
)
def test_a_folder_without_one_is_one_sentence(tmp_path, monkeypatch, source, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(ArtifactError, match=told):
        open_pipeline(source)


def test_a_version_whose_files_were_changed_is_refused(promoted):
    reference = f"models:/{MODEL}@staging"
    with named_version(reference) as (registry, version):
        registry.client.set_model_version_tag(MODEL, version.version, "facet.digest", "0" * 64)
    with pytest.raises(RegistryError, match="another digest than its tag"), pipeline_folder(reference):
        pass


def test_what_was_fetched_is_gone_afterwards(promoted):
    with pipeline_folder(f"models:/{MODEL}/1") as folder:
        assert (folder / "model_index.json").is_file()
    assert not folder.exists()
