"""Pictures of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from facet.artifacts import whole_file


def grid(faces: np.ndarray, columns: int, zoom: int = 1, gap: int = 2) -> Image.Image:
    """uint8 [n, h, w, 3] -> one picture, ``columns`` wide, each face enlarged ``zoom`` times, white gaps between."""
    count, height, width, _ = faces.shape
    rows = -(-count // columns)
    cell_h, cell_w = height * zoom + gap, width * zoom + gap
    sheet = np.full((rows * cell_h - gap, columns * cell_w - gap, 3), 255, dtype=np.uint8)
    large = faces.repeat(zoom, axis=1).repeat(zoom, axis=2)
    for i, face in enumerate(large):
        top, left = (i // columns) * cell_h, (i % columns) * cell_w
        sheet[top : top + height * zoom, left : left + width * zoom] = face
    return Image.fromarray(sheet)


def pairs(first: np.ndarray, second: np.ndarray, columns: int) -> np.ndarray:
    """Two sets [n, h, w, 3] interleaved by grid rows: a row of ``first`` above the same row of ``second``."""
    rows = len(first) // columns
    shape = (rows, columns, *first.shape[1:])
    used = slice(0, rows * columns)
    return np.stack([first[used].reshape(shape), second[used].reshape(shape)], axis=1).reshape(-1, *first.shape[1:])


def save_picture(picture: Image.Image, path: Path, text: PngInfo | None = None) -> None:
    """Write a PNG whole or not at all, with ``text`` chunks before its pixels. (`optimize` would make it a hundredth
    smaller in eight times the time.)"""
    with whole_file(path) as scratch:
        picture.save(scratch, format="PNG", pnginfo=text)
