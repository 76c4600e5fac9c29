"""Ctrl-C at every place where Python hears it: all or nothing, and nothing stays locked."""

import dis
import functools
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit.durable import locks, store
from mmapkit.durable.locks import Locks

PAGE = 4096
FOLDER = str(Path(store.__file__).parent)
KINDS = (locks.QUEUE, locks.WRITER, locks.GATE, locks.READERS, locks.CHECKPOINT)

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info[:2] != (3, 11),
    reason="follows one interpreter, CPython 3.11, step by step",
)


@functools.cache
def handlers(code):
    return dis._parse_exception_table(code)


def handler(code, at):
    """What catches an exception of the instruction at a place."""
    return next((each.target for each in handlers(code) if each.start <= at < each.end), None)


class Interrupt:
    """Raises KeyboardInterrupt at the n-th place of the modules of transactions where a signal can
    be heard: at the beginning of a function, and after a call of one that is not Python's."""

    def __init__(self, at):
        self.left = at
        self.place = None
        self._after_call = {}  # frame -> where in its code, if its last instruction was a call

    def __enter__(self):
        sys.settrace(self._trace)

    def __exit__(self, *error):
        sys.settrace(None)
        self._after_call.clear()

    def _trace(self, frame, event, _):
        code = frame.f_code
        if not code.co_filename.startswith(FOLDER) or code.co_name == "__del__":
            return None  # what is raised in the latter only gets printed
        if event == "call":
            frame.f_trace_opcodes = True
            self._after_call[frame] = None
            self._hear(frame)
        elif event == "opcode":
            at, called = frame.f_lasti, self._after_call.get(frame)
            # It is raised here, and not by the call: that has to be caught by the same handler.
            if called is not None and handler(code, called) == handler(code, at):
                self._hear(frame)
            name = dis.opname[code.co_code[at]]
            self._after_call[frame] = at if name.startswith("CALL") else None
        elif event == "return":
            self._after_call.pop(frame, None)
            self._after_call[frame.f_back] = None
        return self._trace

    def _hear(self, frame):
        self.left -= 1
        if not self.left:
            self.place = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            raise KeyboardInterrupt


def interrupted_everywhere(work, check, stride=1):
    """Do the work again and again, interrupted at one place after the other."""
    work(0)  # what is done once has been done
    check(0, True)
    at = 0
    while True:
        at += stride
        interrupt = Interrupt(at)
        finished = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # rolled back when it is collected
            try:
                with interrupt:
                    work(at)
                    finished = True
            except KeyboardInterrupt:
                pass
        try:
            check(at, finished)
        except BaseException as error:
            raise AssertionError(f"interrupted at {interrupt.place}") from error
        if interrupt.place is None:
            assert finished
            return at


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
