"""Sets in a bucket: fetched from it, pushed to it, and the same bytes at the other end; against moto's server."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from facet import bucket
from facet.artifacts import SOURCE, read_json
from facet.data.fetch.fetching import Fetched
from facet.data.fetch.pushing import push
from facet.errors import DataError, FacetError
from tests.data.fetch.conftest import QUICK
from tests.data.fetch.hub import COMMIT, Hub
from tests.deploy.s3 import s3, s3_env

__all__ = ["s3", "s3_env"]

# botocore warns of its own doings.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LARGE = os.urandom(bucket.PART + 1000)


@pytest.fixture
def mine(tmp_path) -> Path:
    """A set with a file that goes in parts."""
    folder = tmp_path / "mine"
    (folder / "img").mkdir(parents=True)
    (folder / "img/ä 1.png").write_bytes(b"1")
    (folder / "empty.txt").touch()
    (folder / "faces.zip").write_bytes(LARGE)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != SOURCE}


@pytest.fixture
def take(take) -> Callable[..., Fetched]:
    """In larger pieces, for the large file."""
    return functools.partial(take, limits=dataclasses.replace(QUICK, piece=4 << 20))


def test_a_folder_in_a_bucket_arrives_and_the_second_time_nothing_moves(s3_env, mine, take, tmp_path):
    url = s3_env.bucket("plain") + "/sets/faces"
    bucket.upload_folder(mine, url)
    done = take(url)
    assert files(tmp_path / "set") == files(mine)
    assert (done.record["kind"], done.record["name"]) == ("s3", "s3://plain/sets/faces/")
    again = take(url)
    assert (again.moved, again.moved_bytes) == (0, 0)


def test_what_changed_in_the_bucket_alone_is_moved(s3_env, mine, take, tmp_path):
    url = s3_env.bucket("changing") + "/faces"
    bucket.upload_folder(mine, url)
    take(url)
    s3_env.client().put_object(Bucket="changing", Key="faces/empty.txt", Body=b"now")
    with pytest.raises(DataError, match=r"has changed since it was fetched .* add --update"):
        take(url)
    done = take(url, update=True)
    assert (done.moved, done.moved_bytes) == (1, 3)
    assert files(tmp_path / "set")["empty.txt"] == b"now"


def test_a_set_that_is_pushed_is_fetched_with_its_record_and_bytes(s3_env, host, take, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", host.url)
    hub = Hub(host, "merkol/ffhq-256")
    hub.put({"data/train.parquet": LARGE, "README.md": b"ffhq"})
    take("ffhq", accept_licence=True)
    url = s3_env.bucket("team") + "/ffhq"
    assert push(tmp_path / "set", url).sent == 3
    assert push(tmp_path / "set", url).sent == 0
    host.forget()
    with pytest.raises(DataError, match=r"is under the CC BY-NC-SA 4.0"):
        take(url, target=tmp_path / "other")
    for given, target in ((url, "other"), ("ffhq", "third")):
        monkeypatch.setenv("FACET_MIRROR", "s3://team")
        done = take(given, target=tmp_path / target, accept_licence=True)
        assert files(tmp_path / target) == files(tmp_path / "set")
        assert done.record == read_json(tmp_path / "set" / SOURCE)
        assert (done.record["kind"], done.record["revision"]) == ("hf", COMMIT)
        assert take(given, target=tmp_path / target, accept_licence=True).moved == 0
    assert host.asked == []


def test_a_set_that_was_changed_is_not_pushed(s3_env, mine, take, tmp_path):
    url = s3_env.bucket("refused") + "/faces"
    take(str(mine))
    (tmp_path / "set/faces.zip").write_bytes(b"other")
    with pytest.raises(DataError, match=r"is not what its source.json says: faces.zip is missing or changed"):
        push(tmp_path / "set", url)
    assert s3_env.keys("refused") == []


def test_the_record_is_the_last_to_arrive_and_goes_before_others_change(s3_env, mine, take, tmp_path, monkeypatch):
    url = s3_env.bucket("sealed") + "/faces"
    take(str(mine))
    push(tmp_path / "set", url)
    (mine / "empty.txt").write_text("now")
    take(str(mine), update=True)
    real = bucket._send

    def broken(pool, client, name, key, *rest):
        if key.endswith("empty.txt"):
            raise FacetError("cut")
        real(pool, client, name, key, *rest)

    monkeypatch.setattr(bucket, "_send", broken)
    with pytest.raises(FacetError, match="cut"):
        push(tmp_path / "set", url)
    assert f"faces/{SOURCE}" not in s3_env.keys("sealed")
    monkeypatch.undo()


def test_a_mirror_that_lacks_a_file_is_said_to_be_not_whole(s3_env, mine, take, tmp_path):
    url = s3_env.bucket("torn") + "/faces"
    take(str(mine))
    push(tmp_path / "set", url)
    s3_env.client().delete_object(Bucket="torn", Key="faces/empty.txt")
    with pytest.raises(DataError, match=r"is not whole: empty.txt is missing"):
        take(url, target=tmp_path / "other")


def test_a_mirror_whose_file_was_exchanged_is_not_taken(s3_env, mine, take, tmp_path):
    url = s3_env.bucket("forged") + "/faces"
    take(str(mine))
    push(tmp_path / "set", url)
    s3_env.client().put_object(Bucket="forged", Key="faces/img/ä 1.png", Body=b"2")
    with pytest.raises(DataError, match=r"sends other bytes for img/ä 1.png"):
        take(url, target=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_key_that_leaves_the_folder_is_refused(s3_env, take, tmp_path):
    s3_env.bucket("hostile")
    # moto itself takes no key with `..` or a line break.
    for place, key in enumerate(("/x.png", "a//x.png", "a\\b.png")):
        s3_env.client().put_object(Bucket="hostile", Key=f"{place}/{key}", Body=b"x")
        with pytest.raises(DataError, match="names a file"):
            take(f"s3://hostile/{place}")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_is_empty_and_a_bucket_that_is_none(s3_env, take):
    url = s3_env.bucket("bare")
    with pytest.raises(DataError, match=r"holds no files: check the name of the folder"):
        take(url + "/nothing")
    with pytest.raises(FacetError, match="no bucket missing-one"):
        take("s3://missing-one/x")
