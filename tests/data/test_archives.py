"""Archives are not trusted: each hostile one ends in a counted file or in one sentence, and nothing is written."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from facet.data.files import open_files
from facet.errors import DataError
from tests import raw_sets, tiny
from tests.archives import GOOD, replaced, tar_member, tar_of, tgz_of, zip_of

NAMES = {
    "../escape.png": "`..` in the name",
    "a/../../escape.png": "`..` in the name",
    "/etc/passwd.png": "an absolute name",
    "C:/escape.png": "an absolute name",
    "..\\escape.png": "a backslash in the name",
    "a\\b.png": "a backslash in the name",
    "a\nb.png": "control characters in the name",
    "a\x1b[31mb.png": "control characters in the name",
    "a\u202egnp.exe.png": "control characters in the name",
    "a\u2028b.png": "control characters in the name",
    f"{'n' * 4096}.png": "a name of over 1,024 bytes",
}


@pytest.mark.parametrize("pack", [zip_of, tar_of, tgz_of])
@pytest.mark.parametrize("name", list(NAMES), ids=lambda name: ascii(name)[:30])
def test_a_name_that_no_file_may_bear_is_counted(pack, name, tmp_path):
    pack(tmp_path / "raw" / f"all.{pack.__name__[:3]}", [(name, b"x"), GOOD])
    before = tiny.contents(tmp_path)
    files = open_files(tmp_path / "raw")
    assert list(files) == ["good.png"]
    assert files.left_out == {NAMES[name]: 1}
    assert files.read("good.png") == b"sound"
    assert tiny.contents(tmp_path) == before


def test_a_name_with_a_nul_is_counted(tmp_path):
    zip_of(tmp_path / "all.zip", [("aXb.png", b"x"), GOOD])
    replaced(tmp_path / "all.zip", b"aXb.png", b"a\0b.png")
    files = open_files(tmp_path)
    assert list(files) == ["good.png"]
    assert files.left_out == {"control characters in the name": 1}


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_of_twin_names_the_first_stays(pack, tmp_path):
    twins = [("\u00e9.png", b"composed"), ("e\u0301.png", b"in two"), ("a.png", b"first"), ("./a.png", b"second")]
    pack(tmp_path / f"all.{pack.__name__[:3]}", [*twins, ("a.png", b"third")])
    files = open_files(tmp_path)
    assert {name: files.read(name) for name in files} == {"\u00e9.png": b"composed", "a.png": b"first"}
    assert files.left_out == {"named twice": 3}


def test_a_plain_file_comes_before_a_member_of_its_name(tmp_path):
    raw_sets.write(tmp_path / "img/a.png", "plain")
    zip_of(tmp_path / "img.zip", [("img/a.png", b"packed"), ("img/b.png", b"packed")])
    files = open_files(tmp_path)
    assert (files.read("img/a.png"), files.read("img/b.png")) == (b"plain", b"packed")
    assert files.path("img/b.png") is None
    assert files.left_out == {"named twice": 1}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "good.png"])
def test_links_and_devices_of_a_tar_are_counted(kind, target, tmp_path):
    raw_sets.write(tmp_path / "outside", "secret")
    tar_of(tmp_path / "raw/all.tar", [(tar_member("link.png", kind, target), b""), GOOD])
    files = open_files(tmp_path / "raw")
    assert list(files) == ["good.png"]
    assert files.left_out == {"a link or device in an archive": 1}


def test_a_file_behind_a_linked_folder_is_only_a_name(tmp_path):
    """What extracting would follow: a link to a folder, then a file below it."""
    tar_of(tmp_path / "raw/all.tar", [(tar_member("out", tarfile.SYMTYPE, ".."), b""), ("out/x.png", b"inside")])
    files = open_files(tmp_path / "raw")
    assert files.read("out/x.png") == b"inside"
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_of_a_zip_are_counted(kind, tmp_path):
    info = zipfile.ZipInfo("link.png")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    zip_of(tmp_path / "all.zip", [(info, b"/etc/passwd"), GOOD])
    files = open_files(tmp_path)
    assert list(files) == ["good.png"]
    assert files.left_out == {"a link or device in an archive": 1}


def test_a_sparse_member_is_counted(tmp_path):
    """GNU's old form: a map in the header, which would grow a file of no bytes to any size."""
    tar_of(tmp_path / "all.tar", [(tar_member("huge.png", tarfile.GNUTYPE_SPARSE), b""), GOOD], tarfile.GNU_FORMAT)
    content = bytearray((tmp_path / "all.tar").read_bytes())
    content[386:398] = content[398:410] = b"00000000000\0"
    content[483:495] = b"77777777777\0"
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    (tmp_path / "all.tar").write_bytes(content)
    files = open_files(tmp_path)
    assert list(files) == ["good.png"]
    assert files.left_out == {"a sparse file in an archive": 1}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_unpacks_at_once_is_counted(method, tmp_path):
    zip_of(tmp_path / "all.zip", [("a.png", b"x" * 999)], method)
    assert open_files(tmp_path).left_out == {"a compression other than deflate": 1}


