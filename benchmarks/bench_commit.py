"""Many pages changed in one commit: transactions against LMDB, SQLite, msync and whole files.

Beside them the floor, which no journal gets below: pages written over those of a file that has its
blocks, and one fdatasync.
"""

import contextlib
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import rivals
from benchmarks.commits import Load, Run
from benchmarks.effort import Effort
from benchmarks.files import SEED, Files
from benchmarks.harness import Comparison, Way, WrongAnswer, call, compare, order, summarise
from benchmarks.machine import written_bytes
from benchmarks.stores import PAGE_BYTES, RIVALS, Ours, Written
from mmapkit.mapping import see_to_journal

TITLE = "commit: many pages changed at once, on the disk when it returns"

MIB = 1 << 20
COUNTS = (1, 16, 256)
THREADS = (1, 4)
DIRTY_COUNT = 1_000

AS_FAST = 1.0  # as the faster of the atomic rivals
FASTER_WHEN_MANY = 1.3  # with the most pages
FLOOR_SHARE = 1 / 1.4  # of the time of one page, what the floor takes


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    folder = files.folder("commit")
    found = []
    for size in (effort.big_bytes // 16, effort.big_bytes):
        found += _commits(folder, size // PAGE_BYTES, effort)
    return [
        *found,
        _finding(folder, effort),
        _applying(folder, effort),
        _recovering(folder, effort),
        _reading(folder, effort),
        _first(folder, effort),
        _never(folder, effort),
    ]


# --- commits --------------------------------------------------------------------------------------


def _commits(folder: Path, page_count: int, effort: Effort) -> list[Comparison]:
    """All loads on files of one size, which are filled once."""
    _, missing = rivals.installed("lmdb")
    size = page_count * PAGE_BYTES
    kinds: list[type[Any]] = [Ours]
    for kind in RIVALS:
        small_enough = kind.largest_bytes is None or size <= kind.largest_bytes
        if small_enough and kind.__name__.lower() not in missing:
            kinds.append(kind)
    with ExitStack() as stack:
        stores = []
        for kind in kinds:
            store = kind(folder, page_count)
            stack.callback(store.close)
            stores.append((store, np.zeros(page_count, "u8")))
        loads = [
            Load(page_count, count, scattered, threads)
            for threads in THREADS
            for count in COUNTS
            for scattered in (True, False)
        ]
        return [
            _one_load(folder, load, stores, effort, list(missing)) for load in loads if load.fits
        ]


def _one_load(
    folder: Path,
    load: Load,
    stores: list[tuple[Any, np.ndarray]],
    effort: Effort,
    missing: list[str],
) -> Comparison:
    floors = [Written(folder, 1)]
    if load.count > 1:
        floors.append(Written(folder, load.count))
    alone = Load(load.page_count, load.count, load.scattered, threads=1)
    runs = [Run(store, load, effort, stamps) for store, stamps in stores]
    runs += [Run(floor, alone, effort, np.zeros(load.page_count, "u8")) for floor in floors]
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(effort.big_rounds):
        for index in order(turn, len(runs)):
            seconds[index].append(runs[index].sample())
    for one in runs[: len(stores)]:
        one.check()
    for floor in floors:
        floor.close()
    ways = [Way(one.store.role, one.store.name, "", {}, target=_target(one, load)) for one in runs]
    found = summarise(f"commit {load}", ways, seconds, missing=missing)
    for index, one in enumerate(runs):
        found = found.remark(index, one.remark())
    return found


def _target(one: Run, load: Load) -> float | None:
    if one.store.atomic:
        return FASTER_WHEN_MANY if load.count == max(COUNTS) else AS_FAST
    if isinstance(one.store, Written) and load.count == load.threads == 1:
        return FLOOR_SHARE
    return None


# --- what a commit is made of, and what surrounds it ----------------------------------------------


def _finding(folder: Path, effort: Effort) -> Comparison:
    """Which pages a private mapping has changed; each way that works here."""
    from mmapkit import _native

    path = folder / "finding"
    pages = effort.big_bytes // PAGE_BYTES
    count = min(DIRTY_COUNT, pages // 4)
    with path.open("wb") as file:
        for _ in range(0, effort.big_bytes, MIB):
            file.write(b"\x01" * MIB)
    numbers = np.random.default_rng(SEED).choice(pages, count, replace=False)
    base, private = mk.open(path), mk.open(path, "c")
    private.array("u1", (pages, PAGE_BYTES))[np.sort(numbers), 0] = 2

    def found(method: str) -> Callable[[], int]:
        other = base if method == "compare" else None

        def find() -> int:
            runs = np.frombuffer(private._changes(method, other), "<i8").reshape(-1, 2)
            return int(runs[:, 1].sum())

        return find

    ways = [call("ours", method, found(method)) for method in _native.change_methods()]
    size = f"{effort.big_bytes // MIB:,} MiB"
    result = compare(f"find {count:,} changed pages of {size}", ways, effort, rounds=effort.rounds)
    private.close()
    base.close()
    path.unlink()
    best = min(line.median_s for line in result.lines)
    verdict = "met" if best < 0.010 else "missed"
    return result.remark(0, f"the fastest: target < 10 ms: {verdict}")


def _applying(folder: Path, effort: Effort) -> Comparison:
    """What a commit does when it is in the journal, and what it could have done instead: stores
    into a mapping, after which the system writes whole folios back."""
    path = folder / "applying"
    pages = effort.big_bytes // PAGE_BYTES
    count = min(DIRTY_COUNT, pages // 4)
    with path.open("wb") as file:
        for _ in range(0, effort.big_bytes, MIB):
            file.write(b"\x01" * MIB)
        os.fsync(file.fileno())
    random = np.random.default_rng(SEED)
    file, mapped = mk._native.File(str(path), "r+"), mk.open(path, "r+")
    shared = mapped.array("u1", (pages, PAGE_BYTES))
    seconds: list[list[float]] = [[], []]
    written: list[list[int]] = [[], []]
    for turn in range(effort.big_rounds):
        for index in order(turn, 2):
            numbers = np.sort(random.choice(pages, count, replace=False))
            new = np.full((count, PAGE_BYTES), turn % 255 + 1, "u1")
            runs = array("q", [n for at in numbers.tolist() for n in (at * PAGE_BYTES, PAGE_BYTES)])
            before = written_bytes(path)
            start = time.perf_counter()
            if index == 0:
                file.write_runs(runs, new.data.cast("B"))
                file.sync()
            else:
                shared[numbers] = new
                mapped.flush()
            seconds[index].append(time.perf_counter() - start)
            written[index].append(written_bytes(path) - before)
            if not (shared[numbers] == new).all():
                raise WrongAnswer(f"way {index} of applying: a page is not what was written")
    del shared
    mapped.close()
    file.close()
    path.unlink()
    ways = [
        Way("ours", "positioned writes, fdatasync", "", {}),
        Way("rival", "stores into the mapping, msync", "", {}),
    ]
    found = summarise(
        f"apply {count:,} pages anywhere of {effort.big_bytes // MIB:,} MiB, synced", ways, seconds
    )
    for index, counts in enumerate(written):
        if any(counts):
            found = found.remark(index, f"the disk wrote {median(counts) / 1e6:.1f} MB")
    return found


# Commits of 1 MiB until so many bytes of payload lie in the journal, and then dies.
_INTERRUPTED = """
import os, sys
import mmapkit as mk
from mmapkit.durable.files import journal_path
path, size = sys.argv[1], int(sys.argv[2])
with mk.open(path, "r+") as m:
    step = min(size // 4, 1 << 20)
    for turn in range(size // step - 1):
        with m.transaction() as w:
            at = turn * step % m.size
            w[at : at + step] = bytes([turn % 250 + 1]) * step
    print(os.stat(journal_path(path)).st_size, turn, step, flush=True)
    os._exit(0)
"""


def _recovering(folder: Path, effort: Effort) -> Comparison:
    """A journal of 64 MiB, whose commits nobody knows to be applied."""
    size = min(64 * MIB, effort.big_bytes)
    path = folder / "interrupted"
    path.write_bytes(bytes(size))
    seconds = []
    payload = 0
    for _ in range(effort.big_rounds):
        done = subprocess.run(
            [sys.executable, "-c", _INTERRUPTED, str(path), str(size)],
            check=True,
            capture_output=True,
            text=True,
        )
        _, last, step = map(int, done.stdout.split())
        payload = (last + 1) * step
        start = time.perf_counter()
        recovered = mk.recover(path)
        seconds.append(time.perf_counter() - start)
        with path.open("rb") as file:
            file.seek(last * step % size)
            if not recovered or file.read(step) != bytes([last % 250 + 1]) * step:
                raise WrongAnswer("recovery: the last commit is not in the file")
    # What recovery cannot do without: the same bytes, read and written, and on the disk.
    copied = []
    data = path.read_bytes()[:payload]
    for _ in range(effort.big_rounds):
        start = time.perf_counter()
        with path.open("r+b", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
        copied.append(time.perf_counter() - start)
    path.unlink()
    ways = [
        Way("ours", "mk.recover(path)", "", {}),
        Way("limit", "the same bytes written and synced, unchecked", "", {}),
    ]
    work = f"recover a journal of {payload // MIB} MiB"
    found = summarise(work, ways, [seconds, copied], byte_count=payload)
    rate = payload / found.lines[0].median_s
    return found.remark(0, f"target > 1 GB/s: {'met' if rate > 1e9 else 'missed'}")


def _reading(folder: Path, effort: Effort) -> Comparison:
    """A section in which nobody's commit is half seen."""
    path = folder / "reading"
    path.write_bytes(bytes(MIB))
    with mk.open(path, "r+") as m, mk.open(path) as reader:
        with m.transaction() as w:
            w[0] = 1

        def read() -> int:
            with reader.reading():
                return reader[0]

        ways = [
            call("ours", "with m.reading(): m[0]", read),
            call("limit", "m[0]", lambda: reader[0]),
        ]
        found = compare("enter and leave a section that reads", ways, effort)
    path.unlink()
    return found


def _first(folder: Path, effort: Effort) -> Comparison:
    """From a file that nobody has open to one that is closed again, with one page changed."""
    path = folder / "first"
    path.write_bytes(bytes(MIB))
    page = np.ones((1, PAGE_BYTES), "u1")
    number = np.zeros(1, "i8")

    def transaction() -> None:
        with mk.open(path, "r+") as m, m.transaction() as w:
            w[:PAGE_BYTES] = page.tobytes()

    def stored() -> None:
        with mk.open(path, "r+") as m:
            m[:PAGE_BYTES] = page.tobytes()
            m.flush()

    ways = [call("ours", "open, one transaction, close", transaction)]
    _, missing = rivals.installed("lmdb")
    with ExitStack() as stack:
        for kind in RIVALS:
            if not kind.atomic or kind.__name__.lower() in missing:
                continue
            store = kind(folder, MIB // PAGE_BYTES)
            store.let_go()
            stack.callback(store.close)

            def again(store: Any = store) -> None:
                store.reopen()
                store.commit(number, page)
                store.let_go()

            ways.append(call("rival", kind.name, again))
        ways.append(call("limit", "open, store, flush, close: not atomic", stored))
        found = compare("the first commit of a page: open, commit, close", ways, effort,
                        missing=missing)  # fmt: skip
    path.unlink()
    return found


def _never(folder: Path, effort: Effort) -> Comparison:
    """What the look for an interrupted commit costs whoever opens a file."""
    path = folder / "never"
    path.write_bytes(bytes(MIB))
    name = str(path)

    def opened() -> None:
        mk.open(name).close()

    def missing(name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.stat(name + "x")

    ways = [
        call("ours", "mk.open(path), close", opened),
        call("ours", "the look for a journal in it", lambda: see_to_journal(name, "r")),
        call("limit", "os.stat of a file that is not there", lambda: missing(name)),
    ]
    found = compare("a program without transactions", ways, effort)
    path.unlink()
    return found
