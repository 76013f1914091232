"""data/ -> artifacts/faces: decode, crop, resize, pack into shards with a manifest."""

from __future__ import annotations

from facet.artifacts import CHECKPOINTS, DATA, FACES, METRICS, write_json
from facet.data.layouts import read_raw
from facet.data.manifest import PrepareParams, write_faces
from facet.params import read_section
from facet.stages import run

SECTION = PrepareParams


def main() -> None:
    params = read_section("prepare", SECTION)
    about = write_faces(read_raw(DATA, params.layout), params, FACES, CHECKPOINTS / "prepare")
    aside = sum(about["quarantined"].values())
    told = {name: about[name] for name in ("size", "crop", "layout")}
    write_json(METRICS / "prepare.json", {"faces": about["count"], "quarantined": aside, **told, **about["splits"]})
    if aside:
        kinds = ", ".join(f"{count} {kind}" for kind, count in about["quarantined"].items())
        print(f"prepare: {about['count']} faces; put aside: {kinds} (`facet data report` shows them)")


if __name__ == "__main__":
    run(main)
