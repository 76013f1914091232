"""The chain's scores in a dozen lines, and where everything lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from facet.artifacts import (
    DATA_DOCS,
    EVALUATION,
    EVALUATION_SCHEMA,
    RECONSTRUCTION_GRID,
    REGISTRATION,
    REGISTRATION_SCHEMA,
    REPORT,
    SAMPLE_GRID,
    flatten,
    read_json,
)

# Score, value, its 95 % interval where it has one, what it says.
Row = tuple[str, Any, list[float] | None, str]


_JUDGE = "fidelity.judge"


def _figure(scores: Mapping[str, Any], name: str) -> str:
    return f"{scores[name]:g}" if name in scores else "not measured"


def read_summary() -> tuple[list[Row], list[tuple[str, str]]]:
    """(score, value, interval, meaning), and (what, where). Raises ArtifactError where the chain has not run."""
    record = read_json(EVALUATION, EVALUATION_SCHEMA)
    registered = read_json(REGISTRATION, REGISTRATION_SCHEMA)
    fidelity = record["fidelity"]["judge"]
    samples, floor = record["protocol"]["samples"], record["protocol"]["floor_faces"]
    told: list[tuple[str, str, str]] = [
        (
            "adherence",
            "adherence.mean",
            f"asked attributes that are seen, mean over {len(record['adherence']['attributes'])}",
        ),
        ("adherence, balanced", "adherence.balanced", "the same, present and absent weighing alike"),
        ("adherence, in part", "adherence.by_condition.partial.mean", "where part of the attributes is asked for"),
        ("adherence, by text", "adherence.by_condition.text.mean", "where a sentence asks, for what it says"),
        ("adherence, by both", "adherence.by_condition.both.mean", "where attributes and a sentence ask"),
        ("edits made", "editing.flipped", "photos whose one attribute changed as asked"),
        ("all else kept", "editing.kept", "their other labels, as the judge sees them"),
        ("inpainting error", "inpainting.inside", "grey levels inside the mask; outside it nothing moves"),
        ("judge on real faces", "adherence.judge_on_real", "the ceiling of those above"),
        ("Frechet distance", f"{_JUDGE}.frechet", f"{samples} samples, judge features; lower is better"),
        ("real-vs-real floor", f"{_JUDGE}.frechet_floor", f"{floor} held-out real faces against the same reference"),
        ("distance / floor", f"{_JUDGE}.frechet_over_floor", "1 would be as good as real"),
        ("KID", f"{_JUDGE}.kid_mean", f"kernel distance, judge features; floor {fidelity['kid_floor']:g}"),
        (
            "precision",
            f"{_JUDGE}.precision",
            f"samples that look real; real faces {_figure(fidelity, 'precision_floor')}",
        ),
        ("recall", f"{_JUDGE}.recall", f"real faces that can be drawn; real faces {_figure(fidelity, 'recall_floor')}"),
        ("VAE PSNR", "autoencoder.psnr_db", f"dB, {record['autoencoder']['faces']} held-out faces"),
        ("VAE SSIM", "autoencoder.ssim", "1 is identical"),
        ("VAE rFD", "autoencoder.rfd", "Frechet distance of reconstructions to their originals"),
    ]
    for space in sorted(record["fidelity"].keys() - {"judge"}):
        told += [
            (
                "FID" if "inception" in space else "Frechet distance",
                f"fidelity.{space}.frechet",
                f"{space}, {samples} samples",
            ),
            ("inception score", f"fidelity.{space}.inception_score", "higher is better"),
        ]
    values, intervals = flatten(record), record.get("intervals", {})
    rows: list[Row] = [
        (name, values[path], intervals.get(path), meaning) for name, path, meaning in told if path in values
    ]
    store = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    places = [
        ("samples", str(SAMPLE_GRID)),
        ("reconstructions", str(RECONSTRUCTION_GRID)),
        ("report", str(REPORT)),
        ("data report", str(DATA_DOCS / "index.html")),
        ("registered as", f"{registered['name']}, model {registered['digest'][:12]}"),
        ("registry", f"make ui    (mlflow ui --backend-store-uri {store})"),
        ("draw", 'facet generate --attributes "Smiling,Eyeglasses,-Male" --out faces.png'),
    ]
    return rows, places
