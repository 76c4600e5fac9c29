"""reading(): one committed state, in any process, however many commits are applied."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit._native import File
from mmapkit.durable import reading as readings
from mmapkit.durable.files import journal_path
from mmapkit.durable.locks import Locks, begin_applying, end_applying
from mmapkit.errors import RecoveryNeeded

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(16 * PAGE))
    return file


@contextlib.contextmanager
def process(script, *args):
    """Another process, which has printed a line; closing its stdin ends it, if it reads that."""
    found = {**os.environ, "PYTHONPATH": str(Path(mk.__file__).parents[1])}
    running = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=found,
        text=True,
    )
    try:
        assert running.stdout.readline().strip() == "ready"
        yield running
    finally:
        running.kill()
        running.wait()
        running.stdin.close()
        running.stdout.close()


def fill(m, value, **options):
    with m.transaction(**options) as w:
        w[:] = bytes([value]) * len(w)


def test_it_gives_what_it_reads(path):
    with mk.open(path) as m, m.reading() as found:
        assert found is m
    with mk.open_array(path) as a, a.reading() as found:
        assert found is a


def test_sections_show_what_they_are_of(path):
    with mk.open(path) as m:
        reading = m.reading()
        assert repr(reading) == f"<mmapkit.Reading {m.path!r} not entered>"
        with reading:
            assert repr(reading) == f"<mmapkit.Reading {m.path!r} entered>"
        assert repr(m.guard()) == f"<mmapkit.Guard of {m!r}>"


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_file_without_transactions_may_be_read(path, mode):
    with mk.open(path, mode) as m, m.reading():
        assert m[0] == 0
    assert os.listdir(path.parent) == [path.name]


def test_it_sees_what_was_committed(path):
    with mk.open(path, "r+") as m, mk.open(path) as other:
        for value in range(1, 4):
            fill(m, value)
            with other.reading():
                assert bytes(other) == bytes([value]) * len(m)


def test_a_commit_waits_for_readers_and_gives_up(path):
    with mk.open(path, "r+") as m, mk.open(path) as other:
        inside, leave = threading.Event(), threading.Event()

        def read():
            with other.reading():
                inside.set()
                leave.wait(30)

        thread = threading.Thread(target=read)
        thread.start()
        inside.wait(30)
        with pytest.raises(TimeoutError, match="reading"):
            fill(m, 1, timeout=0.05)
        assert m[0] == 0
        leave.set()
        thread.join()
        fill(m, 1, timeout=30)
        assert m[0] == 1


def test_a_commit_goes_on_when_the_last_reader_has_left(path):
    with mk.open(path, "r+") as m, mk.open(path) as other:
        inside = threading.Event()

        def read():
            with other.reading():
                inside.set()
                time.sleep(0.1)
                states.append(other[0])

        states = []
        thread = threading.Thread(target=read)
        thread.start()
        inside.wait(30)
        fill(m, 1)
        thread.join()
        assert states == [0]
        assert m[0] == 1


def test_readers_wait_for_a_commit_and_give_up(path):
    locks = Locks(File(path, "r+"))
    begin_applying(locks, 0)
    try:
        with mk.open(path) as m:
            with pytest.raises(TimeoutError, match="commit"), m.reading(timeout=0.02):
                pytest.fail("was inside")
            end_applying(locks)
            with m.reading(timeout=0):
                pass
    finally:
        locks.close()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_bad_timeouts_are_named(path, timeout):
    with mk.open(path) as m, pytest.raises(ValueError, match="timeout must be"):
        m.reading(timeout=timeout)


def test_blocks_nest_and_leave_in_order(path):
    locks = Locks(File(path, "r+"))
    try:
        with mk.open(path) as m, mk.open(path) as other:
            section = m.reading()
            with section:
                with m.reading(), other.reading(), section:
                    pass
                with pytest.raises(TimeoutError):
                    begin_applying(locks, 0)
            begin_applying(locks, 0)
    finally:
        locks.close()


def test_nested_blocks_do_not_wait_for_a_commit_that_waits_for_them(path):
    with mk.open(path, "r+") as m:
        writer = None
        with m.reading():
            writer = threading.Thread(target=fill, args=[m, 1])
            writer.start()
            locks = Locks(File(path, "r+"))
            while locks.try_shared(2):  # until the writer has the gate
                locks.unlock(2)
                time.sleep(0.001)
            locks.close()
            with m.reading(timeout=5):
                assert m[0] == 0
        writer.join()
        assert m[0] == 1


def test_leaving_by_an_exception_lets_commits_on(path):
    with mk.open(path, "r+") as m:
        with pytest.raises(KeyError), m.reading():
            raise KeyError
        fill(m, 1, timeout=0)


def test_transactions_inside_are_refused(path):
    with mk.open(path, "r+") as m:
        with m.reading(), pytest.raises(RuntimeError, match=r"inside reading\(\)"):
            fill(m, 1)
        transaction = m.transaction()
        transaction.begin()[0] = 1
        with m.reading(), pytest.raises(RuntimeError, match=r"inside reading\(\)"):
            transaction.commit()
        transaction.rollback()
        assert m[0] == 0
        fill(m, 2, timeout=0)


def test_reading_in_a_transaction_is_fine_if_it_ends_before(path):
    with mk.open(path, "r+") as m:
        with m.transaction() as w:
            w[0] = 1
            with m.reading():
                assert m[0] == 0
        assert m[0] == 1


def test_threads_read_together(path):
    with mk.open(path) as m:
        barrier = threading.Barrier(4, timeout=30)
        threads = []

        def read():
            with m.reading(timeout=30):
                barrier.wait()  # all are inside

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not barrier.broken


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.reserve
def test_a_mapping_follows_what_commits_added(path):
    with mk.open(path, "r+", reserve=1 << 20) as m, mk.open(path, reserve=1 << 20) as other:
        view = memoryview(other)
        with m.transaction() as w:
            w.resize(20 * PAGE)
            w[-1] = 5
        assert m.size == 20 * PAGE
        with other.reading():
            assert other.size == 20 * PAGE
            assert other[-1] == 5
        assert len(view) == 16 * PAGE
        view.release()


@pytest.mark.reserve
def test_an_array_follows_what_commits_added(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(10))
    with mk.open_array(path, "r+") as a, mk.open_array(path) as other:
        kept = other[:]
        for number in range(1, 4):
            with a.transaction() as w:
                w.append(np.full(1000, number))
                w[:] = number
            with other.reading():
                assert other.shape == (10 + 1000 * number,)
                assert (other[:] == number).all()
        assert (kept == 3).all()


@pytest.mark.reserve
def test_a_mapping_of_a_part_stays_as_it_is(path):
    with mk.open(path, "r+") as m, mk.open(path, length=PAGE) as other:
        with m.transaction() as w:
            w.resize(20 * PAGE)
        with other.reading():
            assert other.size == PAGE


# --- who died -------------------------------------------------------------------------------------

# Commits 7 to every byte; dies when the journal is synced, before the file has it.
VICTIM = """
import os, signal, sys
import mmapkit as mk
from mmapkit.durable.store import Store
m = mk.open(sys.argv[1], "r+")
with m.transaction() as w:
    w[0] = 0
