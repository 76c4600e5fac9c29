"""Threads that share the work of somebody who may be interrupted at any moment.

Python hears Ctrl-C in its main thread, between any two steps. What the standard library has for
threads is written in Python itself: `threading.Condition`, and with it `Thread.start()` and all of
`concurrent.futures`, keep a lock for ever if they are interrupted just when they have taken it, and
then everybody waits for everybody. Here the caller touches nothing but queues and locks in C, whose
calls are done or not done; threads are started by a thread, for only the main one is interrupted.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from contextlib import suppress

TYPE_CHECKING = False  # importing typing would cost more than all of this module
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from queue import SimpleQueue
    from threading import Thread
    from typing import Any, Final

__all__ = ["POLL_S", "Pool", "Task"]

# How long Ctrl-C may go unnoticed while the main thread waits for others: Windows does not
# interrupt that, and on Linux it sleeps on if another thread was the one to take the signal.
POLL_S: Final = 0.04


class Task:
    """A call that a thread makes for another one.

    Attributes
    ----------
    ended : bool
        Whether there is nothing to wait for: it was made, or never will be.
    """

    __slots__ = ("_arguments", "_claim", "_end", "_error", "_result", "_tell", "_work", "ended")

    def __init__(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        tell: Callable[[Task], object] | None = None,
    ) -> None:
        """Promise work(*arguments), and then tell(self), both in the thread that does it."""
        self._work: Callable[..., Any] | None = work
        self._arguments = arguments
        self._tell = tell
        self._result: Any = None
        self._error: BaseException | None = None
        self._claim = allocate_lock()  # whoever takes it decides: a thread that it begins
        self._end = allocate_lock()
        self._end.acquire()
        self.ended = False

    def run(self) -> None:
        """Make the call, unless that was settled."""
        work = self._work
        if not self._claim.acquire(False):
            return
        assert work is not None
        try:
            self._result = work(*self._arguments)
        except BaseException as error:
            self._error = error
        self._work, self._arguments = None, ()
        self.ended = True
        self._end.release()
        if self._tell is not None:
            self._tell(self)
        del self, work  # the error's frames lead back here: through them it would hold itself

    def wait(self) -> None:
        """Wait for the end, and hear Ctrl-C meanwhile."""
        while not self.ended:
            self._end.acquire(True, POLL_S)

    def result(self) -> Any:
        """Wait for what the call returns, or raise what it raised; once."""
        self.wait()
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error

    def settle(self) -> None:
        """Keep the call from being made; if it has begun, wait for the end."""
        if self._claim.acquire(False):
            self.ended = True
        self.wait()


class Pool:
    """So many threads, there from the beginning, until `close()`."""

    _lives: Sequence[Task] = ()  # the life of each thread

    def __init__(self, count: int, name: str) -> None:
        """Start them; RuntimeError if the system has not so many."""
        from queue import SimpleQueue
        from threading import Thread

        self.count = count
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._lives = [Task(_serve, self._queue) for _ in range(count)]
        # Daemons: who still waits for work at the end of the program keeps nobody waiting.
        self._threads = [
            Thread(target=life.run, name=f"{name}_{number}", daemon=True)
            for number, life in enumerate(self._lives)
        ]
        starting = Task(_start, self._threads)
        try:
            start_new_thread(starting.run, ())
            starting.result()
        except BaseException:
            starting.settle()
            self.close()
            raise

    def start(self, task: Task) -> None:
        """Have a task done by whoever is free next."""
        self._queue.put(task)

    def close(self) -> None:
        """Have nothing begun any more, and wait until nobody works."""
        from queue import Empty

        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        self.dismiss()
        for life in self._lives:
            life.settle()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def dismiss(self) -> None:
        """Send everybody home who has done what was started, and wait for nobody."""
        for _ in self._lives:
            self._queue.put(None)

    def __del__(self) -> None:
        """Send those home that nobody closed: Ctrl-C came before the block was entered."""
        self.dismiss()


def _start(threads: Iterable[Thread]) -> None:
    for thread in threads:
        thread.start()


def _serve(queue: SimpleQueue[Task | None]) -> None:
    while (task := queue.get()) is not None:
        task.run()
        del task  # and what it holds, before the next one comes
