"""Requests that wait are drawn together, each gets its own pictures, and each is told of an error."""

import threading

import numpy as np
import pytest

from facet.registry.batching import Together


class Drawer:
    """Stands at the network's place: notes how many faces each call draws, and is slow when told to."""

    def __init__(self):
        self.calls, self.may_go = [], threading.Event()
        self.started = threading.Event()

    def __call__(self, states, seeds, options):
        self.calls.append(len(seeds))
        self.started.set()
        assert self.may_go.wait(10)
        if options == (0, None):
            raise ValueError("no steps")
        return [f"{seed}:{int(state[0])}:{options}" for seed, state in zip(seeds, states, strict=True)]


def ask(together, answers, seeds, options=(None, None), state=1):
    def run():
        try:
            answers[tuple(seeds)] = together(np.full((len(seeds), 2), state), list(seeds), options)
        except ValueError as error:
            answers[tuple(seeds)] = error

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(together, count):
    while len(together._waiting) < count:
        pass


@pytest.fixture
def drawer():
    return Drawer()


def test_who_waits_is_drawn_together_and_gets_its_own(drawer):
    together, answers = Together(drawer), {}
    threads = [ask(together, answers, [0])]
    assert drawer.started.wait(10)
    threads += [
        ask(together, answers, [1, 2], state=-1),
        ask(together, answers, [3]),
        ask(together, answers, [4], (5, 1.0)),
    ]
    threads.append(ask(together, answers, range(100, 164)))  # alone: it fills a turn
    wait_for(together, 4)
    drawer.may_go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(drawer.calls) == [1, 1, 3, 64]
    assert answers[(1, 2)] == ["1:-1:(None, None)", "2:-1:(None, None)"]
    assert answers[(3,)] == ["3:1:(None, None)"]
    assert answers[(4,)] == ["4:1:(5, 1.0)"]
    assert together._waiting == []


def test_an_error_reaches_all_whom_it_concerns_and_nobody_else(drawer):
    together, answers = Together(drawer), {}
    threads = [ask(together, answers, [0])]
    assert drawer.started.wait(10)
    threads += [
        ask(together, answers, [1], (0, None)),
        ask(together, answers, [2], (0, None)),
        ask(together, answers, [3]),
    ]
    wait_for(together, 3)
    drawer.may_go.set()
    for thread in threads:
        thread.join(10)
    assert [str(answers[(i,)]) for i in (1, 2)] == ["no steps", "no steps"]
    assert answers[(3,)] == ["3:1:(None, None)"]
