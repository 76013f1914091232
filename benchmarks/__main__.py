"""``python -m benchmarks [NAME …]``: run the measurements and print one JSON object."""

from __future__ import annotations

import json
import os
import platform
import sys

import torch

from benchmarks import fidelity, flows, noop, prepare, sampling, serving, training
from facet.precision import be_deterministic

MEASUREMENTS = {
    "prepare": prepare.measure,
    "encode": training.measure_encode,
    "latents_feed": training.measure_feed,
    "vae_step": training.measure_vae_step,
    "unet_step": training.measure_unet_step,
    "sampling": sampling.measure,
    "frechet": fidelity.measure,
    "serving": serving.measure,
    "noop_repro": noop.measure,
    "flows": flows.measure,
}


def main() -> None:
    chosen = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in chosen if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"error: no measurement {unknown[0]!r}: choose from {', '.join(MEASUREMENTS)}.")
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "torch": torch.__version__}
    print(json.dumps({"machine": machine} | {name: _measured(name) for name in chosen}, indent=2))


def _measured(name: str) -> dict[str, object]:
    """With all threads, whatever the measurement before has left."""
    be_deterministic()
    return MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
