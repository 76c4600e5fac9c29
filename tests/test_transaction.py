"""Transactions: all changes or none, seen by everybody, one at a time."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit.durable.files import journal_path
from mmapkit.durable.journal import FIRST_BYTES, Journal
from mmapkit.durable.recovery import verify

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(64 * PAGE))
    return file


@pytest.fixture
def npy(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, np.zeros((1000, 64)))
    return file


def journal_of(path):
    return Path(journal_path(str(path)))


# --- all or none ----------------------------------------------------------------------------------


def test_leaving_the_block_commits(path):
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[10:13] = b"abc"
            private[40 * PAGE : 40 * PAGE + 3] = b"xyz"
            assert m[10:13] == bytes(3)
            assert private[10:13] == b"abc"
        assert m[10:13] == b"abc"
        assert m[40 * PAGE : 40 * PAGE + 3] == b"xyz"
    data = path.read_bytes()
    assert data[10:13] == b"abc"
    assert data[40 * PAGE : 40 * PAGE + 3] == b"xyz"
    assert data.count(0) == len(data) - 6


def test_exception_rolls_back(path):
    with mk.open(path, "r+") as m:
        with pytest.raises(KeyError), m.transaction() as private:  # noqa: PT012
            private[10:13] = b"abc"
            raise KeyError
        assert m[10:13] == bytes(3)
    assert not path.read_bytes().strip(b"\0")


def test_array(npy):
    with mk.open_array(npy, "r+") as a:
        with a.transaction() as w:
            assert isinstance(w, mk.MappedArray)
            w[10:20] += 1
            w[999] = 7
            assert not a[10:20].any()
        assert (a[10:20] == 1).all()
        assert (a[999] == 7).all()
    found = np.load(npy)
    assert found.sum() == 10 * 64 + 7 * 64


def test_other_readers_see_a_commit_whole_and_at_once(path):
    with mk.open(path, "r+") as m, mk.open(path) as reader:
        other = memoryview(m)
        with m.transaction() as private:
            private[0] = 1
            private[63 * PAGE] = 2
            assert reader[0] == reader[63 * PAGE] == other[0] == 0
        assert (reader[0], reader[63 * PAGE]) == (other[0], other[63 * PAGE]) == (1, 2)
        other.release()


def test_many_transactions_one_after_the_other(path):
    expected = bytearray(64 * PAGE)
    random = np.random.default_rng(1)
    with mk.open(path, "r+") as m:
        for number in range(200):
            keep = number % 3
            tx = m.transaction()
            private = tx.begin()
            for _ in range(random.integers(1, 6)):
                at = int(random.integers(0, 64 * PAGE - 10))
                data = random.bytes(10)
                private[at : at + 10] = data
                if keep:
                    expected[at : at + 10] = data
            if keep:
                tx.commit()
            else:
                tx.rollback()
            assert m[:] == expected
    assert path.read_bytes() == expected


def test_last_partial_page(tmp_path):
    path = tmp_path / "odd.bin"
    path.write_bytes(bytes(2 * PAGE + 77))
    with mk.open(path, "r+") as m, m.transaction() as private:
        private[2 * PAGE + 76] = 9
    assert path.read_bytes() == bytes(2 * PAGE + 76) + b"\x09"


@pytest.mark.parametrize(("offset", "length"), [(100, 5 * PAGE), (3 * PAGE, None), (PAGE + 1, 10)])
def test_a_part_of_a_file(path, offset, length):
    with mk.open(path, "r+", offset=offset, length=length) as m:
        with m.transaction() as private:
            assert private.size == m.size
            private[0] = 1
            private[m.size - 1] = 2
        assert (m[0], m[m.size - 1]) == (1, 2)
        end = offset + m.size
    data = path.read_bytes()
    assert (data[offset], data[end - 1]) == (1, 2)
    assert sum(data) == 3


def test_empty_file(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    with mk.open(path, "r+") as m, m.transaction() as private:
        assert private.size == 0


def test_commit_of_many_frames(tmp_path):
    path = tmp_path / "big.bin"
    size = 24 << 20
    path.write_bytes(bytes(size))
    with mk.open(path, "r+") as m:
        for value in (1, 2, 3):
            with m.transaction() as private:
                private.array("u1")[:] = value
        assert (m.array("u1") == 3).all()
    assert path.read_bytes() == b"\x03" * size


def test_more_commits_than_the_journal_holds(tmp_path):
    path = tmp_path / "many.bin"
    path.write_bytes(bytes(4 << 20))
    with mk.open_array(path, "r+", dtype="i4") as a:
        for number in range(1, 60):
            with a.transaction() as w:
                w[:] = number
        assert (a[:] == 59).all()
        assert journal_of(path).stat().st_size <= 65 << 20
    assert (np.fromfile(path, "i4") == 59).all()


# --- what a transaction tells ---------------------------------------------------------------------


def test_dirty_bytes_are_whole_pages(path):
    with mk.open(path, "r+") as m:
        tx = m.transaction()
        with tx as private:
            assert tx.dirty_bytes == 0
            private[0] = 1
            private[10 * PAGE] = 1
            assert tx.dirty_bytes == 2 * mk.page_size()
            assert tx.view is private


def test_repr_tells_the_state(path):
    with mk.open(path, "r+") as m:
        tx = m.transaction()
        assert "not begun" in repr(tx)
        with tx:
            assert "open" in repr(tx)
        assert "committed" in repr(tx)
        tx = m.transaction()
        tx.begin()
        tx.rollback()
        assert "rolled back" in repr(tx)


def test_nothing_changed_writes_nothing(path):
    with mk.open(path, "r+") as m:
        before = path.stat().st_mtime_ns
        with m.transaction():
            pass
        assert path.stat().st_mtime_ns == before


# --- the end --------------------------------------------------------------------------------------


def test_commit_or_rollback_in_the_block_ends_it(path):
    with mk.open(path, "r+") as m:
        with (tx := m.transaction()) as private:
            private[0] = 1
            tx.commit()
            with pytest.raises(ValueError, match=r"has ended \(committed\)"):
                tx.commit()
        assert m[0] == 1
        with (tx := m.transaction()) as private:
            private[0] = 2
            tx.rollback()
            with pytest.raises(ValueError, match=r"has ended \(rolled back\).*count"):
                _ = tx.dirty_bytes
        assert m[0] == 1


def test_the_view_is_of_no_use_afterwards(path, npy):
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[0] = 1
        with pytest.raises(ValueError, match="ended"):
            private[0]
        with pytest.raises(ValueError, match="ended"):
            private[0] = 1
    with mk.open_array(npy, "r+") as a:
        with a.transaction() as w:
            w[0] = 1
        with pytest.raises(ValueError, match=r"closed|ended"):
            w[0]


def test_a_transaction_begins_once(path):
    with mk.open(path, "r+") as m:
        tx = m.transaction()
        with tx, pytest.raises(RuntimeError, match="has begun"):
            tx.begin()
        with pytest.raises(RuntimeError, match="has begun"):
            tx.begin()
        with pytest.raises(ValueError, match="has not begun"):
            m.transaction().commit()


def test_transactions_do_not_nest(path):
    with mk.open(path, "r+") as m, mk.open(path, "r+") as again, m.transaction() as private:
        for other in (m, again):
            with pytest.raises(RuntimeError, match="do not nest"), other.transaction():
                pass
        with pytest.raises(RuntimeError):
            private.transaction()


def test_mapping_is_not_closed_under_a_transaction(path):
    m = mk.open(path, "r+")
    with m.transaction() as private:
        private[0] = 1
        with pytest.raises(BufferError, match="a transaction on it is open"):
            m.close()
    assert m[0] == 1
    m.close()


def test_exception_closes_a_mapping_whose_transaction_was_forgotten(path):
    with pytest.raises(KeyError), mk.open(path, "r+") as m:  # noqa: PT012
        tx = m.transaction()
        tx.begin()[0] = 1
        raise KeyError
    tx.rollback()
    assert path.read_bytes()[0] == 0
    with mk.open(path, "r+") as m, m.transaction() as private:
        private[0] = 2
    assert path.read_bytes()[0] == 2


def test_forgotten_transaction_is_rolled_back_with_a_warning(path):
    with mk.open(path, "r+") as m:
        tx = m.transaction()
        tx.begin()[0] = 1
        with pytest.warns(ResourceWarning, match="never ended"):
            del tx
        assert m[0] == 0
        with m.transaction() as private:
            private[0] = 2
        assert m[0] == 2


def test_transaction_of_a_program_that_ends_is_rolled_back_in_silence(path, run_python):
    script = """
