"""Passes: blocks that join up to the whole, in bounded memory, with manners towards the cache."""

import _thread
import functools
import gc
import itertools
import os
import pickle
import signal
import sys
import sysconfig
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.passes import cache, choice, cuts, places, running
from mmapkit.passes.places import InFile, Whole

PAGE = mk.page_size()
MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc or the page cache")


def naive(whole, length, overlap):
    """Cut the obvious way."""
    found, start = [], 0
    while start < len(whole):
        found.append(whole[start : start + length])
        if start + length >= len(whole):
            break
        start += length - overlap
    return found


def data_of(size):
    return np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()


@pytest.fixture
def small_steps(monkeypatch):
    """Make steps so small that a small file has many, and trials short."""
    monkeypatch.setattr(cuts, "STEP_BYTES", 2 * PAGE)
    monkeypatch.setattr(choice, "SMALL_BYTES", PAGE)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file of 40 MiB of random words, on the disk; to be left as it is."""
    path = tmp_path_factory.mktemp("big") / "big.bin"
    with path.open("wb") as file:
        file.write(data_of(40 * MIB))
        os.fsync(file.fileno())
    return path


def make_cold(path):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if mk.residency(path).resident_bytes:
        pytest.skip("this filesystem keeps its files in memory")


def make_warm(path):
    path.read_bytes()
    if mk.residency(path).fraction < 1:
        pytest.skip("this system keeps no files in memory")


def of_the_page_cache(test):
    """Let the system have its way now and then: it reads ahead late, and reclaims what it likes."""

    @functools.wraps(test)
    def repeated(*args, **kwargs):
        for pause_s in (0.01, 0.1, 0.5, 1):
            try:
                return test(*args, **kwargs)
            except AssertionError:
                time.sleep(pause_s)
        return test(*args, **kwargs)

    return repeated


# --- blocks join up to the whole ------------------------------------------------------------------

SIZES = st.one_of(
    st.integers(0, 40),
    st.builds(
        lambda pages, more: max(0, pages * PAGE + more), st.integers(0, 9), st.integers(-3, 3)
    ),
)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("how", ["mapping", "map", "read", "auto"])
def test_blocks_of_bytes_are_what_slicing_gives(tmp_path_factory, how):
    folder = tmp_path_factory.mktemp("bytes")

    @given(SIZES, SIZES, st.integers(0, 2 * PAGE), st.booleans())
    def check(size, length, overlap, drop_behind):
        length = max(1, length)
        overlap = min(overlap, length - 1)
        if size / (length - overlap) > 300:
            length = overlap + 1 + size // 300
        whole = data_of(size)
        path = folder / "f"
        path.write_bytes(whole)
        options = {"size": length, "overlap": overlap, "drop_behind": drop_behind}
        if how == "mapping":
            with mk.open(path) as m:
                found = m.blocks(**options)
                copies = [bytes(block) for block in found]
        else:
            found = mk.blocks(path, how, **options)
            copies = [bytes(block) for block in found]
        assert copies == naive(whole, length, overlap)
        assert len(found) == len(copies)
        assert found.total_bytes == size

    check()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("how", ["array", "map", "read", "auto"])
def test_blocks_of_rows_are_what_slicing_gives(tmp_path_factory, how):
    folder = tmp_path_factory.mktemp("rows")
    dtypes = ["u1", "<f8", ">i2", [("a", "<u2"), ("b", "u1")], "S5"]
    shapes = st.tuples(st.integers(0, 300), st.sampled_from([(), (1,), (3,), (7, 5), (0,), (700,)]))

    @given(st.sampled_from(dtypes), shapes, st.integers(1, 5 * PAGE), st.integers(0, 5))
    def check(dtype, shape, nbytes, overlap):
        shape = (shape[0], *shape[1])
        kind = np.dtype(dtype)
        count = int(np.prod(shape)) * kind.itemsize
        whole = np.frombuffer(data_of(count), kind).reshape(shape)
        path = folder / "f.npy"
        np.save(path, whole)
        row_bytes = int(np.prod(shape[1:])) * kind.itemsize
        length = max(overlap + 1, nbytes // row_bytes) if row_bytes else max(1, len(whole))
        length = max(length, overlap + 1)
        if how == "array":
            with mk.open_array(path) as a:
                copies = [np.array(block) for block in a.blocks(nbytes, overlap=overlap)]
        else:
            copies = [np.array(b) for b in mk.blocks(path, how, size=nbytes, overlap=overlap)]
        expected = naive(whole, length, overlap)
        assert len(copies) == len(expected)
        for copy, part in zip(copies, expected, strict=True):
            assert copy.dtype == part.dtype
            assert copy.shape == part.shape
            assert copy.tobytes() == part.tobytes()

    check()


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("how", ["map", "read"])
def test_rows_instead_of_bytes(tmp_path, how):
    whole = np.arange(7000.0).reshape(1000, 7)
    np.save(tmp_path / "f.npy", whole)
    found = [b.copy() for b in mk.blocks(tmp_path / "f.npy", how, rows=300, overlap=10)]
    assert [len(b) for b in found] == [300, 300, 300, 130]
    assert all((a == b).all() for a, b in zip(found, naive(whole, 300, 10), strict=True))


@pytest.mark.parametrize("how", ["map", "read", "auto"])
def test_raw_file_with_dtype_row_shape_and_offset(tmp_path, how):
    whole = np.arange(600, dtype=">i4")
    (tmp_path / "f").write_bytes(b"head!" + whole.tobytes())
    found = mk.blocks(tmp_path / "f", how, dtype=">i4", row_shape=(2, 3), offset=5, rows=30)
    parts = [block.copy() for block in found]
    assert [p.shape for p in parts] == [(30, 2, 3)] * 3 + [(10, 2, 3)]
    assert (np.concatenate(parts) == whole.reshape(100, 2, 3)).all()


def test_offset_makes_a_npy_file_bytes(tmp_path):
    np.save(tmp_path / "f.npy", np.arange(10))
    data = (tmp_path / "f.npy").read_bytes()
    assert b"".join(mk.blocks(tmp_path / "f.npy", offset=3, size=50)) == data[3:]


def test_columns_of_a_fortran_array(tmp_path, small_steps):
    whole = np.asfortranarray(np.arange(60_000.0).reshape(20, 30, 100))
    np.save(tmp_path / "f.npy", whole)
    with mk.open_array(tmp_path / "f.npy") as a:
        for found in (
            a.blocks(rows=7, overlap=2, axis=-1),
            mk.blocks(tmp_path / "f.npy", "read", rows=7, overlap=2, axis=2),
        ):
            parts = [b.copy() for b in found]
            expected = [p.T for p in naive(whole.T, 7, 2)]
            assert all((p == e).all() for p, e in zip(parts, expected, strict=True))
        with pytest.raises(ValueError, match=r"order 'F'.*axis=-1"):
            a.blocks()
    np.save(tmp_path / "line.npy", np.asfortranarray(np.arange(9.0)))
    assert [len(b) for b in mk.blocks(tmp_path / "line.npy", rows=5)] == [5, 4]


def test_rows_with_gaps_between_them(file, pattern, small_steps):
    strides = (13, 2)
    expected = np.ndarray((700, 5), "u1", pattern, 3, strides)
    with mk.open_array(file, dtype="u1", shape=(700, 5), offset=3, strides=strides) as a:
        parts = [b.copy() for b in a.blocks(rows=100)]
        assert (np.concatenate(parts) == expected).all()
    with (
        mk.open_array(file, dtype="u1", shape=(70, 5), offset=3, strides=(1, 70)) as a,
        pytest.raises(ValueError, match=r"strides \(1, 70\)"),
    ):
        a.blocks()


def test_structure_of_a_subarray_dtype_joins_the_shape(tmp_path):
    whole = np.arange(24, dtype="<i4").reshape(4, 6)
    whole.tofile(tmp_path / "f")
    parts = [b.copy() for b in mk.blocks(tmp_path / "f", dtype="(6,)<i4", rows=3)]
    assert (np.concatenate(parts) == whole).all()


# --- what a pass over a mapping gives -------------------------------------------------------------


def test_blocks_of_a_mapping_are_views_of_it(file):
    with mk.open(file, "r+") as m:
        for index, block in enumerate(m.blocks(PAGE)):
            block[0] = index
        assert [m[at] for at in range(0, len(m), PAGE)] == [0, 1, 2]
        del block


def test_blocks_of_a_writable_array_are_writable(tmp_path, small_steps):
    with mk.create_array(tmp_path / "f.npy", (5000, 3)) as a:
        for number, block in enumerate(a.blocks(rows=1000)):
            block += number
        del block
    assert np.load(tmp_path / "f.npy").sum() == 3 * 1000 * (0 + 1 + 2 + 3 + 4)


@pytest.mark.parametrize("how", ["map", "read"])
def test_blocks_of_a_path_are_read_only(file, how):
    for block in mk.blocks(file, how, size=PAGE):
        assert block.readonly
    for block in mk.blocks(file, how, dtype="u2"):
        assert not block.flags.writeable


@pytest.mark.parametrize("how", ["map", "read"])
def test_blocks_that_are_kept_stay_what_they_were(file, pattern, how, small_steps):
    kept = list(mk.blocks(file, how, size=PAGE // 2))
    assert b"".join(kept) == pattern
    del kept[1::2]
    list(mk.blocks(file, how, size=PAGE // 2))
    assert b"".join(kept[:1]) == pattern[: PAGE // 2]


def test_array_can_be_closed_after_the_pass(tmp_path):
    with mk.create_array(tmp_path / "f.npy", 1000) as a:
        found = a.blocks(rows=100)
        assert sum(len(block) for block in found) == 1000
        assert sum(len(block) for block in found) == 1000  # again
        a.close()
        with pytest.raises(ValueError, match="closed"):
            next(iter(found))
        with pytest.raises(ValueError, match="closed"):
            a.blocks()


def test_private_changes_are_seen_and_kept(file, pattern, small_steps):
    with mk.open(file, "c") as m:
        m[:3] = b"abc"
        m[-3:] = b"xyz"
        for _ in range(2):
            assert b"".join(m.blocks(100)) == b"abc" + pattern[3:-3] + b"xyz"
    assert file.read_bytes() == pattern


def test_dirty_pages_survive_the_pass(tmp_path):
    path = tmp_path / "f"
    with mk.open(path, "w+", size=40 * MIB) as m:
        for at in range(0, len(m), PAGE):
            m[at] = 7
        assert all(block[0] == 7 for block in m.blocks(MIB))
        assert all(m[at] == 7 for at in range(0, len(m), PAGE))
    assert set(path.read_bytes()[::PAGE]) == {7}


@pytest.mark.parametrize("backend", ["read", "memory"])
def test_memory_without_a_file_behind_it_is_passed_over(file, pattern, backend, small_steps):
    m = mk.open(file, "r+", backend="read") if backend == "read" else mk.anonymous(10_000)
    with m:
        m[:] = pattern[::-1]
        assert b"".join(m.blocks(100)) == pattern[::-1]
        assert m[:].tobytes() == pattern[::-1]


def test_part_of_a_file_that_is_mapped(file, pattern, small_steps):
    with mk.open(file, offset=5, length=9000) as m:
        assert b"".join(m.blocks(1000)) == pattern[5:9005]


def test_descriptor_keeps_its_position(file, pattern):
    with file.open("rb", buffering=0) as opened:
        opened.seek(17)
        for how in ("map", "read"):
            assert b"".join(mk.blocks(opened, how, size=100)) == pattern
            assert b"".join(mk.blocks(opened.fileno(), how, size=100)) == pattern
        assert opened.tell() == 17


def test_numpy_is_not_needed_for_bytes(run_python, file):
    run_python(
        """
