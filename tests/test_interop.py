"""Other libraries over the same bytes: zero-copy is shown by the address."""

import warnings

import pytest

import mmapkit as mk

from .optional import need

np = pytest.importorskip("numpy")

numpy2 = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="DLPack 1.0 came with numpy 2.1"
)
DATA = np.arange(24, dtype="<f4").reshape(4, 6)


def address(array):
    return np.asarray(array).__array_interface__["data"][0]


def opened(tmp_path, mode="r+", data=DATA):
    np.save(tmp_path / "a.npy", data)
    return mk.open_array(tmp_path / "a.npy", mode)


# --- numpy and Python -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memoryview_shows_the_elements(tmp_path, mode):
    with opened(tmp_path, mode) as a, memoryview(a) as view:
        assert (view.shape, view.format, view.strides) == ((4, 6), "f", (24, 4))
        assert view.readonly is (mode == "r")
        assert address(view) == address(a)
        assert view[2, 3] == 15


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_numpy_takes_dlpack_of_a_writable_array(tmp_path, mode):
    a = opened(tmp_path, mode)
    found = np.from_dlpack(a)
    assert address(found) == address(a)
    assert (found.shape, found.dtype, found.strides) == (a.shape, a.dtype, a.strides)
    del found
    a.close()


@numpy2
def test_numpy_takes_dlpack_of_a_read_only_array(tmp_path):
    a = opened(tmp_path, "r")
    found = np.from_dlpack(a)
    assert address(found) == address(a)
    assert not found.flags.writeable
    copied = np.from_dlpack(a, copy=True)
    assert address(copied) != address(a)
    assert np.array_equal(copied, DATA)
    del found
    a.close()
    with pytest.raises(ValueError, match="closed"):
        np.from_dlpack(a)


def test_dlpack_before_1_0_refuses_what_may_not_be_written(tmp_path):
    with opened(tmp_path, "r") as a, pytest.raises(BufferError, match="readonly"):
        a.__dlpack__()
    with opened(tmp_path, "r+", DATA.astype(">f4")) as a, pytest.raises(BufferError):
        a.__dlpack__()
    with opened(tmp_path, "r+", np.zeros(3, "M8[s]")) as a, pytest.raises(BufferError):
        a.__dlpack__()
    with opened(tmp_path) as a:
        assert a.__dlpack_device__() == np.asarray(a).__dlpack_device__()


def test_dlpack_keeps_the_mapping_alive(tmp_path):
    a = opened(tmp_path)
    capsule = a.__dlpack__()
    with pytest.raises(BufferError, match="alive"):
        a.close()
    del capsule
    a.close()


# --- torch ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever torch says when it is imported
        return need("torch")


def test_torch_from_numpy_shares_the_file(tmp_path, torch):
    a = opened(tmp_path)
    tensor = torch.from_numpy(np.asarray(a))
    assert tensor.data_ptr() == address(a)
    tensor[1, 1] = 99
    assert a[1, 1] == 99
    assert torch.equal(tensor * 2, torch.from_numpy(np.asarray(a) * 2))
    with pytest.raises(BufferError):
        a.close()
    del tensor
    a.close()
    assert np.load(a.path)[1, 1] == 99


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_torch_from_dlpack_shares_the_file(tmp_path, torch, mode):
    a = opened(tmp_path, mode)
    tensor = torch.from_dlpack(a)
    assert tensor.data_ptr() == address(a)
    assert tuple(tensor.shape) == a.shape
    tensor[0, 0] = -1
    assert a[0, 0] == -1
    del tensor
    a.close()
    assert np.load(a.path)[0, 0] == (-1 if mode == "r+" else 0)


def test_torch_of_fortran_order_and_of_slices(tmp_path, torch):
    with mk.create_array(tmp_path / "f.npy", (4, 6), "f8", order="F") as a:
        a[...] = DATA
        tensor, part = torch.from_dlpack(a), torch.from_numpy(a[1:3, ::2])
        assert tensor.stride() == (1, 4)
        assert (tensor.data_ptr(), part.data_ptr()) == (address(a), address(a[1:, :]))
        assert tensor.tolist() == DATA.tolist()
        assert part.tolist() == DATA[1:3, ::2].tolist()
        del tensor, part


def test_torch_over_a_read_only_file(tmp_path, torch):
    # torch has no read-only tensors: it warns, or refuses, since a store would end the process.
    with opened(tmp_path, "r") as a:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            tensor = torch.from_numpy(np.asarray(a))
        assert tensor.data_ptr() == address(a)
        assert float(tensor.sum()) == DATA.sum()
        # The warning comes once in a process.
        assert all("not writable" in str(warning.message) for warning in said)
        del tensor
        copied = torch.tensor(np.asarray(a))
        copied[0, 0] = 5
        assert a[0, 0] == 0


