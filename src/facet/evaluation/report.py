"""``reports/report.html``: one page that says how good a model is, how that was measured, and shows it.

The page stands alone: pictures are data URIs, charts inline SVG, no script, nothing fetched. The same inputs give the
same bytes. ``_sections`` gathers what ``report.html.j2`` shows, and ``exhibits`` chooses the
pictures; a new section is one more entry there and one more block in the template.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from facet.artifacts import flatten, read_json, whole_file
from facet.data.datasets import FaceSet
from facet.data.latents import LatentSet
from facet.diffusion.pipeline import FacePipeline
from facet.errors import ArtifactError
from facet.evaluation import exhibits
from facet.evaluation.charts import dot_chart, histogram, line_chart
from facet.evaluation.comparison import OPEN, part
from facet.evaluation.networks import Network, diagram, networks
from facet.evaluation.page import fill
from facet.evaluation.reconstruction import scales
from facet.evaluation.record import Evaluation
from facet.evaluation.samples import SampleSet
from facet.evaluation.scores import headline, interval_of, scores, spaced
from facet.models.judge import Judge

TEMPLATE = "report.html.j2"
STYLE = "report.css"

_TRAINED = {
    "train_vae": "Autoencoder",
    "tune_decoder": "Decoder",
    "train_unet": "Denoiser",
    "train_judge": "Judge",
}
# What decides how a model draws and is scored.
_PACKAGES = ("torch", "diffusers", "torch-fidelity", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the page is made of, beside the record."""

    faces: FaceSet
    samples: SampleSet
    latents: LatentSet
    pipeline: FacePipeline
    judge: Judge
    # Brightness, contrast and sharpness of the faces, [n] each; what the manifest lacks is not shown.
    light: Mapping[str, np.ndarray]
    # SHA-256 of artifacts by name, for the lineage.
    digests: Mapping[str, str]


def write_report(path: Path, metrics: Path, shown: Shown, evaluation: Evaluation) -> None:
    """Write the page to ``path``.

    ``metrics`` is the folder with the training steps' metrics and curves. Raises ArtifactError naming a metrics file
    that is missing or damaged.
    """
    page = fill(Path(__file__).with_name(TEMPLATE), _sections(metrics, shown, evaluation))
    with whole_file(path) as scratch:
        scratch.write_text(page, encoding="utf-8", newline="\n")


def _sections(metrics: Path, shown: Shown, evaluation: Evaluation) -> dict[str, Any]:
    record, faces, samples, seen = evaluation.record, shown.faces, shown.samples, evaluation.seen
    steps = {step: read_json(metrics / f"{step}.json") for step in _TRAINED}
    curves = {step: read_curve(metrics / "curves" / f"{step}.csv") for step in _TRAINED}
    names = [name for name in faces.names if name in record["adherence"]["attributes"]]
    columns = np.array([faces.names.index(name) for name in names], dtype=np.int64)
    return {
        "style": Path(__file__).with_name(STYLE).read_text(encoding="utf-8"),
        "headline": headline(record),
        "scores": scores(record),
        "versions": part(OPEN),
        "record": record,
        "protocol": flatten(record["protocol"]),
        "faces": faces.about,
        "grid": exhibits.sample_grid(samples, seen, names, columns),
        "contrasts": exhibits.contrasts(record, samples, seen, names, columns),
        "kinds": _kinds(record),
        "adherence": exhibits.adherence_rows(record, samples, names, columns),
        "neighbours": exhibits.neighbours(record, samples, faces),
        "alterations": exhibits.alterations(record, samples, faces),
        "groups": exhibits.groups(record),
        "unasked": _unasked(record),
        "reconstructions": exhibits.reconstructions(evaluation),
        "scales": scales(faces.about["size"], faces.about["size"]),
        "latents": exhibits.coloured_latents(shown.latents, faces),
        "walks": exhibits.walks(shown.pipeline.vae, shown.latents, faces),
        "networks": [_network(one) for one in networks(shown.pipeline, shown.judge, faces.about["size"])],
        "training": [_training(step, curves[step]) for step in _TRAINED],
        "selection": _selection(metrics),
        "marginals": exhibits.marginals(faces, samples, seen, names, columns),
        "distributions": _distributions(shown),
        "chain": _chain(record, faces, steps | {"select": read_json(metrics / "select.json")}, curves),
        "lineage": _lineage(shown, record),
    }


_KINDS = {
    "whole": "all attributes of a held-out face",
    "partial": "a random part of them",
    "text": "a caption that training never had, for what it says",
    "both": "all attributes, and such a caption",
}


