"""`facet fetch`: a data set from a known name or an address into a folder, whole or not at all.

Files gather in a hidden folder beside the target, one for each place they come from, and stay there when a fetch is cut
or killed; the next one goes on. Only when all are there and checked do they take the target's name, with source.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from facet.artifacts import SOURCE, digest_json
from facet.data.fetch import catalogue, names, record
from facet.data.fetch.addresses import Guard
from facet.data.fetch.digests import digests
from facet.data.fetch.download import Download, check_space
from facet.data.fetch.limits import HostError, Limits
from facet.data.fetch.links import endpoints
from facet.data.fetch.listing import Listing, RemoteFile, Source
from facet.data.fetch.places import places
from facet.data.fetch.web import Web
from facet.errors import DataError, FacetError, UnreachableError
from facet.progress import bar


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line says beyond the source and the target."""

    accept_licence: bool = False
    mirrors: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()
    update: bool = False
    force: bool = False
    limits: Limits = dataclasses.field(default_factory=Limits)


@dataclasses.dataclass(frozen=True)
class Fetched:
    """What lies in the target now, and its source; ``moved`` of its files were fetched by this call."""

    target: Path
    record: Mapping[str, Any]
    moved: int
    moved_bytes: int
    layout: str | None
    source: Source

    @property
    def bytes(self) -> int:
        """The size of the set."""
        return sum(entry["size"] for entry in self.record["files"])


def fetch(given: str, target: Path, options: Options) -> Fetched:
    """Fetch the set ``given`` (a name of the catalogue, or an address) into the folder ``target``.

    Raises DataError where the licence is not accepted, the target holds something else, or what a host sends is wrong;
    UnreachableError where no mirror can give it now.
    """
    web = Web(Guard((*options.allow_private, *endpoints())), options.limits)
    known = catalogue.CATALOGUE.get(given)
    licence = known.licence if known else catalogue.licence_of(given)
    about = None if licence is None else licence.record(accepted=options.accept_licence)
    catalogue.check_accepted(given, about, options.accept_licence)
    present = record.read(target)
    failures: list[FacetError] = []
    for place in places(given, options.mirrors, present and present["kind"]):
        try:
            source = place.source(web)
            return _Fetch(source, place.layout, given if known else None, target, present, about, options).run()
        except (HostError, UnreachableError) as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    later = any(isinstance(error, UnreachableError) for error in failures)
    raise (UnreachableError if later else DataError)(
        f"no mirror gives {given} now: " + "; ".join(str(error) for error in failures)
    ) from failures[0]


