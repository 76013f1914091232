"""`facet serve` as a real process over HTTP: pictures that are the pipeline's own, and a reason for every refusal."""

import asyncio
import base64
import concurrent.futures
import http.client
import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facet.diffusion.saving import save_pipeline
from facet.errors import RegistryError
from facet.registry.mlflow_registry import Bundle, register
from facet.registry.scoring_program import MOST_BYTES, MOST_FACES, MOST_WAITING, Guard, Refused, Signature, read_request
from facet.registry.serving import resolve
from facet.tracking.mlflow_mirror import connect, experiment_id
from tests import tiny
from tests.deploy.processes import answers, free_port, running

# MLflow, diffusers and the libraries below them warn of their own doings.
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ("Smiling", "Male")
SIGNATURE = Signature(
    NAMES, ("prompt", "negative_prompt", "image", "mask"), ("seed", "steps", "guidance", "strength"), ("sampler",)
)


@pytest.fixture(scope="module")
def pipeline():
    return tiny.pipeline()


@pytest.fixture(scope="module")
def registry(pipeline, tmp_path_factory) -> str:
    """The URI of a store in which version 1 of `faces` is in staging, and `bare` has no alias."""
    root = tmp_path_factory.mktemp("registry")
    save_pipeline(pipeline, root / "pipeline")
    uri = f"sqlite:///{root}/mlflow.db"
    client = connect(uri)
    experiment = experiment_id(client, "facet", root)
    run = client.create_run(experiment).info.run_id
    register(client, experiment, run, "faces", Bundle.of(pipeline, root / "pipeline", {}), {})
    client.set_registered_model_alias("faces", "staging", "1")
    client.create_registered_model("bare")
    return uri


@pytest.fixture
def here(registry, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)


@pytest.fixture(scope="module")
def server(registry, tmp_path_factory):
    """`facet serve`, answering; its port and its log."""
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-c", "from facet.cli import main; main()", "serve", "--name", "faces"]
    env = tiny.child_environment(MLFLOW_TRACKING_URI=registry)
    command += ["--alias", "Staging", "--port", str(port)]
    with running(command, lambda: answers(f"http://127.0.0.1:{port}/ping"), log, env=env):
        yield port, log


def ask(port: int, body, kind: str | None = "application/json") -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", "/invocations", payload, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(answer.read())


def pictures(port: int, body) -> list[np.ndarray]:
    status, answer = ask(port, body)
    assert status == 200, answer
    drawn = [row["png"] for row in answer["predictions"]]
    assert not any(set(text) & set("\n\r ") for text in drawn)  # one line, for every decoder
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text, validate=True)))) for text in drawn]


def test_every_way_to_ask_gives_the_pipelines_own_pictures(server, pipeline):
    port, _ = server
    expected = pipeline(attributes="Smiling,-Male", seeds=[7, 8], output_type="np").images
    rows = [{"Smiling": 1, "Male": -1}, {"Male": -1, "Smiling": 1}]
    split = {"columns": ["Smiling", "Male"], "data": [[1, -1], [1, -1]]}
    columns = {"Smiling": [1, 1], "Male": [-1, -1.0]}
    for body in ({"dataframe_records": rows}, {"dataframe_split": split}, {"instances": rows}, {"inputs": columns}):
        np.testing.assert_array_equal(pictures(port, body | {"params": {"seed": 7}}), expected)
    with concurrent.futures.ThreadPoolExecutor(4) as clients:  # at once, they still get their own
        body = {"dataframe_records": rows[:1]}
        asked = clients.map(lambda seed: pictures(port, body | {"params": {"seed": seed}})[0], (7, 8, 7, 8))
        np.testing.assert_array_equal(list(asked), [*expected, *expected])


def test_params_and_open_attributes(server, pipeline):
    port, _ = server
    given = {"seed": 3, "steps": 2, "guidance": 1}
    expected = pipeline("", seeds=[3], steps=2, guidance_scale=1.0, output_type="np").images
    for row in ({}, {"Smiling": None}, {"Smiling": 0}):
        np.testing.assert_array_equal(pictures(port, {"dataframe_records": [row], "params": given}), expected)


