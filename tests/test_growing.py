"""Arrays that grow: append, resize, reserve, refresh, follow; what numpy sees meanwhile."""

import errno
import gc
import os
import pickle
import re
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")
npy = pytest.importorskip("mmapkit.formats.npy")
growing = pytest.importorskip("mmapkit.growing")

posix = pytest.mark.skipif(os.name != "posix", reason="as POSIX has it")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npy"


@pytest.fixture
def a(path):
    with mk.create_array(path, (3, 2), "<i4") as array:
        array[...] = [[0, 1], [2, 3], [4, 5]]
        yield array


def numbers(first, last, columns=2):
    return np.arange(first * columns, last * columns, dtype="<i4").reshape(-1, columns)


def exact(array, path):
    """The file is header and data, and numpy reads what the array shows."""
    found = np.load(path)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert path.stat().st_size == array.offset + array.nbytes
    return found


# --- append -------------------------------------------------------------------------------------


def test_append_adds_rows_here_and_in_the_file(a, path):
    assert a.append(numbers(3, 5)) == 5
    assert a.shape == (5, 2)
    assert len(a) == 5
    assert a[4].tolist() == [8, 9]
    assert np.array_equal(exact(a, path), numbers(0, 5))


def test_empty_arrays_grow(path):
    with mk.create_array(path, (0, 2), "<i4") as a:
        assert a.shape == (0, 2)
        for first in range(0, 3000, 100):
            a.append(numbers(first, first + 100))
        assert np.array_equal(exact(a, path), numbers(0, 3000))


def test_views_stay_valid_and_show_the_file(a):
    first, whole = a[0], np.asarray(a)
    a.append(np.zeros((100_000, 2), "<i4"))
    first[:] = 77
    assert a[0].tolist() == whole[0].tolist() == [77, 77]
    whole[1] = 78
    assert a[1].tolist() == [78, 78]


@pytest.mark.reserve
def test_once_grown_the_mapping_stays(a):
    a.append(numbers(3, 4))
    mapping, address = a.mapping, np.asarray(a).ctypes.data
    views = [a[:2]]
    for first in range(4, 200):
        a.append(numbers(first, first + 1))
        views.append(a[-1])
    assert a.mapping is mapping
    assert np.asarray(a).ctypes.data == address
    assert [view.tolist() for view in views[1:]] == numbers(4, 200).tolist()


@pytest.mark.reserve
def test_a_reserve_of_ones_own_is_used_and_outgrown(path):
    np.save(path, numbers(0, 3))
    with mk.open_array(path, "r+", reserve=1 << 16) as a:
        mapping = a.mapping
        a.append(numbers(3, 1000))
        assert a.mapping is mapping
        a.append(numbers(1000, 20_000))
        assert a.mapping is not mapping
        assert np.array_equal(exact(a, path), numbers(0, 20_000))


