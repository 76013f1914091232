"""Drawing for several requests at once: who waits for the network while it draws for another shares its next block.

On a CPU the network always sees blocks of 16 rows (`facet.diffusion.pipeline`), so one face costs what sixteen do, and
a picture depends neither on its place in a block nor on its neighbours.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

# Faces drawn at once; whoever comes later waits for the next turn, not for a queue that never ends.
_MOST_TOGETHER = 64
# Seconds that one who had to wait leaves to the others, who have just been served and ask again.
_GATHERING = 0.02

Options = tuple[int | None, float | None]
Draw = Callable[[np.ndarray, list[int], Options], Sequence[Image.Image]]


@dataclasses.dataclass(eq=False)
class _Request:
    states: np.ndarray
    seeds: list[int]
    options: Options
    images: Sequence[Image.Image] | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.images is not None or self.error is not None


class Together:
    """``draw(states [n, k], n seeds, options)``, called by one thread at a time for all who wait with equal options."""

    def __init__(self, draw: Draw):
        self._draw = draw
        self._turn, self._door = threading.Lock(), threading.Lock()
        self._waiting: list[_Request] = []

    def __call__(self, states: np.ndarray, seeds: list[int], options: Options) -> Sequence[Image.Image]:
        """The pictures of this request alone. Raises what ``draw`` raises."""
        request = _Request(states, seeds, options)
        with self._door:
            self._waiting.append(request)
        waited = self._turn.locked()
        with self._turn:
            if not request.done:
                if waited:
                    time.sleep(_GATHERING)
                self._draw_for(self._company_of(request))
        if request.error is not None:
            raise request.error
        return request.images

    def _company_of(self, first: _Request) -> list[_Request]:
        """``first`` and those waiting that fit beside it, in the order they came; they wait no longer."""
        with self._door:
            company, room = [first], _MOST_TOGETHER - len(first.seeds)
            for other in self._waiting:
                if other is not first and other.options == first.options and len(other.seeds) <= room:
                    company.append(other)
                    room -= len(other.seeds)
            self._waiting = [other for other in self._waiting if other not in company]
        return company

    def _draw_for(self, company: list[_Request]) -> None:
        try:
            states = np.concatenate([request.states for request in company])
            images = list(self._draw(states, [s for request in company for s in request.seeds], company[0].options))
        except Exception as error:  # each of them is told
            for request in company:
                request.error = error
            return
        for request in company:
            request.images, images = images[: len(request.seeds)], images[len(request.seeds) :]
