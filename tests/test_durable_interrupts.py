"""Ctrl-C at every place where Python hears it: all or nothing, and nothing stays locked."""

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit.durable import locks, store
from mmapkit.durable.locks import Locks
from tests import interrupts
from tests.interrupts import on_one_interpreter

PAGE = 4096
interrupted_everywhere = functools.partial(
    interrupts.interrupted_everywhere, places=[Path(store.__file__).parent]
)
KINDS = (locks.QUEUE, locks.WRITER, locks.GATE, locks.READERS, locks.CHECKPOINT)

pytestmark = on_one_interpreter


def require_unlocked(path):
    others = Locks(mk._native.File(str(path), "r+"))
    try:
        assert [kind for kind in KINDS if not others.try_exclusive(kind)] == []
    finally:
        others.close()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(16 * PAGE))
    return path


def test_commit(path):
    with mk.open(path, "r+") as m:
        before = 0

        def work(at):
            with m.transaction(timeout=0) as private:
                private[0] = private[9 * PAGE] = at % 251 + 1

        def check(at, finished):
            nonlocal before
            now = m[0], m[9 * PAGE]
            new = (at % 251 + 1,) * 2
            assert now in ([new] if finished else [(before,) * 2, new])
            require_unlocked(path)
            with m.transaction(timeout=0) as private:
                private[0] = private[9 * PAGE] = before = (before + 2) % 251

        assert interrupted_everywhere(work, check) > 100


def test_rollback(path):
    with mk.open(path, "r+") as m:
        with m.transaction():
            pass

        def work(at):
            try:
                with m.transaction(timeout=0) as private:
                    private[0] = 1
                    raise KeyError
            except KeyError:
                pass

        def check(at, finished):
            assert m[0] == 0
            require_unlocked(path)
            m.transaction(timeout=0).begin()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            assert interrupted_everywhere(work, check) > 30


def test_append(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 3), "i4"))
    with mk.open_array(path, "r+") as a:
        rows = 4

        def work(at):
            with a.transaction(timeout=0) as w:
                w.append(np.full((1, 3), at, "i4"))
                w[0] += 1

        def check(at, finished):
            nonlocal rows
            with a.reading(timeout=0):
                assert len(a) == rows + 1 if finished else len(a) in (rows, rows + 1)
                rows = len(a)
                assert a[0, 0] == rows - 4
            require_unlocked(path)

        assert interrupted_everywhere(work, check) > 100


def test_reading(path):
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[0] = 1

        def work(at):
            with m.reading(timeout=0):
                assert m[0] == 1

        def check(at, finished):
            require_unlocked(path)
            with m.transaction(timeout=0):
                pass

        assert interrupted_everywhere(work, check) > 10


def test_flush_and_close(path):
    content = bytearray(16 * PAGE)

    def work(at):
        m = mk.open(path, "r+")
        try:
            with m.transaction(timeout=0) as private:
                private[0] = content[0] = at % 256
        except BaseException:
            content[0] = m[0]
            raise
        m.flush()
        with m.transaction(timeout=0) as private:
            private[1] = content[1] = at % 256
        m.close()

    def check(at, finished):
        require_unlocked(path)
        with mk.open(path, "r+") as m:
            assert m[0] == content[0]
            content[1] = m[1]

    assert interrupted_everywhere(work, check, stride=7) > 100
