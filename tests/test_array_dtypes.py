"""MappedArray over every dtype, order, stride and shape, against the ndarray of the same bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

np = pytest.importorskip("numpy")

# numpy 1 only warns of [0] where there is nothing.
pytestmark = pytest.mark.filterwarnings("ignore:Out of bound index found:DeprecationWarning")

PLAIN = [
    *["?", "i1", "u1", "<i2", ">i2", "<u4", ">u4", "<i8", ">i8"],
    *["<f2", ">f2", "<f4", ">f8", "<c8", ">c16", "S5", "S1", "<U3", ">U2"],
]
# In a buffer these would be something else, or nothing.
WITHOUT_BUFFER = [
    *["V7", "<M8[ns]", ">M8[D]", "<m8[us]"],
    [("a", "<i4"), ("b", ">f8")],
    [("größe", "<f4"), ("x", "u1", (2, 3))],
    [("outer", [("inner", ">u2"), ("more", "S3")]), ("t", "<M8[s]")],
    np.dtype([("a", "u1"), ("b", "<f8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["<i4", "u1"], "offsets": [4, 0], "itemsize": 9}),
]
SUB_ARRAYS = [("<i2", (2, 3)), (">f4", (1,)), ([("a", "u1"), ("b", "S2")], (2,))]
SHAPES = [(), (1,), (6,), (0,), (3, 4), (0, 3), (3, 0), (2, 3, 4), (1, 1, 1, 1)]
KEYS = [
    (), ..., 0, -1, slice(None), slice(None, None, -1), slice(1, None, 2), None, [0], [],
    (0, 0), (..., 0), (slice(None), 0), (slice(None), slice(None, None, -2)), (0, ..., None),
]  # fmt: skip


def bytes_for(dtype, size, start):
    """Bytes that every dtype takes: booleans of 0 and 1, characters, no signalling NaN."""
    base = np.dtype(dtype).base
    if base.kind == "U":
        count = (size - start) // base.itemsize
        return bytes(start) + np.array((["aß", "", "x"] * count)[:count], base).tobytes()
    top = 2 if base.kind == "b" else 60
    return bytes(i * 7 % top for i in range(size))


FILES = itertools.count()


def both(folder, dtype, shape, **layout):
    """A MappedArray of a raw file of its own, and the same as numpy sees it in a buffer."""
    path = folder / f"{next(FILES)}.raw"
    kind = np.dtype(dtype)
    start, strides = layout.get("offset", 0), layout.get("strides")
    size = layout.pop("size", None) or start + int(np.prod(shape)) * kind.itemsize
    data = bytearray(bytes_for(kind, size, start))
    path.write_bytes(data)
    a = mk.open_array(path, "r+", dtype=kind, shape=shape, **layout)
    oracle = np.ndarray(shape, kind, data, start, strides, layout.get("order", "C"))
    return a, oracle


def same(found, expected):
    """Type, dtype, shape and bytes; padding apart."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray | np.generic):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes() or np.array_equal(found, expected)
    else:
        assert found == expected


def check(a, oracle):
    """Everything that reads."""
    assert (a.shape, a.dtype, a.ndim) == (oracle.shape, oracle.dtype, oracle.ndim)
    assert (a.size, a.nbytes) == (oracle.size, oracle.nbytes)
    if oracle.size:
        assert a.strides == oracle.strides
    whole = np.asarray(a)
    same(whole, oracle)
    for name in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE"):
        assert whole.flags[name] == oracle.flags[name], name
    for key in KEYS:
        try:
            expected = oracle[key]
        except IndexError:
            with pytest.raises(IndexError):
                a[key]
        else:
            found = a[key]
            same(found, expected)
            if isinstance(expected, np.ndarray) and expected.size:
                assert np.shares_memory(found, whole) is np.shares_memory(expected, oracle)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*PLAIN, *WITHOUT_BUFFER], ids=str)
def test_indexing_is_what_numpy_does(tmp_path, dtype, order):
    for shape in SHAPES:
        a, oracle = both(tmp_path, dtype, shape, order=order, offset=3)
        check(a, oracle)
        a.close()  # nothing keeps it


@pytest.mark.parametrize("dtype", SUB_ARRAYS, ids=str)
def test_axes_of_a_sub_array_join_the_shape(tmp_path, dtype):
    for shape in SHAPES:
        a, oracle = both(tmp_path, dtype, shape)
        check(a, oracle)