class _Fetch:
    """One try, at one place."""

    def __init__(
        self,
        source: Source,
        layout: str | None,
        name: str | None,
        target: Path,
        present: Mapping[str, Any] | None,
        licence: Mapping[str, Any] | None,
        options: Options,
    ):
        self._source, self._layout, self._target, self._present = source, layout, target, present
        self._name, self._licence, self._options = name, licence, options

    def run(self) -> Fetched:
        ours = self._present is not None and self._is_ours(self._present)
        settled = ours and not self._source.asked_again and not self._options.update
        if settled and not record.differing(self._target, self._present):
            return Fetched(self._target, self._present, 0, 0, self._layout, self._source)
        listing = self._source.listing(self._wanted_revision(ours))
        if listing.record is not None:
            self._check_mirrors(listing.record)
            listing = _as_recorded(listing, self._source.name)
            catalogue.check_accepted(self._source.name, listing.record["licence"], self._options.accept_licence)
            ours = ours or _identity(self._present) == _identity(listing.record)
        names.check_together((SOURCE, *(file.path for file in listing.files)), self._source.name)
        self._check_target(ours, listing)
        return self._fetch(listing)

    def _check_mirrors(self, content: Mapping[str, Any]) -> None:
        """Raises HostError where a set was asked for by its name and the mirror holds another."""
        if self._name is not None and content["name"] != self._name:
            raise HostError(
                f"{self._source.name} holds {content['name']} and not {self._name}: name its own mirror, or "
                "fetch it by that address"
            )

    def _is_ours(self, present: Mapping[str, Any]) -> bool:
        """Whether what lies in the target is an earlier fetch of the same."""
        if self._name is not None:
            return present["name"] == self._name
        return (present["kind"], present["name"]) == (self._source.kind, self._source.name)

    def _wanted_revision(self, ours: bool) -> str | None:
        """The recorded one, so that mending or repeating a fetch does not bring in something newer."""
        keeps = ours and not self._options.update and self._present["kind"] == self._source.kind
        return self._present["revision"] if keeps else None

    def _check_target(self, ours: bool, listing: Listing) -> None:
        if self._target.is_symlink() or (self._target.exists() and not self._target.is_dir()):
            raise DataError(f"{self._target} is not a folder of its own: name another one (--to FOLDER)")
        if self._options.force or not self._target.is_dir() or not any(self._target.iterdir()):
            return
        if not ours:
            there = "something without a source.json" if self._present is None else self._present["name"]
            raise DataError(
                f"{self._target} holds {there}, which is not replaced by {self._name or self._source.name}: name "
                "another folder (--to FOLDER), or replace it (--force)"
            )
        before = self._present["revision"]
        revision = listing.record["revision"] if listing.record else listing.revision
        same_place = listing.record is not None or self._present["kind"] == self._source.kind
        if before != revision and same_place and not self._options.update:
            raise DataError(
                f"{self._source.name} has changed since it was fetched to {self._target}: add --update to take it as "
                "it is now, which replaces what is there"
            )

    def _check_no_more(self) -> None:
        """Raises DataError where the target holds files that no fetch has brought and that would be lost."""
        if self._options.force or self._present is None:
            return
        brought = {entry["path"] for entry in self._present["files"]} | {SOURCE}
        there = (path.relative_to(self._target).as_posix() for path in self._target.rglob("*") if not path.is_dir())
        more = sorted(set(there) - brought)
        if more:
            others = f" (nor {len(more) - 1} others)" if len(more) > 1 else ""
            raise DataError(
                f"{self._target} holds {more[0]}, which no fetch has brought{others}: move it elsewhere, or let it be "
                "lost (--force)"
            )

    def _fetch(self, listing: Listing) -> Fetched:
        scratch = self._target.with_name(f".{self._target.name}.fetch")
        with _alone(scratch):
            return self._gather(listing, scratch)

    def _gather(self, listing: Listing, scratch: Path) -> Fetched:
        folder = scratch / digest_json([self._source.kind, self._source.name])[:16]
        folder.mkdir(parents=True, exist_ok=True)
        total = sum(file.size or 0 for file in listing.files)
        with bar(total or None, f"fetch {self._name or self._source.name}", unit="B") as progress:
            progress.unit_scale = True
            kept, staged, wanted = self._sort(listing.files, folder, progress)
            if wanted or staged:
                self._check_no_more()
                check_space(folder, _left(folder, wanted), self._options.limits)
                staged |= self._download(wanted, folder, progress)
        whole = self._record(listing, kept | staged)
        if staged or whole != self._present:
            self._check_no_more()
            self._swap(whole, kept, folder)
        shutil.rmtree(scratch)
        moved = sum(staged[file.path][0] for file in wanted)
        return Fetched(self._target, whole, len(wanted), moved, self._layout, self._source)

    def _sort(
        self, files: Sequence[RemoteFile], folder: Path, progress: Any
    ) -> tuple[dict[str, tuple[int, str]], dict[str, tuple[int, str]], list[RemoteFile]]:
        """Files that the target has, files that an earlier try has brought, and files to be fetched."""
        kept: dict[str, tuple[int, str]] = {}
        staged: dict[str, tuple[int, str]] = {}
        wanted = []
        for file in files:
            for root, found in ((folder, staged), (self._target, kept)):
                sha256 = _matching(root / file.path, file, progress) if root is folder or self._present else None
                if sha256 is not None:
                    found[file.path] = ((root / file.path).stat().st_size, sha256)
                    break
            else:
                wanted.append(file)
        return kept, staged, wanted

    def _download(self, wanted: Sequence[RemoteFile], folder: Path, progress: Any) -> dict[str, tuple[int, str]]:
        limits = self._options.limits

        def one(file: RemoteFile) -> tuple[str, tuple[int, str]]:
            path = names.below(folder, file.path)
            sha256 = Download(self._source.origin(file), file, path, limits, progress).run()
            return file.path, (path.stat().st_size, sha256)

        # A large file moves in several pieces at once by itself.
        small, large = [], []
        for file in wanted:
            (small if file.size is not None and file.size <= limits.piece else large).append(file)
        done = {}
        with ThreadPoolExecutor(2 * limits.at_once) as pool:
            try:
                done.update(pool.map(one, small))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        done.update(one(file) for file in large)
        return done

    def _record(self, listing: Listing, files: Mapping[str, tuple[int, str]]) -> Mapping[str, Any]:
        if listing.record is not None:
            licence = listing.record["licence"]
            return {**listing.record, "licence": licence and {**licence, "accepted": self._options.accept_licence}}
        name = self._name or self._source.name
        return record.make(name, self._source.kind, listing.revision, self._licence, files)

    def _swap(self, whole: Mapping[str, Any], kept: Mapping[str, Any], folder: Path) -> None:
        """Give the gathered files the target's name. Killed in between, the same fetch finds all of them again."""
        listed = {entry["path"] for entry in whole["files"]}
        for path in sorted(folder.rglob("*"), reverse=True):
            name = path.relative_to(folder).as_posix()
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif not path.is_dir() and name not in listed:
                path.unlink()
        for name in kept:
            os.replace(self._target / name, names.below(folder, name))
        record.write(folder, whole)
        old = folder.parent / "replaced"
        shutil.rmtree(old, ignore_errors=True)
        if self._target.exists():
            os.replace(self._target, old)
        os.replace(folder, self._target)


