"""JPEG -> cropped, resized uint8 face: libjpeg-turbo in threads beside a Pillow loop, and their difference."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import side_by_side
from facet.data.faces import decode_face
from facet.data.layouts import read_celeba
from facet.evaluation.reconstruction import psnr

COUNT = 1000


def measure() -> dict[str, object]:
    """Images/s for 178x218 -> 64 with crop celeba-148, one core each and with all cores, and PSNR between the two."""
    raw = read_celeba(Path("sample"))
    encoded = [raw.read(name) for name in raw.ids[:COUNT]]

    def one_core() -> int:
        return len([decode_face(data, 64, "celeba-148") for data in encoded])

    def all_cores() -> int:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return len(list(pool.map(lambda data: decode_face(data, 64, "celeba-148"), encoded)))

    def pillow() -> int:
        return len([_pillow(data) for data in encoded])

    ours = np.stack([decode_face(data, 64, "celeba-148") for data in encoded])
    exact = np.stack([_pillow(data) for data in encoded])
    return {
        "plain": "Pillow open, crop, bicubic resize, one core",
        "one_core": side_by_side(one_core, pillow),
        "all_cores": side_by_side(all_cores, pillow),
        "psnr_db": round(float(psnr(exact, ours).mean()), 2),
        "psnr_db_worst": round(float(psnr(exact, ours).min()), 2),
    }


def _pillow(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    left, top = (picture.width - 148) // 2, (picture.height - 148) // 2
    return np.asarray(picture.crop((left, top, left + 148, top + 148)).resize((64, 64), Image.Resampling.BICUBIC))