def test_sentences_photos_and_masks_side_by_side(server, pipeline):
    port, _ = server
    said, photo, mask = "a smiling man", Image.fromarray(photograph()), Image.fromarray(painted())
    rows = [
        {"prompt": said, "negative_prompt": "a hat", "Male": 1},
        {"image": as_png(photo), "mask": as_png(mask), "prompt": said},
        {"image": as_png(photo), "mask": as_png(mask), "Smiling": -1},
        {"Smiling": 1},
    ]
    drawn = pictures(port, {"dataframe_records": rows, "params": {"seed": 3, "sampler": "euler"}})
    alone = {"sampler": "euler", "output_type": "np"}
    given = {"image": photo, "mask": mask}
    expected = [
        pipeline(said, "Male", "a hat", seeds=[3], **alone).images[0],
        pipeline(said, seeds=[4], **given, **alone).images[0],
        pipeline(attributes="-Smiling", seeds=[5], **given, **alone).images[0],
        pipeline(attributes="Smiling", seeds=[6], **alone).images[0],
    ]
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(drawn[1][~painted()], photograph()[~painted()])  # what the mask keeps comes back
    (changed,) = pictures(port, {"inputs": {"image": [as_png(photo)]}, "params": {"strength": 0.5}})
    np.testing.assert_array_equal(changed, pipeline(image=photo, strength=0.5, output_type="np").images[0])


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (tiny.SIZE, tiny.SIZE, 3), np.uint8)


def painted() -> np.ndarray:
    mask = np.zeros((tiny.SIZE, tiny.SIZE), bool)
    mask[:12] = True
    return mask


def as_png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


ONE = [{"Smiling": 1}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the request is empty"),
        (b"   ", "the request is empty"),
        (b'{"dataframe_records": [', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"dataframe_records": [{"Smiling": NaN}]}', "NaN is no JSON"),
        (b"[]", "the request is a list"),
        ({}, "none among no keys"),
        ({"data": ONE}, "none among 'data'"),
        ({"dataframe_records": ONE, "inputs": ONE}, "dataframe_records and inputs"),
        ({"dataframe_records": ONE, "parms": {}}, "unknown key 'parms'"),
        ({"dataframe_records": []}, "has no row"),
        ({"dataframe_records": {}}, "is an object, expected a list of rows"),
        ({"dataframe_records": [3]}, "row 0 is a number"),
        ({"inputs": {"Smiling": [1], "Male": []}}, "no lists of one length"),
        ({"inputs": {}}, "no lists of one length"),
        ({"dataframe_split": 3}, "no lists columns and data"),
        ({"dataframe_split": {"columns": ["Smiling"], "data": [[1, 2]]}}, "has not 1 values"),
        ({"dataframe_split": {"columns": ["Male", "Male"], "data": [[1, 1]]}}, "different names"),
        ({"dataframe_split": {"columns": ["Male"], "data": [[1]], "idx": []}}, "unknown key 'idx'"),
        ({"dataframe_records": [{"Smilling": 1, "Male": 1}]}, "no attribute 'Smilling'; it knows Smiling."),
        ({"dataframe_records": [{"Hat": 1}]}, "no attribute 'Hat'; it knows Smiling, Male, prompt, "),
        ({"dataframe_records": [{}, {"Male": 2}]}, "row 1, attribute Male: 2, expected -1"),
        ({"dataframe_records": [{"Male": True}]}, "attribute Male: true"),
        ({"dataframe_records": [{"Male": "yes"}]}, 'attribute Male: "yes"'),
        ({"dataframe_records": [{"Male": [1]}]}, "attribute Male: [1]"),
        ({"dataframe_records": [{"Male": 0.5}]}, "attribute Male: 0.5"),
        ({"dataframe_records": [{"prompt": 3}]}, "row 0, prompt: 3, expected text"),
        ({"dataframe_records": [{"image": [1, 2]}]}, "row 0, image: [1, 2], expected text"),
        ({"dataframe_records": [{"promt": "a man"}]}, "no attribute 'promt'; it knows prompt"),
        ({"dataframe_records": ONE, "params": {"sampler": 3}}, "sampler is 3, expected text"),
        ({"dataframe_records": ONE, "params": {"strength": 1.5}}, "strength is 1.5, expected a number from 0 to 1"),
        ({"dataframe_records": ONE * (MOST_FACES + 1)}, f"at most {MOST_FACES}"),
        ({"dataframe_records": ONE, "params": 3}, "params is a number"),
        (
            {"dataframe_records": ONE, "params": {"sed": 1}},
            "unknown param 'sed', expected seed, steps, ",
        ),
        ({"dataframe_records": ONE, "params": {"steps": 0}}, "steps is 0, expected a whole number from 1 to 200"),
        ({"dataframe_records": ONE, "params": {"steps": 10**6}}, "steps is 1000000"),
        ({"dataframe_records": ONE, "params": {"steps": 2.5}}, "steps is 2.5"),
        ({"dataframe_records": ONE, "params": {"steps": None}}, "steps is null"),
        ({"dataframe_records": ONE, "params": {"seed": -1}}, "seed is -1"),
        ({"dataframe_records": ONE, "params": {"seed": 2**53}}, "seed is 9007199254740992"),
        ({"dataframe_records": ONE, "params": {"seed": "7"}}, 'seed is "7"'),
        (b'{"dataframe_records": [{}], "params": {"guidance": 1e999}}', "guidance is Infinity"),
        ({"dataframe_records": ONE, "params": {"guidance": 31}}, "expected a number from 0 to 30"),
        (b'{"dataframe_records": [{}], "params": {"seed": ' + b"9" * 5000 + b"}}", "no JSON"),
    ],
)
def test_a_wrong_request_is_one_reason(body, reason):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as raised:
        read_request(payload, SIGNATURE)
    said = str(raised.value)
    assert reason in said
    assert raised.value.status == 400
    assert "\n" not in said
    assert said.endswith(".")


