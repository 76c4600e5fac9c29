"""Opening: modes, ranges and options."""

import contextlib
import io
import os
import stat
import sys

import pytest

import mmapkit as mk

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")

GRAIN = mk.allocation_granularity()


# --- modes --------------------------------------------------------------------------------------


def test_read_mode_shows_the_file_and_refuses_stores(file, pattern):
    with mk.open(file) as m:
        assert bytes(m) == pattern
        assert (len(m), m.size, m.mode, m.offset, m.closed) == (10_000, 10_000, "r", 0, False)
        assert not m.writable
        assert memoryview(m).readonly


def test_read_write_mode_changes_the_file(file, pattern):
    with mk.open(file, "r+") as m:
        m[3] = 77
        m.flush()
    assert file.read_bytes() == pattern[:3] + b"M" + pattern[4:]


def test_copy_mode_changes_memory_but_never_the_file(file, pattern):
    with mk.open(file, "c") as m:
        m[0:4] = b"mine"
        m.flush()
        assert m.read(0, 4) == b"mine"
    assert file.read_bytes() == pattern


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_copy_mode_needs_no_write_permission(file):
    file.chmod(0o400)
    with mk.open(file, "c") as m:
        m[0] = 1
        assert m[0] == 1


def test_copy_mode_takes_a_read_only_descriptor(file):
    with open(file, "rb") as f, mk.open(f, "c") as m:
        m[0] = 1
        assert m[0] == 1


@pytest.mark.parametrize("mode", ["w+", "x+"])
def test_creating_modes_give_zeros_of_the_size(tmp_path, mode):
    path = tmp_path / "new"
    with mk.open(path, mode, size=5000) as m:
        assert bytes(m) == bytes(5000)
        m[4999] = 1
    assert path.read_bytes() == bytes(4999) + b"\1"


@pytest.mark.parametrize("size", [0, 1, 10, 20_000])
def test_w_plus_empties_what_was_there(file, size):
    with mk.open(file, "w+", size=size) as m:
        assert bytes(m) == bytes(size)
    assert file.read_bytes() == bytes(size)


def test_x_plus_refuses_a_file_that_exists(file, pattern):
    with pytest.raises(FileExistsError) as caught:
        mk.open(file, "x+", size=5)
    assert caught.value.filename == str(file)
    assert file.read_bytes() == pattern


@posix
def test_created_file_obeys_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        mk.open(tmp_path / "new", "x+", size=1).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@posix
@pytest.mark.parametrize("mode", ["r+", "x+"])
def test_blocks_are_allocated_unless_sparse(tmp_path, mode):
    size = 1 << 20
    blocks = {}
    for sparse in (False, True):
        path = tmp_path / f"sparse {sparse}"
        if mode == "r+":
            path.touch()
        with mk.open(path, mode, size=size, sparse=sparse) as m:
            assert len(m) == size
            blocks[sparse] = path.stat().st_blocks * 512
    assert blocks[False] >= size
    assert blocks[True] < size


def test_r_plus_grows_a_file_to_size(file, pattern):
    with mk.open(file, "r+", size=12_345) as m:
        assert bytes(m) == pattern + bytes(2345)
    assert file.stat().st_size == 12_345


@pytest.mark.parametrize("size", [10_000, 9_999])
def test_r_plus_never_cuts_a_file(file, pattern, size):
    with contextlib.ExitStack() as stack:
        if size < 10_000:
            stack.enter_context(pytest.raises(ValueError, match=r"9999.*10000"))
        stack.enter_context(mk.open(file, "r+", size=size))
    assert file.read_bytes() == pattern


# --- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("backend", ["map", "read"])
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (1, None), (4095, 2), (4096, 4096), (4097, None), (9999, 1), (10_000, None)],
)
def test_any_byte_range_maps(file, pattern, offset, length, mode, backend):
    with mk.open(file, mode, offset=offset, length=length, backend=backend) as m:
        assert bytes(m) == pattern[offset:][: len(pattern) if length is None else length]
        assert (m.offset, m.backend, m.mode) == (offset, backend, mode)


def test_offsets_around_the_allocation_granularity(tmp_path):
    data = os.urandom(2 * GRAIN + 10)
    path = tmp_path / "f"
    path.write_bytes(data)
    for offset in (GRAIN - 1, GRAIN, GRAIN + 1, 2 * GRAIN, 2 * GRAIN + 9):
        with mk.open(path, "r+", offset=offset) as m:
            assert bytes(m) == data[offset:]
            m[0] = data[offset] ^ 255
            m[0] = data[offset]
    assert path.read_bytes() == data


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("backend", ["auto", "map", "read"])
def test_empty_file_gives_an_empty_mapping(tmp_path, mode, backend):
    path = tmp_path / "empty"
    path.touch()
    with mk.open(path, mode, backend=backend) as m:
        assert (len(m), bytes(m), m.read(), list(m)) == (0, b"", b"", [])
        m.flush()
        m.populate()
        m.prefetch()
        m.evict()
        m.lock()
        m.unlock()
        assert m.residency().fraction == 1.0
        with pytest.raises(IndexError, match="0"):
            m[0]
    assert path.stat().st_size == 0


