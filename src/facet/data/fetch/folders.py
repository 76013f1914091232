"""Sources that DVC can ask again: a folder or a file on this machine, and a folder in a bucket."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facet import bucket
from facet.artifacts import SOURCE, SOURCE_SCHEMA, digest_json, read_json
from facet.data.fetch import names
from facet.data.fetch.digests import digests
from facet.data.fetch.limits import ChangedError, HostError, InterruptedTransferError
from facet.data.fetch.listing import Listing, RemoteFile
from facet.data.fetch.origin import Opened, Origin
from facet.data.fetch.record import check_record
from facet.errors import ArtifactError, FacetError, UnreachableError
from facet.progress import bar

_BLOCK = 1 << 18


class Local:
    """A PATH: a folder with all below it, or one file. Hidden files stay where they are."""

    kind = "path"
    asked_again = True

    def __init__(self, given: str):
        self._path = Path(given)
        if not self._path.exists():
            raise HostError(
                f"{given} is neither a known set, nor a file or folder here, nor hf:OWNER/NAME, kaggle:OWNER/NAME, "
                "s3://BUCKET/FOLDER or https://…: check it (`facet fetch --help`)"
            )
        # A record names no place on this machine, but for one inside the folder the command runs in.
        inside = not self._path.is_absolute() and ".." not in self._path.parts
        self.name = self._path.as_posix() if inside else self._path.resolve().name

    def listing(self, revision: str | None) -> Listing:
        single = self._path.is_file()
        root = self._path.parent if single else self._path
        paths = [self._path] if single else sorted(path for path in root.rglob("*") if path.is_file())
        relative = {path.relative_to(root).as_posix(): path for path in paths}
        taken = {name: path for name, path in relative.items() if not any(p.startswith(".") for p in name.split("/"))}
        record = None if single else _record(taken.pop(SOURCE, None))
        if not taken:
            raise HostError(f"{self._path} holds no files: name the folder of the data set")
        files = []
        with bar(sum(path.stat().st_size for path in taken.values()), f"look at {self._path.name}", "B") as progress:
            progress.unit_scale = True
            for name, path in taken.items():
                try:
                    sha256, _ = digests(path, (), progress)
                except OSError as error:
                    raise HostError(f"{path} can't be read: {error.strerror}") from error
                files.append(
                    RemoteFile(names.clean(name, "the folder"), path.stat().st_size, str(path), (("sha256", sha256),))
                )
        return Listing(digest_json([[file.path, file.digests[0][1]] for file in files]), tuple(files), record)

    def origin(self, file: RemoteFile) -> Origin:
        return _LocalOrigin(Path(file.place))

    def pin(self, root: Path) -> str | None:
        if self._path.is_file():
            return None
        whole, root = self._path.resolve(), root.resolve()
        return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


class _LocalOrigin:
    host = "this machine"

    def __init__(self, path: Path):
        self._path = path

    @contextlib.contextmanager
    def open(self, start: int, stop: int | None, etag: str | None) -> Iterator[Opened]:
        try:
            with self._path.open("rb") as stream:
                total = os.fstat(stream.fileno()).st_size
                stream.seek(start)
                yield Opened(start, total, None, True, _read(stream, None if stop is None else stop - start))
        except OSError as error:
            raise HostError(f"{self._path} can't be read: {error.strerror}") from error


class Bucket:
    """``s3://BUCKET/FOLDER``; endpoint and credentials as facet.bucket finds them."""

    kind = "s3"
    asked_again = True

    def __init__(self, given: str):
        self._place = bucket.parse(given)
        self.name = str(self._place)
        self._client = bucket.connect()

    def listing(self, revision: str | None) -> Listing:
        with bucket.explained("list", self._place):
            there = bucket.listing(self._client, self._place)
        taken = {
            name: about
            for name, about in sorted(there.items())
            if name and not name.endswith("/") and not any(part.startswith(".") for part in name.split("/"))
        }
        record = self._record(taken.pop(SOURCE)[0]) if SOURCE in taken else None
        if not taken:
            raise HostError(f"{self._place} holds no files: check the name of the folder (`facet data push` fills it)")
        plain = not self._encrypted(next(iter(taken)))
        files = tuple(self._file(name, size, tag, plain) for name, (size, tag) in taken.items())
        return Listing(digest_json([[name, *about] for name, about in taken.items()]), files, record)

    def origin(self, file: RemoteFile) -> Origin:
        return _ObjectOrigin(self._client, self._place, file.place)

    def pin(self, root: Path) -> str | None:
        return self.name.rstrip("/")

    def _file(self, name: str, size: int, tag: str, plain: bool) -> RemoteFile:
        key = self._place.prefix + name
        known: tuple[tuple[str, str], ...] = ()
        if plain and "-" in tag:
            # The ETag of an object sent in parts can be computed only by who knows how long the parts were.
            part = self._head(key, PartNumber=1).get("ContentLength")
            known = (("s3", f"{tag}@{part}"),) if part else ()
        elif plain:
            known = (("s3", tag),)
        return RemoteFile(names.clean(name, str(self._place)), size, key, known)

    def _encrypted(self, name: str) -> bool:
        """Whether the bucket encrypts with keys of its own, which makes ETags say nothing of the content."""
        return self._head(self._place.prefix + name).get("ServerSideEncryption", "AES256") != "AES256"

    def _head(self, key: str, **more: Any) -> Mapping[str, Any]:
        with bucket.explained("read", self._place):
            return self._client.head_object(Bucket=self._place.bucket, Key=key, **more)

    def _record(self, size: int) -> Mapping[str, Any] | None:
        if size > 256 << 20:
            raise HostError(f"{self._place}{SOURCE} has {size:,} bytes, which no record has: remove it there")
        with bucket.explained("read", self._place):
            asked = {"Bucket": self._place.bucket, "Key": self._place.prefix + SOURCE}
            body = self._client.get_object(**asked)["Body"].read()
        try:
            return _checked_record(json.loads(body), str(self._place))
        except ValueError as error:
            raise HostError(f"{self._place}{SOURCE} is damaged ({error}): push the set again") from error


