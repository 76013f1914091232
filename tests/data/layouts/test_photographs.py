"""Real photographs, none of them drawn by facet, go through prepare and validate in five layouts.

They ship with scikit-image: sixteen pictures of all sizes, gray ones and one with transparency, and of Labeled Faces in
the Wild a hundred faces of 25 x 25 pixels, with a hundred patches that are no face.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage.data
from PIL import Image
from safetensors.numpy import load_file

from facet.data.expectations import check_faces
from facet.data.layouts import read_raw
from facet.data.manifest import write_faces
from facet.data.promises import DriftParams, SplitShares, ValidateParams
from facet.data.raw import RawSet
from tests import raw_sets, tiny

# Great Expectations warns of its own imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SHIPPED = Path(skimage.data.__file__).parent
# File -> (is it gray, what it shows).
PHOTOGRAPHS = {
    "astronaut.png": (False, "person"),
    "camera.png": (True, "person"),
    "chelsea.png": (False, "animal"),
    "horse.png": (False, "animal"),
    "coffee.png": (False, "thing"),
    "coins.png": (True, "thing"),
    "rocket.jpg": (False, "thing"),
    "motorcycle_left.png": (False, "thing"),
    "brick.png": (True, "ground"),
    "grass.png": (True, "ground"),
    "gravel.png": (True, "ground"),
    "moon.png": (True, "sky"),
    "hubble_deep_field.jpg": (False, "sky"),
    "retina.jpg": (False, "cells"),
    "ihc.png": (False, "cells"),
    "cell.png": (True, "cells"),
}
# So few pictures make no shares; what is left are the promises that hold for any set.
LENIENT = ValidateParams(
    split_share=SplitShares(train=0.0, valid=0.0, test=0.0),
    attribute_share=0.0,
    exclusive=(),
    max_contradictory=0.0,
    bands=(),
    max_leaking=0.0,
    drift=DriftParams(severity="fail", max_share=1.0, max_shift=100.0),
    min_brightness=1,
    max_brightness=254,
    min_contrast=1,
    min_sharpness=0.1,
    # Three of the patches that are no face are black.
    max_unusable=0.02,
)


def lfw() -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [200, 25, 25], 1 for the hundred faces and 0 for the rest)."""
    patches = np.load(SHIPPED / "lfw_subset.npy", allow_pickle=False)
    return (patches * 255).round().astype(np.uint8), (np.arange(200) < 100).astype(np.uint8)


def table(folder: Path) -> None:
    """An image folder with a CSV; the pictures byte for byte as they ship."""
    splits = ("train", "train", "train", "valid", "test")
    rows = [
        (name, "yes" if gray else "no", shows, splits[k % 5], f"a photograph of {shows}")
        for k, (name, (gray, shows)) in enumerate(PHOTOGRAPHS.items())
    ]
    raw_sets.write_csv(folder / "photographs.csv", [("file_name", "gray", "shows", "split", "caption"), *rows])
    for name in PHOTOGRAPHS:
        raw_sets.write(folder / "pictures" / name, (SHIPPED / name).read_bytes())


def classes(folder: Path) -> None:
    for name, (_, shows) in PHOTOGRAPHS.items():
        raw_sets.write(folder / shows / name, (SHIPPED / name).read_bytes())


def celeba(folder: Path) -> None:
    """Faces and patches as CelebA has them: gray JPEG, a table of 1 and -1, a partition."""
    patches, labels = lfw()
    ids = [f"{k + 1:06d}.jpg" for k in range(200)]
    rows = [f"{name} {1 if label else -1}" for name, label in zip(ids, labels, strict=True)]
    raw_sets.write(folder / "list_attr_celeba.txt", "\n".join(["200", "Face", *rows]))
    raw_sets.write(folder / "list_eval_partition.txt", "\n".join(f"{name} {k % 3}" for k, name in enumerate(ids)))
    for name, patch in zip(ids, patches, strict=True):
        raw_sets.write(folder / "img_align_celeba" / name, raw_sets.encoded(Image.fromarray(patch)))


