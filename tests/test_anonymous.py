"""Memory without a file, and files without a name."""

import gc
import os
import sys

import pytest

import mmapkit as mk

PAGE = mk.page_size()


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, 1 << 20])
def test_anonymous_memory_is_zeros_of_the_exact_size(size):
    with mk.anonymous(size) as m:
        assert (len(m), bytes(m)) == (size, bytes(size))
        assert (m.path, m.mode, m.offset, m.backend, m.writable) == (None, "r+", 0, "memory", True)


@pytest.mark.parametrize("size", [-1, 2**63, 2**64 + 5, 10**30])
@pytest.mark.parametrize("make", [mk.anonymous, mk.temporary])
def test_impossible_size_is_named(make, size):
    with pytest.raises(ValueError, match=str(size)):
        make(size)


@pytest.mark.parametrize("make", [mk.anonymous, mk.temporary])
def test_more_than_the_machine_has_is_an_os_error(make):
    with pytest.raises((OSError, ValueError), match=str(2**62)):
        make(2**62)


@pytest.mark.parametrize("make", [mk.anonymous, mk.temporary])
@pytest.mark.parametrize("size", [1.0, "1", None])
def test_size_of_another_type(make, size):
    with pytest.raises(TypeError, match="size"):
        make(size)


def test_growth_keeps_the_content_and_adds_zeros():
    with mk.anonymous(100) as m:
        m[:] = b"x" * 100
        m.resize(1 << 20)
        assert m.read() == b"x" * 100 + bytes((1 << 20) - 100)


def test_growth_within_the_reserve_keeps_views():
    with mk.anonymous(10, reserve=1 << 20) as m, memoryview(m) as view:
        m.resize(1 << 20)
        m[5] = 1
        m[-1] = 2
        assert view[5] == 1
        assert m.read(10) == bytes((1 << 20) - 11) + b"\2"


def test_growth_without_a_reserve_needs_that_there_are_no_views():
    with mk.anonymous(10) as m, memoryview(m), pytest.raises(BufferError, match="1 view"):
        m.resize(1 << 20)


@pytest.mark.parametrize("huge", [None, False, True])
def test_huge_pages_tells_what_was_obtained(huge):
    with mk.anonymous(4 << 20, huge_pages=huge) as m:
        assert m.huge_pages in ((None, "transparent", "explicit") if huge else (None,))
        m[0] = m[-1] = 1
        m.resize(9 << 20)
        assert (len(m), m[0], m[(4 << 20) - 1], m[-1]) == (9 << 20, 1, 1, 0)
        m.resize(100)
        assert (len(m), m[0]) == (100, 1)


def test_two_anonymous_mappings_share_nothing():
    with mk.anonymous(10) as first, mk.anonymous(10) as second:
        first[0] = 1
        assert second[0] == 0


# --- temporary ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PAGE, 100_000])
def test_temporary_is_zeros_in_a_file_without_a_name(tmp_path, size):
    with mk.temporary(size, directory=tmp_path) as m:
        assert (len(m), bytes(m), m.path) == (size, bytes(size), None)
        if sys.platform != "win32":
            assert list(tmp_path.iterdir()) == []
            assert os.fstat(m.fileno()).st_size == size
            assert os.fstat(m.fileno()).st_nlink == 0
        m.resize(size + 10)
        m[size + 9] = 1
        m.flush()
        assert m[-1] == 1
    assert list(tmp_path.iterdir()) == []


def test_temporary_lives_as_long_as_its_last_view(tmp_path):
    m = mk.temporary(10, directory=tmp_path)
    view = memoryview(m)
    m.close(defer=True)
    del m
    gc.collect()
    view[3] = 7
    assert bytes(view) == b"\0\0\0\7" + bytes(6)
    view.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.reserve
def test_temporary_with_a_reserve(tmp_path):
    with mk.temporary(10, directory=tmp_path, reserve=1 << 20) as m, memoryview(m) as view:
        m.resize(100_000)
        m[9] = 5
        assert view[9] == 5


def test_temporary_in_a_folder_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        mk.temporary(10, directory=tmp_path / "none")


def test_anonymous_memory_has_no_descriptor():
    with mk.anonymous(10) as m, pytest.raises(mk.UnsupportedError, match="descriptor"):
        m.fileno()
