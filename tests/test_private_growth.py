"""Private mappings that become longer or shorter than their file."""

import contextlib
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmapkit
from mmapkit import MappingFault, UnsupportedError, _native

PAGE = mmapkit.page_size()
WINDOWS = sys.platform == "win32"
METHODS = _native.change_methods()
ROOM = 64 * PAGE

grows = pytest.mark.skipif(WINDOWS, reason="not there: UnsupportedError")


def private(path, **options):
    return mmapkit.open(path, "c", **{"reserve": ROOM, **options})


def pairs(runs):
    return [tuple(pair) for pair in np.frombuffer(runs, "i8").reshape(-1, 2).tolist()]


@pytest.mark.skipif(not WINDOWS, reason="grows elsewhere")
def test_unsupported(file):
    with mmapkit.open(file, "c") as m, pytest.raises(UnsupportedError, match="private mapping"):
        m._grow_private(20_000)


@grows
def test_tail_is_zeros_in_place_and_private(file, pattern):
    with private(file) as m, mmapkit.open(file, "r+") as base:
        view = memoryview(m)
        m._grow_private(30_000)
        assert len(m) == m.size == 30_000
        assert m[:] == pattern + bytes(20_000)
        m[0], m[9_999], m[10_000], m[29_999] = 1, 2, 3, 4
        assert (view[0], view[9_999]) == (1, 2)  # the same addresses
        base[5_000] = 77
        assert m[5_000] == 77  # what was not stored into still shows the file
        assert os.path.getsize(file) == 10_000
        assert base[0] == pattern[0]
        view.release()
    assert file.read_bytes()[9_999] == pattern[9_999]


@grows
def test_growing_twice_and_by_little(file, pattern):
    with private(file) as m:
        size = 10_000
        for step in (1, 1, 100, PAGE - 1, PAGE, PAGE + 1, 0, 3 * PAGE):
            m._grow_private(size + step)
            assert m[size : size + step] == bytes(step)
            m[size : size + step] = b"\xaa" * step
            size += step
        assert m[:] == pattern + b"\xaa" * (size - 10_000)


@grows
@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1])
@pytest.mark.parametrize("offset", [0, 1, PAGE, PAGE + 1])
def test_from_a_file_of_any_size_at_any_offset(tmp_path, size, offset):
    path = tmp_path / "f"
    path.write_bytes(b"\x55" * (offset + size))
    with private(path, offset=offset) as m:
        assert len(m) == size
        m._grow_private(size + 2 * PAGE + 3)
        assert m[:] == b"\x55" * size + bytes(2 * PAGE + 3)
        m[size] = 9
        m[-1] = 8
        m._grow_private(size)
        assert m[:] == b"\x55" * size
        m._grow_private(size + 5 * PAGE)
        assert m[:] == b"\x55" * size + bytes(5 * PAGE)
        assert pairs(m._changes("pagemap"))[-1][0] <= size or "pagemap" not in METHODS
    assert path.read_bytes() == b"\x55" * (offset + size)


@grows
def test_hidden_bytes_do_not_come_back(file, pattern):
    with private(file) as m, mmapkit.open(file, "r") as base:
        for size in (5_000, 4_096, 100, 0):
            m._grow_private(size)
            assert m[:] == pattern[:size]
            m._grow_private(20_000)
            assert m[:] == pattern[:size] + bytes(20_000 - size)
            for method in METHODS:
                at, length = pairs(m._changes(method, base))[-1]
                assert at <= size
                assert at + length == 20_000
            assert pairs(m._changes("compare", base))[-1][1] >= 20_000 - size
    assert file.read_bytes() == pattern


