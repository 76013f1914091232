"""Which arithmetic the hardware is good at, and how reproducible it is asked to be."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device | str) -> Literal["fp32", "bf16"]:
    """ "auto" is bf16 where the device multiplies bf16 natively, else fp32 (emulated bf16 is slower than fp32)."""
    if precision != "auto":
        return precision
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def autocast(precision: Precision, device: torch.device | str) -> torch.autocast:
    """The autocast context for ``precision`` on ``device``."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=resolve(precision, device) == "bf16")


def trained_attention(device: torch.device, tokens: int) -> AbstractContextManager:
    """How attention over ``tokens`` is computed where its gradient is wanted: on a CPU few of them as plain matrix
    products, since the fused kernel's way back then takes a quarter of a bf16 step (docs/experiments.md)."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" and tokens <= 128 else nullcontext()


def be_deterministic() -> None:
    """Ask torch for run-to-run reproducible kernels, and for as many threads as this process may use.

    Thread count is part of "the same machine": a sum split in two adds up differently from one split in four.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(True)
    # A debugging aid that the line above switches on: it overwrites every fresh tensor before it is used.
    torch.utils.deterministic.fill_uninitialized_memory = False


def default_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