import sys, mmapkit
tx = mmapkit.open(sys.argv[1], "r+").transaction()
tx.begin()[0] = 1
def last():  # keeps the globals until modules can no longer be imported
    return tx
"""
    assert run_python(script, path).stderr == ""
    with mk.open(path) as m:
        assert m[0] == 0


def test_kept_array_does_not_reach_the_file(npy):
    with mk.open_array(npy, "r+") as a:
        with a.transaction() as w:
            part = w[10:20]
            part += 1
        assert (a[10:20] == 1).all()
        assert (part == 1).all()
        del part
    assert np.load(npy).sum() == 10 * 64


# --- the journal ----------------------------------------------------------------------------------


def test_journal_lies_beside_the_file_and_goes_with_the_last_mapping(path):
    with mk.open(path, "r+") as m, mk.open(path, "r+") as other:
        assert not journal_of(path).exists()
        with m.transaction() as private:
            private[0] = 1
        assert journal_of(path).exists()
        with other.transaction() as private:
            private[1] = 1
        m.close()
        assert journal_of(path).exists()
        assert other[:2] == b"\x01\x01"
    assert not journal_of(path).exists()
    assert sorted(file.name for file in path.parent.iterdir()) == ["data.bin"]


def test_full_disk_does_not_stop_commits_for_which_a_checkpoint_makes_room(path, monkeypatch):
    def full(journal, byte_count):
        raise OSError(errno.ENOSPC, "no room", journal.path)

    monkeypatch.setattr(Journal, "extend", full)
    with mk.open(path, "r+") as m:
        for number in range(20):  # five times what the journal begins with
            with m.transaction() as private:
                private.array("u1")[:] = number
        assert m[5] == 19
        assert journal_of(path).stat().st_size == FIRST_BYTES
    with mk.open(path.with_name("large"), "w+", size=2 * FIRST_BYTES) as m:
        with pytest.raises(OSError, match="no room"), m.transaction() as private:
            private.array("u1")[:] = 1
        assert not m.array("u1").any()


def test_symbolic_link_has_the_journal_of_its_file(path, tmp_path, symlink):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link"
    symlink(link, path)
    with mk.open(link, "r+") as m:
        with m.transaction() as private:
            private[0] = 1
        assert journal_of(path).exists()
        assert os.listdir(folder) == ["link"]


def test_flush_makes_plain_stores_safe_from_recovery(path):
    code = """
