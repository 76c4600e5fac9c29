"""Threads whose commits are written together: what one of them builds on another's, and its end."""

import errno
import threading
import time

import pytest

import mmapkit as mk

PAGE = 4096


@pytest.fixture
def opened(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(16 * PAGE))
    with mk.open(path, "r+") as m:
        with m.transaction() as private:  # so that there is a journal
            private[15 * PAGE] = 1
        yield m


class Held:
    """Holds a commit where the journal is appended to, and may let it fail there."""

    def __init__(self, store, monkeypatch):
        self.reached, self.go = threading.Event(), threading.Event()
        self.error = None
        self._append = store._journal.append
        monkeypatch.setattr(store._journal, "append", self)

    def __call__(self, commits):
        if not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(20)
            if self.error is not None:
                raise self.error
        return self._append(commits)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Adder(threading.Thread):
    """Adds one to the first byte, in a transaction that others may go on from."""

    def __init__(self, mapping, ready=None):
        super().__init__()
        self.mapping, self.ready = mapping, ready
        self.error = None
        self.start()

    def run(self):
        try:
            with self.mapping.transaction(timeout=20) as private:
                private[0] += 1
                if self.ready is not None:
                    self.ready()
        except BaseException as error:
            self.error = error


def two_of_which_the_second_waits(store, held, mapping, other):
    """Start them; the first is being written, and the second has seen what it changed."""
    first = Adder(mapping, ready=lambda: until(lambda: store._wanting))
    until(lambda: store._owner == first.ident)
    second = Adder(other, ready=lambda: held.reached.wait(20))
    until(lambda: held.reached.is_set() and store._waiting)
    return first, second


def test_commits_that_go_on_from_one_that_failed_fail_with_it(opened, monkeypatch):
    store = opened._ledger
    held = Held(store, monkeypatch)
    first, second = two_of_which_the_second_waits(store, held, opened, opened)
    held.error = OSError(errno.ENOSPC, "no room")
    held.go.set()
    first.join()
    second.join()
    assert first.error.errno == errno.ENOSPC
    assert second.error.errno == errno.ECANCELED
    assert opened[0] == 0
    with opened.transaction(timeout=0) as private:
        private[0] = 9
    assert opened[0] == 9


def test_commits_go_on_from_one_that_is_being_written(opened, monkeypatch):
    store = opened._ledger
    held = Held(store, monkeypatch)
    first, second = two_of_which_the_second_waits(store, held, opened, opened)
    held.go.set()
    first.join()
    second.join()
    assert first.error is second.error is None
    assert opened[0] == 2


def test_mapping_is_not_closed_while_its_changes_wait_to_be_written(opened, monkeypatch):
    store = opened._ledger
    held = Held(store, monkeypatch)
    with mk.open(opened.path, "r+") as other:
        first, second = two_of_which_the_second_waits(store, held, other, opened)
        with pytest.raises(BufferError, match="a transaction on it is open"):
            other.close()
        with pytest.raises(BufferError, match="a transaction on it is open"):
            opened.close()
        held.go.set()
        first.join()
        second.join()
        assert first.error is second.error is None
    assert opened[0] == 2
