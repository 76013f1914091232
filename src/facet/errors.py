"""Every error facet raises on purpose.

::

    FacetError                 exit code 1: something the user can act on
    ├── ParamsError            params.yaml or a command-line value is wrong
    ├── DataError              raw data is missing, broken, or not what it claims to be
    │   └── PictureError       one picture that can't become a face; `prepare` puts it aside with its reason
    ├── ArtifactError          a file that a step made is missing, of another schema, or damaged
    ├── TrainingError          a training alarm stopped the run
    ├── RegistryError          the model registry or tracking server refused, or was refused
    └── UnreachableError       exit code 75: a server or a bucket does not answer; the same command may work later

Each message is one sentence that says what was given, what was expected, and what to do next.
The command line prints the message alone; ``--debug`` adds the traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FacetError(Exception):
    """Base of all errors that carry a sentence for the user."""

    exit_code = 1


class ParamsError(FacetError):
    """A parameter is unknown, missing, of the wrong type, or out of range."""


class DataError(FacetError):
    """Raw data is missing, broken, or not in the layout that was announced."""


class PictureError(DataError):
    """One picture can't become a face. ``kind`` is the reason in a word or two, such as "broken" or "too small"."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class ArtifactError(FacetError):
    """A step's artifact is missing, damaged, or written by another schema version."""


class TrainingError(FacetError):
    """A training alarm found that going on would waste the hardware."""


class RegistryError(FacetError):
    """The model registry refused, or was refused."""


class UnreachableError(FacetError):
    """A server or a bucket does not answer. The one error that is worth another try, unchanged, a little later."""

    # sysexits.h, EX_TEMPFAIL.
    exit_code = 75


def did_you_mean(given: str, valid: Iterable[str], most: int = 3) -> str:
    """A hint naming the valid names closest to ``given``; the empty string where none is close."""
    folded = {name.casefold(): name for name in valid}
    close = difflib.get_close_matches(given.casefold(), folded, n=most, cutoff=0.5)
    if not close:
        return ""
    return " did you mean " + " or ".join(folded[name] for name in close) + "?"
