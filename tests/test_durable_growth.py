"""Arrays that grow in a transaction: appended rows and changes in one commit, or none of it."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.durable import growth as growths

grows = pytest.mark.skipif(os.name != "posix", reason="not there: UnsupportedError")


@pytest.fixture
def path(tmp_path):
    """A file as numpy writes it: its header has another form than ours."""
    file = tmp_path / "rows.npy"
    np.save(file, np.arange(12.0).reshape(4, 3))
    return file


@pytest.fixture
def array(path):
    with mk.open_array(path, "r+") as a:
        yield a


def rows(count, first=100.0):
    return first + np.arange(count * 3.0).reshape(count, 3)


@grows
def test_rows_and_changes_are_one_commit(array, path):
    before = path.read_bytes()
    with array.transaction() as w:
        assert w.append(rows(2)) == 6
        w[0] = -1
        assert w.shape == (6, 3)
        assert w[5].tolist() == [103, 104, 105]
        assert array.shape == (4, 3)
        assert path.read_bytes() == before
    assert array.shape == (6, 3)
    expected = np.concatenate([np.full((1, 3), -1.0), np.arange(3.0, 12).reshape(3, 3), rows(2)])
    assert (array[:] == expected).all()
    assert (np.load(path) == expected).all()


@pytest.mark.skipif(os.name == "posix", reason="grows here")
def test_rows_are_not_added_on_windows(array, path):
    with array.transaction() as w:
        w[0] = -1
        with pytest.raises(mk.UnsupportedError, match="in a transaction on Windows"):
            w.append(rows(2))
        with pytest.raises(mk.UnsupportedError, match="in a transaction on Windows"):
            w.resize(5)
        assert w.shape == (4, 3)
        w[1] = -2
    array.append(rows(1))  # outside of it
    with array.transaction() as w:
        w[4] = -3
    assert np.load(path)[:, 0].tolist() == [-1, -2, 6, 9, -3]


@grows
def test_an_exception_takes_rows_back(array, path):
    before = path.read_bytes()

    def fail():
        with array.transaction() as w:
            w.append(rows(1000))
            w[0] = -1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert array.shape == (4, 3)
    assert path.read_bytes() == before
    with array.transaction() as w:
        assert w.shape == (4, 3)
        w.append(rows(1))
    assert (np.load(path)[4:] == rows(1)).all()


@grows
def test_a_file_grows_by_many_pages(array, path):
    with array.transaction() as w:
        for first in range(0, 100_000, 10_000):
            w.append(rows(10_000, first))
    found = np.load(path)
    assert found.shape == (100_004, 3)
    assert (found[4:10_004] == rows(10_000, 0)).all()
    assert (found[-10_000:] == rows(10_000, 90_000)).all()


@grows
def test_raw_arrays_grow(tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(np.arange(10, dtype="<i4").tobytes())
    with mk.open_array(path, "r+", dtype="<i4") as a:
        with a.transaction() as w:
            w.append([10, 11])
            w[0] = 99
        assert a[:].tolist() == [99, *range(1, 12)]
    assert np.fromfile(path, "<i4").tolist() == [99, *range(1, 12)]


@grows
def test_views_stay_valid_inside_and_after(array):
    outer = array[:2]
    with array.transaction() as w:
        inner = w[:2]
        w.append(rows(50_000))
        w[0, 0] = 5
        assert inner[0, 0] == 5
        assert outer[0, 0] == 0
        del inner
    assert outer[0, 0] == 5
    assert len(array) == 50_004


@grows
def test_transactions_and_plain_appends_take_turns(array, path):
    for number in range(4):
        with array.transaction() as w:
            w.append(rows(1, number))
        array.append(rows(2, number))
    array.flush()
    assert array.shape == np.load(path).shape == (16, 3)
    expected = np.concatenate(
        [rows(4, 0), *(np.concatenate([rows(1, n), rows(2, n)]) for n in range(4))]
    )
    assert (np.load(path) == expected).all()


@grows
def test_resize_adds_zeros(array, path):
    with array.transaction() as w:
        w.resize(6)
        assert not w[4:].any()
        w[5] = 1
    assert np.load(path)[4:].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_resize_to_the_same_length_changes_nothing(array, path):
    before = path.read_bytes()
    with array.transaction() as w:
        w.resize(4)
    assert path.read_bytes() == before


def test_resize_does_not_cut(array):
    with array.transaction() as w:
        with pytest.raises(ValueError, match="from 4 to 3 rows"):
            w.resize(3)
        assert w.shape == (4, 3)


@grows
def test_a_transaction_after_the_file_was_cut(array, path):
    with array.transaction() as w:
        w.append(rows(5))
    array.resize(2)
    with array.transaction() as w:
        w.append(rows(1))
    assert (np.load(path)[2:] == rows(1)).all()


def test_reserve_takes_blocks_and_leaves_the_file(array, path):
    size, blocks = path.stat().st_size, getattr(path.stat(), "st_blocks", None)
    try:
        with array.transaction() as w:
            w.reserve(500_000)
            assert path.stat().st_size == size
            if blocks is not None:
                assert path.stat().st_blocks * 512 > 500_000 * 24
            w.append(rows(2))
    except mk.UnsupportedError:
        pytest.skip("this filesystem does not allocate past the end")
    assert len(np.load(path)) == 6
    array.close()
    if blocks is not None:
        assert path.stat().st_blocks <= blocks + 8


@pytest.mark.parametrize("length", [-1, 1.5, "7"])
def test_bad_lengths_are_refused(array, length):
    with array.transaction() as w:
        for call in (w.resize, w.reserve):
            with pytest.raises((TypeError, ValueError)):
                call(length)


BAD_ROWS = {
    "a dtype that does not cast": np.array([[1j, 2, 3]]),
    "another row shape": np.zeros((2, 4)),
    "one row without the first axis": np.zeros(3),
    "ragged rows": [[1, 2], [3]],
}


@pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_rows_get_the_error_that_they_get_outside(array, bad):
    with pytest.raises((TypeError, ValueError)) as outside:
        array.append(bad)
    with array.transaction() as w:
        with pytest.raises(outside.type) as inside:
            w.append(bad)
        assert str(inside.value) == str(outside.value)
        assert w.shape == (4, 3)


def test_what_cannot_grow_says_so_and_can_be_changed(tmp_path):
    header = b'{"a":{"dtype":"F64","shape":[3],"data_offsets":[0,24]},'
    header += b'"b":{"dtype":"F64","shape":[1],"data_offsets":[24,32]}}'
    path = tmp_path / "two.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(32))
    with mk.open_arrays(path, "r+") as arrays:
        with arrays["a"].transaction() as w:
            with pytest.raises(ValueError, match="more than one array"):
                w.append([1.0])
            w[1] = 5
        assert arrays["a"][:].tolist() == [0, 5, 0]


def test_columns_cannot_grow_and_can_be_changed(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((3, 4), order="F"))
    with mk.open_array(tmp_path / "f.npy", "r+") as a:
        with a.transaction() as w:
            with pytest.raises(ValueError, match="Fortran"):
                w.append(np.zeros((1, 4)))
            w[1] = 5
        assert a[1].tolist() == [5] * 4


def test_a_part_of_a_raw_file_does_not_grow(tmp_path):
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(100))
    with mk.open_array(path, "r+", shape=50) as a:
        with a.transaction() as w:
            with pytest.raises(ValueError, match="50 bytes after the array"):
                w.append([1])
            w[0] = 3
        assert a.shape == (50,)
    assert path.read_bytes() == b"\x03" + bytes(99)


@grows
def test_rows_that_failed_leave_no_trace(array, path, monkeypatch):
    """Rows are converted and stored piece by piece; a later piece may fail."""
    monkeypatch.setattr("mmapkit.growing.PIECE_BYTES", 24)
    with array.transaction() as w:
        pieces = []

        def write(offset, data):
            pieces.append(offset)
            if len(pieces) == 3:
                raise MemoryError
            return mk.Mapping.write(w.mapping, offset, data)

        w.mapping.write = write
        with pytest.raises(MemoryError):
            w.append(rows(4).astype("f4"))
        del w.mapping.write
        assert w.shape == (4, 3)
        w.resize(5)
        assert not w[4].any()
    assert path.stat().st_size == np.load(path).nbytes + 128
    assert np.load(path)[4].tolist() == [0, 0, 0]


@grows
def test_rows_of_a_raw_file_that_failed_do_not_count(tmp_path, monkeypatch):
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes(8))
    with mk.open_array(path, "r+", dtype="f8") as a:
        with a.transaction() as w:
            with monkeypatch.context() as patch:
                patch.setattr(growths.PrivateMapping, "write", lambda *_: 1 / 0, raising=False)
                with pytest.raises(ZeroDivisionError):
                    w.append([1.0, 2.0])
            w[0] = 4
        assert a[:].tolist() == [4]
    assert path.stat().st_size == 8


def test_what_a_killed_writer_left_is_in_nobodys_way(array, path):
    with open(path, "ab") as file:
        file.write(b"\xff" * 50)
    with array.transaction() as w:
        w[0] = -1
    assert np.load(path)[:, 0].tolist() == [-1, 3, 6, 9]


@grows
def test_what_a_killed_writer_left_is_cut_off_first(array, path):
    with open(path, "ab") as file:
        file.write(b"\xff" * 50)
    with array.transaction() as w:
        w.resize(5)
    assert np.load(path)[4].tolist() == [0, 0, 0]
    assert path.stat().st_size == 128 + 5 * 24


@grows
def test_rows_of_another_process_are_there(array, path, run_python):
    run_python(
        """
