"""Tiny faces, latents and models, made once a session; nothing here phones home or takes more than one thread."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything is imported that reads them.
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Threads that wait for work sleep instead of spinning: the machine may be busy with something else.
        "OMP_WAIT_POLICY": "PASSIVE",
        # numpy's and scipy's own threads spin against those of the tests beside this one.
        "OPENBLAS_NUM_THREADS": "1",
    }
)

import pytest
import torch

from facet.data.datasets import FaceSet, load_faces
from facet.data.drawn import write_drawn_set
from facet.data.latents import LatentSet, load_latents
from facet.data.layouts import read_celeba
from facet.data.manifest import write_faces
from facet.data.raw import RawSet
from facet.data.sentences import SentenceSet, load_sentences
from facet.torchvision_ops import declare_missing

# A test module may import diffusers or torch-fidelity before anything of facet that needs this.
declare_missing()


def pytest_collection_modifyitems(items):
    """Files with slow tests first: no worker starts a long one when the others have nothing left."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny networks lose time to a second thread; a test that is about threads sets its own number."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    """A stage that runs in this process sets the thread count and asks for deterministic kernels: undo both."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="session")
def raw_folder(tmp_path_factory) -> Path:
    """64 drawn faces in CelebA's layout. Read only: copy it to break it."""
    folder = tmp_path_factory.mktemp("raw")
    write_drawn_set(folder, 64, seed=0)
    return folder


@pytest.fixture(scope="session")
def raw(raw_folder) -> RawSet:
    return read_celeba(raw_folder)


@pytest.fixture(scope="session")
def faces_folder(raw, tmp_path_factory) -> Path:
    """artifacts/faces at 32 px. Read only."""
    from tests import tiny

    folder = tmp_path_factory.mktemp("faces") / "faces"
    write_faces(raw, tiny.prepare_params(), folder)
    return folder


@pytest.fixture(scope="session")
def faces(faces_folder) -> FaceSet:
    return load_faces(faces_folder)


@pytest.fixture(scope="session")
def latents_folder(faces, tmp_path_factory) -> Path:
    """artifacts/latents of an untrained autoencoder, 4 x 4 x 4. Read only."""
    from facet.training.encoding import LatentParams, encode_faces
    from tests import tiny

    folder = tmp_path_factory.mktemp("latents") / "latents"
    encode_faces(tiny.autoencoder(), faces, LatentParams(batch_size=16, precision="fp32"), folder)
    return folder


@pytest.fixture(scope="session")
def latents(latents_folder) -> LatentSet:
    return load_latents(latents_folder)


@pytest.fixture(scope="session")
def text_folder(faces, tmp_path_factory) -> Path:
    """artifacts/text of a small text model to be trained, two captions a face. Read only."""
    from facet.training.captioning import TextParams, write_sentences
    from tests import tiny

    folder = tmp_path_factory.mktemp("text") / "text"
    write_sentences(faces, TextParams(pretrained=None, captions=2, model=tiny.TEXT), 0, folder)
    return folder


@pytest.fixture(scope="session")
def sentences(text_folder) -> SentenceSet:
    return load_sentences(text_folder)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory) -> Path:
    """artifacts/judge with random weights. Read only."""
    from facet.models.autoencoder import save_model
    from tests import tiny

    folder = tmp_path_factory.mktemp("judge") / "judge"
    save_model(tiny.judge(), folder)
    return folder