Store._apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with m.transaction() as w:
    w[:] = bytes([7]) * len(w)
"""

needs_kill = pytest.mark.skipif(os.name != "posix", reason="kills itself")


@needs_kill
def test_who_may_write_completes_what_a_dead_writer_left(path, run_python):
    with mk.open(path, "r+") as m:
        fill(m, 1)
        with m.reading():
            pass
        run_python(VICTIM, path, code=-9)
        with m.reading():
            assert bytes(m) == bytes([7]) * len(m)
        fill(m, 8)
    assert path.read_bytes() == bytes([8]) * 16 * PAGE


@needs_kill
def test_who_may_only_read_is_told(path, run_python):
    with mk.open(path) as m:
        with m.reading():
            pass
        run_python(VICTIM, path, code=-9)
        with pytest.raises(RecoveryNeeded) as caught, m.reading():
            pytest.fail("was inside")
        assert caught.value.filename == os.fspath(path)
        mk.open(path, "r+").close()
        with m.reading():
            assert bytes(m) == bytes([7]) * len(m)


@needs_kill
def test_a_reader_that_dies_inside_lets_commits_on(path):
    script = """
import sys, mmapkit as mk
m = mk.open(sys.argv[1])
with m.reading():
    print("ready", flush=True)
    sys.stdin.read()