class _ObjectOrigin:
    def __init__(self, client: Any, place: bucket.Place, key: str):
        self._client, self._place, self._key = client, place, key
        self.host = str(place)

    @contextlib.contextmanager
    def open(self, start: int, stop: int | None, etag: str | None) -> Iterator[Opened]:
        from botocore.exceptions import ClientError

        asked: dict[str, str] = {"Bucket": self._place.bucket, "Key": self._key}
        if start or stop is not None:
            asked["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if etag:
            asked["IfMatch"] = etag
        try:
            with bucket.explained("read", self._place):
                try:
                    answer = self._client.get_object(**asked)
                except ClientError as error:
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] in (412, 416):
                        raise ChangedError(f"{self._key} changed while it was fetched") from error
                    raise
                total = answer["ContentLength"]
                if "ContentRange" in answer:
                    total = int(answer["ContentRange"].rpartition("/")[2])
                yield Opened(start, total, answer["ETag"], "ContentRange" in answer, _body(answer["Body"]))
        except UnreachableError as error:
            raise InterruptedTransferError("does not answer") from error
        except OSError as error:
            raise InterruptedTransferError("cuts the connection") from error


def _body(body: Any) -> Iterator[bytes]:
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    try:
        yield from body.iter_chunks(_BLOCK)
    except (BotoCoreError, HTTPError, OSError) as error:
        raise InterruptedTransferError("cuts the connection") from error


def _read(stream: Any, length: int | None) -> Iterator[bytes]:
    left = length
    while block := stream.read(_BLOCK if left is None else min(_BLOCK, left)):
        yield block
        left = None if left is None else left - len(block)


def _record(path: Path | None) -> Mapping[str, Any] | None:
    """The record that a folder carries, checked."""
    if path is None:
        return None
    try:
        return _checked_record(read_json(path, SOURCE_SCHEMA), str(path.parent))
    except ArtifactError as error:
        raise HostError(f"{path} is no record of a data set: fetch the set again, or remove the file") from error


def _checked_record(content: Any, where: str) -> Mapping[str, Any]:
    try:
        return check_record(content)
    except FacetError as error:
        raise HostError(f"{where} carries a {SOURCE} that is none ({error}): push the set again") from error