import sys
sys.modules["numpy"] = None
import mmapkit as mk
data = open(sys.argv[1], "rb").read()
for how in "map", "read":
    assert b"".join(mk.blocks(sys.argv[1], how, size=1000)) == data
with mk.open(sys.argv[1]) as m:
    assert b"".join(m.blocks(1000)) == data
""",
        file,
    )


# --- bad input ------------------------------------------------------------------------------------


def test_bad_values_are_named(file, tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((4, 3)))
    np.save(tmp_path / "point.npy", np.float64(1))
    npy, point = tmp_path / "f.npy", tmp_path / "point.npy"
    with mk.open(file) as m, mk.open_array(npy) as a, mk.open_array(point) as zero:
        cases = [
            (lambda: m.blocks(0), "size must be at least 1, not 0"),
            (lambda: m.blocks(10, overlap=10), "overlap must be less than the block's 10 bytes"),
            (lambda: m.blocks(10, overlap=-1), "overlap must be at least 0, not -1"),
            (lambda: a.blocks(0), "nbytes must be at least 1, not 0"),
            (lambda: a.blocks(rows=0), "rows must be at least 1, not 0"),
            (lambda: a.blocks(rows=2, overlap=2), "less than the 2 rows"),
            (lambda: a.blocks(axis=1), "axis=0"),
            (lambda: a.blocks(axis=2), "axis 2 is out of range"),
            (lambda: zero.blocks(), "no dimensions"),
            (lambda: mk.blocks(point), "no dimensions"),
            (lambda: mk.blocks(file, "bogus"), "how must be one of 'auto', 'map', 'read'"),
            (lambda: mk.blocks(m, "read"), "mapped already"),
            (lambda: mk.blocks(m, dtype="u1"), "not mapped yet"),
            (lambda: mk.blocks(m, rows=1), "rows= goes with arrays"),
            (lambda: mk.blocks(file, rows=1), "rows= goes with arrays"),
            (lambda: mk.blocks(file, row_shape=1), "goes with dtype="),
            (lambda: mk.blocks(file, dtype="<f8", row_shape=3), "whole number of rows of 24"),
            (lambda: mk.blocks(file, offset=10_001), "past the end"),
            (lambda: mk.blocks(npy, dtype="<f4"), "holds float64, not float32"),
            (lambda: mk.blocks(npy, row_shape=4), r"rows of shape \(3,\), not 4"),
        ]
        for call, message in cases:
            with pytest.raises(ValueError, match=message):
                call()
    with pytest.raises(TypeError, match="not of list"):
        mk.blocks([1])
    with pytest.raises(TypeError):
        mk.blocks(file, size="8")
    with pytest.raises(FileNotFoundError):
        mk.blocks(tmp_path / "absent")
    reader, writer = os.pipe()
    with pytest.raises(ValueError, match="has no size"):
        mk.blocks(reader)
    os.close(reader)
    os.close(writer)
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\1\0v\0nonsense")
    with pytest.raises(mk.FormatError):
        mk.blocks(tmp_path / "bad.npy")


# --- how, and why ---------------------------------------------------------------------------------


def test_small_files_are_read_and_it_says_so(file):
    found = mk.blocks(file)
    assert found.how == "read"
    assert "9.77 KiB" in found.why
    assert "read" in repr(found)


def test_what_is_mapped_stays_mapped(file):
    with mk.open(file) as m:
        assert mk.blocks(m).how == "map"
        assert "mapped already" in mk.blocks(m).why


@linux
@of_the_page_cache
def test_resident_file_of_few_blocks_is_mapped(big):
    make_warm(big)
    found = mk.blocks(big)
    assert found.how == "map"
    assert "100% resident" in found.why


def test_large_file_is_tried_both_ways_and_numbers_are_told(big, monkeypatch):
    monkeypatch.setattr(cuts, "STEP_BYTES", MIB)
    found = mk.blocks(big, size=MIB)
    assert found.how == "auto"
    assert b"".join(found) == big.read_bytes()
    assert found.how in ("map", "read")
    assert "tried both on 6 MiB" in found.why
    assert "GB/s" in found.why


@pytest.mark.usefixtures("small_steps")
def test_filesystem_that_refuses_to_be_mapped_is_read(file, pattern, monkeypatch):
    def refused(opened, *, offset, length, backend="auto"):
        return mk.open(opened, offset=offset, length=length, backend="read")

    monkeypatch.setattr(places, "open_mapping", refused)
    for how in ("map", "auto"):
        found = mk.blocks(file, how, size=100)
        assert b"".join(found) == pattern
        assert found.how == "read"
    assert mk.blocks(file, "map").how == "map"
    found = mk.blocks(file, "map")
    list(found)
    assert "refuses" in found.why


def test_the_faster_way_is_taken():
    for fast, slow in itertools.permutations(("map", "read")):
        made = choice.Choice("auto", 1 << 30, 100, 0.0)
        for step in range(choice.TRIAL_STEPS):
            assert made.how == "auto"
            way = made.way(step)
            made.note(step, way, MIB, {fast: 0.001, slow: 0.002}[way])
        assert made.how == fast
        assert made.way(50) == fast
        assert slow in made.why


# --- nothing is left behind -----------------------------------------------------------------------


def count_open(path):
    numbers = os.listdir("/proc/self/fd")
    links = (f"/proc/self/fd/{number}" for number in numbers)
    opened = sum(os.path.exists(at) and os.readlink(at) == str(path) for at in links)
    return opened + Path("/proc/self/maps").read_text().count(str(path))


@linux
@pytest.mark.parametrize("how", ["map", "read", "auto"])
def test_abandoned_passes_leave_nothing(big, how, monkeypatch):
    monkeypatch.setattr(cuts, "STEP_BYTES", MIB)
    threads = threading.active_count()

    def half_way():
        for number, _ in enumerate(mk.blocks(big, how, size=MIB)):
            if number == 3:
                return

    def collected():
        running = iter(mk.blocks(big, how, size=MIB))
        next(running)
        assert count_open(big)

    def raised():
        for _ in mk.blocks(big, how, size=MIB):
            raise KeyError

    def closed():
        with mk.blocks(big, how, size=MIB) as found:
            running = iter(found)
            next(running)
            next(running)
        assert count_open(big) == 0
        assert list(running) == []

    gc.disable()  # it has to go without
    try:
        for act in (half_way, collected, closed):
            act()
            assert count_open(big) == 0, act
            assert threading.active_count() == threads
    finally:
        gc.enable()
    with pytest.raises(KeyError):
        raised()
    assert count_open(big) == 0


@linux
def test_abandoned_pass_gives_its_mapping_back(big):
    with mk.open(big) as m:
        running = iter(m.blocks(MIB))
        next(running)
        assert m.exports == 1
        del running
        assert m.exports == 0


@pytest.mark.parametrize("how", ["map", "read", "mapping"])
def test_pass_that_is_under_way_at_exit_does_no_harm(big, run_python, how):
    ended = run_python(
        """