"""
    with mk.open(path, "r+") as m, process(script, path) as reader:
        with pytest.raises(TimeoutError, match=f"process {reader.pid} |reading"):
            fill(m, 1, timeout=0.05)
        reader.kill()
        reader.wait()
        fill(m, 1, timeout=10)
        assert m[0] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_child_neither_holds_nor_breaks_the_lock(path):
    writer = Locks(File(path, "r+"))
    with mk.open(path) as m, m.reading():
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException), m.reading():  # with a lock of its own
                code = 0
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(TimeoutError):
            begin_applying(writer, 0)
    writer.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_child_that_outlives_the_block_does_not_keep_the_lock(path):
    stay, end = os.pipe()
    with mk.open(path) as m:
        with m.reading():
            child = os.fork()
            if child == 0:
                os.close(end)
                os.read(stay, 1)
                os._exit(0)
        with mk.open(path, "r+") as other:
            fill(other, 1, timeout=0)
    os.close(end)
    os.close(stay)
    os.waitpid(child, 0)


# --- other files ----------------------------------------------------------------------------------


def test_a_file_that_was_replaced_is_refused(path, tmp_path):
    if os.name != "posix":
        pytest.skip("a mapped file is not replaced here")
    with mk.open(path) as m:
        (tmp_path / "new").write_bytes(b"x")
        os.replace(tmp_path / "new", path)
        with pytest.raises(OSError, match="open it again") as caught, m.reading():
            pytest.fail("was inside")
        assert caught.value.filename == os.fspath(path)


def test_through_a_symbolic_link_it_is_the_same_file(path, tmp_path, symlink):
    link = tmp_path / "link"
    symlink(link, path)
    with mk.open(path, "r+") as m, mk.open(link) as other:
        fill(m, 3)
        with other.reading():
            assert other[0] == 3
            with pytest.raises(RuntimeError):
                fill(m, 4)


def test_what_has_no_file_is_refused(path):
    with mk.anonymous(10) as m, pytest.raises(mk.UnsupportedError, match="anonymous"), m.reading():
        pytest.fail("was inside")
    with mk.temporary(10) as m, pytest.raises(mk.UnsupportedError, match="name"), m.reading():
        pytest.fail("was inside")
    with (
        mk.open(path, backend="read") as m,
        pytest.raises(mk.UnsupportedError, match="read into memory"),
        m.reading(),
    ):
        pytest.fail("was inside")


def test_a_closed_mapping_is_refused(path):
    m = mk.open(path)
    section = m.reading()
    m.close()
    with pytest.raises(ValueError, match="closed"), section:
        pytest.fail("was inside")


def test_closing_inside_lets_commits_on(path):
    m = mk.open(path)
    with m.reading():
        m.close()
    with mk.open(path, "r+") as other:
        fill(other, 1, timeout=0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors")
def test_nothing_is_left_open(path):
    def count():
        return len(os.listdir("/proc/self/fd"))

    gc.collect()  # what earlier tests left
    before, readers = count(), len(readings._readers)
    with mk.open(path, "r+") as m, mk.open(path) as other:
        fill(m, 1)
        for _ in range(3):
            with m.reading(), other.reading():
                pass
        assert len(readings._readers) == readers + 1
    assert len(readings._readers) == readers
    assert count() == before


def test_a_journal_of_another_file_is_refused(path, tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(PAGE))
    with mk.open(path) as m, mk.open(other, "r+") as second:
        fill(second, 1)
        Path(journal_path(str(path))).write_bytes(Path(journal_path(str(other))).read_bytes())
        with pytest.raises(mk.FormatError, match="journal"), m.reading():
            pytest.fail("was inside")
        os.unlink(journal_path(str(path)))


def test_readers_follow_checkpoints_and_new_journals(path):
    with mk.open(path) as other:
        for value in range(1, 4):
            with mk.open(path, "r+") as m:
                for step in range(3):
                    fill(m, 10 * value + step)
                    m.flush()
                    with other.reading():
                        assert bytes(other) == bytes([10 * value + step]) * len(other)
            with other.reading():
                assert other[0] == 10 * value + 2


# --- many commits ---------------------------------------------------------------------------------

READER = """
import sys
import numpy as np
import mmapkit as mk
with mk.open(sys.argv[1]) as m:
    words = m.array("<i8")
    last, seen, rounds = int(sys.argv[2]), set(), 0
    print("ready", flush=True)
    while last not in seen:
        with m.reading(timeout=60):
            first = int(words[0])
            assert (words == first).all(), f"{first} and {np.unique(words)}"
        assert not seen or first >= max(seen), "it went back"
        seen = {first}
        rounds += 1
    del words
    print(rounds)
"""


def commits_are_seen_whole(path, commits, pages):
    path.write_bytes(bytes(pages * PAGE))
    with contextlib.ExitStack() as stack:
        m = stack.enter_context(mk.open(path, "r+"))
        readers = [stack.enter_context(process(READER, path, commits)) for _ in range(2)]
        for number in range(1, commits + 1):
            with m.transaction(timeout=60) as w:
                words = w.array("<i8")
                words[:] = number
                del words
        for reader in readers:
            rounds = reader.stdout.readline()
            assert reader.wait(60) == 0
            assert int(rounds) > 2


def test_readers_see_whole_commits(tmp_path):
    commits_are_seen_whole(tmp_path / "f", 200, 32)


@pytest.mark.slow
def test_readers_see_ten_thousand_whole_commits(tmp_path):
    commits_are_seen_whole(tmp_path / "f", 10_000, 16)


LOOPER = """
import sys
import mmapkit as mk
m = mk.open(sys.argv[1])
print("ready", flush=True)
while True:
    with m.reading():
        m[0]
"""


def test_looping_readers_do_not_starve_the_writer(path):
    with contextlib.ExitStack() as stack:
        m = stack.enter_context(mk.open(path, "r+"))
        for _ in range(4):
            stack.enter_context(process(LOOPER, path))
        start = time.monotonic()
        for number in range(20):
            fill(m, number, timeout=10)
        assert time.monotonic() - start < 20


def test_threads_that_take_turns_do_not_starve_the_writer(path):
    """One of them is inside at every moment."""
    done = threading.Event()
    with mk.open(path, "r+") as m, mk.open(path) as other:

        def read():
            while not done.is_set():
                with other.reading():
                    time.sleep(0.002)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(10):
                fill(m, number, timeout=10)
        finally:
            done.set()
            for thread in threads:
                thread.join()