def _kinds(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Adherence by kind of request: what was asked, of how many faces, how much of it is seen."""
    found = record["adherence"].get("by_condition", {})
    counts = {record["protocol"].get("asked"): record["protocol"]["samples"]} | record["protocol"].get("further", {})
    return [
        {
            "title": _KINDS[kind],
            "faces": counts[kind],
            "rate": rates["mean"],
            "interval": interval_of(record, f"adherence.by_condition.{kind}.mean"),
        }
        for kind, rates in found.items()
    ]


# --- models and data --------------------------------------------------------------------------------------------------


def _network(network: Network) -> dict[str, Any]:
    return {"title": network.title, "parameters": network.parameters, "svg": diagram(network)}


def _distributions(shown: Shown) -> dict[str, Any]:
    found = exhibits.qualities(shown.faces, shown.samples, shown.light)
    shares = {spaced(name): row for name, row in exhibits.shares_by_split(shown.faces).items()}
    return {
        "splits": dot_chart(shares, f"Share of faces that show each of {len(shares)} attributes, by split"),
        "qualities": [
            {"caption": name.capitalize(), "svg": histogram(series, _spread(name, series), name)}
            for name, series in found.items()
        ],
    }


def _unasked(record: Mapping[str, Any]) -> str | None:
    shares = {spaced(name): row for name, row in exhibits.unasked(record).items()}
    title = f"Share of faces in which the judge sees each of {len(shares)} attributes: data, and drawn without asking"
    return dot_chart(shares, title) if shares else None


def _spread(name: str, series: Mapping[str, np.ndarray]) -> str:
    ends = "; ".join(f"{who} {np.mean(values):.3g} ± {np.std(values):.2g}" for who, values in series.items())
    return f"How {name} is spread, mean and deviation: {ends}"


def _lineage(shown: Shown, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, its digest or version). Git and dvc.lock are not among them: the same model can come from several."""
    versions = {name: _installed(name) for name in _PACKAGES}
    return [
        ("faces, manifest", shown.faces.about["manifest_sha256"]),
        ("model", record["protocol"]["model"]),
        *sorted(shown.digests.items()),
        ("facet", record.get("made_by", {}).get("facet") or _installed("facet")),
        *((name, version) for name, version in versions.items() if version),
    ]


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


# --- training and chain -----------------------------------------------------------------------------------------------


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """``metrics/curves/<step>.csv`` as one list of (step, value) a column. Raises ArtifactError where it can't be."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            head, *rows = list(csv.reader(stream))
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(head))
        if head[0] != "step":
            raise ValueError(f"its first column is {head[0]!r}, not 'step'")
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist: run `dvc repro {path.stem}`, which writes it.") from None
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is no curve ({error}): delete it and run `dvc repro {path.stem}`.") from None
    return {
        name: [(float(step), float(value)) for step, value in zip(table[:, 0], table[:, i], strict=True)]
        for i, name in enumerate(head)
        if i
    }


def _training(step: str, curve: Mapping[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """The charts of one training step: its loss terms, on two charts where some of them can be negative; gradients."""
    norms = {name: points for name, points in curve.items() if name.endswith("gradient_norm")}
    terms = {name: points for name, points in curve.items() if name not in norms and name != "learning_rate"}
    signed = {name: points for name, points in terms.items() if min(y for _, y in points) <= 0}
    groups = {
        "loss terms": {name: points for name, points in terms.items() if name not in signed},
        "signed loss terms": signed,
        "gradient norm": norms,
    }
    charts = [
        {"caption": f"{what}", "svg": _chart(f"{_TRAINED[step]}, {what}", series)}
        for what, series in groups.items()
        if series
    ]
    rate = [y for _, y in curve.get("learning_rate", [])]
    last = next((points[-1][0] for points in curve.values()), 0)
    return {
        "step": step,
        "title": _TRAINED[step],
        "charts": charts,
        "steps": int(last),
        "peak": max(rate, default=None),
    }


def _selection(metrics: Path) -> dict[str, Any]:
    """How each snapshot of the denoiser scored, and which was taken."""
    curve = read_curve(metrics / "curves" / "select.csv")
    captions = {"frechet": "Fréchet distance", "adherence": "adherence"}
    charts = [
        {"caption": caption, "svg": _chart(f"Snapshots, {caption}", {name: curve[name]})}
        for name, caption in captions.items()
    ]
    return {"charts": charts, "chosen": read_json(metrics / "select.json")["step"]}


def _chart(title: str, series: Mapping[str, list[tuple[float, float]]]) -> str:
    labelled = {_term(name): points for name, points in series.items()}
    ends = "; ".join(f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in labelled.items())
    return line_chart(labelled, f"{title}: {ends}", dashed=("constant guess",))


def _term(column: str) -> str:
    """``decoder_matching_loss`` as "matching": the chart's title says whose and what."""
    if column == "trivial":
        return "constant guess"
    for end in ("_gradient_norm", "_loss"):
        if column.endswith(end):
            column = column.removesuffix(end)
            break
    return spaced(column.removeprefix("decoder_"))


def _chain(
    record: Mapping[str, Any],
    faces: FaceSet,
    steps: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """(step, what it did here) in the order of the chain."""
    about, protocol = faces.about, record["protocol"]

    def trained(step: str) -> str:
        length = next((int(points[-1][0]) for points in curves[step].values()), 0)
        return f"{length:,} steps" if length else "taken as it is"

    vae, unet = steps["train_vae"], steps["train_unet"]
    return [
        ("prepare", f"{about['count']:,} faces, {about['size']} px"),
        ("validate", "passed"),
        ("train_vae", f"{trained('train_vae')}, {vae['parameters'] / 1e6:.2f} M parameters"),
        ("encode", f"latents {vae['latent'].replace('x', ' × ')}"),
        ("tune_decoder", trained("tune_decoder")),
        ("train_unet", f"{trained('train_unet')}, {unet['parameters'] / 1e6:.2f} M parameters"),
        ("train_judge", trained("train_judge")),
        ("reference", f"{protocol['reference']['count']:,} real faces"),
        ("select", f"the denoiser of step {steps['select']['step']:,}"),
        ("sample", f"{protocol['samples']:,} faces, {protocol['sampling']['steps']} steps each"),
        ("evaluate", "this page"),
    ]
