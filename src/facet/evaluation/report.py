"""``reports/report.html``: one page that says how good a model is, how that was measured, and shows it.

The page stands alone: pictures are data URIs, charts inline SVG, no script, nothing fetched. The same inputs give the
same bytes. ``_sections`` gathers what ``report.html.j2`` shows, and ``exhibits`` chooses the
pictures; a new section is one more entry there and one more block in the template.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from facet.artifacts import flatten, read_json, whole_file
from facet.data.datasets import FaceSet
from facet.errors import ArtifactError
from facet.evaluation.charts import line_chart
from facet.evaluation.exhibits import adherence_rows, contrasts, marginals, reconstructions, sample_grid
from facet.evaluation.record import Evaluation
from facet.evaluation.samples import SampleSet

TEMPLATE = "report.html.j2"

_TRAINED = {
    "train_vae": "Autoencoder",
    "tune_decoder": "Decoder",
    "train_unet": "Denoiser",
    "train_judge": "Judge",
}


def write_report(
    path: Path, metrics: Path, faces: FaceSet, samples: SampleSet, seen: np.ndarray, evaluation: Evaluation
) -> None:
    """Write the page to ``path``.

    ``metrics`` is the folder with the training steps' metrics and curves, ``seen`` int8 [n, k] of -1, 1 the judge's
    verdict on each sample. Raises ArtifactError naming a metrics file that is missing or damaged.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "spaced": spaced, "count": "{:,}".format, "decimal": "{:.3g}".format}
    template = environment.from_string(Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8"))
    page = template.render(_sections(metrics, faces, samples, seen, evaluation))
    with whole_file(path) as scratch:
        scratch.write_text("\n".join(filter(str.strip, page.split("\n"))) + "\n", encoding="utf-8", newline="\n")


def _sections(
    metrics: Path, faces: FaceSet, samples: SampleSet, seen: np.ndarray, evaluation: Evaluation
) -> dict[str, Any]:
    record = evaluation.record
    steps = {step: read_json(metrics / f"{step}.json") for step in _TRAINED}
    curves = {step: read_curve(metrics / "curves" / f"{step}.csv") for step in _TRAINED}
    names = [name for name in faces.names if name in record["adherence"]["attributes"]]
    columns = np.array([faces.names.index(name) for name in names], dtype=np.int64)
    return {
        "headline": _headline(record),
        "scores": _scores(record),
        "record": record,
        "protocol": flatten(record["protocol"]),
        "faces": faces.about,
        "grid": sample_grid(samples, seen, names, columns),
        "contrasts": contrasts(record, samples, seen, names, columns),
        "adherence": adherence_rows(record, samples, names, columns),
        "reconstructions": reconstructions(evaluation),
        "training": [_training(step, curves[step]) for step in _TRAINED],
        "marginals": marginals(faces, samples, seen, names, columns),
        "chain": _chain(record, faces, steps, curves),
    }


# --- text -------------------------------------------------------------------------------------------------------------


def percent(share: float | None) -> str:
    """0.9659 as "96.6%"; a dash for what nobody asked for."""
    return "–" if share is None else f"{100 * share:.1f}%"


def spaced(name: str) -> str:
    """``Mouth_Slightly_Open`` as a reader would write it."""
    return name.replace("_", " ")


# --- scores -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Score:
    """One headline number, what to hold it against, what it means and where it comes from.

    ``bar`` and ``tick``, both in 0..1, draw the number beside its bound.
    """

    name: str
    value: str
    against: str
    meaning: str
    source: str
    bar: float | None = None
    tick: float | None = None


def _headline(record: Mapping[str, Any]) -> str:
    fidelity, adherence = record["fidelity"]["judge"], record["adherence"]
    return (
        f"Of the attributes asked for, {percent(adherence['mean'])} are in the picture; real faces and the judge allow "
        f"{percent(adherence['judge_on_real'])}. The faces as a set lie {fidelity['frechet_over_floor']:.2f} times as "
        "far from the real ones as other real faces do."
    )


def _scores(record: Mapping[str, Any]) -> list[Score]:
    found = [*_adherence_scores(record), *_fidelity_scores(record), *_autoencoder_scores(record)]
    if "inception" in record["fidelity"]:
        found.append(_inception_score(record))
    return found


def _adherence_scores(record: Mapping[str, Any]) -> list[Score]:
    rates = record["adherence"]
    return [
        Score(
            name="Adherence",
            value=percent(rates["mean"]),
            against=f"ceiling {percent(rates['judge_on_real'])}",
            meaning=f"How often the judge sees what was asked, present or absent, as a mean over "
            f"{len(rates['attributes'])} attributes. The ceiling is how often it agrees with the labels of held-out "
            "real faces.",
            source="Classifier accuracy on generated faces, as in AttGAN (He et al., 2019)",
            bar=rates["mean"],
            tick=rates["judge_on_real"],
        ),
        Score(
            name="Adherence, balanced",
            value=percent(rates["balanced"]),
            against=f"ceiling {percent(rates['judge_on_real_balanced'])}",
            meaning="The same with present and absent weighing alike, so that never drawing a rare attribute costs "
            "half of its score.",
            source="Balanced accuracy (Brodersen et al., 2010)",
            bar=rates["balanced"],
            tick=rates["judge_on_real_balanced"],
        ),
    ]


def _fidelity_scores(record: Mapping[str, Any]) -> list[Score]:
    scores, protocol = record["fidelity"]["judge"], record["protocol"]
    most = 1.1 * max(scores["frechet"], scores["frechet_floor"])
    most_kid = 1.1 * max(scores["kid_mean"], scores["kid_floor"], 1e-12)
    return [
        Score(
            name="Fréchet distance",
            value=f"{scores['frechet']:.3g}",
            against=f"floor {scores['frechet_floor']:.3g}, so {scores['frechet_over_floor']:.2f} ×",
            meaning="Distance between the drawn and the real faces as two Gaussians in the judge's features; lower is "
            f"better. The floor is that of {protocol['floor_faces']:,} other real faces.",
            source="FID (Heusel et al., 2017), in other features; falls as 1/N (Chong & Forsyth, 2020)",
            bar=scores["frechet"] / most,
            tick=scores["frechet_floor"] / most,
        ),
        Score(
            name="Kernel distance",
            value=f"{scores['kid_mean']:.3g}",
            against=f"± {scores['kid_std']:.2g}, floor {scores['kid_floor']:.3g}",
            meaning="The same question without assuming Gaussians and without a bias from N: mean and deviation over "
            "random subsets; lower is better.",
            source="KID (Bińkowski et al., 2018)",
            bar=max(0.0, scores["kid_mean"]) / most_kid,
            tick=max(0.0, scores["kid_floor"]) / most_kid,
        ),
    ]


def _autoencoder_scores(record: Mapping[str, Any]) -> list[Score]:
    scores, distance = record["autoencoder"], record["fidelity"]["judge"]["frechet"]
    return [
        Score(
            name="Autoencoder, PSNR",
            value=f"{scores['psnr_db']:.1f} dB",
            against=f"SSIM {scores['ssim']:.3f}",
            meaning=f"How closely {scores['faces']:,} held-out faces come back from the latents, pixel by pixel and in "
            "structure. Every drawn face passes through the same decoder.",
            source="SSIM (Wang et al., 2004)",
            bar=scores["ssim"],
        ),
        Score(
            name="Autoencoder, Fréchet",
            value=f"{scores['rfd']:.3g}",
            against=f"{percent(scores['rfd'] / distance)} of the model's distance" if distance > 0 else "",
            meaning="The Fréchet distance of these reconstructions to their originals: the part that is lost before "
            "any diffusion takes place; lower is better.",
            source="Reconstruction FID (Rombach et al., 2022), in the judge's features",
            bar=min(1.0, scores["rfd"] / distance) if distance > 0 else 1.0,
        ),
    ]


def _inception_score(record: Mapping[str, Any]) -> Score:
    scores = record["fidelity"]["inception"]
    return Score(
        name="FID, Inception",
        value=f"{scores['frechet']:.3g}",
        against=f"KID {scores['kid_mean']:.3g} ± {scores['kid_std']:.2g}",
        meaning="The distance that papers quote, in the features of an Inception-v3 trained on ImageNet; comparable "
        "with theirs only at the same N, crop and resizing.",
        source=f"Heusel et al., 2017; weights {scores['weights_sha256'][:12]}",
    )


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
        ("sample", f"{protocol['samples']:,} faces, {protocol['sampling']['steps']} steps each"),
        ("evaluate", "this page"),
    ]
