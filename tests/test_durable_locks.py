"""Locks between processes: who waits for whom, and what goes with a process that dies."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import mmapkit
from mmapkit._native import File
from mmapkit.durable import locks as locking
from mmapkit.durable.locks import (
    CHECKPOINT,
    GATE,
    QUEUE,
    READERS,
    WRITER,
    Locks,
    begin_applying,
    begin_reading,
    begin_writing,
    checked_timeout,
    end_applying,
    end_reading,
    end_writing,
)

KINDS = range(6)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")


@pytest.fixture
def opened(file):
    """Make Locks over the file, as different processes would have them."""
    with contextlib.ExitStack() as stack:

        def make():
            locks = Locks(File(file, "r+"))
            stack.callback(locks.close)
            return locks

        yield make


# A process that takes locks, says so, and waits to be told or killed.
HOLDER = """
import sys, time
from mmapkit._native import File
from mmapkit.durable.locks import *
locks = Locks(File(sys.argv[1], "r+"))
for step in sys.argv[2:]:
    exec(step)
print("held", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def holder(file, *steps):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(mmapkit.__file__))}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, os.fspath(file), *steps],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    try:
        assert process.stdout.readline().strip() == b"held"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("kind", KINDS)
def test_exclusive_keeps_everybody_out(opened, kind):
    one, other = opened(), opened()
    assert one.try_exclusive(kind)
    assert not other.try_exclusive(kind)
    assert not other.try_shared(kind)
    one.unlock(kind)
    assert other.try_exclusive(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_shared_lets_others_share(opened, kind):
    one, other, third = opened(), opened(), opened()
    assert one.try_shared(kind)
    assert other.try_shared(kind)
    assert not third.try_exclusive(kind)
    one.unlock(kind)
    assert not third.try_exclusive(kind)
    other.unlock(kind)
    assert third.try_exclusive(kind)


def test_kinds_do_not_touch_each_other(opened):
    holders = [opened() for _ in KINDS]
    assert all(locks.try_exclusive(kind) for kind, locks in zip(KINDS, holders, strict=True))


def test_locks_leave_the_file_alone(opened, file, pattern):
    for kind in KINDS:
        assert opened().try_exclusive(kind)
    assert file.read_bytes() == pattern


def test_closing_gives_everything_back(opened):
    one, other = opened(), opened()
    assert one.try_exclusive(WRITER)
    assert one.try_shared(CHECKPOINT)
    one.close()
    assert one.closed
    assert other.try_exclusive(WRITER)
    assert other.try_exclusive(CHECKPOINT)


def test_unlock_after_closing_does_nothing(opened):
    locks = opened()
    assert locks.try_exclusive(WRITER)
    locks.close()
    locks.unlock(WRITER)


def test_opening_and_closing_the_file_elsewhere_keeps_locks(opened, file):
    """POSIX's older locks go when any descriptor of the file is closed; these do not."""
    one, other = opened(), opened()
    assert one.try_exclusive(WRITER)
    file.read_bytes()
    with mmapkit.open(file, "r+") as m:
        m[0] = 1
    assert not other.try_exclusive(WRITER)


# --- waiting --------------------------------------------------------------------------------------


def test_timeout_names_file_and_process(opened, file):
    with holder(file, "begin_writing(locks, None)") as process:
        start = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            begin_writing(opened(), 0.05)
        assert 0.05 <= time.monotonic() - start < 5
        assert caught.value.filename == os.fspath(file)
        if sys.platform.startswith("linux"):
            assert f"process {process.pid} " in str(caught.value)


def test_timeout_names_this_process(opened):
    begin_writing(opened(), 0)
    with pytest.raises(TimeoutError, match="turn to write") as caught:
        begin_writing(opened(), 0)
    if sys.platform.startswith("linux"):
        assert "this process" in str(caught.value)


def test_a_timeout_of_zero_attempts_once(opened):
    attempts = []
    with pytest.raises(TimeoutError):
        opened().wait(lambda: attempts.append(1), 0, "nothing")
    assert len(attempts) == 1


def test_waiting_ends_when_the_lock_is_free(opened):
    one, other = opened(), opened()
    begin_writing(one, None)
    timer = threading.Timer(0.05, end_writing, [one])
    timer.start()
    begin_writing(other, 30)
    timer.join()
    assert not one.try_exclusive(WRITER)


@pytest.mark.parametrize("bad", [-1, float("nan"), -0.001])
def test_bad_timeouts_are_named(bad):
    with pytest.raises(ValueError, match=r"timeout must be a number of seconds or None, not "):
        checked_timeout(bad)


@pytest.mark.parametrize("good", [None, 0, 0.5, 10])
def test_good_timeouts_pass(good):
    assert checked_timeout(good) == good


@pytest.mark.parametrize("endless", [float("inf"), 1e300, 2**70])
def test_timeouts_that_no_clock_counts_are_endless(endless):
    assert checked_timeout(endless) is None


@pytest.mark.skipif(os.name != "posix", reason="sends itself a signal")
@pytest.mark.parametrize("begin", [begin_writing, begin_reading, begin_applying])
def test_ctrl_c_ends_waiting_and_leaves_no_lock(opened, begin):
    holder, waiter, third = opened(), opened(), opened()
    blocked = WRITER if begin is begin_writing else READERS
    assert holder.try_exclusive(blocked)
    timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        begin(waiter, None)
    timer.join()
    holder.unlock(blocked)
    assert all(third.try_exclusive(kind) for kind in KINDS)


class NoLocks:
    """A file on a filesystem without locks."""

    path = "/somewhere/file"
    closed = False

    def try_lock(self, *_):
        raise mmapkit.UnsupportedError(95, "no locks here", self.path)

    def unlock(self, *_):
        raise mmapkit.UnsupportedError(95, "no locks here either", self.path)

    def _close_in_child(self):
        pass


@pytest.mark.parametrize("begin", [begin_writing, begin_reading, begin_applying])
def test_a_filesystem_without_locks_is_an_error_at_once(begin):
    with pytest.raises(mmapkit.UnsupportedError) as caught:
        begin(Locks(NoLocks()), None)
    assert caught.value.filename == "/somewhere/file"


# --- death ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [["begin_writing(locks, 0)"], ["begin_reading(locks, 0)"], ["begin_applying(locks, 0)"]],
)
def test_a_killed_process_holds_nothing(opened, file, steps):
    with holder(file, *steps) as process:
        with contextlib.closing(opened()) as locks:
            assert not all(locks.try_exclusive(kind) for kind in KINDS)
        process.kill()
        process.wait()
        locks = opened()
        for kind in KINDS:  # Windows lets go some time after the process has ended
            locks.wait(lambda kind=kind: locks.try_exclusive(kind), 30, "the end", kind)


