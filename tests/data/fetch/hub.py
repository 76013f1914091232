"""Hugging Face's protocol on a loopback host, as far as a fetch speaks it."""

from __future__ import annotations

import json
from typing import Any

from tests.data.fetch.host import Asked, File, Host, git_id, sha256

COMMIT, NEXT = "a" * 40, "b" * 40
# The hub keeps files above some size, and all of some kinds, outside git.
_LARGE = (".parquet", ".zip", ".tgz")


class Hub:
    """The data set ``name`` at ``host``, at revision main; ``put`` gives it files, ``entries`` are what it tells."""

    def __init__(self, host: Host, name: str = "team/faces", page: int = 2):
        self.host, self.name, self._page = host, name, page
        self.token: str | None = None
        self.entries: list[dict[str, Any]] = []

    def put(self, files: dict[str, bytes], commit: str = COMMIT) -> None:
        """Move main on to ``commit`` with these files."""
        self.entries = [self.entry(path, body) for path, body in files.items()]
        api = f"/api/datasets/{self.name}"
        for revision in ("main", commit):
            self.host.answers[f"{api}/revision/{revision}"] = lambda asked: self._say(asked, {"sha": commit})
        self.host.answers[f"{api}/tree/{commit}"] = self._tree
        for path, body in files.items():
            self.host.answers[f"/datasets/{self.name}/resolve/{commit}/{path}"] = File(body, f'"{sha256(body)}"')

    def entry(self, path: str, body: bytes) -> dict[str, Any]:
        plain = {"type": "file", "path": path, "size": len(body), "oid": git_id(body)}
        if path.endswith(_LARGE):
            return plain | {"lfs": {"oid": sha256(body), "size": len(body), "pointerSize": 130}}
        return plain

    def _tree(self, asked: Asked) -> None:
        begin = int(asked.path.partition("cursor=")[2] or 0)
        end = begin + self._page
        path = asked.path.partition("?")[0]
        following = {"Link": f'<{self.host.url}{path}?recursive=true&cursor={end}>; rel="next"'}
        self._say(asked, self.entries[begin:end], **(following if end < len(self.entries) else {}))

    def _say(self, asked: Asked, content: Any, **headers: str) -> None:
        if self.token and asked.headers.get("Authorization") != f"Bearer {self.token}":
            asked.say(401)
        else:
            asked.say(200, json.dumps(content).encode(), Content_Type="application/json", **headers)
