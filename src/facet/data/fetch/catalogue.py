"""The data sets that `facet fetch NAME` knows: where they lie, under which licence, and how they are laid out.

A mirror is written as on the command line; ``drive:`` files are named here, by id and MD5 as torchvision publishes
them where it does. Mirrors are tried in their order.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from facet.errors import DataError


@dataclasses.dataclass(frozen=True)
class Licence:
    """What a licence permits, in a sentence. A set under a non-commercial one is fetched only after its acceptance."""

    name: str
    url: str
    terms: str
    non_commercial: bool

    def record(self, accepted: bool) -> dict[str, Any]:
        """As it stands in source.json."""
        return {
            "name": self.name,
            "url": self.url,
            "terms": self.terms,
            "non_commercial": self.non_commercial,
            "accepted": accepted,
        }


@dataclasses.dataclass(frozen=True)
class Mirror:
    """One place of a set, the files to take there (all where empty), and the layout they are in."""

    given: str
    layout: str
    only: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """A set of the catalogue."""

    name: str
    what: str
    licence: Licence
    mirrors: tuple[Mirror, ...]


_CELEBA_URL = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_CELEBA = Licence(
    "CelebA agreement",
    _CELEBA_URL,
    "Non-commercial research only; no copying, publishing or distributing of any portion, of what derives from it too.",
    non_commercial=True,
)
_CELEBAMASK = Licence(
    "CelebAMask-HQ agreement",
    "https://github.com/switchablenorms/CelebAMask-HQ",
    "Non-commercial research and education only; the terms of CelebA hold for the pictures.",
    non_commercial=True,
)
_FFHQ = Licence(
    "CC BY-NC-SA 4.0",
    "https://github.com/NVlabs/ffhq-dataset/blob/master/LICENSE.txt",
    "Non-commercial use with credit, changes named, under the same licence; each photograph has a licence of its own.",
    non_commercial=True,
)
_CARTOON = Licence(
    "CC BY 4.0",
    "https://google.github.io/cartoonset/",
    "Any use with credit to Google LLC.",
    non_commercial=False,
)
_MNIST = Licence(
    "CC BY-SA 3.0",
    "https://creativecommons.org/licenses/by-sa/3.0/",
    "Any use with credit to Yann LeCun and Corinna Cortes, under the same licence.",
    non_commercial=False,
)

CATALOGUE = {
    known.name: known
    for known in (
        KnownSet(
            "celeba",
            "202,599 photographs of celebrities, 178 x 218, with 40 attributes and identities",
            _CELEBA,
            (
                Mirror("hf:flwrlabs/celeba", "parquet"),
                Mirror("kaggle:jessicali9530/celeba-dataset", "celeba"),
                Mirror("drive:celeba", "celeba"),
            ),
        ),
        KnownSet(
            "celeba-hq",
            "30,000 of CelebA's photographs at 256 x 256, with one label: female or male",
            _CELEBA,
            (
                Mirror("hf:korexyz/celeba-hq-256x256", "parquet"),
                Mirror("kaggle:badasstechie/celebahq-resized-256x256", "unlabelled"),
            ),
        ),
        KnownSet(
            "celebamask-hq",
            "30,000 photographs at 1024 x 1024 with CelebA's 40 attributes and masks of 19 parts of the face",
            _CELEBAMASK,
            (
                Mirror("kaggle:ipythonx/celebamaskhq", "celebamask-hq"),
                Mirror("drive:celebamask-hq", "celebamask-hq"),
            ),
        ),
        KnownSet(
            "ffhq",
            "70,000 photographs from Flickr at 256 x 256, without attributes",
            _FFHQ,
            (
                Mirror("hf:merkol/ffhq-256", "parquet"),
                Mirror("kaggle:arnaud58/flickrfaceshq-dataset-ffhq", "unlabelled"),
            ),
        ),
        KnownSet(
            "cartoon-faces",
            "10,000 drawn avatars of Google's Cartoon Set at 500 x 500 with 18 attributes",
            _CARTOON,
            (Mirror("hf:cgarciae/cartoonset", "cartoon-set", only=("data/cartoonset10k.tgz",)),),
        ),
        KnownSet(
            "mnist",
            "70,000 handwritten digits at 28 x 28",
            _MNIST,
            (Mirror("hf:ylecun/mnist", "parquet"),),
        ),
    )
}

# By set: name, id, MD5 where one is published.
DRIVE_FILES: dict[str, tuple[tuple[str, str, str | None], ...]] = {
    "celeba": (
        ("img_align_celeba.zip", "0B7EVK8r0v71pZjFTYXZWM3FlRnM", "00d2c5bc6d35e252742224ab0c1e8fcb"),
        ("list_attr_celeba.txt", "0B7EVK8r0v71pblRyaVFSWGxPY0U", "75e246fa4810816ffd6ee81facbd244c"),
        ("identity_CelebA.txt", "1_ee_0u7vcNLOfNLegJRHmolfH5ICW-XS", "32bd1bd63d3c78cd57e08160ec5ed1e2"),
        ("list_landmarks_align_celeba.txt", "0B7EVK8r0v71pd0FJY3Blby1HUTQ", "cc24ecafdb5b50baae59b03474781f8c"),
        ("list_eval_partition.txt", "0B7EVK8r0v71pY0NSMzRuSXJEVkk", "d32c9cbf5e040fd4025c592c306e6668"),
    ),
    "celebamask-hq": (("CelebAMask-HQ.zip", "1badu11NqxGf6qM3PTTooQDJvQbejgbTv", None),),
}


def licence_of(given: str) -> Licence | None:
    """The licence of a set that is asked for by the address of one of its mirrors rather than by its name."""
    for known in CATALOGUE.values():
        if any(given.partition("@")[0] == mirror.given for mirror in known.mirrors):
            return known.licence
    return None


def check_accepted(name: str, licence: dict[str, Any] | None, accept: bool) -> None:
    """Raises DataError, naming the licence and the flag, where it restricts use and has not been accepted."""
    if licence is not None and licence["non_commercial"] and not accept:
        raise DataError(
            f"{name} is under the {licence['name']} ({licence['terms'].rstrip('.')}): read {licence['url']}, and add "
            "--accept-licence if you accept it"
        )
