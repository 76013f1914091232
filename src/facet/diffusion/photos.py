"""Photos and masks that a picture starts from, brought to what the model sees; and what of them must stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from facet.errors import ParamsError
from facet.seeding import torch_stream

# One picture for all, or one a picture: PIL, or uint8 [h, w, 3] or [n, h, w, 3].
Photo = Image.Image | np.ndarray | Sequence[Image.Image]


def as_faces(photo: Photo, size: int) -> np.ndarray:
    """uint8 [n, size, size, 3]. Raises ParamsError for another size or kind; `facet.data.faces.decode_face` makes any
    picture fit."""
    given = [photo] if isinstance(photo, Image.Image) else photo
    faces = np.stack([np.asarray(face.convert("RGB") if isinstance(face, Image.Image) else face) for face in given])
    faces = faces[None] if faces.ndim == 3 else faces
    if faces.dtype != np.uint8 or faces.shape[1:] != (size, size, 3):
        told = "x".join(map(str, faces.shape[1:]))
        raise ParamsError(
            f"the photo is {faces.dtype} {told}, expected uint8 {size}x{size}x3: crop and resize it first."
        )
    return faces


def as_masks(mask: Photo, size: int) -> np.ndarray:
    """bool [n, size, size], True where the picture is drawn anew. Raises ParamsError for another size, or a mask that
    says to draw nothing."""
    given = [mask] if isinstance(mask, Image.Image) else mask
    masks = np.stack([np.asarray(part.convert("L") if isinstance(part, Image.Image) else part) for part in given])
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.shape[1:] != (size, size):
        told = "x".join(map(str, masks.shape[1:]))
        raise ParamsError(f"the mask is {told}, expected {size}x{size} as the model draws: resize it first.")
    masks = masks if masks.dtype == bool else masks >= 128
    if not masks.any(axis=(1, 2)).all():
        raise ParamsError("the mask is all black: paint white what is to be drawn anew.")
    return masks


@dataclasses.dataclass(frozen=True)
class Start:
    """Where each picture starts from, a row a picture: ``seeds``, ``faces`` uint8 [n, h, w, 3] and ``masks`` bool
    [n, h, w] or None, ``latents`` [n, c, h', w'] in place of the seeds' noise or None."""

    seeds: list[int]
    shape: tuple[int, int, int]
    strength: float
    faces: np.ndarray | None
    masks: np.ndarray | None
    latents: torch.Tensor | None

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ParamsError(f"strength is {self.strength}, expected above 0 (the photo as it is) to 1 (all anew).")
        if self.faces is None and self.masks is not None:
            raise ParamsError("a mask says what of a photo is drawn anew: give the photo too.")
        if self.faces is None and self.latents is None and self.strength != 1:
            raise ParamsError(f"strength is {self.strength}, but there is no photo to change: give one.")
        for what, rows in (("photo", self.faces), ("mask", self.masks)):
            if rows is not None and len(rows) != len(self.seeds):
                raise ParamsError(f"{len(rows)} of {what} for {len(self.seeds)} pictures: give one, or one a picture.")
        if self.latents is not None and tuple(self.latents.shape) != (len(self.seeds), *self.shape):
            expected = (len(self.seeds), *self.shape)
            raise ParamsError(f"latents have shape {tuple(self.latents.shape)}, expected {expected}: a row a picture.")

    @property
    def noised(self) -> bool:
        """Whether ``latents`` are at the noise level of ``strength`` already."""
        return self.latents is not None and self.faces is None

    def part(self, rows: slice, multiple: int) -> Start:
        """These rows alone, the last repeated until their count is a multiple."""

        def cut(values: np.ndarray | torch.Tensor | None) -> np.ndarray | torch.Tensor | None:
            return None if values is None else values[index]

        index = list(range(len(self.seeds)))[rows]
        index += index[-1:] * (-len(index) % multiple)
        return dataclasses.replace(
            self,
            seeds=[self.seeds[row] for row in index],
            faces=cut(self.faces),
            masks=cut(self.masks),
            latents=cut(self.latents),
        )

    def noise(self, device: torch.device) -> torch.Tensor:
        """Standard normal [n, c, h', w'], of each seed its own; or the latents given in its place."""
        if self.latents is not None:
            return self.latents.to(device, torch.float32)
        drawn = [torch.randn(self.shape, generator=torch_stream(seed, "draw")) for seed in self.seeds]
        return torch.stack(drawn).to(device)

    def generators(self) -> list[torch.Generator]:
        """Of each seed its own, for noise that is drawn on the way."""
        return [torch_stream(seed, "draw steps") for seed in self.seeds]

    def free(self, device: torch.device) -> torch.Tensor | None:
        """bool [n, 1, h', w']: latents that hold a pixel to be drawn anew."""
        if self.masks is None:
            return None
        masks = torch.from_numpy(self.masks).to(device, torch.float32)[:, None]
        return F.adaptive_max_pool2d(masks, self.shape[1:]) > 0

    def composed(self, pixels: np.ndarray) -> np.ndarray:
        """Drawn pixels uint8 [m, h, w, 3] with what the mask keeps of the photo, to the byte."""
        if self.masks is None:
            return pixels
        count = len(pixels)
        return np.where(self.masks[:count, ..., None], pixels, self.faces[:count])