import sys
import mmapkit as mk
path, how = sys.argv[1:]
m = mk.open(path)
running = iter(m.blocks() if how == "mapping" else mk.blocks(path, how))
block = next(running)
""",
        big,
        how,
    )
    assert ended.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to itself")
@pytest.mark.parametrize("how", ["map", "read"])
def test_ctrl_c_ends_a_pass_and_its_thread(big, run_python, how):
    said = run_python(
        """
import signal, sys, threading, time
import mmapkit as mk
path, how = sys.argv[1:]
try:
    for number, block in enumerate(mk.blocks(path, how)):
        if number == 2:
            signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print(number, threading.active_count())
""",
        big,
        how,
    ).stdout
    assert said == "2 1\n"


# --- steps that do not come -----------------------------------------------------------------------


class Stuck:
    """The third step's loading waits until it is released."""

    def __init__(self, monkeypatch):
        self.begun, self.clearing, self.release = (threading.Event() for _ in range(3))
        monkeypatch.setattr(cuts, "STEP_BYTES", MIB)
        for kind in (InFile, Whole):
            self.replace(monkeypatch, kind, kind.load)

        def start(pool, task, real=running.Pool.start):
            name = task._work.__name__
            real(pool, task)
            if name == "clear":
                self.clearing.set()

        monkeypatch.setattr(running.Pool, "start", start)

    def replace(self, monkeypatch, kind, real):
        def load(place, step, cold):
            if step == 2:
                self.begun.set()
                assert self.release.wait(60)
            return real(place, step, cold)

        monkeypatch.setattr(kind, "load", load)

    def interrupt(self, how):
        """Do what Ctrl-C does, once it waits, and once more when it waits for the step to end."""

        def send():
            for event in (self.begun, self.clearing):
                assert event.wait(60)
                time.sleep(0.01)
                if how == "signal":
                    os.kill(os.getpid(), signal.SIGINT)
                else:
                    _thread.interrupt_main()  # wakes nobody: as if another thread had got it

        threading.Thread(target=send).start()

    def end(self):
        """Release it; then no thread of a pass is there any more."""
        self.release.set()
        for thread in threading.enumerate():
            if thread.name.startswith("mmapkit-blocks"):
                thread.join(60)
                assert not thread.is_alive()


