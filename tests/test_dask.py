"""to_dask(): chunks along the file, tasks by reference, faults in the task that meets them."""

import contextlib
import os
import pickle
import sys
import warnings
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .optional import need

np = pytest.importorskip("numpy")
dask = need("dask")
da = need("dask.array")


@pytest.fixture
def a(tmp_path):
    """240 KB in 1000 rows."""
    np.save(tmp_path / "a.npy", np.arange(30_000.0).reshape(1000, 30))
    array = mk.open_array(tmp_path / "a.npy")
    yield array
    with contextlib.suppress(mk.MappingFault):  # of the tests that cut the file
        array.mapping.close(defer=True)


@pytest.fixture(autouse=True)
def threads():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def addresses(array):
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


# --- chunks -------------------------------------------------------------------------------------


def test_chunks_are_whole_rows_of_about_the_configured_size(a):
    assert a.to_dask().chunks == ((1000,), (30,))
    with dask.config.set({"array.chunk-size": "72 kB"}):
        assert a.to_dask().chunks == ((300, 300, 300, 100), (30,))
    assert a.to_dask("24kB").chunks == ((100,) * 10, (30,))


def test_rows_larger_than_a_chunk_are_cut_in_turn(tmp_path):
    with mk.create_array(tmp_path / "a.npy", (3, 4, 100), "f8") as a:
        assert a.to_dask("1600 B").chunks == ((1, 1, 1), (2, 2), (100,))
        assert a.to_dask("240 B").chunks == ((1,) * 3, (1,) * 4, (30, 30, 30, 10))
        assert a.to_dask("1 B").npartitions == 1200


def test_fortran_order_is_cut_along_the_last_axis(tmp_path):
    with mk.create_array(tmp_path / "a.npy", (30, 1000), "f8", order="F") as a:
        a[...] = np.arange(30_000).reshape(30, 1000)
        d = a.to_dask("72 kB")
        assert d.chunks == ((30,), (300, 300, 300, 100))
        assert np.array_equal(d.compute(), a)


def test_strides_of_raw_files_say_where_to_cut(tmp_path):
    np.arange(1000, dtype="i4").tofile(tmp_path / "raw")
    with mk.open_array(
        tmp_path / "raw", dtype="i4", shape=(10, 100), strides=(-4, 40), offset=36
    ) as a:
        d = a.to_dask("400 B")
        assert d.chunks == ((10,), (10,) * 10)
        assert np.array_equal(d.compute(), a)


@pytest.mark.parametrize(
    "chunks", [100, (100, 7), (-1, 10), {0: 300}, ((400, 600), 30), ("auto", 10), (250, None)]
)
def test_explicit_chunks_are_those_of_dask(a, chunks):
    d = a.to_dask(chunks)
    assert d.chunks == da.core.normalize_chunks(chunks, a.shape, dtype=a.dtype)
    assert np.array_equal(d.compute(), a)


@pytest.mark.parametrize("chunks", ["much", (1, 2, 3), ((1, 2), 30)])
def test_impossible_chunks_are_refused(a, chunks):
    with pytest.raises(ValueError, match=r".+"):
        a.to_dask(chunks)


@given(
    st.lists(st.integers(1, 9), max_size=4).map(tuple),
    st.sampled_from("CF"),
    st.integers(1, 5000),
    st.sampled_from(["u1", "f8"]),
)
def test_automatic_chunks_lie_in_one_piece_within_the_limit(shape, order, limit, dtype):
    from mmapkit.dask import chunks_along_the_file

    whole = np.empty(shape, dtype, order)
    chunk = chunks_along_the_file(shape, whole.strides, whole.itemsize, limit)
    part = whole[tuple(slice(0, n) for n in chunk)]
    assert part.nbytes <= max(limit, whole.itemsize)
    assert part.flags["C_CONTIGUOUS" if order == "C" else "F_CONTIGUOUS"]
    for axis, length in enumerate(chunk):  # no axis could be longer
        more = whole[tuple(slice(0, n + (i == axis)) for i, n in enumerate(chunk))]
        in_one = more.flags["C_CONTIGUOUS" if order == "C" else "F_CONTIGUOUS"]
        assert more.shape == part.shape or not in_one or more.nbytes > limit, (axis, length)


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_results_are_those_of_numpy(a, scheduler):
    d, n = a.to_dask("30 kB"), np.asarray(a)
    with dask.config.set(scheduler=scheduler):
        assert float(d.sum()) == n.sum()
        assert np.allclose(
            (d * 2 - d.mean(axis=0)).std(axis=1).compute(), (n * 2 - n.mean(0)).std(1)
        )
        assert np.array_equal(d[::-7, [3, 1]].compute(), n[::-7, [3, 1]])
        assert np.array_equal(d[d[:, 0] > 20_000].compute(), n[n[:, 0] > 20_000])
        assert np.allclose((d.T @ d).compute(), n.T @ n)


