"""The project's own S3 work: is a bucket usable, upload of a data set, and a link to a report that anyone may open.

DVC moves what it tracks and MLflow keeps what is registered; this is the rest. The endpoint comes from
``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, credentials from the environment and from nowhere else.

Objects carry MD5 sums, because that is the one checksum that every S3 server both verifies on arrival and tells again:
as the ETag of an object, or of each part of one that was sent in parts.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import hashlib
import mimetypes
import os
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facet.errors import DataError, FacetError, ParamsError, UnreachableError
from facet.progress import bar

if TYPE_CHECKING:
    from tqdm import tqdm

_MIB = 1 << 20
# Files above this many bytes go in parts of this size; S3 takes at least 5 MiB a part, and at most 10,000 parts.
PART = 16 * _MIB
_MOST_PARTS = 10_000
# Requests under way at once; each holds at most one part in memory.
_AT_ONCE = 8
# What a signature of version 4 can promise.
LONGEST_LINK = datetime.timedelta(days=7)

_WRONG_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthFailure"}
_NO_BUCKET = {"NoSuchBucket"}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "MethodNotAllowed"}
_DAMAGED = {"BadDigest", "InvalidDigest"}


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder in a bucket: ``prefix`` is empty or ends in a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclasses.dataclass(frozen=True)
class Upload:
    """What an upload did: how many files went, how many lay there already, and how many bytes of files that was."""

    place: Place
    sent: int
    skipped: int
    sent_bytes: int
    skipped_bytes: int


def parse(url: str) -> Place:
    """The place that ``s3://bucket/folder`` names. Raises ParamsError for anything else."""
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", url)
    prefix = (found[2] or "").strip("/") if found else ""
    if not found or "//" in prefix or {".", ".."} & set(prefix.split("/")):
        raise ParamsError(f"the bucket is given as {url!r}, expected s3://BUCKET or s3://BUCKET/FOLDER")
    return Place(found[1], prefix and prefix + "/")


def check(url: str) -> str:
    """Put, read and delete a few bytes under ``url``; returns the endpoint that answered.

    Raises UnreachableError where none does, and FacetError where credentials, bucket or permissions are wrong.
    """
    place, client = parse(url), connect()
    key, probe = f"{place.prefix}.facet-probe-{secrets.token_hex(8)}", secrets.token_bytes(32)
    with explained("write", place):
        client.put_object(Bucket=place.bucket, Key=key, Body=probe, ContentMD5=_base64_md5(probe))
    try:
        with explained("read", place):
            back = client.get_object(Bucket=place.bucket, Key=key)["Body"].read()
    finally:
        with explained(f"delete (s3://{place.bucket}/{key} is left over)", place):
            client.delete_object(Bucket=place.bucket, Key=key)
    if back != probe:
        raise FacetError(f"{place} gave back other bytes than it was given: check what answers at {_endpoint_name()}")
    return _endpoint_name()


def upload_folder(folder: Path, url: str, seal: str | None = None) -> Upload:
    """Copy every file below ``folder`` to ``url`` under its relative name; what lies there with the same content stays.

    An interrupted upload is gone on with by the same call, also in the middle of a large file. Nothing is deleted, but
    for another ``seal`` than the folder's: the file of this name goes last, so that where it lies all the others do.
    Raises DataError where the folder is missing or empty, or a file changes while it is read.
    """
    place = parse(url)
    files = _files(folder)
    client = connect()
    sizes = {name: path.stat().st_size for name, path in files.items()}
    with explained("list", place):
        there = listing(client, place)
    if seal in there and (seal not in files or there[seal] != (sizes[seal], etag(files[seal], sizes[seal]))):
        with explained("delete", place):
            client.delete_object(Bucket=place.bucket, Key=place.prefix + seal)
    # Without the seal first; then it alone.
    turns = [{name: path for name, path in files.items() if (name == seal) is last} for last in (False, True)]
    sent, skipped = [], []
    with bar(sum(sizes.values()), f"upload to {place}", unit="B") as progress:
        progress.unit_scale = True
        with ThreadPoolExecutor(_AT_ONCE) as pool, explained("write", place), _readable(folder):
            for turn in turns:
                for name, done in _each(pool, client, place, turn, sizes, there, progress):
                    (sent if done else skipped).append(name)
    return Upload(place, len(sent), len(skipped), *(sum(sizes[name] for name in names) for names in (sent, skipped)))