# --- pyarrow --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_pyarrow_buffer_is_the_file(tmp_path, mode):
    pa = need("pyarrow")
    a = opened(tmp_path, mode)
    buffer = pa.py_buffer(a)
    assert (buffer.address, buffer.size) == (address(a), a.nbytes)
    assert buffer.is_mutable is (mode == "r+")
    column = pa.Array.from_buffers(pa.float32(), 24, [None, buffer])
    assert column.to_pylist() == DATA.ravel().tolist()
    with pytest.raises(BufferError):
        a.close()
    del column, buffer
    a.close()


def test_pyarrow_array_is_the_file(tmp_path):
    pa = need("pyarrow")
    a = opened(tmp_path, "r")
    column = pa.array(np.asarray(a).reshape(-1))
    assert column.buffers()[1].address == address(a)
    assert column.sum().as_py() == DATA.sum()
    tensor = pa.Tensor.from_numpy(np.asarray(a))
    assert address(tensor.to_numpy()) == address(a)
    del column, tensor
    a.close()


def test_pyarrow_reads_and_writes_a_mapping(tmp_path):
    pa = need("pyarrow")
    table = pa.table({"x": [1, 2, 3]})
    with mk.open(tmp_path / "t.arrow", "w+", size=4096) as m:
        with pa.FixedSizeBufferWriter(pa.py_buffer(m)) as sink:
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            size = sink.tell()
        found = pa.ipc.open_file(pa.py_buffer(m).slice(0, size))
        assert found.read_all().equals(table)
        del found, sink, writer


# --- numba ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_numba_computes_on_the_file(tmp_path, parallel):
    numba = need("numba")

    @numba.njit(parallel=parallel)
    def double_rows(x):
        total = 0.0
        for i in numba.prange(x.shape[0]):
            for j in range(x.shape[1]):
                x[i, j] *= 2
                total += x[i, j]
        return total

    with opened(tmp_path) as a:
        assert double_rows(np.asarray(a)) == DATA.sum() * 2
        assert np.array_equal(a, DATA * 2)
        a.flush()
    assert np.array_equal(np.load(tmp_path / "a.npy"), DATA * 2)


def test_numba_knows_that_a_read_only_file_is_read_only(tmp_path):
    numba = need("numba")

    @numba.njit
    def total(x):
        found = 0.0
        for value in x.flat:
            found += value
        return found

    with opened(tmp_path, "r") as a:
        assert total(np.asarray(a)) == DATA.sum()
        assert not numba.typeof(np.asarray(a)).mutable  # it refuses to compile stores


# --- files of other formats -----------------------------------------------------------------------


def test_h5py_writes_and_reads_it(tmp_path):
    h5py = need("h5py")
    with opened(tmp_path) as a, h5py.File(tmp_path / "x.h5", "w") as file:
        file["whole"] = a
        made = file.create_dataset("chunked", data=a, chunks=(2, 3))
        assert (made.shape, made.dtype) == (a.shape, a.dtype)
        made[1:3] = a[1:3] * 2
        file["whole"].write_direct(np.asarray(a))
        assert np.array_equal(file["whole"], DATA)
        a[...] = made
        a[0] = file["whole"][3]
        made.read_direct(np.asarray(a), np.s_[1:3], np.s_[2:4])
        expected = DATA.copy()
        expected[1:3] *= 2
        expected[2:4], expected[0] = expected[1:3].copy(), DATA[3]
        assert np.array_equal(a, expected)


def test_zarr_writes_and_reads_it(tmp_path):
    zarr = need("zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr's own dependencies
        with opened(tmp_path) as a:
            z = zarr.create_array(tmp_path / "z", shape=a.shape, dtype=a.dtype, chunks=(2, 6))
            z[...] = a
            assert np.array_equal(z[...], DATA)
            for number, options in enumerate(
                [{"chunks": (4, 6)}, {"shards": (4, 6)}, {"zarr_format": 2}, {"dtype": ">f8"}]
            ):
                options = {"shape": a.shape, "chunks": (2, 3), "dtype": a.dtype} | options
                other = zarr.create_array(tmp_path / f"z{number}", **options)
                other[...] = a
                assert np.array_equal(other[...], DATA)
            z[1:3] = a[1:3] * 2
            a[...] = z
            assert np.array_equal(a[1:3], DATA[1:3] * 2)
            made = zarr.array(a)
            assert np.array_equal(made[...], a)


def test_no_library_is_imported_unasked(run_python):
    script = """
import sys, numpy as np, mmapkit as mk
with mk.create_array("a.npy", 3) as a:
    a += 1
    np.asarray(a), memoryview(a).release()
heavy = {"torch", "dask", "pyarrow", "numba", "h5py", "zarr", "joblib"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(script).stdout == "[]\n"
