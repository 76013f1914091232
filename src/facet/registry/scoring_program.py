"""The program behind `facet serve`: MLflow's scoring server with one registered model, and a guard before it.

MLflow drops attributes and params it doesn't know with a warning that no client sees, reads bodies of any size, and
wraps its base64 into lines. The guard reads the request instead, answers what is wrong with it, and hands MLflow one
that is right. It imports nothing of facet by name: the model draws with the copy of facet that it was registered with.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

# On two cores about a second of drawing at the defaults, and half a minute at the most steps.
MOST_FACES, MOST_STEPS, MOST_GUIDANCE = 64, 200, 30.0
# JSON numbers are doubles to many clients; up to here they are exact.
MOST_SEED = 2**53 - 1
# A photo of 4 MiB, the most that the model takes, its mask, and base64's third.
MOST_BYTES = 8 << 20
# A longer body is read to its end, so that the client gets to read the answer, but not without end.
_MOST_DRAINED = 64 << 20
# Requests that wait for their turn; more are answered with 503.
MOST_WAITING = 32

_ROUTE = "/invocations"
_FORMATS = ("dataframe_records", "dataframe_split", "instances", "inputs")
_BOUNDS: dict[str, tuple[type, float, float]] = {
    "seed": (int, 0, MOST_SEED),
    "steps": (int, 1, MOST_STEPS),
    "guidance": (float, 0, MOST_GUIDANCE),
    "strength": (float, 0, 1),
}
_SHAPE = 'expected {"dataframe_records": [{"Attribute": 1}, …], "params": {"seed": 0}}'


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a request to the model may name: attributes, columns of text (prompts, and pictures as base64), params of
    numbers and those of text."""

    attributes: tuple[str, ...]
    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    words: tuple[str, ...]


class Refused(Exception):
    """The request is wrong; ``str()`` says why."""

    def __init__(self, reason: str, status: int = 400):
        super().__init__(reason)
        self.status = status


# --- what a request says ----------------------------------------------------------------------------------------------


def read_request(body: bytes, signature: Signature) -> dict[str, Any]:
    """The request as MLflow is to see it: one record a face that names every attribute and each text that any of them
    has, and the params given.

    Raises Refused where it isn't a request for 1 to MOST_FACES faces with this ``signature``.
    """
    given = _parse(body)
    formats = [name for name in _FORMATS if name in given]
    if len(formats) != 1:
        found = " and ".join(formats) or f"none among {', '.join(map(repr, given)) or 'no keys'}"
        raise Refused(f"the request has {found}, expected exactly one of {', '.join(_FORMATS)}.")
    for key in given:
        if key not in (*_FORMATS, "params"):
            raise Refused(f"unknown key {key!r} beside {formats[0]}: {_SHAPE}.")
    rows = _rows(formats[0], given[formats[0]])
    if not rows:
        raise Refused(f"{formats[0]} has no row: give one a face, {{}} for a face with nothing asked.")
    if len(rows) > MOST_FACES:
        raise Refused(f"{len(rows)} faces in one request, at most {MOST_FACES}: ask in several, with seeds that go on.")
    for number, row in enumerate(rows):
        _check_row(number, row, signature)
    texts = [name for name in signature.texts if any(row.get(name) for row in rows)]
    return {
        "dataframe_records": [
            {name: int(row.get(name) or 0) for name in signature.attributes} | {name: row.get(name) for name in texts}
            for row in rows
        ],
        "params": _params(given.get("params"), signature),
    }


def _parse(body: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise Refused(f"{constant} is no JSON: {_SHAPE}.")

    if not body.strip():
        raise Refused(f"the request is empty: {_SHAPE}.")
    try:
        given = json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the request is no JSON ({str(error)[:100]}): {_SHAPE}.") from None
    if not isinstance(given, dict):
        raise Refused(f"the request is {_kind(given)}: {_SHAPE}.")
    return given


def _rows(name: str, given: Any) -> list[Mapping[str, Any]]:
    """The rows of any of MLflow's four ways to write a table in JSON."""
    if name == "dataframe_split":
        return _split_rows(given)
    if name == "inputs" and isinstance(given, dict):  # columns
        lengths = {len(column) if isinstance(column, list) else -1 for column in given.values()}
        if len(lengths) != 1 or -1 in lengths:
            raise Refused("inputs holds columns that are no lists of one length: give a value a face.")
        return [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
    if not isinstance(given, list):
        raise Refused(f"{name} is {_kind(given)}, expected a list of rows: {_SHAPE}.")
    for number, row in enumerate(given[: MOST_FACES + 1]):
        if not isinstance(row, dict):
            raise Refused(f"row {number} is {_kind(row)}, expected attributes and values: {_SHAPE}.")
    return given


def _split_rows(given: Any) -> list[Mapping[str, Any]]:
    shape = 'expected {"columns": ["Attribute", …], "data": [[1, …], …]}'
    if not isinstance(given, dict) or not all(isinstance(given.get(key), list) for key in ("columns", "data")):
        raise Refused(f"dataframe_split has no lists columns and data: {shape}.")
    if unknown := set(given) - {"columns", "data", "index"}:
        raise Refused(f"unknown key {min(unknown)!r} in dataframe_split: {shape}.")
    columns = given["columns"]
    if not all(isinstance(name, str) for name in columns) or len(set(columns)) < len(columns):
        raise Refused("dataframe_split's columns are no list of different names: name each attribute once.")
    for number, row in enumerate(given["data"][: MOST_FACES + 1]):
        if not isinstance(row, list) or len(row) != len(columns):
            raise Refused(f"row {number} of dataframe_split has not {len(columns)} values, one a column: {shape}.")
    return [dict(zip(columns, row, strict=False)) for row in given["data"]]


def _check_row(number: int, row: Mapping[str, Any], signature: Signature) -> None:
    known = (*signature.attributes, *signature.texts)
    for name, value in row.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3) or known
            raise Refused(f"row {number}: the model knows no attribute {name!r}; it knows {', '.join(close)}.")
        if name in signature.texts:
            if not isinstance(value, (str, type(None))):
                raise Refused(f"row {number}, {name}: {_shown(value)}, expected text.")
        elif value is not None and (not _is_number(value) or value not in (-1, 0, 1)):
            raise Refused(
                f"row {number}, attribute {name}: {_shown(value)}, expected -1 (absent), 0 (open) or 1 (present)."
            )


def _params(given: Any, signature: Signature) -> dict[str, float | str]:
    known = (*signature.numbers, *signature.words)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Refused(f"params is {_kind(given)}, expected names and values of {', '.join(known)}.")
    return {name: _param(name, value, signature) for name, value in given.items()}


def _param(name: str, value: Any, signature: Signature) -> float | str:
    if name in signature.words:
        if not isinstance(value, str):
            raise Refused(f"{name} is {_shown(value)}, expected text.")
        return value
    if name not in signature.numbers:
        raise Refused(f"unknown param {name!r}, expected {', '.join((*signature.numbers, *signature.words))}.")
    kind, low, high = _BOUNDS.get(name, (float, -math.inf, math.inf))
    if not _is_number(value) or not low <= value <= high or kind(value) != value:
        what = "a whole number" if kind is int else "a number"
        raise Refused(f"{name} is {_shown(value)}, expected {what} from {low:.16g} to {high:.16g}.")
    return kind(value)


def _is_number(value: Any) -> bool:
    """Whether it is a JSON number; a boolean would mean "absent" to some and "not asked for" to others."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    """``value`` as it was sent, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:40] + "…"


