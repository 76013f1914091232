"""Requests that wait are drawn together, each gets its own pictures, and each is told of an error."""

import threading

import pytest

from facet.registry.batching import Together


class Drawer:
    """Stands at the network's place: notes how many faces each call draws, and is slow when told to."""

    def __init__(self):
        self.calls, self.may_go = [], threading.Event()
        self.started = threading.Event()

    def __call__(self, rows, options):
        self.calls.append(len(rows))
        self.started.set()
        assert self.may_go.wait(10)
        if options == (0, None):
            raise ValueError("no steps")
        return [f"{row}:{options}" for row in rows]


def ask(together, answers, rows, options=(None, None)):
    def run():
        try:
            answers[tuple(rows)] = together(list(rows), options)
        except ValueError as error:
            answers[tuple(rows)] = error

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
        ask(together, answers, [1, 2]),
        ask(together, answers, [3]),
        ask(together, answers, [4], (5, 1.0)),
    ]
    threads.append(ask(together, answers, range(100, 164)))  # alone: it fills a turn
    wait_for(together, 4)
    drawer.may_go.set()
    for thread in threads:
        thread.join(10)
    assert sorted(drawer.calls) == [1, 1, 3, 64]
    assert answers[(1, 2)] == ["1:(None, None)", "2:(None, None)"]
    assert answers[(3,)] == ["3:(None, None)"]
    assert answers[(4,)] == ["4:(5, 1.0)"]
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
    assert answers[(3,)] == ["3:(None, None)"]
