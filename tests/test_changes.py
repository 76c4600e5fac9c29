"""Which pages of a private mapping were stored into: all ways agree, and with a naive list."""

import contextlib
import ctypes
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmapkit
from mmapkit import MappingFault, UnsupportedError, _native

PAGE = mmapkit.page_size()
LINUX = sys.platform == "linux"
WINDOWS = sys.platform == "win32"
METHODS = _native.change_methods()
ASKING = [method for method in METHODS if method != "compare"]


def pairs(runs):
    return [tuple(pair) for pair in np.frombuffer(runs, "i8").reshape(-1, 2).tolist()]


def runs_of_pages(pages, offset, size):
    """The naive list: pages of the file -> runs of the visible bytes."""
    found = []
    for page in sorted(pages):
        start = max(page * PAGE - offset, 0)
        stop = min((page + 1) * PAGE - offset, size)
        if found and found[-1][0] + found[-1][1] == start:
            found[-1] = (found[-1][0], stop - found[-1][0])
        else:
            found.append((start, stop - start))
    return found


def fill(path, size, sparse=()):
    """A file without two equal bytes next to each other, but for holes."""
    pattern = (np.arange(size, dtype="u4") % 251 + 1).astype("u1")
    with open(path, "wb") as f:
        f.write(pattern.tobytes())
    if sparse:
        with open(path, "r+b") as f:
            for page in sparse:
                f.seek(page * PAGE)
                f.write(bytes(min(PAGE, max(0, size - page * PAGE))))
    return path


def test_names():
    assert METHODS[-1] == "compare"
    assert set(METHODS) <= {"pagemap_scan", "pagemap", "compare"}


@pytest.mark.skipif(not LINUX, reason="Linux tells by itself")
def test_linux_has_a_faster_way():
    assert "pagemap" in METHODS


