"""Growing arrays whose writer is killed, whose disk is full, whose file is cut."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import mmapkit as mk

from . import victim
from .disks import require

# --- killed --------------------------------------------------------------------------------------

# A child appends and is killed at a random moment; meanwhile numpy.load has to succeed every time,
# with a prefix of what was written. What was there once is never gone again.
KILLED = """
    import random

    path, cycles, first = args[0], int(args[1]), int(args[2])
    random.seed(first)

    def load():
        return np.load(path, mmap_mode="r")

    def write():
        with mk.open_array(path, "r+") as a:
            if a.shape[1]:
                values = np.arange(1 << 20).reshape(-1, 1)
            else:
                values = np.empty((1 << 20, 0), "i8")
            length = len(a)
            while length < first + 100_000:
                more = random.choice([1, 2, 7, 100, 3000])
                if random.random() < 0.1 and a.shape[1]:
                    a.resize(length + more)
                    a[length:] = values[length : length + more]
                else:
                    a.append(values[length : length + more] if a.shape[1] else values[:more])
                length += more
            os._exit(0)

    def watch(seconds):
        length = 0
        until = time.monotonic() + seconds
        going = True
        while going:
            going = time.monotonic() < until
            found = load()
            assert len(found) >= length, (len(found), length)
            length = len(found)
            if found.shape[1]:
                # A resize shows zeros before they are filled.
                rows = found[:, 0].copy()
                assert ((rows == np.arange(length)) | (rows == 0)).all()
        return length

    for cycle in range(cycles):
        if cycle % 8 == 0:
            mk.create_array(path, (first, 0 if first else 1), "i8", overwrite=True).close()
        random.seed(cycle * 7919 + first)
        moment = random.random() * 0.02
        child = os.fork()
        if child == 0:
            write()
        try:
            length = watch(moment)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert len(load()) >= length
        with mk.open_array(path, "r+") as a:
            before = len(a)
            assert a.append(np.full((2, a.shape[1]), 0)) == before + 2
            assert os.path.getsize(path) == a.offset + a.nbytes
            a.resize(before)
"""


# From 0 rows, and across the carry into the upper word of the header.
@pytest.mark.parametrize("first", [0, 99_999_950])
def test_numpy_reads_whatever_a_killed_writer_leaves(file, first):
    victim.survive(KILLED, file.with_suffix(".npy"), 60, first)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 99_999_950])
def test_numpy_reads_whatever_many_killed_writers_leave(file, first):
    victim.survive(KILLED, file.with_suffix(".npy"), 3000, first, timeout=240)


# What a writer does, and how long the array is after each step. The first header is numpy's.
STEPS = """
    path, log = args
    def said(length):
        os.write(file, f"{length}\\n".encode())
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with mk.open_array(path, "r+") as a:
        for more in (1000, 1, 200_000):
            a.append(np.arange(len(a), len(a) + more))
            said(len(a))
        a.resize(50)
        said(50)
        a.append(np.arange(50, 60))
        said(60)
        a.reserve(100)
        said(60)
        a.resize(70)
        said(70)
    os._exit(0)
"""
LENGTHS = (9, 1009, 1010, 201_010, 50, 60, 60, 70)


def injected(what, path, log):
    """Run the steps under strace; the exit status is the writer's."""
    found = [str(victim.PACKAGES), str(victim.HERE)]
    code = victim.PRELUDE + victim.textwrap.dedent(STEPS)
    command = [sys.executable, "-c", code, path, log]
    return subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"inject={what}", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def whole(path, log):
    """The file is one of the two states around the moment, and whole."""
    done = len(log.read_text().splitlines()) if log.exists() else 0
    found = np.load(path)
    assert len(found) in LENGTHS[done : done + 2], (done, len(found))
    oracle = np.arange(len(found))
    oracle[60:] *= len(found) != 70
    assert np.array_equal(found, oracle)
    return found


