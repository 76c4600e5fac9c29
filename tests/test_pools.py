"""Threads that are there before their work, and what is waited for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmapkit.pools import full_pool, result_of


def test_threads_are_there_before_their_work():
    others = threading.active_count()
    with full_pool(3, "mine") as pool:
        assert threading.active_count() == others + 3
        barrier = threading.Barrier(3)
        for future in [pool.submit(barrier.wait, 60) for _ in range(3)]:
            result_of(future)
        assert threading.active_count() == others + 3


def test_interrupt_between_two_starts_leaves_none(monkeypatch):
    real, started = threading.Thread.start, []

    def start(thread):
        if started:
            raise KeyboardInterrupt
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        full_pool(2, "mine")
    started[0].join(60)
    assert not started[0].is_alive()


def test_errors_are_those_of_the_work():
    def fail(error):
        raise error

    with ThreadPoolExecutor(1) as pool:
        assert result_of(pool.submit(int, "5")) == 5
        for error in (KeyError("mine"), TimeoutError("mine")):
            with pytest.raises(type(error), match="mine"):
                result_of(pool.submit(fail, error))
