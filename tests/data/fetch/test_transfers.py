"""One file over http: whole, resumed, checked, or a sentence; against a real server that misbehaves in each way."""

from __future__ import annotations

import dataclasses
import os
import time

import pytest

from facet.artifacts import SOURCE, read_json
from facet.data.fetch.addresses import Guard
from facet.data.fetch.download import Download
from facet.data.fetch.listing import RemoteFile
from facet.data.fetch.origin import WebOrigin
from facet.data.fetch.web import Web
from facet.errors import DataError, FacetError, UnreachableError
from facet.progress import bar
from tests.data.fetch.conftest import QUICK
from tests.data.fetch.host import File, sha256

BODY = os.urandom(1_000_003)
PIECES = -(-len(BODY) // QUICK.piece)


def got(tmp_path, name="faces.zip") -> bytes:
    return (tmp_path / "set" / name).read_bytes()


def left(tmp_path) -> list[str]:
    """What lies beside the target."""
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "set")


@pytest.mark.parametrize(("etag", "ranges"), [('"1"', True), (None, True), ('"1"', False), ('W/"1"', True)])
def test_a_file_arrives_whole_with_a_record_of_where_from(host, take, tmp_path, etag, ranges):
    host.answers["/a/faces.zip"] = File(BODY, etag, ranges)
    done = take("/a/faces.zip?key=secret")
    assert got(tmp_path) == BODY
    assert (done.moved, done.moved_bytes, done.bytes) == (1, len(BODY), len(BODY))
    record = read_json(tmp_path / "set" / SOURCE)
    assert record["files"] == [{"path": "faces.zip", "sha256": sha256(BODY), "size": len(BODY)}]
    assert (record["name"], record["kind"], record["licence"]) == (f"{host.url}/a/faces.zip", "https", None)
    assert "secret" not in (tmp_path / "set" / SOURCE).read_text()
    assert left(tmp_path) == []


def test_pieces_are_asked_for_once_each(host, take):
    host.answers["/faces.zip"] = File(BODY, '"1"')
    take("/faces.zip")
    assert len(host.asked) == PIECES
    assert host.sent == len(BODY)
    assert [headers.get("If-Range") for _, headers in host.asked] == [None, *['"1"'] * (PIECES - 1)]


@pytest.mark.parametrize("body", [b"", b"x", BODY[: QUICK.piece], BODY[: QUICK.piece + 1]])
def test_a_file_of_any_length(host, take, tmp_path, body):
    host.answers["/faces.zip"] = File(body, '"1"')
    take("/faces.zip")
    assert got(tmp_path) == body


def test_the_second_fetch_asks_nobody(host, take):
    host.answers["/faces.zip"] = File(BODY, '"1"')
    take("/faces.zip")
    host.forget()
    assert take("/faces.zip").moved == 0
    assert host.asked == []


def test_a_file_that_was_damaged_here_is_fetched_again(host, take, tmp_path):
    host.answers["/faces.zip"] = File(BODY, '"1"')
    take("/faces.zip")
    (tmp_path / "set/faces.zip").write_bytes(b"?" + BODY[1:])
    assert take("/faces.zip").moved == 1
    assert got(tmp_path) == BODY


# --- cuts -------------------------------------------------------------------------------------------------------------


def test_after_a_cut_only_the_rest_of_the_piece_is_asked_for(host, take, tmp_path):
    host.answers["/faces.zip"] = File(BODY, '"1"', cut=(3, 1000))
    take("/faces.zip")
    assert got(tmp_path) == BODY
    assert host.sent == len(BODY)


def test_a_host_without_ranges_starts_over_after_a_cut(host, take, tmp_path):
    host.answers["/faces.zip"] = File(BODY, '"1"', ranges=False, cut=(1, 400_000))
    take("/faces.zip")
    assert got(tmp_path) == BODY
    assert host.sent > len(BODY)


def test_a_file_that_nothing_tells_apart_from_a_changed_one_starts_over(host, take, tmp_path):
    host.answers["/faces.zip"] = File(BODY, None, cut=(1, 40_000))
    take("/faces.zip")
    assert got(tmp_path) == BODY


def test_a_file_that_changes_in_the_middle_is_taken_as_it_is_then(host, take, tmp_path):
    old, new = BODY, os.urandom(len(BODY))
    file = host.answers["/faces.zip"] = File(old, '"old"')

    def changing(asked):
        if len(host.asked) == 4:
            file.body, file.etag = new, '"new"'
        asked._send(file)

    host.answers["/faces.zip"] = changing
    take("/faces.zip")
    assert got(tmp_path) == new