@pytest.mark.parametrize(
    "dtype",
    ["?", ">i2", "<c16", "S3", "<U2", "<M8[us]", [("x", "<i4"), ("y", ">f8", (2,))]],
    ids=str,
)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (7,), (2, 3)], ids=str)
def test_every_dtype_and_shape(tmp_path, dtype, shape):
    with mk.create_array(tmp_path / "a.npy", shape, dtype) as a:
        a.mapping.write(a.offset, bytes(i % 2 for i in range(a.nbytes)))
        d = a.to_dask("16 B")
        assert (d.shape, d.dtype) == (a.shape, a.dtype)
        found = d.compute()
        assert found.dtype == a.dtype
        assert found.tobytes() == np.asarray(a).tobytes()


def test_file_that_is_read_instead_of_mapped(a):
    with mk.MappedArray(mk.open(a.path, backend="read"), a._layout) as read:
        d = read.to_dask("30 kB")
        assert float(d.sum()) == np.sum(a)
        again = pickle.loads(pickle.dumps(d))
        assert again.name == d.name
        assert float(again[3].sum()) == np.sum(a[3])


def test_members_of_an_archive(tmp_path):
    np.savez(tmp_path / "m.npz", x=np.arange(500), y=np.ones((300, 4)))
    with mk.open_arrays(tmp_path / "m.npz") as members:
        x, y = members["x"].to_dask("800 B"), members["y"].to_dask()
        assert (x.npartitions, x.name == y.name) == (5, False)
        assert int(x.sum()) + float(y.sum()) == 124_750 + 1200
        again = pickle.loads(pickle.dumps(y))
    assert float(again.sum()) == 1200


@pytest.mark.skipif(sys.platform == "win32", reason="mapped files keep their names there")
def test_array_that_was_unpickled_opens_its_file_late(a, tmp_path):
    from mmapkit.dask import Source

    data = pickle.dumps(Source(a))
    os.rename(a.path, tmp_path / "b.npy")
    source = pickle.loads(data)  # as a scheduler does, which does not see the file
    assert (source.shape, source.dtype, source.ndim) == (a.shape, a.dtype, 2)
    assert pickle.dumps(source) == data
    with pytest.raises(FileNotFoundError, match=r"a\.npy"):
        source[3,]
    os.rename(tmp_path / "b.npy", a.path)
    assert source[3, 5:7].tolist() == [95, 96]


def test_meta_is_an_empty_ndarray(a):
    meta = a.to_dask()._meta
    assert (type(meta), meta.shape, meta.dtype) == (np.ndarray, (0, 0), a.dtype)


def test_from_array_and_store_take_it(a, tmp_path):
    d = da.from_array(a, chunks=(250, 30))
    assert float(d.sum()) == np.sum(a)
    with mk.create_array(tmp_path / "out.npy", a.shape) as out:
        da.store(a.to_dask("30 kB") + 1, out, lock=False)
        assert np.array_equal(out, a + 1)


# --- tasks --------------------------------------------------------------------------------------


def test_chunks_are_readonly_views_of_the_file(tmp_path):
    with mk.create_array(tmp_path / "a.npy", (100, 10)) as a:
        low, high = addresses(np.asarray(a))

        def look(block):
            start, stop = addresses(block)
            assert low <= start <= stop <= high, "a view of the file"
            assert not block.flags.writeable, "a task does not change the file by accident"
            return block

        for chunks in ("1600 B", (20, 3)):
            found = a.to_dask(chunks).map_blocks(look, meta=np.empty((0, 0))).compute()
            assert found.shape == (100, 10)


