"""The model card: what the model is, may be used for, can't do and scores, as Markdown made from records.

Every number comes from a metrics file and stands beside its protocol; every sentence that only a person can write
comes from params.yaml.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from facet.artifacts import flatten

# The parts without which a card helps nobody; Balance may still be unmeasured.
REQUIRED = ("Intended use", "Limits", "Data", "Attributes", "Scores", "Licence", "How it was made", "Lineage")
_NEVER_SCORED = "This model was never scored."
_NOT_RECORDED = "Not recorded."


@dataclasses.dataclass(frozen=True)
class CardParams:
    """What a person has to say about the model."""

    # The data set's name and origin, in a sentence.
    data: str
    # Under which terms the data, and so whatever is learned from it, may be used.
    data_licence: str
    # Under which terms the weights are given on.
    model_licence: str
    # What the model is meant for.
    intended_use: str
    # What it must not be used for, and what it can't do; a line each.
    limits: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name):
                raise ValueError(f"{field.name} is empty: say it, a model card without it helps nobody")


@dataclasses.dataclass(frozen=True)
class CardFacts:
    """What the records say. ``faces`` is faces.json, ``evaluation`` metrics/evaluate.json (empty where never scored),
    ``params`` the flat params by step, ``lineage`` what `facet.registry.lineage.collect` found."""

    name: str
    digest: str
    attributes: tuple[str, ...]
    conditioning: str
    closed_vocabulary: bool
    faces: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    params: Mapping[str, Mapping[str, str]]
    lineage: Mapping[str, Any]


def render_card(said: CardParams, facts: CardFacts) -> str:
    """The card as Markdown."""
    sections = [
        _head(facts),
        ("Intended use", said.intended_use),
        ("How to ask", _asking(facts)),
        ("Limits", _bullets(said.limits)),
        ("Data", _data(said, facts.faces)),
        ("Attributes", ", ".join(f"`{name}`" for name in facts.attributes) + "."),
        ("Scores", _scores(facts.evaluation)),
        ("Balance", _balance(facts.evaluation)),
        ("Licence", licence_of_model(said, facts.faces)),
        ("How it was made", _params(facts.params)),
        ("Lineage", _table(("what", "value"), flatten(facts.lineage).items())),
    ]
    return "\n\n".join(f"## {s[0]}\n\n{s[1]}" if isinstance(s, tuple) else s for s in sections) + "\n"


def gaps(card: str) -> tuple[str, ...]:
    """The parts that ``card`` lacks, or that say nothing: what keeps a version from being promoted."""
    parts = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in card.split("\n## ")[1:]}
    lacking = [name for name in REQUIRED if not parts.get(name)]
    scores = parts.get("Scores", "")
    if scores == _NEVER_SCORED or scores.endswith(_NOT_RECORDED):
        lacking.append("scores with their protocol")
    return tuple(lacking)


_WAYS = {
    "attributes": "with the attributes asked for",
    "text": "as a sentence says",
    "both": "with the attributes asked for, as a sentence says, or both",
    "none": "of no kind in particular",
}


def _head(facts: CardFacts) -> str:
    size = facts.faces.get("size")
    return (
        f"# {facts.name}\n\n"
        f"A conditional latent diffusion model that draws faces of {size}x{size} pixels {_WAYS[facts.conditioning]}; "
        "from nothing, from a photo, or where a mask is white in one. "
        f"Weights are safetensors; loading the model runs no pickled code.\n\n"
        f"Model digest: `{facts.digest}`\n\n"
        "```python\n"
        "from facet.registry.opening import open_pipeline\n"
        f'pipeline = open_pipeline("models:/{facts.name}/1")  # or an alias: models:/{facts.name}@staging\n'
        f"face = pipeline({_call(facts)}seeds=[0]).images[0]\n"
        "```\n\n"
        "Without facet, which travels with the model:\n\n"
        "```python\n"
        "import mlflow, pandas as pd\n"
        f'model = mlflow.pyfunc.load_model("models:/{facts.name}/1")\n'
        f'png = model.predict(pd.DataFrame([{_row(facts)}]), params={{"seed": 0}})["png"][0]\n'
        "```"
    )


def _call(facts: CardFacts) -> str:
    said = f'"{_SENTENCE}", ' if facts.conditioning in ("text", "both") else ""
    asked = f'attributes="{facts.attributes[0]}", ' if facts.conditioning in ("attributes", "both") else ""
    return said + asked


def _row(facts: CardFacts) -> str:
    said = {"prompt": _SENTENCE if facts.conditioning in ("text", "both") else ""}
    asked = {facts.attributes[0]: 1} if facts.conditioning in ("attributes", "both") else {}
    return json.dumps({**asked, **said}, ensure_ascii=False)


_SENTENCE = "a photo of a smiling young woman"


def _asking(facts: CardFacts) -> str:
    """What a row of a request may hold, with a call of `facet serve` for each way to ask."""
    by_attributes, by_text = (facts.conditioning in (way, "both") for way in ("attributes", "text"))
    read = (
        "Attributes are 1 (present), -1 (absent), 0 or left out (open)." if by_attributes else "No attribute is read."
    )
    vocabulary = "the words of the training captions, no others" if facts.closed_vocabulary else "any words"
    read += f" `prompt` and `negative_prompt` are text: {vocabulary}." if by_text else " No prompt is read."
    read += " `image` is a PNG, JPEG or WebP as base64; `mask` is another, of the same size, white where to draw anew."
    asked = [{facts.attributes[0]: 1}] if by_attributes else []
    said = [{"prompt": _SENTENCE}] if by_text else []
    shown = [_curl(row) for row in asked + said or [{}]]
    return f"{read}\n\n```bash\n" + "\n".join([*shown, _inpainting((said + asked + [{}])[0])]) + "\n```"


_SERVER = "curl --silent http://127.0.0.1:5001/invocations --header 'Content-Type: application/json' --data"
_FIRST = "jq --raw-output '.predictions[0].png' | base64 --decode > face.png"


def _curl(row: Mapping[str, Any]) -> str:
    body = json.dumps({"dataframe_records": [row], "params": {"seed": 0}}, ensure_ascii=False)
    return f"{_SERVER} \\\n  {shlex.quote(body)} |\n  {_FIRST}"


def _inpainting(row: Mapping[str, Any]) -> str:
    """Through files: a photo is longer than an argument of a command may be."""
    body = f"{{dataframe_records: [{json.dumps(row, ensure_ascii=False)} + {{image: $image, mask: $mask}}]}}"
    return (
        "jq --null-input --rawfile image <(base64 photo.png) --rawfile mask <(base64 mask.png) \\\n"
        f"  {shlex.quote(body)} |\n  {_SERVER} @- |\n  {_FIRST}"
    )


def licence_of_data(said: CardParams, faces: Mapping[str, Any]) -> str:
    """That which came with the data (`facet fetch`); where none did, what params.yaml says."""
    licence = _licence(faces)
    return f"{licence['name']}: {licence['terms']} ({licence['url']})" if licence else said.data_licence


def licence_of_model(said: CardParams, faces: Mapping[str, Any]) -> str:
    """What params.yaml says, and what the data adds to it."""
    if _licence(faces).get("non_commercial"):
        return f"{said.model_licence} Learned from data for non-commercial use only, which binds the model too."
    return said.model_licence


def _licence(faces: Mapping[str, Any]) -> Mapping[str, Any]:
    return (faces.get("source") or {}).get("licence") or {}


def _data(said: CardParams, faces: Mapping[str, Any]) -> str:
    source = faces.get("source") or {}
    fetched = f" Fetched as `{source['name']}`." if source.get("name") else ""
    splits = ", ".join(f"{count} {name}" for name, count in faces.get("splits", {}).items())
    return (
        f"{said.data}{fetched}\n\n{faces.get('count')} faces ({splits}), crop `{faces.get('crop')}`, resized to "
        f"{faces.get('size')} px ({faces.get('resize')}).\n\nLicence of the data: {licence_of_data(said, faces)}"
    )


def _scores(evaluation: Mapping[str, Any]) -> str:
    """A table for each group of scores, then the protocol without which they mean nothing."""
    if not evaluation:
        return _NEVER_SCORED
    numbers = {k: v for k, v in evaluation.items() if k not in ("protocol", "schema", "balance")}
    plain = {k: v for k, v in numbers.items() if not isinstance(v, Mapping)}
    parts = [_table(("score", "value"), plain.items())] if plain else []
    for group, values in numbers.items():
        if isinstance(values, Mapping):
            parts.append(f"### {group}\n\n" + _table(("score", "value"), flatten(values).items()))
    protocol = flatten(evaluation.get("protocol", {}))
    parts.append("### Protocol\n\n" + (_table(("what", "value"), protocol.items()) if protocol else _NOT_RECORDED))
    return "\n\n".join(parts)


def _balance(evaluation: Mapping[str, Any]) -> str:
    """How evenly the model serves the groups that its attributes name."""
    balance = evaluation.get("balance")
    return _table(("what", "value"), flatten(balance).items()) if balance else "Not measured."


def _params(params: Mapping[str, Mapping[str, str]]) -> str:
    return _table(("param", "value"), [(f"{step}.{k}", v) for step, flat in params.items() for k, v in flat.items()])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.replace("|", "\\|").split())