@contextlib.contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    """Raises DataError where another process fetches to the same target, whose pieces would mix with ours."""
    scratch.mkdir(parents=True, exist_ok=True)
    lock = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise DataError(f"another fetch is filling {scratch}: wait for its end, or stop it") from error
    try:
        yield
    finally:
        # What is empty is nothing to go on with.
        for path in sorted((path for path in (scratch, *scratch.rglob("*")) if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        os.close(lock)


def _identity(content: Mapping[str, Any] | None) -> tuple[str, str] | None:
    return None if content is None else (content["kind"], content["name"])


def _as_recorded(listing: Listing, where: str) -> Listing:
    """The files that a mirror's record names, by the digests it gives them."""
    there = {file.path: file for file in listing.files}
    files = []
    for entry in listing.record["files"]:
        file = there.get(entry["path"])
        if file is None or file.size != entry["size"]:
            raise HostError(
                f"{where} is not whole: {entry['path']} is missing or has another length than its {SOURCE} says; push "
                "the set again (`facet data push`)"
            )
        files.append(dataclasses.replace(file, digests=(("sha256", entry["sha256"]),)))
    return dataclasses.replace(listing, files=tuple(files))


def _matching(path: Path, file: RemoteFile, progress: Any) -> str | None:
    """The SHA-256 of what lies at ``path`` if it is ``file``, as far as that can be told."""
    if not path.is_file() or not file.digests:
        return None
    if file.size is not None and path.stat().st_size != file.size:
        return None
    sha256, wrong = digests(path, file.digests, progress)
    if wrong is not None:
        progress.update(-path.stat().st_size)
        return None
    return sha256


def _left(folder: Path, wanted: Sequence[RemoteFile]) -> int:
    """Bytes that are still to come, as far as they are announced."""
    total = 0
    for file in wanted:
        partial = (folder / file.path).with_name(f".{(folder / file.path).name}.partial")
        there = partial.stat().st_blocks * 512 if partial.is_file() else 0
        total += max(0, (file.size or 0) - there)
    return total