# --- the guard --------------------------------------------------------------------------------------------------------


class Guard:
    """An ASGI application before MLflow's: refuses what is wrong, passes on what is right, unwraps the answer."""

    def __init__(self, app: Callable[..., Awaitable[None]], signature: Signature):
        self.app, self.signature = app, signature
        self._inside = 0

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http" or scope["path"] != _ROUTE or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            _check_type(dict(scope["headers"]))
            given = read_request(await _read_body(receive), self.signature)
        except Refused as refused:
            await _refuse(send, refused)
            return
        if self._inside >= MOST_WAITING:  # nothing else runs between this line and the next
            await _refuse(send, Refused(f"{self._inside} requests wait already: try again in a few seconds.", 503))
            return
        self._inside += 1
        try:
            await self._pass_on(scope, json.dumps(given).encode(), receive, send)
        finally:
            self._inside -= 1

    async def _pass_on(self, scope: dict, body: bytes, receive: Callable, send: Callable) -> None:
        waiting = [{"type": "http.request", "body": body, "more_body": False}]
        parts: list[bytes] = []
        status = 500

        async def give() -> dict:
            return waiting.pop() if waiting else await receive()

        async def take(message: dict) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.app({**scope, "headers": headers}, give, take)
        await _send(send, status, _plain(status, b"".join(parts)))


def _plain(status: int, answer: bytes) -> bytes:
    """MLflow's answer without its line breaks in base64, and without the request that it quotes before an error."""
    if status == 200:  # there is no other backslash in an answer of pictures
        return answer.replace(b"\\n", b"")
    try:
        told = json.loads(answer)
        content = {"error_code": told["error_code"], "message": told["message"].rpartition("\nError: ")[2]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer
    return json.dumps(content, ensure_ascii=False).encode()


def _check_type(headers: Mapping[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"").decode("latin-1")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Refused(f"the content type is {kind or 'not given'!r}, expected application/json.", 415)


async def _read_body(receive: Callable) -> bytes:
    """The body, of which no more than MOST_BYTES are kept."""
    parts, size, more = [], 0, True
    while more and size <= _MOST_DRAINED:
        message = await receive()
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= MOST_BYTES:
            parts.append(part)
    if size > MOST_BYTES:
        raise Refused(
            f"the request is larger than {MOST_BYTES:,} bytes: at most {MOST_FACES} faces, and smaller photos.",
            413,
        )
    return b"".join(parts)


async def _refuse(send: Callable, refused: Refused) -> None:
    words = {413: "REQUEST_TOO_LARGE", 503: "TEMPORARILY_UNAVAILABLE"}
    content = {"error_code": words.get(refused.status, "INVALID_PARAMETER_VALUE"), "message": str(refused)}
    await _send(send, refused.status, json.dumps(content, ensure_ascii=False).encode())


async def _send(send: Callable, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# --- the server -------------------------------------------------------------------------------------------------------


def _signature_of(about: Any) -> Signature:
    """From MLflow's description of the model: its columns of any type are attributes, the others text."""
    from mlflow.types import DataType

    columns, params = about.get_input_schema().inputs, about.get_params_schema().params
    return Signature(
        attributes=tuple(column.name for column in columns if column.type != DataType.string),
        texts=tuple(column.name for column in columns if column.type == DataType.string),
        numbers=tuple(param.name for param in params if param.dtype != DataType.string),
        words=tuple(param.name for param in params if param.dtype == DataType.string),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve one registered model; facet serve starts this.")
    parser.add_argument("model", help="MLflow's URI of the model version")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    arguments = parser.parse_args()
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    import torch
    import uvicorn
    from mlflow.pyfunc import load_model, scoring_server

    # As `facet generate` does: the last bits of a picture depend on how many threads share the work.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = load_model(arguments.model)
    app = Guard(scoring_server.init(model), _signature_of(model.metadata))
    uvicorn.run(app, host=arguments.host, port=arguments.port, timeout_graceful_shutdown=10)


if __name__ == "__main__":
    main()
