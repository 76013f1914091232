"""Archives are not trusted: each hostile one ends in a counted file or in one sentence, and nothing is written."""

from __future__ import annotations

import ast
import gzip
import io
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facet.data.archives import MOST_MEMBERS
from facet.data.files import open_files
from facet.errors import DataError
from tests import raw_sets, tiny

GOOD = ("good.png", b"sound")


def zip_of(path: Path, members, method: int = zipfile.ZIP_STORED) -> None:
    """A zip of (name or ZipInfo, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, content, method)


def tar_of(path: Path, members, form: int = tarfile.PAX_FORMAT) -> None:
    """A tar of (name or TarInfo, content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def tgz_of(path: Path, members) -> None:
    """The same, compressed as a whole."""
    tar_of(path, members)
    path.write_bytes(gzip.compress(path.read_bytes(), 1))


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def replaced(path: Path, old: bytes, new: bytes) -> None:
    """The archive with bytes exchanged that Python's own writers refuse."""
    assert len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))


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


# --- bombs ------------------------------------------------------------------------------------------------------------

MEASURED = """
import sys
from pathlib import Path
from facet.data.files import open_files
from facet.errors import DataError

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024

before = peak()
try:
    files = open_files(Path(sys.argv[1]))
    found = [len(files), sum(files.left_out.values())]
    for name in list(files)[:3]:
        try:
            found.append(len(files.read(name)))
        except DataError as error:
            found.append(str(error))
except DataError as error:
    found = str(error)
print(repr((peak() - before, found)))
"""


def measured(folder: Path):
    """(MiB over the baseline, what came of opening ``folder`` and reading three files) in a process of its own."""
    command = [sys.executable, "-c", MEASURED, str(folder)]
    done = subprocess.run(
        command, env=tiny.child_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


def deflate_bomb(path: Path, size: int, declares: int | None = None) -> None:
    """A member of ``size`` zero bytes that says it has ``declares``."""
    zip_of(path, [("bomb.png", bytes(size))], zipfile.ZIP_DEFLATED)
    if declares is not None:
        replaced(path, struct.pack("<L", size), struct.pack("<L", declares))


def test_a_member_far_larger_than_the_archive_is_left_out(tmp_path):
    deflate_bomb(tmp_path / "all.zip", 300 * 2**20)
    assert (tmp_path / "all.zip").stat().st_size < 2**19
    grown, found = measured(tmp_path)
    assert found == [0, 1]
    assert grown < 50


def test_a_tar_gz_that_unpacks_to_far_more_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    raw_sets.write(tmp_path / "raw/all.tar.gz", gzip.compress(bytes(300 * 2**20)))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    grown, found = measured(tmp_path / "raw")
    assert "unpacks to over" in found
    assert grown < 50
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("declares", [1, 15 * 2**20])
def test_a_member_that_declares_less_than_it_unpacks_to_is_damaged(declares, tmp_path):
    deflate_bomb(tmp_path / "all.zip", 300 * 2**20, declares)
    grown, (count, left_out, says) = measured(tmp_path)
    assert (count, left_out) == (1, 0)
    assert "member bomb.png is damaged" in says
    assert grown < 80


def test_a_member_larger_than_its_reader_allows_is_refused(tmp_path):
    noise = zlib.compress(bytes(range(256)) * 4, 0)
    zip_of(tmp_path / "all.zip", [("large.png", noise * (65 * 2**20 // len(noise)))])
    files = open_files(tmp_path)
    with pytest.raises(DataError, match=r"large\.png holds .* bytes or more, expected 67,108,864 at most"):
        files.read("large.png")
    assert len(files.read("large.png", 2**30)) > 64 * 2**20


def test_a_member_that_declares_gigabytes_is_left_out(tmp_path):
    zip_of(tmp_path / "all.zip", [("a.png", b"x" * 12_345)])
    replaced(tmp_path / "all.zip", struct.pack("<LL", 12_345, 12_345), struct.pack("<LL", 0xFFFFFFF0, 0xFFFFFFF0))
    grown, found = measured(tmp_path)
    assert found == [0, 1]
    assert grown < 50


@pytest.mark.parametrize("size", [8 * 2**30, 2**60])
def test_a_tar_member_of_more_bytes_than_the_tar_is_one_sentence(size, tmp_path):
    header = tarfile.TarInfo("a.png")
    header.size = size
    (tmp_path / "all.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    grown, found = measured(tmp_path)
    assert "is cut off" in found
    assert grown < 50


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_tar_header_of_gigabytes_is_one_sentence(kind, tmp_path):
    """The file is sparse: it has the bytes, and takes no room."""
    header = tar_member("long", kind)
    header.size = 3 * 2**30
    with (tmp_path / "all.tar").open("wb") as stream:
        stream.write(header.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(3 * 2**30 + 4096)
    grown, found = measured(tmp_path)
    assert "a header of 3,221,225,472 bytes" in found
    assert grown < 50


def test_a_tar_that_only_repeats_headers_ends(tmp_path):
    """A member of minus 512 bytes would bring the reader back to where it was."""
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "all.tar").write_bytes(bytes(header) * 2 + bytes(1024))
    with pytest.raises(DataError, match="is not a tar"):
        open_files(tmp_path)


def directory(entries: int, announced: int, size: int | None = None, wide: bool = False) -> bytes:
    """A zip of nothing but a table of contents, of empty names."""
    body = (b"PK\1\2" + bytes(42)) * entries
    size = len(body) if size is None else size
    if not wide:
        return body + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, announced, announced, size, 0, 0)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, announced, announced, size, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(body), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + record + locator + end


@pytest.mark.parametrize(
    "content",
    [
        directory(0, 5_000_000, 0, wide=True),
        directory(0, 3, 2**40, wide=True),
        directory(MOST_MEMBERS + 1, 3),
        directory(MOST_MEMBERS + 1, MOST_MEMBERS + 1, wide=True),
    ],
    ids=["announced", "a large table", "more than announced", "all there"],
)
def test_a_table_of_contents_of_millions_is_measured_before_it_is_parsed(content, tmp_path):
    (tmp_path / "all.zip").write_bytes(content)
    grown, found = measured(tmp_path)
    assert "expected 600,000 at most: split it" in found or "is not a zip" in found
    assert grown < 150


# --- many -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [zip_of, tar_of, tgz_of])
def test_eight_threads_read_the_right_bytes(pack, tmp_path):
    contents = {f"{k:04d}.png": bytes([k % 251]) * (k * 37 % 9000 + 1) for k in range(400)}
    pack(tmp_path / f"all.{pack.__name__[:3]}", contents.items())
    files = open_files(tmp_path)
    names = list(contents) * 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(files.read, names))
    assert found == [contents[name] for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_two_hundred_thousand_members_are_listed_in_little_memory(pack, tmp_path):
    pack(tmp_path / f"all.{pack.__name__[:3]}", ((f"img/{k:06d}.jpg", b"%d" % k) for k in range(200_000)))
    grown, found = measured(tmp_path)
    assert found == [200_000, 0, 1, 1, 1]
    assert grown < 300
