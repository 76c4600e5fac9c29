"""Pickling by reference: the other side opens the same file."""

import copy
import pickle
import sys

import pytest

import mmapkit as mk

from .optional import need

LOAD = """
import pickle, sys
m = pickle.load(open(sys.argv[1], "rb"))
"""


def pickled_to(tmp_path, value):
    (tmp_path / "pickle").write_bytes(pickle.dumps(value))
    return tmp_path / "pickle"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("mode", "elsewhere"), [("r", "r"), ("r+", "r+"), ("c", "r")])
def test_mapping_comes_back_with_its_range_and_mode(file, pattern, mode, elsewhere, protocol):
    with mk.open(file, mode, offset=5, length=100) as m:
        data = pickle.dumps(m, protocol)
        assert len(data) < 500
        with pickle.loads(data) as again:
            assert (again.path, again.mode, again.offset) == (m.path, elsewhere, 5)
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


# --- arrays elsewhere ---------------------------------------------------------------------------

GIB = 1 << 30


@pytest.fixture
def np():
    return pytest.importorskip("numpy")


@pytest.fixture
def rows(np, tmp_path):
    """A .npy file of 100 rows that differ."""
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(1200, dtype="<i4").reshape(100, 12))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("mode", "elsewhere"), [("r", "r"), ("r+", "r+"), ("c", "r")])
def test_array_comes_back_with_its_mode(rows, mode, elsewhere, protocol):
    with mk.open_array(rows, mode) as a, pickle.loads(pickle.dumps(a, protocol)) as again:
        assert (again.path, again.mode, again.shape) == (a.path, elsewhere, (100, 12))
        assert again[7, 7] == 91


def test_changes_of_copy_mode_stay_behind(rows):
    with mk.open_array(rows, "c") as a:
        a[0, 0] = 99
        with pickle.loads(pickle.dumps(a)) as again:
            assert again[0, 0] == 0
            with pytest.raises(TypeError, match="'r'"):
                again[0, 0] = 1


@pytest.mark.skipif(sys.platform == "win32", reason="a sparse file needs to be asked for there")
def test_size_of_the_pickle_does_not_grow_with_the_array(np, tmp_path):
    sizes = []
    for name, count in (("s.npy", 1000), ("l.npy", 10 * GIB // 8)):
        with mk.create_array(tmp_path / name, count, sparse=True) as a:
            a[count - 1] = 3
            data = pickle.dumps(a)
            sizes.append(len(data))
            with pickle.loads(data) as again:
                assert again[count - 1] == 3
    small, large = sizes
    assert large < 1024
    assert large - small < 16  # the digits of the shape


def test_backend_of_an_array_comes_back(rows):
    layout = mk.open_array(rows)._layout
    with (
        mk.MappedArray(mk.open(rows, backend="read"), layout) as a,
        pickle.loads(pickle.dumps(a)) as again,
    ):
        assert again.mapping.backend == "read"
        assert again[3, 3] == 39


@pytest.mark.reserve
def test_reserve_of_an_array_comes_back(rows):
    with mk.open_array(rows, "r+", reserve=1 << 20) as a:
        data = pickle.dumps(a)
        with pickle.loads(data) as again:
            view = again[1]
            again.mapping.resize(20_000)
            assert view[1] == 13
            del view


@pytest.mark.reserve
def test_reserve_that_the_file_has_outgrown_is_no_hindrance(np, rows):
    with mk.open_array(rows, reserve=1 << 16) as a:
        data = pickle.dumps(a)
    with open(rows, "ab") as f:
        f.write(bytes(1 << 18))
    with pickle.loads(data) as again:
        assert again[99, 11] == 1199


def test_arrays_that_share_a_mapping_get_one_each(np, rows):
    m = mk.open(rows, "r+")
    layout = mk.open_array(rows)._layout
    parts = [mk.MappedArray(m, layout._replace(shape=(n, 12)), shared=True) for n in (3, 5)]
    first, second = pickle.loads(pickle.dumps(parts))
    assert first.mapping is not second.mapping
    first.close()
    assert second[4, 0] == 48
    second.close()
    assert (first.mapping.closed, second.mapping.closed) == (True, True)


def test_members_of_an_archive_get_a_mapping_each(np, tmp_path):
    np.savez(tmp_path / "m.npz", x=np.arange(5), y=np.ones((3, 4)))
    with mk.open_arrays(tmp_path / "m.npz") as members:
        x, y = pickle.loads(pickle.dumps([members["x"], members["y"]]))
        assert x.mapping is not y.mapping
        x.close()
        assert x.mapping.closed
        assert members["x"][4] == 4
    with y:
        assert (y.shape, float(np.sum(y))) == ((3, 4), 12.0)


def test_strides_and_an_offset_of_the_mapping_come_back(np, file, pattern):
    from mmapkit.formats.layout import Layout

    m = mk.open(file, offset=100, length=400)
    layout = Layout(np.dtype("u1"), (10, 4), "C", 390, (-30, 2))
    with mk.MappedArray(m, layout) as a, pickle.loads(pickle.dumps(a)) as again:
        assert again.strides == (-30, 2)
        assert again.mapping.offset == 100
        assert np.array_equal(again, a)
        assert again[1, 1] == pattern[100 + 390 - 30 + 2]


def test_many_fields_come_back(np, tmp_path):
    dtype = np.dtype([(f"größe {i}", ">f4", (2,)) for i in range(300)])
    with (
        mk.create_array(tmp_path / "a.npy", 3, dtype) as a,
        pickle.loads(pickle.dumps(a)) as again,
    ):
        assert again.dtype == dtype


def test_array_whose_file_is_gone_raises_with_its_name(rows):
    with mk.open_array(rows) as a:
        data = pickle.dumps(a)
    rows.unlink()
    with pytest.raises(FileNotFoundError, match=r"rows\.npy"):
        pickle.loads(data)


@pytest.mark.parametrize("size", [0, 1, 128, 128 + 4799])
def test_array_whose_file_is_shorter_raises_and_maps_nothing(rows, size):
    with mk.open_array(rows) as a:
        data = pickle.dumps(a)
    with open(rows, "r+b") as f:
        f.truncate(size)
    with pytest.raises(ValueError, match=rf"rows\.npy.*{size} bytes.*\[128, 4928\)"):
        pickle.loads(data)
    if sys.platform == "linux":
        with open("/proc/self/maps") as maps:
            assert str(rows) not in maps.read()


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -4},
        {"offset": 129},
        {"shape": (101, 12)},
        {"shape": (1 << 62, 1 << 62)},
        {"strides": (-48, 4)},
        {"strides": (49, 4)},
    ],
    ids=str,
)
def test_layout_that_does_not_fit_is_never_mapped(rows, change):
    with mk.open_array(rows) as a:
        reopen, (where, layout) = a.__reduce__()
        with pytest.raises(ValueError, match=r"rows\.npy.*shorter"):
            reopen(where, layout._replace(**change))


