"""A small raw set of every layout that `prepare` reads, written as its authors would: to read, to break, to fuzz."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from facet.data.drawn import write_drawn_set
from facet.data.raw import LANDMARKS

POINTS = [f"{point}_{axis}" for point in LANDMARKS for axis in "xy"]


def picture(number: int, kind: str = "PNG", size: tuple[int, int] = (24, 20)) -> bytes:
    """An encoded picture that no other number has."""
    ramp = np.linspace(0, 255, size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])
    pixels = np.stack([ramp, ramp[::-1], np.full_like(ramp, number * 37 % 256)], axis=-1)
    return encoded(Image.fromarray(pixels), kind)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """A picture's file, as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def write_csv(path: Path, rows: Sequence[Sequence], delimiter: str = ",") -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    write(path, text.getvalue())


def celeba(folder: Path) -> None:
    write_drawn_set(folder, 6, seed=0)
    rows = [f"{k + 1:06d}.jpg {' '.join(str(40 + k + i) for i in range(10))}" for k in range(6)]
    write(folder / "list_landmarks_align_celeba.txt", "\n".join(["6", " ".join(POINTS), *rows]) + "\n")


def celeba_csv(folder: Path) -> None:
    """As Kaggle has it: tables as CSV, the folder of pictures twice, one in the other."""
    ids = [f"{k:06d}.jpg" for k in range(1, 7)]
    write_csv(
        folder / "list_attr_celeba.csv",
        [("image_id", "Male", "Smiling"), *((name, 1 - 2 * (k % 2), 1) for k, name in enumerate(ids))],
    )
    write_csv(folder / "list_eval_partition.csv", [("image_id", "partition"), *((n, k % 3) for k, n in enumerate(ids))])
    write_csv(
        folder / "list_landmarks_align_celeba.csv",
        [("image_id", *POINTS), *((name, *range(k, k + 10)) for k, name in enumerate(ids))],
    )
    for k, name in enumerate(ids):
        write(folder / "img_align_celeba/img_align_celeba" / name, picture(k, "JPEG"))


def celebamask(folder: Path) -> None:
    base = folder / "CelebAMask-HQ"
    write(base / "CelebAMask-HQ-attribute-anno.txt", "3\nMale Smiling \n0.jpg  1 -1\n1.jpg -1 -1\n2.jpg  1  1\n")
    mapping = "idx     orig_idx    orig_file\n0  119613  119614.jpg\n1  99094  099095.jpg\n2  5  000006.jpg\n"
    write(base / "CelebA-HQ-to-CelebA-mapping.txt", mapping)
    write(folder / "list_eval_partition.txt", "000006.jpg 2\n099095.jpg 1\n119614.jpg 0\n000001.jpg 0\n")
    write(base / "CelebAMask-HQ-mask-anno/0/00000_hair.png", picture(9))
    for k in range(3):
        write(base / f"CelebA-HQ-img/{k}.jpg", picture(k, "JPEG"))


def table(folder: Path) -> None:
    header = ("file_name", "split", "person", "smiling", "hair", "age", "text", *POINTS)
    hair = ("black", "fair", "", "black")
    split = ("train", "val", "test", "train")
    rows = [
        (
            f"{k}.png",
            split[k],
            f"p{k // 2}",
            ("yes", "no", "?", "1")[k],
            hair[k],
            20 + k,
            f"face, {k}",
            *range(k, k + 10),
        )
        for k in range(4)
    ]
    write_csv(folder / "faces.csv", [header, *rows])
    for k in range(4):
        write(folder / f"img/{k}.png", picture(k))


