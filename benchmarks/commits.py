"""Times commits of pages into stores: the same pages for each, in turns, checked afterwards."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from benchmarks.effort import Effort
from benchmarks.files import SEED
from benchmarks.harness import WrongAnswer
from benchmarks.stores import PAGE_BYTES, Store, Written, content
from benchmarks.tables import duration

Change = tuple[np.ndarray, np.ndarray]  # numbers of pages, and what they are to hold

# More in one sample would tell nothing new.
_MOST_COMMITS = 100
_WARM_UP = 3


@dataclass(frozen=True)
class Load:
    """What is committed: so many pages at a time, one after the other or anywhere, by threads."""

    page_count: int  # of the file
    count: int
    scattered: bool
    threads: int

    def __str__(self) -> str:
        size = self.page_count * PAGE_BYTES >> 10
        size_text = f"{size >> 10:,} MiB" if size >= 1024 else f"{size} KiB"
        where = "anywhere" if self.scattered else "in a row"
        pages = "1 page" if self.count == 1 else f"{self.count} pages {where}"
        if self.count == 1:
            pages += ", anywhere" if self.scattered else ", the next each time"
        by = "" if self.threads == 1 else f", {self.threads} threads"
        return f"{pages} of {size_text}{by}"

    @property
    def fits(self) -> bool:
        """Whether each thread has enough pages of its own."""
        return self.count * self.threads <= self.page_count

    def numbers(self, thread: int) -> Iterator[np.ndarray]:
        """The pages that one thread commits; threads have parts of the file of their own."""
        part = self.page_count // self.threads
        first = part * thread
        random = np.random.default_rng([SEED, thread])
        for turn in range(1 << 62):
            if self.scattered:
                numbers = np.sort(random.choice(part, self.count, replace=False, shuffle=False))
            else:
                numbers = (turn * self.count + np.arange(self.count)) % part
            yield first + numbers


class Run:
    """One store under a load: its samples, each of some commits, and what it must hold after."""

    def __init__(
        self, store: Store | Written, load: Load, effort: Effort, stamps: np.ndarray
    ) -> None:
        """Warm up, and see how many commits make a sample."""
        self.store = store
        self.latencies: list[float] = []
        self._load = load
        self._stamps = stamps  # of each page's last commit; kept over all loads of the store
        self._numbers = [load.numbers(thread) for thread in range(load.threads)]
        self._count = _WARM_UP
        estimate = self.sample()
        self._count = max(1, min(_MOST_COMMITS, round(effort.sample_s / estimate / load.threads)))
        self.latencies.clear()

    def sample(self) -> float:
        """Commit for a while: the median time of a commit; of threads, their time for each."""
        work = [self._prepared(thread) for thread in range(self._load.threads)]
        if self._load.threads == 1:
            times = self._committed(work[0])
            self.latencies += times
            return median(times)
        took: list[list[float]] = [[] for _ in work]
        errors: list[BaseException] = []
        ready = threading.Barrier(self._load.threads + 1)

        def commit(thread: int) -> None:
            ready.wait()
            try:
                took[thread] = self._committed(work[thread])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=commit, args=(i,)) for i in range(len(work))]
        for thread in threads:
            thread.start()
        ready.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - start
        if errors:
            raise errors[0]
        for times in took:
            self.latencies += times
        return elapsed / sum(map(len, took))

    def _prepared(self, thread: int) -> list[Change]:
        """The next changes of one thread, with their bytes made."""
        found = []
        for _ in range(self._count):
            numbers = next(self._numbers[thread])
            self._stamps[numbers] += 1
            found.append((numbers, content(numbers, self._stamps[numbers])))
        return found

    def _committed(self, changes: list[Change]) -> list[float]:
        times = []
        commit: Callable[[np.ndarray, np.ndarray], None] = self.store.commit
        for numbers, pages in changes:
            start = time.perf_counter()
            commit(numbers, pages)
            times.append(time.perf_counter() - start)
        return times

    def remark(self) -> str:
        """What the median does not show: checkpoints and other pauses."""
        return (
            f"mean of {len(self.latencies):,}: {duration(fmean(self.latencies))}, "
            f"slowest {duration(max(self.latencies))}"
        )

    def check(self) -> None:
        """Raise WrongAnswer unless every page holds what was committed last."""
        assert isinstance(self.store, Store)
        touched = np.flatnonzero(self._stamps)
        for at in range(0, len(touched), 4096):
            numbers = touched[at : at + 4096]
            wrong = (self.store.read(numbers) != content(numbers, self._stamps[numbers])).any(
                axis=1
            )
            if wrong.any():
                first = numbers[wrong][0]
                raise WrongAnswer(f"{self.store.name}: page {first} is not what was committed")
