"""Where a model comes from: code, pipeline state, data and environment, as far as this checkout can tell."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from facet.artifacts import FACES, digest_file, digest_json

# What decides how a model trains, draws and is scored.
_PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "numpy",
    "pillow",
    "pyarrow",
    "torch-fidelity",
    "great-expectations",
    "dvc",
    "mlflow",
)


def collect(root: Path = Path(".")) -> dict[str, Any]:
    """The lineage of the model in checkout ``root``. What isn't there (no git, no lock) is None, never an error."""
    return {
        "git": git_state(root),
        "dvc_lock": dvc_lock_digest(root / "dvc.lock"),
        "data": {"faces": _digest(root / FACES / "faces.json"), "raw_md5": raw_data_md5(root / "data.dvc")},
        "environment": {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "requirements_lock": _digest(root / "requirements.lock"),
            "packages": {name: version for name in _PACKAGES if (version := installed(name))},
        },
    }


def git_state(root: Path) -> dict[str, Any]:
    """The commit, whether tracked files differ from it, and which (at most twenty)."""
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no") if commit else None
    files = sorted(line[3:] for line in changed.splitlines()) if changed else []
    return {"commit": commit and commit.strip(), "dirty": bool(files), "changed": files[:20]}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def dvc_lock_digest(path: Path) -> str | None:
    """The digest of dvc.lock without `register`, which asks for it while that entry is still the previous one."""
    try:
        stages = dict(yaml.safe_load(path.read_text(encoding="utf-8"))["stages"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    stages.pop("register", None)
    return digest_json(stages)


def raw_data_md5(path: Path) -> str | None:
    """The hash by which data.dvc pins the raw data."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))["outs"][0]["md5"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, IndexError):
        return None


def installed(package: str) -> str | None:
    """The installed version of ``package``, None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _digest(path: Path) -> str | None:
    return digest_file(path) if path.is_file() else None