def test_what_arrived_before_the_host_went_away_is_not_asked_for_again(host, take, tmp_path):
    file = File(BODY, '"1"')
    host.answers["/faces.zip"] = lambda asked: asked._send(file) if len(host.asked) < 6 else asked.say(503)
    with pytest.raises(UnreachableError, match=r"503 Service Unavailable, also after \d+ tries; run the same command"):
        take("/faces.zip")
    assert not (tmp_path / "set").exists()
    before = host.sent
    host.answers["/faces.zip"] = file
    host.forget()
    assert take("/faces.zip").moved == 1
    assert got(tmp_path) == BODY
    assert before > QUICK.piece
    assert host.sent == len(BODY) - before
    assert left(tmp_path) == []


def test_what_arrived_is_dropped_where_the_file_has_changed_since(host, take, tmp_path):
    file = File(BODY, '"1"')
    host.answers["/faces.zip"] = lambda asked: asked._send(file) if len(host.asked) < 6 else asked.say(503)
    with pytest.raises(UnreachableError):
        take("/faces.zip")
    new = os.urandom(len(BODY))
    host.answers["/faces.zip"] = File(new, '"2"')
    take("/faces.zip")
    assert got(tmp_path) == new


# --- busy hosts -------------------------------------------------------------------------------------------------------


def test_a_busy_host_is_waited_for_as_long_as_it_asks(host, take, tmp_path):
    file = File(BODY[:1000])
    host.answers["/faces.zip"] = lambda asked: (
        asked.say(429, Retry_After="1") if len(host.asked) == 1 else asked._send(file)
    )
    begun = time.monotonic()
    take("/faces.zip")
    assert got(tmp_path) == BODY[:1000]
    assert time.monotonic() - begun >= 1


def test_a_host_that_asks_for_more_than_is_waited_says_so(host, take):
    host.answers["/faces.zip"] = lambda asked: asked.say(429, Retry_After="3600")
    with pytest.raises(UnreachableError, match="asks to wait 3600 seconds; run the same command after that"):
        take("/faces.zip")
    assert len(host.asked) == 1


def test_a_host_that_fails_twice_is_asked_again(host, take, tmp_path):
    file = File(BODY[:1000])
    host.answers["/faces.zip"] = lambda asked: asked.say(503) if len(host.asked) < 3 else asked._send(file)
    take("/faces.zip")
    assert got(tmp_path) == BODY[:1000]


def test_a_host_that_is_not_there(take):
    with pytest.raises(UnreachableError, match="does not answer, also after 4 tries"):
        take("http://127.0.0.1:9/faces.zip", allow_private=("127.0.0.1",))


def test_a_connection_that_stands_still_is_given_up(host, take):
    def dripping(asked):
        asked.send_response(200)
        asked.send_header("Content-Length", "1000000")
        asked.end_headers()
        for _ in range(100):
            asked.put(b"x")
            time.sleep(0.05)

    host.answers["/faces.zip"] = dripping
    limits = dataclasses.replace(QUICK, stall_s=0.3, tries=2)
    with pytest.raises(UnreachableError, match=r"fewer than 1024 bytes in 0.3 seconds"):
        take("/faces.zip", limits=limits)


def test_a_file_that_is_gone_is_not_asked_for_twice(host, take):
    with pytest.raises(DataError, match=r"has no file /faces.zip: check the address"):
        take("/faces.zip")
    assert len(host.asked) == 1


# --- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "kind", "says"),
    [
        (b"<!DOCTYPE html><p>Quota exceeded: too many users have viewed", UnreachableError, "its quota is used up"),
        (b"<html>Google Drive can't scan this file for viruses</html>", DataError, "too large for its virus scan"),
        (b"\n <HTML><form>Please sign in", DataError, "sends a log-in page in place of faces.zip"),
        (b"<html>Hello", DataError, "sends a web page in place of faces.zip"),
    ],
)
@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_in_place_of_a_file(host, take, tmp_path, page, kind, says, content_type):
    host.answers["/faces.zip"] = File(page, ranges=False, content_type=content_type)
    with pytest.raises(kind, match=says):
        take("/faces.zip")
    assert len(host.asked) == 1
    assert not (tmp_path / "set").exists()