ROWS = {
    "list": [[6, 7], [8, 9]],
    "tuples": ((6, 7), (8, 9)),
    "arrays in a list": [np.array([6, 7]), np.array([8, 9])],
    "other dtype": np.array([[6, 7], [8, 9]], "i2"),
    "wider": np.array([[6, 7], [8, 9]], "i8"),
    "other endian": np.array([[6, 7], [8, 9]], ">i4"),
    "columns": np.array([[6, 8], [7, 9]], "<i4").T,
    "steps": np.array([[6, 0, 7], [0, 0, 0], [8, 0, 9]], "<i4")[::2, ::2],
    "backwards": np.array([[9, 8], [7, 6]], "<i4")[::-1, ::-1],
    "broadcast": np.broadcast_to(np.array([6, 7], "<i4"), (2, 2)),
    "bool": np.array([[True, False]]),
    "no rows": np.empty((0, 2), "<i4"),
    "nothing": [],
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_of_any_kind(a, path, rows):
    expected = [[0, 1], [2, 3], [4, 5], *np.asarray(rows).tolist()]
    assert a.append(rows) == len(expected)
    assert exact(a, path).tolist() == expected


DTYPES = ["<f8", ">f8", "f2", "?", "<c16", "S3", "<U4", "<M8[s]", "<m8[ms]", "V5",
          [("x", "<i4"), ("y", ">f8", (2,))]]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(path, dtype):
    rows = np.frombuffer(os.urandom(4 * np.dtype(dtype).itemsize), np.uint8)
    rows = (rows & 1 if dtype == "?" else rows & 0x3F).view("u1").copy()
    if dtype == "<U4":
        rows = np.array(["a", "bé", "c€", ""], dtype)
    elif not isinstance(dtype, list) and np.dtype(dtype).kind == "f":
        rows = np.arange(4.0).astype(dtype)
    else:
        rows = rows.view(dtype)
    with mk.create_array(path, (0,), dtype) as a:
        a.append(rows[:1])
        a.append(rows[1:])
        assert exact(a, path).tobytes() == rows.tobytes()


def test_records_and_dates_from_python(tmp_path):
    with mk.create_array(tmp_path / "r.npy", 0, [("x", "<i4"), ("y", "<f8")]) as a:
        a.append([(1, 2.5), (3, 4.5)])
        assert a[...].tolist() == [(1, 2.5), (3, 4.5)]
    with mk.create_array(tmp_path / "d.npy", 0, "M8[D]") as a:
        a.append(["2024-02-29"])
        assert str(a[0]) == "2024-02-29"


def test_views_of_itself_and_other_mapped_arrays(a, path, tmp_path):
    a.append(a[1:])
    a.append(a)
    a.append(a[::-1])
    once = [[0, 1], [2, 3], [4, 5], [2, 3], [4, 5]]
    assert exact(a, path).tolist() == [*once, *once, *(once + once)[::-1]]
    with mk.create_array(tmp_path / "b.npy", (0, 2), ">i8") as b:
        b.append(a)
        assert np.array_equal(exact(b, tmp_path / "b.npy"), a)


def test_what_has_to_be_copied_goes_in_pieces(a, path, monkeypatch):
    monkeypatch.setattr(growing, "PIECE_BYTES", 64)
    a.append(numbers(3, 1000).astype(">i8"))
    assert np.array_equal(exact(a, path), numbers(0, 1000))


def test_rows_without_bytes(path):
    with mk.create_array(path, (2, 0)) as a:
        assert a.append(np.empty((5, 0))) == 7
        assert a.shape == np.load(path).shape == (7, 0)


BAD = {
    "ragged": ([[1, 2], [3]], ValueError, "differ in shape"),
    "one row": ([1, 2], ValueError, r"rows\[None\]"),
    "too wide": ([[1, 2, 3]], ValueError, r"\(1, 3\).*\(n, 2\)"),
    "too deep": ([[[1, 2]]], ValueError, r"\(1, 1, 2\)"),
    "number": (1, ValueError, r"\(\)"),
    "floats": ([[1.5, 2.0]], TypeError, "float64.*int32"),
    "float array": (np.ones((1, 2)), TypeError, "float64.*int32"),
    "text": ([["a", "b"]], TypeError, "U1.*int32"),
    "objects": ([[None, 1]], TypeError, "object.*int32"),
    "too large": ([[1, 1 << 31]], ValueError, "2147483648 does not fit int32"),
    "too small": ([[1, -(1 << 31) - 1]], ValueError, "-2147483649 does not fit int32"),
    "huge": ([[1, 1 << 80]], ValueError, f"{1 << 80} does not fit int32"),
}


@pytest.mark.parametrize(("rows", "kind", "message"), BAD.values(), ids=BAD)
def test_rows_that_do_not_fit_change_nothing(a, path, rows, kind, message):
    before = path.read_bytes()
    with pytest.raises(kind, match=message):
        a.append(rows)
    assert path.read_bytes() == before
    assert a.shape == (3, 2)
    assert a.append([[6, 7]]) == 4


def test_lists_of_ints_go_into_what_holds_them(tmp_path):
    for dtype, values in (("u1", [0, 255]), ("u8", [0, 2**64 - 1]), ("f8", [1, 2**70])):
        with mk.create_array(tmp_path / f"{dtype}.npy", 0, dtype) as a:
            a.append(values)
            assert a[...].tolist() == values
            if dtype != "f8":
                with pytest.raises(ValueError, match="-1 does not fit"):
                    a.append([-1])


@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize("act", ["append", "resize", "reserve"])
def test_arrays_that_are_not_written_do_not_grow(path, mode, act):
    np.save(path, numbers(0, 3))
    with mk.open_array(path, mode) as a, pytest.raises(TypeError, match=f"a.npy.*{mode!r}.*r\\+"):
        getattr(a, act)([[1, 2]] if act == "append" else 9)


def test_layouts_that_cannot_grow_say_so(tmp_path, path):
    with mk.create_array(path, (3, 2), order="F") as a, pytest.raises(ValueError, match="Fortran"):
        a.append(np.ones((1, 2)))
    with mk.create_array(tmp_path / "0.npy", ()) as a, pytest.raises(ValueError, match="no axis"):
        a.append([1])
    strided = mk.open_array(tmp_path / "s.bin", "w+", dtype="u1", shape=4, strides=(2,))
    with strided as a, pytest.raises(ValueError, match="strides"):
        a.append([1])
    with mk.open(path) as m:
        from mmapkit.array import MappedArray
        from mmapkit.formats.layout import Layout

        layout = Layout(np.dtype("u1"), (4,), "C", 0, format="raw")
        with pytest.raises(ValueError, match="more than one array"):
            MappedArray(m, layout, shared=True).refresh()


def test_one_dimension_in_fortran_order_grows(path):
    with mk.create_array(path, 3, order="F") as a:
        a.append([1.0])
        assert exact(a, path).tolist() == [0, 0, 0, 1]


def test_a_closed_array_says_so(path):
    a = mk.create_array(path, (3, 2))
    a.close()
    for act in (lambda: a.append([[1, 2]]), lambda: a.resize(1), lambda: a.reserve(9), a.refresh):
        with pytest.raises(ValueError, match=re.escape(f"closed ({a.path!r})")):
            act()
    with mk.create_array(path, (3, 2), overwrite=True) as a:
        a.append([[1, 2]])
    with pytest.raises(ValueError, match="closed"):
        a.append([[1, 2]])


@given(st.lists(st.integers(0, 40), max_size=12), st.sampled_from(["<i4", ">f8", "u1"]))
@examples(30)
def test_any_sequence_of_lengths(tmp_path_factory, lengths, dtype):
    path = tmp_path_factory.mktemp("grow") / "a.npy"
    oracle = np.empty((0, 3), dtype)
    with mk.create_array(path, (0, 3), dtype) as a:
        for i, length in enumerate(lengths):
            if i % 3 == 2:
                a.resize(length)
                more = np.zeros((max(0, length - len(oracle)), 3), dtype)
                oracle = np.concatenate([oracle[:length], more])
            else:
                rows = np.full((length, 3), i, dtype)
                a.append(rows)
                oracle = np.concatenate([oracle, rows])
            assert np.array_equal(exact(a, path), oracle)


# --- headers ------------------------------------------------------------------------------------


def header_of(path):
    with open(path, "rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return path.read_bytes()[: file.tell()]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<f8", [("é", "<i4")]])
