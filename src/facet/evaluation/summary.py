"""The chain's scores in a dozen lines, and where everything lies."""

from __future__ import annotations

import os
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
    read_json,
)

Row = tuple[str, Any, str]


def read_summary() -> tuple[list[Row], list[tuple[str, str]]]:
    """(score, value, meaning) rows and (what, where) pairs. Raises ArtifactError where the chain has not run."""
    record = read_json(EVALUATION, EVALUATION_SCHEMA)
    registered = read_json(REGISTRATION, REGISTRATION_SCHEMA)
    fidelity, adherence, vae = record["fidelity"]["judge"], record["adherence"], record["autoencoder"]
    samples, floor = record["protocol"]["samples"], record["protocol"]["floor_faces"]
    rows: list[Row] = [
        ("adherence", adherence["mean"], f"asked attributes that are seen, mean over {len(adherence['attributes'])}"),
        ("adherence, balanced", adherence["balanced"], "the same, present and absent weighing alike"),
        ("judge on real faces", adherence["judge_on_real"], "the ceiling of the two above"),
        ("Frechet distance", fidelity["frechet"], f"{samples} samples, judge features; lower is better"),
        ("real-vs-real floor", fidelity["frechet_floor"], f"{floor} held-out real faces against the same reference"),
        ("distance / floor", fidelity["frechet_over_floor"], "1 would be as good as real"),
        ("KID", fidelity["kid_mean"], f"kernel distance, ± {fidelity['kid_std']:g}; floor {fidelity['kid_floor']:g}"),
        ("VAE PSNR", vae["psnr_db"], f"dB, {vae['faces']} held-out faces"),
        ("VAE SSIM", vae["ssim"], "1 is identical"),
        ("VAE rFD", vae["rfd"], "Frechet distance of reconstructions to their originals"),
    ]
    if "inception" in record["fidelity"]:
        rows.append(("FID", record["fidelity"]["inception"]["frechet"], f"Inception-v3, {samples} samples"))
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
