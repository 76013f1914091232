"""The bucket commands against a real S3 endpoint on loopback (moto's server, a process of its own)."""

import datetime
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from facet import bucket
from facet.errors import DataError, FacetError, ParamsError, UnreachableError
from tests.deploy.s3 import s3, s3_env

__all__ = ["s3", "s3_env"]

# botocore warns of its own doings.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "img").mkdir(parents=True)
    (folder / "list.txt").write_text("names")
    (folder / "empty").touch()
    (folder / "img/ä 1.jpg").write_bytes(b"\xff\xd8")
    return folder


def facet(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "facet", *arguments]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("url", ["", "bucket", "http://bucket", "s3://", "s3://B", "s3://okay/a//b", "s3://okay/../b"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ParamsError, match="expected s3://BUCKET"):
        bucket.parse(url)


@pytest.mark.parametrize("url", ["s3://okay/a/b", "s3://okay/a/b/"])
def test_a_url_is_a_folder(url):
    assert str(bucket.parse(url)) == "s3://okay/a/b/"
    assert str(bucket.parse("s3://okay")) == "s3://okay/"


def test_a_usable_bucket_is_said_to_be_and_nothing_is_left_in_it(s3_env):
    url = s3_env.bucket("usable")
    assert bucket.check(f"{url}/folder") == s3_env.url
    assert s3_env.keys("usable") == []
    done = facet("bucket", "check", url, "--json")
    assert (done.returncode, json.loads(done.stdout)["may"]) == (0, ["write", "read", "delete"])


def test_a_bucket_that_is_not_there_is_named(s3_env):
    with pytest.raises(FacetError, match="no bucket missing-one at http://127"):
        bucket.check("s3://missing-one")
    assert facet("bucket", "check", "s3://missing-one").returncode == 1


def test_no_answer_is_exit_code_75_and_one_sentence(s3_env):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        done = facet("bucket", "check", "s3://any", AWS_ENDPOINT_URL=f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == UnreachableError.exit_code == 75
    assert done.stderr.startswith("error: S3 at http://127.0.0.1:")
    assert done.stderr.count("\n") == 1


def test_credentials_that_nobody_knows(s3_env, monkeypatch):
    url = s3_env.bucket("guarded")
    s3_env.check_credentials(on=True)
    try:
        with pytest.raises(FacetError, match="does not know these credentials") as caught:
            bucket.check(url)
        assert not isinstance(caught.value, UnreachableError)
    finally:
        s3_env.check_credentials(on=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(FacetError, match="set AWS_SECRET_ACCESS_KEY in the environment"):
        bucket.check(url)


def test_the_s3_endpoint_wins_and_must_be_a_url(s3_env, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "somewhere:9000")
    with pytest.raises(ParamsError, match=r"given as 'somewhere:9000', expected https://HOST"):
        bucket.check("s3://any")


def test_a_second_upload_sends_only_what_changed(s3_env, data):
    url = s3_env.bucket("sets") + "/celeba"
    first = bucket.upload_folder(data, url)
    assert (first.sent, first.skipped, first.sent_bytes) == (3, 0, 7)
    assert s3_env.keys("sets") == ["celeba/empty", "celeba/img/ä 1.jpg", "celeba/list.txt"]
    (data / "list.txt").write_text("Names")  # same size
    done = facet("bucket", "upload", str(data), url, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["sent"], told["skipped"], told["place"]) == (1, 2, "s3://sets/celeba/")
    assert s3_env.client().get_object(Bucket="sets", Key="celeba/list.txt")["Body"].read() == b"Names"


def test_a_large_file_goes_in_parts_and_its_etag_is_foreseen(s3_env, tmp_path):
    content = os.urandom(bucket.PART) + os.urandom(bucket.PART) + b"the rest"
    (tmp_path / "set").mkdir()
    path = tmp_path / "set/faces.zip"
    path.write_bytes(content)
    url = s3_env.bucket("large")
    assert bucket.upload_folder(path.parent, url).sent == 1
    stored = s3_env.client().get_object(Bucket="large", Key="faces.zip")
    assert stored["ETag"].strip('"') == bucket.etag(path, len(content))
    assert stored["ETag"].endswith('-3"')
    assert stored["Body"].read() == content
    assert bucket.upload_folder(path.parent, url).skipped == 1


def test_an_upload_killed_inside_a_file_goes_on_after_the_parts_that_arrived(s3_env, tmp_path, monkeypatch):
    (tmp_path / "faces.zip").write_bytes(os.urandom(2 * bucket.PART + 1))
    url, client = s3_env.bucket("killed"), s3_env.client()
    begun = client.create_multipart_upload(Bucket="killed", Key="faces.zip")["UploadId"]
    body = (tmp_path / "faces.zip").read_bytes()[: bucket.PART]
    client.upload_part(Bucket="killed", Key="faces.zip", UploadId=begun, PartNumber=1, Body=body)
    # A part of another content, as if the file had changed since: it must not be taken.
    client.upload_part(Bucket="killed", Key="faces.zip", UploadId=begun, PartNumber=2, Body=b"stale")
    sent = []
    real = bucket._base64_md5
    monkeypatch.setattr(bucket, "_base64_md5", lambda body: sent.append(len(body)) or real(body))
    bucket.upload_folder(tmp_path, url)
    assert sorted(sent) == [1, bucket.PART]
    stored = client.get_object(Bucket="killed", Key="faces.zip")["Body"].read()
    assert stored == (tmp_path / "faces.zip").read_bytes()
    assert "Uploads" not in client.list_multipart_uploads(Bucket="killed")


def test_an_upload_that_is_killed_is_completed_by_the_same_command(s3_env, tmp_path):
    content = os.urandom(bucket.PART) * 7 + b"the rest"
    (tmp_path / "faces.zip").write_bytes(content)
    url, client = s3_env.bucket("shot"), s3_env.client()
    command = [sys.executable, "-m", "facet", "bucket", "upload", str(tmp_path), url, "--json"]
    uploading = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while uploading.poll() is None and not client.list_multipart_uploads(Bucket="shot").get("Uploads"):
        time.sleep(0.01)
    uploading.kill()
    uploading.wait(timeout=10)
    killed_in_time = s3_env.keys("shot") == []
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["sent"] == int(killed_in_time)
    assert client.get_object(Bucket="shot", Key="faces.zip")["Body"].read() == content
    assert "Uploads" not in client.list_multipart_uploads(Bucket="shot")


@pytest.mark.parametrize("size", [0, 1, bucket.PART, 200 * 1024**3, 5 * 1024**4])
def test_parts_stay_within_what_s3_takes(size):
    part = bucket.part_size(size)
    assert part % 1024**2 == 0
    assert -(-size // part) <= 10_000


def test_nothing_to_upload_is_an_error(s3_env, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        bucket.upload_folder(tmp_path / "none", "s3://any")
    with pytest.raises(DataError, match="holds no files"):
        bucket.upload_folder(tmp_path, "s3://any")


def test_a_shared_report_opens_without_credentials_and_keeps_its_content(s3_env, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>first</p>")
    url = s3_env.bucket("reports") + "/nightly"
    done = facet("bucket", "share", str(report), url, "--expires", "12h")
    assert done.returncode == 0, done.stderr
    first = done.stdout.strip()
    assert "X-Amz-Signature=" in first
    assert "X-Amz-Expires=43200" in first
    report.write_text("<p>second</p>")
    second = bucket.share(report, url, datetime.timedelta(days=7))
    for link, text in ((first, "<p>first</p>"), (second, "<p>second</p>")):
        with urllib.request.urlopen(link, timeout=10) as answer:
            assert answer.read().decode() == text
            assert answer.headers["Content-Type"] == "text/html"


@pytest.mark.parametrize("text", ["", "7", "0d", "d", "-1d", "1w", "1.5h"])
def test_a_duration_that_is_none_is_refused(text):
    with pytest.raises(ParamsError, match="such as 7d or 12h"):
        bucket.parse_duration(text)


def test_a_link_longer_than_s3_allows_is_refused_before_anything_is_sent(tmp_path):
    with pytest.raises(ParamsError, match="at most 7 days"):
        bucket.share(tmp_path / "none", "s3://any", bucket.parse_duration("8d"))
