"""Data sets on Hugging Face: the files of a repository at one commit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from facet.artifacts import SOURCE
from facet.data.fetch import names
from facet.data.fetch.limits import HostError
from facet.data.fetch.listing import Listing, RemoteFile
from facet.data.fetch.origin import Origin, WebOrigin
from facet.data.fetch.web import Web
from facet.errors import ParamsError

_PUBLIC = "https://huggingface.co"
# What a data set is made of; programs and pickles are left where they are.
_TAKEN = (".parquet", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md")
_TAKEN += (".zip", ".tar", ".tgz", ".gz")
_MOST_PAGES = 10_000
_MOST_FILES = 1_000_000


class HuggingFace:
    """``hf:OWNER/NAME[@REVISION]``; ``only`` names the files to take, all of them where it is empty.

    The endpoint and the token are HF_ENDPOINT and HF_TOKEN of the environment.
    """

    kind = "hf"

    def __init__(self, given: str, web: Web, only: tuple[str, ...] = ()):
        found = re.fullmatch(r"([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?", given, re.ASCII)
        if not found or set(given.partition("@")[0].split("/")) & {".", ".."}:
            raise ParamsError(
                f"the data set is given as 'hf:{given}', expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION"
            )
        self.name, self._revision = found[1], found[2]
        # Only the hub can tell whether what lies here is the revision that is asked for by name.
        self.asked_again = self._revision is not None
        self._only, self._web = only, web
        self._endpoint = endpoint()
        token = os.environ.get("HF_TOKEN")
        if token:
            web.authorize(self._endpoint, f"Bearer {token}")
        denied = (
            f"Hugging Face does not give {self.name} away without more: accept its terms on {self._endpoint}/datasets/"
            f"{self.name}, set HF_TOKEN to a token that may read it, and run the same command again"
        )
        missing = (
            f"Hugging Face knows no data set {self.name} at revision {self._revision or 'main'}: check both at "
            f"{self._endpoint}/datasets/{self.name}"
        )
        self._hints = {401: denied, 403: denied, 404: missing}

    def listing(self, revision: str | None) -> Listing:
        wanted = self._revision or revision or "main"
        base = f"{self._endpoint}/api/datasets/{self.name}"
        about, _ = self._web.json(f"{base}/revision/{quote(wanted, safe='')}", self._hints)
        commit = about.get("sha") if isinstance(about, dict) else None
        if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise HostError(
                f"{self._endpoint} tells no commit for {self.name}: check HF_ENDPOINT, or use another mirror"
            )
        files = tuple(self._file(entry, commit) for entry in self._tree(f"{base}/tree/{commit}?recursive=true"))
        found = tuple(sorted((file for file in files if self._taken(file.path)), key=lambda file: file.path))
        missing = sorted(set(self._only) - {file.path for file in found})
        if missing or not found:
            raise HostError(f"{self.name} at {commit[:8]} holds no {missing[0] if missing else 'files of a data set'}")
        return Listing(commit, found)

    def origin(self, file: RemoteFile) -> Origin:
        return WebOrigin(self._web, file.place, file.path, self._hints)

    def pin(self, root: Path) -> str | None:
        return None

    def _tree(self, url: str | None) -> Iterator[dict[str, Any]]:
        """The entries that are files, of page after page."""
        count = 0
        for _ in range(_MOST_PAGES):
            page, url = self._web.json(str(url), self._hints)
            if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
                raise HostError(f"{self._endpoint} tells no list of files: check HF_ENDPOINT, or use another mirror")
            files = [entry for entry in page if entry.get("type") == "file"]
            yield from files
            count += len(page)
            if url is None:
                return
            if count > _MOST_FILES:
                break
        raise HostError(f"{self.name} has no end of files (more than {count:,}): use another mirror")

    def _file(self, entry: dict[str, Any], commit: str) -> RemoteFile:
        large = entry.get("lfs")
        path, size = entry.get("path"), (large or entry).get("size") if isinstance(large, dict | None) else None
        digest = (large or entry).get("oid") if isinstance(large, dict | None) else None
        length = 64 if large else 40
        usable = isinstance(path, str) and isinstance(size, int) and size >= 0 and isinstance(digest, str)
        if not usable or not re.fullmatch(f"[0-9a-f]{{{length}}}", str(digest)):
            raise HostError(f"{self._endpoint} describes a file of {self.name} in a way not known: use another mirror")
        path = names.clean(path, self._endpoint)
        place = f"{self._endpoint}/datasets/{self.name}/resolve/{commit}/{quote(path)}"
        return RemoteFile(path, size, place, (("sha256" if large else "git", digest),))

    def _taken(self, path: str) -> bool:
        if self._only:
            return path in self._only
        name = path.rpartition("/")[2]
        if path == SOURCE or name.startswith("."):
            return False
        return name.lower().endswith(_TAKEN) or name.upper().startswith("LICEN")


def endpoint() -> str:
    """Where Hugging Face is, without a slash at the end."""
    given = (os.environ.get("HF_ENDPOINT") or _PUBLIC).rstrip("/")
    if not re.match(r"https?://[^/]", given):
        raise ParamsError(f"HF_ENDPOINT is {given!r}, expected https://HOST")
    return given
