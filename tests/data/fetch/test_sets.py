"""A set as a whole: its licence, what it may replace, where else it is found, and a fetch that is killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facet.artifacts import SOURCE, digest_json, read_json
from facet.data.fetch import record
from facet.data.layouts import read_raw
from facet.errors import DataError, FacetError, ParamsError, UnreachableError
from tests import tiny
from tests.data.fetch.conftest import QUICK
from tests.data.fetch.host import File, sha256
from tests.data.fetch.hub import COMMIT, NEXT, Hub

FFHQ = {"data/train-0.parquet": os.urandom(200_000), "README.md": b"ffhq"}
CARTOON = {"data/cartoonset10k.tgz": b"drawn", "data/cartoonset100k.tgz": b"too many", "README.md": b"cartoons"}


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "set"


@pytest.fixture
def ffhq(host, monkeypatch) -> Hub:
    monkeypatch.setenv("HF_ENDPOINT", host.url)
    hub = Hub(host, "merkol/ffhq-256")
    hub.put(FFHQ)
    return hub


@pytest.fixture
def folder(tmp_path) -> Path:
    """A set of somebody's own."""
    folder = tmp_path / "mine"
    (folder / "img").mkdir(parents=True)
    (folder / "img/1.png").write_bytes(b"1")
    (folder / "list.csv").write_text("a")
    (folder / ".hidden").write_text("stays")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != SOURCE}


# --- licences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["ffhq", "hf:merkol/ffhq-256", f"hf:merkol/ffhq-256@{COMMIT}"])
def test_a_set_for_research_only_is_not_fetched_before_its_licence_is_accepted(host, ffhq, take, target, given):
    with pytest.raises(DataError, match=r"is under the CC BY-NC-SA 4.0 .*: read https://.* and add --accept-licence"):
        take(given)
    assert host.asked == []
    assert not target.exists()
    take(given, accept_licence=True)
    assert files(target) == FFHQ
    licence = read_json(target / SOURCE)["licence"]
    assert (licence["name"], licence["non_commercial"], licence["accepted"]) == ("CC BY-NC-SA 4.0", True, True)


