"""From arrays to device tensors: everything a training step reads is in memory before the first step."""

from __future__ import annotations

import numpy as np
import torch


def resident(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """``array`` as a tensor on ``device`` if it takes less than half of the free memory there, else in host memory."""
    tensor = torch.from_numpy(np.array(array))
    if device.type == "cuda" and tensor.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
        return tensor.to(device)
    return tensor


def take(tensor: torch.Tensor, rows: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Rows of a resident tensor, on ``device``."""
    return tensor[rows.to(tensor.device)].to(device, non_blocking=True)
