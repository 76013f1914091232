"""A model folder with something wrong in it: one sentence that names the file, and never a wrong picture."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from facet.diffusion.saved_files import write_manifest
from facet.diffusion.saving import load_pipeline, save_pipeline
from facet.errors import ArtifactError
from tests import tiny

UNET = "unet/diffusion_pytorch_model.safetensors"
WORDS = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    save_pipeline(tiny.pipeline(), folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "pipeline"))


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_every_file_is_missed_and_its_change_seen(saved, folder):
    for name in files_of(saved):
        content = (saved / name).read_bytes()
        for changed in (None, b"", content[: len(content) // 2], content + b" "):
            (folder / name).unlink()
            if changed is not None:
                (folder / name).write_bytes(changed)
            if name == "facet.json" and changed == content + b" ":
                continue  # what it lists is the same
            with pytest.raises(ArtifactError, match=Path(name).name):
                load_pipeline(folder)
            (folder / name).write_bytes(content)
    assert load_pipeline(folder)(num_images=1, output_type="np").images.shape == (1, 32, 32, 3)


def test_what_was_added_is_no_part_of_it(folder):
    (folder / "README.md").write_text("about this model")
    load_pipeline(folder)
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"index\.json is no part of the model"):
        load_pipeline(folder)


def rewritten(folder: Path, name: str, change) -> None:
    """File ``name`` changed by somebody who changes the list of files too."""
    if name.endswith(".json"):
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))
    else:
        save_file(change(load_file(folder / name)), folder / name, {"format": "pt"})
    write_manifest(folder)


def first(tensors: dict[str, torch.Tensor]) -> str:
    return min(key for key, value in tensors.items() if value.is_floating_point() and value.dim() > 1)


@pytest.mark.parametrize("name", [UNET, WORDS])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t | {first(t): torch.full_like(t[first(t)], torch.nan)}, "NaN"),
        (lambda t: t | {first(t): t[first(t)][:1].clone()}, "can't be loaded|are not those of"),
        (lambda t: {key: value for key, value in t.items() if key != first(t)}, "can't be loaded|are not those of"),
        (lambda t: t | {"surprise": torch.zeros(1)}, "can't be loaded|are not those of"),
    ],
)
def test_weights_that_do_not_fit_are_refused_even_where_the_list_agrees(name, change, says, folder):
    rewritten(folder, name, change)
    with pytest.raises(ArtifactError, match=says):
        load_pipeline(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index | {"unet": ["subprocess", "Popen"]},
        lambda index: index | {"vae": ["facet.models.judge", "Judge"]},
        lambda index: index | {"scheduler": ["os", "DDIMScheduler"]},
        lambda index: index | {"tokenizer": 3},
        lambda index: index | {"_class_name": "DDPMPipeline"},
        lambda index: index | {"latents_mean": [0.0]},
        lambda index: index | {"sampling": {"steps": 3}},
        lambda index: index | {"objective": {"prediction": "x0"}},
        lambda index: index | {"tokenizer": [None, None]},
        lambda index: index | {"conditioning": "smell"},
        lambda index: [index],
    ],
)
def test_an_index_that_names_something_else_is_refused(change, folder):
    rewritten(folder, "model_index.json", change)
    with pytest.raises(ArtifactError):
        load_pipeline(folder)


def test_a_config_that_does_not_fit_the_weights_is_refused(folder):
    rewritten(folder, "unet/config.json", lambda config: config | {"block_out_channels": [16, 16]})
    with pytest.raises(ArtifactError, match="can't be loaded"):
        load_pipeline(folder)


def test_save_pretrained_lists_the_files_too(tmp_path):
    tiny.pipeline().save_pretrained(tmp_path)
    load_pipeline(tmp_path)