@grows
@settings(max_examples=60)
@given(st.data())
def test_any_sizes_agree_with_a_bytearray(tmp_path_factory, data):
    file_size = data.draw(st.integers(0, 3 * PAGE), "file size")
    offset = data.draw(st.integers(0, file_size), "offset")
    path = tmp_path_factory.mktemp("tail") / "f"
    path.write_bytes(bytes(i % 250 + 1 for i in range(file_size)))
    model = bytearray(path.read_bytes()[offset:])
    fresh = len(model)  # from here on, nothing is the file's
    touched = set()
    with private(path, offset=offset) as m, mmapkit.open(path, "r") as base:
        for _ in range(data.draw(st.integers(1, 6), "steps")):
            size = data.draw(st.integers(0, 8 * PAGE), "size")
            m._grow_private(size)
            fresh = min(fresh, size)
            if size < len(model):
                del model[size:]
            else:
                if size > len(model) and (offset + len(model)) % PAGE:
                    touched.add((offset + len(model)) // PAGE)
                model.extend(bytes(size - len(model)))
            for place in data.draw(st.lists(st.integers(0, max(0, size - 1)), max_size=3)):
                if size:
                    m[place] = model[place] = model[place] ^ 0x80
                    touched.add((offset + place) // PAGE)
            assert m[:] == model
        size = len(model)
        wanted = set()
        for page in touched:
            wanted |= set(range(page * PAGE - offset, (page + 1) * PAGE - offset))
        wanted = {at for at in wanted if 0 <= at < fresh} | set(range(fresh, size))
        for method in METHODS:
            found = set()
            for at, length in pairs(m._changes(method, base)):
                found |= set(range(at, at + length))
            if method == "compare":  # leaves out what is as it was
                assert found <= wanted
                view = path.read_bytes()[offset:]
                assert all(model[at] == view[at] for at in range(fresh) if at not in found)
            else:
                assert found == wanted, method


@grows
def test_growth_of_the_file_does_not_show(file, pattern):
    """The rest of the last page is the mapping's own, too."""
    with private(file) as m:
        m._grow_private(20_000)
        with open(file, "ab") as f:
            f.write(b"\xff" * 20_000)
        assert m[10_000:] == bytes(10_000)
        m.check()


# --- the guard ------------------------------------------------------------------------------------


@grows
def test_truncation_is_still_noticed(file, pattern):
    m = private(file)
    m._grow_private(40_000)
    m[30_000] = 7
    m.check()
    os.truncate(file, 9_990)  # inside the last page: no access faults
    with pytest.raises(MappingFault) as caught:
        m.check()
    assert caught.value.cause == "truncated"
    os.truncate(file, 10_000)
    m.check()
    m.close()


@grows
def test_tail_survives_a_truncation(file, pattern):
    m = private(file)
    m._grow_private(40_000)
    m[20_000:40_000] = b"\x07" * 20_000
    os.truncate(file, 100)
    assert m[20_000:] == b"\x07" * 20_000
    with pytest.raises(MappingFault) as caught:
        m.read(5_000, 10)
    assert caught.value.cause == "truncated"
    assert m.read(20_000) == b"\x07" * 20_000  # the poison ends where the file's pages did
    for size in (50_000, 10):
        with pytest.raises(MappingFault):
            m._grow_private(size)
    m.close()


@grows
def test_file_truncated_before_growing_raises_fault(file):
    m = private(file)
    os.truncate(file, 0)
    with pytest.raises(MappingFault):
        m._grow_private(20_000)
    assert len(m) == 10_000
    m.close()


@grows
def test_recovers_the_files_part(file, pattern):
    m = private(file)
    m._grow_private(20_000)
    m[15_000] = 5
    os.truncate(file, 0)
    with pytest.raises(MappingFault):
        m.read(0, 10)
    file.write_bytes(pattern)
    m.recover()
    assert m.read(0, 8_192) == pattern[:8_192]
    assert m[15_000] == 5
    m.close()


# --- what is refused ------------------------------------------------------------------------------


@grows
def test_beyond_the_reserve(file, pattern):
    with private(file, reserve=20_000) as m:
        room = m._capacity
        with pytest.raises(ValueError, match=f"{room + 1} bytes do not fit the {room}"):
            m._grow_private(room + 1)
        m._grow_private(room)
        assert m[:] == pattern + bytes(room - 10_000)
    with mmapkit.open(file, "c") as m:
        with pytest.raises(ValueError, match="10001 bytes do not fit the 10000"):
            m._grow_private(10_001)
        m._grow_private(5_000)
        assert m[:] == pattern[:5_000]
        m._grow_private(5_000)
        with pytest.raises(ValueError, match="do not fit"):
            m._grow_private(5_001)
    with mmapkit.open(file, "c") as m, pytest.raises(ValueError, match="between 0 and"):
        m._grow_private(-1)


@grows
def test_only_private_maps_of_files(file):
    with mmapkit.open(file, "r+") as m, pytest.raises(UnsupportedError):
        m._grow_private(20_000)
    with mmapkit.open(file, "r") as m, pytest.raises(UnsupportedError):
        m._grow_private(20_000)
    with mmapkit.anonymous(100, reserve=ROOM) as m, pytest.raises(UnsupportedError):
        m._grow_private(20_000)
    with mmapkit.open(file, "c", backend="read") as m, pytest.raises(UnsupportedError):
        m._grow_private(20_000)
    with pytest.raises(ValueError, match="closed"):
        m._grow_private(20_000)


@grows
def test_protected_mapping_does_not_grow(file):
    with private(file) as m:
        m.protect("r")
        with pytest.raises(TypeError, match="read-only"):
            m._grow_private(20_000)
        m.protect("rw")
        m._grow_private(20_000)
        m.protect("r")
        assert m[19_999] == 0


@grows
def test_views_hold_up_shrinking_only(file):
    with private(file) as m:
        view = memoryview(m)
        m._grow_private(20_000)
        with pytest.raises(BufferError, match="1 view is alive"):
            m._grow_private(10_000)
        assert len(m) == 20_000
        view.release()
        m._grow_private(10_000)
        with pytest.raises(TypeError):
            m.resize(30_000)


@grows
def test_file_is_not_followed_any_more(file):
    with private(file) as m:
        assert m.refresh() == 10_000
        m._grow_private(20_000)
        with pytest.raises(UnsupportedError):
            m.refresh()
        assert len(m) == 20_000


@grows
def test_grows_after_having_followed(file, pattern):
    """Following maps ahead of the file's end, which is then covered."""
    with private(file) as m:
        with open(file, "ab") as f:
            f.write(b"\x01" * 2_000)
        assert m.refresh() == 12_000
        m._grow_private(40_000)
        assert m[:] == pattern + b"\x01" * 2_000 + bytes(28_000)


@grows
def test_tail_is_kept_when_discarding(file, pattern):
    with private(file) as m:
        m._grow_private(30_000)
        m[0] = m[0] ^ 1
        m[25_000] = 5
        if m._discard(m._changes(METHODS[0])):
            assert m[0] == pattern[0]
        assert m[25_000] == 5
        assert m[10_000:25_000] == bytes(15_000)


@grows
def test_memory_calls_over_the_seam(file):
    with private(file) as m:
        m._grow_private(50_000)
        m.populate()
        with contextlib.suppress(OSError):
            m.evict()
        m.advise("normal")
        m.flush()
        assert m.residency().total_bytes == 50_000
        assert sum(m.read()[10_000:]) == 0
