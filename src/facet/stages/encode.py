"""artifacts/faces, vae -> artifacts/latents, artifacts/text: what is frozen runs once over every face and caption."""

from __future__ import annotations

import dataclasses

from facet.artifacts import FACES, LATENTS, METRICS, TEXT, VAE, write_json
from facet.data.datasets import load_faces
from facet.models.autoencoder import load_autoencoder
from facet.params import read_section, read_seed
from facet.precision import be_deterministic, default_device
from facet.stages import run
from facet.training.captioning import TextParams, write_sentences
from facet.training.encoding import LatentParams, encode_faces


@dataclasses.dataclass(frozen=True)
class EncodeParams(LatentParams):
    """Section ``encode``."""

    text: TextParams


SECTION = EncodeParams


def main() -> None:
    params = read_section("encode", SECTION)
    be_deterministic()
    faces = load_faces(FACES)
    latents = encode_faces(load_autoencoder(VAE).to(default_device()), faces, params, LATENTS)
    text = write_sentences(faces, params.text, read_seed(), TEXT)
    metrics = {"latents": latents["count"], "shape": "x".join(map(str, latents["shape"]))}
    metrics |= {"captions": text["different"], "vocabulary": text["vocabulary"]}
    write_json(METRICS / "encode.json", metrics)


if __name__ == "__main__":
    run(main)
