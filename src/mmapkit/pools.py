"""Threads of a pool, as one that may be interrupted needs them."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all of this module
if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import Any, Final

__all__ = ["POLL_S", "full_pool", "result_of"]

# How long Ctrl-C may go unnoticed while the main thread waits for others: Windows does not
# interrupt that, and on Linux it sleeps on if another thread was the one to take the signal.
POLL_S: Final = 0.04


def full_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Make a pool whose threads are all there, before there is any work.

    One that starts them as work comes in may be interrupted by Ctrl-C at that moment: the thread
    runs, but the pool does not know it, and `shutdown()` does not wait until its work is done.
    """
    import threading
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(count, name)
    there_are_all = threading.Event()
    try:
        for _ in range(count):  # each takes a thread of its own, for none of them ends before
            pool.submit(there_are_all.wait)
    finally:
        there_are_all.set()
    return pool


def result_of(future: Future[Any]) -> Any:
    """Wait for a result, and hear Ctrl-C meanwhile."""
    from concurrent.futures import wait

    try:
        while not future.done():
            wait((future,), POLL_S)
        return future.result()
    finally:
        del future  # an error's frames are to hold no future with it