def parquet(folder: Path) -> None:
    folder.mkdir(parents=True)
    patches, labels = lfw()
    content = {
        "image": pa.array(
            [{"bytes": raw_sets.encoded(Image.fromarray(patch), "PNG"), "path": None} for patch in patches]
        ),
        "face": pa.array([bool(label) for label in labels]),
        "celeb_id": pa.array(range(200)),
    }
    pq.write_table(pa.table(content), folder / "train-00000-of-00001.parquet", row_group_size=50)


def mnist(folder: Path) -> None:
    patches, labels = lfw()
    for part, rows in (("train", slice(0, None, 2)), ("t10k", slice(1, None, 2))):
        some = patches[rows]
        raw_sets.write(folder / f"{part}-images-idx3-ubyte", struct.pack(">4I", 0x803, *some.shape) + some.tobytes())
        raw_sets.write(folder / f"{part}-labels-idx1-ubyte", struct.pack(">2I", 0x801, 100) + labels[rows].tobytes())


def prepared(write: Callable[[Path], None], folder: Path) -> tuple[RawSet, dict]:
    """(raw set, content of faces.json) of what ``write`` makes, once no promise of severity `fail` is broken."""
    write(folder / "raw")
    raw = read_raw(folder / "raw")
    about = write_faces(raw, tiny.prepare_params(crop="square", size=16), folder / "faces")
    verdict = check_faces(folder / "faces", LENIENT, folder / "docs")
    assert not verdict.broken("fail"), [(o.promise.name, o.unexpected) for o in verdict.broken("fail")]
    return raw, about


@pytest.mark.filterwarnings("ignore:the data names no picture:UserWarning")
@pytest.mark.parametrize("write", [table, classes, celeba, parquet, mnist])
def test_photographs_keep_every_promise_in_every_layout(write, tmp_path):
    raw, about = prepared(write, tmp_path)
    assert raw.layout == write.__name__
    aside = tiny.table(tmp_path / "faces/quarantine.parquet")
    assert about["count"] + len(aside) == len(raw)
    assert about["count"] > 0.9 * len(raw), aside
    assert about["attributes"] == list(raw.names)
    kept = tiny.table(tmp_path / "faces/manifest.parquet")
    known = dict(zip(raw.ids, raw.attributes.tolist(), strict=True))
    for row in kept:
        assert [row[f"attribute:{name}"] for name in raw.names] == known[row["id"]]


def test_the_faces_are_the_photographs(tmp_path):
    """A gray picture stays gray, a face has the colours of its photograph, and sizes are those of the files."""
    raw, _ = prepared(table, tmp_path)
    assert raw.names == ("gray", *(f"shows_{what}" for what in sorted({shows for _, shows in PHOTOGRAPHS.values()})))
    faces = np.concatenate([load_file(path)["faces"] for path in sorted((tmp_path / "faces").glob("*.safetensors"))])
    for face, row in zip(faces, tiny.table(tmp_path / "faces/manifest.parquet"), strict=True):
        name = row["id"].removeprefix("pictures/")
        with Image.open(SHIPPED / name) as photograph:
            assert (row["width"], row["height"]) == photograph.size
            side = min(photograph.size)
            left, top = ((length - side) // 2 for length in photograph.size)
            square = np.asarray(photograph.convert("RGBA").crop((left, top, left + side, top + side)), np.float64)
        alpha = square[..., 3:] / 255
        expected = (square[..., :3] * alpha + 255 * (1 - alpha)).mean(axis=(0, 1))
        assert np.allclose(face.mean(axis=(0, 1)), expected, atol=4), name
        if PHOTOGRAPHS[name][0]:
            assert (np.ptp(face.astype(int), axis=-1) <= 1).all(), name
        assert row["captions"] == [f"a photograph of {PHOTOGRAPHS[name][1]}"]
