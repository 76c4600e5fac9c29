"""Physical memory: advice, prefetching, populating, locking, residency, protection."""

import contextlib
import re
import sys
from pathlib import Path

import pytest

import mmapkit as mk

PAGE = mk.page_size()
WINDOWS = sys.platform == "win32"
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells")
RANGES = [(0, None), (0, 0), (1, 1), (PAGE - 1, 2), (5000, None), (9_999, 1), (10_000, None)]
OUTSIDE = [(-1, None), (10_001, None), (0, 10_001), (9_999, 2), (0, 2**63), (2**64, 1)]
HARMLESS = [
    a for a in mk.supported_advice() if a not in ("dontneed", "free", "wipeonfork", "collapse")
]


@pytest.fixture
def m(file):
    with mk.open(file, "r+") as mapping:
        yield mapping


def named(offset, length):
    return str(length if length not in (None, 1, 2) else offset)


# --- ranges, alike for all ----------------------------------------------------------------------

CALLS = {
    "advise": lambda m, *where: m.advise("normal", *where),
    "prefetch": lambda m, *where: m.prefetch(*where),
    "populate": lambda m, *where: m.populate(*where),
    "evict": lambda m, *where: m.evict(*where),
    "lock": lambda m, *where: m.lock(*where),
    "unlock": lambda m, *where: m.unlock(*where),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("offset", "length"), RANGES)
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_any_range_is_taken_and_changes_no_byte(file, pattern, mode, call, offset, length):
    if call is CALLS["advise"] and "normal" not in mk.supported_advice():
        pytest.skip("no advice here")
    with mk.open(file, mode, offset=1) as m:
        if mode != "r":
            m[5] = 99
        expected = m.read()
        if call is CALLS["unlock"]:
            m.lock()
        call(m, min(offset, len(m)), length if offset < 9_999 else None)
        assert m.read() == expected


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("offset", "length"), OUTSIDE)
def test_range_outside_is_named(m, call, offset, length):
    with pytest.raises(ValueError, match=named(offset, length)):
        call(m, offset, length)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("value", [1.5, object()])
def test_range_of_another_type(m, call, value):
    with pytest.raises(TypeError):
        call(m, value)
    with pytest.raises(TypeError):
        call(m, 0, value)


# --- advice -------------------------------------------------------------------------------------


def test_supported_advice_is_a_tuple_of_names():
    found = mk.supported_advice()
    assert isinstance(found, tuple)
    assert len(set(found)) == len(found)
    assert all(isinstance(name, str) for name in found)
    if sys.platform == "linux":
        assert {"normal", "random", "sequential", "willneed", "dontneed"} <= set(found)


@pytest.mark.parametrize("advice", HARMLESS)
def test_advice_changes_no_byte(pattern, file, advice):
    with mk.open(file, "r+", offset=10) as m, mk.anonymous(10_000) as memory:
        memory[:] = pattern
        for mapping, expected in ((m, pattern[10:]), (memory, pattern)):
            for where in ((), (3, 5), (PAGE, PAGE)):
                with contextlib.suppress(mk.UnsupportedError):  # not for this kind of memory
                    mapping.advise(advice, *where)
            assert mapping.read() == expected


def test_unsupported_advice_says_so(m):
    known = "normal, random, sequential, willneed, dontneed, cold, pageout, free, hugepage"
    unsupported = set(known.split(", ")) - set(mk.supported_advice())
    if sys.platform == "linux":
        unsupported = {"free"}  # private memory only
    for advice in unsupported:
        with pytest.raises(mk.UnsupportedError, match=advice) as caught:
            m.advise(advice)
        assert caught.value.filename == m.path


@pytest.mark.parametrize("advice", ["", "WILLNEED", "soon"])
def test_unknown_advice_names_the_known_ones(m, advice):
    with pytest.raises(ValueError, match="normal, random"):
        m.advise(advice)


