"""Networks as diagrams: their blocks in the order in which they run, with the shapes and the parameters that they have.

Nothing is described by hand. Hooks on one forward pass of the real modules give the shapes, the modules themselves the
counts, so that a diagram can't differ from the network that was scored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree

import torch
from torch import nn

from facet.diffusion.pipeline import FacePipeline
from facet.evaluation.charts import WIDTH, line, svg, text
from facet.models.judge import Judge
from facet.models.text import text_features

Shape = tuple[int, ...]

# Modules that are drawn as what they hold; everything else is one block.
_OPENED = ("Encoder", "Decoder", "ModuleList", "Sequential", "ConditionEncoder", "CLIPEncoder")
_ATTENDING = "CrossAttn"


@dataclasses.dataclass(frozen=True)
class Block:
    """One block of a network: where it stands, its class, its shapes without the batch, and its parameters.

    ``name`` is its path in the network; normalisation before or behind a convolution is counted with it.
    """

    name: str
    kind: str
    given: Shape
    made: Shape
    parameters: int


@dataclasses.dataclass(frozen=True)
class Network:
    """What a network is given and what it makes, each as one shape a tensor, and its blocks in the order in which they
    run; ``parameters`` is the sum over them."""

    title: str
    given: tuple[Shape, ...]
    made: tuple[Shape, ...]
    blocks: tuple[Block, ...]

    @property
    def parameters(self) -> int:
        return sum(block.parameters for block in self.blocks)


# --- looking ----------------------------------------------------------------------------------------------------------


def networks(pipeline: FacePipeline, judge: Judge, size: int) -> list[Network]:
    """Autoencoder, text encoder where there is one, condition encoder, denoiser and judge, as they run on one face of
    ``size`` pixels."""
    unet, device = pipeline.unet, pipeline.unet.device
    face = torch.zeros(1, 3, size, size, device=pipeline.vae.device)
    states = torch.zeros(1, len(pipeline.attribute_names), dtype=torch.long, device=device)
    noise = torch.zeros(1, *pipeline.latent_shape, device=device)
    ids = torch.zeros(1, pipeline.text_length, dtype=torch.long, device=device)
    reader = pipeline.text_encoder
    with torch.no_grad():
        text = None if reader is None else text_features(reader, ids)
        tokens, pooled, _ = pipeline.condition_encoder(states, text)
    conditions = {"encoder_hidden_states": tokens, "class_labels": pooled}
    found = [look("Autoencoder", pipeline.vae, lambda: pipeline.vae(face))]
    if reader is not None:
        found.append(look("Text encoder", reader, lambda: reader(input_ids=ids)))
    return [
        *found,
        look("Condition encoder", pipeline.condition_encoder, lambda: pipeline.condition_encoder(states, text)),
        look("Denoiser", unet, lambda: unet(noise, torch.zeros(1, device=device), **conditions)),
        look("Judge", judge, lambda: judge(face.to(next(judge.parameters()).device))),
    ]


def look(title: str, model: nn.Module, forward: Callable[[], object]) -> Network:
    """``model`` as ``forward``, one pass of a batch of one, finds it."""
    whole: list[tuple[tuple[Shape, ...], tuple[Shape, ...]]] = []
    seen: list[Block] = []
    joined = _joined(model)

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple, kwargs: dict, made: object) -> None:
            given = next(v for v in (*args, kwargs.get("hidden_states"), *kwargs.values()) if torch.is_tensor(v))
            parameters = sum(_count(part) for part in (module, *joined.get(name, ())))
            seen.append(Block(name, type(module).__name__, _shapes(given)[0], _shapes(made)[0], parameters))

        return hook

    def outer(module: nn.Module, args: tuple, kwargs: dict, made: object) -> None:
        whole.append((_shapes((*args, *kwargs.values())), _shapes(made)))

    handles = [part.register_forward_hook(note(name), with_kwargs=True) for name, part in _drawn(model)]
    handles.append(model.register_forward_hook(outer, with_kwargs=True))
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return Network(title, *whole[0], tuple(seen))


def _parts(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The blocks of a network in the order in which they were declared."""
    for name, child in model.named_children():
        if type(child).__name__ in _OPENED:
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.modules.batchnorm._BatchNorm)


def _drawn(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, part) for name, part in _parts(model) if _count(part) and not _is_norm(part)]


