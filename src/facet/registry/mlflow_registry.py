"""Versions of the model in MLflow's registry, one for each digest.

A version appears only when its bundle has been saved, has been loaded and drawn from with pickles forbidden, and lies
whole in the artifact store; so a kill leaves at most an unlisted upload. MLflow can't refuse a second version of the
same digest, so whoever finds to have made one takes it back: the lowest number stays, for all who look.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import facet
from facet.artifacts import digest_folder
from facet.errors import FacetError, RegistryError
from facet.registry.card import CardParams
from facet.registry.columns import PICTURES, TEXTS
from facet.registry.lineage import installed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

    from facet.diffusion.pipeline import FacePipeline
    from facet.models.conditioning import Conditioning

DIGEST_TAG = "facet.digest"
RUN_TAG = "facet.run"
# Why a person overrode the gate, an alias each: theirs, not the registration's.
OVERRIDE_TAG = "facet.override"
_PUBLISHED = {
    *("digest", "evaluation_digest", "validation_digest", "protocol_digest", "faces_digest"),
    *("data_licence", "model_licence", "git", "dvc_lock", "data", "environment"),
    *("conditioning", "closed_vocabulary"),
}

# What loading and drawing imports; the rest of facet's dependencies belongs to training.
_REQUIRED = (
    *("torch", "diffusers", "transformers", "tokenizers", "accelerate"),
    *("safetensors", "numpy", "pillow", "simplejpeg", "pyyaml", "tqdm"),
)
_REQUIRED_BY_MLFLOW = ("mlflow", "pandas")

# What MLflow answers where a run's id is unknown, and where it can't be one.
_NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclasses.dataclass(frozen=True)
class RegisterParams:
    """Under which names the model is kept, and what its card says."""

    # The registered model whose versions the chain makes.
    name: str
    # MLflow's experiment that the runs belong to.
    experiment: str
    card: CardParams

    def __post_init__(self) -> None:
        for field in ("name", "experiment"):
            value = getattr(self, field)
            if not value.strip() or set(value) & set("/:'\"`"):
                raise ValueError(f"{field} is {value!r}, expected a name without / : and quotes")


@dataclasses.dataclass(frozen=True)
class Bundle:
    """What becomes a version: a saved pipeline, its digest, and the files that travel with it by name."""

    pipeline: Path
    digest: str
    attributes: tuple[str, ...]
    conditioning: Conditioning
    # Whether the tokenizer has every word of the training captions whole, and no other.
    closed_vocabulary: bool
    # The model's own sampling, `facet.diffusion.sampling.SamplingParams` as a mapping.
    sampling: Mapping[str, Any]
    files: Mapping[str, Path]

    @classmethod
    def of(cls, pipeline: FacePipeline, folder: Path, files: Mapping[str, Path]) -> Bundle:
        """The bundle of ``pipeline``, which is saved in ``folder``. Raises RegistryError where an attribute bears the
        name of another column of requests."""
        if taken := set(pipeline.attribute_names) & {*TEXTS, *PICTURES}:
            raise RegistryError(
                f"an attribute is named {min(taken)!r}, as is a column of every request to a registered model; nothing "
                "was registered: rename it in the attribute table and run `dvc repro`."
            )
        return cls(
            pipeline=folder,
            digest=digest_folder(folder),
            attributes=pipeline.attribute_names,
            conditioning=pipeline.conditioning,
            closed_vocabulary=pipeline.config.closed_vocabulary,
            sampling=dict(pipeline.config.sampling),
            files=files,
        )

    @property
    def reads_attributes(self) -> bool:
        """Whether the model can be asked by attributes."""
        return self.conditioning in ("attributes", "both")

    @property
    def reads_text(self) -> bool:
        """Whether the model can be asked by a sentence."""
        return self.conditioning in ("text", "both")


def register(
    client: MlflowClient, experiment: str, run: str, name: str, bundle: Bundle, tags: Mapping[str, str]
) -> tuple[int, bool]:
    """The version of model ``name`` that holds ``bundle``, and whether this call made it.

    A version found keeps its weights and gets ``tags``, which tell of its latest evaluation. ``experiment`` and
    ``run`` are MLflow's ids. Raises RegistryError where the bundle can't be loaded and drawn from.
    """
    found = versions_of(client, name, bundle.digest)
    made = None
    if not found:
        made = _create(client, experiment, run, name, bundle, tags)
        # Somebody who registered the same digest meanwhile sees the same list and takes the same decision.
        found = versions_of(client, name, bundle.digest)
    keep, *surplus = found
    for version in surplus:
        if not version.aliases:
            _take_back(client, version)
    for key, value in tags.items():
        if keep.tags.get(key) != value:
            client.set_model_version_tag(name, keep.version, key, value)
    for key in keep.tags.keys() - tags.keys():
        if is_published(key) and key != DIGEST_TAG:  # by an earlier registration, which knew what this one doesn't
            client.delete_model_version_tag(name, keep.version, key)
    return int(keep.version), made is not None and made.version == keep.version


def is_published(key: str) -> bool:
    """Whether a registration writes this tag, to the version and to its run alike."""
    return key.startswith("facet.") and key.split(".")[1] in _PUBLISHED


def versions_of(client: MlflowClient, name: str, digest: str) -> list[ModelVersion]:
    """Versions of model ``name`` with this digest, lowest number first."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return sorted(found, key=lambda version: int(version.version))


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Every version of model ``name``, lowest number first; none where there is no such model."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def ensure_model(client: MlflowClient, name: str, description: str | None = None) -> None:
    """Make the registered model ``name`` where there is none."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):  # it is there already; where it isn't, the next call says so
        client.create_registered_model(name, description=description)


def download(uri: str, folder: Path) -> Path:
    """The model or artifact at ``uri`` below ``folder``; its path there. Raises what MLflow raises."""
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))


def read_run_record(client: MlflowClient, run: str, path: str) -> dict[str, Any] | None:
    """The JSON object among the artifacts of ``run`` (id); None where run or file is not there, or no JSON."""
    from mlflow.exceptions import MlflowException

    try:
        there = {item.path for item in client.list_artifacts(run)}
    except MlflowException as error:
        if error.error_code in _NO_SUCH_RUN:
            return None
        raise
    if path not in there:
        return None
    with tempfile.TemporaryDirectory(prefix="facet-record-") as scratch:
        try:
            content = json.loads(Path(client.download_artifacts(run, path, scratch)).read_text(encoding="utf-8"))
        except ValueError:
            return None
    return content if isinstance(content, dict) else None


def run_tags(client: MlflowClient, run: str) -> dict[str, str]:
    """The tags of ``run`` (id); none where there is no such run."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_run(run).data.tags)
    except MlflowException as error:
        if error.error_code in _NO_SUCH_RUN:
            return {}
        raise