@pytest.mark.parametrize(
    ("offset", "length"),
    [(10_001, None), (0, 10_001), (9_999, 2), (10_000, 1), (2**62, None), (1, 2**63 - 1)],
)
def test_range_past_the_end_names_range_and_size(file, offset, length):
    with pytest.raises(ValueError, match=rf"{offset}.*10000") as caught:
        mk.open(file, offset=offset, length=length)
    assert str(length) in str(caught.value) or length is None


@pytest.mark.parametrize("argument", ["offset", "length", "size", "reserve"])
@pytest.mark.parametrize("value", [-1, -(2**63), 2**63, 2**64, 2**64 + 1, 10**30])
def test_negative_and_huge_numbers_are_named(file, argument, value):
    with pytest.raises(ValueError, match=f"{argument}.*{value}"):
        mk.open(file, "r+", **{argument: value})


@pytest.mark.parametrize("argument", ["offset", "length", "size", "reserve"])
@pytest.mark.parametrize("value", [1.0, "1", b"1", [1]])
def test_other_types_are_no_byte_counts(file, argument, value):
    with pytest.raises(TypeError, match=argument):
        mk.open(file, "r+", **{argument: value})


def test_what_only_looks_like_a_file_is_named():
    with pytest.raises(TypeError, match="BytesIO has none"):
        mk.open(io.BytesIO(b"bytes"))
    np = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match="ndarray has none"):
        mk.open(np.arange(5))


def test_empty_path_is_not_taken_for_the_directory():
    with pytest.raises(FileNotFoundError) as caught:
        mk.open("")
    assert caught.value.filename == ""


def test_numbers_may_be_anything_with_index(file, pattern):
    class Three:
        def __index__(self):
            return 3

    with mk.open(file, offset=Three(), length=Three()) as m:
        assert bytes(m) == pattern[3:6]


@pytest.mark.parametrize("mode", ["w+", "x+"])
def test_creating_needs_a_size(tmp_path, mode):
    with pytest.raises(ValueError, match=r"size="):
        mk.open(tmp_path / "new", mode)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("mode", ["r", "c"])
def test_size_goes_with_writing_modes(file, mode):
    with pytest.raises(ValueError, match=mode):
        mk.open(file, mode, size=20_000)
    assert file.stat().st_size == 10_000


@pytest.mark.parametrize("mode", ["", "w", "a", "rb", "R", "r+b", "rw", None, 0])
def test_unknown_mode_is_named_with_the_known_ones(file, mode):
    with pytest.raises((ValueError, TypeError), match=r"mode.*'r\+'") as caught:
        mk.open(file, mode)
    assert repr(mode) in str(caught.value)


@pytest.mark.parametrize("size", [2**63 - 1, 2**62])
def test_impossible_size_leaves_no_file(tmp_path, size):
    with pytest.raises((OSError, ValueError), match=str(size)):
        mk.open(tmp_path / "new", "x+", size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"offset": 101}, {"length": 101}, {"advice": "bogus"}, {"backend": "bogus"}]
)
def test_wrong_arguments_do_not_touch_a_file(file, tmp_path, pattern, wrong):
    for mode, path in (("w+", file), ("w+", tmp_path / "n"), ("x+", tmp_path / "n")):
        with pytest.raises(ValueError, match=str(*wrong.values())):
            mk.open(path, mode, size=100, **wrong)
    assert file.read_bytes() == pattern
    assert list(tmp_path.iterdir()) == [file]


# --- options ------------------------------------------------------------------------------------


@pytest.mark.reserve
def test_reserve_may_be_smaller_than_the_file(file, pattern):
    with mk.open(file, "r+", reserve=10) as m:
        assert bytes(m) == pattern


def test_reserve_too_large_for_the_machine_raises(file):
    with pytest.raises((OSError, ValueError), match=r"file\.bin"):
        mk.open(file, reserve=2**62)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_populate_and_advice_at_open(file, pattern, mode):
    advice = "random" if "random" in mk.supported_advice() else "normal"
    with mk.open(file, mode, populate=True, advice=advice) as m:
        assert m.residency().fraction == 1.0 or not m.residency().known
        assert bytes(m) == pattern


def test_unknown_advice_names_the_known_ones(file):
    with pytest.raises(ValueError, match=r"'soon'.*willneed"):
        mk.open(file, advice="soon")


def test_backend_auto_maps(file):
    with mk.open(file) as m:
        assert m.backend == "map"


def test_backend_read_writes_back_what_changed(file, pattern):
    with mk.open(file, "r+", backend="read", offset=100) as m:
        m[0] = pattern[100] ^ 1
        m[9_899] = pattern[9_999] ^ 1
        assert file.read_bytes() == pattern
        with open(file, "r+b") as other:  # somebody else's page must survive
            other.seek(5000)
            other.write(b"theirs")
        m.flush()
    expected = bytearray(pattern)
    expected[100] ^= 1
    expected[9_999] ^= 1
    expected[5000:5006] = b"theirs"
    assert file.read_bytes() == expected


def test_unknown_backend_is_named(file):
    with pytest.raises(ValueError, match=r"'read'.*'heap'"):
        mk.open(file, backend="heap")