def test_layout_that_was_pickled_counts_and_not_a_new_header(np, rows):
    with mk.open_array(rows) as a:
        data = pickle.dumps(a)
    np.save(rows, np.zeros(5000, "u1"))  # larger: what was pickled fits
    with pickle.loads(data) as again:
        assert (again.shape, again.dtype) == ((100, 12), np.dtype("<i4"))
        assert not again[...].any()
    np.save(rows, np.zeros(50, "u1"))
    with pytest.raises(ValueError, match="shorter"):
        pickle.loads(data)


def test_array_that_grew_comes_back_with_the_pickled_rows(np, rows):
    with mk.open_array(rows) as a:
        data = pickle.dumps(a)
    np.save(rows, np.arange(2400, dtype="<i4").reshape(200, 12))
    with pickle.loads(data) as again:
        assert again.shape == (100, 12)
        assert again[99, 11] == 1199


@pytest.mark.parametrize("make", [mk.anonymous, mk.temporary])
def test_array_without_a_file_name_cannot_be_pickled(np, make):
    from mmapkit.formats.layout import Layout

    a = mk.MappedArray(make(100), Layout(np.dtype("u1"), (100,), "C", 0))
    with a, pytest.raises(TypeError, match="without a path"):
        pickle.dumps(a)


def test_cloudpickle_sends_the_reference_inside_a_closure(np, rows):
    cloudpickle = need("cloudpickle")
    with mk.open_array(rows) as a:
        data = cloudpickle.dumps(lambda: int(a[7, 7]))
        assert len(data) < 2000
        assert pickle.loads(data)() == 91


WORKERS = """
import concurrent.futures, multiprocessing, os, pickle, sys
import numpy as np
import mmapkit as mk

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mk.page_size()

def visit(a, at):
    before = resident() if sys.platform == "linux" else 0
    assert type(a) is mk.MappedArray and a.mode == "r+"
    mapped = True
    if sys.platform == "linux":
        with open("/proc/self/maps") as file:
            mapped = a.path in file.read()
    a[at] = os.getpid()
    value = int(a[-1])
    grown = resident() - before if sys.platform == "linux" else 0
    a.close()
    return os.getpid(), mapped, value, grown

def spawned(a, indices):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.starmap(visit, [(a, i) for i in indices])

def futures(a, indices):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        return list(pool.map(visit, [a] * len(indices), indices))

def loky(a, indices):
    import joblib
    return joblib.Parallel(2)(joblib.delayed(visit)(a, i) for i in indices)

if __name__ == "__main__":
    how = {"spawn": spawned, "futures": futures, "joblib": loky}[sys.argv[1]]
    with mk.create_array("big.npy", 1 << 25, "i8", sparse=True) as a:    # 256 MiB
        a[-1] = 42
        found = how(a, range(4))
        for at, (pid, mapped, value, grown) in enumerate(found):
            assert pid != os.getpid() and mapped and value == 42, found
            assert grown < 16 << 20, grown
            assert int(a[at]) == pid, "the worker's store is seen here"
    print("well")
"""


@pytest.mark.parametrize("how", ["spawn", "futures", "joblib"])
def test_workers_map_the_file_and_their_stores_are_seen(np, tmp_path, run_python, how):
    if how == "joblib":
        need("joblib")
    # A script of its own: workers import the main module, and this one is not importable.
    (tmp_path / "work.py").write_text(WORKERS)
    start = f"import sys, runpy; sys.argv[1:] = [{how!r}]; runpy.run_path('work.py', run_name="
    assert run_python(start + "'__main__')").stdout == "well\n"