@pytest.fixture
def stuck(monkeypatch):
    found = Stuck(monkeypatch)
    yield found
    found.end()


POSIX = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to itself")
INTERRUPTS = [pytest.param("signal", marks=POSIX), "flag"]


@pytest.mark.parametrize("interrupt", INTERRUPTS)
@pytest.mark.parametrize("how", ["map", "read"])
def test_second_ctrl_c_does_not_wait_for_a_step(big, stuck, how, interrupt):
    found = mk.blocks(big, how, size=MIB)
    stuck.interrupt(interrupt)
    with pytest.raises(KeyboardInterrupt):
        deque(found, 0)
    assert not stuck.release.is_set()
    if sys.platform == "linux":
        assert count_open(big) > 0  # it is being read into
    stuck.end()
    if sys.platform == "linux":
        assert count_open(big) == 0


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_second_ctrl_c_in_a_context_does_not_wait_for_a_step(big, stuck, interrupt):
    stuck.interrupt(interrupt)
    with pytest.raises(KeyboardInterrupt), mk.blocks(big, size=MIB) as found:
        deque(found, 0)
    assert not stuck.release.is_set()


def test_mapping_is_kept_open_for_a_step_that_goes_on(big, stuck):
    with mk.open(big) as m:
        stuck.interrupt("flag")
        with pytest.raises(KeyboardInterrupt):
            deque(m.blocks(MIB), 0)
        with pytest.raises(BufferError):
            m.close()
        stuck.end()
        assert m.exports == 0