def test_headers_of_numpy_are_laid_out_anew(path, version, dtype):
    if version != (3, 0) and dtype != "<f8":
        dtype = [("e", "<i4")]
    rows = np.zeros((3, 2), dtype)
    with open(path, "wb") as file:
        np.lib.format.write_array(file, rows, version=version)
    before = path.read_bytes()
    with mk.open_array(path, "r+") as a:
        offset = a.offset
        a.append(rows[:2])
        assert a.offset == offset
        assert path.read_bytes()[:8] == before[:8]
        assert exact(a, path).shape == (5, 2)
    with mk.open_array(path) as a:
        assert a.shape == (5, 2)


@pytest.mark.parametrize("first", [5, 9, 99_999_999, 9_999_999_999_999_999, 10**16, 10**17 - 1])
def test_lengths_of_any_number_of_digits(path, first):
    with mk.create_array(path, (first, 0)) as a:
        a.append(np.empty((3, 0)))
        a.append(np.empty((9, 0)))
        assert a.shape == np.load(path).shape == (first + 12, 0)
        if len(str(first)) == len(str(first + 12)):
            head = a.mapping.read(0, a.offset)
            assert head == npy.header_for(a.dtype, a.shape, "C")
    with mk.open_array(path) as a:
        assert a.shape == (first + 12, 0)


def test_the_carry_into_the_upper_word(path):
    with mk.create_array(path, (99_999_998, 1), "u1", sparse=True) as a:
        for length in (99_999_999, 100_000_000, 100_000_001):
            assert a.append([[7]]) == length
            assert np.load(path, mmap_mode="r").shape == (length, 1)
        a.resize(99_999_999)
        assert np.load(path, mmap_mode="r").shape == (99_999_999, 1)
        assert path.stat().st_size == a.offset + 99_999_999