def test_refusals_over_http_are_4xx_with_the_reason(server):
    port, log = server
    asked = [
        ({"dataframe_records": [{"Smilling": 1}]}, 400, "knows no attribute 'Smilling'"),
        ({"dataframe_records": [{"Smiling": 2}]}, 400, "expected -1 (absent)"),
        ({"dataframe_records": ONE, "params": {"sed": 1}}, 400, "unknown param 'sed'"),
        ({"dataframe_records": ONE, "params": {"steps": 0}}, 400, "steps is 0"),
        (
            {"dataframe_records": [{"Black_Hair": 1, "Blond_Hair": 1}]},
            400,
            "no face has Black_Hair and",
        ),
        ({"dataframe_records": [{"image": "cGhvdG8="}]}, 400, "row 0, image: no picture"),
        ({"dataframe_records": ONE, "params": {"sampler": "ddim"}}, 400, "sampler 'ddim' does not fit"),
        ({"dataframe_records": ONE, "params": {"strength": 0.5}}, 400, "no row has an image"),
        (b"{", 400, "no JSON"),
        (b"", 400, "empty"),
        ({"dataframe_split": {"columns": ["Smiling"], "data": [[1]] * 3 * 10**6}}, 413, "at most 64 faces"),
        (b" " * (MOST_BYTES + 1), 413, f"larger than {MOST_BYTES:,} bytes"),
    ]
    for body, expected, reason in asked:
        status, answer = ask(port, body)
        assert (status, reason in answer["message"]) == (expected, True), answer
        assert set(answer) == {"error_code", "message"}
        assert "\n" not in answer["message"]  # MLflow quotes the request before the reason
    for kind in (None, "text/csv", "application/jsonp"):
        assert ask(port, {"dataframe_records": ONE}, kind)[0] == 415
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/invocations")
    assert connection.getresponse().status == 405
    said = log.read_text()
    assert "Traceback" not in said
    assert " 500 " not in said
    assert pictures(port, {"dataframe_records": ONE})  # and it goes on


def test_who_comes_when_many_wait_is_told_so():
    body, answered, may_go = json.dumps({"dataframe_records": ONE}).encode(), [], asyncio.Event()
    scope = {
        "type": "http",
        "path": "/invocations",
        "method": "POST",
        "headers": [(b"content-type", b"application/json")],
    }

    async def slow(scope, receive, send):
        await may_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        if "status" in message:
            answered.append(message["status"])

    async def ask_all(guard, count):
        asked = [asyncio.create_task(guard(scope, receive, send)) for _ in range(count)]
        while len(answered) < count - MOST_WAITING:
            await asyncio.sleep(0)
        may_go.set()
        await asyncio.gather(*asked)

    guard = Guard(slow, SIGNATURE)
    asyncio.run(ask_all(guard, MOST_WAITING + 3))
    assert answered == [503] * 3 + [200] * MOST_WAITING
    asyncio.run(ask_all(guard, 1))  # they are gone, there is room
    assert answered[-1] == 200


@pytest.mark.parametrize(
    ("name", "alias", "says"),
    [
        ("faces", "production", "only staging (version 1): `facet promote latest --to production`"),
        ("faces", "stagin", "did you mean staging?"),
        ("bare", "staging", "nor any other"),
        ("nobody", "staging", "has no model 'nobody'"),
        ("faces", "v1", "MLflow's own"),
    ],
)
def test_no_such_alias_is_one_sentence(here, name, alias, says):
    with pytest.raises(RegistryError) as raised:
        resolve(name, alias, "127.0.0.1", free_port())
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_taken_port_and_a_foreign_host_are_one_sentence(here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RegistryError, match="Address already in use"):
            resolve("faces", "staging", "127.0.0.1", taken.getsockname()[1])
    with pytest.raises(RegistryError, match=r"can't listen on 203\.0\.113\.1"):
        resolve("faces", "staging", "203.0.113.1", free_port())


def test_the_program_imports_nothing_of_this_facet():
    code = Path(read_request.__code__.co_filename)
    listed = f"import runpy, sys; runpy.run_path({str(code)!r}); print([n for n in sys.modules if 'facet' in n])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", listed], env=tiny.child_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
