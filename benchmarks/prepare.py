"""Encoded pictures -> square uint8 faces, one core, side by side with the plain ways, and their difference.

``FACET_BENCH_PICTURES`` sets how many small pictures (1,000 where unset), ``FACET_BENCH_FACES`` the folder they are in,
in CelebA's layout (``sample``); a set of 20,000 is drawn by `facet draw-faces --n 20000 --out FOLDER`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import side_by_side
from facet.data.faces import CropRule, crop_box, decode_face
from facet.data.layouts import read_celeba
from facet.evaluation.reconstruction import psnr
from facet.torchvision_ops import declare_missing

PICTURES, FACES = "FACET_BENCH_PICTURES", "FACET_BENCH_FACES"
# One of these is worth thirty of the others.
_LARGE_SHARE, _LARGE_SIDE, _QUALITY = 32, 1024, 92
_AT_ONCE = 32

Way = Callable[[bytes], Any]


def measure() -> dict[str, object]:
    """Pictures/s of both cases, each beside each plain way: 178x218 -> 64 with crop celeba-148, and 1024x1024 -> 256
    with crop square; PSNR in dB to Pillow's result over all pictures, mean and worst."""
    raw = read_celeba(Path(os.environ.get(FACES, "sample")))
    small = [raw.read(name) for name in raw.ids[: int(os.environ.get(PICTURES, "1000"))]]
    large = [_enlarged(data, seed) for seed, data in enumerate(small[: max(1, len(small) // _LARGE_SHARE)])]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "178x218 to 64": _case(small, 64, "celeba-148"),
            "1024x1024 to 256": _case(large, 256, "square"),
        }
    finally:
        torch.set_num_threads(threads)


def _case(encoded: list[bytes], size: int, rule: CropRule) -> dict[str, object]:
    def ours(data: bytes) -> np.ndarray:
        return decode_face(data, size, rule)

    def all_cores() -> int:
        # Some at a time: handing over single small pictures costs as much as a second core gives.
        parts = [encoded[at : at + _AT_ONCE] for at in range(0, len(encoded), _AT_ONCE)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return sum(pool.map(lambda part: _over(part, ours)(), parts))

    pillow = _pillow(size, rule)
    plain = {
        "pillow": pillow,
        "torchvision": _torchvision(size, rule),
        "img2dataset": _img2dataset(size, rule),
    }
    scores = [float(psnr(pillow(data)[None], ours(data)[None])[0]) for data in encoded]
    return {
        "pictures": len(encoded),
        "one_core": {
            name: "absent" if way is None else side_by_side(_over(encoded, ours), _over(encoded, way))
            for name, way in plain.items()
        },
        "all_cores_beside_one_of_pillow": side_by_side(all_cores, _over(encoded, pillow)),
        "psnr_db": round(float(np.mean(scores)), 2),
        "psnr_db_worst": round(min(scores), 2),
    }


def _over(encoded: list[bytes], way: Way) -> Callable[[], int]:
    def work() -> int:
        for data in encoded:
            way(data)
        return len(encoded)

    return work


def _pillow(size: int, rule: CropRule) -> Way:
    """Open, crop, bicubic resize."""

    def way(data: bytes) -> np.ndarray:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        box = tuple(int(edge) for edge in crop_box(*picture.size, rule))
        return np.asarray(picture.crop(box).resize((size, size), Image.Resampling.BICUBIC))

    return way


def _torchvision(size: int, rule: CropRule) -> Way | None:
    """What an ImageFolder with CenterCrop, Resize and PILToTensor does for each picture, its loader aside."""
    declare_missing()
    try:
        from torchvision import transforms
        from torchvision.transforms.functional import InterpolationMode
    except ImportError:
        return None
    side = _LARGE_SIDE if rule == "square" else int(rule.removeprefix("celeba-"))
    steps = [
        transforms.CenterCrop(side),
        transforms.Resize(size, interpolation=InterpolationMode.BICUBIC, antialias=True),
        transforms.PILToTensor(),
    ]
    transform = transforms.Compose(steps)
    return lambda data: transform(Image.open(io.BytesIO(data)).convert("RGB"))


def _img2dataset(size: int, rule: CropRule) -> Way | None:
    """Its resizer: OpenCV decodes, crops the centre, averages areas, and writes a JPEG again."""
    try:
        from img2dataset.resizer import Resizer
    except ImportError:
        return None
    # Of a 178x218 picture its centred square is all it knows to cut.
    resizer = Resizer(size, "center_crop", False, encode_quality=95)

    def way(data: bytes) -> bytes:
        written, *_, error = resizer(io.BytesIO(data))
        if error is not None:
            raise RuntimeError(error)
        return written

    return way


def _enlarged(data: bytes, seed: int) -> bytes:
    """A JPEG of 1024x1024, with fine grain, so that it is as long as a photograph's."""
    with Image.open(io.BytesIO(data)) as image:
        side = min(image.size)
        picture = image.convert("RGB").crop(crop_box(*image.size, "square"))
    enlarged = np.asarray(picture.resize((_LARGE_SIDE, _LARGE_SIDE), Image.Resampling.BICUBIC, (0, 0, side, side)))
    grain = np.random.default_rng(seed).integers(0, 256, (_LARGE_SIDE // 2, _LARGE_SIDE // 2), dtype=np.uint8)
    grain = np.asarray(Image.fromarray(grain).resize((_LARGE_SIDE, _LARGE_SIDE), Image.Resampling.BICUBIC))
    out = io.BytesIO()
    grainy = enlarged + (grain[..., None].astype(float) - 128) / 10
    Image.fromarray(grainy.round().clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