@pytest.fixture
def reads(monkeypatch):
    """How many bytes each task brings in."""
    from mmapkit.dask import Source

    asked = []
    get = Source.__getitem__

    def noted(self, key):
        part = get(self, key)
        asked.append(part.nbytes)
        return part

    monkeypatch.setattr(Source, "__getitem__", noted)
    return asked


def test_slices_reach_the_file_before_it_is_read(a, reads):
    assert float(a.to_dask()[500, 3].compute()) == 15_003
    assert sum(reads) == 8, "one number, and not the chunk"


def test_reading_and_computing_become_one_task_per_chunk(a):
    (optimized,) = dask.optimize((a.to_dask("24 kB") + 1) * 2)
    assert len(dict(optimized.dask)) == 10


def test_tasks_carry_a_reference(a):
    graph = dict(a.to_dask("24 kB").__dask_graph__())
    assert max(len(pickle.dumps(task)) for task in graph.values()) < 2500


@pytest.mark.skipif(sys.platform != "linux", reason="residency of a file is known there")
@pytest.mark.parametrize("chunks", ["64 MiB", (200, 1000)])
def test_a_chunk_is_in_memory_when_its_task_begins(tmp_path, chunks):
    with mk.create_array(tmp_path / "a.npy", (400, 20_000), "u1") as a:
        a[...] = 1
        a.flush()
        a.mapping.evict()

        def resident(block):
            start = a.mapping._holds(addresses(block)[0], 1)
            rows = [a.mapping.residency(start + i * 20_000, block.shape[1]) for i in (0, 57, 199)]
            assert all(row.fraction == 1 for row in rows)
            return block.sum(keepdims=True)

        d = a.to_dask(chunks).map_blocks(resident, chunks=(1, 1), meta=np.empty((0, 0), "u8"))
        assert int(d.sum()) == 8_000_000


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    st.integers(0, 40),
    st.data(),
)
def test_ranges_hold_every_element_and_little_more(shape, gap, data):
    from mmapkit.dask import _ranges

    whole = np.empty(tuple(n * 3 for n in shape), "u2", data.draw(st.sampled_from("CF")))
    steps = [data.draw(st.sampled_from([1, 2, 3, -1, -2])) for _ in shape]
    part = whole[tuple(slice(None, None, step) for step in steps)]
    base = part.__array_interface__["data"][0]
    own = set()
    for index in np.ndindex(part.shape):
        at = base + sum(i * s for i, s in zip(index, part.strides, strict=True))
        own |= {at, at + 1}
    low = min(own)
    touched = set()
    for start, length in _ranges(part, low, gap):
        run = set(range(start, start + length))
        assert {start, start + length - 1} <= own
        inside = sorted(run & own)
        assert all(b - a <= gap + 1 for a, b in pairwise(inside))
        touched |= run
    assert own <= touched


# --- tokens -------------------------------------------------------------------------------------

TOKEN = """
import sys, mmapkit as mk
from dask.base import tokenize
a = mk.open_array(sys.argv[1])
print(tokenize(a), a.to_dask("24 kB").name)
"""


def test_token_is_the_same_in_another_process(a, run_python):
    names = [dask.base.tokenize(a), a.to_dask("24 kB").name]
    assert run_python(TOKEN, a.path).stdout.split() == names
    with mk.open_array(a.path) as again:
        assert again.to_dask("24 kB").name == names[1]
    assert pickle.loads(pickle.dumps(a)).to_dask("24 kB").name == names[1]


def test_token_differs_after_the_file_changed(a):
    before = a.to_dask().name
    assert a.to_dask().name == before
    os.utime(a.path, ns=(1, 1))
    touched = a.to_dask().name
    with mk.open_array(a.path, "r+") as b:
        b[0] = 0
        b.flush()
    stored = a.to_dask().name
    np.save(a.path + ".new.npy", np.asarray(a))
    os.utime(a.path + ".new.npy", ns=(1, 1))
    if sys.platform != "win32":
        os.replace(a.path + ".new.npy", a.path)
    replaced = a.to_dask().name
    names = [before, touched, stored] + [replaced] * (sys.platform != "win32")
    assert len(set(names)) == len(names)


