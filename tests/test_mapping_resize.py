"""Growing, shrinking, and following a file that others change."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

PAGE = mk.page_size()
BACKENDS = ["map", "read"]
RESERVE = pytest.param(1 << 20, marks=pytest.mark.reserve)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reserve", [None, RESERVE])
@pytest.mark.parametrize("offset", [0, 4095, 9_000])
def test_growing_and_shrinking_follows_a_bytearray(file, pattern, backend, reserve, offset):
    with mk.open(file, "r+", offset=offset, backend=backend, reserve=reserve) as m:
        oracle = bytearray(pattern[offset:])
        for size in (20_000, 10_001, 1, 4096, 4097, 0, 5000, 100, 8192, 30_000):
            m.resize(size)
            oracle = oracle[:size].ljust(size, b"\0")
            assert (len(m), m.size, bytes(m)) == (size, size, bytes(oracle))
            assert file.stat().st_size == offset + size
            if size:
                m[size - 1] = oracle[size - 1] = size % 251
        m.flush()
    assert file.read_bytes() == pattern[:offset] + oracle


@examples(60)
@given(
    sizes=st.lists(st.integers(0, 5 * PAGE), min_size=1, max_size=8),
    reserve=st.sampled_from([None, 2 * PAGE, 8 * PAGE]),
)
def test_anonymous_memory_grows_with_zeros_and_keeps_the_rest(sizes, reserve):
    with mk.anonymous(sizes[0], reserve=reserve) as m:
        m[:] = b"x" * sizes[0]
        oracle = bytearray(b"x" * sizes[0])
        for size in sizes[1:]:
            m.resize(size)
            oracle = oracle[:size].ljust(size, b"\0")
            assert bytes(m) == bytes(oracle)
            m[:] = oracle = bytearray(b"y" * size)


@pytest.mark.reserve
def test_views_within_the_reserve_stay_in_place(file, pattern):
    np = pytest.importorskip("numpy")
    with mk.open(file, "r+", reserve=1 << 20) as m:
        view, array = memoryview(m), m.array("u1")
        address = array.ctypes.data
        for size in (10_001, 50_000, 1 << 20):
            m.resize(size)
            whole = m.array("u1")
            assert whole.ctypes.data == address
            assert len(whole) == len(m) == size
            whole[0] ^= 255
            assert view[0] == array[0] == whole[0]
            del whole
        assert len(view) == len(array) == 10_000
        assert np.array_equal(array[1:], np.frombuffer(pattern, "u1")[1:])
        assert m.exports == 2
        del array
        view.release()


@pytest.mark.reserve
def test_growing_beyond_the_reserve_needs_that_there_are_no_views(file):
    with mk.open(file, "r+", reserve=20_000) as m:
        beyond = (20_000 + 2 * mk.allocation_granularity()) // PAGE * PAGE
        with memoryview(m), pytest.raises(BufferError, match="1 view is alive"):
            m.resize(beyond)
        assert file.stat().st_size == 10_000
        m.resize(beyond)
        assert len(m) == file.stat().st_size == beyond


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [0, 1, 9_999, 10_001, 1 << 20])
def test_views_without_a_reserve_forbid_resizing(file, pattern, size, backend):
    with mk.open(file, "r+", backend=backend) as m:
        first, second = memoryview(m), m[5:6]
        with pytest.raises(BufferError, match=r"2 views are alive.*reserve=.*file\.bin"):
            m.resize(size)
        assert (len(m), file.stat().st_size) == (10_000, 10_000)
        assert bytes(m) == pattern
        first.release()
        second.release()
        m.resize(size)
        assert len(m) == size


@pytest.mark.reserve
def test_shrinking_needs_that_there_are_no_views_even_within_a_reserve(file):
    with mk.open(file, "r+", reserve=1 << 20) as m:
        with memoryview(m), pytest.raises(BufferError):
            m.resize(9_999)
        assert file.stat().st_size == 10_000


def test_refused_shrink_leaves_what_the_read_backend_knows(run_python):
    # Large, so that memory that was given back too early is really gone.
    run_python("""
import mmapkit as mk
with open("f", "wb") as f:
    f.truncate(64 << 20)
with mk.open("f", "r+", backend="read") as m:
    with memoryview(m):
        try:
            m.resize(4096)
        except BufferError:
            pass
    m[60 << 20] = 7
    m.flush()
with open("f", "rb") as f:
    f.seek(60 << 20)
    assert f.read(2) == bytes([7, 0])