def _joined(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The normalisations that each drawn block is counted with: the convolution before them, else the block behind, if
    there is one."""
    joined: dict[str, list[nn.Module]] = {}
    parts = [(name, part) for name, part in _parts(model) if _count(part)]
    for i, (name, part) in enumerate(parts):
        if _is_norm(part):
            before = i > 0 and isinstance(parts[i - 1][1], nn.Conv2d) and _folder(parts[i - 1][0]) == _folder(name)
            before = before or i + 1 == len(parts)
            owner = next(other for other, p in (reversed(parts[:i]) if before else parts[i:]) if not _is_norm(p))
            joined.setdefault(owner, []).append(part)
    return joined


def _folder(name: str) -> str:
    return name.rpartition(".")[0]


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _shapes(found: object) -> tuple[Shape, ...]:
    """The shapes of all tensors in what a module was given or returned, without the batch."""
    if torch.is_tensor(found):
        return (tuple(found.shape[1:]),)
    if isinstance(found, Mapping):
        found = tuple(found.values())
    return tuple(shape for value in found for shape in _shapes(value)) if isinstance(found, tuple | list) else ()


# --- drawing ----------------------------------------------------------------------------------------------------------

_ROW, _MIDDLE, _WIDEST = 36, 52, 88


def diagram(network: Network) -> str:
    """An ``<svg>`` element: a row a block, from the input down. A bar's width follows the logarithm of the height and
    width of what the block makes, so that an autoencoder has its waist where the latents are."""
    title = f"{network.title}: {len(network.blocks)} blocks, {network.parameters:,} parameters"
    height = (len(network.blocks) + 2) * _ROW
    root = svg(title, WIDTH, height, "chart network")
    places = [_places(block.made) for block in network.blocks]
    most = math.log2(max(*places, 2))
    _end(root, 0, "input", network.given)
    before = network.given[0]
    for i, block in enumerate(network.blocks, start=1):
        _row(root, i, block, before, share=(1 + 4 * math.log2(places[i - 1]) / most) / 5)
        before = block.made
    _end(root, len(network.blocks) + 1, "output", network.made)
    for start, end in skips(network):
        _skip(root, start + 1, end + 1)
    return ElementTree.tostring(root, encoding="unicode")


def skips(network: Network) -> list[tuple[int, int]]:
    """Indices of the blocks that a UNet's skip connections join: each way down with its way up."""
    down, up = (
        [i for i, block in enumerate(network.blocks) if block.name.startswith(f"{way}_blocks.")]
        for way in ("down", "up")
    )
    return list(zip(down, reversed(up), strict=True)) if len(down) == len(up) else []


def sizes(shape: Shape) -> str:
    """(64, 16, 16) as "64 × 16 × 16"."""
    return " × ".join(map(str, shape)) or "1"


def _places(shape: Shape) -> int:
    """Positions of a feature map; a vector or a list of tokens has one."""
    return math.prod(shape[1:]) if len(shape) == 3 else 1


def _row(root: ElementTree.Element, i: int, block: Block, before: Shape, share: float) -> None:
    top, wide = i * _ROW, _WIDEST * share
    style = "block attends" if _ATTENDING in block.kind else "block"
    if block.given == before:
        line(root, "grid", _MIDDLE, top - 6, _MIDDLE, top + 5)
    at = {"x": f"{_MIDDLE - wide / 2:.1f}", "y": f"{top + 5:.1f}", "width": f"{wide:.1f}", "height": f"{_ROW - 11}"}
    ElementTree.SubElement(root, "rect", {"class": style, "rx": "3"} | at)
    text(root, "name", 106, top + 15, block.name.replace("_", " ").replace(".", " "))
    text(root, "end", WIDTH - 2, top + 15, sizes(block.made))
    origin = "" if block.given == before else f"from {sizes(block.given)} · "
    text(root, "end tick", WIDTH - 2, top + 28, f"{origin}{block.parameters:,}")
    text(root, "tick", 106, top + 28, block.kind)


def _end(root: ElementTree.Element, i: int, name: str, shapes: tuple[Shape, ...]) -> None:
    text(root, "middle", _MIDDLE, i * _ROW + 21, name)
    text(root, "end", WIDTH - 2, i * _ROW + 21, ", ".join(map(sizes, shapes)))


def _skip(root: ElementTree.Element, start: int, end: int) -> None:
    high, low = start * _ROW + _ROW / 2, end * _ROW + _ROW / 2
    path = f"M4 {high:.1f}H1V{low:.1f}H4"
    ElementTree.SubElement(root, "path", {"class": "skip", "d": path})
