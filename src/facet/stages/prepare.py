"""data/ -> artifacts/faces: decode, crop, resize, pack into shards with a manifest."""

from __future__ import annotations

from facet.artifacts import DATA, FACES, METRICS, write_json
from facet.data.layouts import read_celeba
from facet.data.manifest import PrepareParams, write_faces
from facet.params import read_section
from facet.stages import run

SECTION = PrepareParams


def main() -> None:
    params = read_section("prepare", SECTION)
    about = write_faces(read_celeba(DATA), params, FACES)
    write_json(METRICS / "prepare.json", {"faces": about["count"], "size": about["size"], **about["splits"]})


if __name__ == "__main__":
    run(main)