@pytest.mark.parametrize("dtype", ["u1", ">i2", "<c8", "S5", "<M8[D]", [("a", "<i4"), ("b", "u1")]])
def test_negative_and_odd_strides(tmp_path, dtype):
    size = np.dtype(dtype).itemsize
    layouts = [
        ((4,), (-size,), 3 * size),
        ((4,), (size + 1,), 0),
        ((3, 4), (-4 * size, size), 8 * size),
        ((3, 4), (5 * size + 1, -size), 3 * size),
        ((4, 3), (size, 4 * size), 0),
        ((3, 3), (size, size), 0),  # rows that overlap
        ((5, 2), (0, size), 0),  # rows that are the same
        ((2, 0, 3), (7, 7, 7), 0),
    ]
    for shape, strides, offset in layouts:
        a, oracle = both(tmp_path, dtype, shape, strides=strides, offset=offset, size=40 * size)
        check(a, oracle)


@given(st.data())
def test_any_strides_show_what_numpy_shows(tmp_path_factory, data):
    ndim = data.draw(st.integers(0, 3))
    shape = tuple(data.draw(st.integers(0, 4)) for _ in range(ndim))
    strides = tuple(data.draw(st.integers(-9, 9)) for _ in range(ndim))
    dtype = data.draw(st.sampled_from(["u1", ">i2", "<f4", "S3"]))
    low = sum(min(0, (n - 1) * s) for n, s in zip(shape, strides, strict=True) if 0 not in shape)
    offset = data.draw(st.integers(0, 5)) - low
    a, oracle = both(
        tmp_path_factory.getbasetemp(),
        dtype,
        shape,
        strides=strides,
        offset=offset,
        size=offset + 120,
    )
    check(a, oracle)
    value = oracle.reshape(-1)[0] if oracle.size else np.zeros((), dtype)[()]
    a[...] = value
    oracle[...] = value
    same(np.asarray(a), oracle)
    del a


@pytest.mark.parametrize("dtype", [*PLAIN, *WITHOUT_BUFFER], ids=str)
def test_stores_are_what_numpy_does(tmp_path, dtype):
    for shape, key in itertools.product([(), (6,), (3, 4)], [..., (), 0, (slice(None, None, 2))]):
        if shape == () and key not in (..., ()):
            continue
        a, oracle = both(tmp_path, dtype, shape)
        value = oracle.reshape(-1)[-1:].copy()[0]
        a[key] = value
        oracle[key] = value
        same(np.asarray(a), oracle)


# --- the buffer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", PLAIN)
def test_buffer_is_that_of_the_ndarray(tmp_path, dtype, order):
    for shape in SHAPES:
        a, oracle = both(tmp_path, dtype, shape, order=order)
        found, expected = memoryview(a), memoryview(oracle)
        for name in ("format", "itemsize", "shape", "ndim", "nbytes", "readonly"):
            assert getattr(found, name) == getattr(expected, name), (name, shape)
        assert (found.c_contiguous, found.f_contiguous) == (
            expected.c_contiguous,
            expected.f_contiguous,
        )
        if oracle.size:
            assert found.strides == expected.strides
        assert found.tobytes(order="A") == expected.tobytes(order="A")
        same(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("dtype", WITHOUT_BUFFER, ids=str)
def test_dtype_that_a_buffer_cannot_tell_is_refused_there_but_not_by_numpy(tmp_path, dtype):
    a, oracle = both(tmp_path, dtype, (6,))
    with pytest.raises(BufferError, match=r"np\.asarray"):
        memoryview(a)
    same(np.asarray(a), oracle)
    same(np.array(a), oracle)
    same(np.ascontiguousarray(a), oracle)


def test_buffer_is_writable_where_the_mode_is(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6, dtype="<i4").reshape(2, 3))
    for mode, readonly in (("r", True), ("r+", False), ("c", False)):
        with mk.open_array(tmp_path / "a.npy", mode) as a, memoryview(a) as view:
            assert view.readonly is readonly
            assert view[1, 2] == 5
            if not readonly:
                view[1, 2] = 50
                assert a[1, 2] == 50
                view[1, 2] = 5
        with mk.open_array(tmp_path / "a.npy", mode) as a, open(tmp_path / "x", "w+b") as file:
            file.write(a)  # whoever wants bytes
            file.seek(0)
            if readonly:
                with pytest.raises((TypeError, BufferError)):
                    file.readinto(a)
            else:
                assert file.readinto(a) == 24


def test_buffer_keeps_the_mapping_alive(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6))
    a = mk.open_array(tmp_path / "a.npy")
    view = memoryview(a)
    with pytest.raises(BufferError, match="1 view"):
        a.close()
    view.release()
    a.close()
    with pytest.raises(ValueError, match="closed"):
        memoryview(a)
