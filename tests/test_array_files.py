"""Arrays in files: raw and .npy, written by us and read by numpy, and the other way round."""

import os
import pathlib
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")
hypothesis_numpy = pytest.importorskip("hypothesis.extra.numpy")

DTYPES = ["?", "u1", "<i2", ">i4", "<u8", "<f2", ">f8", "<c8", ">c16", "S5", "<U3", ">U2", "V7"]
DTYPES += ["<M8[ns]", ">M8[D]", "<m8[us]"]
STRUCTURED = [
    [("a", "<i4"), ("b", ">f8")],
    [("größe", "<f4"), ("x", "u1", (2, 3))],
    [("outer", [("inner", ">u2"), ("more", "S3")]), ("t", "<M8[s]")],
    np.dtype([("a", "u1"), ("b", "<f8")], align=True),
]
# Only for raw files: .npy cannot say this.
SHUFFLED = np.dtype({"names": ["a", "b"], "formats": ["<i4", "u1"], "offsets": [4, 0]})
SHAPES = [(), (1,), (7,), (3, 4), (2, 3, 4), (0,), (0, 3), (3, 0, 2), (1, 1, 1)]


def filled(shape, dtype, order="C"):
    """An array of bytes that count up; only valid for dtypes without invalid values."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return (np.arange(count) % 2).astype(bool).reshape(shape, order=order)
    if kind.kind == "U":
        return np.full(shape, "aß", kind, order=order)
    raw = bytes(i % 120 + 1 for i in range(count))
    return np.frombuffer(raw, kind).reshape(shape, order=order)


def same(left, right):
    """Same dtype, shape and bytes, which says more than == for NaN."""
    alike = left.dtype == right.dtype and left.shape == right.shape
    # Copies leave padding undefined.
    return alike and (left.tobytes() == right.tobytes() or np.array_equal(left, right))


# --- .npy, both ways ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*DTYPES, *STRUCTURED], ids=str)
def test_numpy_reads_what_we_write(tmp_path, dtype, order):
    for number, shape in enumerate(SHAPES):
        path = tmp_path / f"{number}.npy"
        data = filled(shape, dtype, order)
        with mk.create_array(path, shape, dtype, order=order) as a:
            assert a.mapping.read(a.offset) == bytes(a.nbytes)
            a[...] = data
            a.flush()
        found = np.load(path)
        assert (found.dtype, found.shape) == (np.dtype(dtype), shape)
        assert np.array_equal(found, data)
        assert found.flags[f"{order}_CONTIGUOUS"]


@pytest.mark.filterwarnings("ignore:Stored array in format:UserWarning")
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*DTYPES, *STRUCTURED[:1], *STRUCTURED[2:]], ids=str)
def test_we_read_what_numpy_writes(tmp_path, dtype, order, version):
    for number, shape in enumerate(SHAPES):
        path = tmp_path / f"{number}.npy"
        data = filled(shape, dtype, order)
        with open(path, "wb") as f:
            np.lib.format.write_array(f, data, version)
        with mk.open_array(path) as a:
            assert same(np.asarray(a), np.load(path))
            assert (a.shape, a.dtype, a.ndim, a.size) == (shape, data.dtype, len(shape), data.size)
            assert (a.nbytes, a.path, a.mode) == (data.nbytes, str(path), "r")
            assert a.order == (order if len(shape) > 1 and data.size > 1 else a.order)


def storable(dtype):
    """No items of nothing; complex ones are above, and numpy's crash under Wine (no crealf)."""
    return dtype.itemsize and dtype.subdtype is None and "c" not in str(dtype.descr)


@examples(60)
@given(
    hypothesis_numpy.arrays(
        st.one_of(
            hypothesis_numpy.scalar_dtypes(),
            hypothesis_numpy.array_dtypes(allow_subarrays=True),
        ).filter(storable),
        hypothesis_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        fill=st.nothing(),
    ),
    st.sampled_from(["C", "F"]),
)
def test_any_array_goes_both_ways(tmp_path_factory, data, order):
    folder = tmp_path_factory.mktemp("both")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # field names that need version 3
        np.save(folder / "theirs.npy", np.asarray(data, order=order))
    with mk.open_array(folder / "theirs.npy") as a:
        assert same(np.asarray(a), data)
    with mk.create_array(folder / "ours.npy", data.shape, data.dtype, order=order) as a:
        a[...] = data
        a.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = np.load(folder / "ours.npy")
        assert found.dtype == data.dtype
        assert found.tobytes() == np.asarray(a).tobytes()


def test_subarray_dtype_extends_the_shape_as_in_numpy(tmp_path):
    dtype = np.dtype(("<f4", (2,)))
    with mk.create_array(tmp_path / "a.npy", 3, dtype) as a:
        a[...] = 1
        assert a.shape == a[...].shape == np.empty(3, dtype).shape
        assert a.dtype == a[...].dtype == np.dtype("<f4")
        a.flush()
    assert np.load(tmp_path / "a.npy").tolist() == [[1, 1]] * 3


@pytest.mark.parametrize("dtype", ["<f8", "S200", [("x", "<i4"), ("y", ">f8", (2,))]])
@pytest.mark.parametrize("shape", [(3, 2), (3,), (10**8 + 1, 0)])
def test_header_leaves_data_aligned_and_digits_in_whole_words(tmp_path, dtype, shape):
    with mk.create_array(tmp_path / "a.npy", shape, dtype) as a:
        assert a.offset % 64 == 0
        header = a.mapping.read(0, a.offset)
    start = header.index(b"(", header.index(b"shape")) + 1
    assert header.index(b",", start) % 8 == 0
    assert header[start : header.index(b",", start)].strip() == str(shape[0]).encode()
    np.save(tmp_path / "b.npy", np.zeros((3, 2)))
    if dtype == "<f8":
        assert len(header) == (tmp_path / "b.npy").read_bytes().index(b"\n") + 1


