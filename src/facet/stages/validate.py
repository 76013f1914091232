"""Hold the prepared faces against what they promise; stop the chain before any hardware is spent on broken data."""

from __future__ import annotations

from facet import artifacts
from facet.data.expectations import check_faces, comparable_baseline, listed
from facet.data.promises import ValidateParams
from facet.params import read_section
from facet.stages import run

SECTION = ValidateParams


def main() -> None:
    params = read_section("validate", SECTION)
    metrics = artifacts.METRICS / "validate.json"
    # A verdict that no longer holds must not lie there when the new one is bad.
    for path in (artifacts.VALIDATION, metrics):
        path.unlink(missing_ok=True)
    baseline = comparable_baseline(artifacts.FACES, artifacts.BASELINE)
    if baseline is None:
        print("validate: the faces accepted last are another set; `facet data accept` takes these as they are")
    verdict = check_faces(artifacts.FACES, params, artifacts.DATA_DOCS, baseline)
    if warned := verdict.broken("warn"):
        print(f"validate: warning: {len(warned)} expectations don't hold: {listed(warned, most=1)}")
    verdict.raise_if_failed(artifacts.FACES, artifacts.DATA_DOCS)
    artifacts.write_json(metrics, verdict.counts())
    artifacts.write_json(artifacts.VALIDATION, verdict.record())
    counts = verdict.counts()
    print(
        f"validate: {counts['faces']} faces keep {counts['passed']} of {counts['expectations']} expectations, "
        f"{counts['warned']} warnings; see {artifacts.DATA_DOCS}/index.html"
    )


if __name__ == "__main__":
    run(main)
