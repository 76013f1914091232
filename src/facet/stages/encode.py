"""artifacts/faces, artifacts/vae -> artifacts/latents: the frozen encoder runs once."""

from __future__ import annotations

from facet.artifacts import FACES, LATENTS, METRICS, VAE, write_json
from facet.data.datasets import load_faces
from facet.models.autoencoder import load_autoencoder
from facet.params import read_section
from facet.precision import be_deterministic, default_device
from facet.stages import run
from facet.training.encoding import EncodeParams, encode_faces

SECTION = EncodeParams


def main() -> None:
    params = read_section("encode", SECTION)
    be_deterministic()
    about = encode_faces(load_autoencoder(VAE).to(default_device()), load_faces(FACES), params, LATENTS)
    write_json(METRICS / "encode.json", {"latents": about["count"], "shape": "x".join(map(str, about["shape"]))})


if __name__ == "__main__":
    run(main)
