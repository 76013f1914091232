"""JPEG -> cropped, resized uint8 face, one core: beside Pillow, a data loader's transforms and img2dataset's resizer.

``FACET_BENCH_PICTURES`` says how many pictures of the shipped set are taken (1,000 where it does not).
``FACET_BENCH_DATA`` names another folder in CelebA's layout.
"""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import side_by_side
from facet.data.blocks import How, write_blocks
from facet.data.faces import CropRule, decode_face
from facet.data.layouts import read_raw
from facet.data.raw import RawSet
from facet.evaluation.reconstruction import psnr
from facet.progress import bar

_Way = Callable[[bytes], np.ndarray]
# Large pictures cost thirty times as much: fewer of them.
_LARGE = 60


def measure() -> dict[str, object]:
    """Pictures/s of one core for 178x218 -> 64 (celeba-148) and 1024x1024 -> 256 (square), as ratios to each plain way,
    PSNR to Pillow's faces, and the step's own blocks, measured and written, on all cores as a ratio to one."""
    raw = read_raw(Path(os.environ.get("FACET_BENCH_DATA", "sample")))
    small = [raw.read(name) for name in raw.ids[: int(os.environ.get("FACET_BENCH_PICTURES", "1000"))]]
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    taken = dataclasses.replace(raw, ids=raw.ids[: len(small)])
    return {
        "178x218_to_64": _compared(small, 64, "celeba-148", 148),
        "1024_to_256": _compared([_enlarged(data) for data in small[:_LARGE]], 256, "square", 1024),
        "blocks_on_all_cores_to_one": side_by_side(
            lambda: _blocks_on(cores, taken), lambda: _blocks_on({min(cores)}, taken)
        ),
    }


def _compared(encoded: Sequence[bytes], size: int, rule: CropRule, side: int) -> dict[str, object]:
    ours = _ours(size, rule)
    ways: dict[str, _Way] = {"pillow": _pillow(size, side), "image_folder": _image_folder(size, side)}
    ways |= _img2dataset(size, side)
    rates = {
        name: side_by_side(lambda: len([ours(d) for d in encoded]), lambda way=way: len([way(d) for d in encoded]))
        for name, way in ways.items()
    }
    exact = np.stack([ways["pillow"](data) for data in encoded])
    found = psnr(exact, np.stack([ours(data) for data in encoded]))
    fidelity = {"psnr_db": round(float(found.mean()), 2), "psnr_db_worst": round(float(found.min()), 2)}
    return {"pictures": len(encoded), **rates, **fidelity, "img2dataset_found": "img2dataset" in ways}


def _ours(size: int, rule: CropRule) -> _Way:
    return lambda data: decode_face(data, size, rule)


def _blocks_on(cores: set[int], raw: RawSet) -> int:
    """What `prepare` does to pictures, beside finding duplicates and splits, on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with tempfile.TemporaryDirectory() as folder, bar(len(raw), "blocks", "face") as progress:
            how = How(size=64, crop="celeba-148", min_side=16)
            return sum(len(measured) for _, measured, _ in write_blocks(raw, how, Path(folder), progress))
    finally:
        os.sched_setaffinity(0, before)


def _enlarged(data: bytes) -> bytes:
    """A 1024x1024 JPEG like FFHQ's, of quality 92."""
    picture = Image.open(io.BytesIO(data)).convert("RGB").crop((0, 20, 178, 198))
    large = io.BytesIO()
    picture.resize((1024, 1024), Image.Resampling.BICUBIC).save(large, "JPEG", quality=92)
    return large.getvalue()


def _pillow(size: int, side: int) -> _Way:
    """Open, crop, bicubic resize."""

    def way(data: bytes) -> np.ndarray:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        cropped = picture.crop((left, top, left + side, top + side))
        return np.asarray(cropped.resize((size, size), Image.Resampling.BICUBIC))

    return way


def _image_folder(size: int, side: int) -> _Way:
    """What torchvision's ImageFolder does with CenterCrop, Resize and ToTensor, one worker, without torchvision."""
    plain = _pillow(size, side)

    def way(data: bytes) -> np.ndarray:
        pixels = torch.from_numpy(np.array(plain(data))).permute(2, 0, 1).contiguous().float() / 255
        return (pixels * 255).byte().permute(1, 2, 0).numpy()

    return way


def _img2dataset(size: int, side: int) -> dict[str, _Way]:
    """img2dataset's resizer works with OpenCV: decode, area resize, JPEG again. Nothing where that is not there."""
    try:
        import cv2
    except ImportError:
        return {}
    cv2.setNumThreads(1)

    def way(data: bytes) -> np.ndarray:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        face = cv2.resize(picture[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
        cv2.imencode(".jpg", face, [int(cv2.IMWRITE_JPEG_QUALITY), 95])
        return face[..., ::-1]

    return {"img2dataset": way}