def test_one_length_differs_from_another_in_whole_words(tmp_path):
    layout = npy.Layout(np.dtype("<f8"), (5, 3), "C", 128, format="npy")
    header = npy.growing_header(layout, (1, 0))
    for old, new, words in ((5, 6, 1), (9, 10, 1), (99_999_999, 10**8, 2), (10**8, 10**8 + 1, 1)):
        texts = header.with_length(old), header.with_length(new)
        first, last = header.differing(*texts)
        assert first % 8 == 0
        assert last - first == 8 * words
        assert texts[0][:first] + texts[1][first:last] + texts[0][last:] == texts[1]


def test_a_header_without_room_for_a_field_is_used_as_it_is(path):
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9,), }".ljust(69) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00\x46\x00" + text + np.arange(9.0).tobytes())
    with mk.open_array(path, "r+") as a:
        a.append([9.0])
        assert exact(a, path).tolist() == list(range(10))


def test_a_header_without_room_for_a_digit_is_named(path):
    text = b"{'descr':'<f8','fortran_order':False,'shape':(9,)}"
    path.write_bytes(b"\x93NUMPY\x01\x00" + bytes((len(text), 0)) + text + np.arange(9.0).tobytes())
    before = path.read_bytes()
    match = r"a\.npy.*no room for a length of 9"
    with mk.open_array(path, "r+") as a, pytest.raises(ValueError, match=match):
        a.append([9.0])
    assert path.read_bytes() == before


# --- other writers --------------------------------------------------------------------------------


def test_a_header_that_changed_underneath_stops_the_writer(a, path):
    a.append([[6, 7]])
    with mk.open_array(path, "r+") as other:
        other.append([[8, 9]])
    before = path.read_bytes()
    for act in (lambda: a.append([[0, 0]]), lambda: a.resize(9), lambda: a.reserve(9)):
        with pytest.raises(OSError, match=r"another process changed.*refresh\(\)") as caught:
            act()
        assert caught.value.errno == errno.ESTALE
        assert caught.value.filename == str(path)
        assert path.read_bytes() == before
    assert a.refresh() == 5
    assert a.append([[10, 11]]) == 6
    assert exact(a, path).tolist() == numbers(0, 6).tolist()


@posix
def test_readers_are_not_disturbed_by_the_tail_of_a_killed_writer(a, path):
    with open(path, "ab") as file:
        file.write(b"\xaa" * 10_000)
    with mk.open_array(path) as reader:
        row = reader[0]
        a.append([[6, 7]])  # which cuts it
        reader.mapping.check()
        assert reader.refresh() == 4
        assert row.tolist() == [0, 1]
        assert reader.mapping.size == path.stat().st_size
        del row


@pytest.mark.parametrize("how", ["pieces", "full"])
def test_rows_of_another_writer_are_not_written_over(a, path, monkeypatch, how):
    a.append([[6, 7]])
    with mk.open_array(path, "r+") as other:
        other.append(numbers(4, 50))
    before = path.read_bytes()
    if how == "pieces":
        monkeypatch.setattr(growing, "PIECE_BYTES", 64)
        rows = np.zeros((100, 2), "<i8")
    else:
        if not a._growth._preallocates:
            pytest.skip("no blocks past the end of a file here")

        def full(at, length):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(a.mapping, "_allocate_file", full)
        rows = np.zeros((1 << 20, 2), "<i4")
    with pytest.raises(OSError, match="full" if how == "full" else "another process changed"):
        a.append(rows)
    assert path.read_bytes() == before
    assert a.refresh() == 50


def test_a_change_before_the_first_append_is_noticed(a, path):
    with mk.open_array(path, "r+") as other:
        assert other.append([[6, 7]]) == 4
        with pytest.raises(OSError, match="another process changed"):
            a.append([[0, 0]])
    assert a.refresh() == 4


@posix  # elsewhere a mapped file cannot be cut
def test_tail_of_a_killed_writer_is_neither_seen_nor_kept(a, path):
    with open(path, "ab") as file:
        file.write(b"\xaa" * 10_000)
    with mk.open_array(path, "r+") as b:
        assert b.refresh() == 3
        b.append([[6, 7]])
        assert exact(b, path).tolist() == numbers(0, 4).tolist()
    with open(path, "ab") as file:
        file.write(b"\xaa" * 10_000)
    with mk.open_array(path, "r+") as b:
        kept = b[0]
        b.resize(8)
        assert not b[4:].any()
        assert kept.tolist() == [0, 1]
        exact(b, path)


