"""Sentences as conditions: CLIP's text transformer, a pretrained one that is frozen or a small one trained here.

Both kinds are transformers' CLIPTokenizer and CLIPTextModel, so one interface serves them: captions become token ids,
ids become one hidden state a token and one for the whole sentence. A pretrained model's hidden states are computed once
for each caption (`encode`); the small one learns with the denoiser.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import torch

from facet import torchvision_ops
from facet.errors import ArtifactError
from facet.models.conditioning import TextFeatures
from facet.params import Between, Positive

torchvision_ops.declare_missing()  # transformers imports torchvision where it is installed

from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

_START, _END = "<|startoftext|>", "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class TextModelParams:
    """Architecture of the small text transformer, a CLIP text model (Radford et al., 2021) trained from scratch."""

    # Most entries of the tokenizer's vocabulary, learned by byte-pair encoding (Sennrich et al., 2016).
    vocabulary: Annotated[int, Between(300, 65535)]
    # Tokens a caption is cut or padded to, its start and end included.
    length: Annotated[int, Between(8, 512)]
    # Width of a hidden state, and the number of layers and of heads.
    width: Positive
    layers: Positive
    heads: Positive

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, expected a multiple of heads ({self.heads})")


def train_tokenizer(captions: Iterable[str], params: TextModelParams) -> CLIPTokenizer:
    """A CLIPTokenizer whose vocabulary is learned from ``captions``. The same captions give the same bytes."""
    shell = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = shell.normalizer, shell.pre_tokenizer
    # CLIP's layout: every byte, every byte that ends a word, what was merged, the two marks. As special tokens, the
    # bytes get their numbers before the learner looks at the captions, in an order of its own, which would break ties
    # between merges one way today and another tomorrow.
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    signs += [f"{sign}</w>" for sign in signs]
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocabulary - 2, special_tokens=signs, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(captions, trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    entries = [*sorted(learned["vocab"], key=learned["vocab"].get), _START, _END]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=params.length)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write ``tokenizer`` as it was made: one that has been used or loaded also remembers how it was called last."""
    learned = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    CLIPTokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        model_max_length=tokenizer.model_max_length,
        **{name: getattr(tokenizer, name) for name in ("unk_token", "bos_token", "eos_token", "pad_token")},
    ).save_pretrained(folder)


def save_text_model(model: CLIPTextModel, folder: Path) -> None:
    """Write ``model`` as safetensors, without a progress bar where nobody would see it."""
    _quiet_when_unseen()
    model.save_pretrained(folder)


def _quiet_when_unseen() -> None:
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()


def build_text_model(params: TextModelParams, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A fresh text transformer for the ids of ``tokenizer``."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=params.width,
            intermediate_size=4 * params.width,
            num_hidden_layers=params.layers,
            num_attention_heads=params.heads,
            max_position_embeddings=params.length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer saved in ``folder``. Raises ArtifactError where there is none."""
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder} holds no tokenizer ({_first_line(error)}): run the step that makes it."
        ) from None


def load_text_model(folder: Path) -> CLIPTextModel:
    """The text model saved in ``folder``, safetensors only. Raises ArtifactError where there is none."""
    _quiet_when_unseen()
    try:
        return CLIPTextModel.from_pretrained(folder, use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder} holds no text model ({_first_line(error)}): run the step that makes it."
        ) from None


def fetch_pretrained_text(name: str) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """A pretrained CLIP text model and its tokenizer by folder or hub name (``openai/clip-vit-base-patch32``),
    safetensors only. Raises ArtifactError naming both readings of ``name`` where neither works."""
    try:
        local = {"local_files_only": True} if Path(name).is_dir() else {}
        tokenizer = CLIPTokenizer.from_pretrained(name, **local)
        return tokenizer, CLIPTextModel.from_pretrained(name, use_safetensors=True, **local).eval()
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"pretrained text model {name!r} is neither a folder here nor a model that the hub gives in safetensors "
            f"({_first_line(error)}): name another in encode.text.pretrained, or null for a small one trained here."
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def token_ids(tokenizer: CLIPTokenizer, captions: Sequence[str], length: int | None = None) -> torch.Tensor:
    """Captions as ids int64 [n, length], cut or padded; ``length`` None is the tokenizer's own."""
    ids = tokenizer(list(captions), padding="max_length", truncation=True, max_length=length)["input_ids"]
    return torch.tensor(ids, dtype=torch.int64)


def cut_off(tokenizer: CLIPTokenizer, caption: str, length: int) -> str:
    """The end of ``caption`` that is beyond ``length`` tokens and will not be read; "" where all of it fits."""
    ids = tokenizer(caption, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return tokenizer.decode(ids[length - 2 :])


def unread_words(tokenizer: CLIPTokenizer, caption: str) -> list[str]:
    """Words of ``caption`` that the vocabulary has only in pieces. Where it is large enough to hold every word of the
    training captions whole, those are the words that training never met."""
    words = [part for part, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(caption.casefold())]
    return [word for word in dict.fromkeys(words) if word.isalnum() and len(tokenizer.tokenize(word)) > 1]


def text_features(model: CLIPTextModel, ids: torch.Tensor) -> TextFeatures:
    """Ids [n, l] -> hidden states [n, l, width], that of the end mark [n, width], which has seen all before it, and
    which tokens are the caption's own."""
    out = model(input_ids=ids)
    return out.last_hidden_state, out.pooler_output, own_tokens(ids)


def own_tokens(ids: torch.Tensor) -> torch.Tensor:
    """Of ids [n, l], those up to the first end mark, bool [n, l]; captions are filled up with more of them."""
    ends = (ids == ids[:, -1:]).int()
    return ends.cumsum(dim=1) - ends == 0
