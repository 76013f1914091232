"""A web page where a file was expected: hosts answer 200 and a page when a quota is used up or a log-in is missing."""

from __future__ import annotations

from facet.data.fetch.limits import HostError
from facet.errors import FacetError, UnreachableError

# Read of a page, bytes: enough for its message.
MOST = 64 * 1024
_STARTS = (b"<!doctype html", b"<html")
_PAGES = (".html", ".htm", ".xhtml")


def is_page(name: str, content_type: str, start: bytes) -> bool:
    """Whether what begins with ``start`` is a web page although the file ``name`` was wanted."""
    if name.lower().endswith(_PAGES):
        return False
    if content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        return True
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:20].lower()
    return not name.lower().endswith(".md") and text.startswith(_STARTS)


def explain(name: str, host: str, page: bytes) -> FacetError:
    """The sentence for the page that ``host`` sent in place of the file ``name``."""
    text = page.decode("utf-8", "replace").lower()
    if "quota" in text or "too many users have viewed" in text:
        return UnreachableError(
            f"{host} sends a page in place of {name}: too many people fetched it and its quota is used up; run the "
            "same command tomorrow, or use another mirror (--mirror URL)"
        )
    if "virus" in text:
        return HostError(
            f"{host} sends a page in place of {name}: it asks to confirm a file too large for its virus scan; fetch "
            "that file in a browser and give its folder as the source, or use another mirror (--mirror URL)"
        )
    if any(word in text for word in ("sign in", "log in", "login", "signin", "password")):
        return HostError(
            f"{host} sends a log-in page in place of {name}: it needs credentials, which are taken from the "
            "environment (docs/fetching.md), or use another mirror (--mirror URL)"
        )
    return HostError(
        f"{host} sends a web page in place of {name}: check the address in a browser, or use another mirror (--mirror "
        "URL)"
    )
