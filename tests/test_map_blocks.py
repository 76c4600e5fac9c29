"""A function over all blocks, in threads and processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.passes import cuts, parallel, places, progress

PAGE = mk.page_size()


@pytest.fixture
def whole():
    return np.random.default_rng(3).random((5000, 4))


@pytest.fixture
def npy(tmp_path, whole):
    np.save(tmp_path / "f.npy", whole)
    return tmp_path / "f.npy"


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(cuts, "STEP_BYTES", 2 * PAGE)


def half(block):
    return block / 2


def test_results_come_in_order(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(cuts, "STEP_BYTES", 2 * PAGE)
    path = tmp_path_factory.mktemp("order") / "f.npy"

    @given(
        st.integers(0, 3000),
        st.integers(1, 500),
        st.integers(1, 5),
        st.sampled_from(["map", "read"]),
    )
    def check(count, rows, workers, how):
        whole = np.arange(count * 3.0).reshape(count, 3)
        np.save(path, whole)
        rows = max(rows, count // 200)
        found = mk.map_blocks(np.array, path, rows=rows, workers=workers, how=how)
        expected = [whole[i : i + rows] for i in range(0, count, rows)]
        assert len(found) == len(expected)
        assert all((a == b).all() for a, b in zip(found, expected, strict=True))
        out = np.zeros((count, 3))
        assert mk.map_blocks(half, path, out, rows=rows, workers=workers, how=how) is None
        assert (out == whole / 2).all()

    check()


def test_mapping_gives_bytes(file, pattern, small_steps):
    with mk.open(file) as m:
        assert b"".join(mk.map_blocks(bytes, m, nbytes=1000)) == pattern
        out = np.zeros(len(m), np.uint8)
        mk.map_blocks(lambda block: np.frombuffer(block, np.uint8) ^ 1, m, out, nbytes=999)
        assert (out ^ 1).tobytes() == pattern
    assert b"".join(mk.map_blocks(bytes, file, nbytes=1000)) == pattern


def test_out_in_a_file(npy, tmp_path, whole, small_steps):
    with mk.create_array(tmp_path / "g.npy", whole.shape) as out, mk.open_array(npy) as a:
        mk.map_blocks(half, a, out, rows=100)
        assert (out == whole / 2).all()
    assert (np.load(tmp_path / "g.npy") == whole / 2).all()


@pytest.fixture
def shards(tmp_path, whole):
    """What `whole` holds, in four files; and as many rows of zeros, in three."""
    for name, content, ends in (("s", whole, (700, 701, 3000)), ("z", whole * 0, (1000, 4999))):
        for n, part in enumerate(np.split(content, ends)):
            np.save(tmp_path / f"{name}{n}.npy", part)
    with (
        mk.open_sharded([tmp_path / f"s{n}.npy" for n in range(4)], "r+") as source,
        mk.open_sharded([tmp_path / f"z{n}.npy" for n in range(3)], "r+") as out,
    ):
        yield source, out


@pytest.mark.parametrize("workers", [1, 4])
def test_shards(shards, npy, whole, workers, small_steps):
    source, out = shards
    assert sum(mk.map_blocks(len, source, rows=100, workers=workers)) == 5000
    plain = np.zeros_like(whole)
    told = []
    mk.map_blocks(half, source, plain, rows=90, workers=workers, progress=lambda *n: told.append(n))
    assert (plain == whole / 2).all()
    assert told[-1] == (whole.nbytes, whole.nbytes)
    mk.map_blocks(half, source, out, rows=300, workers=workers)
    assert (out == whole / 2).all()
    mk.map_blocks(np.negative, npy, out, rows=301, workers=workers)
    assert (out == -whole).all()
    mk.map_blocks(half, source, source, rows=64, workers=workers)
    assert (source == whole / 2).all()
    assert (np.concatenate([np.load(path) for path in source.paths]) == whole / 2).all()
    source.close()  # no views are left
    out.close()
    with pytest.raises(ValueError, match="closed"):
        mk.map_blocks(half, npy, out)


def test_shards_that_do_not_fit(shards, npy, whole, tmp_path):
    source, out = shards
    with pytest.raises(ValueError, match=r"shape \(99, 4\)"):
        mk.map_blocks(half, source, np.zeros((99, 4)))
    with pytest.raises(ValueError, match=r"out has shape \(5000, 4\).* as long as the source's, 9"):
        mk.map_blocks(half, np.save(tmp_path / "9.npy", np.zeros(9)) or tmp_path / "9.npy", out)
    with mk.open_sharded(out.paths) as readonly, pytest.raises(TypeError, match="mode 'r'"):
        mk.map_blocks(half, npy, readonly)
    with pytest.raises(ValueError, match=r"block \[700, 701\) has shape \(0, 4\)"):
        mk.map_blocks(lambda b: b if len(b) > 1 else np.zeros((0, 4)), source, out, workers=1)
    private = mk.open_sharded(source.paths, "c")
    with private, pytest.raises(ValueError, match="changes of its own"):
        mk.map_blocks(half, private, processes=True)


def test_out_may_be_the_source(npy, whole, small_steps):
    with mk.open_array(npy, "r+") as a:
        mk.map_blocks(half, a, a, rows=100, workers=4)
    assert (np.load(npy) == whole / 2).all()


def test_out_in_order_f_or_of_another_dtype(npy, tmp_path, whole, small_steps):
    with mk.create_array(tmp_path / "g.npy", whole.shape, "f4", order="F") as out:
        mk.map_blocks(half, npy, out, rows=100)
        assert (out == (whole / 2).astype("f4")).all()


def test_source_is_closed_afterwards_without_views(npy, small_steps):
    with mk.open_array(npy) as a:
        assert sum(mk.map_blocks(len, a, rows=100)) == 5000
        a.close()


def test_empty_source(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((0, 3)))
    assert mk.map_blocks(half, tmp_path / "f.npy") == []
    assert mk.map_blocks(half, tmp_path / "f.npy", np.zeros((0, 3))) is None
    (tmp_path / "empty").write_bytes(b"")
    assert mk.map_blocks(bytes, tmp_path / "empty") == []


def test_workers_are_threads_as_many_as_asked_for(npy, small_steps):
    barrier = threading.Barrier(3, timeout=60)
    names = set()

    def work(block):
        barrier.wait()
        names.add(threading.current_thread().name)

    mk.map_blocks(work, npy, rows=556, workers=3)  # 9 blocks: 3 times 3 at once
    assert len(names) == 3


def test_steps_in_flight_are_bounded(npy, small_steps):
    begun, most = [0], [0]
    done = [0]
    lock = threading.Lock()

    def work(block):
        with lock:
            begun[0] += 1
            most[0] = max(most[0], begun[0] - done[0])
        time.sleep(0.001)
        with lock:
            done[0] += 1

    mk.map_blocks(work, npy, rows=256, workers=2)
    assert begun[0] == 20
    assert most[0] <= 2


# --- what does not fit --------------------------------------------------------------------------


def test_bad_values_are_named(npy, file, whole, tmp_path):
    read_only = np.zeros((5000, 4))
    read_only.flags.writeable = False
    with mk.open_array(npy) as a:
        cases = [
            (ValueError, lambda: mk.map_blocks(half, a, np.zeros((4999, 4))), r"\(4999, 4\).*5000"),
            (ValueError, lambda: mk.map_blocks(half, a, np.zeros(())), r"shape \(\)"),
            (ValueError, lambda: mk.map_blocks(half, a, read_only), "read-only"),
            (TypeError, lambda: mk.map_blocks(half, a, a), "mode 'r'"),
            (TypeError, lambda: mk.map_blocks(half, a, [0] * 5000), "not list"),
            (TypeError, lambda: mk.map_blocks(3, a), "callable, not int"),
            (ValueError, lambda: mk.map_blocks(half, a, workers=0), "at least 1, not 0"),
            (TypeError, lambda: mk.map_blocks(half, a, workers="2"), "str"),
            (TypeError, lambda: mk.map_blocks(lambda b: b, a, processes=True), "import"),
            (ValueError, lambda: mk.map_blocks(half, npy, how="both"), "'both'"),
        ]
        for kind, call, message in cases:
            with pytest.raises(kind, match=message):
                call()
    with mk.open_array(npy, "c") as a, pytest.raises(ValueError, match="changes of its own"):
        mk.map_blocks(half, a, processes=True)


@pytest.mark.parametrize(
    ("fn", "shape"),
    [(lambda b: b[1:], r"\(99, 4\)"), (lambda b: b.sum(1), r"\(100,\)"), (lambda b: 1.0, r"\(\)")],
)
def test_result_of_another_shape_names_the_block(npy, fn, shape):
    with pytest.raises(ValueError, match=rf"block \[0, 100\) has shape {shape}.*\(100, 4\)"):
        mk.map_blocks(fn, npy, np.zeros((5000, 4)), rows=100, workers=1)


def test_error_names_its_block_and_ends_the_work(npy, whole, small_steps):
    calls = []

    def work(block):
        calls.append(len(block))
        if (block[0] == whole[700]).all():
            raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        mk.map_blocks(work, npy, rows=50, workers=1)
    assert any("block [700, 750)" in note for note in caught.value.__notes__)
    assert len(calls) == 15


def test_error_stops_the_other_workers_before_their_next_block(npy, whole, small_steps):
    other_is_at_work, calls, failing = threading.Event(), [], []

    def work(block):
        calls.append(len(block))
        if (block[0] == whole[0]).all():
            failing.append(threading.current_thread())
            assert other_is_at_work.wait(60)
            raise KeyError("mine")
        other_is_at_work.set()
        while not failing:
            time.sleep(0.001)
        failing[0].join(60)  # a worker ends when there is no work for it any more

    with pytest.raises(KeyError, match="mine"):
        mk.map_blocks(work, npy, rows=50, workers=2)
    assert calls == [50, 50]


def test_step_that_cannot_be_loaded_is_the_last(npy, small_steps, monkeypatch):
    real, loaded = places.InFile.load, []
    failed, went_on = threading.Event(), threading.Event()

    def load(place, step, cold):
        loaded.append(step)
        if step == 1:
            failed.set()
            raise OSError("mine")
        if step == 2:
            went_on.set()
        return real(place, step, cold)

    def report(done, total):
        """Keep who would cancel the rest from doing so."""
        if done:
            assert failed.wait(60)
            went_on.wait(0.1)

    monkeypatch.setattr(places.InFile, "load", load)
    monkeypatch.setattr(parallel, "WAITING", 2)
    with pytest.raises(OSError, match="mine"):
        mk.map_blocks(len, npy, rows=256, workers=1, progress=report)
    assert loaded == [0, 1]


# --- progress -----------------------------------------------------------------------------------


def test_progress_is_told_to_a_function(npy, small_steps):
    told = []
    mk.map_blocks(len, npy, rows=1000, workers=3, progress=lambda *numbers: told.append(numbers))
    assert told[0] == (0, 160_000)
    assert told[-1] == (160_000, 160_000)
    assert told == sorted(told)
    assert len(told) == 6


def test_progress_as_lines(npy, capsys, monkeypatch, small_steps):
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    mk.map_blocks(len, npy, rows=1000, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("0 of 0 MB (100%)")


def test_progress_as_a_bar(npy, capsys, small_steps):
    pytest.importorskip("rich")
    mk.map_blocks(len, npy, rows=1000, progress=True)
    said = capsys.readouterr()
    assert "kB" in said.err
    assert said.out == ""


# --- processes ----------------------------------------------------------------------------------

JOBS = """
import os
import numpy as np

