"""What each host speaks: redirects and whom they may lead to, Hugging Face, Kaggle, Google Drive."""

from __future__ import annotations

import base64
import os

import pytest

from facet.data.fetch.addresses import Guard, is_public
from facet.data.fetch.catalogue import DRIVE_FILES
from facet.data.fetch.links import Drive
from facet.data.fetch.web import Web
from facet.errors import DataError, FacetError, ParamsError, UnreachableError
from tests.data.fetch.conftest import QUICK
from tests.data.fetch.host import File
from tests.data.fetch.hub import COMMIT, NEXT, Hub

BODY = os.urandom(300_000)


def got(tmp_path, name) -> bytes:
    return (tmp_path / "set" / name).read_bytes()


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(host, other, take, tmp_path, status):
    host.redirect("/faces.zip", f"{other.url}/deep/x?signed=1", status)
    other.answers["/deep/x"] = File(BODY)
    take("/faces.zip", allow_private=(host.name, other.name))
    assert got(tmp_path, "faces.zip") == BODY


def test_a_redirect_may_be_relative(host, take, tmp_path):
    host.redirect("/a/faces.zip", "../b")
    host.answers["/b"] = File(BODY)
    take("/a/faces.zip")
    assert got(tmp_path, "faces.zip") == BODY


def test_redirects_that_lead_nowhere_end(host, take):
    host.redirect("/faces.zip", "/faces.zip")
    with pytest.raises(DataError, match="redirects more than 10 times"):
        take("/faces.zip")
    assert len(host.asked) == 11


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("file:///etc/passwd", "leads to 'file:///etc/passwd', which is no https address"),
        ("ftp://example.org/x", "which is no https address"),
        ("https://127.0.0.1:1/x", "127.0.0.1 is at 127.0.0.1, which is not a public address: if you trust it, add"),
        ("https://169.254.169.254/latest/meta-data", "not a public address"),
        ("https://[::ffff:10.0.0.1]/", "not a public address"),
        ("https://2130706433/", "not a public address"),
        ("http://127.0.0.1:1/x", "asked over http, which anybody on the way can change"),
        ("https://name:secret@example.org/", "holds a name or password"),
        ("https://[::1/", "can't be read"),
    ],
)
def test_a_redirect_to_where_nobody_should_go_is_refused(host, take, tmp_path, to, says):
    host.redirect("/faces.zip", to)
    with pytest.raises(FacetError, match=says.replace("[", r"\[")) as caught:
        take("/faces.zip")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_the_body_of_a_redirect_is_not_waited_for(host, take, tmp_path):
    def endless(asked):
        asked.send_response(302)
        asked.send_header("Location", "/real")
        asked.end_headers()
        asked.close_connection = True
        while True:
            asked.put(b"x" * 65536)

    host.answers["/faces.zip"], host.answers["/real"] = endless, File(BODY)
    take("/faces.zip")
    assert got(tmp_path, "faces.zip") == BODY
    assert host.sent < 64 << 20


def test_an_address_over_http_is_refused_unless_the_host_is_named(host, take):
    with pytest.raises(DataError, match="asked over http"):
        take("/faces.zip", allow_private=())
    assert host.asked == []


def test_the_host_that_was_reached_is_looked_at_again(host):
    # As if the name had been looked up to another address the second time.
    web = Web(Guard(), QUICK)
    with pytest.raises(DataError, match="not a public address"):
        web._session.get(host.url + "/faces.zip", timeout=5)
    assert host.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) == public


@pytest.mark.parametrize("name", ["", "a/b", "*.example.org", "u@h"])
def test_an_allowed_host_is_a_name(name):
    with pytest.raises(ParamsError, match="expected a name or an address"):
        Guard([name])


def test_an_allowed_host_may_leave_out_the_port():
    assert Guard(["Host.example."]).trusts("host.example", 8080)
    assert Guard(["[::1]:90"]).trusts("::1", 90) is Guard(["[::1]"]).trusts("::1", 90) is True
    assert not Guard(["host.example:80"]).trusts("host.example", 8080)


# --- Hugging Face -----------------------------------------------------------------------------------------------------

FILES = {
    "README.md": b"# Faces",
    "data/train-0.parquet": BODY,
    "data/train-1.parquet": BODY[::-1],
    "labels.csv": b"a,b",
    "loader.py": b"import os",
    "model.pkl": b"\x80",
}
TAKEN = {"README.md", "data/train-0.parquet", "data/train-1.parquet", "labels.csv"}


