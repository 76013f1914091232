"""Small archives that would be large, or endless, or of millions of members: refused or left out in little memory."""

from __future__ import annotations

import ast
import gzip
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
from tests.archives import replaced, tar_member, tar_of, tgz_of, zip_of

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