def test_token_differs_by_layout_and_chunks(tmp_path):
    np.arange(240, dtype="u1").tofile(tmp_path / "raw")
    names = set()
    layouts = [
        {},
        {"dtype": "i1"},
        {"shape": (10, 24)},
        {"shape": (10, 24), "order": "F"},
        {"shape": (10, 12), "strides": (24, 2)},
        {"shape": 200, "offset": 40},
        {"shape": 200},
    ]
    for layout in layouts:
        with mk.open_array(tmp_path / "raw", **layout) as a:
            names |= {a.to_dask().name, a.to_dask("100 B").name}
    assert len(names) == 2 * len(layouts)


def test_array_without_a_file_name_computes_in_this_process():
    from mmapkit.formats.layout import Layout

    with mk.MappedArray(mk.temporary(80), Layout(np.dtype("f8"), (10,), "C", 0)) as a:
        a[...] = 1.5
        assert a.to_dask().name != a.to_dask().name
        assert float(a.to_dask("16 B").sum()) == 15


# --- several files ------------------------------------------------------------------------------


@pytest.fixture
def s(tmp_path):
    """What is in `a`, in three files and an empty one."""
    whole = np.arange(30_000.0).reshape(1000, 30)
    for n, part in enumerate(np.split(whole, (90, 90, 400))):
        np.save(tmp_path / f"s{n}.npy", part)
    sharded = mk.open_sharded([tmp_path / f"s{n}.npy" for n in range(4)])
    yield sharded
    with contextlib.suppress(mk.MappingFault):
        sharded.close(defer=True)


def test_chunks_end_with_the_shards(s):
    assert s.to_dask().chunks == ((90, 310, 600), (30,))
    assert s.to_dask("24 kB").chunks == ((90, *[100] * 3, 10, *[100] * 6), (30,))
    assert s.to_dask("160 B").chunks == ((1,) * 1000, (20, 10))
    for asked in (None, (250, 30)):
        d = da.from_array(s) if asked is None else s.to_dask(asked)
        assert d.chunks == da.from_array(np.asarray(s), asked or "auto").chunks
        assert np.array_equal(d.compute(), s)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.data())
def test_any_shards_in_any_chunks(tmp_path_factory, lengths, data):
    folder = tmp_path_factory.mktemp("any")
    whole = np.arange(sum(lengths) * 3, dtype=">i4").reshape(-1, 3)
    paths = [folder / f"{n}.npy" for n in range(len(lengths))]
    for path, part in zip(paths, np.split(whole, np.cumsum(lengths)[:-1]), strict=True):
        np.save(path, part)
    asked = data.draw(
        st.one_of(
            st.sampled_from(["auto", "12 B", "30 B", "4 B"]),
            st.tuples(st.integers(1, 20), st.integers(1, 3)),
            st.just(-1),
            st.just({0: 4, 1: -1}),
        )
    )
    with mk.open_sharded(paths) as s, dask.config.set(scheduler="synchronous"):
        d = s.to_dask(asked)
        if isinstance(asked, str):
            seams = np.cumsum((0, *d.chunks[0]))
            assert set(s.starts.tolist()) <= set(seams.tolist())
        else:
            assert d.chunks == da.core.normalize_chunks(asked, s.shape, dtype=s.dtype)
        assert (d.shape, d.dtype) == (s.shape, s.dtype)
        found = d.compute()
        assert found.dtype == s.dtype
        assert np.array_equal(found, whole)


@pytest.mark.parametrize("chunks", ["auto", "24 kB", (250, 30), 170])
def test_sharded_results_are_those_of_numpy(s, chunks):
    d, n = s.to_dask(chunks), np.asarray(s)
    assert float(d.sum()) == n.sum()
    assert np.array_equal(d[::-7, [3, 1]].compute(), n[::-7, [3, 1]])
    assert np.allclose((d.T @ d).compute(), n.T @ n)
    again = pickle.loads(pickle.dumps(d))
    assert again.name == d.name
    assert np.array_equal((again + 1).compute(), n + 1)


def test_impossible_chunks_of_shards_are_refused(s):
    for chunks in ("much", (1, 2, 3), ((1, 2), 30)):
        with pytest.raises(ValueError, match=r".+"):
            s.to_dask(chunks)