def test_a_set_for_any_use_needs_no_acceptance_and_only_the_named_files_come(host, take, target, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", host.url)
    Hub(host, "cgarciae/cartoonset").put(CARTOON)
    done = take("cartoon-faces")
    assert files(target) == {"data/cartoonset10k.tgz": b"drawn"}
    assert (done.record["name"], done.record["kind"]) == ("cartoon-faces", "hf")
    assert done.record["licence"]["accepted"] is False


def test_a_copy_of_a_set_keeps_its_name_and_licence(ffhq, take, target, tmp_path):
    take("ffhq", accept_licence=True)
    with pytest.raises(DataError, match=r"is under the CC BY-NC-SA 4.0"):
        take(str(target), target=tmp_path / "copy")
    done = take(str(target), target=tmp_path / "copy", accept_licence=True)
    assert done.record == read_json(target / SOURCE) == read_json(tmp_path / "copy" / SOURCE)
    assert take(str(target), target=tmp_path / "copy", accept_licence=True).moved == 0


# --- what may be replaced ---------------------------------------------------------------------------------------------


def test_other_data_is_not_replaced_unless_that_is_said(ffhq, folder, take, target):
    take(str(folder))
    with pytest.raises(DataError, match=r"holds mine, which is not replaced by ffhq: name another .* \(--force\)"):
        take("ffhq", accept_licence=True)
    assert files(target) == {"img/1.png": b"1", "list.csv": b"a"}
    take("ffhq", accept_licence=True, force=True)
    assert files(target) == FFHQ


def test_data_that_nobody_fetched_is_not_replaced(folder, take, target):
    target.mkdir()
    take(str(folder))  # an empty folder is nobody's
    (target / SOURCE).unlink()
    (target / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds something without a source.json"):
        take(str(folder))
    assert (target / "notes.txt").read_text() == "mine"


def test_files_beside_those_that_were_fetched_are_not_lost(ffhq, take, target):
    take("ffhq", accept_licence=True)
    (target / "notes.txt").write_text("mine")
    assert take("ffhq", accept_licence=True).moved == 0
    ffhq.put(FFHQ | {"README.md": b"new"}, NEXT)
    with pytest.raises(DataError, match=r"holds notes.txt, which no fetch has brought: move it elsewhere"):
        take("ffhq", accept_licence=True, update=True)
    assert (target / "notes.txt").read_text() == "mine"
    assert take("ffhq", accept_licence=True, update=True, force=True).moved == 1
    assert files(target) == FFHQ | {"README.md": b"new"}


def test_a_target_that_is_no_folder(folder, take, target):
    target.symlink_to(folder)
    with pytest.raises(DataError, match="not a folder of its own"):
        take(str(folder))
    target.unlink()
    target.write_text("a file")
    with pytest.raises(DataError, match="not a folder of its own"):
        take(str(folder))


def test_a_revision_named_later_is_not_taken_for_the_one_that_is_there(ffhq, take, target):
    take("hf:merkol/ffhq-256", accept_licence=True)
    ffhq.put(FFHQ | {"README.md": b"new"}, NEXT)
    with pytest.raises(DataError, match=r"has changed since it was fetched .* add --update"):
        take(f"hf:merkol/ffhq-256@{NEXT}", accept_licence=True)
    assert take(f"hf:merkol/ffhq-256@{NEXT}", accept_licence=True, update=True).moved == 1
    assert take(f"hf:merkol/ffhq-256@{NEXT}", accept_licence=True).moved == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "facet.source/1"}', '{"schema": "facet.source/9"}'])
def test_a_record_that_is_damaged_is_said_to_be(folder, take, target, content):
    take(str(folder))
    (target / SOURCE).write_text(content)
    with pytest.raises(DataError, match=r"source.json"):
        take(str(folder))


@pytest.mark.parametrize("path", ["../../x", "/etc/x", SOURCE, "a/\n"])
def test_a_record_that_names_files_as_nobody_should(path):
    with pytest.raises(DataError, match=r"source.json names a file"):
        record.check_record(record.make("x", "path", None, None, {path: (1, sha256(b"x"))}))


# --- folders here -----------------------------------------------------------------------------------------------------


def test_a_folder_here_is_copied_without_what_is_hidden(folder, take, target):
    done = take(str(folder))
    assert files(target) == {"img/1.png": b"1", "list.csv": b"a"}
    assert (done.record["kind"], done.record["name"], done.record["licence"]) == ("path", "mine", None)
    assert str(folder) not in (target / SOURCE).read_text()
    assert take(str(folder)).moved == 0


def test_a_folder_that_has_changed_is_taken_with_update(folder, take, target):
    take(str(folder))
    (folder / "list.csv").write_text("b")
    with pytest.raises(DataError, match=r"mine has changed since it was fetched to .* add --update"):
        take(str(folder))
    assert take(str(folder), update=True).moved == 1
    assert files(target)["list.csv"] == b"b"


def test_one_file_is_a_set_too(folder, take, target):
    take(str(folder / "list.csv"))
    assert files(target) == {"list.csv": b"a"}


def test_a_copy_that_is_not_what_its_record_says(ffhq, take, target, tmp_path):
    take("ffhq", accept_licence=True)
    (target / "README.md").write_bytes(b"FFHQ")
    with pytest.raises(DataError, match=r"sends other bytes for README.md than it announces"):
        take(str(target), target=tmp_path / "copy", accept_licence=True)
    (target / "README.md").unlink()
    with pytest.raises(DataError, match=r"is not whole: README.md is missing"):
        take(str(target), target=tmp_path / "copy", accept_licence=True)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("celebA", ParamsError, "no data set is called 'celebA': did you mean celeba"),
        ("nowhere/at/all", DataError, "neither a known set, nor a file or folder here"),
        ("ftp://example.org/x", ParamsError, "ftp:// is no kind of source"),
        ("https://example.org/", ParamsError, "with a file's name last"),
        ("s3://B", ParamsError, "expected s3://BUCKET"),
        ("", ParamsError, "see `facet fetch --help`"),
    ],
)
def test_an_address_that_is_none(take, given, error, says):
    with pytest.raises(error, match=says):
        take(given)