import sys
import mmapkit as mk
with mk.open_array(sys.argv[1], "r+") as a:
    with a.transaction() as w:
        w.append([[7, 8, 9]])
""",
        path,
    )
    with array.transaction() as w:
        assert w.shape == (5, 3)
        w.append(rows(1))
    assert np.load(path)[4:].tolist() == [[7, 8, 9], [100, 101, 102]]


@grows
def test_after_the_end_every_use_says_so(array):
    with array.transaction() as w:
        w.append(rows(1))
    assert w.closed
    uses = [
        lambda: w[0],
        lambda: w.__setitem__(0, 1),
        lambda: len(w),
        lambda: w.append(rows(1)),
        lambda: w.resize(10),
        lambda: w.reserve(10),
        lambda: w.refresh(),
        lambda: w.flush(),
        lambda: w + 1,
        lambda: np.asarray(w),
        lambda: w.gather([0]),
        lambda: w.transaction(),
        lambda: w.reading(),
        lambda: w.snapshot("x"),
    ]
    for number, use in enumerate(uses):
        with pytest.raises(ValueError, match="the transaction has ended"):
            pytest.fail(f"use {number}: {use()}")
    w.close()


def test_inside_it_is_not_closed_nested_or_pickled(array):
    import pickle

    with array.transaction() as w:
        for call in (w.close, w.transaction, w.reading, lambda: w.snapshot("x")):
            with pytest.raises(RuntimeError):
                call()
        with pytest.raises(TypeError, match="transaction"):
            pickle.dumps(w)
        assert "transaction" in repr(w)
        assert w.refresh() == 4
    assert repr(w).endswith("transaction has ended>")


@grows
def test_kept_rows_may_be_read(array):
    with array.transaction() as w:
        w.append(rows(1))
        w[0] = 3
        kept = w[:]
    assert kept.shape == (5, 3)
    assert kept[0].tolist() == [3, 3, 3]


@grows
def test_structures_and_empty_arrays_grow(tmp_path):
    path = tmp_path / "s.npy"
    kind = np.dtype([("id", "<u4"), ("name", "S5")])
    with mk.create_array(path, 0, kind) as a:
        with a.transaction() as w:
            w.append(np.array([(1, b"one"), (2, b"two")], kind))
        with a.transaction() as w:
            w["id"] += 10
        assert a[:].tolist() == [(11, b"one"), (12, b"two")]
    assert np.load(path).tolist() == [(11, b"one"), (12, b"two")]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 900)),
        st.tuples(st.just("resize"), st.integers(0, 900)),
        st.tuples(st.just("set"), st.integers(0, 5000)),
    ),
    max_size=6,
)


@settings(max_examples=40)
@given(transactions=st.lists(st.tuples(steps, st.booleans()), max_size=5), raw=st.booleans())
@grows
def test_any_transactions_do_what_they_do_to_an_ndarray(tmp_path_factory, transactions, raw):
    path = tmp_path_factory.mktemp("any") / ("a.bin" if raw else "a.npy")
    oracle = np.arange(10, dtype="<u2")
    if raw:
        oracle.tofile(path)
        a = mk.open_array(path, "r+", dtype="<u2")
    else:
        np.save(path, oracle)
        a = mk.open_array(path, "r+")
    with a:
        for number, (todo, keep) in enumerate(transactions):
            new = oracle.copy()
            transaction = a.transaction()
            w = transaction.begin()
            for what, amount in todo:
                if what == "append":
                    more = (np.arange(amount) + number).astype("<u2")
                    new = np.concatenate([new, more])
                    w.append(more)
                elif what == "resize":
                    new = np.concatenate([new, np.zeros(amount, "<u2")])
                    w.resize(len(new))
                elif len(new):
                    new[amount % len(new)] = number + 1
                    w[amount % len(new)] = number + 1
                assert (w[:] == new).all()
            if keep:
                transaction.commit()
                oracle = new
            else:
                transaction.rollback()
            assert (a[:] == oracle).all()
            found = np.fromfile(path, "<u2") if raw else np.load(path)
            assert found.tolist() == oracle.tolist()
    assert os.listdir(path.parent) == [path.name]


# Each commit adds a row and sets every element to the number of rows.
WRITER = """
import sys
import mmapkit as mk
a = mk.open_array(sys.argv[1], "r+")
while True:
    with a.transaction() as w:
        w.append([[0, 0, 0]])
        w[:] = len(w)
    print(len(a), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills the writer")
def test_a_killed_writer_leaves_rows_and_changes_or_neither(path):
    environment = {**os.environ, "PYTHONPATH": str(Path(mk.__file__).parents[1])}
    chance = random.Random(7)
    with mk.open_array(path, "r+") as a:
        a[:] = 4
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, env=environment
        )
        told = [int(writer.stdout.readline())]
        time.sleep(chance.uniform(0.001, 0.05))
        writer.kill()
        told += [int(line) for line in writer.stdout if line.endswith(b"\n")]
        writer.wait()
        writer.stdout.close()
        with mk.open_array(path, "r+") as a:
            count = len(a)
            assert (a[:] == count).all()
        assert np.load(path).shape == (count, 3)
        assert told[-1] <= count <= told[-1] + 1
