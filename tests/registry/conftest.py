"""One template store for all tests of promotions, and a copy of its database for each."""

from __future__ import annotations

import pytest

from tests.registry import versions


@pytest.fixture(scope="session")
def template_store(tmp_path_factory):
    """A checkout whose registry holds versions 1 to 3. Read only: tests take copies."""
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        versions.build_store(root, tmp_path_factory.mktemp("pipelines"))
    return root


@pytest.fixture(scope="session")
def promoted_template(template_store, tmp_path_factory):
    """The same after three promotions. Read only."""
    root = tmp_path_factory.mktemp("promoted") / "checkout"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("FACET_ACTOR", "tester@here")
        versions.promoted_store(template_store, root)
    return root


@pytest.fixture
def promoted(promoted_template, store):
    """The current folder, with a registry in which aliases were moved three times."""
    versions.copy_store(promoted_template, store)
    (file,) = (promoted_template / "runs/registry").iterdir()
    with versions.opened() as registry:  # the copy of the history is named after the registry's place
        registry.file.path.parent.mkdir(parents=True)
        registry.file.path.write_bytes(file.read_bytes())
    return store


@pytest.fixture
def store(template_store, tmp_path, monkeypatch):
    """The current folder, with a registry of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("FACET_ACTOR", "tester@here")
    monkeypatch.chdir(versions.copy_store(template_store, tmp_path / "checkout"))
    return tmp_path / "checkout"