import os, sys, mmapkit as mk
m = mk.open(sys.argv[1], "r+")
with m.transaction() as private:
    private[0] = 1
m[0] = 2
m.flush()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert journal_of(path).exists()
    with mk.open(path, "r+") as m:
        assert m[0] == 2


def test_process_that_ends_without_closing_leaves_what_it_committed(path):
    code = """
import os, sys, mmapkit as mk
m = mk.open(sys.argv[1], "r+")
for number in range(1, 4):
    with m.transaction() as private:
        private[0] = number
        private[50 * 4096] = number
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with mk.open(path) as m:  # applied, so that a reader sees it, too
        assert m[0] == m[50 * PAGE] == 3
    with mk.open(path, "r+") as m:
        assert m[0] == m[50 * PAGE] == 3
    assert not journal_of(path).exists()


# --- one writer -----------------------------------------------------------------------------------


def test_second_thread_waits(path):
    order = []
    with mk.open(path, "r+") as m:
        entered = threading.Event()

        def second():
            entered.wait()
            with m.transaction() as private:
                order.append("second")
                assert private[0] == 1
                private[0] += 1

        thread = threading.Thread(target=second)
        thread.start()
        with m.transaction() as private:
            entered.set()
            time.sleep(0.05)
            private[0] = 1
            order.append("first")
        thread.join()
        assert order == ["first", "second"]
        assert m[0] == 2


def test_second_thread_gives_up(path):
    with mk.open(path, "r+") as m, m.transaction():
        caught = []

        def second():
            try:
                m.transaction(timeout=0.05).begin()
            except TimeoutError as error:
                caught.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        (error,) = caught
        assert "another thread of this process" in str(error)
        assert error.filename == str(path)


def test_threads_commit_together_and_lose_nothing(path):
    rounds, workers = 50, 4
    with mk.open_array(path, "r+", dtype="i8") as a:

        def work(number):
            for _ in range(rounds):
                with a.transaction(timeout=None) as w:
                    w[0] += 1
                    w[(number + 1) * 1000] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert a[0] == rounds * workers
        assert all(a[(number + 1) * 1000] == rounds for number in range(workers))
    found = np.fromfile(path, "i8")
    assert found[0] == rounds * workers


HOLDER = """
import sys, mmapkit as mk
m = mk.open(sys.argv[1], "r+")
with m.transaction() as private:
    private[0] = 99
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(path):
    """Another process that has a transaction open."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "in\n"
    yield child
    if child.poll() is None:
        child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def test_second_process_gives_up_and_names_the_first(path, holder):
    with mk.open(path, "r+") as m:
        with pytest.raises(TimeoutError) as caught, m.transaction(timeout=0.1):
            pass
        assert caught.value.filename == str(path)
        if sys.platform == "linux":
            assert f"process {holder.pid}" in str(caught.value)


def test_second_process_waits(path, holder):
    with mk.open(path, "r+") as m:
        threading.Timer(0.1, lambda: print(file=holder.stdin, flush=True)).start()
        with m.transaction(timeout=60) as private:
            assert private[0] == 99


def test_death_of_the_writer_lets_the_next_one_in(path, holder):
    holder.kill()
    holder.wait()
    with mk.open(path, "r+") as m, m.transaction(timeout=60) as private:
        assert private[0] == 0


def test_two_processes_take_turns(path):
    code = """
