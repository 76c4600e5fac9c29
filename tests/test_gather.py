"""Rows by index, and reading ahead: what np.take gives, whatever the layout."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")
gathering = pytest.importorskip("mmapkit.gather")


@pytest.fixture
def a(tmp_path):
    with mk.create_array(tmp_path / "a.npy", (100, 3), "<i4") as array:
        array[...] = np.arange(300).reshape(100, 3)
        yield array


INDICES = [
    [], [0], [99, -100, 5, 5, 5], 7, -1, np.array([[1, 2], [3, 99]]), np.arange(99, -1, -1),
    np.array([3, 4], "u1"), np.array([3, -4], ">i8"), np.arange(100)[::7], (1, 2),
    np.zeros((0, 4), int), list(range(100)) * 3, np.int32(4), True + 1,
]  # fmt: skip


@pytest.mark.parametrize("indices", INDICES, ids=str)
def test_gather_is_take(a, indices):
    expected = np.take(np.asarray(a), np.asarray(indices, int), axis=0)
    found = a.gather(indices)
    assert type(found) is np.ndarray
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(found, expected)
    assert not np.shares_memory(found, np.asarray(a))
    out = np.full(expected.shape, -1, "<i4")
    assert a.gather(indices, out=out) is out
    assert np.array_equal(out, expected)


@pytest.mark.parametrize(
    "dtype",
    ["u1", ">u2", "f4", "c16", "?", "M8[ms]", "S7", "<U3", "V5", "f2",
     [("x", "<f4"), ("y", "u1", (3,))]],
    ids=str,
)  # fmt: skip
def test_every_dtype(tmp_path, dtype):
    data = np.frombuffer(np.random.default_rng(1).bytes(4000), "u1")
    with mk.open_array(_saved(tmp_path, data), dtype=dtype, shape=30) as a:
        assert a.gather([3, 29, 0]).tobytes() == np.asarray(a)[[3, 29, 0]].tobytes()


def _saved(tmp_path, data):
    path = tmp_path / "raw.bin"
    path.write_bytes(data.tobytes())
    return path


@examples(150)
@given(st.data())
def test_any_layout(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    itemsize = 2
    strides = tuple(data.draw(st.integers(-40, 40)) for _ in shape)
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
    size = high - low + itemsize
    path = tmp_path_factory.getbasetemp() / "layout.bin"
    path.write_bytes(bytes(i * 31 % 251 for i in range(size)))
    rows = data.draw(st.lists(st.integers(-shape[0], shape[0] - 1), max_size=8))
    with mk.open_array(path, dtype="<u2", shape=shape, strides=strides, offset=-low) as a:
        expected = np.asarray(a)[np.array(rows, int)]
        assert np.array_equal(a.gather(rows), expected)
        a.prefetch(rows)
        a.prefetch(tuple(slice(None, None, -2) for _ in shape))


@pytest.mark.parametrize("order", ["C", "F"])
def test_both_orders(tmp_path, order):
    data = np.arange(7 * 5 * 3.0).reshape(7, 5, 3)
    with mk.create_array(tmp_path / "o.npy", data.shape, order=order) as a:
        a[...] = data
        assert np.array_equal(a.gather([6, 1, -7]), data[[6, 1, -7]])


@pytest.mark.parametrize("row", [(), (1,), (2,), (3,), (4,), (7,), (8,), (16,), (100,), (5000,)])
def test_every_width_and_many_rows(tmp_path, row):
    data = np.random.default_rng(3).integers(0, 255, (600, *row), "u1")
    rows = np.random.default_rng(4).integers(-600, 600, 1500)
    with mk.open_array(_saved(tmp_path, data), dtype="u1", shape=data.shape) as a:
        assert np.array_equal(a.gather(rows), data[rows])


def test_several_threads_give_the_same(a, monkeypatch):
    monkeypatch.setattr(gathering, "THREADS_FROM_S", 0)
    monkeypatch.setattr(gathering, "count_cores", lambda: 4)
    rows = np.random.default_rng(4).integers(-100, 100, 5001)
    assert np.array_equal(a.gather(rows), np.asarray(a)[rows])
    names = [thread.name for thread in threading.enumerate()]
    assert any(name.startswith("mmapkit-gather") for name in names)


def test_ctrl_c_ends_a_long_gather(tmp_path, run_python):
    np.save(tmp_path / "wide.npy", np.zeros((2, 1 << 20), "u1"))
    run_python(
        """
