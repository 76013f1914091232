"""Sources that are one address a file: a link, a data set on Kaggle, files on Google Drive."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from facet.data.fetch import names
from facet.data.fetch.limits import HostError
from facet.data.fetch.listing import Listing, RemoteFile
from facet.data.fetch.origin import Origin, WebOrigin
from facet.data.fetch.web import Web
from facet.errors import FacetError, ParamsError

_KAGGLE = "https://www.kaggle.com"
_DRIVE = "https://drive.usercontent.google.com"


class _Links:
    """Files with one address each."""

    asked_again = False

    def __init__(self, web: Web, files: tuple[RemoteFile, ...], hints: Mapping[int, str]):
        self._web, self._files, self._hints = web, files, hints

    def listing(self, revision: str | None) -> Listing:
        return Listing(None, self._files)

    def origin(self, file: RemoteFile) -> Origin:
        return WebOrigin(self._web, file.place, file.path, self._hints)

    def pin(self, root: Path) -> str | None:
        return None


class Link(_Links):
    """``https://HOST/…/FILE``. The name it is recorded under leaves out the query, which may hold a signature."""

    kind = "https"

    def __init__(self, given: str, web: Web):
        parts = urlsplit(given)
        file = unquote(parts.path.rpartition("/")[2])
        if not parts.hostname or not file:
            raise ParamsError(
                f"the address is given as {given!r}, expected https://HOST/…/FILE with a file's name last"
            )
        host = parts.netloc.rpartition("@")[2]
        self.name = urlunsplit((parts.scheme, host, parts.path, "", ""))
        missing = f"{host} has no file {parts.path}: check the address"
        super().__init__(web, (RemoteFile(names.clean(file, host), None, given),), {404: missing, 410: missing})


class Kaggle(_Links):
    """``kaggle:OWNER/NAME``: the data set as the one zip that Kaggle packs. KAGGLE_USERNAME and KAGGLE_KEY are used
    where they are set; public sets are mostly given away without."""

    kind = "kaggle"

    def __init__(self, given: str, web: Web):
        if not re.fullmatch(r"[\w-]+/[\w-]+", given, re.ASCII):
            raise ParamsError(f"the data set is given as 'kaggle:{given}', expected kaggle:OWNER/NAME")
        self.name = given
        endpoint = (os.environ.get("KAGGLE_ENDPOINT") or _KAGGLE).rstrip("/")
        user, key = os.environ.get("KAGGLE_USERNAME"), os.environ.get("KAGGLE_KEY")
        if bool(user) != bool(key):
            raise FacetError("only one of KAGGLE_USERNAME and KAGGLE_KEY is set: set both, or none for a public set")
        if user:
            web.authorize(endpoint, "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode())
        denied = (
            f"Kaggle does not give {given} away without more: set KAGGLE_USERNAME and KAGGLE_KEY (kaggle.com, "
            "Settings, Create New Token), accept the set's terms there, and run the same command again"
        )
        missing = f"Kaggle knows no data set {given}: check OWNER/NAME in the address of its page"
        zipped = RemoteFile(f"{given.partition('/')[2]}.zip", None, f"{endpoint}/api/v1/datasets/download/{given}")
        super().__init__(web, (zipped,), {401: denied, 403: denied, 404: missing})


class Drive(_Links):
    """Files on Google Drive by id: ``drive:NAME`` for those that the catalogue knows."""

    kind = "drive"

    def __init__(self, name: str, files: tuple[tuple[str, str, str | None], ...], web: Web):
        self.name = name
        endpoint = (os.environ.get("GOOGLE_DRIVE_ENDPOINT") or _DRIVE).rstrip("/")
        if not files:
            raise HostError(f"no files of {name} on Google Drive are known: use another mirror")
        missing = f"Google Drive no longer has a file of {name}: use another mirror (--mirror URL)"
        # `confirm` answers the page that asks whether a file too large for the virus scan is wanted nevertheless.
        listed = tuple(
            RemoteFile(
                path,
                None,
                f"{endpoint}/download?id={number}&export=download&confirm=t",
                (("md5", md5),) if md5 else (),
            )
            for path, number, md5 in files
        )
        super().__init__(web, listed, {404: missing})


def endpoints() -> list[str]:
    """The hosts that the environment puts in place of the public ones, as ``host`` or ``host:port``."""
    given = (os.environ.get(name) for name in ("HF_ENDPOINT", "KAGGLE_ENDPOINT", "GOOGLE_DRIVE_ENDPOINT"))
    return [urlsplit(url).netloc for url in given if url and urlsplit(url).netloc]