def jsonl(folder: Path) -> None:
    """Hugging Face's image folder: a metadata.jsonl beside the pictures of each split."""
    for part, count in (("train", 3), ("test", 2)):
        lines = [
            {"file_name": f"{k}.png", "smiling": bool(k % 2), "captions": [f"{part} {k}", "a face"], "hat": None}
            for k in range(count)
        ]
        write(folder / part / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        for k in range(count):
            write(folder / part / f"{k}.png", picture(k))


def classes(folder: Path) -> None:
    for k, name in enumerate(("train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/big dog/x/3.png")):
        write(folder / name, picture(k))


def parquet(folder: Path, rows: int = 5, row_group: int = 2) -> None:
    """As flwrlabs/celeba: pictures as {bytes, path}, attributes as booleans, a file a split."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for part in ("train", "valid"):
        content = {
            "image": pa.array([{"bytes": picture(k, "JPEG"), "path": f"{k}.jpg"} for k in range(rows)], kind),
            "celeb_id": pa.array([7 + k // 2 for k in range(rows)], pa.int64()),
            "Smiling": pa.array([k % 2 == 0 for k in range(rows)]),
            "Male": pa.array([None if k == 0 else k % 2 == 1 for k in range(rows)], pa.bool_()),
            "captions": pa.array([[f"{part} {k}", "twice"][: k % 3] for k in range(rows)], pa.list_(pa.string())),
        }
        path = folder / f"data/{part}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(content), path, row_group_size=row_group)


def class_label(folder: Path) -> None:
    """MNIST as parquet: an integer column whose names are noted in the schema."""
    note = {"info": {"features": {"label": {"names": ["zero", "one", "two"], "_type": "ClassLabel"}}}}
    content = pa.table({"image": pa.array([picture(k) for k in range(4)]), "label": pa.array([2, 0, 1, 0], pa.int64())})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        content.replace_schema_metadata({"huggingface": json.dumps(note)}), folder / "test-00000-of-00001.parquet"
    )


def mnist(folder: Path) -> None:
    for part, count, pack in (("train", 5, gzip.compress), ("t10k", 3, bytes)):
        pixels = np.arange(count * 28 * 28, dtype=np.uint32).astype(np.uint8).tobytes()
        ending = ".gz" if part == "train" else ""
        images = struct.pack(">4I", 0x803, count, 28, 28) + pixels
        labels = struct.pack(">2I", 0x801, count) + bytes(k % 3 for k in range(count))
        write(folder / f"{part}-images-idx3-ubyte{ending}", pack(images))
        write(folder / f"{part}-labels-idx1-ubyte{ending}", pack(labels))


def cartoon(folder: Path) -> None:
    """Google's Cartoon Set as Hugging Face has it: one .tgz, in it a picture and its table a face."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "cartoonset10k.tgz", "w:gz") as archive:
        for k in range(3):
            rows = f'"hair_color", {k % 2}, 10\n"glasses", {k}, 12\n"face_shape", 0, 7\n'
            for suffix, content in (("png", picture(k)), ("csv", rows.encode())):
                member = tarfile.TarInfo(f"cartoonset10k/cs{1234 + k}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def unlabelled(folder: Path) -> None:
    for k in range(3):
        write(folder / f"{k}.png", picture(k))


def zipped_table(folder: Path) -> None:
    """The pictures of ``table`` in an archive."""
    table(folder)
    with zipfile.ZipFile(folder / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "img").iterdir()):
            archive.write(path, f"img/{path.name}")
            path.unlink()


# Name -> (what writes it, the layout it is read as).
SETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "celeba": (celeba, "celeba"),
    "celeba-csv": (celeba_csv, "celeba"),
    "celebamask-hq": (celebamask, "celebamask-hq"),
    "table": (table, "table"),
    "table-zip": (zipped_table, "table"),
    "jsonl": (jsonl, "table"),
    "classes": (classes, "classes"),
    "parquet": (parquet, "parquet"),
    "class-label": (class_label, "parquet"),
    "mnist": (mnist, "mnist"),
    "unlabelled": (unlabelled, "unlabelled"),
    "cartoon-set": (cartoon, "cartoon-set"),
}