@linux
def test_dontneed_on_memory_drops_whole_pages_inside_the_range_only():
    with mk.anonymous(4 * PAGE) as m:
        m[:] = b"x" * (4 * PAGE)
        m.advise("dontneed", 1, 3 * PAGE - 2)
        assert m.read() == b"x" * PAGE + bytes(PAGE) + b"x" * (2 * PAGE)
        m.advise("dontneed", 0, PAGE - 1)
        assert m[0] == ord("x")
        m.advise("dontneed")
        assert m.read() == bytes(4 * PAGE)


@linux
def test_dontneed_on_a_shared_file_keeps_its_changes(m):
    m[0:4] = b"mine"
    m.advise("dontneed")
    assert m.read(0, 4) == b"mine"


@linux
def test_discarding_advice_is_refused_where_the_copy_in_memory_is_the_only_one(file, pattern):
    with mk.open(file, "r+", backend="read") as m:
        with pytest.raises(mk.UnsupportedError):
            m.advise("dontneed")
        assert m.read() == pattern


# --- prefetch, populate, residency, evict ---------------------------------------------------------


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large"
    with mk.open(path, "x+", size=256 * PAGE) as m:
        m.flush()
    return path


def test_prefetch_takes_many_ranges(large):
    with mk.open(large) as m:
        m.prefetch((i * 3 * PAGE + 5, 17) for i in range(80))
        m.prefetch([(i, 1) for i in range(5000)])
        m.prefetch([])
        m.prefetch([(0, 0), (len(m), 0)])


@pytest.mark.parametrize("wrong", [(0, 1, 2), (0,), 5, "a"])
def test_prefetch_names_what_is_no_range(m, wrong):
    with pytest.raises(TypeError, match=re.escape(f"is (offset, length), not {wrong!r}")):
        m.prefetch([(0, 1), wrong])


@pytest.mark.parametrize("ranges", [[(0, 1), (0, 10_001)], [(0, 1), (10_001, 0)], [(-1, 1)]])
def test_prefetch_names_the_range_that_lies_outside(m, ranges):
    with pytest.raises(ValueError, match=r"10001|-1"):
        m.prefetch(ranges)


@pytest.mark.parametrize("ranges", [[1], [(1,)], [(1, 2, 3)], [(0, 1.5)], [("0", 1)]])
def test_prefetch_of_what_are_no_pairs(m, ranges):
    with pytest.raises((TypeError, ValueError)):
        m.prefetch(ranges)


def test_prefetch_of_ranges_takes_no_length(m):
    with pytest.raises(TypeError, match="length"):
        m.prefetch([(0, 1)], 5)


@linux
def test_residency_before_and_after(large):
    with mk.open(large, "r+") as m:
        m.flush()  # dirty pages stay
        m.evict()
        before = m.residency()
        if before.resident_bytes == before.total_bytes:
            pytest.skip("this filesystem lives in memory")
        assert before.known
        m.populate(0, 10 * PAGE)
        after = m.residency()
        assert before.total_bytes == after.total_bytes == 256 * PAGE
        assert before.resident_bytes < after.resident_bytes
        assert after.pages[:10].all()
        assert after.pages.shape == (256,)
        assert after.pages.dtype == bool
        assert int(after.pages.sum()) * PAGE == after.resident_bytes
        assert after.fraction == after.resident_bytes / after.total_bytes
        m.populate()
        assert m.residency().fraction == 1.0
        assert "100.0%" in repr(m.residency())


@linux
def test_evict_leaves_dirty_pages(large):
    with mk.open(large, "r+") as m:
        m[5 * PAGE] = 1
        m.evict()
        assert m[5 * PAGE] == 1


def test_residency_counts_pages_that_are_partly_visible(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(3 * PAGE))
    with mk.open(path, offset=PAGE - 1, length=PAGE + 2) as m:
        m.populate()
        found = m.residency()
        if found.known:
            assert found.pages.shape == (3,)
            assert found.resident_bytes == found.total_bytes == PAGE + 2


