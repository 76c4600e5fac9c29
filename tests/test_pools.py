"""Threads that are there before their work, and what is waited for."""

import _thread
import queue
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit import pools
from mmapkit.passes import cuts
from mmapkit.pools import Pool, Task
from mmapkit.text import windows
from tests.interrupts import interrupted_everywhere, on_one_interpreter

PAGE = 4096


def require_threads(count):
    """Soon there are no more than so many."""
    deadline = time.monotonic() + 60
    while threading.active_count() > count:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.001)
    assert threading.active_count() == count


def test_threads_are_there_before_their_work():
    others = threading.active_count()
    with closing(Pool(3, "mine")) as pool:
        assert threading.active_count() == others + 3
        barrier = threading.Barrier(3)
        tasks = [Task(barrier.wait, 60) for _ in range(3)]
        for task in tasks:
            pool.start(task)
        assert sorted(task.result() for task in tasks) == [0, 1, 2]
    assert threading.active_count() == others


def test_errors_are_those_of_the_work():
    def fail(error):
        raise error

    with closing(Pool(1, "mine")) as pool:
        for error in (KeyError("mine"), TimeoutError("mine"), SystemExit("mine")):
            task = Task(fail, error)
            pool.start(task)
            with pytest.raises(type(error), match="mine"):
                task.result()
        task = Task(int, "5")
        pool.start(task)
        assert task.result() == 5


def test_what_nobody_has_begun_is_not_done_any_more():
    done, go_on = [], threading.Event()
    with closing(Pool(1, "mine")) as pool:
        begun = threading.Event()
        first = Task(lambda: (begun.set(), go_on.wait(60), done.append(1)))
        pool.start(first)
        pool.start(Task(done.append, 2))
        assert begun.wait(60)
        settled = Task(done.append, 3)
        pool.start(settled)
        settled.settle()
        assert settled.ended
        threading.Timer(0.01, go_on.set).start()
    assert done == [1]
    assert first.ended


def test_settling_waits_for_what_has_begun():
    done, begun = [], threading.Event()
    with closing(Pool(1, "mine")) as pool:
        task = Task(lambda: (begun.set(), time.sleep(0.02), done.append(1)))
        pool.start(task)
        assert begun.wait(60)
        task.settle()
        assert done == [1]


def test_the_end_is_told_in_the_thread_that_did_it():
    told = queue.SimpleQueue()
    with closing(Pool(1, "mine")) as pool:
        task = Task(len, "abc", tell=lambda task: told.put((task, threading.current_thread().name)))
        pool.start(task)
        assert told.get(timeout=60) == (task, "mine_0")
        assert task.result() == 3


def test_pool_that_nobody_closes_sends_its_threads_home():
    others = threading.active_count()
    Pool(2, "mine")
    require_threads(others)


def test_no_threads_to_be_had(monkeypatch):
    others, real = threading.active_count(), threading.Thread.start

    def start(thread):
        if thread.name == "mine_1":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Pool(3, "mine")
    require_threads(others)

    def refuse(*_):
        raise RuntimeError("not one")

    monkeypatch.setattr(pools, "start_new_thread", refuse)
    with pytest.raises(RuntimeError, match="not one"):
        Pool(3, "mine")
    require_threads(others)


def test_ctrl_c_is_heard_while_work_is_waited_for():
    go_on = threading.Event()
    with closing(Pool(1, "mine")) as pool:
        begun = threading.Event()
        task = Task(lambda: (begun.set(), go_on.wait(60)))
        pool.start(task)
        assert begun.wait(60)
        threading.Timer(0.05, _thread.interrupt_main).start()
        with pytest.raises(KeyboardInterrupt):
            task.result()
        assert not task.ended
        go_on.set()


# --- interrupted anywhere -------------------------------------------------------------------------


OURS = Path(mk.__file__).parent
PLACES = [
    *(OURS / name for name in ("pools.py", "passes", "gather.py", "text")),
    threading.__file__,
    queue.__file__,
]


def interrupted(work, **options):
    others = threading.active_count()

    def check(at, finished):
        require_threads(others)

    return interrupted_everywhere(work, check, places=PLACES, **options)


@on_one_interpreter
def test_interrupted_pool_leaves_no_thread():
    def work(at):
        with closing(Pool(2, "mine")) as pool:
            tasks = [Task(int, "5") for _ in range(3)]
            for task in tasks:
                pool.start(task)
            for task in tasks:
                assert task.result() == 5

    assert interrupted(work) > 50


@on_one_interpreter
def test_interrupted_pass_leaves_no_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(cuts, "STEP_BYTES", PAGE)
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE))

    def work(at):
        with mk.blocks(path, "read", size=PAGE) as found:
            assert sum(len(block) for block in found) == 4 * PAGE

    assert interrupted(work, stride=3) > 300


@on_one_interpreter
def test_interrupted_map_leaves_no_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(cuts, "STEP_BYTES", PAGE)
    array = np.arange(4 * PAGE // 8, dtype="i8")
    np.save(tmp_path / "a.npy", array)

    def work(at):
        assert sum(mk.map_blocks(np.sum, tmp_path / "a.npy", nbytes=PAGE, workers=2)) == array.sum()

    assert interrupted(work, stride=5) > 300


@on_one_interpreter
def test_interrupted_search_leaves_no_thread(monkeypatch):
    monkeypatch.setattr(windows, "SHARE_BYTES", 1000)
    text = b"hay needle\n" * 300

    def work(at):
        assert mk.find(text, b"absent", threads=2) == -1
        assert len(list(mk.search(text, b"needle", threads=2))) == 300

    assert interrupted(work, stride=17) > 300
