"""`facet evaluate`: facet's own pipeline as the chain scores it, real ones of diffusers, and what is no pipeline."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMPipeline, DiTPipeline, DiTTransformer2DModel
from PIL import Image
from safetensors.torch import load_file, save_file

from facet.artifacts import digest_folder, read_json, write_json
from facet.cli import main
from facet.data.latents import load_latents
from facet.diffusion.pipeline import load_pipeline, save_pipeline
from facet.diffusion.saved_files import write_manifest
from facet.errors import ArtifactError, DataError, ParamsError
from facet.evaluation.altered import alter
from facet.evaluation.compare import compare
from facet.evaluation.foreign import Foreign, draw_foreign, to_pictures
from facet.evaluation.record import evaluate
from facet.evaluation.reference import ReferenceParams, load_reference, write_reference
from facet.evaluation.samples import KINDS, askings, draw_samples, load_samples, save_samples, with_altered
from facet.evaluation.saved import Asked, evaluate_saved, load_against, load_any
from tests import tiny
from tests.evaluation.pipelines import save_ddpm, save_stable_diffusion

# diffusers and transformers warn of what is theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

FEW = Asked(count=16, steps=2, batch_size=8)


@pytest.fixture(scope="module")
def artifacts(faces_folder, faces, judge_folder, tmp_path_factory):
    """Faces, judge and reference side by side, as the chain leaves them. Read only."""
    root = tmp_path_factory.mktemp("evaluated") / "artifacts"
    shutil.copytree(faces_folder, root / "faces")
    shutil.copytree(judge_folder, root / "judge")
    write_reference(faces, root / "judge", ReferenceParams("train", floor_faces=8), 0, root / "reference")
    save_pipeline(tiny.pipeline(), root / "pipeline")
    return root


@pytest.fixture(scope="module")
def against(artifacts):
    return load_against(artifacts / "faces")


@pytest.fixture(scope="module")
def ddpm(tmp_path_factory):
    """A DDPMPipeline of 32 px with random weights, as diffusers saves it. Read only: copy it to break it."""
    return save_ddpm(tmp_path_factory.mktemp("foreign") / "ddpm")


def scored(folder, against, asked=FEW):
    return evaluate_saved(folder, against, asked, (), 0)


# --- facet's own ------------------------------------------------------------------------------------------------------


def test_facets_own_pipeline_gets_the_record_of_the_chain(artifacts, against, faces, tmp_path):
    """The chain's way, step by step, with latents of the pipeline's own autoencoder."""
    from facet.training.encoding import LatentParams, encode_faces

    pipeline = load_pipeline(artifacts / "pipeline")
    digest = digest_folder(artifacts / "pipeline")
    asked = askings(pipeline.conditioning, faces, 16, dict.fromkeys(KINDS, 4), seed=3)
    drawn = draw_samples(pipeline, digest, asked, 16, unconditional=8)
    save_samples(with_altered(drawn, alter(pipeline, faces, 2, seed=3)), tmp_path / "samples")
    encode_faces(pipeline.vae, faces, LatentParams(batch_size=128, precision="auto"), tmp_path / "latents")
    samples, latents = load_samples(tmp_path / "samples"), load_latents(tmp_path / "latents")
    reference = load_reference(artifacts / "reference")
    chain = evaluate((), samples, faces, reference, artifacts / "judge", pipeline.vae, 3, latents).record
    ours = evaluate_saved(artifacts / "pipeline", against, Asked(count=16), (), 3)
    assert json.dumps(ours, sort_keys=True) == json.dumps(chain, sort_keys=True)


def test_what_is_asked_stands_in_the_protocol(artifacts, against):
    record = scored(
        artifacts / "pipeline", against, Asked(count=4, unconditional=0, first_seed=7, steps=1, guidance=1.5)
    )
    protocol = record["protocol"]
    assert (protocol["first_seed"], protocol["samples"]) == (7, 4)
    assert (protocol["sampling"]["steps"], protocol["sampling"]["guidance_scale"]) == (1, 1.5)
    assert record["balance"]["marginals"] is None


def test_another_order_or_set_of_attributes_is_refused(artifacts, against, tmp_path):
    other = shutil.copytree(artifacts / "pipeline", tmp_path / "other")
    config = read_json(other / "condition_encoder/config.json")
    for names, says in (
        (config["attribute_names"][::-1], "the same in another order"),
        (None, "1 missing, as 5_o_Clock"),
    ):
        names = names or ["Freckles", *config["attribute_names"][1:]]
        write_json(other / "condition_encoder/config.json", config | {"attribute_names": names})
        write_manifest(other)
        with pytest.raises(ArtifactError, match=says):
            scored(other, against)
    assert scored(other, against, dataclasses.replace(FEW, conditions="none"))["protocol"]["conditions"] == "none"


# --- from elsewhere ---------------------------------------------------------------------------------------------------


def test_a_ddpm_is_scored_by_what_needs_no_attributes(ddpm, against):
    record = scored(ddpm, against)
    assert {"fidelity", "memorisation", "balance"} <= record.keys()
    assert not {"adherence", "autoencoder"} & record.keys()
    assert record["balance"]["groups"] == {}
    assert record["balance"]["marginals"]["samples"] == 16
    assert {"fidelity.judge.frechet", "fidelity.judge.precision", "fidelity.judge.kid_mean"} <= record[
        "intervals"
    ].keys()
    protocol = record["protocol"]
    assert (protocol["conditions"], protocol["pipeline"], protocol["samples"]) == ("none", "DDPMPipeline", 16)
    assert protocol["sampling"] == {"steps": 2, "sampler": "DDPMScheduler"}
    assert json.dumps(record) == json.dumps(scored(ddpm, against))


def test_a_picture_is_its_seeds_whatever_the_batch(ddpm):
    pipeline = load_any(ddpm)
    ten, three = (
        draw_foreign(pipeline, "", list(range(5)), Foreign("", 2, None, size)).faces.astype(int) for size in (10, 3)
    )
    last = draw_foreign(pipeline, "", [4], Foreign("", 2, None, 3)).faces
    assert np.abs(ten - three).max() <= 1
    assert np.abs(ten[4:] - last).max() <= 1
    theirs = pipeline(generator=torch.Generator().manual_seed(4), num_inference_steps=2).images[0]
    assert np.abs(np.asarray(theirs).astype(int) - ten[4]).max() <= 1


def test_records_of_two_kinds_compare_where_neither_was_asked(ddpm, artifacts, against):
    theirs = scored(ddpm, against)
    asked = scored(artifacts / "pipeline", against)
    unasked = scored(artifacts / "pipeline", against, dataclasses.replace(FEW, conditions="none"))
    with pytest.raises(ArtifactError, match=r"conditions none and joint distribution.*--conditions none"):
        compare(theirs, asked)
    rows = {row.name: row for row in compare(theirs, unasked)}
    assert rows["fidelity.judge.frechet"].interval is not None
    assert rows["autoencoder.ssim"].a is None
    with pytest.raises(ArtifactError, match=r"sampling\.steps 2 and 1"):
        compare(theirs, scored(ddpm, against, dataclasses.replace(FEW, steps=1)))


def test_another_size_is_one_sentence_or_is_resized_by_name(against, tmp_path):
    folder = save_ddpm(tmp_path / "ddpm", size=16)
    with pytest.raises(DataError, match="draws 16 x 16 pixels, the faces are 32 x 32: give --resize"):
        scored(folder, against)
    record = scored(folder, against, dataclasses.replace(FEW, resize=True))
    assert record["protocol"]["resize"] == "bicubic, antialiased, from 16 x 16"


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    return save_stable_diffusion(tmp_path_factory.mktemp("stable"))


def test_a_model_of_prompts_is_scored_with_one_prompt_or_none(stable_diffusion, against):
    asked = dataclasses.replace(FEW, count=4, guidance=2.0)
    record = scored(stable_diffusion, against, asked)
    assert record["protocol"]["conditions"] == "none"
    assert record["protocol"]["sampling"] == {"steps": 2, "guidance_scale": 2.0, "sampler": "DDIMScheduler"}
    prompted = scored(stable_diffusion, against, dataclasses.replace(asked, prompt="a face"))
    assert prompted["protocol"]["conditions"] == "prompt 'a face'"
    assert prompted["fidelity"] != record["fidelity"]


# --- bad input --------------------------------------------------------------------------------------------------------


def changed_index(folder, **entries):
    write_json(folder / "model_index.json", read_json(folder / "model_index.json") | entries)


def pickled(folder):
    (weights,) = (folder / "unet").glob("*.safetensors")
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()


def spoilt_weights(folder):
    (weights,) = (folder / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    tensors["conv_in.bias"][0] = float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "does not exist: give the folder of a saved pipeline"),
        (lambda f: (f / "model_index.json").unlink(), "holds no pipeline"),
        (lambda f: (f / "model_index.json").write_text("{"), "names no class of a pipeline"),
        (lambda f: changed_index(f, _class_name=["mine", "Mine"]), "names no class of a pipeline"),
        (lambda f: changed_index(f, _class_name="NoSuchPipeline"), "is a NoSuchPipeline, which diffusers"),
        (lambda f: changed_index(f, unet=["os", "system"]), "takes unet from 'os', expected diffusers or transformers"),
        (lambda f: (f / "unet/mine.py").write_text("raise SystemExit"), "is code, and facet runs none"),
        (lambda f: (f / "None.py").write_text("raise SystemExit"), "is code, and facet runs none"),
        (pickled, "is a pickle, which can run code"),
        (lambda f: shutil.rmtree(f / "unet"), "can't be loaded as DDPMPipeline"),
        (spoilt_weights, r"weight unet\.conv_in\.bias holds NaN"),
    ],
)
def test_a_spoilt_pipeline_is_one_sentence(spoil, says, ddpm, tmp_path):
    folder = shutil.copytree(ddpm, tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(ArtifactError, match=says) as raised:
        load_any(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["unet", "vae", "unet/config.json"])
def test_a_damaged_pipeline_of_facets_own_is_one_sentence(missing, artifacts, tmp_path):
    folder = shutil.copytree(artifacts / "pipeline", tmp_path / "spoilt")
    (shutil.rmtree if (folder / missing).is_dir() else type(folder).unlink)(folder / missing)
    with pytest.raises(ArtifactError, match=f"{missing}.* is missing") as raised:
        load_any(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        (np.full((1, 8, 8, 3), np.nan), "pixels that are NaN"),
        (np.zeros((1, 8, 8, 1)), r"an array of shape \(1, 8, 8, 1\), expected RGB"),
        (["a"], "drew a list"),
    ],
)
def test_what_is_no_picture_is_one_sentence(drawn, says):
    with pytest.raises(ArtifactError, match=says):
        to_pictures("Some", drawn)


def test_pictures_come_as_diffusers_makes_them():
    pixels = np.random.default_rng(0).uniform(-0.2, 1.2, (2, 4, 4, 3))
    theirs = DDPMPipeline.numpy_to_pil(pixels.clip(0, 1))
    assert (to_pictures("Some", pixels) == np.stack([np.asarray(p) for p in theirs])).all()
    assert (to_pictures("Some", theirs) == to_pictures("Some", pixels)).all()
    assert to_pictures("Some", [Image.new("RGB", (3, 2))]).shape == (1, 2, 3, 3)


def test_grayscale_is_one_sentence(against, tmp_path):
    folder = save_ddpm(tmp_path / "gray", channels=1)
    with pytest.raises(ArtifactError, match=r"shape \(8, 32, 32, 1\), expected RGB"):
        scored(folder, against)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt": "a face"}, "DDPMPipeline takes no prompt"),
        ({"guidance": 2.0}, "takes no guidance_scale: leave out --guidance"),
        ({"unconditional": 4}, "draws nothing but unconditional samples"),
    ],
)
def test_what_it_does_not_take_is_one_sentence(asked, says, ddpm, against):
    with pytest.raises(ParamsError, match=says):
        scored(ddpm, against, dataclasses.replace(FEW, **asked))


def test_one_sample_is_too_few():
    with pytest.raises(ParamsError, match="count is 1, expected at least 2"):
        Asked(count=1)


def test_a_pipeline_that_wants_classes_is_one_sentence(against, tmp_path):
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        num_layers=1,
        sample_size=4,
        num_embeds_ada_norm=10,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
    DiTPipeline(transformer, vae, DDIMScheduler()).save_pretrained(tmp_path / "dit")
    with pytest.raises(ParamsError, match="DiTPipeline must be given class_labels"):
        scored(tmp_path / "dit", against)


def test_reference_judge_and_faces_belong_together(artifacts, tmp_path):
    for name in ("reference", "judge"):
        shutil.copytree(artifacts / name, tmp_path / name)
    shutil.copytree(artifacts / "faces", tmp_path / "faces")
    about = read_json(tmp_path / "reference/reference.json")
    write_json(tmp_path / "reference/reference.json", about | {"faces": "0" * 16})
    with pytest.raises(ArtifactError, match="was measured on other faces"):
        load_against(tmp_path / "faces")
    config = read_json(tmp_path / "judge/config.json")
    names = ["Freckles", *config["attribute_names"][1:]]
    write_json(tmp_path / "judge/config.json", config | {"attribute_names": names})
    with pytest.raises(ArtifactError, match="1 missing, as 5_o_Clock_Shadow and 1 more, as Freckles"):
        load_against(tmp_path / "faces", artifacts / "reference")


def test_another_judge_than_the_references_is_one_sentence(ddpm, artifacts, tmp_path):
    from facet.models.autoencoder import save_model

    save_model(tiny.judge(seed=9), tmp_path / "judge")
    against = load_against(artifacts / "faces", judge=tmp_path / "judge")
    with pytest.raises(ArtifactError, match="the reference was measured by judge:"):
        scored(ddpm, against, dataclasses.replace(FEW, count=2))


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def facet_evaluate(artifacts, tmp_path, monkeypatch, capsys):
    """`facet evaluate …` inside this process, in an empty folder: exit code, standard output, standard error."""

    def call(*options: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys, "argv", ["facet", "evaluate", "--data", str(artifacts / "faces"), *options])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return call


def test_the_command_prints_a_table_and_writes_the_record(ddpm, facet_evaluate, against, tmp_path):
    code, out, err = facet_evaluate("--model", str(ddpm), "-n", "4", "--steps", "1", "--out", "record.json")
    assert (code, out.splitlines()[0]) == (0, f"{ddpm}: 4 samples, conditions: none; steps 1, sampler DDPMScheduler")
    (line,) = (line for line in out.splitlines() if line.startswith(" Frechet distance"))
    assert " to " in line
    assert err.startswith("warning: only 4 samples were scored")
    record = read_json(tmp_path / "record.json")
    assert record == json.loads(json.dumps(scored(ddpm, against, Asked(count=4, steps=1))))


def test_the_command_takes_the_chains_seed_where_there_is_one(artifacts, facet_evaluate, against, tmp_path):
    tiny.write_params(tmp_path, tiny.chain_params() | {"seed": 5})
    model = artifacts / "pipeline"
    code, out, _ = facet_evaluate("--model", str(model), "-n", "2", "--steps", "1", "--json")
    expected = evaluate_saved(model, against, Asked(count=2, steps=1), (), 5)
    assert (code, json.loads(out)) == (0, json.loads(json.dumps(expected)))


def test_the_command_says_what_is_wrong_in_one_sentence(ddpm, facet_evaluate, tmp_path):
    for options, says in (
        (("--model", "nowhere"), "nowhere does not exist"),
        (("--model", str(ddpm), "--out", "none/record.json"), "folder none of --out does not exist"),
        (("--model", str(ddpm), "--data", "nothing"), "nothing/faces.json does not exist"),
    ):
        code, out, err = facet_evaluate(*options, "-n", "2")
        assert (code, out) == (1, "")
        assert says in err
        assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