# --- resize, reserve ----------------------------------------------------------------------------


def test_resize_grows_by_zeros_and_cuts(a, path):
    a.resize(10_000)
    assert a.shape == (10_000, 2)
    assert not a[3:].any()
    exact(a, path)
    a.resize(2)
    assert exact(a, path).tolist() == [[0, 1], [2, 3]]
    a.resize(2)
    a.resize(0)
    assert exact(a, path).shape == (0, 2)
    a.resize(3)
    assert not a[...].any()
    exact(a, path)


@pytest.mark.parametrize("length", [-1, 1.5, "3", None])
def test_resize_and_reserve_take_a_number_of_rows(a, length):
    for act in (a.resize, a.reserve):
        with pytest.raises((ValueError, TypeError)):
            act(length)


def test_cutting_under_live_views_changes_nothing(a, path):
    a.append([[6, 7]])
    view, before = a[0], path.read_bytes()
    with pytest.raises(BufferError, match="1 view is alive"):
        a.resize(1)
    assert path.read_bytes() == before
    assert a.shape == (4, 2)
    assert a.append([[8, 9]]) == 5
    del view
    a.resize(1)
    assert exact(a, path).tolist() == [[0, 1]]


def test_an_array_as_it_was_opened_is_cut(path):
    np.save(path, numbers(0, 10_000))
    with mk.open_array(path, "r+") as a:
        a.resize(5)
        assert np.array_equal(exact(a, path), numbers(0, 5))


@posix
def test_blocks_are_taken_ahead_and_given_back(a, path):
    a.append(np.ones((100_000, 2), "<i4"))
    if path.stat().st_blocks * 512 <= path.stat().st_size + (1 << 18):
        pytest.skip("the filesystem allocates nothing ahead")
    a.flush()
    exact(a, path)
    a.close()
    assert path.stat().st_blocks * 512 <= path.stat().st_size + (1 << 16)


@posix
@pytest.mark.parametrize("end", ["close", "drop", "with", "error"])
def test_blocks_go_however_the_array_ends(path, end):
    a = mk.create_array(path, (0, 2), "<i4")
    a.append(np.ones((1000, 2), "<i4"))
    if end == "close":
        a.close()
    elif end == "drop":
        del a
        gc.collect()
    elif end == "with":
        with a:
            pass
    else:
        with pytest.raises(KeyError), a:
            raise KeyError
    with path.open("rb") as written:
        os.fsync(written.fileno())
    assert path.stat().st_blocks * 512 <= 1 << 16


@posix
def test_reserve_takes_blocks_and_addresses(a, path):
    try:
        a.reserve(1_000_000)
    except mk.UnsupportedError:
        pytest.skip("the filesystem allocates nothing past the end")
    assert path.stat().st_blocks * 512 >= 8_000_000
    exact(a, path)
    view, mapping = a[0], a.mapping
    a.append(np.zeros((900_000, 2), "<i4"))
    assert a.mapping is mapping
    a.reserve(10)
    assert view.tolist() == [0, 1]
    del view
    a.close()
    assert path.stat().st_blocks * 512 <= path.stat().st_size + (1 << 16)


# --- raw files ------------------------------------------------------------------------------------


