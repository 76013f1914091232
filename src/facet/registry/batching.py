"""Drawing for several requests at once: who waits for the network while it draws for another shares its next block.

On a CPU the network always sees blocks of 16 rows (`facet.diffusion.pipeline`), so one face costs what sixteen do, and
a picture depends neither on its place in a block nor on its neighbours.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

# Faces drawn at once; whoever comes later waits for the next turn, not for a queue that never ends.
_MOST_TOGETHER = 64
# Seconds that one who had to wait leaves to the others, who have just been served and ask again.
_GATHERING = 0.02

Row, Options, Picture = TypeVar("Row"), TypeVar("Options", bound=Hashable), TypeVar("Picture")


@dataclasses.dataclass(eq=False)
class _Request(Generic[Row, Options, Picture]):
    rows: Sequence[Row]
    options: Options
    pictures: Sequence[Picture] | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.pictures is not None or self.error is not None


class Together(Generic[Row, Options, Picture]):
    """``draw(n rows, options)`` -> n pictures, called by one thread at a time for all who wait with equal options."""

    def __init__(self, draw: Callable[[Sequence[Row], Options], Sequence[Picture]]):
        self._draw = draw
        self._turn, self._door = threading.Lock(), threading.Lock()
        self._waiting: list[_Request] = []

    def __call__(self, rows: Sequence[Row], options: Options) -> Sequence[Picture]:
        """The pictures of this request alone. Raises what ``draw`` raises."""
        request = _Request(rows, options)
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
        return request.pictures

    def _company_of(self, first: _Request) -> list[_Request]:
        """``first`` and those waiting that fit beside it, in the order they came; they wait no longer."""
        with self._door:
            company, room = [first], _MOST_TOGETHER - len(first.rows)
            for other in self._waiting:
                if other is not first and other.options == first.options and len(other.rows) <= room:
                    company.append(other)
                    room -= len(other.rows)
            self._waiting = [other for other in self._waiting if other not in company]
        return company

    def _draw_for(self, company: list[_Request]) -> None:
        try:
            pictures = list(self._draw([row for request in company for row in request.rows], company[0].options))
        except Exception as error:  # each of them is told
            for request in company:
                request.error = error
            return
        for request in company:
            request.pictures, pictures = pictures[: len(request.rows)], pictures[len(request.rows) :]
