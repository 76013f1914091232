"""Checkpoints that a kill can't tear and another run can't pick up.

They live in ``checkpoints/<step name>/<key>/``, outside DVC's outs (DVC deletes outs before a step runs). The key is a
digest of everything the run depends on: params, seed, inputs, code. Tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from facet.artifacts import CHECKPOINTS, digest_json, whole_folder, write_json
from facet.errors import ArtifactError

_KEPT_KEYS = 2


class CheckpointStore:
    """The checkpoints of one run of one step."""

    def __init__(self, stage: str, key: dict[str, Any], root: Path = CHECKPOINTS):
        """``key`` is any JSON value that names the run; equal keys resume each other, unequal ones never meet."""
        self.folder = root / stage / digest_json(key)[:16]
        self._make_room(root / stage)

    def _make_room(self, stage_folder: Path) -> None:
        others = [p for p in stage_folder.glob("*") if p.is_dir() and p != self.folder]
        others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
        for stale in others[_KEPT_KEYS - 1 :]:
            shutil.rmtree(stale, ignore_errors=True)

    def save(self, step: int, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Write checkpoint ``step`` whole, then drop the older ones."""
        with whole_folder(self.folder / f"step-{step:08d}") as scratch:
            save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, scratch / "tensors.safetensors")
            write_json(scratch / "state.json", {"step": step, **state})
            _flush_to_disk(scratch)
        os.utime(self.folder)
        for old in sorted(self.folder.glob("step-*"))[:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def keep(self, step: int, tensors: dict[str, torch.Tensor]) -> None:
        """Write the snapshot of step ``step`` whole; unlike checkpoints, snapshots stay."""
        with whole_folder(self.folder / f"kept-{step:08d}") as scratch:
            save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, scratch / "tensors.safetensors")
            _flush_to_disk(scratch)

    def kept(self) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """Step and tensors of each snapshot, in the order of steps."""
        for folder in sorted(self.folder.glob("kept-*")):
            yield int(folder.name.removeprefix("kept-")), load_file(folder / "tensors.safetensors")

    def latest(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Tensors and state of the newest checkpoint, or None. Raises ArtifactError where it can't be read."""
        found = sorted(self.folder.glob("step-*"))
        if not found:
            return None
        try:
            tensors = load_file(found[-1] / "tensors.safetensors")
            return tensors, json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
        except Exception as error:
            raise ArtifactError(f"checkpoint {found[-1]} is damaged ({error}): delete it and run again.") from error


def _flush_to_disk(folder: Path) -> None:
    """A rename must not reach the disk before the bytes it names, or a power cut leaves an empty checkpoint."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimiser's per-parameter state as flat named tensors (a pickle could run code)."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The inverse of ``optimizer_tensors``."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for flat, value in tensors.items():
        index, _, name = flat.partition(".")
        parameter = parameters[int(index)]
        # The fused kernel walks memory, not indices: a moment must lie in memory as its (channels-last) parameter does.
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
