"""From the chain's artifacts to a version in the registry: digest, card, lineage, mirrored runs, version, record."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facet.artifacts import (
    EVALUATION,
    FACES,
    FACES_SCHEMA,
    METRICS,
    REGISTRATION_SCHEMA,
    REPORT,
    REPORTS,
    VALIDATION,
    VALIDATION_SCHEMA,
    digest_json,
    flatten,
    read_json,
    write_json,
)
from facet.diffusion.pipeline import FacePipeline
from facet.diffusion.saving import save_pipeline
from facet.registry import lineage, mlflow_registry
from facet.registry.card import CardFacts, licence_of_data, licence_of_model, render_card
from facet.registry.mlflow_registry import Bundle, RegisterParams
from facet.registry.predecessor import Predecessor, predecessor
from facet.tracking.live import NOT_MIRRORED, live_key
from facet.tracking.mlflow_mirror import (
    connect,
    experiment_id,
    mirror,
    mlflow_errors_named,
    place,
    tag_run,
    tracking_uri,
)
from facet.tracking.records import StageRecord, read_records

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The step whose metrics stand for the whole chain.
_HEADLINE = "evaluate"

# The report, the record that it shows, and the version before, if there is one -> the report as it is kept.
Complete = Callable[[str, Mapping[str, Any], Predecessor | None], str]


@dataclasses.dataclass(frozen=True)
class Publication:
    """What a registration came to. ``record`` alone is the same in every clone; the rest is this registry's."""

    record: dict[str, Any]
    version: int
    created: bool
    run: str
    uri: str


def publish(pipeline: FacePipeline, params: RegisterParams, complete: Complete | None = None) -> Publication:
    """Register ``pipeline`` with everything the current folder knows about it. Doing it again changes nothing.

    The report is kept as ``complete`` makes it, which is told of the version before; as it is, where that is None.
    Raises ArtifactError where a step has not run, RegistryError where MLflow can't be reached or refuses.
    """
    uri = tracking_uri()
    client = connect(uri)
    evaluation, faces = read_json(EVALUATION), read_json(FACES / "faces.json", FACES_SCHEMA)
    validation = read_json(VALIDATION, VALIDATION_SCHEMA)
    records, origin = read_records(leave_out=NOT_MIRRORED), lineage.collect()
    with tempfile.TemporaryDirectory(prefix="facet-publish-") as scratch:
        folder = Path(scratch) / "pipeline"
        save_pipeline(pipeline, folder)
        papers = {name: Path(scratch) / file for name, file in (("card", "card.md"), ("lineage", "lineage.json"))}
        bundle = Bundle.of(pipeline, folder, {"evaluation": EVALUATION, "validation": VALIDATION, **papers})
        digest = bundle.digest
        facts = CardFacts(
            name=params.name,
            digest=digest,
            attributes=pipeline.attribute_names,
            conditioning=bundle.conditioning,
            closed_vocabulary=bundle.closed_vocabulary,
            faces=faces,
            evaluation=evaluation,
            params={record.name: record.params for record in records},
            lineage=origin,
        )
        papers["card"].write_text(render_card(params.card, facts), encoding="utf-8")
        write_json(papers["lineage"], origin)
        record = _record(params, digest, evaluation, validation, faces)
        with mlflow_errors_named(uri):
            experiment = experiment_id(client, params.experiment)
            run = mirror(client, experiment, _chain_key(digest, records), records, _HEADLINE, live_key())
            tags = _tags(record, origin, bundle)
            before = predecessor(client, params.name, digest, earlier=True)
            report = _write_report(Path(scratch), complete, evaluation, before)
            _log_papers(client, run, bundle.files, report, tags)
            version, created = mlflow_registry.register(
                client, experiment, run, params.name, bundle, {**tags, mlflow_registry.RUN_TAG: run}
            )
    return Publication(record, version, created, run, place(uri))


def _chain_key(digest: str, records: list[StageRecord]) -> str:
    """Names the chain's run: other params, scores or weights make another."""
    return digest_json({"model": digest, "records": [dataclasses.asdict(record) for record in records]})


def _write_report(
    folder: Path, complete: Complete | None, evaluation: Mapping[str, Any], before: Predecessor | None
) -> list[Path]:
    """The report to keep, none where the chain has made none."""
    if complete is None or not REPORT.is_file():
        return [REPORT] if REPORT.is_file() else []
    page = complete(REPORT.read_text(encoding="utf-8"), evaluation, before)
    path = folder / REPORT.name
    path.write_text(page, encoding="utf-8", newline="\n")
    return [path]


def _log_papers(
    client: MlflowClient, run: str, papers: Mapping[str, Path], report: list[Path], tags: Mapping[str, str]
) -> None:
    tag_run(client, run, tags)
    # What an earlier registration of the same knew, and this one doesn't.
    for key in filter(mlflow_registry.is_published, client.get_run(run).data.tags.keys() - tags.keys()):
        client.delete_tag(run, key)
    for path in papers.values():
        client.log_artifact(run, str(path))
    for path in [*report, *sorted(REPORTS.glob("*.png"))]:
        client.log_artifact(run, str(path), "reports")
    for path in sorted(METRICS.glob("*.json")):
        client.log_artifact(run, str(path), "metrics")


def _record(
    params: RegisterParams,
    digest: str,
    evaluation: Mapping[str, Any],
    validation: Mapping[str, Any],
    faces: Mapping[str, Any],
) -> dict[str, Any]:
    """artifacts/registration.json: what was registered. Where and when it was is MLflow's to tell."""
    protocol = evaluation.get("protocol", {})
    return {
        "schema": REGISTRATION_SCHEMA,
        "name": params.name,
        "digest": digest,
        "evaluation_digest": digest_json(evaluation),
        "validation_digest": digest_json(validation),
        "protocol": protocol,
        "protocol_digest": digest_json(protocol),
        "faces_digest": digest_json(faces),
        "data_licence": licence_of_data(params.card, faces),
        "model_licence": licence_of_model(params.card, faces),
    }


def _tags(record: Mapping[str, Any], origin: Mapping[str, Any], bundle: Bundle) -> dict[str, str]:
    """What can be searched for in MLflow: digests, lineage, licences and what the model is asked by, flat. The rest
    stands in lineage.json: a page of tags for installed packages would hide these."""
    digests = ("digest", "evaluation_digest", "validation_digest", "protocol_digest", "faces_digest")
    shared = (*digests, "data_licence", "model_licence")
    lock = origin["environment"]["requirements_lock"]
    origin = flatten({**origin, "environment": {"requirements_lock": lock}})
    origin = {key: value for key, value in origin.items() if key != "git.changed" and value is not None}
    told = {**origin, "conditioning": bundle.conditioning}
    if bundle.reads_text:
        told["closed_vocabulary"] = bundle.closed_vocabulary
    return {f"facet.{key}": str(record[key])[:5000] for key in shared} | {
        f"facet.{key}": str(value).lower() if isinstance(value, bool) else str(value) for key, value in told.items()
    }