import sys, mmapkit as mk
with mk.open_array(sys.argv[1], "r+", dtype="i8") as a:
    for _ in range(100):
        with a.transaction(timeout=60) as w:
            w[0] += 1
            w[3000] += 1
"""
    command = [sys.executable, "-c", code, str(path)]
    children = [subprocess.Popen(command) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    found = np.fromfile(path, "i8")
    assert found[0] == found[3000] == 200
    assert not journal_of(path).exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_does_not_share_the_transaction(path):
    with mk.open(path, "r+") as m:
        tx = m.transaction()
        private = tx.begin()
        private[0] = 5
        child = os.fork()
        if not child:
            status = 1
            try:
                tx.commit()
            except RuntimeError as error:
                status = 0 if "forked" in str(error) else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        tx.commit()
        assert m[0] == 5


# --- what cannot have one -------------------------------------------------------------------------


def test_modes_that_do_not_write(path, npy):
    for mode in ("r", "c"):
        with mk.open(path, mode) as m, pytest.raises(TypeError, match=f"mode '{mode}'.*'r\\+'"):
            m.transaction()
        with mk.open_array(npy, mode) as a, pytest.raises(TypeError, match=f"mode '{mode}'"):
            a.transaction()


def test_memory_that_has_no_file(path):
    with mk.anonymous(PAGE) as m, pytest.raises(mk.UnsupportedError, match="no file"):
        m.transaction()
    with mk.open(path, "r+", backend="read") as m, pytest.raises(mk.UnsupportedError, match="read"):
        m.transaction()
    with mk.temporary(PAGE) as m, pytest.raises(mk.UnsupportedError, match="name"):
        m.transaction()


def test_closed(path, npy):
    m = mk.open(path, "r+")
    tx = m.transaction()
    m.close()
    with pytest.raises(ValueError, match="closed"):
        tx.begin()
    with pytest.raises(ValueError, match="closed"):
        m.transaction()
    a = mk.open_array(npy, "r+")
    a.close()
    with pytest.raises(ValueError, match="closed"):
        a.transaction()


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
def test_timeout_that_makes_no_sense(path, timeout):
    with mk.open(path, "r+") as m, pytest.raises((ValueError, TypeError), match="timeout"):
        m.transaction(timeout=timeout)


@pytest.mark.skipif(os.name != "posix", reason="a mapped file keeps its name here")
def test_another_file_of_that_name(path):
    with mk.open(path, "r+") as m:
        os.rename(path, f"{path}.old")
        path.write_bytes(bytes(64 * PAGE))
        with pytest.raises(OSError, match="another file"), m.transaction():
            pass


def test_nothing_is_left_behind(path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")

    def counted():
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum("data.bin" in line for line in maps)

    with mk.open(path, "r+") as m, m.transaction() as private:
        private[0] = 1
    before = counted()
    for _ in range(20):
        with mk.open(path, "r+") as m:
            for _ in range(3):
                with m.transaction() as private:
                    private[0] += 1
            with pytest.raises(KeyError), m.transaction():
                raise KeyError
    assert counted() == before
    assert os.listdir(path.parent) == ["data.bin"]


def test_closing_does_not_wait_for_the_transaction_of_another_process(path, request):
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[0] = 1
        request.getfixturevalue("holder")
        start = time.monotonic()
    assert time.monotonic() - start < 20
    assert journal_of(path).exists()


@pytest.mark.skipif(os.name != "posix", reason="a mapped file keeps its name here")
def test_closing_leaves_the_journal_of_another_file_alone(path):
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[0] = 1
        new = path.with_name("new")
        new.write_bytes(bytes(PAGE))
        new.replace(path)
        mk.recover(path, discard=True)
        with mk.open(path, "r+") as other:
            with other.transaction() as private:
                private[0] = 2
            m.close()
            assert journal_of(path).exists()
        assert not journal_of(path).exists()


@pytest.mark.skipif(os.name != "posix", reason="an open file may keep its name until it is closed")
def test_journal_that_somebody_removed_is_made_anew(path):
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[0] = 1
        journal_of(path).unlink()
        with m.transaction() as private:
            private[1] = 1
        assert verify(path).commits == 1
    assert path.read_bytes()[:2] == b"\x01\x01"
    assert not journal_of(path).exists()
