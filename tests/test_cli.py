"""`facet …`: quick to say what it can do, one sentence when it can't, and programs can read it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from facet.cli import main
from facet.diffusion.saving import save_pipeline
from tests import tiny

HEAVY = ("torch", "diffusers", "transformers", "mlflow", "numpy", "pyarrow", "great_expectations", "prefect", "PIL")


def facet(*arguments: str, folder=tiny.ROOT, **changes: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from facet.cli import main; main()", *arguments],
        cwd=folder,
        env=tiny.child_environment(COLUMNS="200", **changes),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def facet_here(tmp_path, monkeypatch, capsys):
    """`facet …` inside this process, in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["facet", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    save_pipeline(tiny.pipeline(), folder)
    return str(folder)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom facet.cli import main\nsys.argv = ['facet', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=tiny.child_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("[]"), done.stdout
    for command in ("generate", "draw-faces", "params", "summary"):
        assert command in done.stdout


def test_generate_draws_what_the_pipeline_draws(model, tmp_path):
    done = facet(
        "generate", "-a", "Smiling,-Male", "-n", "4", "--seed", "3", "--model", model, "--json", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "out": "faces.png",
        "faces": 4,
        "seeds": [3, 6],
        "attributes": "Smiling,-Male",
    }
    sheet = np.asarray(Image.open(tmp_path / "faces.png"))
    expected = tiny.pipeline()(attributes="Smiling,-Male", num_images=1, seeds=3, output_type="np").images[0]
    assert np.abs(sheet[:64:2, :64:2].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-a", "Smilling"], "unknown attribute 'Smilling': did you mean Smiling"),
        (["-a", "Eyeglass"], "Eyeglasses"),
        (["-a", "Male,-Male"], "both present and absent"),
        (["--steps", "0"], "steps is 0"),
        (["--guidance", "-1"], "guidance scale is -1"),
        (["--out", "nowhere/faces.png"], "folder nowhere of --out does not exist"),
        (["--model", "nowhere"], "nowhere holds no pipeline: expected a folder with"),
    ],
)
def test_a_wrong_request_is_one_sentence(arguments, says, model, tmp_path, facet_here):
    given = arguments if "--model" in arguments else ["--model", model, *arguments]
    code, _, errors = facet_here("generate", "-n", "1", *given)
    assert code == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert says in line
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_it_came_from(tmp_path):
    done = facet("--debug", "params", folder=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "ParamsError" in done.stderr


def test_a_command_that_does_not_exist_is_a_usage_error():
    done = facet("generat")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_shipped_params_are_well_formed(facet_here):
    code, said, errors = facet_here("params", "--json", "--path", str(tiny.ROOT / "params.yaml"))
    assert code == 0, errors
    assert "train_unet" in json.loads(said)["sections"]


def test_wrong_params_are_one_sentence_that_names_all(tmp_path, facet_here):
    content = tiny.chain_params()
    content["prepare"]["sise"] = 3
    content["sampel"] = {}
    tiny.write_params(tmp_path, content)
    code, _, errors = facet_here("params")
    assert code == 1
    assert "unknown key prepare.sise: did you mean size or min_side?" in errors
    assert "unknown section sampel: did you mean sample" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("stage", ["prepare", "train_vae"])
def test_a_step_without_its_inputs_is_one_sentence(stage, tmp_path):
    tiny.write_params(tmp_path, tiny.chain_params())
    done = subprocess.run(
        [sys.executable, "-m", f"facet.stages.{stage}"],
        cwd=tmp_path,
        env=tiny.child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "dvc repro" in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "artifacts").exists()


def test_faces_are_drawn_into_celebas_layout(tmp_path, facet_here):
    code, said, errors = facet_here("draw-faces", "--n", "3", "--out", "drawn", "--json")
    assert code == 0, errors
    assert json.loads(said)["faces"] == 3
    assert (tmp_path / "drawn/list_attr_celeba.txt").is_file()
    assert facet_here("draw-faces", "--n", "0", "--out", "none")[0] == 1