""")


def test_resize_to_the_same_size_is_allowed_with_views(file, pattern):
    with mk.open(file, "r+") as m:
        with memoryview(m):
            m.resize(10_000)
        assert bytes(m) == pattern


@pytest.mark.parametrize("what", ["advise", "lock", "evict", "populate", "name"])
@pytest.mark.parametrize(
    "kind", ["file", "anonymous", pytest.param("reserved", marks=pytest.mark.reserve)]
)
def test_what_was_done_to_a_part_does_not_hinder_resizing(tmp_path, what, kind):
    data = os.urandom(16 * PAGE)
    path = tmp_path / "f"
    path.write_bytes(data)
    with (
        mk.anonymous(len(data))
        if kind == "anonymous"
        else mk.open(path, "r+", reserve=None if kind == "file" else 20 * PAGE) as m
    ):
        m[:] = data
        match what:
            case "advise":
                advice = "random" if "random" in mk.supported_advice() else "normal"
                m.advise(advice, 2 * PAGE, PAGE)
            case "name":
                m.name = "part"
            case _:
                getattr(m, what)(2 * PAGE, PAGE)
        m.resize(64 * PAGE)
        assert m.read() == data + bytes(48 * PAGE)
        m.resize(8 * PAGE)
        assert m.read() == data[: 8 * PAGE]


@pytest.mark.parametrize("mode", ["r", "c"])
def test_modes_that_do_not_write_cannot_resize(file, mode):
    with mk.open(file, mode) as m:
        for size in (5, 10_000, 20_000):
            with pytest.raises(TypeError, match=rf"{size}.*file\.bin.*'r\+'"):
                m.resize(size)
        assert (len(m), file.stat().st_size) == (10_000, 10_000)


@pytest.mark.parametrize("size", [-1, 2**63, 10**30, -(2**70)])
def test_impossible_size_is_named(file, size):
    with mk.open(file, "r+") as m:
        with pytest.raises(ValueError, match=str(size)):
            m.resize(size)
        assert len(m) == 10_000


@pytest.mark.parametrize("size", [2**62, 2**63 - 1])
def test_size_beyond_the_disk_changes_nothing(file, pattern, size):
    with mk.open(file, "r+") as m:
        with pytest.raises((OSError, ValueError), match=str(size)):
            m.resize(size)
        assert bytes(m) == pattern
    assert file.read_bytes() == pattern


@pytest.mark.parametrize("size", [1.0, "1", None])
def test_size_of_another_type(file, size):
    with mk.open(file, "r+") as m, pytest.raises(TypeError, match="size"):
        m.resize(size)


@pytest.mark.skipif(sys.platform == "win32", reason="st_blocks")
def test_growth_allocates_blocks_unless_sparse(tmp_path):
    for sparse in (False, True):
        path = tmp_path / f"{sparse}"
        with mk.open(path, "x+", size=PAGE, sparse=sparse) as m:
            m.resize(1 << 20)
            assert (path.stat().st_blocks * 512 >= 1 << 20) is not sparse


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reserve", [None, RESERVE])
@pytest.mark.parametrize("size", [10_000, 12_000])
def test_file_that_others_made_longer_is_cut_to_the_size(file, pattern, size, reserve, backend):
    with mk.open(file, "r+", reserve=reserve, backend=backend) as m:
        append(file, b"x" * 5_000)
        m.resize(size)
        assert (len(m), file.stat().st_size) == (size, size)
        assert bytes(m)[:10_000] == pattern


# --- mappings that end before their file --------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_mapping_of_a_part_never_cuts_the_file(file, pattern, backend):
    with mk.open(file, "r+", offset=1000, length=2000, backend=backend) as m:
        m.resize(100)
        assert (bytes(m), file.stat().st_size) == (pattern[1000:1100], 10_000)
        m.resize(5000)
        assert (bytes(m), file.stat().st_size) == (pattern[1000:6000], 10_000)
        m.resize(9_500)
        assert bytes(m) == pattern[1000:] + bytes(500)
        assert file.stat().st_size == 10_500
    assert file.read_bytes() == pattern + bytes(500)


# --- following others ---------------------------------------------------------------------------


def append(path, data):
    with open(path, "ab") as f:
        f.write(data)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("reserve", [None, RESERVE])
def test_refresh_shows_what_was_appended(file, pattern, mode, reserve):
    with mk.open(file, mode, offset=10, reserve=reserve) as m:
        append(file, b"more" * 5000)
        assert len(m) == 9_990
        assert m.refresh() == 29_990
        assert bytes(m) == (pattern + b"more" * 5000)[10:]
        assert m.refresh() == 29_990


@pytest.mark.reserve
def test_refresh_within_the_reserve_keeps_views(file, pattern):
    with mk.open(file, reserve=1 << 20) as m, memoryview(m) as view:
        append(file, b"more")
        assert m.refresh() == 10_004
        assert (bytes(view), m.read(10_000)) == (pattern, b"more")


def test_refresh_beyond_the_reserve_needs_that_there_are_no_views(file):
    with mk.open(file) as m:
        append(file, bytes(1 << 20))
        with memoryview(m), pytest.raises(BufferError, match="1 view is alive"):
            m.refresh()
        assert len(m) == 10_000
        assert m.refresh() == 10_000 + (1 << 20)


@pytest.mark.parametrize("reserve", [None, pytest.param(4096, marks=pytest.mark.reserve), RESERVE])
def test_refresh_keeps_changes_that_only_memory_holds(file, pattern, reserve):
    with mk.open(file, "c", reserve=reserve) as m:
        m[5:9] = b"mine"
        append(file, bytes(200_000))
        m.refresh()
        assert m.read() == pattern[:5] + b"mine" + pattern[9:] + bytes(200_000)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cuts no mapped files")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [0, 1, 4096, 9_999])
def test_refresh_follows_a_cut_by_another_process(file, pattern, size, backend, run_python):
    with mk.open(file, "r+", backend=backend) as m:
        run_python("import os, sys; os.truncate(sys.argv[1], int(sys.argv[2]))", file, size)
        assert m.refresh() == size
        assert bytes(m) == pattern[:size]
        m.check()
        m.resize(20)
        assert bytes(m) == pattern[: min(size, 20)].ljust(20, b"\0")


def test_refresh_never_grows_past_the_length_that_was_asked_for(file, pattern):
    with mk.open(file, length=5_000) as m:
        append(file, b"more")
        assert m.refresh() == 5_000
        assert bytes(m) == pattern[:5_000]


def test_refresh_of_memory_does_nothing():
    with mk.anonymous(100) as m:
        assert m.refresh() == 100


def test_two_mappings_of_one_file_follow_each_other(file, pattern):
    with mk.open(file, "r+") as writer, mk.open(file) as reader:
        writer[0] = 255
        assert reader[0] == 255
        if sys.platform != "win32":
            writer.resize(12_000)
            writer[11_999] = 7
            assert reader.refresh() == 12_000
            assert reader[-1] == 7