import _thread, threading, time
import numpy as np, mmapkit as mk
a = mk.open_array("wide.npy")
rows = np.zeros(1, int).repeat(200)
out = np.empty((200, 1 << 20), "u1")
heard = False
try:
    threading.Timer(0.3, _thread.interrupt_main).start()
    while True:
        a.gather(rows, out=out)
except KeyboardInterrupt:
    heard = True
assert heard
a.close()
"""
    )


@pytest.mark.parametrize("indices", [[0, 100], [-101], [[1, 2], [3, 1 << 62]], 100])
def test_index_out_of_range_is_named_and_nothing_written(a, indices):
    out = np.full((*np.shape(indices), 3), -1, "<i4")
    with pytest.raises(IndexError, match=r"index (100|-101|4611686018427387904).* 100 rows"):
        a.gather(indices, out=out)
    assert (out == -1).all()


def test_position_of_the_bad_index_is_named(a):
    with pytest.raises(IndexError, match=r"index 100 at position 2 is"):
        a.gather([0, 1, 100, 200])
    with pytest.raises(IndexError, match=r"index -101 at position \(1, 0\) is"):
        a.gather([[0, 1], [-101, 200]])


@pytest.mark.parametrize(
    ("indices", "error", "match"),
    [
        ([1.5], TypeError, "integers, not float64"),
        (["a"], TypeError, "integers, not <U1"),
        ([True] * 100, TypeError, "flatnonzero"),
        ([1 << 63], IndexError, "9223372036854775808"),
        ([5, 1 << 70], IndexError, f"index {1 << 70} at position 1 is out of range for 100"),
        ([[5, -(1 << 70)]], IndexError, rf"index {-(1 << 70)} at position \(0, 1\) is out of"),
        (1 << 70, IndexError, f"index {1 << 70} is out of range for 100"),
        ([object()], TypeError, "integers, not object"),
        (None, TypeError, "integers, not object"),
    ],
)
def test_indices_that_are_none(a, indices, error, match):
    with pytest.raises(error, match=match):
        a.gather(indices)


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.zeros((2, 4), "<i4"), ValueError, r"shape \(2, 4\), but the rows have \(2, 3\)"),
        (np.zeros((2, 3), "<i8"), TypeError, "int64, but the rows have int32"),
        ([[0] * 3] * 2, TypeError, "ndarray, not list"),
        (np.broadcast_to(np.int32(1), (2, 3)), ValueError, "read-only"),
    ],
)
def test_wrong_out(a, out, error, match):
    with pytest.raises(error, match=match):
        a.gather([0, 1], out=out)


def test_out_must_not_overlap(a):
    with pytest.raises(ValueError, match="overlaps"):
        a.gather([0, 1], out=a[5:7])


def test_out_of_any_layout(a):
    out = np.zeros((3, 2), "<i4").T
    a.gather([4, 9], out=out)
    assert np.array_equal(out, np.asarray(a)[[4, 9]])


def test_rows_of_nothing(tmp_path):
    with mk.create_array(tmp_path / "z.npy", (5, 0)) as a:
        assert a.gather([1, 2, 3]).shape == (3, 0)
    with mk.create_array(tmp_path / "e.npy", (0, 5)) as a:
        assert a.gather([]).shape == (0, 5)
        with pytest.raises(IndexError, match="0 rows"):
            a.gather([0])
    with mk.create_array(tmp_path / "s.npy", ()) as a, pytest.raises(ValueError, match="no rows"):
        a.gather([0])


def test_closed_array(a):
    a.close()
    with pytest.raises(ValueError, match="closed"):
        a.gather([0])
    with pytest.raises(ValueError, match="closed"):
        a.prefetch()


@pytest.mark.parametrize("backend", ["read", "map"])
def test_other_backends_and_modes(tmp_path, backend):
    np.save(tmp_path / "b.npy", np.arange(50))
    with mk.open(tmp_path / "b.npy", "c", backend=backend) as m:
        a = mk.MappedArray(m, _layout(tmp_path / "b.npy"))
        a[7] = -5
        assert a.gather([7, 8]).tolist() == [-5, 8]
        a.prefetch([7, 8])
        a.close()


def _layout(path):
    with mk.open_array(path) as a:
        return a._layout


# --- prefetch -----------------------------------------------------------------------------------

KEYS = [
    ..., 0, -1, (1, 2), slice(3, 9), slice(None, None, -3), (slice(None), 1), (..., 0), None, (),
    [0, 5, 99], np.array([[3], [4]]), slice(5, 5), (slice(2, 50, 7), slice(None, None, 2)),
    (None, 3), [],
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_prefetch_takes_basic_indices_and_rows(a, key):
    assert a.prefetch(key) is None


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (100, IndexError), ((0, 3), IndexError), ([100], IndexError), ("x", IndexError),
        (([1, 2], [0, 1]), TypeError), (1.5, IndexError), ([True] * 100, TypeError),
    ],
)  # fmt: skip
def test_wrong_keys_of_prefetch(a, key, error):
    with pytest.raises(error):
        a.prefetch(key)


def test_prefetch_of_a_field_and_of_one_element(tmp_path):
    dtype = [("x", "<f4"), ("y", "<i8")]
    with mk.create_array(tmp_path / "f.npy", (4, 5), dtype) as a:
        for key in ("x", (2, 3), (slice(None), 2), 1):
            a.prefetch(key)
    with mk.create_array(tmp_path / "s.npy", ()) as a:
        a.prefetch()
        a.prefetch(())


def test_prefetch_asks_for_the_pages_of_the_key_only(tmp_path, monkeypatch):
    page = mk.page_size()
    with mk.create_array(tmp_path / "p.npy", (50, 4, 2 * page), "u1") as a:
        asked = []

        class Spy:
            path = "spy"

            def _holds(self, address, length):
                return real._holds(address, length)

            def _prefetch_rows(self, origin, stride, run, count, rows):
                assert len(rows) == 0 or -count <= rows.min() <= rows.max() < count
                asked.extend((origin + stride * int(row), run) for row in rows)

        real = a.mapping
        a.mapping = Spy()
        try:
            a.prefetch((slice(10, 40, 10), 1, slice(0, 100)))
            rows, asked[:] = asked[:], []
            a.prefetch([3, 4])
            picked, asked[:] = asked[:], []
            a.prefetch((slice(None), slice(None), 0))
        finally:
            a.mapping = real
        start = a.offset
        assert sorted(rows) == [(start + (i * 4 + 1) * 2 * page, 100) for i in (10, 20, 30)]
        assert sorted(picked) == [(start + i * 8 * page, 8 * page) for i in (3, 4)]
        assert sorted(asked) == [(start + i * 2 * page, 1) for i in range(200)]


# --- async --------------------------------------------------------------------------------------


def test_awaiting_does_not_block_the_loop(a, monkeypatch):
    entered, leave = threading.Event(), threading.Event()
    real = gathering.gather

    def slow(*args):
        entered.set()
        assert leave.wait(60)
        return real(*args)

    monkeypatch.setattr(gathering, "gather", slow)

    async def main():
        task = asyncio.create_task(a.agather([5, 6]))
        while not entered.is_set():  # this loop turns while the gather stands still
            await asyncio.sleep(0.001)
        leave.set()
        await a.aprefetch(slice(3, 9))
        return await task

    assert asyncio.run(main()).tolist() == [[15, 16, 17], [18, 19, 20]]


def test_awaiting_raises(a):
    with pytest.raises(IndexError, match="index 100"):
        asyncio.run(a.agather([100]))
    with pytest.raises(IndexError):
        asyncio.run(a.aprefetch(100))