def _create(
    client: MlflowClient, experiment: str, run: str, name: str, bundle: Bundle, tags: Mapping[str, str]
) -> ModelVersion:
    with tempfile.TemporaryDirectory(prefix="facet-register-") as scratch:
        folder = Path(scratch) / "model"
        save_bundle(bundle, folder)
        prove_bundle(folder, bundle)
        _drop_compiled(folder)
        model = _upload(client, experiment, run, name, bundle, folder)
    ensure_model(client, name)
    version = client.create_model_version(
        name, source=f"models:/{model}", run_id=run, tags={**tags, DIGEST_TAG: bundle.digest}, model_id=model
    )
    linked = json.dumps([{"name": name, "version": int(version.version)}])
    client.set_logged_model_tags(model, {"mlflow.modelVersions": linked})
    return version


def _take_back(client: MlflowClient, version: ModelVersion) -> None:
    from mlflow.exceptions import MlflowException

    # Its maker, or another registration, may have been faster with either. MLflow's SQL store keeps no model id with
    # the version, only the source: models:/m-…
    with contextlib.suppress(MlflowException):
        client.delete_model_version(version.name, version.version)
    with contextlib.suppress(MlflowException):
        client.delete_logged_model(version.source.removeprefix("models:/"))


# --- the bundle -------------------------------------------------------------------------------------------------------


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write ``bundle`` to ``folder`` as an MLflow model made from code; no server is asked."""
    import mlflow

    from facet.registry import model as code

    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=code.__file__,
        code_paths=[str(Path(facet.__file__).parent)],
        artifacts={"pipeline": str(bundle.pipeline), **{key: str(path) for key, path in bundle.files.items()}},
        signature=signature(bundle),
        input_example=(_example(bundle), {"seed": 0}),
        pip_requirements=requirements(),
        metadata={DIGEST_TAG: bundle.digest},
    )


def signature(bundle: Bundle) -> ModelSignature:
    """Optional columns in: one an attribute, `prompt`, `negative_prompt`, `image` and `mask`; the drawing params; one
    PNG column out. Every model has them all: a column that the signature lacked would be dropped by MLflow in silence,
    where `facet.registry.asking` says why this model does not read it.

    The attributes are of any type, and checked there too: a "long" column refuses JSON rows that name different
    attributes (and cuts 0.5 to 0), a "double" one refuses a pandas column of whole numbers. The pictures are text, for
    their base64: of a "binary" column MLflow refuses a JSON row without a picture; bytes in a pandas column pass.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema

    from facet.registry.model import OUTPUT

    columns = [ColSpec(AnyType(), name, required=False) for name in bundle.attributes]
    columns += [ColSpec("string", name, required=False) for name in (*TEXTS, *PICTURES)]
    return ModelSignature(
        inputs=Schema(columns),
        outputs=Schema([ColSpec("binary", OUTPUT)]),
        params=ParamSchema(
            [
                ParamSpec("seed", "long", 0),
                ParamSpec("steps", "long", int(bundle.sampling["steps"])),
                ParamSpec("guidance", "double", float(bundle.sampling["guidance_scale"])),
                ParamSpec("strength", "double", 1.0),
                ParamSpec("sampler", "string", bundle.sampling["sampler"]),
            ]
        ),
    )


