"""Arrays over a mapping's bytes: shapes, strides, bounds."""

import gc
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")

SIZE = 240


@pytest.fixture
def m():
    with mk.anonymous(SIZE) as mapping:
        mapping[:] = bytes(range(SIZE))
        yield mapping


def test_array_is_a_plain_ndarray_over_the_same_bytes(m):
    a = m.array("<u2")
    assert type(a) is np.ndarray
    assert (a.shape, a.dtype, a.flags.writeable) == ((120,), np.dtype("<u2"), True)
    a[0] = 0xABCD
    assert (m[0], m[1]) == (0xCD, 0xAB)
    m[2] = 0xFF
    assert a[1] == 0x03FF


def test_array_of_a_read_only_mapping_cannot_be_stored_into(file):
    with mk.open(file) as m:
        a = m.array("u1")
        assert not a.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            a[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            a.flags.writeable = True
        del a


@pytest.mark.parametrize(
    "dtype",
    [
        *("u1", ">i4", "<f2", "c16", "?", "S5", "<U3", "V6", "M8[ns]", "m8[D]", "f8,>i2"),
        [("x", "<f4", (2, 2)), ("y", [("z", ">u2"), ("", "V3")])],
    ],
)
def test_dtypes_of_every_kind(m, dtype):
    kind = np.dtype(dtype)
    for offset in (0, 1, 7):
        a = m.array(kind, 3, offset=offset)
        oracle = np.frombuffer(m.read(offset, 3 * kind.itemsize), kind)
        assert a.dtype == kind
        assert a.tobytes() == oracle.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), 5, (5,), (2, 3, 4), (1,) * 30, (0,), (4, 0, 2), [2, 3]])
def test_shapes_and_orders(m, shape, order):
    a = m.array("<i2", shape, offset=3, order=order)
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    count = int(np.prod(lengths))
    oracle = np.frombuffer(m.read(3, 2 * count), "<i2").reshape(lengths, order=order)
    assert a.shape == lengths
    assert np.array_equal(a, oracle)
    assert a.flags[f"{order}_CONTIGUOUS"]


@examples(100)
@given(
    offset=st.integers(-3, SIZE + 3),
    itemsize=st.sampled_from([1, 2, 3, 8]),
    axes=st.lists(st.tuples(st.integers(0, 6), st.integers(-50, 50)), max_size=3),
)
def test_strides_see_exactly_the_bytes_that_lie_inside(offset, itemsize, axes):
    shape = tuple(length for length, _ in axes)
    strides = tuple(step for _, step in axes)
    indices = list(itertools.product(*map(range, shape)))
    starts = [offset + sum(i * s for i, s in zip(index, strides, strict=True)) for index in indices]
    inside = 0 <= offset <= SIZE and all(0 <= at <= SIZE - itemsize for at in starts)
    with mk.anonymous(SIZE) as m:
        m[:] = bytes(range(SIZE))
        if not inside:
            with pytest.raises(ValueError, match="240"):
                m.array(f"V{itemsize}", shape, offset, strides=strides)
            return
        a = m.array(f"V{itemsize}", shape, offset, strides=strides)
        assert a.shape == shape
        for index, at in zip(indices, starts, strict=True):
            assert a[index].tobytes() == bytes(range(at, at + itemsize))
        del a


def test_reversed_and_broadcast_strides(m):
    assert m.array("u1", 4, offset=10, strides=(-1,)).tolist() == [10, 9, 8, 7]
    assert m.array("u1", (2, 3), offset=5, strides=(0, 1)).tolist() == [[5, 6, 7]] * 2
    assert m.array("u1", 5, offset=239, strides=(0,)).tolist() == [239] * 5
    a = m.array("<u2", 120, offset=238, strides=(-2,))
    a[0] = 7
    assert m[238] == 7


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"shape": 241}, "241"),
        ({"shape": (30, 9)}, r"\(30, 9\).*270"),
        ({"shape": 1, "offset": 240}, r"\[240, 241\).*240"),
        ({"shape": 2, "strides": (240,)}, r"\[0, 241\).*240"),
        ({"shape": 2, "strides": (-1,)}, r"\[-1, 1\).*240"),
        ({"offset": 241}, "241.*240"),
        ({"offset": -1}, "-1"),
        ({"offset": 2**64}, str(2**64)),
        ({"shape": 2**62}, str(2**62)),
        ({"shape": 2**64}, str(2**64)),
        ({"shape": (2**33, 2**33)}, str(2**33)),
        ({"shape": 10**30}, str(10**30)),
        ({"shape": -1}, "-1"),
        ({"shape": (2, -3)}, r"\(2, -3\)"),
        ({"shape": (2, 2), "strides": (1,)}, r"\(1,\).*\(2, 2\)"),
        ({"shape": 3, "strides": (2**62,)}, str(2**63 + 1)),
        ({"order": "K"}, "'K'"),
        ({"order": "c"}, "'c'"),
    ],
)
def test_array_that_does_not_fit_is_named(m, arguments, named):
    with pytest.raises(ValueError, match=named):
        m.array("u1", **arguments)


@pytest.mark.parametrize("shape", [(0, 2**62), (2**70, 0), (0, 2**40, 2**40), (1,) * 65])
def test_shape_beyond_numpy_is_a_value_error(m, shape):
    with pytest.raises(ValueError, match=r"."):
        m.array("u2", shape)
    assert m.exports == 0


def test_bytes_that_are_no_whole_number_of_items(m):
    with pytest.raises(ValueError, match=r"240 bytes from offset 0.*7 bytes; give shape="):
        m.array("V7")
    assert m.array("V7", 34).nbytes == 238


@pytest.mark.parametrize("dtype", ["O", [("a", "i4"), ("b", object)]])
def test_objects_cannot_be_mapped(m, dtype):
    with pytest.raises(ValueError, match="Python objects"):
        m.array(dtype)


@pytest.mark.parametrize("dtype", ["S0", "U0", "V0", []])
def test_items_of_nothing_cannot_be_mapped(m, dtype):
    with pytest.raises(ValueError, match="0 bytes"):
        m.array(dtype)


@pytest.mark.parametrize("arguments", [{"shape": 1.5}, {"shape": "3"}, {"offset": 1.0}])
def test_numbers_of_other_types(m, arguments):
    with pytest.raises(TypeError):
        m.array("u1", **arguments)


def test_unknown_dtype_is_named(m):
    with pytest.raises(TypeError, match="f3"):
        m.array("f3")


def test_each_array_counts_as_one_export_however_many_are_made_from_it(m):
    a = m.array("u1")
    parts = [a[1:], a.reshape(24, 10).T, a.view("i8"), memoryview(a)]
    assert m.exports == 1
    b = m.array("u1")
    assert m.exports == 2
    del a, b
    gc.collect()
    assert m.exports == 1
    parts.clear()
    gc.collect()
    assert m.exports == 0


def test_arrays_over_nothing():
    with mk.anonymous(0) as m:
        assert m.array("f8").shape == (0,)
        assert m.array("f8", (3, 0)).shape == (3, 0)
        with pytest.raises(ValueError, match="0"):
            m.array("u1", 1)


@pytest.mark.parametrize("shape", [2.0, "23", (2, 1.5), [None]])
def test_shape_that_is_none_is_named(m, shape):
    with pytest.raises(TypeError, match=re.escape(f"a sequence of ints, not {shape!r}")):
        m.array("u1", shape)