@pytest.mark.parametrize("how", ["map", "read"])
def test_abandoned_pass_waits_for_what_is_being_read(big, stuck, how):
    running = iter(mk.blocks(big, how, size=MIB))
    next(running)
    next(running)
    assert stuck.begun.wait(60)
    threading.Timer(0.1, stuck.release.set).start()
    del running
    assert stuck.release.is_set()
    if sys.platform == "linux":
        assert count_open(big) == 0


# --- manners --------------------------------------------------------------------------------------

WAYS = ["map", "read", "mapping", "array"]


def passed(path, way):
    if way == "mapping":
        with mk.open(path) as m:
            return sum(block[0] for block in m.blocks(3 * MIB + 5, overlap=7))
    if way == "array":
        # With an offset no header is looked for, which would have the system read ahead.
        with mk.open_array(path, dtype="<u8", offset=0) as a:
            return sum(int(block[0]) for block in a.blocks(MIB))
    return sum(block[0] for block in mk.blocks(path, way, size=3 * MIB + 5, overlap=7))


@linux
@pytest.mark.parametrize("way", WAYS)
@of_the_page_cache
def test_what_was_cold_is_cold_again(big, way):
    make_cold(big)
    passed(big, way)
    assert mk.residency(big).resident_bytes == 0


@linux
@pytest.mark.parametrize("how", ["map", "read"])
@of_the_page_cache
def test_what_an_abandoned_pass_read_is_cold_again(big, how):
    make_cold(big)
    running = iter(mk.blocks(big, how))
    next(running)
    time.sleep(0.1)
    del running
    with mk.open(big) as m:  # what the system still reads ahead by itself comes later
        assert m.residency(0, 16 * MIB).resident_bytes == 0