def test_a_folder_without_files(take, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        take(str(tmp_path / "none"))


# --- mirrors ----------------------------------------------------------------------------------------------------------


def test_a_mirror_that_is_named_is_asked_first(ffhq, host, take, tmp_path):
    take("ffhq", target=tmp_path / "team", accept_licence=True)
    host.forget()
    done = take("ffhq", accept_licence=True, mirrors=(str(tmp_path / "team"),))
    assert host.asked == []
    assert (done.record["name"], done.record["kind"], done.record["revision"]) == ("ffhq", "hf", COMMIT)


def test_a_mirror_of_the_environment_that_lacks_the_set_is_passed_over(ffhq, take, tmp_path, monkeypatch, target):
    monkeypatch.setenv("FACET_MIRROR", str(tmp_path / "sets"))
    take("ffhq", accept_licence=True)
    take("ffhq", target=tmp_path / "sets/ffhq", accept_licence=True, force=True)
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setenv("HF_ENDPOINT", "https://127.0.0.1:9")
    take("ffhq", target=tmp_path / "third", accept_licence=True)
    assert files(tmp_path / "third") == files(target)


def test_a_mirror_that_holds_another_set_is_not_taken_for_it(ffhq, host, take, folder, tmp_path, monkeypatch, target):
    Hub(host, "cgarciae/cartoonset").put(CARTOON)
    take("cartoon-faces", target=tmp_path / "team")
    take("ffhq", accept_licence=True, mirrors=(str(tmp_path / "team"),))
    assert files(target) == FFHQ


def test_an_address_is_tried_after_the_mirrors_that_are_given_with_it(host, take, target):
    host.answers["/a/faces.zip"] = File(b"x")
    take("/a/faces.zip", mirrors=(f"{host.url}/b/faces.zip",))
    assert [path.split("/")[1] for path in host.paths()] == ["b", "a", "a"]


def test_where_no_mirror_gives_it_each_says_why(host, take, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", host.url)
    monkeypatch.setenv("KAGGLE_ENDPOINT", host.url)
    host.answers["/api/v1/datasets/download/arnaud58/flickrfaceshq-dataset-ffhq"] = lambda asked: asked.say(503)
    with pytest.raises(UnreachableError, match=r"no mirror gives ffhq now: .*knows no data set.*; .*503") as caught:
        take("ffhq", accept_licence=True)
    assert "\n" not in str(caught.value)


# --- killed, or two at once -------------------------------------------------------------------------------------------

CHILD = """
import json, sys
from pathlib import Path
from facet.data.fetch.fetching import Options, fetch
from facet.data.fetch.limits import Limits
given, target, host = sys.argv[1:]
limits = Limits(first_wait_s=0.01, piece=1 << 20, at_once=2, spare=0)
done = fetch(given, Path(target), Options(allow_private=(host,), limits=limits))
print(json.dumps([done.moved, done.moved_bytes]))
"""


def test_a_fetch_that_is_killed_goes_on_with_the_rest(host, target):
    body = os.urandom(24 << 20)
    file = host.answers["/faces.zip"] = File(body, '"1"', slow=0.02)
    command = [sys.executable, "-c", CHILD, f"{host.url}/faces.zip", str(target), host.name]
    killed = subprocess.Popen(command, env=tiny.child_environment())
    partial = target.with_name(".set.fetch")
    deadline = time.monotonic() + 60
    while host.sent < 12 << 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    assert not target.exists()
    (noted,) = partial.rglob(".*.partial.json")
    have = sum(json.loads(noted.read_text())["have"].values())
    assert have > 4 << 20
    time.sleep(0.2)
    host.forget()
    file.slow = 0
    done = subprocess.run(command, env=tiny.child_environment(), capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [1, len(body)]
    assert host.sent == len(body) - have
    assert files(target) == {"faces.zip": body}
    assert not partial.exists()


def test_a_fetch_that_ends_between_taking_over_and_its_name_is_completed(ffhq, host, take, target):
    take("ffhq", accept_licence=True)
    ffhq.put(FFHQ | {"README.md": b"new"}, NEXT)
    # As it lies when the process dies after the old folder went and before the new one came.
    scratch = target.with_name(".set.fetch")
    scratch.mkdir()
    os.replace(target, scratch / digest_json(["hf", "merkol/ffhq-256"])[:16])
    host.forget()
    assert take("ffhq", accept_licence=True).moved == 1
    assert sum("/resolve/" in path for path in host.paths()) == 1
    assert files(target) == FFHQ | {"README.md": b"new"}
    assert not scratch.exists()


def test_two_fetches_to_one_target_do_not_mix(folder, take, target):
    scratch = target.with_name(".set.fetch")
    scratch.mkdir()
    lock = os.open(scratch, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="another fetch is filling"):
        take(str(folder))
    os.close(lock)
    take(str(folder))


def test_many_small_files_come_side_by_side_and_one_that_fails_is_said(ffhq, host, take, target):
    many = {f"img/{k:03}.png": bytes([k]) * k for k in range(1, 200)}
    ffhq.put(many)
    host.answers[f"/datasets/merkol/ffhq-256/resolve/{COMMIT}/img/150.png"] = File(b"?" * 150)
    with pytest.raises(FacetError, match=r"img/150.png"):
        take("ffhq", accept_licence=True, limits=QUICK, mirrors=("hf:merkol/ffhq-256",))
    ffhq.put(many)
    done = take("ffhq", accept_licence=True)
    assert files(target) == many
    assert 0 < done.moved < 199


def test_files_that_are_links_into_a_cache_are_not_moved_again(folder, take, target, tmp_path):
    take(str(folder))
    # As DVC leaves them where its cache is set to links.
    (target / "list.csv").rename(tmp_path / "cached")
    (target / "list.csv").symlink_to(tmp_path / "cached")
    assert take(str(folder)).moved == 0


def test_a_fetch_that_brings_nothing_leaves_nothing(host, take, tmp_path):
    with pytest.raises(DataError):
        take("/none.zip")
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_is_read_with_its_source(raw_folder, take, target):
    done = take(str(raw_folder))
    raw = read_raw(target)
    assert len(raw) == 64
    assert raw.source == done.record