def share(path: Path, url: str, expires: datetime.timedelta) -> str:
    """Upload the file at ``path`` to the folder ``url``; returns a link that opens it without credentials.

    The object's name holds a digest of its content, so a link goes on showing what it was made for. Raises ParamsError
    where ``expires`` is not above zero and at most seven days.
    """
    if not datetime.timedelta() < expires <= LONGEST_LINK:
        raise ParamsError(f"the link is to expire after {expires}, expected more than zero and at most 7 days")
    place = parse(url)
    if not path.is_file():
        raise DataError(f"{path} is not a file; make the report first (`dvc repro evaluate`), or name another file")
    client = connect()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    key = f"{place.prefix}{path.stem}-{digest[:16]}{path.suffix}"
    with ThreadPoolExecutor(_AT_ONCE) as pool, explained("write", place), _readable(path):
        size = path.stat().st_size
        with bar(size, f"upload of {path.name}", unit="B") as progress:
            _send(pool, client, place.bucket, key, path, size, progress)
    wanted = {"Bucket": place.bucket, "Key": key}
    return client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=int(expires.total_seconds()))


def parse_duration(text: str) -> datetime.timedelta:
    """``7d``, ``12h`` or ``30m`` as a duration. Raises ParamsError for anything else."""
    found = re.fullmatch(r"([1-9]\d{0,4})([dhm])", text)
    if not found:
        raise ParamsError(f"the duration is given as {text!r}, expected a number with d, h or m, such as 7d or 12h")
    return datetime.timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[found[2]]: int(found[1])})