@linux
@pytest.mark.parametrize("way", WAYS)
@of_the_page_cache
def test_what_was_resident_stays_resident(big, way):
    make_warm(big)
    passed(big, way)
    # Some systems reclaim a little all the time.
    assert mk.residency(big).fraction > 0.95


@linux
@pytest.mark.parametrize("way", ["map", "read", "mapping"])
@of_the_page_cache
def test_what_was_resident_in_parts_is_so_again(big, way):
    make_cold(big)
    with mk.open(big, advice="random") as m:
        for first in (3 * MIB, 17 * MIB + 4096, 33 * MIB):
            m.populate(first, 64 << 10)
        before = m.residency().pages
    passed(big, way)
    with mk.open(big) as m:
        after = m.residency().pages
    assert after[before].all()
    assert not after[~before].any()


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 70), st.integers(0, PAGE - 1))
def test_traces_tell_what_was_not_resident(flags, upto, start):
    def look(offset, length):
        first = offset // PAGE
        return bytes(flags[first : first - -length // PAGE])

    end = len(flags) * PAGE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "FOLIO_BYTES", PAGE)
        patch.setattr(cache, "LOOK_BYTES", 7 * PAGE)
        patch.setattr(cache, "HORIZON_BYTES", 3 * PAGE)
        traces = cache.Traces(look, min(start, end), end)
        for at in range(0, end, 2 * PAGE):
            cold = traces.scout(max(at, start), at + 2 * PAGE)
            assert cold == (not all(flags[at // PAGE : at // PAGE + 2]))
        ranges = [*traces.leave(min(upto * PAGE, end)), *traces.leave(None)]
    found = [page for first, last in ranges for page in range(first // PAGE, last // PAGE)]
    assert found == [page for page, resident in enumerate(flags) if not resident]


def test_what_the_system_does_not_tell_is_somebody_elses():
    traces = cache.Traces(lambda *where: None, 0, 100 * MIB)
    assert traces.scout(0, MIB)
    assert traces.share is None
    assert list(traces.leave(50 * MIB)) == []
    assert list(traces.leave(None)) == []


@linux
@of_the_page_cache
def test_npy_header_leaves_no_trace(tmp_path):
    with open(tmp_path / "f.npy", "wb") as file:
        np.save(file, np.zeros(2_000_000))
        file.flush()
        os.fsync(file.fileno())
    make_cold(tmp_path / "f.npy")
    for _ in mk.blocks(tmp_path / "f.npy", "read", rows=200_000):
        pass
    assert mk.residency(tmp_path / "f.npy").resident_bytes == 0


@linux
@of_the_page_cache
def test_without_dropping_everything_stays(big):
    make_cold(big)
    for how in ("map", "read"):
        for _ in mk.blocks(big, how, drop_behind=False):
            pass
        assert mk.residency(big).fraction == 1.0


# --- bounded memory -------------------------------------------------------------------------------

MEASURE = """
import sys
import mmapkit as mk
path, way = sys.argv[1:]
def peak():  # in MiB; getrusage() would tell the parent's, too, if it was more
    text = open("/proc/self/status").read()
    return int(text.split("VmHWM:")[1].split()[0]) // 1024
def act():
    if way == "mapping":
        with mk.open(path) as m:
            return sum(block[0] + len(bytes(block[::4096])) for block in m.blocks())
    if way == "array":
        with mk.open_array(path, dtype="<u8") as a:
            return sum(int(block.sum()) for block in a.blocks())
    return sum(int(block.sum()) for block in mk.blocks(path, way, dtype="<u8"))
act()
print(peak())
"""


@linux
@pytest.mark.parametrize("way", ["map", "read", "auto", "array", "mapping"])
def test_peak_memory_is_less_than_64_mib(tmp_path, run_python, way):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
    # The interpreter itself takes some MiB more without a global lock.
    limit = 64 if getattr(sys, "_is_gil_enabled", lambda: True)() else 80
    assert int(run_python(MEASURE, path, way).stdout) < limit


LIMITED = """
import mmap, resource, sys
import numpy as np
import mmapkit as mk
path, how = sys.argv[1:]
list(mk.blocks(__file__ if "__file__" in dir() else sys.executable, size=1 << 20))  # imports
limit = 700 << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    np.memmap(path, "<u8", "r")
except OSError:
    pass
else:
    sys.exit("np.memmap mapped more than the limit")
try:
    mk.open(path)
except OSError:
    pass
else:
    sys.exit("mapped more than the limit")
total = 0
for block in mk.blocks(path, how, dtype="<u8"):
    total += len(block)
    last = block[-1]
assert total == (1 << 30) // 8, total
assert last == 99
"""


@pytest.mark.skipif(
    sysconfig.get_config_var("Py_GIL_DISABLED") == 1,
    reason="without a global lock CPython takes addresses of its own by the GiB",
)
@linux
@pytest.mark.parametrize("how", ["map", "read", "auto"])
def test_file_larger_than_the_address_space(tmp_path, run_python, how):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek((1 << 30) - 8)
        file.write((99).to_bytes(8, "little"))
    run_python(LIMITED, path, how, OPENBLAS_NUM_THREADS="1")


def test_blocks_of_an_ndarray_are_refused_by_name():
    with pytest.raises(TypeError, match="not of ndarray"):
        mk.blocks(np.zeros(3))


def test_blocks_of_a_file_that_is_only_named_npy(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"")
    with pytest.raises(mk.FormatError, match="named as of the format npy, and begins otherwise"):
        mk.blocks(path)
    path.write_bytes(b"raw")
    assert [bytes(block) for block in mk.blocks(path, offset=0)] == [b"raw"]
    assert [block.tolist() for block in mk.blocks(path, dtype="u1")] == [[*b"raw"]]


def test_blocks_are_not_pickled_and_say_what_is(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(TypeError, match="blocks cannot be pickled: pass the array or the path"):
        pickle.dumps(mk.blocks(tmp_path / "a.npy"))
