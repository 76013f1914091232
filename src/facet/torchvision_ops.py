"""Let ``import torchvision`` work beside a CPU torch.

The registry's torchvision for Linux is the CUDA build. Beside a CPU torch its C library does not load, and the import
then dies with "operator torchvision::nms does not exist", because one of its modules registers a shape rule for an
operator that the library would have declared. torch-fidelity imports torchvision, and transformers and diffusers probe
for it, so all three go down with it although nothing here detects boxes. Declaring the two operators' schemas, without
any kernel, is enough for the import; calling them still fails, as it must. Where the C library loads, as on a GPU box,
or where torchvision is not installed, nothing is declared.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_kept_alive: list[Any] = []  # a torch.library.Library takes its declarations along when it is collected


def declare_missing() -> bool:
    """Declare torchvision's operators where its own library can't; call it before what imports torchvision.

    Says whether anything was declared. Calling it again, or after torchvision itself, does nothing.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False

    import torch

    if _declared(torch) or _library_loads(torch, Path(spec.origin).parent):
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS.values():
        library.define(schema)
    _kept_alive.append(library)
    return True


def _declared(torch: Any) -> bool:
    return all(hasattr(torch.ops.torchvision, name) for name in _SCHEMAS)


def _library_loads(torch: Any, package: Path) -> bool:
    """Load torchvision's C library just as its own import does; a second load of the same file changes nothing."""
    for path in sorted([*package.glob("_C*.so"), *package.glob("_C*.pyd")]):
        try:
            torch.ops.load_library(str(path))
        except (ImportError, OSError):
            continue
        if _declared(torch):
            return True
    return False
