"""Breaks raw sets of every layout, their archives, and pictures of every format, and reads them.

``python -m tests.fuzz.fuzz_readers --seconds 600 --seed 0`` fails on all but facet's own errors and warnings: another
exception, memory over the bound, a case that takes over ten seconds, a crash of the process, an accepted set that
contradicts itself. ``--case 1234`` with the same seed is that case alone. Prints a JSON summary.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, features

from facet.data.faces import decode_face
from facet.data.layouts import read_raw
from facet.data.layouts.names import attribute_name
from facet.data.raw import RawSet
from facet.errors import FacetError
from tests import raw_sets
from tests.fuzz.mutations import mutate

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO", "TGA", "JPEG2000", "AVIF")
# Address space, of which the libraries take over half before anything is read.
_MEMORY = 6 * 2**30
_SECONDS_A_CASE = 10


class _Broken(AssertionError):
    """An accepted set that contradicts itself."""


class Fuzzer:
    """Cases by number: the same seed and number are the same bytes."""

    def __init__(self, seed: int, scratch: Path) -> None:
        self.seed, self.scratch = seed, scratch
        self.sets = {name: _files_of(write, scratch / "valid" / name) for name, (write, _) in raw_sets.SETS.items()}
        self.pictures = _pictures()

    def run(self, number: int) -> tuple[str, str]:
        """(kind, "accepted" or "refused") of case ``number``; everything but facet's errors is raised."""
        rng = random.Random(f"{self.seed}:{number}")
        signal.alarm(_SECONDS_A_CASE)
        try:
            if rng.random() < 0.3:
                kind = rng.choice(list(self.pictures))
                return f"picture {kind}", self._read_picture(kind, rng)
            kind = rng.choice(list(self.sets))
            return kind, self._read_set(kind, rng)
        finally:
            signal.alarm(0)

    def _read_picture(self, kind: str, rng: random.Random) -> str:
        encoded = mutate(self.pictures[kind], rng, self.pictures[rng.choice(list(self.pictures))])
        try:
            face = decode_face(encoded, 32, rng.choice(("square", "none")))
        except FacetError:
            return "refused"
        if face.shape != (32, 32, 3) or face.dtype != np.uint8:
            raise _Broken(f"a face of {face.shape} {face.dtype}")
        return "accepted"

    def _read_set(self, kind: str, rng: random.Random) -> str:
        files = _packed(self.sets[kind], rng)
        for name in rng.sample(sorted(files), k=min(len(files), rng.choice((1, 1, 2)))):
            files[name] = mutate(files[name], rng, files[rng.choice(sorted(files))])
        if rng.random() < 0.1:
            files.pop(rng.choice(sorted(files)))
        folder = self.scratch / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in files.items():
            raw_sets.write(folder / name, content)
        layout = "auto" if rng.random() < 0.5 else raw_sets.SETS[kind][1]
        try:
            raw = read_raw(folder, layout)
        except FacetError:
            return "refused"
        _check(raw)
        return "accepted"


def _files_of(write, folder: Path) -> dict[str, bytes]:
    folder.mkdir(parents=True)
    write(folder)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _pictures() -> dict[str, bytes]:
    Image.init()
    available = [kind for kind in _FORMATS if kind in Image.SAVE and (kind != "AVIF" or features.check("avif"))]
    return {kind: raw_sets.picture(7, kind, (64, 48)) for kind in available}


def _packed(files: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """The files as they are, or half the time all in one archive."""
    how = rng.choice(("plain", "plain", "plain", "zip", "tar", "tgz"))
    packed = io.BytesIO()
    if how == "zip":
        with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    elif how != "plain":
        form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
        with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(f"{'very/' * rng.choice((0, 0, 30))}{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    if how == "plain":
        return dict(files)
    # Without a time, so that a case is the same bytes each time.
    whole = gzip.compress(packed.getvalue(), 1, mtime=0) if how == "tgz" else packed.getvalue()
    return {f"all.{how}": whole}


def _check(raw: RawSet) -> None:
    count = len(raw)
    shapes = raw.attributes.shape, raw.splits.shape, raw.identities.shape
    if shapes != ((count, len(raw.names)), (count,), (count,)) or len(set(raw.ids)) != count or not count:
        raise _Broken(f"{count} pictures, {len(set(raw.ids))} ids, shapes {shapes}")
    if not np.isin(raw.attributes, (-1, 0, 1)).all() or not np.isin(raw.splits, (-1, 0, 1, 2)).all():
        raise _Broken("a state or a split that is none")
    if raw.attributes.dtype != np.int8 or len(raw.captions) not in (0, count):
        raise _Broken("attributes or captions of another form")
    if any(attribute_name(name) != name for name in raw.names):
        raise _Broken(f"attributes {raw.names}")
    if raw.landmarks is not None and raw.landmarks.shape != (count, 5, 2):
        raise _Broken(f"landmarks {raw.landmarks.shape}")
    for name in raw.ids[:20]:
        try:
            raw.read(name)
        except FacetError:
            continue


def _hang(*_: object) -> None:
    raise _Broken(f"over {_SECONDS_A_CASE} seconds")


def _work(seed: int, first: int, last: int | None, deadline: float, current, results) -> None:
    """Cases from ``first`` on; the number in ``current`` outlives a crash of this process."""
    signal.signal(signal.SIGALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", UserWarning)
    counts: Counter[tuple[str, str]] = Counter()
    failure = None
    with tempfile.TemporaryDirectory() as scratch:
        fuzzer = Fuzzer(seed, Path(scratch))
        number = first
        while failure is None and (number <= last if last is not None else time.monotonic() < deadline):
            current.value = number
            try:
                counts[fuzzer.run(number)] += 1
            except BaseException:
                failure = traceback.format_exc()
            number += 1
    results.put((counts, failure))


def fuzz(seed: int, seconds: float, case: int | None = None) -> dict:
    """Run cases for ``seconds``, or one; the summary, with "failure" where a case failed."""
    context = multiprocessing.get_context("spawn")
    current, results = context.Value("q", 0), context.SimpleQueue()
    deadline = time.monotonic() + seconds
    worker = context.Process(target=_work, args=(seed, case or 0, case, deadline, current, results))
    worker.start()
    counts, failure = Counter(), None
    # The result is read before the worker is waited for, since it may not fit the pipe.
    while worker.is_alive() and results.empty():
        worker.join(0.05)
    if results.empty():
        worker.join()
        failure = f"the process died with exit code {worker.exitcode}"
    else:
        counts, failure = results.get()
        worker.join()
    kinds: dict[str, dict[str, int]] = {}
    for (kind, what), count in sorted(counts.items()):
        kinds.setdefault(kind, {})[what] = count
    summary = {"seed": seed, "cases": sum(counts.values()), "kinds": kinds}
    for what in ("accepted", "refused"):
        summary[what] = sum(found.get(what, 0) for found in kinds.values())
    if failure is not None:
        again = f"python -m tests.fuzz.fuzz_readers --seed {seed} --case {current.value}"
        summary |= {"failure": failure, "again": again}
    return summary


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz_readers", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="this case alone")
    arguments = parser.parse_args()
    summary = fuzz(arguments.seed, arguments.seconds, arguments.case)
    failure = summary.pop("failure", None)
    print(json.dumps(summary, indent=2))
    if failure is not None:
        print(failure, file=sys.stderr)
    return int(failure is not None)


if __name__ == "__main__":
    sys.exit(main())