def _example(bundle: Bundle) -> Any:
    """One face, asked for by an attribute and a sentence as far as the model reads them."""
    import pandas as pd

    attributes = bundle.attributes[:1] if bundle.reads_attributes else ()
    sentence = "a photo of a person" if bundle.reads_text else ""
    return pd.DataFrame({**{name: [1] for name in attributes}, TEXTS[0]: [sentence]})


def requirements() -> list[str]:
    """What loading needs, pinned to what is installed; local build marks such as ``+cpu`` are on no index."""
    versions = {name: installed(name) for name in (*_REQUIRED, *_REQUIRED_BY_MLFLOW)}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items() if version]


def _drop_compiled(folder: Path) -> None:
    """Remove what Python compiled while the model was saved and tried out: it belongs to this machine."""
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)


def prove_bundle(folder: Path, bundle: Bundle) -> None:
    """Load the saved model with pickles forbidden and draw one face. Raises RegistryError where it can't."""
    import mlflow

    from facet.registry.model import OUTPUT

    try:
        with _pickles_forbidden():
            drawn = mlflow.pyfunc.load_model(str(folder)).predict(_example(bundle), params={"steps": 1})
        whole = len(drawn) == 1 and drawn[OUTPUT][0].startswith(b"\x89PNG")
    except FacetError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise RegistryError(
            f"the saved model can't be loaded and drawn from ({type(error).__name__}: {first[:200].rstrip('.')}); "
            "nothing was registered: run `dvc repro` to make its parts again."
        ) from error
    if not whole:
        raise RegistryError("the saved model drew no picture; nothing was registered: run `dvc repro` again.")


@contextlib.contextmanager
def _pickles_forbidden() -> Iterator[None]:
    name = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _upload(client: MlflowClient, experiment: str, run: str, name: str, bundle: Bundle, folder: Path) -> str:
    """The saved model as a LoggedModel of the run; its id."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    logged = client.create_logged_model(
        experiment, name=name, source_run_id=run, tags={DIGEST_TAG: bundle.digest}, model_type="faces"
    )
    try:
        about = Model.load(str(folder))
        about.run_id, about.model_id, about.artifact_path = run, logged.model_id, logged.artifact_location
        about.save(str(folder / "MLmodel"))
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            client.delete_logged_model(logged.model_id)
        raise
    return logged.model_id
