"""artifacts/faces, judge -> artifacts/reference: statistics of real faces, and the real-vs-real floor."""

from __future__ import annotations

from facet.artifacts import FACES, JUDGE, METRICS, REFERENCE, write_json
from facet.data.datasets import load_faces
from facet.evaluation.reference import ReferenceParams, write_reference
from facet.params import read_section, read_seed
from facet.precision import be_deterministic
from facet.stages import run

SECTION = ReferenceParams


def main() -> None:
    params = read_section("reference", SECTION)
    be_deterministic()
    about = write_reference(load_faces(FACES), JUDGE, params, read_seed(), REFERENCE)
    write_json(METRICS / "reference.json", {"faces": about["count"], "floor": about["floor"]})


if __name__ == "__main__":
    run(main)