@pytest.fixture
def hub(host, monkeypatch) -> Hub:
    monkeypatch.setenv("HF_ENDPOINT", host.url)
    hub = Hub(host)
    hub.put(FILES)
    return hub


def test_a_set_on_the_hub_is_pinned_to_a_commit_and_read_page_by_page(hub, host, take, tmp_path):
    done = take("hf:team/faces", allow_private=())
    assert done.record["revision"] == COMMIT
    assert {entry["path"] for entry in done.record["files"]} == TAKEN
    assert all(got(tmp_path, name) == FILES[name] for name in TAKEN)
    assert sum("/tree/" in path for path in host.paths()) == 3
    assert all(COMMIT in path for path in host.paths() if "/revision/" not in path)


def test_the_second_fetch_from_the_hub_moves_nothing_and_asks_nobody(hub, host, take):
    take("hf:team/faces")
    host.forget()
    done = take("hf:team/faces")
    assert (done.moved, done.moved_bytes, host.asked) == (0, 0, [])


def test_an_update_moves_what_changed_alone(hub, host, take, tmp_path):
    take("hf:team/faces")
    hub.put(FILES | {"labels.csv": b"c,d"}, NEXT)
    assert take("hf:team/faces").moved == 0
    host.forget()
    done = take("hf:team/faces", update=True)
    assert (done.moved, done.moved_bytes, done.record["revision"]) == (1, 3, NEXT)
    assert got(tmp_path, "labels.csv") == b"c,d"
    assert sum("/resolve/" in path for path in host.paths()) == 1


def test_a_revision_can_be_named(hub, take):
    hub.put(FILES, NEXT)
    assert take(f"hf:team/faces@{NEXT}").record["revision"] == NEXT


@pytest.mark.parametrize("name", ["labels.csv", "data/train-0.parquet"])
def test_a_file_that_is_not_what_the_hub_tells_is_refused(hub, host, take, tmp_path, name):
    host.answers[f"/datasets/team/faces/resolve/{COMMIT}/{name}"] = File(FILES[name][:-1] + b"?")
    with pytest.raises(DataError, match=f"sends other bytes for {name} than it announces"):
        take("hf:team/faces")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "name",
    ["../x.csv", "/etc/x.csv", "a/../../x.csv", "a\nb.csv", "a\\b.csv", "a//b.csv", "\u202ea.csv", "x" * 300 + ".csv"],
)
def test_a_name_that_leaves_its_folder_is_refused_before_a_byte_is_taken(hub, host, take, tmp_path, name):
    hub.entries.append(hub.entry(name, b"x"))
    with pytest.raises(DataError, match=r"names a file .* nothing is taken from it"):
        take("hf:team/faces")
    assert not any("/resolve/" in path for path in host.paths())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["LABELS.csv", "labels.csv/x.csv"])
def test_two_names_for_one_file_are_refused(hub, take, name):
    hub.entries.append(hub.entry(name, b"x"))
    with pytest.raises(DataError, match="stands for two files at once"):
        take("hf:team/faces")


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "x.csv", "size": -1, "oid": "0" * 40},
        {"path": "x.csv", "size": "1", "oid": "0" * 40},
        {"path": "x.csv", "size": 1, "oid": "zz"},
        {"path": 5, "size": 1, "oid": "0" * 40},
        {"path": "x.csv", "size": 1, "oid": "0" * 40, "lfs": "yes"},
    ],
)
def test_a_listing_of_another_form_is_refused(hub, take, entry):
    hub.entries.append({"type": "file"} | entry)
    with pytest.raises(DataError, match="in a way not known"):
        take("hf:team/faces")


def test_a_set_that_is_gated_says_what_to_do_and_the_token_opens_it(hub, take, monkeypatch):
    hub.token = "hf_secret"
    with pytest.raises(DataError, match=r"accept its terms on .*/datasets/team/faces, set HF_TOKEN"):
        take("hf:team/faces")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert take("hf:team/faces").moved == len(TAKEN)


def test_the_token_goes_to_the_hub_alone(hub, host, other, take, monkeypatch):
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = f"/datasets/team/faces/resolve/{COMMIT}/data/train-0.parquet"
    host.redirect(path, f"{other.url}/store")
    other.answers["/store"] = File(BODY)
    take("hf:team/faces", allow_private=(other.name,))
    assert other.asked
    assert all("Authorization" not in headers for _, headers in other.asked)
    assert all(headers.get("Authorization") == "Bearer hf_secret" for _, headers in host.asked)


