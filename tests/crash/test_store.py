"""Every crash of real transactions, recorded under the store that makes them."""

import contextlib
import os
import random
import threading

import numpy as np
import pytest

import mmapkit as mk
from mmapkit.durable import journal, store
from mmapkit.durable.store import store_of

from . import campaign
from .enumerator import Disk, RecordedFiles, State
from .workloads import PATH, original

PAGE = 4096
SIZE = 9 * PAGE + 300


class Recorder:
    """A file with a mapping, and what is committed to it."""

    def __init__(self, path, content):
        path.write_bytes(content)
        self.path = path
        self.start = State({PATH: 1}, {1: content})
        self.disk = Disk(self.start)
        self.now = content
        self.disk.note((content,))

    def join(self, mapping):
        store_of(mapping, RecordedFiles(self.disk))

    def allow(self, *contents):
        self.disk.note((self.now, *contents))

    def reached(self, content):
        assert self.path.read_bytes() == content
        self.now = content
        self.disk.note((content,))

    def judge(self, **how):
        result = campaign.Result()
        campaign.run_log(result, "store", self.start, self.disk, **how)
        assert not result.wrong, (str(result), result.torn[:3], result.lost[:3], result.failed[:3])
        assert result.states > 30
        return result


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FIRST_BYTES", 64 << 10)
    monkeypatch.setattr(store, "MOST_JOURNAL_BYTES", 64 << 10)
    return Recorder(tmp_path / "data", original(SIZE))


def filled(content, seed, *pages):
    new = bytearray(content)
    for page in pages:
        end = min((page + 1) * PAGE, len(new))
        new[page * PAGE : end] = random.Random(seed).randbytes(end - page * PAGE)
    return bytes(new)


def commit(recorder, mapping, content):
    with mapping.transaction() as w:
        w[:] = content
        recorder.allow(content)
    recorder.reached(content)


HOW = {"subsets": 1, "most_single": 2, "nested_every": 60}


def test_commits_of_scattered_pages(recorder):
    with mk.open(recorder.path, "r+") as m:
        recorder.join(m)
        for seed, pages in enumerate([(2,), (0, 2, 5, 9), (1, 2, 3)]):
            commit(recorder, m, filled(recorder.now, seed, *pages))
    assert [path.name for path in recorder.path.parent.iterdir()] == ["data"]
    recorder.judge(**HOW)


def test_checkpoints(recorder):
    with mk.open(recorder.path, "r+") as m:
        recorder.join(m)
        for seed in range(9):
            commit(recorder, m, filled(recorder.now, seed, seed % 3, 5, 7))
    assert any("checkpoint" in site for site in recorder.disk.sites)
    recorder.judge(**HOW)


def test_rolled_back_transactions_leave_nothing(recorder):
    with mk.open(recorder.path, "r+") as m:
        recorder.join(m)
        commit(recorder, m, filled(recorder.now, 1, 1))
        w = m.transaction()
        with contextlib.suppress(ZeroDivisionError), w as view:
            view[:] = bytes(SIZE)
            raise ZeroDivisionError
        recorder.reached(recorder.now)
    recorder.judge(**HOW)


@pytest.mark.skipif(os.name != "posix", reason="nothing grows in a transaction there")
def test_growing_array(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FIRST_BYTES", 64 << 10)
    mk.create_array(tmp_path / "made.npy", (1000, 2)).close()
    recorder = Recorder(tmp_path / "data", (tmp_path / "made.npy").read_bytes())
    with mk.open_array(recorder.path, "r+") as a:
        recorder.join(a.mapping)
        for seed in range(3):
            with a.transaction() as w:
                w[seed * 100] = seed + 1
                w.append(np.full((300, 2), seed + 7.0))
                recorder.disk.note(None)
                note = recorder.disk.log[-1]
            before, recorder.now = recorder.now, recorder.path.read_bytes()
            note.note = (before, recorder.now)  # which is known only now
            recorder.disk.note((recorder.now,))
        assert len(a) == 1900
    recorder.judge(**HOW)


def test_group_of_threads(recorder):
    """Each thread has a page of its own, which is as one of its commits left it, and not older than
    the last that returned."""
    threads, rounds = 3, 3
    original_bytes = recorder.now
    returned = [0] * threads
    pages = [slice((2 + number) * PAGE, (3 + number) * PAGE) for number in range(threads)]
    noting = threading.Lock()

    def page(number, turn):
        return bytes([16 * number + turn]) * PAGE if turn else original_bytes[pages[number]]

    def note():
        least = tuple(returned)

        def allowed(found):
            rest = bytearray(found)
            for number in range(threads):
                turns = range(least[number], rounds + 1)
                if found[pages[number]] not in [page(number, turn) for turn in turns]:
                    return False
                rest[pages[number]] = original_bytes[pages[number]]
            return rest == original_bytes

        recorder.disk.note(allowed)

    with mk.open(recorder.path, "r+") as m:
        recorder.join(m)
        note()

        def work(number):
            for turn in range(1, rounds + 1):
                with m.transaction() as w:
                    w[pages[number]] = page(number, turn)
                with noting:
                    returned[number] = turn
                    note()

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert returned == [rounds] * threads
    recorder.judge(**HOW)


@pytest.mark.slow
def test_many_crashes_of_transactions(recorder):
    chance = random.Random(1)
    with mk.open(recorder.path, "r+") as m:
        recorder.join(m)
        for seed in range(12):
            pages = chance.sample(range(10), chance.randrange(1, 5))
            commit(recorder, m, filled(recorder.now, seed, *pages))
    result = recorder.judge(subsets=6, most_single=12, nested_every=11)
    print(result)