# --- no archives ------------------------------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


NO_ARCHIVES = {
    "web page as zip": (
        "a.zip",
        lambda p: p.write_text("<!DOCTYPE html><p>Quota exceeded"),
        "is not a zip",
    ),
    "web page as tar": ("a.tar", lambda p: p.write_text("<!DOCTYPE html>" * 99), r"is not a tar \(a web page"),
    "empty zip": ("a.zip", lambda p: p.write_bytes(b""), "is not a zip"),
    "empty tar": ("a.tar", lambda p: p.write_bytes(b""), "is not a tar"),
    "cut zip": ("a.zip", lambda p: (zip_of(p, [("a", b"x" * 5000), ("b", b"y")]), _cut(p)), "is cut off"),
    "cut tar": ("a.tar", lambda p: (tar_of(p, [("a", b"x" * 50_000), ("b", b"y")]), _cut(p)), "is cut off"),
    "gzip as tar": ("a.tar", lambda p: tarfile.open(p, "w:gz").close(), "call it .tar.gz"),
    ".tar.gz cut off": ("a.tar.gz", lambda p: p.write_bytes(gzip.compress(bytes(4096))[:-9]), "is cut off"),
    ".TGZ that is a page": ("a.TGZ", lambda p: p.write_bytes(b"<html>"), "is not gzip"),
    ".tgz of a page": ("a.tgz", lambda p: p.write_bytes(gzip.compress(b"<html>" * 200)), "is not a tar"),
    ".tar.xz": ("a.tar.xz", lambda p: p.write_bytes(b"\xfd7zXZ"), "unpack it, or pack it as .zip or .tar.gz"),
    ".7z": ("a.7z", lambda p: p.write_bytes(b"7z"), "in a way that facet does not read"),
    "a folder": ("a.zip/b.zip", lambda p: p.write_bytes(b""), "is not a zip"),
    "end record alone": ("a.zip", lambda p: p.write_bytes(b"PK\5\6" + b"\xff" * 18), "is not a zip|announces"),
    "damaged tar": (
        "a.tar",
        lambda p: (tar_of(p, [("a", b"x"), ("b", b"y")]), replaced(p, b"b" + bytes(99), b"B" + bytes(99))),
        r"is cut off \(damaged header\)",
    ),
}


@pytest.mark.parametrize("how", list(NO_ARCHIVES))
def test_what_is_no_archive_is_one_sentence(how, tmp_path):
    name, write, says = NO_ARCHIVES[how]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name)
    with pytest.raises(DataError, match=says) as caught:
        open_files(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_locked_is_one_sentence(tmp_path):
    zip_of(tmp_path / "all.zip", [("a.png", b"x")])
    content = bytearray((tmp_path / "all.zip").read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "all.zip").write_bytes(content)
    with pytest.raises(DataError, match="is locked with a password: unpack it"):
        open_files(tmp_path)


def test_a_picture_that_is_a_zip_too_is_the_picture(tmp_path):
    zip_of(tmp_path / "part.zip", [("hidden.png", b"x")])
    content = raw_sets.picture(1, "JPEG") + (tmp_path / "part.zip").read_bytes()
    (tmp_path / "part.zip").unlink()
    raw_sets.write(tmp_path / "face.jpg", content)
    files = open_files(tmp_path)
    assert list(files) == ["face.jpg"]
    assert files.read("face.jpg") == content


def test_a_zip_behind_a_picture_is_the_zip(tmp_path):
    zip_of(tmp_path / "all.zip", [GOOD])
    (tmp_path / "all.zip").write_bytes(raw_sets.picture(1, "JPEG") + (tmp_path / "all.zip").read_bytes())
    assert open_files(tmp_path).read("good.png") == b"sound"


def test_more_archives_than_a_process_can_hold_open(tmp_path):
    for k in range(257):
        (tmp_path / f"{k}.zip").touch()
    with pytest.raises(DataError, match="holds 257 archives, expected 256 at most"):
        open_files(tmp_path)
