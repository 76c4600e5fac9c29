"""One logical array over many files: what numpy gives of their concatenation."""

import asyncio
import contextlib
import operator
import os
import pickle
import sys
import threading
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.passes import cuts

from .effort import examples
from .test_interop import numpy2

np = pytest.importorskip("numpy")

PAGE = mk.allocation_granularity()


@pytest.fixture(params=["apart", "side by side"])
def files(request, tmp_path):
    """Paths of three .npy files, and the concatenation of what they hold."""
    aligned = request.param == "side by side"
    lengths = [PAGE // 8, 2 * PAGE // 8, 100] if aligned else [5, 1, 20]
    parts, start = [], 0
    for n, length in enumerate(lengths):
        path = tmp_path / f"{n}.npy"
        with mk.create_array(path, (length, 2), "<i4", aligned=aligned) as a:
            a[...] = np.arange(start, start + 2 * length).reshape(length, 2)
        start += 2 * length
        parts.append(path)
    return parts, np.concatenate([np.load(path) for path in parts]), aligned


@pytest.fixture
def s(files):
    with mk.open_sharded(files[0], "r+") as sharded:
        yield sharded


def same(found, expected):
    assert type(found) is type(expected)
    assert np.array_equal(found, expected)
    assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


def test_attributes(s, files):
    paths, oracle, aligned = files
    assert (s.shape, s.dtype, s.ndim, s.size) == (oracle.shape, oracle.dtype, 2, oracle.size)
    assert (len(s), s.nbytes, s.mode, s.closed) == (len(oracle), oracle.nbytes, "r+", False)
    assert s.paths == tuple(str(path) for path in paths)
    assert s.contiguous is (aligned and can_place())
    assert s.starts[-1] == len(oracle)
    assert s.starts.dtype == np.int64
    assert f"of 3 files from {str(paths[0])!r}" in repr(s)


def can_place():
    """Windows maps nothing at given addresses."""
    import sys

    return sys.platform != "win32"


KEYS = [
    0, -1, 5, 6, (3, 1), slice(None), slice(2, 5), slice(4, 7), slice(None, None, -1),
    slice(20, 3, -4), slice(7, 7), (slice(None), 1), (slice(3, 8), slice(None, None, -1)), ..., (),
    (..., 0), (0, ...), [0, 6, -1, 6], np.array([[5, 6], [0, 1]]), ([1, 9], 1), (slice(2), None),
    ([1, 9], slice(None, 1)), [], (..., slice(None), slice(None)), ((0, 6),),
    ([1, 9], [0, 1]), ([[1], [9]], [0, 1]), ([6, 1], np.array([True, True])), ([1, 9, 6], (1,)),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_getting_is_what_numpy_does(s, files, key):
    same(s[key], files[1][key])


def test_mask(s, files):
    mask = files[1][:, 0] % 3 == 0
    same(s[mask], files[1][mask])
    with pytest.raises(IndexError):
        s[mask[:-1]]


@pytest.mark.parametrize("key", [*KEYS[:17], [0, 6, -1], ([1, 9], 1), []], ids=str)
def test_setting_is_what_numpy_does(s, files, key):
    oracle = files[1].copy()
    shape = np.shape(oracle[key])
    s[key] = oracle[key] = np.arange(1000, 1000 + int(np.prod(shape))).reshape(shape)
    same(np.array(s), oracle)
    s[key] = oracle[key] = -5
    s.flush()
    same(np.concatenate([np.load(path) for path in files[0]]), oracle)


def test_indices_that_numpy_moves_to_the_front(tmp_path):
    oracle = np.arange(5 * 2 * 3 * 4).reshape(5, 2, 3, 4)
    np.save(tmp_path / "0.npy", oracle[:2])
    np.save(tmp_path / "1.npy", oracle[2:])
    with mk.open_sharded([tmp_path / "0.npy", tmp_path / "1.npy"], "r+") as s:
        for key in [
            (slice(None), [0, 1], slice(None), [2, 3]), (slice(1, 4), 1, slice(None), [0, 2, 3]),
            ([0, 4], slice(None), [1, 2]), (slice(1, 4), [0, 1], [1, 2]), (slice(None), [1]),
            (slice(None), 0, slice(None), 1), (3, [0, 1], slice(None), [2, 3]),
        ]:  # fmt: skip
            same(s[key], oracle[key])


def test_storing_by_indices_of_two_axes_is_refused(s):
    before = np.array(s)
    with pytest.raises(IndexError, match="rows and another axis are picked by indices at once"):
        s[[1, 9], [0, 1]] = 7
    same(np.array(s), before)


def test_storing_a_value_with_axes_of_length_1_in_front(s, files):
    oracle = files[1].copy()
    s[3:9] = oracle[3:9] = np.arange(12).reshape(1, 6, 2)
    same(np.array(s), oracle)


def test_setting_wrong_shapes(s):
    with pytest.raises(ValueError, match=r"3 rows|broadcast"):
        s[0:10] = np.zeros((3, 2))
    if not s.contiguous:
        with pytest.raises(IndexError, match="one dimension"):
            s[[[1, 2]]] = 0


@examples(200)
@given(st.data())
def test_any_slice(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("shards")
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    parts = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    for n, part in enumerate(parts):
        np.save(folder / f"{n}.npy", part)
    bound = st.none() | st.integers(-12, 12)
    step = data.draw(st.none() | st.integers(-5, 5).filter(bool))
    key = slice(data.draw(bound), data.draw(bound), step)
    oracle = np.arange(sum(lengths))
    rows = data.draw(st.lists(st.integers(-len(oracle), len(oracle) - 1), max_size=6)) if len(
        oracle
    ) else []  # fmt: skip
    with mk.open_sharded([folder / f"{n}.npy" for n in range(len(parts))]) as s:
        assert s[key].tolist() == oracle[key].tolist()
        assert s.gather(rows).tolist() == oracle[rows].tolist() if rows else True
        assert [int(x) for x in s] == oracle.tolist()
        s.prefetch(key)
        s.prefetch(rows)


@pytest.mark.parametrize("key", [1000_000, -1000_000, (0, 2), "x", 1.5])
def test_wrong_keys(s, key):
    with pytest.raises(IndexError):
        s[key]


@pytest.mark.parametrize("key", [None, True])
def test_keys_that_need_contiguous_shards(s, files, key):
    if s.contiguous:
        same(s[key], files[1][key])
    else:
        with pytest.raises(IndexError, match="rows are an int, a slice"):
            s[key]


def test_gather(s, files):
    rows = np.random.default_rng(1).integers(-len(s), len(s), (30, 4))
    same(s.gather(rows), files[1][rows])
    same(s.gather(3), files[1].take(3, axis=0))
    out = np.zeros((30, 4, 2), "<i4")
    assert s.gather(rows, out) is out
    same(out, files[1][rows])
    strided = np.zeros((2, 30, 4), "<i4").transpose(1, 2, 0)
    same(s.gather(rows, strided), files[1][rows])
    one_shard = np.array([2, 0, 1])
    same(s.gather(one_shard), files[1][one_shard])
    same(s.gather([]), files[1][[]])
    with pytest.raises(IndexError, match=r"index 1000000 at position 1"):
        s.gather([0, 1000_000])
    with pytest.raises(ValueError, match="shape"):
        s.gather([0], np.zeros((2, 2), "<i4"))
    with pytest.raises(ValueError, match="overlaps"):
        s.gather([0], s.shards[0][2:3])


def test_rows_of_one_shard_are_views(s):
    assert np.shares_memory(s.shards[0][0:3], s[0:3]) or s.contiguous
    s[0:3][:] = 77
    assert s.shards[0][2, 1] == 77


@numpy2
def test_dlpack(s, files):
    assert s.__dlpack_device__() == np.asarray(s).__dlpack_device__()
    whole = np.from_dlpack(s)
    same(whole, files[1])
    assert np.shares_memory(whole, s[:3]) is s.contiguous
    if s.contiguous:
        assert np.shares_memory(np.from_dlpack(s, copy=False), whole)
    else:
        with pytest.raises(BufferError, match="not contiguous"):
            np.from_dlpack(s, copy=False)
    assert not np.shares_memory(np.from_dlpack(s, copy=True), s[:3])


def test_whole_array(s, files):
    whole = np.asarray(s)
    same(whole, files[1])
    if s.contiguous:
        same(s.__array__(copy=False), files[1])
        whole[-1] = files[1][-1] = -9
        assert np.load(files[0][-1])[-1].tolist() == [-9, -9]
        assert np.shares_memory(whole, s[3:700])
    else:
        with pytest.raises(ValueError, match="not contiguous"):
            s.__array__(copy=False)
    with pytest.raises(ValueError, match="copy"):
        s.__array__("f8", copy=False)
    same(np.asarray(s, "f8"), files[1].astype("f8"))
    copy = np.array(s)
    copy[...] = 0
    assert s[-2, 1] != 0
    del whole


# --- operators ----------------------------------------------------------------------------------
# That they give what numpy gives is in test_array_operators.py.


def in_files(paths):
    return np.concatenate([np.load(path) for path in paths])


def test_operators_store_into_the_files(s, files):
    paths, oracle, _ = files
    kept = s
    with np.errstate(all="ignore"):
        for name in ("iadd", "imul", "ifloordiv", "imod", "ixor", "ilshift"):
            work = getattr(operator, name)
            s, oracle = work(s, [3, 7]), work(oracle, [3, 7])
            assert s is kept
            same(np.asarray(s), oracle)
    s.flush()
    same(in_files(paths), oracle)
    with pytest.raises(TypeError, match="cast"):
        s += 0.5
    same(np.array(s), oracle)


def test_ufuncs_store_into_the_files(s, files):
    paths, oracle, _ = files
    mask = oracle % 3 == 0
    assert np.add(s, s, out=s, where=mask) is s
    np.add(oracle, oracle, out=oracle, where=mask)
    same(np.array(s), oracle)
    seam = int(s.starts[1])
    for target in (s, oracle):
        assert np.add.at(target, ([0, seam, seam, -1], [1, 0, 0, 1]), 10) is None
    same(in_files(paths), oracle)
    plain = np.empty(oracle.shape)
    first, second = np.divmod(oracle, 7, out=(plain, s))
    assert first is plain
    assert second is s
    same(np.array(s), oracle % 7)
    first, second = np.divmod(s, 3, out=(None, s))
    assert np.array_equal(first, oracle % 7 // 3)
    same(in_files(paths), oracle % 7 % 3)
    assert np.array_equal(plain, oracle // 7)
    with mk.open_array(paths[1]) as one:
        assert (s[seam : seam + len(one)] == one).all()


def test_operators_of_two(s, files, tmp_path):
    cut = len(files[1]) // 2
    np.save(tmp_path / "head.npy", files[1][:cut])
    np.save(tmp_path / "tail.npy", files[1][cut:] + 1)
    with mk.open_sharded([tmp_path / "head.npy", tmp_path / "tail.npy"]) as other:
        assert (s == other).sum() == 2 * cut
        assert (s != other).sum() == files[1].size - 2 * cut
        same(s - other, files[1] - np.asarray(other))
        assert np.multiply(other, 2, out=s) is s
    with pytest.raises(TypeError, match="unhashable"):
        hash(s)


def test_what_cannot_be_stored_leaves_the_files(files):
    with mk.open_sharded(files[0]) as s:
        for store in (
            lambda: operator.iadd(s, 1),
            lambda: np.add(1, 1, out=s),
            lambda: np.add.at(s, 0, 1),
        ):
            with pytest.raises(TypeError, match=r"0\.npy.*mode 'r'"):
                store()
    with mk.open_sharded(files[0], "c") as s:
        s += 1
        same(np.asarray(s), files[1] + 1)
    same(in_files(files[0]), files[1])


def test_results_do_not_keep_the_files(s):
    found = [s + 1, -s, s == s, s @ [1, 2], np.sin(s), s.astype("f8"), s.gather([0])]
    s.close()
    assert len(found) == 7


@pytest.mark.parametrize(
    "dtype",
    [">i4", ">f8", "<M8[us]", "S3", np.dtype([("x", "u1"), ("y", ">i4")], align=True)],
    ids=str,
)
def test_dtype_stays_that_of_the_files_across_seams(tmp_path, dtype):
    whole = np.arange(12).astype("u1").repeat(np.dtype(dtype).itemsize).view(dtype)
    paths = [tmp_path / f"{n}.npy" for n in range(3)]
    for n, path in enumerate(paths):
        np.save(path, whole[4 * n : 4 * n + 4])
    with mk.open_sharded(paths) as s:
        for found, expected in ((s[2:9], whole[2:9]), (np.asarray(s), whole), (s.ravel(), whole)):
            assert found.dtype == s.dtype == whole.dtype
            assert (found == expected).all()  # what is between a structure's fields may differ


def test_masks_of_elements(s, files, tmp_path):
    oracle = files[1].copy()
    for mask in (oracle % 3 == 0, oracle < 0, oracle >= 0):
        same(s[mask], oracle[mask])
    same(s[s > 9], oracle[oracle > 9])
    s[s % 3 == 0] = -1
    oracle[oracle % 3 == 0] = -1
    count = int((oracle == -1).sum())
    same(np.array(s), oracle)
    s[s == -1] = np.arange(count)
    oracle[oracle == -1] = np.arange(count)
    same(in_files(files[0]), oracle)
    np.save(tmp_path / "rows.npy", np.arange(len(oracle)) % 4 == 0)
    np.save(tmp_path / "mask.npy", oracle % 5 == 0)
    for name in ("rows.npy", "mask.npy"):
        with mk.open_array(tmp_path / name) as mask, mk.open_sharded([tmp_path / name]) as one:
            same(s[mask], oracle[mask[...]])
            same(s[one], oracle[mask[...]])
    s[oracle > 7] = [3]
    oracle[oracle > 7] = 3
    same(np.array(s), oracle)
    with pytest.raises(ValueError, match="cannot store 3 rows into"):
        s[oracle > -1] = [1, 2, 3]
    for wrong in (oracle[1:] > 0, np.ones((*oracle.shape, 1), bool)):
        with pytest.raises(IndexError, match=r"mask|boolean|too many"):
            s[wrong]
        with pytest.raises(IndexError, match="does not fit shape"):
            s[wrong] = 0
    same(np.array(s), oracle)


def test_masks_of_the_first_axes(tmp_path):
    whole = np.arange(60).reshape(5, 3, 4)
    np.save(tmp_path / "0.npy", whole[:2])
    np.save(tmp_path / "1.npy", whole[2:])
    mask = whole[..., 0] % 8 == 0
    with mk.open_sharded([tmp_path / "0.npy", tmp_path / "1.npy"], "r+") as s:
        same(s[mask], whole[mask])
        for value in (7, [1, 2, 3, 4], np.arange(mask.sum() * 4).reshape(-1, 4)):
            s[mask] = whole[mask] = value
            same(np.array(s), whole)


# --- reading ahead ------------------------------------------------------------------------------


def test_awaiting(s, files):
    async def work():
        await s.aprefetch(slice(2, 9))
        out = np.empty((2, 2), "<i4")
        assert await s.agather([0, -1], out) is out
        return await asyncio.gather(*(s.agather([n, n + 3]) for n in range(5)))

    for n, found in enumerate(asyncio.run(work())):
        same(found, files[1][[n, n + 3]])
    with pytest.raises(IndexError, match="index 1000000"):
        asyncio.run(s.agather([1_000_000]))
    with pytest.raises(TypeError, match="prefetch"):
        asyncio.run(s.aprefetch(([1], 0)))


def test_prefetch(s):
    for key in (..., 3, slice(2, 9), [0, 6, -1], (slice(None), 0), (4, 1), []):
        s.prefetch(key)
    for key, error in ((1000_000, IndexError), ([1000_000], IndexError), (([1], 0), TypeError)):
        with pytest.raises(error):
            s.prefetch(key)


@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_blocks_are_the_rows(s, files, rows):
    blocks = list(s.blocks(rows=rows))
    assert all(0 < len(block) <= rows for block in blocks)
    same(np.concatenate(blocks), files[1])
    same(np.concatenate(list(s.blocks(drop_behind=False))), files[1])


@pytest.mark.parametrize("overlap", [1, 2, 6])
def test_blocks_repeat_what_overlaps(s, files, overlap):
    whole = files[1]
    end = 0
    for block in s.blocks(rows=overlap + 3, overlap=overlap):
        start = max(0, end - overlap)
        same(np.array(block), whole[start : start + len(block)])
        end = start + len(block)
    assert end == len(whole)


def test_blocks_as_of_one_array(s, files):
    found = mk.blocks(s, rows=3)
    lengths = [-(-n // 3) for n in np.diff(s.starts)]
    assert len(found) == len(list(found)) == sum(lengths)
    assert found.total_bytes == s.nbytes
    assert (found.how, found.why) == ("map", "it is mapped already")
    for _ in range(2):  # each iteration is a pass of its own
        same(np.concatenate(list(found)), files[1])
    for block in mk.blocks(s, size=24):
        block += 1
    del block
    same(np.concatenate([np.load(path) for path in files[0]]), files[1] + 1)
    with found:
        iterator = iter(found)
        next(iterator)
        with pytest.raises(BufferError):
            s.close()
    assert next(iterator, None) is None
    s.close()


def test_empty_shards_have_no_blocks(tmp_path):
    paths = []
    for n, length in enumerate([0, 3, 0, 0, 2, 1, 0]):
        paths.append(tmp_path / f"{n}.npy")
        np.save(paths[-1], np.arange(10 * n, 10 * n + length))
    with mk.open_sharded(paths) as s:
        whole = np.asarray(s).tolist()
        assert [b.tolist() for b in s.blocks(rows=2)] == [[10, 11], [12], [40, 41], [50]]
        assert [b.tolist() for b in s.blocks(rows=3, overlap=2)] == [
            [10, 11, 12], [11, 12, 40, 41], [40, 41, 50]
        ]  # fmt: skip
        assert mk.map_blocks(np.ndarray.tolist, s, rows=9) == [[10, 11, 12], [40, 41], [50]]
        assert [x for block in mk.blocks(s) for x in block] == whole
    with mk.open_sharded(paths[2:4]) as s:
        assert (len(s.blocks()), list(s.blocks()), mk.map_blocks(len, s)) == (0, [], [])
        mk.map_blocks(len, s, np.zeros(0))


@given(data=st.data())
def test_any_blocks(tmp_path_factory, data):
    """Against slices of the concatenation, cut at the seams."""
    lengths = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=5))
    rows = data.draw(st.integers(1, 7))
    overlap = data.draw(st.integers(0, rows - 1))
    folder = tmp_path_factory.mktemp("blocks")
    whole = np.arange(sum(lengths))
    ends = np.cumsum(lengths)
    paths = [folder / f"{n}.npy" for n in range(len(lengths))]
    expected = []
    for path, length, end in zip(paths, lengths, ends, strict=True):
        start = end - length
        np.save(path, whole[start:end])
        at = start
        while at < end:
            stop = min(at + rows, end)
            expected.append(whole[max(0, at - overlap) if at == start else at : stop].tolist())
            at = end if stop == end else at + rows - overlap
    step = data.draw(st.sampled_from([8, 64, 4 << 20]))
    with mk.open_sharded(paths) as s, mock.patch.object(cuts, "STEP_BYTES", step):
        found = s.blocks(rows=rows, overlap=overlap)
        assert [block.tolist() for block in found] == expected
        assert len(found) == len(expected)


def test_a_shard_that_grows_does_not_move_blocks(s, files):
    found = s.blocks(rows=4, overlap=2)
    before = [block.tolist() for block in found]
    with mk.open_array(files[0][0], "r+") as first:
        first.append([[-1, -1]])
    s.refresh()
    assert [block.tolist() for block in found] == before


def test_pass_holds_one_file_at_a_time(tmp_path):
    paths = [tmp_path / f"{n}.npy" for n in range(6)]
    for path in paths:
        np.save(path, np.ones(1000))
    with mk.open_sharded(paths) as s:
        blocks = iter(s.blocks(rows=100))
        most = 0
        for block in blocks:
            del block
            most = max(most, sum(shard.mapping.exports > 1 for shard in s.shards))
    assert 1 <= most <= 3  # that which is read, and the next; the last one is let go meanwhile


@pytest.mark.skipif(sys.platform != "linux", reason="residency of a file is known there")
def test_pass_leaves_the_page_cache_as_it_was(tmp_path):
    paths = [tmp_path / f"{n}.npy" for n in range(4)]
    for n, path in enumerate(paths):
        with mk.create_array(path, (300, 1000)) as a:
            a[...] = n
            a.flush()
            a.mapping.evict()
    if mk.residency(paths[0]).resident_bytes:
        pytest.skip("the filesystem does not evict")

    def resident():
        return [mk.residency(path).resident_bytes for path in paths]

    with mk.open_sharded(paths) as s:
        before = resident()  # opening has read the headers
        assert max(before) < s.shards[0].nbytes / 2
        for rows in (7, 100, 300):
            assert sum(block[0, 0] for block in s.blocks(rows=rows)) == 6 * -(-300 // rows)
            assert mk.map_blocks(len, s, rows=rows, workers=2)
            assert resident() == before
        for block in s.blocks(drop_behind=False):
            assert len(block) == 300
        del block
        assert all(mk.residency(path).fraction > 0.9 for path in paths)


def test_wrong_blocks_raise_at_once(s):
    with pytest.raises(ValueError, match="overlap"):
        s.blocks(rows=3, overlap=3)
    for asked, match in (
        ({"how": "read"}, "mapped already"),
        ({"dtype": "f8"}, "not mapped yet"),
        ({"axis": 1}, "scattered"),
        ({"size": 0}, "at least 1"),
        ({"overlap": -1}, "at least 0"),
    ):
        with pytest.raises(ValueError, match=match):
            mk.blocks(s, **asked)
    with pytest.raises(TypeError, match="or a ShardedArray, not of list"):
        mk.blocks([s])


def test_append_grows_the_last_shard(s, files):
    view = s[0:3]
    assert s.append([[1, 2], [3, 4]]) == len(files[1]) + 2
    assert s.append(np.zeros((0, 2), "<i4")) == len(files[1]) + 2
    expected = np.concatenate([files[1], [[1, 2], [3, 4]]]).astype("<i4")
    same(np.array(s), expected)
    same(np.load(files[0][-1])[-2:], expected[-2:])
    same(view, files[1][0:3])
    same(s.gather([-1, 0]), expected[[-1, 0]])
    with pytest.raises(ValueError, match="shape"):
        s.append([[1, 2, 3]])
    del view


def test_refresh_sees_what_others_append(files):
    with mk.open_sharded(files[0]) as reader:
        for path in (files[0][0], files[0][-1]):
            with mk.open_array(path, "r+") as a:
                a.append([[7, 7]])
        assert len(reader) == len(files[1])
        assert reader.refresh() == len(files[1]) + 2
        same(np.array(reader), np.concatenate([np.load(path) for path in files[0]]))
        with pytest.raises(TypeError, match="r\\+"):
            reader.append([[1, 2]])


def test_closing_with_views_keeps_all_open(s, files):
    view = s[0:3]
    with pytest.raises(BufferError, match="alive"):
        s.close()
    same(s[...] if s.contiguous else np.asarray(s), files[1])
    assert not s.closed
    del view
    s.close()
    s.close()
    assert s.closed
    assert "closed" in repr(s)
    for act in (lambda: s[0], lambda: len(s), lambda: s.gather([0]), lambda: np.asarray(s),
                lambda: s.flush(), lambda: s.__enter__(), lambda: pickle.dumps(s),
                lambda: s + 1, lambda: 1 + s, lambda: s == 1, lambda: -s, lambda: s.ravel(),
                lambda: s.__array__(copy=False), lambda: np.add(1, 1, out=s), s.to_dask, s.blocks,
                lambda: mk.blocks(s), lambda: mk.map_blocks(len, s),
                lambda: asyncio.run(s.agather([0])), lambda: asyncio.run(s.aprefetch(0)),
                ):  # fmt: skip
        with pytest.raises(ValueError, match="closed"):
            act()


def test_closing_can_wait_for_the_last_view(files):
    s = mk.open_sharded(files[0])
    views = [s[:], s.shards[0][:]]
    with pytest.raises(BufferError, match=r"close\(defer=True\)"):
        s.close()
    same(s[0], files[1][0])
    s.close(defer=True)
    assert s.closed
    same(views[0], files[1])
    same(views[1], files[1][: len(views[1])])


def test_views_outlive_the_array(files):
    s = mk.open_sharded(files[0])
    view, whole = s[1:4], np.asarray(s)
    s.__exit__(RuntimeError, RuntimeError(), None)
    assert s.closed
    same(view, files[1][1:4])
    same(whole, files[1])


def test_pickle_by_reference(s, files):
    data = pickle.dumps(s)
    assert len(data) < 2000
    with pickle.loads(data) as again:
        assert (again.shape, again.contiguous) == (s.shape, s.contiguous)
        again[0] = 42
        assert s[0, 0] == 42


def test_copy_on_write(files):
    with mk.open_sharded(files[0], "c") as s:
        s[0] = 42
        assert s[0, 1] == np.asarray(s)[0, 1] == 42
        assert not s.contiguous
    assert np.load(files[0][0])[0, 0] == 0


def test_read_only(files):
    with mk.open_sharded(files[0]) as s:
        assert not s[0:2].flags.writeable
        with pytest.raises((TypeError, ValueError), match=r"read-only|mode 'r'"):
            s[0] = 1


def test_structured_fields(tmp_path):
    dtype = [("x", "<f4"), ("y", "u1")]
    for n in range(2):
        np.save(tmp_path / f"{n}.npy", np.array([(n, 1), (n, 2)], dtype))
    with mk.open_sharded([tmp_path / "0.npy", tmp_path / "1.npy"]) as s:
        assert s["x"].tolist() == [0, 0, 1, 1]
        assert s.gather([3, 0])["y"].tolist() == [2, 1]


def test_raw_files(tmp_path):
    paths = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for n, path in enumerate(paths):
        np.arange(n * 6, n * 6 + 6, dtype=">i2").tofile(path)
    with mk.open_sharded(paths, dtype=">i2", row_shape=3) as s:
        assert s[...].tolist() == np.arange(12).reshape(4, 3).tolist()
    with pytest.raises(ValueError, match=r"12 bytes.*rows of 8 bytes"):
        mk.open_sharded(paths, dtype=">i2", row_shape=4)


def test_out_must_not_be_the_array_itself(s):
    with pytest.raises(ValueError, match="overlaps"):
        s.gather([1, 0], out=s[0:2])


def test_messages_name_no_path_where_there_are_many(s):
    with pytest.raises(IndexError, match=r"index 1000000 at position 1 is out of .* rows$"):
        s.gather([0, 1_000_000])


def test_growth_follows_the_files_that_were_opened(tmp_path):
    """Also where another file has taken the name of one."""
    rows = PAGE // 8
    paths = [tmp_path / f"{n}.npy" for n in range(3)]
    for n, path in enumerate([*paths, tmp_path / "other.npy"]):
        with mk.create_array(path, rows, "f8", aligned=True) as a:
            a[...] = n
    with mk.open_sharded(paths) as reader, mk.open_array(paths[2], "r+") as last:
        assert reader.contiguous is can_place()
        if can_place():  # an open file stays where it is on Windows
            (tmp_path / "other.npy").replace(paths[1])
            paths[0].unlink()
        last.append([2.0])
        assert reader.refresh() == 3 * rows + 1
        assert reader.contiguous is can_place()
        assert (reader[0], reader[rows], reader[-1]) == (0, 1, 2)
        assert reader.gather([rows]).tolist() == [1]


@pytest.mark.skipif("not can_place()")
def test_views_stay_current_where_nothing_was_appended(s):
    whole = np.asarray(s)
    s.refresh()
    assert np.may_share_memory(np.asarray(s), whole) is s.contiguous


@pytest.mark.skipif("not can_place()")
def test_rows_of_healthy_shards_are_given_beside_a_truncated_one(tmp_path):
    rows = PAGE // 8
    for n in range(3):
        with mk.create_array(tmp_path / f"{n}.npy", rows, "f8", aligned=True) as a:
            a[...] = n
    s = mk.open_sharded([tmp_path / f"{n}.npy" for n in range(3)])
    os.truncate(tmp_path / "1.npy", PAGE)
    with pytest.raises(mk.MappingFault):
        s[rows : 2 * rows].sum()
    assert s[0:rows].sum() == 0
    assert s[2 * rows :].sum() == 2 * rows
    for key in (slice(rows, None), slice(rows + 3), ..., rows + 1):
        with pytest.raises(mk.MappingFault, match=r"1\.npy"):
            s[key]
    with contextlib.suppress(mk.MappingFault):
        s.close()


def test_shards_that_disagree(tmp_path):
    arrays = {
        "f8": np.zeros((3, 2)), "i8": np.zeros((3, 2), int), "row": np.zeros((3, 4)),
        "fortran": np.asfortranarray(np.zeros((3, 2))), "scalar": np.zeros(()),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    for name, match in [
        ("i8", "i8.npy.* has dtype int64, but .*f8.npy.* has float64"),
        ("row", r"row shape \(4,\), but .* \(2,\)"),
        ("fortran", "Fortran"),
    ]:
        with pytest.raises(ValueError, match=match):
            mk.open_sharded([tmp_path / "f8.npy", tmp_path / f"{name}.npy"])
    with pytest.raises(ValueError, match="no dimensions"):
        mk.open_sharded([tmp_path / "scalar.npy"])
    with pytest.raises(FileNotFoundError) as missing:
        mk.open_sharded([tmp_path / "f8.npy", tmp_path / "gone.npy"])
    assert missing.value.filename == str(tmp_path / "gone.npy")


@pytest.mark.parametrize(
    ("paths", "mode", "error"),
    [
        ([], "r", ValueError),
        ("one.npy", "r", TypeError),
        (["x"], "w+", ValueError),
        ([0], "r", TypeError),
        (iter([]), "r", ValueError),
    ],
)
def test_wrong_arguments(paths, mode, error):
    with pytest.raises(error):
        mk.open_sharded(paths, mode)


def test_threads_append_and_read(tmp_path):
    rows = PAGE // 8
    paths = [tmp_path / "0.npy", tmp_path / "1.npy"]
    for path in paths:
        mk.create_array(path, rows, "i8", aligned=True).close()
    wrong = []

    def append():
        for _ in range(50):
            s.append([7, 7])

    def read():
        try:
            while not done.is_set():
                assert s[0] == 0
                assert len(s[rows - 1 :]) > rows
                assert len(np.asarray(s)) % 2 == 0
        except BaseException as error:
            wrong.append(error)

    done = threading.Event()
    with mk.open_sharded(paths, "r+") as s:
        reader, *writers = [threading.Thread(target=f) for f in (read, append, append)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
        assert wrong == []
        assert len(s) == 2 * rows + 200