def test_raw_files_grow_exactly(tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(b"head" + bytes(range(8)))
    with mk.open_array(path, "r+", dtype="<u2", offset=4) as a:
        assert a.append([0x0908, 0x0B0A]) == 6
        assert path.read_bytes() == b"head" + bytes([*range(8), 8, 9, 10, 11])
        a.resize(3)
        assert path.read_bytes() == b"head" + bytes(range(6))
        a.resize(4)
        assert path.read_bytes() == b"head" + bytes(range(6)) + bytes(2)


@posix  # elsewhere a mapped file cannot be cut
def test_readers_of_raw_files_take_whole_rows(tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(range(8)))
    with mk.open_array(path, dtype="<u2") as a:
        with open(path, "ab") as file:
            file.write(bytes(range(8, 13)))
        assert a.refresh() == 6
        assert a[...].tobytes() == bytes(range(12))
        os.truncate(path, 5)
        assert a.refresh() == 2


def test_raw_arrays_that_do_not_reach_the_end_are_left_alone(tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(16))
    with mk.open_array(path, "r+", shape=10) as a:
        with pytest.raises(ValueError, match=r"raw\.bin.*6 bytes after the array"):
            a.append(np.ones(1, "u1"))
        assert path.read_bytes() == bytes(16)
        assert a.refresh() == 16
        assert a.append(np.ones(1, "u1")) == 17


# --- readers --------------------------------------------------------------------------------------


def test_refresh_sees_rows_and_keeps_views(a, path):
    with mk.open_array(path) as reader:
        view = reader[0]
        assert reader.refresh() == 3
        for length in range(4, 2000, 321):
            a.resize(length)
            a[-1] = length
            assert reader.refresh() == len(reader) == length
            assert reader[-1].tolist() == [length, length]
        a[0] = -5
        assert view.tolist() == [-5, -5]


def test_opening_while_rows_are_appended(path, monkeypatch):
    """The file is longer by the time that its header is read."""
    np.save(path, numbers(0, 3))
    peek = mk.Mapping._peek

    def peek_late(mapping, count, offset=0):
        with open(path, "r+b") as file:
            np.lib.format.write_array(file, numbers(0, 5000))
        monkeypatch.setattr(mk.Mapping, "_peek", peek)
        return peek(mapping, count, offset)

    monkeypatch.setattr(mk.Mapping, "_peek", peek_late)
    with mk.open_array(path) as a:
        assert np.array_equal(a, numbers(0, 5000))


@posix  # elsewhere a mapped file cannot be cut
def test_refresh_after_a_cut(a, path):
    with mk.open_array(path) as reader:
        a.append(numbers(3, 5000))
        assert reader.refresh() == 5000
        view = reader[0]
        a.resize(2)
        with pytest.raises(BufferError, match="1 view"):
            reader.refresh()
        del view
        assert reader.refresh() == 2
        assert reader[...].tolist() == [[0, 1], [2, 3]]
        reader.mapping.check()


@pytest.mark.parametrize("other", [np.ones((9, 2)), np.ones((9, 3), "<i4"), np.ones(9, "<i4"),
                                   np.ones((9, 2), "<i4", order="F")], ids=str)  # fmt: skip
def test_refresh_of_another_array_is_a_format_error(path, other):
    np.save(path, numbers(0, 3))
    with mk.open_array(path) as a:
        with open(path, "r+b") as file:
            np.lib.format.write_array(file, other)
        with pytest.raises(mk.FormatError, match=r"a\.npy"):
            a.refresh()
        assert a.shape == (3, 2)


def test_refresh_of_garbage_is_a_format_error(path):
    np.save(path, numbers(0, 3))
    with mk.open_array(path) as a:
        with open(path, "r+b") as file:
            file.write(b"garbage!")
        with pytest.raises(mk.FormatError, match=r"a\.npy"):
            a.refresh()


def test_refresh_keeps_changes_that_are_not_written(a, path):
    with mk.open_array(path, "c") as copy:
        copy[0] = 99
        a.append(numbers(3, 5000))
        view = copy[1]
        with pytest.raises(BufferError, match="1 view"):
            copy.refresh()
        del view
        assert copy.refresh() == 5000
        assert copy.mode == "c"
        assert copy[0].tolist() == [99, 99]
        copy[4999] = 98
    assert np.array_equal(exact(a, path), numbers(0, 5000))


@posix
def test_a_file_without_a_name_is_followed(path):
    with mk.create_array(path, (0, 2), "<i4") as a, mk.open_array(path) as reader:
        path.unlink()
        a.append(numbers(0, 1000))
        assert reader.refresh() == 1000
        a.append(numbers(1000, 2000))
        assert reader.refresh() == 2000
        assert reader.path == a.path == str(path)
        assert np.array_equal(reader, numbers(0, 2000))


def test_follow_gives_new_rows_until_none_come(a, path):
    with mk.open_array(path) as reader:
        news = reader.follow(poll_s=0.001, timeout_s=0.01)
        a.append(numbers(3, 5))
        found = next(news)
        assert found.tolist() == numbers(3, 5).tolist()
        assert found.base is not None
        del found
        a.append(numbers(5, 6))
        a.append(numbers(6, 7))
        assert next(news).tolist() == numbers(5, 7).tolist()
        assert next(news, None) is None


@pytest.mark.parametrize(("start", "expected"), [(0, 0), (1, 1), (-1, 2), (-9, 0), (3, 3)])
def test_follow_from_a_row(a, start, expected):
    found = list(a.follow(start=start, timeout_s=0))
    assert [row for part in found for row in part.tolist()] == numbers(expected, 3).tolist()


@posix  # elsewhere a mapped file cannot be cut
def test_follow_after_a_cut_gives_what_is_new(a, path):
    with mk.open_array(path) as reader:
        news = reader.follow(poll_s=0.001, timeout_s=60, start=0)
        assert next(news).tolist() == numbers(0, 3).tolist()

        def cut():
            a.resize(1)
            while len(reader) != 1:
                time.sleep(0.001)
            a.append([[9, 9]])

        thread = threading.Thread(target=cut)
        thread.start()
        assert next(news).tolist() == [[9, 9]]
        thread.join()


@pytest.mark.parametrize("arguments", [{"poll_s": 0}, {"poll_s": -1}, {"poll_s": float("inf")},
                                       {"timeout_s": -1}, {"timeout_s": float("nan")}])  # fmt: skip
def test_follow_refuses_times_that_make_no_sense(a, arguments):
    with pytest.raises(ValueError, match="seconds"):
        a.follow(**arguments)


READER = """
import sys
import mmapkit as mk
a = mk.open_array(sys.argv[1])
print("open", flush=True)
seen = 0
for rows in a.follow(poll_s=0.001, timeout_s=60):
    assert (rows[:, 1] == range(seen, seen + len(rows))).all()
    seen += len(rows)
    if seen >= 50:
        break
sys.stdin.readline()
assert a.refresh() == 60
assert a[59, 1] == 59
"""


def test_another_process_sees_rows(path):
    """follow() gives them as they come; after refresh() all are there."""
    found = os.path.dirname(os.path.dirname(mk.__file__))
    with mk.create_array(path, (0, 2)) as a:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": found},
        )
        assert reader.stdout.readline().strip() == b"open"
        for i in range(50):
            a.append([[0, i]])
            time.sleep(0.001)
        a.append([[0, i] for i in range(50, 60)])
        reader.communicate(b"go on\n", timeout=60)
        assert reader.returncode == 0