def test_residency_of_a_path(file, large, tmp_path):
    with mk.open(large) as m:
        m.populate()
        for path in (large, str(large), str(large).encode()):
            found = mk.residency(path)
            assert found.total_bytes == 256 * PAGE
            if sys.platform == "linux":
                assert found.resident_bytes == 256 * PAGE
    (tmp_path / "empty").touch()
    empty = mk.residency(tmp_path / "empty")
    assert (empty.total_bytes, empty.resident_bytes, empty.fraction) == (0, 0, 1.0)
    with pytest.raises(FileNotFoundError):
        mk.residency(tmp_path / "none")
    with pytest.raises(OSError, match=r"."):
        mk.residency(tmp_path)


# --- lock ---------------------------------------------------------------------------------------


def locked_kilobytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmLck:")[1].split()[0])


@linux
@pytest.mark.parametrize("on_fault", [False, True])
def test_lock_and_unlock_show_in_the_process(m, on_fault):
    before = locked_kilobytes()
    m.lock(1, 1, on_fault=on_fault)
    assert locked_kilobytes() == before + PAGE // 1024
    m.unlock(0, 10)
    assert locked_kilobytes() == before


# --- protect, name ------------------------------------------------------------------------------


def test_protect_forbids_and_allows_stores(m):
    m.protect("r")
    assert not m.writable
    assert memoryview(m).readonly
    for store in (
        lambda: m.__setitem__(0, 1),
        lambda: m.write(0, b"x"),
        lambda: m.store("b", 0, 1),
        lambda: m.move(0, 1, 1),
    ):
        with pytest.raises(TypeError, match="read-only"):
            store()
    m.protect("rw")
    m[0] = 77
    assert m[0] == 77


@pytest.mark.parametrize(
    "protection",
    ["r", pytest.param("rx", marks=pytest.mark.skipif(WINDOWS, reason="only for memory there"))],
)
def test_protect_needs_that_there_are_no_views_to_store_through(m, protection):
    with memoryview(m) as view:
        with pytest.raises(BufferError, match="1 view"):
            m.protect(protection)
        view[0] = 5
        m.protect("rw")
    m.protect(protection)
    with memoryview(m), pytest.raises(TypeError):
        m[0] = 1


def test_protection_survives_resizing(m):
    m.protect("r")
    m.resize(50_000)
    assert m[49_999] == 0
    with pytest.raises(TypeError):
        m[0] = 1
    m.protect("rw")
    m[49_999] = 1


def test_read_only_file_cannot_be_made_writable(file):
    with mk.open(file) as m:
        with pytest.raises(TypeError, match=r"file\.bin.*'r'"):
            m.protect("rw")
        with pytest.raises(mk.UnsupportedError) if WINDOWS else contextlib.nullcontext():
            m.protect("rx")
        m.protect("r")


@pytest.mark.parametrize("protection", ["", "w", "rwx", "x", "R"])
def test_unknown_protection_is_named(m, protection):
    with pytest.raises(ValueError, match="'rx'") as caught:
        m.protect(protection)
    assert repr(protection) in str(caught.value)


@linux
def test_executable_memory_runs():
    ctypes = pytest.importorskip("ctypes")
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("machine code of x86-64")
    with mk.anonymous(PAGE) as m:
        m[0:6] = b"\xb8\x2a\x00\x00\x00\xc3"  # mov eax, 42; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(m))
        m.protect("rx")
        assert ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 42


def test_name_is_kept_and_shown_in_repr():
    with mk.anonymous(100) as m:
        assert m.name is None
        m.name = "my buffer"
        assert m.name == "my buffer"
        assert "my buffer" in repr(m)
        if sys.platform == "linux":
            maps = Path("/proc/self/maps").read_text()
            if "[anon:" in maps:  # CONFIG_ANON_VMA_NAME
                assert "[anon:my buffer]" in maps


def test_name_must_be_text(m):
    with pytest.raises(TypeError):
        m.name = 5


def test_page_size_and_granularity_are_powers_of_two():
    for size in (mk.page_size(), mk.allocation_granularity()):
        assert size >= 4096
        assert size & (size - 1) == 0
    assert mk.allocation_granularity() % mk.page_size() == 0