@needs_fork
def test_a_forked_child_neither_unlocks_nor_holds(opened):
    parent, other = opened(), opened()
    begin_writing(parent, 0)
    ready, tell = os.pipe()
    stay, end = os.pipe()
    child = os.fork()
    if child == 0:  # unlocks what it has not, says so, and stays
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if parent.closed else 2
            end_writing(parent)
            parent.close()
            os.write(tell, b"x")
            os.close(end)
            os.read(stay, 1)
        os._exit(code)
    try:
        os.read(ready, 1)
        assert not other.try_exclusive(WRITER)  # the parent still has it
        parent.close()
        assert other.try_exclusive(WRITER)  # and the child does not keep it
    finally:
        for descriptor in (ready, tell, stay, end):
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@needs_fork
def test_a_child_does_not_keep_locks_that_were_in_use(opened):
    """Forked while another thread is inside a call: it never returns there."""
    stay, end = os.pipe()
    ready, tell = os.pipe()
    children = []
    for _ in range(10):
        parent = opened()
        assert parent.try_exclusive(WRITER)
        stop = threading.Event()

        def work(file=parent.file, stop=stop):
            while not stop.is_set():
                file.sync()

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.001)
        child = os.fork()
        if child == 0:
            os.close(end)
            os.write(tell, b"x")
            os.read(stay, 1)
            os._exit(0)
        os.read(ready, 1)
        children.append(child)
        stop.set()
        thread.join()
        parent.close()
        other = opened()
        assert other.try_exclusive(WRITER)
        other.close()
    os.close(end)
    for child in children:
        os.waitpid(child, 0)
    for descriptor in (stay, ready, tell):
        os.close(descriptor)


