"""Threads that are there before their work, and what is waited for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmapkit.pools import result_of, start_threads


def test_threads_are_there_before_their_work():
    with ThreadPoolExecutor(5) as pool:
        start_threads(pool, 3)
        barrier = threading.Barrier(3)
        before = threading.active_count()
        for future in [pool.submit(barrier.wait, 60) for _ in range(3)]:
            result_of(future)
        assert threading.active_count() == before


def test_interrupt_between_two_starts_leaves_none_waiting(monkeypatch):
    with ThreadPoolExecutor(2) as pool:
        real, calls = pool.submit, []

        def submit(*work):
            calls.append(work)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(*work)

        monkeypatch.setattr(pool, "submit", submit)
        with pytest.raises(KeyboardInterrupt):
            start_threads(pool, 2)
    assert len(calls) == 2


def test_errors_are_those_of_the_work():
    def fail(error):
        raise error

    with ThreadPoolExecutor(1) as pool:
        assert result_of(pool.submit(int, "5")) == 5
        for error in (KeyError("mine"), TimeoutError("mine")):
            with pytest.raises(type(error), match="mine"):
                result_of(pool.submit(fail, error))
