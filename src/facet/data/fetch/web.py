"""One request over http, followed by hand from host to host, each of which is checked first."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from facet.data.fetch.addresses import Guard
from facet.data.fetch.limits import ChangedError, HostError, InterruptedTransferError, Limits, Patience
from facet.errors import FacetError, ParamsError

_REDIRECTS = {301, 302, 303, 307, 308}
_LATER = {408, 425, 429}
_AGENT = "facet"


class Web:
    """Requests within ``limits``, to hosts that ``guard`` lets through. May be used by several threads."""

    def __init__(self, guard: Guard, limits: Limits):
        self.guard, self.limits = guard, limits
        self._authorizations: dict[tuple[str, str], str] = {}
        self._session = _Session()
        # No ~/.netrc, which would hand passwords to whichever host is named there; proxies and CAs are read below.
        self._session.trust_env = False
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _CheckedAdapter(guard, pool_maxsize=4 * limits.at_once))

    def authorize(self, url: str, value: str) -> None:
        """Send ``value`` as Authorization to the host of ``url``, and to no other."""
        parts = urlsplit(url)
        self._authorizations[parts.scheme, parts.netloc.lower()] = value

    @contextlib.contextmanager
    def open(self, url: str, headers: Mapping[str, str], hints: Mapping[int, str]) -> Iterator[requests.Response]:
        """The answer to a GET, 200 or 206, at the end of all redirects; its body is yet to be read.

        Raises InterruptedTransferError where another try may help, and FacetError with ``hints`` of that status, or a
        general sentence, where none will.
        """
        first = urlsplit(url)
        for _ in range(self.limits.redirects + 1):
            parts = self._checked(url, first)
            response = self._get(url, parts, headers)
            with response:
                if response.status_code in _REDIRECTS and "Location" in response.headers:
                    url = _joined(url, response.headers["Location"])
                    continue
                _check_status(response, parts, hints)
                yield response
                return
        raise HostError(
            f"{first.hostname} redirects more than {self.limits.redirects} times: check the address, or use another "
            "mirror"
        )

    def json(self, url: str, hints: Mapping[int, str]) -> tuple[Any, str | None]:
        """What an API answers, and the address of its next page. Tried again like any other transfer."""
        host = urlsplit(url).hostname
        patience = Patience(self.limits, str(host))
        while True:
            try:
                with self.open(url, {"Accept": "application/json"}, hints) as response:
                    body = b"".join(self._answer(response, str(host)))
                    following = response.links.get("next", {}).get("url")
                    return json.loads(body), following and _joined(url, following)
            except InterruptedTransferError as error:
                patience.failed(error)
            except ValueError as error:
                raise HostError(f"{host} answers with something other than JSON: check the address {url}") from error

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body as it arrives. Raises InterruptedTransferError where it is cut off or stands still."""
        since, arrived = time.monotonic(), 0
        with _interruptions("cut the connection"):
            while chunk := response.raw.read1(1 << 18, decode_content=False):
                yield chunk
                arrived += len(chunk)
                if time.monotonic() - since > self.limits.stall_s:
                    if arrived < self.limits.slowest:
                        raise InterruptedTransferError(
                            f"sends fewer than {self.limits.slowest} bytes in {self.limits.stall_s:g} seconds"
                        )
                    since, arrived = time.monotonic(), 0

    def _answer(self, response: requests.Response, host: str) -> Iterator[bytes]:
        total = 0
        for chunk in self.chunks(response):
            total += len(chunk)
            if total > self.limits.most_answer:
                raise HostError(f"{host} answers with more than {self.limits.most_answer:,} bytes: use another mirror")
            yield chunk

    def _checked(self, url: str, first: SplitResult) -> SplitResult:
        """The parts of an address that may be asked."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise ParamsError(f"the address {url!r} can't be read ({error}): check it") from error
        if not parts.hostname or parts.scheme not in ("https", "http"):
            raise HostError(f"{first.hostname} leads to {url[:200]!r}, which is no https address: use another mirror")
        if parts.username is not None:
            raise ParamsError(f"the address of {parts.hostname} holds a name or password: leave it out of the address")
        if parts.scheme == "http" and not (first.scheme == "http" and self.guard.trusts(parts.hostname, port)):
            raise HostError(
                f"{parts.hostname} is asked over http, which anybody on the way can change: use https, or add "
                f"--allow-private {parts.hostname} if it is a machine of yours"
            )
        self.guard.check_name(parts.hostname, port, look_up=not self._proxies(url, parts.hostname))
        return parts

    def _get(self, url: str, parts: SplitResult, headers: Mapping[str, str]) -> requests.Response:
        sent = {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"} | dict(headers)
        known = self._authorizations.get((parts.scheme, parts.netloc.lower()))
        with _interruptions("does not answer"):
            return self._session.get(
                url,
                headers=sent | ({"Authorization": known} if known else {}),
                stream=True,
                allow_redirects=False,
                timeout=(self.limits.connect_s, self.limits.stall_s),
                proxies=self._proxies(url, str(parts.hostname)),
                verify=os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True,
            )

    def _proxies(self, url: str, host: str) -> dict[str, str]:
        """The proxies that the environment names for ``url``; none for this machine itself."""
        if host in ("localhost", "127.0.0.1", "::1"):
            return {}
        return requests.utils.get_environ_proxies(url, no_proxy=None)


class _Session(requests.Session):
    """Sees no redirect: requests would read the whole body of one, and its address, before anybody has checked it."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _CheckedAdapter(HTTPAdapter):
    """Connects, and looks at whom it reached before a byte is sent. What a proxy reaches is the proxy's to judge."""

    def __init__(self, guard: Guard, **settings: Any):
        self._guard = guard
        super().__init__(**settings)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool(urllib3.HTTPConnectionPool, HTTPConnection, self._guard),
            "https": _pool(urllib3.HTTPSConnectionPool, HTTPSConnection, self._guard),
        }


