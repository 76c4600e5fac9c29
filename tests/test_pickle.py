"""Pickling by reference: the other side opens the same file."""

import copy
import pickle

import pytest

import mmapkit as mk

LOAD = """
import pickle, sys
m = pickle.load(open(sys.argv[1], "rb"))
"""


def pickled_to(tmp_path, value):
    (tmp_path / "pickle").write_bytes(pickle.dumps(value))
    return tmp_path / "pickle"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_mapping_comes_back_with_its_range_and_mode(file, pattern, mode, protocol):
    with mk.open(file, mode, offset=5, length=100) as m:
        data = pickle.dumps(m, protocol)
        assert len(data) < 500
        with pickle.loads(data) as again:
            assert (again.path, again.mode, again.offset) == (m.path, mode, 5)
            assert bytes(again) == pattern[5:105]
            assert again is not m


def test_pickle_of_a_large_mapping_is_small(tmp_path):
    with mk.open(tmp_path / "f", "x+", size=64 << 20, sparse=True) as m:
        assert len(pickle.dumps(m)) < 500


def test_mapping_to_the_end_follows_the_file(file, pattern):
    with mk.open(file, offset=10) as m:
        data = pickle.dumps(m)
    with open(file, "ab") as f:
        f.write(b"more")
    with pickle.loads(data) as again:
        assert bytes(again) == pattern[10:] + b"more"


@pytest.mark.parametrize("mode", ["w+", "x+"])
def test_creating_modes_come_back_without_emptying_the_file(tmp_path, mode):
    with mk.open(tmp_path / "f", mode, size=10) as m:
        m[:] = b"0123456789"
        m.flush()
        with pickle.loads(pickle.dumps(m)) as again:
            assert (bytes(again), again.mode) == (b"0123456789", "r+")


@pytest.mark.reserve
def test_reserve_comes_back(file):
    with (
        mk.open(file, "r+", reserve=1 << 20) as m,
        pickle.loads(pickle.dumps(m)) as again,
        memoryview(again),
    ):
        again.resize(20_000)


def test_backend_comes_back(file):
    with mk.open(file, backend="read") as m, pickle.loads(pickle.dumps(m)) as again:
        assert again.backend == "read"


def test_relative_path_is_made_absolute(file, tmp_path, monkeypatch, run_python):
    monkeypatch.chdir(file.parent)
    with mk.open(file.name) as m:
        data = pickled_to(tmp_path, m)
    found = run_python("import os; os.chdir('/')" + LOAD + "print(m[1], len(m))", data)
    assert found.stdout.split() == ["7", "10000"]


def test_stores_are_shared_with_the_process_that_unpickled(file, tmp_path, run_python):
    with mk.open(file, "r+") as m:
        run_python(LOAD + "m[3] = 255; m.close()", pickled_to(tmp_path, m))
        assert m[3] == 255


def test_file_that_is_gone_or_shorter_raises_when_unpickled(file):
    with mk.open(file, offset=5_000, length=5_000) as m:
        data = pickle.dumps(m)
    with open(file, "r+b") as f:
        f.truncate(6_000)
    with pytest.raises(ValueError, match="6000 bytes"):
        pickle.loads(data)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)


@pytest.mark.parametrize("make", [mk.anonymous, mk.temporary])
def test_what_has_no_name_cannot_be_pickled(make):
    with make(100) as m:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="without a path"):
                attempt(m)


def test_descriptor_without_a_name_cannot_be_pickled(file):
    with open(file, "rb") as f, mk.open(f.fileno()) as m, pytest.raises(TypeError, match="path"):
        pickle.dumps(m)


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_array_comes_back_with_its_layout(tmp_path, order):
    np = pytest.importorskip("numpy")
    with mk.create_array(tmp_path / "a.npy", (30, 40), ">i4", order=order) as a:
        a[...] = np.arange(1200).reshape(30, 40)
        a.flush()
        data = pickle.dumps(a)
        assert len(data) < 1000
        with pickle.loads(data) as again:
            assert (again.shape, again.dtype, again.order) == ((30, 40), np.dtype(">i4"), order)
            assert np.array_equal(again, a)
            again[0, 0] = 77
            assert a[0, 0] == 77


def test_raw_array_with_structure_and_offset_comes_back(file):
    np = pytest.importorskip("numpy")
    dtype = np.dtype([("a", "<u2"), ("b", "<f4", (2,))])
    with (
        mk.open_array(file, dtype=dtype, shape=(5, 7), offset=3) as a,
        pickle.loads(pickle.dumps(a)) as again,
    ):
        assert again.dtype == dtype
        assert np.asarray(again).tobytes() == np.asarray(a).tobytes()


def test_closed_array_cannot_be_pickled(file):
    pytest.importorskip("numpy")
    a = mk.open_array(file)
    a.close()
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(a)


def test_workers_of_multiprocessing_share_the_file(tmp_path, run_python):
    # A script of its own: spawn imports the main module, and this one is not importable.
    (tmp_path / "work.py").write_text(
        """
import multiprocessing
import mmapkit as mk

def mark(value, at):
    with value as shared:
        shared[at] = 1
        return type(value).__name__, len(shared)

if __name__ == "__main__":
    with mk.open("bytes", "x+", size=10) as m, mk.create_array("a.npy", 10, "f4") as a:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            print(pool.starmap(mark, [(m, 1), (m, 2), (a, 1), (a, 2)]))
        print(bytes(m), a[...].tolist())
"""
    )
    found = run_python("import runpy; runpy.run_path('work.py', run_name='__main__')").stdout
    marked = "[('Mapping', 10), ('Mapping', 10), ('MappedArray', 10), ('MappedArray', 10)]"
    assert marked in found
    assert repr(b"\0\1\1" + bytes(7)) in found
    assert repr([0.0, 1.0, 1.0, *[0.0] * 7]) in found