# --- one writer, in turn --------------------------------------------------------------------------


def test_one_writes_at_a_time(opened):
    one, other = opened(), opened()
    begin_writing(one, 0)
    with pytest.raises(TimeoutError):
        begin_writing(other, 0)
    end_writing(one)
    begin_writing(other, 0)


def test_who_gave_up_waiting_is_not_in_the_way(opened):
    one, other, third = opened(), opened(), opened()
    begin_writing(one, 0)
    with pytest.raises(TimeoutError):
        begin_writing(other, 0)
    end_writing(one)
    begin_writing(third, 0)


def test_the_last_writer_cannot_overtake_who_waits(opened):
    one, other = opened(), opened()
    begin_writing(one, 0)
    waiter = threading.Thread(target=begin_writing, args=[other, 30])
    waiter.start()
    while one.try_exclusive(QUEUE):  # until the other is the next
        one.unlock(QUEUE)
        time.sleep(0.001)
    end_writing(one)
    with pytest.raises(TimeoutError):
        begin_writing(one, 0)
    waiter.join()
    end_writing(other)
    begin_writing(one, 0)


# --- many readers, or one commit ------------------------------------------------------------------


def test_readers_share(opened):
    readers = [opened() for _ in range(3)]
    for reader in readers:
        begin_reading(reader, 0)
    with pytest.raises(TimeoutError, match="reading"):
        begin_applying(opened(), 0)
    for reader in readers:
        end_reading(reader)
    begin_applying(opened(), 0)


def test_nobody_reads_while_a_commit_is_applied(opened):
    writer, reader = opened(), opened()
    begin_applying(writer, 0)
    with pytest.raises(TimeoutError, match="commit"):
        begin_reading(reader, 0)
    end_applying(writer)
    begin_reading(reader, 0)


def test_a_commit_that_waits_keeps_new_readers_out(opened):
    old, new, writer = opened(), opened(), opened()
    begin_reading(old, 0)
    waiter = threading.Thread(target=begin_applying, args=[writer, 30])
    waiter.start()
    while new.try_shared(GATE):  # until the writer waits
        new.unlock(GATE)
        time.sleep(0.001)
    with pytest.raises(TimeoutError):
        begin_reading(new, 0)
    end_reading(old)
    waiter.join()
    end_applying(writer)
    begin_reading(new, 0)


def test_a_commit_that_gave_up_lets_readers_in(opened):
    old, new, writer = opened(), opened(), opened()
    begin_reading(old, 0)
    with pytest.raises(TimeoutError):
        begin_applying(writer, 0)
    begin_reading(new, 0)


def test_looping_readers_do_not_starve_a_commit(opened, file):
    loop = (
        "print('held', flush=True)\nwhile True:\n  begin_reading(locks, None); end_reading(locks)"
    )
    writer = opened()
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(holder(file, loop))
        start = time.monotonic()
        for _ in range(20):
            begin_applying(writer, 10)
            end_applying(writer)
        assert time.monotonic() - start < 10


def test_at_most_one_applies_and_nobody_reads_meanwhile(opened):
    """Threads with locks of their own, as processes would have them, over plain variables."""
    inside, wrong, total = [0, 0], [], 0
    mutex = threading.Lock()

    def work(begin, end, which, rounds):
        nonlocal total
        locks = opened()
        for _ in range(rounds):
            begin(locks, None)
            with mutex:
                inside[which] += 1
                readers, writers = inside
                if writers > 1 or (writers and readers):
                    wrong.append((readers, writers))
                total += 1
            time.sleep(0)
            with mutex:
                inside[which] -= 1
            end(locks)

    threads = [
        threading.Thread(target=work, args=[begin_reading, end_reading, 0, 200]) for _ in range(3)
    ]
    threads += [
        threading.Thread(target=work, args=[begin_applying, end_applying, 1, 50]) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert total == 3 * 200 + 2 * 50


def test_forgotten_locks_are_collected(opened):
    before = len(locking._all)
    Locks(opened().file)
    assert len(locking._all) <= before + 1