def test_an_answer_without_end_is_stopped(host, take):
    def endless(asked):
        asked.send_response(200)
        asked.send_header("Connection", "close")
        asked.end_headers()
        asked.close_connection = True
        while True:
            asked.put(b"x" * 65536)

    host.answers["/faces.zip"] = endless
    with pytest.raises(DataError, match=r"more than 1,048,576 bytes of faces.zip"):
        take("/faces.zip", limits=dataclasses.replace(QUICK, most_unannounced=1 << 20))
    assert host.sent < 64 << 20


def test_a_host_that_sends_less_than_it_says(host, take, tmp_path):
    host.answers["/faces.zip"] = File(BODY[:1000], ranges=False, claims=2000)
    with pytest.raises(UnreachableError, match=r"also after 4 tries; run the same command later$"):
        take("/faces.zip")
    assert not (tmp_path / "set").exists()


def test_a_host_that_packs_what_it_sends(host, take):
    host.answers["/faces.zip"] = lambda asked: asked.say(200, b"x", Content_Encoding="gzip")
    with pytest.raises(DataError, match=r"packs what it sends \(gzip\)"):
        take("/faces.zip")


@pytest.mark.parametrize("says", ["bytes 5-9/100", "bytes 0-9/5", "items 0-9/100", ""])
def test_a_part_that_was_not_asked_for(host, take, says):
    host.answers["/faces.zip"] = lambda asked: asked.say(206, b"x" * 10, Content_Range=says)
    with pytest.raises(DataError, match=r"was asked for bytes 0 to .* and sends others"):
        take("/faces.zip")


def download(host, path, body, **known) -> str:
    """What a fetch of an announced file comes to."""
    about = {"size": len(body), "digests": (("sha256", sha256(body)),)} | known
    web = Web(Guard([host.name]), QUICK)
    with bar(None, "test") as progress:
        origin = WebOrigin(web, f"{host.url}/faces.zip", "faces.zip", {})
        return Download(origin, RemoteFile("faces.zip", place="", **about), path, QUICK, progress).run()


def test_a_file_of_another_length_than_announced(host, tmp_path):
    host.answers["/faces.zip"] = File(BODY)
    with pytest.raises(DataError, match=r"announces faces.zip with 1,000,004 bytes and sends 1,000,003"):
        download(host, tmp_path / "faces.zip", BODY, size=len(BODY) + 1)


@pytest.mark.parametrize("kind", ["sha256", "md5", "git", "s3"])
@pytest.mark.parametrize("length", [1000, len(BODY)])
def test_other_bytes_than_announced_are_dropped(host, tmp_path, kind, length):
    host.answers["/faces.zip"] = File(BODY[:length])
    with pytest.raises(DataError, match=rf"sends other bytes for faces.zip than it announces \(its {kind} differs\)"):
        download(host, tmp_path / "faces.zip", BODY[:length], digests=((kind, "0" * 32),))
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_fetch_left_damaged_is_fetched_from_nothing(host, tmp_path):
    file = File(BODY)
    host.answers["/faces.zip"] = lambda asked: asked._send(file) if len(host.asked) < 6 else asked.say(503)
    with pytest.raises(UnreachableError):
        download(host, tmp_path / "faces.zip", BODY)
    with (tmp_path / ".faces.zip.partial").open("r+b") as stream:
        stream.write(b"damaged")
    host.answers["/faces.zip"] = file
    assert download(host, tmp_path / "faces.zip", BODY) == sha256(BODY)
    assert (tmp_path / "faces.zip").read_bytes() == BODY


def test_a_disk_without_room_is_said_before_anything_is_written(host, take, tmp_path):
    host.answers["/faces.zip"] = File(BODY, '"1"')
    with pytest.raises(DataError, match=r"has [\d.,]+ GB free, and [\d.,]+ GB are needed: make room, or fetch to"):
        take("/faces.zip", limits=dataclasses.replace(QUICK, spare=1 << 60))
    assert host.sent <= QUICK.piece
    assert not (tmp_path / "set").exists()


def test_an_error_is_one_sentence(host, take):
    host.answers["/faces.zip"] = lambda asked: asked.say(403)
    with pytest.raises(FacetError) as caught:
        take("/faces.zip")
    assert str(caught.value) == (
        "127.0.0.1 answers 403 Forbidden for /faces.zip: check the address and your credentials"
    )