def half(block):
    return block / 2

def who(block):
    return os.getpid(), len(block)

def fail(block):
    if block[0, 0] == 3000:
        raise KeyError("mine")
"""

MAIN = """
import os, sys
sys.path.insert(0, os.getcwd())
import numpy as np
import mmapkit as mk
import jobs

if __name__ == "__main__":
    whole = np.load("f.npy")
    found = mk.map_blocks(jobs.who, "f.npy", rows=500, workers=2, processes=True)
    assert os.getpid() not in {pid for pid, _ in found} and len(found) == 10
    assert [count for _, count in found] == [500] * 10

    out = np.zeros(whole.shape)
    mk.map_blocks(jobs.half, "f.npy", out, rows=700, workers=2, processes=True)
    assert (out == whole / 2).all()

    with mk.create_array("g.npy", whole.shape) as out, mk.open_array("f.npy") as a:
        mk.map_blocks(jobs.half, a, out, rows=700, workers=2, processes=True)
        assert (out == whole / 2).all()

    shards = mk.open_sharded(["s0.npy", "s1.npy"])
    with mk.open_sharded(["z0.npy", "z1.npy", "z2.npy"], "r+") as out:
        mk.map_blocks(jobs.half, shards, out, rows=700, workers=2, processes=True)
        assert (out == whole / 2).all()
        found = mk.map_blocks(jobs.who, out, rows=500, workers=2, processes=True)
        assert [count for _, count in found] == [1, *[500] * 7, 499, *[500] * 2]
        assert os.getpid() not in {pid for pid, _ in found}
    with mk.open_sharded(["z0.npy", "z1.npy", "z2.npy"], "c") as out:  # results are sent back
        mk.map_blocks(jobs.half, "f.npy", out, rows=1000, workers=1, processes=True)
        assert (out == whole / 2).all()

    told = []
    try:
        mk.map_blocks(jobs.fail, "f.npy", rows=100, workers=1, processes=True,
                      progress=lambda *numbers: told.append(numbers))
    except KeyError as error:
        assert any("block [3000, 3100)" in note for note in error.__notes__), error.__notes__
    else:
        raise AssertionError
    assert told[-1] < (160_000, 160_000)