def _pool(pool: Any, connection: Any, guard: Guard) -> Any:
    class Checked(connection):
        def _new_conn(self) -> Any:
            sock = super()._new_conn()
            try:
                guard.check_peer(self.host, self.port, sock.getpeername()[0])
            except BaseException:
                sock.close()
                raise
            return sock

    return type("CheckedPool", (pool,), {"ConnectionCls": Checked})


@contextlib.contextmanager
def _interruptions(what: str) -> Iterator[None]:
    """What requests and urllib3 raise for a network that fails, as InterruptedTransferError."""
    try:
        yield
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise FacetError(
            f"the certificate can't be trusted ({error}): set REQUESTS_CA_BUNDLE to the CA of your network"
        ) from error
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as error:
        raise InterruptedTransferError("stands still") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise InterruptedTransferError(what) from error


def _check_status(response: requests.Response, parts: SplitResult, hints: Mapping[int, str]) -> None:
    status = response.status_code
    if status in (200, 206):
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise HostError(
                f"{parts.hostname} packs what it sends ({encoding}) though asked not to: use another mirror"
            )
        return
    if status in hints:
        raise HostError(hints[status])
    if status == 416:
        raise ChangedError(f"{parts.hostname} has no such part of the file")
    if status in _LATER or status >= 500:
        raise InterruptedTransferError(
            f"{parts.hostname} answers {status} {response.reason}", _seconds(response.headers.get("Retry-After"))
        )
    raise HostError(
        f"{parts.hostname} answers {status} {response.reason} for {parts.path}: check the address and your credentials"
    )


def _joined(url: str, following: str) -> str:
    try:
        return urljoin(url, following)
    except ValueError as error:
        raise HostError(f"{urlsplit(url).hostname} leads to an address that can't be read: use another one") from error


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After, which is a number of seconds or a date, in seconds from now."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    # Without a zone it is Greenwich's.
    date = date.replace(tzinfo=date.tzinfo or datetime.UTC)
    return max(0.0, (date - datetime.datetime.now(datetime.UTC)).total_seconds())