CALLS = [
    "ftruncate",
    pytest.param("pwrite64", marks=pytest.mark.slow),
    pytest.param("fallocate", marks=pytest.mark.slow),
    pytest.param("mmap", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_system_call_of_a_writer(tmp_path, linux, call):
    require("strace")
    path, log = tmp_path / "a.npy", tmp_path / "log"
    killed = 0
    for moment in moments(call, tmp_path):
        np.save(path, np.arange(9))
        log.unlink(missing_ok=True)
        ended = injected(f"{call}:signal=KILL:when={moment}", path, log)
        whole(path, log)
        if ended.returncode == 0:
            break
        assert ended.returncode in (-9, 137), ended.stderr
        killed += 1
        with mk.open_array(path, "r+") as a:
            length = len(a)
            a.append([length])
            assert len(np.load(path)) == length + 1
            assert path.stat().st_size == a.offset + a.nbytes
    assert killed >= 2


def moments(call, tmp_path):
    """Which of the calls come after the file was opened, from a run that nobody disturbs."""
    path, log = tmp_path / "a.npy", tmp_path / "log"
    np.save(path, np.arange(9))
    trace = tmp_path / "trace"
    found = os.pathsep.join([str(victim.PACKAGES), str(victim.HERE)])
    code = victim.PRELUDE + victim.textwrap.dedent(STEPS)
    subprocess.run(
        [
            "strace",
            "-o",
            trace,
            "-e",
            f"trace={call},openat",
            sys.executable,
            "-c",
            code,
            path,
            log,
        ],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        timeout=120,
        check=True,
    )
    lines = trace.read_text().splitlines()
    opened = max(i for i, line in enumerate(lines) if f'"{path}"' in line)
    before = sum(line.startswith(call) for line in lines[:opened])
    after = sum(line.startswith(call) for line in lines[opened:])
    return range(before + 1, before + after + 2)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_an_error_of_any_write_leaves_the_last_state(tmp_path, linux, error):
    require("strace")
    path, log = tmp_path / "a.npy", tmp_path / "log"
    for moment in range(1, 40):
        np.save(path, np.arange(9))
        log.unlink(missing_ok=True)
        ended = injected(f"pwrite64:error={error}:when={moment}", path, log)
        found = whole(path, log)
        if ended.returncode == 0:
            break
        assert f"[Errno {28 if error == 'ENOSPC' else 5}]" in ended.stderr, ended.stderr
        with mk.open_array(path, "r+") as a:
            a.append([7])
            assert np.load(path).tolist() == [*found.tolist(), 7]
    assert moment > 5


def test_filesystems_that_allocate_nothing_ahead(tmp_path, linux):
    require("strace")
    path, log = tmp_path / "a.npy", tmp_path / "log"
    np.save(path, np.arange(9))
    ended = injected("fallocate:error=EOPNOTSUPP", path, log)
    assert "UnsupportedError" in ended.stderr  # of reserve(), after the rest
    assert len(log.read_text().splitlines()) == 5
    assert len(whole(path, log)) == 60


# --- full ----------------------------------------------------------------------------------------

FULL = """
    disk, ahead = args
    path = os.path.join(disk, "a.npy")
    rows = np.arange(64 * 1024.0).reshape(64, 1024)

    def whole(a):
        found = np.load(path)
        assert found.shape == a.shape == (length, 1024), (found.shape, a.shape, length)
        assert (found.reshape(-1, 64, 1024) == rows).all()
        assert os.path.getsize(path) == a.offset + a.nbytes
        assert np.array_equal(found, a)

    a = mk.create_array(path, (0, 1024))
    length = a.append(rows)
    view = a[0]
    with open(os.path.join(disk, "other"), "wb") as file:
        file.write(bytes(MIB))
        os.fsync(file.fileno())
    a._growth._preallocates = ahead == "ahead"
    while True:
        try:
            a.append(rows)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert error.filename == path
            break
        length += 64
    whole(a)
    assert length > 64
"""


@pytest.mark.parametrize("ahead", ["ahead", "as it goes"])
def test_disk_full_in_the_middle_of_an_append(small_disk, ahead):
    victim.survive(
        victim.textwrap.dedent(FULL)
        + victim.textwrap.dedent("""
        for act in (lambda: a.append(rows), lambda: a.resize(length + 1000),
                    lambda: a.reserve(length + 1000)):
            try:
                act()
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
            else:
                raise AssertionError("there was room")
            whole(a)
        assert (view == rows[0]).all()
        os.unlink(os.path.join(disk, "other"))
        for _ in range(20):  # btrfs frees blocks some time later
            try:
                length = a.append(rows)
                break
            except OSError:
                time.sleep(0.5)
        whole(a)
        del view
        a.flush()
        a.close()
        assert os.stat(path).st_blocks * 512 <= os.path.getsize(path) + MIB // 4
        """),
        small_disk,
        ahead,
    )


def test_reserved_rows_meet_no_full_disk(small_disk):
    if small_disk.name == "btrfs":
        pytest.skip("copies on write: blocks that were allocated are no promise there")
    victim.survive(
        """
        disk, = args
        path = os.path.join(disk, "a.npy")
        rows = np.ones((64, 1024))
        a = mk.create_array(path, (0, 1024))
        a.reserve(512)
        fill(disk)
        for _ in range(8):
            a.append(rows)
        try:
            a.append(np.ones((4096, 1024)))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError("there was room")
        assert np.load(path).sum() == 512 * 1024
        a.resize(256)
        a.close()
        """,
        small_disk,
    )


# --- cut -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut_to", [0, 100, 5000])
def test_append_to_a_file_that_was_cut_raises_fault(file, cut_to):
    victim.survive(
        """
        path, size = args[0], int(args[1])
        with mk.create_array(path, (0, 2)) as a:
            a.append(np.ones((1000, 2)))
            cut(path, size)
            for act, what in ((a.append, [[1, 1]]), (a.resize, 2000), (a.reserve, 2000)):
                fault = fault_of(act, what)
                assert fault.cause == "truncated", fault
                assert os.path.getsize(path) == size
            try:
                a.refresh()
            except mk.FormatError as error:
                assert path in str(error)
            else:
                raise AssertionError("nothing was lost")
        """
        if cut_to
        else """
        path, size = args[0], int(args[1])
        with mk.create_array(path, (0, 2)) as a:
            a.append(np.ones((1000, 2)))
            cut(path, size)
            assert fault_of(lambda: a.append([[1, 1]])).cause == "truncated"
            assert os.path.getsize(path) == 0
        """,
        file.with_suffix(".npy"),
        cut_to,
    )


def test_rows_of_a_source_that_was_cut_raise_fault(file):
    victim.survive(
        """
        path, = args
        make(path + ".raw", 64 * PAGE)
        source = mk.open_array(path + ".raw", dtype="f8")
        with mk.create_array(path, (0,)) as a:
            a.append([1.0])
            cut(path + ".raw", 8 * PAGE)
            fault = fault_of(lambda: a.append(source))
            assert (fault.filename, fault.cause) == (path + ".raw", "truncated"), fault
            assert np.load(path).tolist() == [1.0]
            assert a.append([2.0]) == 2
            assert os.path.getsize(path) == a.offset + 16
        del fault  # its traceback holds views
        assert source.refresh() == PAGE
        """,
        file.with_suffix(".npy"),
    )


def test_poison_in_the_array_stops_appending_until_refresh(file):
    victim.survive(
        """
        path, = args
        make(path, 8 * PAGE)
        with mk.open_array(path, "r+", dtype="f8") as a:
            a.append([1.0])
            cut(path, 4 * PAGE)
            fault_of(lambda: a[:].sum())
            assert fault_of(lambda: a.append([1.0])).cause == "truncated"
            assert os.path.getsize(path) == 4 * PAGE
            assert a.refresh() == 4 * PAGE // 8
            assert a.append([3.0]) == 4 * PAGE // 8 + 1
            assert a[:].sum() == 4 * PAGE // 8 + 3
        """,
        file,
    )


# --- limits --------------------------------------------------------------------------------------


def test_few_addresses_are_enough(file, linux):
    """ulimit -v: the generous reserve is refused, and smaller ones do."""
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit")
    victim.survive(
        """
        import resource
        path, = args
        used = int(content("/proc/self/statm").split()[0]) * PAGE
        resource.setrlimit(resource.RLIMIT_AS, (used + 300 * MIB, used + 300 * MIB))
        with mk.create_array(path, (0,)) as a:
            view = a[:]
            for _ in range(30):
                a.append(np.ones(MIB // 8))
            assert a[:].sum() == 30 * MIB // 8
            del view
        """,
        file.with_suffix(".npy"),
    )


def test_leaving_without_closing_gives_blocks_back(file):
    path = file.with_suffix(".npy")
    victim.survive(
        """
        path, = args
        a = mk.create_array(path, (0,))
        a.append(np.ones(1000))
        """,
        path,
    )
    with path.open("rb") as written:
        os.fsync(written.fileno())
    assert path.stat().st_size == 8128
    assert path.stat().st_blocks * 512 <= 1 << 16


def test_a_forked_child_gives_no_blocks_back(file):
    victim.survive(
        """
        path, = args
        a = mk.create_array(path, (0,))
        a.append(np.ones(1000))
        heard, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(heard, 1)
            a.close()
            os._exit(0)
        a.append(np.ones(1000))
        os.write(tell, b"x")
        assert os.waitpid(child, 0)[1] == 0
        assert os.path.getsize(path) == a.offset + 16000
        assert np.load(path).sum() == 2000
        a.append(np.ones(1000))
        a.close()
        """,
        file.with_suffix(".npy"),
    )