def test_structures_keep_their_padding(tmp_path):
    dtype = np.dtype([("x", "u1"), ("y", ">i4")], align=True)
    whole = np.zeros(6, dtype)
    whole["y"] = range(6)
    np.save(tmp_path / "0.npy", whole[:4])
    np.save(tmp_path / "1.npy", whole[4:])
    with mk.open_sharded([tmp_path / "0.npy", tmp_path / "1.npy"]) as s:
        for chunks in ("auto", 3):
            d = s.to_dask(chunks)
            assert d.dtype == dtype
            assert np.array_equal(d.compute(), whole)
            assert d["y"].sum().compute() == 15


def test_chunks_of_shards_are_readonly_views_of_their_file(s):
    ranges = [addresses(np.asarray(shard)) for shard in s.shards]

    def look(block):
        start, stop = addresses(block)
        assert any(low <= start <= stop <= high for low, high in ranges)
        assert not block.flags.writeable
        return block

    for chunks in ("auto", "24 kB"):
        found = s.to_dask(chunks).map_blocks(look, meta=np.empty((0, 0))).compute()
        assert np.array_equal(found, s)


def test_slices_of_shards_reach_the_file_before_it_is_read(s, reads):
    assert float(s.to_dask()[500, 3].compute()) == 15_003
    assert sum(reads) == 8
    reads.clear()
    assert s.to_dask()[85:95].compute().shape == (10, 30)
    assert sum(reads) == 10 * 240


def test_tasks_carry_a_reference_to_their_shard(tmp_path):
    for n in range(100):
        np.save(tmp_path / f"{n}.npy", np.zeros((10, 10)))
    with mk.open_sharded([tmp_path / f"{n}.npy" for n in range(100)]) as s:
        d = s.to_dask()
        assert d.npartitions == 100
        (graph,) = dask.optimize(d + 1)
        tasks = dict(graph.__dask_graph__())
        assert len(tasks) == 100
        assert max(len(pickle.dumps(task)) for task in tasks.values()) < 3500


def test_names_of_shards(s, tmp_path, run_python):
    names = [dask.base.tokenize(s), s.to_dask("24 kB").name, s.to_dask(170).name]
    code = TOKEN.replace("open_array(sys.argv[1])", "open_sharded(sys.argv[1:])")
    code += "print(a.to_dask(170).name)"
    assert run_python(code, *s.paths).stdout.split() == names
    assert pickle.loads(pickle.dumps(s)).to_dask(170).name == names[2]
    assert len({*names, s.to_dask().name}) == 4
    with mk.open_sharded(s.paths[:3]) as fewer:
        assert dask.base.tokenize(fewer) != names[0]
    with mk.open_sharded(s.paths[::-1]) as turned:
        assert turned.to_dask("24 kB").name != names[1]
    os.utime(s.paths[2], ns=(1, 1))
    assert dask.base.tokenize(s) != names[0]
    assert s.to_dask("24 kB").name != names[1]


# --- what goes wrong ----------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="mapped files cannot be cut there")


@posix
@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize("chunks", ["24 kB", (300, 7)])
def test_truncated_file_raises_fault_in_the_task(a, scheduler, chunks):
    d = a.to_dask(chunks)
    os.truncate(a.path, 100_000)
    with dask.config.set(scheduler=scheduler), pytest.raises(mk.MappingFault) as caught:
        d.sum().compute()
    assert caught.value.filename == a.path
    assert caught.value.cause == "truncated"
    with pytest.raises(mk.MappingFault):  # poison stays poison
        d[999].compute()


@posix
@pytest.mark.parametrize("chunks", ["24 kB", (450, 30)])
def test_truncated_shard_raises_fault_in_the_task(s, chunks):
    d = s.to_dask(chunks)
    os.truncate(s.paths[2], 10_000)
    with pytest.raises(mk.MappingFault) as caught:
        d.sum().compute()
    assert caught.value.filename == s.paths[2]
    if chunks == "24 kB":
        assert float(d[0, 5].compute()) == 5


@posix
def test_truncation_inside_a_page_raises_too(a):
    d = a.to_dask()
    os.truncate(a.path, 128 + 240_000 - 8)
    with pytest.raises(mk.MappingFault):
        d[999, 29].compute()


