"""`facet fetch` and `facet data push` as one types them: what they say, and what they say when it can't be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from facet.artifacts import SOURCE, read_json
from facet.cli import main
from facet.data.fetch.catalogue import CATALOGUE
from tests import tiny
from tests.data.fetch.host import File, hosting
from tests.data.fetch.hub import COMMIT, Hub
from tests.deploy.s3 import s3, s3_env

__all__ = ["s3", "s3_env"]

FILES = {"data/train.parquet": b"faces", "README.md": b"ffhq"}


@pytest.fixture
def host(monkeypatch):
    with hosting() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("KAGGLE_ENDPOINT", running.url)
        monkeypatch.delenv("FACET_MIRROR", raising=False)
        Hub(running, "merkol/ffhq-256").put(FILES)
        yield running


@pytest.fixture
def facet(tmp_path, monkeypatch, capsys):
    """`facet …` inside this process, in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["facet", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return call


def test_help_shows_a_line_for_each_kind_of_source(facet):
    code, said, _ = facet("fetch", "--help")
    assert code == 0
    for line in ("facet fetch celeba --accept-licence", "facet fetch hf:", "facet fetch s3://", "facet fetch ~/"):
        assert line in said
    for name in CATALOGUE:
        assert name in said
    assert "hf:OWNER/NAME@REVISION" in said
    for option in ("to", "accept-licence", "mirror", "allow-private", "update", "force", "no-pin", "json"):
        assert f"--{option}" in said


def test_help_of_facet_names_the_command_and_loads_no_client():
    code = (
        "import sys\nfrom facet.cli import main\nsys.argv = ['facet', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('requests', 'boto3', 'yaml') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=tiny.child_environment(), capture_output=True, text=True, check=True)
    assert "fetch" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_a_fetch_says_what_came_and_the_second_that_all_is_there(host, facet):
    code, said, errors = facet("fetch", "ffhq", "--accept-licence")
    assert (code, errors) == (0, "")
    assert said == "data: ffhq (hf at aaaaaaaaaaaa), 2 files of 9 bytes, 2 fetched (9 bytes).\n"
    code, said, errors = facet("fetch", "ffhq", "--accept-licence")
    assert said == "data: ffhq (hf at aaaaaaaaaaaa), 2 files of 9 bytes, all of them there already.\n"


def test_a_program_reads_the_same(host, facet):
    code, said, _ = facet("fetch", "ffhq", "--accept-licence", "--to", "faces", "--json")
    assert code == 0
    assert json.loads(said) == {
        "to": "faces",
        "name": "ffhq",
        "kind": "hf",
        "revision": COMMIT,
        "layout": "parquet",
        "files": 2,
        "bytes": 9,
        "moved": 2,
        "moved_bytes": 9,
        "pinned": False,
    }
    assert {path.name for path in Path().iterdir()} == {"faces"}
    assert read_json(Path("faces") / SOURCE)["name"] == "ffhq"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["ffhq"], 1, "ffhq is under the CC BY-NC-SA 4.0 (Non-commercial use"),
        (["fhq"], 1, "no data set is called 'fhq': did you mean ffhq?"),
        (["nowhere/at/all"], 1, "nowhere/at/all is neither a known set, nor a file or folder here"),
        (["hf:team/none"], 1, "Hugging Face knows no data set team/none at revision main"),
        (["hf:a/b/c"], 1, "the data set is given as 'hf:a/b/c', expected hf:OWNER/NAME"),
        (["kaggle:team/none"], 1, "Kaggle knows no data set team/none"),
        (["https://127.0.0.1:9/faces.zip"], 1, "add --allow-private 127.0.0.1"),
        (["http://example.org/faces.zip"], 1, "is asked over http, which anybody on the way can change"),
        (["x", "--allow-private", "a/b"], 1, "the allowed host is given as 'a/b'"),
        (["s3://B"], 1, "expected s3://BUCKET"),
    ],
)
def test_a_fetch_that_can_not_be_is_one_sentence(host, facet, tmp_path, arguments, code, says):
    given, said, errors = facet("fetch", *arguments)
    assert (given, said) == (code, "")
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_busy_is_exit_code_75(host, facet):
    host.answers["/faces.zip"] = lambda asked: asked.say(429, Retry_After="900")
    code, _, errors = facet("fetch", f"{host.url}/faces.zip", "--allow-private", host.name)
    assert code == 75
    assert errors.count("\n") == 1
    assert "asks to wait 900 seconds" in errors


def test_a_quota_that_is_used_up_is_exit_code_75(host, facet):
    host.answers["/faces.zip"] = File(b"<html>Quota exceeded", ranges=False, content_type="text/html")
    code, _, errors = facet("fetch", f"{host.url}/faces.zip", "--allow-private", host.name)
    assert (code, "run the same command tomorrow" in errors) == (75, True)


def test_other_data_stays_until_force(host, facet, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.txt").write_text("mine")
    code, _, errors = facet("fetch", "ffhq", "--accept-licence")
    assert code == 1
    assert "data holds something without a source.json" in errors
    assert facet("fetch", "ffhq", "--accept-licence", "--force")[0] == 0
    assert not (tmp_path / "data/mine.txt").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_set_goes_to_the_bucket_and_from_there_to_a_colleague(host, facet, s3_env):
    url = s3_env.bucket("colleagues") + "/ffhq"
    assert facet("fetch", "ffhq", "--accept-licence")[0] == 0
    code, said, errors = facet("data", "push", url)
    assert (code, said, errors) == (0, "s3://colleagues/ffhq/: 3 files sent (" + said.partition("(")[2], "")
    told = json.loads(facet("data", "push", url, "--json")[1])
    assert (told["sent"], told["skipped"], told["place"]) == (0, 3, "s3://colleagues/ffhq/")
    code, said, errors = facet("fetch", url, "--to", "theirs", "--accept-licence", "--json")
    assert (code, json.loads(said)["moved"], errors) == (0, 2, "")
    for name, body in FILES.items():
        assert (Path("theirs") / name).read_bytes() == body
    Path("data/README.md").write_text("other")
    code, _, errors = facet("data", "push", url)
    assert (code, errors.count("\n")) == (1, 1)
    assert "data is not what its source.json says: README.md is missing or changed" in errors


@pytest.mark.slow
def test_in_a_repository_the_data_is_pinned(host, facet, tmp_path):
    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, env=tiny.child_environment(), check=True, capture_output=True)

    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "init", "-q")
    Path("dvc.yaml").write_text("stages: {}\n")
    Path("data.dvc").write_text("outs:\n- path: data\n")
    code, said, errors = facet("fetch", "ffhq", "--accept-licence")
    assert (code, errors) == (0, "")
    assert said.splitlines()[1] == "Pinned in data.dvc, `facet fetch --update` asks for changes; next: dvc repro"
    pinned = Path("data.dvc").read_text()
    assert "nfiles: 3" in pinned
    Path("mine").mkdir()
    Path("mine/1.png").write_bytes(b"1")
    assert facet("fetch", "mine", "--force", "--no-pin")[0] == 0
    assert Path("data.dvc").read_text() == pinned
    _, said, _ = facet("fetch", "mine")
    assert "`dvc repro` asks mine for changes" in said