# --- agreement ------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=150)
def test_all_methods_agree(tmp_path_factory, data):
    """Stores of other bytes, stores of the same bytes, and reads, anywhere."""
    size = data.draw(st.integers(1, 40 * PAGE), "file size")
    offset = data.draw(st.integers(0, size - 1), "offset")
    length = data.draw(st.none() | st.integers(0, size - offset), "length")
    holes = data.draw(st.sets(st.integers(0, (size - 1) // PAGE)), "holes")
    populate = data.draw(st.booleans(), "populate")
    path = fill(tmp_path_factory.mktemp("c") / "f", size, holes)
    with (
        mmapkit.open(path, "r") as base,
        mmapkit.open(path, "c", offset=offset, length=length, populate=populate) as m,
    ):
        visible = len(m)
        changed, same = set(), set()
        places = st.integers(0, max(0, visible - 1))
        for place in data.draw(st.lists(places, max_size=30), "changed") if visible else ():
            m[place] = base[offset + place] ^ 0x80
            changed.add((offset + place) // PAGE)
        for place in data.draw(st.lists(places, max_size=10), "same") if visible else ():
            m[place] = m[place]
            same.add((offset + place) // PAGE)
        for place in data.draw(st.lists(places, max_size=10), "read") if visible else ():
            assert m[place] is not None
        for method in ASKING:
            wanted = runs_of_pages(changed | same, offset, visible)
            assert pairs(m._changes(method)) == wanted, method
        assert pairs(m._changes("compare", base)) == runs_of_pages(changed, offset, visible)


def check(m, base, pages, offset=0):
    wanted = runs_of_pages(pages, offset, len(m))
    for method in METHODS:
        assert pairs(m._changes(method, base)) == wanted, method


def test_same_bytes_stored_count_where_the_system_is_asked(file):
    with mmapkit.open(file, "r") as base, mmapkit.open(file, "c") as m:
        m[10] = m[10]
        for method in ASKING:
            assert pairs(m._changes(method)) == [(0, min(PAGE, 10_000))]
        assert m._changes("compare", base) == b""


def test_bytes_changed_back_count_the_same_way(file):
    with mmapkit.open(file, "r") as base, mmapkit.open(file, "c") as m:
        before = m[10]
        m[10] = before ^ 1
        m[10] = before
        for method in ASKING:
            assert len(pairs(m._changes(method))) == 1
        assert m._changes("compare", base) == b""


@pytest.mark.parametrize("every", [2, 3])
def test_more_runs_than_the_system_tells_at_once(tmp_path, every):
    """One answer holds 512 of them."""
    path = fill(tmp_path / "f", 4000 * PAGE + 5)
    with mmapkit.open(path, "r") as base, mmapkit.open(path, "c") as m:
        pages = range(0, 4001, every)
        for page in pages:
            m[page * PAGE + page % 5] ^= 1
        check(m, base, pages)


def test_all_pages_are_one_run(tmp_path):
    path = fill(tmp_path / "f", 1000 * PAGE - 7)
    with mmapkit.open(path, "r") as base, mmapkit.open(path, "c") as m:
        view = np.frombuffer(m, "u1")
        view ^= 1
        check(m, base, range(1000))
        assert len(pairs(m._changes(METHODS[0], base))) == 1
        del view


def test_evicted_prefetched_and_populated_pages(tmp_path):
    path = fill(tmp_path / "f", 300 * PAGE)
    with mmapkit.open(path, "r") as base, mmapkit.open(path, "c") as m:
        pages = range(5, 300, 7)
        for page in pages:
            m[page * PAGE] ^= 1
        check(m, base, pages)
        with contextlib.suppress(OSError):  # not everywhere
            m.evict()  # changed pages survive: swapped out, or kept
        check(m, base, pages)
        m.prefetch()
        check(m, base, pages)
        m.populate()
        check(m, base, pages)


@pytest.mark.skipif(not LINUX, reason="advice of Linux")
@pytest.mark.parametrize("advice", ["hugepage", "nohugepage", "pageout", "cold", "random"])
def test_advice_changes_no_answer(tmp_path, advice):
    path = fill(tmp_path / "f", 2000 * PAGE)
    with mmapkit.open(path, "r") as base, mmapkit.open(path, "c") as m:
        with contextlib.suppress(UnsupportedError):
            m.advise(advice)
        m.populate()
        pages = [*range(600, 1500), 1700]
        for page in pages:
            m[page * PAGE] ^= 1
        with contextlib.suppress(UnsupportedError):
            m.advise(advice)
        check(m, base, pages)


@pytest.mark.skipif(not LINUX, reason="/dev/shm")
def test_file_in_memory(pattern):
    """On tmpfs, whose pages are anonymous memory to others, and may be huge."""
    path = f"/dev/shm/mmapkit-changes-{os.getpid()}"
    try:
        fill(path, 3000 * PAGE)
        with mmapkit.open(path, "r") as base, mmapkit.open(path, "c", populate=True) as m:
            for page in (0, 511, 512, 2999):
                m[page * PAGE] ^= 1
            check(m, base, [0, 511, 512, 2999])
    finally:
        os.unlink(path)


@pytest.mark.skipif(WINDOWS, reason="no fork")
def test_forked_child_tells_its_own(file, run_python):
    run_python(
        """
import os, sys, mmapkit
from mmapkit import _native
m = mmapkit.open(sys.argv[1], "c")
base = mmapkit.open(sys.argv[1], "r")
m[0] ^= 1
child = os.fork()
if child == 0:
    m[9000] ^= 1
    ok = all(len(m._changes(way, base)) == 32 for way in _native.change_methods())
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert all(len(m._changes(way, base)) == 16 for way in _native.change_methods())
""",
        file,
    )


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_only_private_mappings(file, method):
    with mmapkit.open(file, "r+") as m, mmapkit.open(file, "r") as base:
        with pytest.raises(UnsupportedError, match="find changes"):
            m._changes(method, base)
        with mmapkit.anonymous(1000) as memory, pytest.raises(UnsupportedError):
            memory._changes(method, base)


def test_bytes_that_were_read_can_be_compared_only(file):
    with mmapkit.open(file, "r") as base, mmapkit.open(file, "c", backend="read") as m:
        m[5000] ^= 1
        for method in ASKING:
            with pytest.raises(UnsupportedError):
                m._changes(method)
        assert pairs(m._changes("compare", base)) == runs_of_pages([5000 // PAGE], 0, 10_000)


def test_unknown_method(file):
    with mmapkit.open(file, "c") as m:
        with pytest.raises(
            ValueError, match="method must be one of pagemap_scan, pagemap, compare"
        ):
            m._changes("guess")
        with pytest.raises(TypeError):
            m._changes(None)


def test_comparing_needs_a_base_of_the_same_bytes(file, tmp_path, pattern):
    other = tmp_path / "other"
    other.write_bytes(pattern)
    with (
        mmapkit.open(file, "c") as m,
        mmapkit.open(other, "r") as wrong,
        mmapkit.open(file, "r", length=9_000) as short,
        mmapkit.open(file, "r", offset=1) as late,
        mmapkit.anonymous(10_000) as memory,
    ):
        for base in (None, wrong, short, late, memory):
            with pytest.raises(ValueError, match="a base that maps the same bytes"):
                m._changes("compare", base)
    with pytest.raises(ValueError, match="closed"):
        m._changes("compare", m)
    with mmapkit.open(file, "c") as m, pytest.raises(ValueError, match="closed"):
        m._changes("compare", wrong)


def test_base_may_begin_earlier(file):
    with (
        mmapkit.open(file, "r", offset=4000) as base,
        mmapkit.open(file, "c", offset=5000, length=4500) as m,
    ):
        m[4000] ^= 1
        assert pairs(m._changes("compare", base)) == runs_of_pages([9000 // PAGE], 5000, 4500)


@pytest.mark.skipif(WINDOWS, reason="a mapped file cannot be truncated there")
def test_comparing_a_truncated_file_raises_fault(file):
    m, base = mmapkit.open(file, "c"), mmapkit.open(file, "r")
    os.truncate(file, 4000)
    with pytest.raises(MappingFault) as caught:
        m._changes("compare", base)
    assert caught.value.filename == str(file)
    for one in (m, base):
        with contextlib.suppress(MappingFault):
            one.close()
        one.close()


def test_nothing_leaks(file):
    if LINUX:
        before = len(os.listdir("/proc/self/fd"))
    with mmapkit.open(file, "c") as m, mmapkit.open(file, "r") as base:
        for _ in range(100):
            for method in METHODS:
                m._changes(method, base)
        if LINUX:
            assert len(os.listdir("/proc/self/fd")) == before + 2


# --- forgetting -----------------------------------------------------------------------------------


def test_discarded_pages_show_the_file(tmp_path):
    path = fill(tmp_path / "f", 20 * PAGE + 100)
    with mmapkit.open(path, "r+") as base, mmapkit.open(path, "c") as m:
        for page in (0, 3, 4, 20):
            m[page * PAGE] ^= 0x80
        view = memoryview(m)
        base[3 * PAGE] = 99
        runs = m._changes(METHODS[0], base)
        if not m._discard(runs):
            assert not LINUX
            view.release()
            return
        assert m._changes(METHODS[0], base) == b""
        assert m[3 * PAGE] == view[3 * PAGE] == 99
        assert m[:] == base[:]
        m[5 * PAGE] ^= 0x80  # and may be stored into again
        check(m, base, [5])
        view.release()


@pytest.mark.skipif(not LINUX, reason="discards")
def test_discarding_a_part_of_a_page_leaves_it(tmp_path):
    path = fill(tmp_path / "f", 4 * PAGE + 100)
    with mmapkit.open(path, "r") as base, mmapkit.open(path, "c", offset=10) as m:
        for page in range(5):
            m[page * PAGE] ^= 0x80
        check(m, base, range(5), 10)
        part = np.array([[1, PAGE - 12], [PAGE - 9, PAGE - 1], [4 * PAGE - 10, 99]])
        assert m._discard(part)
        check(m, base, range(5), 10)
        assert m._discard(np.array([[0, PAGE - 10], [4 * PAGE - 10, 100]]))
        check(m, base, [1, 2, 3], 10)
        assert m._discard(b"")


def test_discard_refuses_bad_runs(file):
    with mmapkit.open(file, "c") as m:
        for bad in ([0, 10_001], [-1, 5], [5, -1]):
            with pytest.raises(ValueError, match="inside the mapping's 10000 bytes"):
                m._discard(np.array(bad))
        with pytest.raises(ValueError, match="aligned pairs"):
            m._discard(np.array([1]))
    with mmapkit.open(file, "r+") as m:
        assert m._discard(np.array([0, 100])) is False


# --- marked as lost -------------------------------------------------------------------------------


def test_marked_mapping_never_flushes_again(file, pattern):
    m = mmapkit.open(file, "r+")
    m._mark_lost()
    assert m[:5] == pattern[:5]  # reading goes on
    m[0] = 7
    for level in ("async", "os", "disk", "os"):
        with pytest.raises(MappingFault) as caught:
            m.flush(level=level)
        assert (caught.value.filename, caught.value.cause) == (str(file), "I/O error")
    with pytest.raises(MappingFault):
        m.recover()
    with pytest.raises(MappingFault):
        m.check()
    m.close()  # all were told
    with mmapkit.open(file, "r+") as again:
        again.flush()
    with pytest.raises(ValueError, match="closed"):
        m._mark_lost()


def test_mark_keeps_its_cause(file):
    import errno

    with mmapkit.open(file, "r+") as m:
        m._mark_lost(errno.ENOSPC)
        with pytest.raises(MappingFault) as caught:
            m.flush()
        assert caught.value.errno == errno.ENOSPC


@pytest.mark.skipif(not LINUX, reason="MADV_PAGEOUT")
def test_swapped_out_pages_count(tmp_path):
    """As far as this machine swaps; where it does not, the pages stay in memory and count, too."""
    path = fill(tmp_path / "f", 600 * PAGE)
    libc = ctypes.CDLL(None, use_errno=True)
    with mmapkit.open(path, "r") as base, mmapkit.open(path, "c") as m:
        view = np.frombuffer(m, "u1")
        pages = range(0, 600, 2)
        for page in pages:
            view[page * PAGE] ^= 1
        address = view.ctypes.data
        libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(600 * PAGE), 21)
        check(m, base, pages)
        del view