# --- creating -----------------------------------------------------------------------------------


def test_create_refuses_an_existing_file_unless_told(tmp_path):
    path = tmp_path / "a.npy"
    mk.create_array(path, 3).close()
    with pytest.raises(FileExistsError):
        mk.create_array(path, 3)
    with mk.create_array(path, (2, 2), "i4", overwrite=True) as a:
        a.flush()
    assert np.load(path).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": -1},
        {"shape": (2, -1)},
        {"shape": 2**63},
        {"shape": (2**40, 2**40)},
        {"shape": (0, 2**40, 2**40)},
        {"shape": (0, 2**70)},
        {"shape": (1,) * 65},
        {"shape": 3, "dtype": "O"},
        {"shape": 3, "dtype": [("a", "O")]},
        {"shape": 3, "dtype": "S0"},
        {"shape": 3, "dtype": "V"},
        {"shape": 3, "dtype": "U"},
        {"shape": 3, "order": "K"},
        {"shape": 2.5},
        {"shape": "3"},
        {"shape": None},
        {"shape": 3, "dtype": "nonsense"},
    ],
    ids=str,
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_cannot_be_made_leaves_files_alone(tmp_path, arguments, overwrite):
    path = tmp_path / "a.npy"
    if overwrite:
        path.write_bytes(b"precious")
    with pytest.raises((ValueError, TypeError)):
        mk.create_array(path, **arguments, overwrite=overwrite)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"precious"] if overwrite else [])


def test_sizes_that_overflow_are_named(tmp_path):
    for shape in (2**63, (2**40, 2**40)):
        with pytest.raises(ValueError, match=str(np.max(shape))):
            mk.create_array(tmp_path / "a.npy", shape)


# --- raw ----------------------------------------------------------------------------------------


def test_raw_file_is_bytes_by_default(file, pattern):
    with mk.open_array(file) as a:
        assert (a.shape, a.dtype, a.offset) == ((10_000,), np.dtype("u1"), 0)
        assert np.asarray(a).tobytes() == pattern


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [*DTYPES[1:], *STRUCTURED, SHUFFLED], ids=str)
def test_raw_file_as_any_array(file, pattern, dtype, order):
    kind = np.dtype(dtype)
    if kind.kind == "U":
        pytest.skip("these bytes are no characters")
    for shape, offset in (((3, 5), 7), ((), 0), ((2, 0), 10_000), (4, None)):
        lengths = (shape,) if isinstance(shape, int) else shape
        with mk.open_array(file, dtype=kind, shape=shape, offset=offset, order=order) as a:
            start = offset or 0
            part = pattern[start : start + a.nbytes]
            assert (a.shape, a.dtype, a.order, a.offset) == (lengths, kind, order, start)
            assert same(
                np.asarray(a),
                np.ndarray(lengths, kind, bytearray(part or b"\0"), order=order),
            )


def test_raw_files_are_made_in_creating_modes(tmp_path):
    path = tmp_path / "raw"
    with mk.open_array(path, "x+", dtype="<u2", shape=(2, 3), offset=4) as a:
        a[...] = [[1, 2, 3], [4, 5, 6]]
        a.flush()
    assert path.read_bytes() == bytes(4) + np.arange(1, 7, dtype="<u2").tobytes()
    with pytest.raises(FileExistsError):
        mk.open_array(path, "x+", shape=3)
    with mk.open_array(path, "w+", shape=3) as a:
        assert a[...].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="needs a shape"):
        mk.open_array(path, "w+")


@pytest.mark.parametrize("convert", [str, os.fsencode, pathlib.Path])
def test_raw_file_is_not_named_npy(tmp_path, convert):
    with pytest.raises(ValueError, match=r"create_array"):
        mk.open_array(convert(tmp_path / "a.npy"), "w+", shape=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"shape": 10_001}, r"file\.bin.*10000.*10001"),
        ({"shape": (2**33, 2**33)}, str(2**33)),
        ({"shape": 2**70}, str(2**70)),
        ({"shape": 1, "offset": 10_000}, "10001"),
        ({"offset": 10_001}, "10001"),
        ({"offset": -1}, "-1"),
        ({"offset": 2**64}, str(2**64)),
        ({"shape": (3, -2)}, r"\(3, -2\)"),
        ({"dtype": "V3"}, r"10000 bytes.*3 bytes; give shape="),
        ({"dtype": "O"}, "Python objects"),
        ({"dtype": "S0"}, "0 bytes"),
        ({"order": "A"}, "'A'"),
    ],
)
def test_raw_layout_that_does_not_fit_is_named(file, arguments, named):
    with pytest.raises(ValueError, match=named):
        mk.open_array(file, **arguments)


def test_offset_makes_a_npy_file_raw(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with mk.open_array(tmp_path / "a.npy", offset=0) as a:
        assert a[:6].tobytes() == b"\x93NUMPY"


def test_dtype_and_shape_have_to_agree_with_a_header(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3), "<f4"))
    mk.open_array(path, dtype="<f4", shape=(2, 3)).close()
    with pytest.raises(ValueError, match=r"a\.npy.*float32.*float64"):
        mk.open_array(path, dtype="f8")
    with pytest.raises(ValueError, match=r"a\.npy.*\(2, 3\).*\(6,\)"):
        mk.open_array(path, shape=6)