def test_a_set_that_the_hub_does_not_know(hub, take):
    with pytest.raises(DataError, match="knows no data set team/none at revision main"):
        take("hf:team/none")


def test_an_answer_that_is_no_json(hub, host, take):
    host.answers["/api/datasets/team/faces/revision/main"] = lambda asked: asked.say(200, b"<html>")
    with pytest.raises(DataError, match="something other than JSON"):
        take("hf:team/faces")


def test_a_list_of_files_without_end(hub, host, take):
    path = f"/api/datasets/team/faces/tree/{COMMIT}"
    link = f'<{host.url}{path}>; rel="next"'
    host.answers[path] = lambda asked: asked.say(200, b"[" + b",".join([b"{}"] * 400_000) + b"]", Link=link)
    with pytest.raises(DataError, match="no end of files"):
        take("hf:team/faces")


@pytest.mark.parametrize("given", ["hf:", "hf:a/b/c", "hf:../x", "hf:a/b@", "hf:a b"])
def test_an_address_on_the_hub_that_is_none(take, given):
    with pytest.raises(ParamsError, match="expected hf:OWNER/NAME"):
        take(given)


# --- Kaggle and Google Drive ------------------------------------------------------------------------------------------


def test_kaggle_gets_its_credentials_and_where_it_leads_to_does_not(host, other, take, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_ENDPOINT", host.url)
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    host.redirect("/api/v1/datasets/download/team/faces", f"{other.url}/bucket/x?signed=1")
    other.answers["/bucket/x"] = File(BODY, '"1"')
    done = take("kaggle:team/faces", allow_private=(other.name,))
    assert got(tmp_path, "faces.zip") == BODY
    assert {headers["Authorization"] for _, headers in host.asked} == {
        "Basic " + base64.b64encode(b"me:secret").decode()
    }
    assert all("Authorization" not in headers for _, headers in other.asked)
    assert (done.record["kind"], done.record["name"]) == ("kaggle", "team/faces")
    other.forget()
    assert take("kaggle:team/faces", allow_private=(other.name,)).moved == 0
    assert other.asked == []


def test_kaggle_says_what_is_missing(host, take, monkeypatch):
    monkeypatch.setenv("KAGGLE_ENDPOINT", host.url)
    host.answers["/api/v1/datasets/download/team/faces"] = lambda asked: asked.say(403)
    with pytest.raises(DataError, match="set KAGGLE_USERNAME and KAGGLE_KEY"):
        take("kaggle:team/faces")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    with pytest.raises(FacetError, match="only one of KAGGLE_USERNAME and KAGGLE_KEY is set"):
        take("kaggle:team/faces")
    with pytest.raises(ParamsError, match="expected kaggle:OWNER/NAME"):
        take("kaggle:team")


def test_files_on_drive_are_checked_by_their_published_sums(host, take, monkeypatch):
    monkeypatch.setenv("GOOGLE_DRIVE_ENDPOINT", host.url)
    host.answers["/download"] = File(b"another file")
    with pytest.raises(DataError, match=r"sends other bytes for .* than it announces \(its md5 differs"):
        take("drive:celeba", accept_licence=True)


def test_a_quota_that_is_used_up_on_drive_is_exit_code_75(host, take, monkeypatch):
    monkeypatch.setenv("GOOGLE_DRIVE_ENDPOINT", host.url)
    page = b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>"
    host.answers["/download"] = File(page, ranges=False, content_type="text/html; charset=utf-8")
    with pytest.raises(UnreachableError, match="quota is used up; run the same command tomorrow"):
        take("drive:celeba", accept_licence=True)


def test_drive_is_asked_by_id_and_says_yes_to_its_question(host, monkeypatch):
    monkeypatch.setenv("GOOGLE_DRIVE_ENDPOINT", host.url)
    listed = Drive("celeba", DRIVE_FILES["celeba"], Web(Guard(), QUICK)).listing(None)
    assert listed.files[1].place == (f"{host.url}/download?id=0B7EVK8r0v71pblRyaVFSWGxPY0U&export=download&confirm=t")
    assert dict(listed.files[1].digests) == {"md5": "75e246fa4810816ffd6ee81facbd244c"}


@pytest.mark.parametrize("given", ["drive:none", "drive:"])
def test_a_set_that_is_not_on_drive(take, given):
    with pytest.raises(DataError, match="use another mirror"):
        take(given)