def test_without_dask_the_error_says_what_to_install(a, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"pip install 'mmapkit\[dask\]'"):
        a.to_dask()


def test_closed_array_raises(tmp_path):
    a = mk.create_array(tmp_path / "a.npy", 3)
    d = a.to_dask()
    a.close()
    with pytest.raises(ValueError, match="closed"):
        a.to_dask()
    with pytest.raises(ValueError, match="closed"):
        d.compute()


def test_closed_shards_raise(s):
    d = s.to_dask()
    s.close()
    for chunks in ("auto", 10):
        with pytest.raises(ValueError, match="closed"):
            s.to_dask(chunks)
    with pytest.raises(ValueError, match="closed"):
        d.compute()


# --- several processes --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two workers, each a process with one thread."""
    need("distributed")
    with warnings.catch_warnings():
        # Not ours: distributed leaves sockets and event loops for the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        from distributed import Client, LocalCluster

        with (
            dask.config.set({"distributed.worker.daemon": False}),
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                local_directory=str(tmp_path_factory.mktemp("dask")),
            ) as cluster,
            Client(cluster) as found,
        ):
            yield found


# What distributed's own threads leave behind; it reaches tests through the garbage collector.
leaks = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@leaks
class TestCluster:
    @pytest.fixture(autouse=True)
    def scheduler(self, client, threads):
        with dask.config.set(scheduler=client):
            yield

    def test_results_are_those_of_numpy(self, a):
        d, n = a.to_dask("24 kB"), np.asarray(a)
        assert float(d.sum().compute()) == n.sum()
        assert np.allclose((d.T @ d).compute(), n.T @ n)

    def test_shards_too(self, s, tmp_path):
        for chunks in ("24 kB", (450, 30)):
            assert float(s.to_dask(chunks).sum().compute()) == np.sum(s)
        for n in range(2):
            np.save(tmp_path / f"out{n}.npy", np.zeros((500, 30)))
        with mk.open_sharded([tmp_path / f"out{n}.npy" for n in range(2)], "r+") as out:
            da.store(s.to_dask("24 kB") * 2, out, lock=False)
            assert np.array_equal(out, np.asarray(s) * 2)

    def test_workers_map_the_file_themselves(self, a):
        def look(block, path=a.path):
            mapped = True
            if sys.platform == "linux":
                with open("/proc/self/maps") as file:
                    mapped = path in file.read()
            owner = block
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            return np.array([[os.getpid() if mapped and owner.base is not None else -1]])

        found = a.to_dask("6 kB").map_blocks(look, chunks=(1, 1), dtype="i8").compute()
        assert os.getpid() not in found
        assert -1 not in found

    def test_large_array_is_not_sent(self, tmp_path, client):
        with mk.create_array(tmp_path / "a.npy", 1 << 27, sparse=True) as a:  # 1 GiB
            a[-1] = 7
            d = a.to_dask("64 MiB")
            assert len(pickle.dumps(d)) < 10_000
            assert float(d[-1000:].sum().compute()) == 7

    def test_workers_store_into_one_file(self, a, tmp_path):
        with mk.create_array(tmp_path / "out.npy", a.shape) as out:
            da.store(a.to_dask("24 kB") * 2, out, lock=False)
            assert np.array_equal(out, a * 2)

    @posix
    def test_fault_of_a_worker_comes_back(self, a, client):
        def work(array):
            d = array.to_dask("24 kB")
            os.truncate(array.path, 100_000)
            with dask.config.set(scheduler="threads"):
                return float(d.sum())

        with pytest.raises(mk.MappingFault) as caught:
            client.submit(work, a, pure=False).result()
        fault = caught.value
        assert (fault.filename, fault.cause) == (a.path, "truncated")
        assert fault.offset >= 100_000
        with mk.open(a.path) as m:
            assert len(m) == 100_000

    @posix
    def test_file_cut_before_a_worker_opens_it_raises(self, a):
        d = a.to_dask("24 kB").sum()
        os.truncate(a.path, 100_000)
        with pytest.raises(ValueError, match=r"a\.npy.*shorter.*100000 bytes"):
            d.compute()
