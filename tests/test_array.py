"""MappedArray: elements and life, as of an ndarray."""

import gc
import re

import pytest

import mmapkit as mk

np = pytest.importorskip("numpy")

# --- elements -----------------------------------------------------------------------------------

KEYS = [
    0, -1, (1, 2), slice(None), slice(1, 3), (slice(None), 2), (slice(None, None, -1), slice(1, 3)),
    ..., None, (..., 0), [0, 2], np.array([True, False, True, False]), np.array([[0, 1]]), (),
]  # fmt: skip


@pytest.fixture
def a(tmp_path):
    with mk.create_array(tmp_path / "a.npy", (4, 5), "<i4") as array:
        array[...] = np.arange(20).reshape(4, 5)
        yield array


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_getting_is_what_numpy_does(a, key):
    oracle = np.arange(20, dtype="<i4").reshape(4, 5)
    found, expected = a[key], oracle[key]
    assert type(found) is type(expected)
    assert np.array_equal(found, expected)
    if isinstance(expected, np.ndarray):
        assert np.shares_memory(found, np.asarray(a)) is np.shares_memory(expected, oracle)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_setting_is_what_numpy_does(a, key):
    oracle = np.arange(20, dtype="<i4").reshape(4, 5)
    a[key] = oracle[key] = -7
    assert np.array_equal(a, oracle)


@pytest.mark.parametrize("key", [4, -5, (0, 5), "field", (0, 0, 0), 1.5])
def test_wrong_keys_raise_what_numpy_raises(a, key):
    oracle = np.zeros((4, 5))
    with pytest.raises(IndexError) as expected:
        oracle[key]
    for act in (a.__getitem__, lambda key: a.__setitem__(key, 1)):
        with pytest.raises(IndexError) as found:
            act(key)
        assert type(found.value) is type(expected.value)


def test_length_and_iteration(a, tmp_path):
    assert len(a) == 4
    assert [row.tolist() for row in a] == np.arange(20).reshape(4, 5).tolist()
    assert 7 in list(a[1])
    with mk.create_array(tmp_path / "0.npy", ()) as scalar:
        scalar[()] = 2.5
        assert scalar[()] == 2.5
        assert scalar[...].shape == np.asarray(scalar).shape == ()
        for act in (len, iter):
            with pytest.raises(TypeError):
                act(scalar)


def test_asarray_does_not_copy(a):
    whole = np.asarray(a)
    assert type(whole) is np.ndarray
    assert whole.flags.writeable
    whole[1, 2] = 99
    assert a[1, 2] == 99
    assert np.shares_memory(np.asarray(a), whole)
    assert np.shares_memory(np.asarray(a, "<i4"), whole)


def test_array_copies_as_numpy_asks(a):
    whole = np.asarray(a)
    assert not np.shares_memory(np.array(a), whole)
    converted = np.asarray(a, "f8")
    assert converted.dtype == np.dtype("f8")
    assert np.array_equal(converted, whole)
    assert not np.shares_memory(a.__array__(copy=True), whole)
    assert np.shares_memory(a.__array__(copy=False), whole)
    with pytest.raises(ValueError, match=r"int32.*float64.*copy"):
        a.__array__("f8", copy=False)
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert np.shares_memory(np.asarray(a, copy=False), whole)
        assert not np.shares_memory(np.asarray(a, copy=True), whole)
        with pytest.raises(ValueError, match="copy"):
            np.asarray(a, "f8", copy=False)


def test_numpy_functions_take_it(a):
    assert np.sum(a) == 190
    assert np.array_equal(np.concatenate([a, a]), np.concatenate([a[...], a[...]]))
    assert np.stack([a, a]).shape == (2, 4, 5)


def test_copy_mode_keeps_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5))
    with mk.open_array(tmp_path / "a.npy", "c") as a:
        a[0] = 99
        a.flush()
        assert a[0] == 99
    assert np.load(tmp_path / "a.npy")[0] == 0


def test_read_mode_refuses_stores_with_type_error(file):
    with mk.open_array(file) as a:
        with pytest.raises(TypeError, match=r"file\.bin.*'r'.*'r\+'"):
            a[0] = 1
        assert not a[...].flags.writeable


# --- life ---------------------------------------------------------------------------------------


def test_close_with_live_arrays_counts_them_and_stays_open(a):
    view = a[1]
    with pytest.raises(BufferError, match=r"alive.*defer=True"):
        a.close()
    assert not a.closed
    assert a[1, 1] == 6
    a[1, 1] = 60
    assert view[1] == 60
    del view
    gc.collect()
    a.close()
    assert a.closed


def test_scalar_of_a_structure_is_a_live_view(tmp_path):
    with mk.create_array(tmp_path / "a.npy", 3, [("x", "i4")]) as a:
        row = a[1]
        row["x"] = 5
        assert a["x"].tolist() == [0, 5, 0]
        with pytest.raises(BufferError):
            a.close()
        del row


def test_views_outlive_the_array(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    view = mk.open_array(tmp_path / "a.npy")[10:20]
    gc.collect()
    assert view.tolist() == list(range(10, 20))


def test_closed_array_raises_value_error(tmp_path):
    a = mk.create_array(tmp_path / "a.npy", (2, 3))
    a.close()
    a.close()
    for use in (
        lambda: a[0],
        lambda: a[...],
        lambda: a.__setitem__(0, 1),
        lambda: len(a),
        lambda: list(a),
        lambda: np.asarray(a),
        lambda: a.__array__("f4"),
        lambda: a.flush(),
        lambda: a.__enter__(),
    ):
        with pytest.raises(ValueError, match=re.escape(f"closed ({a.path!r})")):
            use()
    assert "closed" in repr(a)
    assert (a.shape, a.nbytes) == ((2, 3), 48)


def test_exception_in_the_block_is_not_hidden_by_views(tmp_path):
    kept = []
    with pytest.raises(KeyError), mk.create_array(tmp_path / "a.npy", 3) as a:  # noqa: PT012
        kept.append(a[1:])
        raise KeyError
    assert a.closed
    assert kept[0].tolist() == [0, 0]


def test_repr_says_what_it_is(a):
    for word in ("a.npy", "(4, 5)", "int32", "x+"):
        assert word in repr(a)


def test_closing_can_wait_for_the_last_view(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with mk.create_ragged(tmp_path / "r", "i8") as ragged:
        ragged.append([0, 1, 2])
    for opened, get in [
        (mk.open_array(tmp_path / "a.npy"), lambda a: a[:]),
        (mk.open_arrays(tmp_path / "a.npz"), lambda d: d["x"][:]),
        (mk.open_arrays([tmp_path / "a.npy"]), lambda d: d[tmp_path / "a.npy"][:]),
        (mk.open_sharded([tmp_path / "a.npy"] * 2), lambda s: s[:3]),
        (mk.open_ragged(tmp_path / "r"), lambda r: r[0]),
    ]:
        view = get(opened)
        with pytest.raises(BufferError, match=r"close\(defer=True\)"):
            opened.close()
        assert not opened.closed
        opened.close(defer=True)
        assert opened.closed
        assert view.tolist() == [0, 1, 2]
        opened.close()
