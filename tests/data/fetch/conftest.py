"""A loopback host for each test, limits that don't make it wait, and an environment that names no other host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facet.data.fetch.fetching import Fetched, Options, fetch
from facet.data.fetch.limits import Limits
from tests.data.fetch.host import Host, hosting

QUICK = Limits(
    connect_s=5.0, stall_s=5.0, tries=4, first_wait_s=0.01, longest_wait_s=2.0, piece=1 << 16, at_once=3, spare=1 << 20
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    # Nobody listens there.
    for name in ("HF_ENDPOINT", "KAGGLE_ENDPOINT", "GOOGLE_DRIVE_ENDPOINT"):
        monkeypatch.setenv(name, "https://127.0.0.1:9")
    for name in ("HF_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "FACET_MIRROR", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Host]:
    with hosting() as running:
        yield running


@pytest.fixture
def take(host, tmp_path) -> Callable[..., Fetched]:
    """`facet fetch` of an address, or of a path at the host, into ``tmp_path / "set"``."""

    def call(given: str, target: Path | None = None, limits: Limits = QUICK, **options) -> Fetched:
        given = host.url + given if given.startswith("/") and not Path(given).exists() else given
        allowed = options.pop("allow_private", (host.name,))
        return fetch(given, target or tmp_path / "set", Options(allow_private=allowed, limits=limits, **options))

    return call