@posix
def test_ctrl_c_ends_follow_at_once(path, run_python):
    run_python(
        "import os, signal, threading, sys\n"
        "import mmapkit as mk\n"
        "a = mk.create_array(sys.argv[1], 3)\n"
        "try:\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    for rows in a.follow(poll_s=3600): pass\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit('not interrupted')\n",
        path,
    )


# --- life -----------------------------------------------------------------------------------------


def test_grown_arrays_pickle(a):
    a.append(numbers(3, 5))
    with pickle.loads(pickle.dumps(a)) as b:
        assert np.array_equal(a, b)
        b.append([[1, 1]])
    assert a.refresh() == 6


def test_closing_counts_the_views_of_the_last_mapping(a):
    a.append([[6, 7]])
    view = a[0]
    with pytest.raises(BufferError, match="1 view"):
        a.close()
    assert a.append([[8, 9]]) == 5
    del view


@posix
def test_nothing_leaks(path):
    def grow():
        with mk.create_array(path, (0, 2), overwrite=True) as a, mk.open_array(path) as reader:
            old = a[...]
            a.append(np.ones((5, 2)))
            reader.refresh()
            a.resize(9)
            del old
            a.resize(1)
            reader.refresh()

    grow()
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    gc.disable()
    try:
        for _ in range(20):
            grow()
        assert len(os.listdir("/dev/fd")) == before
    finally:
        gc.enable()


def test_an_array_that_is_dropped_is_gone_at_once(path):
    import weakref

    a = mk.create_array(path, (0, 2))
    a.append(np.ones((5, 2)))
    gone = weakref.ref(a.mapping)
    del a
    assert gone() is None


def test_changes_of_read_files_are_kept(path):
    """backend="read": the copy of a page that is written back one day has the new header."""
    from mmapkit.array import MappedArray

    np.save(path, numbers(0, 3))
    layout = npy.Layout(np.dtype("<i4"), (3, 2), "C", 128, format="npy")
    with MappedArray(mk.open(path, "r+", backend="read"), layout) as a:
        a[0] = 50
        for first in range(3, 2000, 400):
            a.append(numbers(first, first + 400))
            a[first] = 60
        a.flush()
        expected = numbers(0, 2003)
        expected[[0, *range(3, 2000, 400)]] = [[50, 50], *[[60, 60]] * 5]
        assert np.array_equal(exact(a, path), expected)
        a.resize(5)
        a[1] = 70
    assert np.load(path)[:2].tolist() == [[50, 50], [70, 70]]