def part_size(size: int) -> int:
    """Bytes a part for a file of ``size`` bytes; always the same for one size, so that ETags can be compared."""
    needed = -(-size // _MOST_PARTS)
    return max(PART, -(-needed // _MIB) * _MIB)


def etag(path: Path, size: int) -> str:
    """The ETag that S3 gives the file at ``path`` when it is sent as ``upload_folder`` sends it."""
    sums = [hashlib.md5(block, usedforsecurity=False).digest() for block in _blocks(path, size)]
    if size <= PART:
        return sums[0].hex()
    return f"{hashlib.md5(b''.join(sums), usedforsecurity=False).hexdigest()}-{len(sums)}"


def _each(
    pool: ThreadPoolExecutor,
    client: Any,
    place: Place,
    files: dict[str, Path],
    sizes: dict[str, int],
    there: dict[str, tuple[int, str]],
    progress: tqdm,
) -> Iterator[tuple[str, bool]]:
    """Each file's name, and whether it had to be sent. Small files go side by side, the parts of a large one too."""

    def one(name: str) -> bool:
        if there.get(name) == (sizes[name], etag(files[name], sizes[name]) if name in there else ""):
            progress.update(sizes[name])
            return False
        _send(pool, client, place.bucket, place.prefix + name, files[name], sizes[name], progress)
        return True

    small = [name for name in files if sizes[name] <= PART]
    yield from zip(small, pool.map(one, small), strict=True)
    for name in files.keys() - set(small):
        yield name, one(name)


def _send(pool: ThreadPoolExecutor, client: Any, bucket: str, key: str, path: Path, size: int, progress: tqdm) -> None:
    kind = {"ContentType": mimetypes.guess_type(path.name)[0] or "application/octet-stream"}
    if size > PART:
        _send_parts(pool, client, bucket, key, path, size, progress, kind)
        return
    (body,) = _blocks(path, size)
    client.put_object(Bucket=bucket, Key=key, Body=body, ContentMD5=_base64_md5(body), **kind)
    progress.update(size)


def _send_parts(
    pool: ThreadPoolExecutor,
    client: Any,
    bucket: str,
    key: str,
    path: Path,
    size: int,
    progress: tqdm,
    kind: dict[str, str],
) -> None:
    """Send a large file in parts, but for those that an interrupted upload has sent already."""
    upload, arrived = _unfinished(client, bucket, key)
    if upload is None:
        upload = client.create_multipart_upload(Bucket=bucket, Key=key, **kind)["UploadId"]
    step = part_size(size)

    def part(number: int) -> dict[str, Any]:
        with path.open("rb") as file:
            file.seek((number - 1) * step)
            body = file.read(step)
        tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        if arrived.get(number) != tag:
            where = {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": number}
            tag = client.upload_part(Body=body, ContentMD5=_base64_md5(body), **where)["ETag"]
        progress.update(len(body))
        return {"PartNumber": number, "ETag": tag}

    parts = list(pool.map(part, range(1, -(-size // step) + 1)))
    if path.stat().st_size != size:
        raise DataError(f"{path} changed while it was uploaded; let it rest and run the same command again")
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def _unfinished(client: Any, bucket: str, key: str) -> tuple[str | None, dict[int, str]]:
    """The latest upload of ``key`` that was begun and not completed, and the ETags of its parts by number."""
    begun = client.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", ())
    mine = sorted((one["Initiated"], one["UploadId"]) for one in begun if one["Key"] == key)
    if not mine:
        return None, {}
    upload = mine[-1][1]
    pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
    return upload, {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", ())}


def _files(folder: Path) -> dict[str, Path]:
    """The files below ``folder`` by their names in the bucket, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; name the folder that holds the data set")
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not files:
        raise DataError(f"{folder} holds no files, so there is nothing to upload; name the folder of the data set")
    return files


def listing(client: Any, place: Place) -> dict[str, tuple[int, str]]:
    """Size and ETag of what lies at ``place``, by relative name."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.prefix)
    items = (item for page in pages for item in page.get("Contents", ()))
    return {item["Key"].removeprefix(place.prefix): (item["Size"], item["ETag"].strip('"')) for item in items}


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """The file in the pieces it is sent in; one, if need be empty, for a file of at most ``PART`` bytes."""
    step = part_size(size)
    read = 0
    with path.open("rb") as file:
        for _ in range(max(1, -(-size // step))):
            block = file.read(step)
            read += len(block)
            yield block
        if read != size or file.read(1):
            raise DataError(f"{path} changed while it was read; let it rest and run the same command again")


def _base64_md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _endpoint_name() -> str:
    return _endpoint() or "AWS"


def connect() -> Any:
    """A client of the endpoint and credentials in the environment; files in the home folder are not asked."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise FacetError(f"no credentials for S3: set {' and '.join(missing)} in the environment")
    endpoint = _endpoint()
    if endpoint and not re.match(r"https?://[^/]", endpoint):
        raise ParamsError(f"the S3 endpoint is given as {endpoint!r}, expected https://HOST or http://HOST:PORT")
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        aws_access_key_id=os.environ[names[0]],
        aws_secret_access_key=os.environ[names[1]],
        aws_session_token=os.environ.get("AWS_SESSION_TOKEN") or None,
        config=Config(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 3},
            max_pool_connections=_AT_ONCE,
            # Content-MD5 does it, and also where a server does not know AWS's newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A file that can't be read, in one sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{error.filename or path} can't be read: {error.strerror}") from error


@contextlib.contextmanager
def explained(doing: str, place: Place) -> Iterator[None]:
    """What botocore raises while ``doing`` something at ``place``, in one sentence each."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, SSLError

    try:
        yield
    except ClientError as error:
        raise _refusal(error, doing, place) from error
    except SSLError as error:
        raise FacetError(
            f"the certificate of {_endpoint_name()} can't be trusted: set AWS_CA_BUNDLE to its CA"
        ) from error
    except (ConnectionError, HTTPClientError) as error:  # refused, unknown host, timed out, cut off
        raise UnreachableError(
            f"S3 at {_endpoint_name()} does not answer: check AWS_ENDPOINT_URL and the network, then run the same again"
        ) from error
    except BotoCoreError as error:
        raise FacetError(f"S3 at {_endpoint_name()} can't be used: {error}") from error


def _refusal(error: Any, doing: str, place: Place) -> FacetError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _WRONG_CREDENTIALS:
        return FacetError(
            f"S3 at {_endpoint_name()} does not know these credentials ({code}): check the AWS_… variables"
        )
    if code in _NO_BUCKET:
        return FacetError(f"there is no bucket {place.bucket} at {_endpoint_name()}: create it, or check the name")
    if code in _DENIED:
        return FacetError(f"these credentials may not {doing} at {place} ({code}): have whoever owns it permit that")
    if code in _DAMAGED:
        return DataError(f"what arrived at {place} is not what was sent ({code}): run the same command again")
    if status >= 500 or code in {"SlowDown", "RequestTimeout"}:
        return UnreachableError(
            f"S3 at {_endpoint_name()} can't do it now ({code}): run the same command a little later"
        )
    message = error.response.get("Error", {}).get("Message", "no reason given")
    return FacetError(f"S3 at {_endpoint_name()} refused to {doing} at {place}: {code}, {message}")