"""


def test_processes_do_what_threads_do(tmp_path, run_python):
    np.save(tmp_path / "f.npy", np.arange(5000.0)[:, None] * np.ones(4))
    for name, ends in (("s", (1234,)), ("z", (1, 4000))):
        for n, part in enumerate(np.split(np.load(tmp_path / "f.npy"), ends)):
            np.save(tmp_path / f"{name}{n}.npy", part)
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "main.py").write_text(MAIN)
    run_python("import runpy; runpy.run_path('main.py', run_name='__main__')")


# --- Ctrl-C -------------------------------------------------------------------------------------

INTERRUPTED = """
import os, sys, time
sys.path.insert(0, os.getcwd())
import mmapkit as mk
import slow

if __name__ == "__main__":
    try:
        mk.map_blocks(slow.work, "f.bin", nbytes=4096, workers=2, processes=sys.argv[1] == "True")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
SLOW = """
import time

def work(block):
    open("started", "w").close()
    time.sleep(0.1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("processes", [False, True])
def test_ctrl_c_stops_soon(tmp_path, processes, monkeypatch):
    (tmp_path / "f.bin").write_bytes(bytes(64 << 20))
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "main.py").write_text(INTERRUPTED)
    found = str(Path(mk.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "main.py", str(processes)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": found},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)  # all of it would take 13 minutes
    finally:
        process.kill()
        process.communicate()
    assert out == "interrupted\n", err
    assert err == ""