# --- threads --------------------------------------------------------------------------------------


def test_threads_append_whole_batches_while_others_read(path):
    batch, count, writers = 50, 60, 3
    wrong, done = [], threading.Event()

    def write(a, value):
        for i in range(count):
            a.append(np.full((batch, 2), value * 1000 + i, "<i4"))

    def read(a):
        while not done.is_set():
            found = a[-batch:]
            if len(found) % batch or (found != found[:1]).any():
                wrong.append(found.copy())
                return
            a.refresh()

    with mk.create_array(path, (0, 2), "<i4") as a:
        threads = [threading.Thread(target=write, args=(a, i)) for i in range(writers)]
        readers = [threading.Thread(target=read, args=(a,)) for _ in range(2)]
        for thread in threads + readers:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert not wrong
        found = exact(a, path).reshape(-1, batch, 2)
        assert (found == found[:, :1]).all()
        assert sorted(found[:, 0, 0].tolist()) == sorted(
            value * 1000 + i for value in range(writers) for i in range(count)
        )


def test_readers_wait_while_the_array_is_cut(path):
    wrong, done = [], threading.Event()

    def read(a):
        while not done.is_set():
            value = int(a[0, 0])
            if value != 7:
                wrong.append(value)

    with mk.create_array(path, (100, 2), "<i4") as a:
        a[...] = 7
        threads = [threading.Thread(target=read, args=(a,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for length in range(99, 50, -1):
            while True:
                try:
                    a.resize(length)
                    break
                except BufferError:  # a reader had the view at that moment
                    pass
        done.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert exact(a, path).shape == (51, 2)


@pytest.mark.parametrize("length", [2**60, 2**62, 2**63, 2**70])
@pytest.mark.parametrize("call", ["resize", "reserve"])
def test_more_rows_than_any_file_can_hold_are_named(tmp_path, call, length):
    with mk.create_array(tmp_path / "a.npy", (2, 3), "i4") as a:
        with pytest.raises(ValueError, match=rf"cannot have {length} rows of 12 bytes"):
            getattr(a, call)(length)
        assert a.append([[1, 2, 3]]) == 3


def test_more_appended_rows_than_any_file_can_hold_are_named(tmp_path):
    with mk.create_array(tmp_path / "a.npy", (2, 3), "i4") as a:
        most = (2**63 - 1) // 12  # that numpy counts
        with pytest.raises(ValueError, match=rf"cannot have {2 + most} rows"):
            a.append(np.broadcast_to(np.int32(1), (most, 3)))
        assert len(a) == len(np.load(tmp_path / "a.npy")) == 2


@pytest.mark.parametrize(
    ("dtype", "fit", "long"), [("S4", b"four", b"fives"), ("U4", "vier", "fünfe")]
)
def test_strings_that_are_too_long_are_named(tmp_path, dtype, fit, long):
    with mk.create_array(tmp_path / "a.npy", 0, dtype) as a:
        with pytest.raises(ValueError, match=rf"{long!r} does not fit .*4: it is too long"):
            a.append([fit, long])
        assert a.append([fit, type(fit)()]) == 2
        assert a.append(np.array([long])) == 3  # as numpy stores it
        assert a[:].tolist() == [fit, type(fit)(), long[:4]]


def test_an_array_in_memory_says_that_there_is_no_file(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3))
    with mk.open_arrays(tmp_path / "a.npz", load_compressed=True) as arrays:
        x = arrays["x"]
        with pytest.raises(ValueError, match="loaded into memory: there is no file"):
            x.append([4])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cuts no mapped files")
def test_refresh_after_a_cut_says_what_is_in_the_way(tmp_path):
    with mk.create_array(tmp_path / "a.npy", 10, "i8") as a, mk.open_array(a.path) as reader:
        view = reader[:2]
        a.resize(1)
        with pytest.raises(
            BufferError, match=r"cannot cut .*a.npy': 1 view is alive; release them$"
        ):
            reader.refresh()
        assert len(reader) == 10
        del view
        assert reader.refresh() == 1
