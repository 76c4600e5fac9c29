"""RaggedArray: rows of different lengths, strings, hostile files."""

import gc
import json
import os
import pickle
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")
ragged = pytest.importorskip("mmapkit.ragged")

ROWS = [[1, 2, 3], [], [4], [5, 6], []]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "r"


@pytest.fixture
def r(place):
    with mk.create_ragged(place, "<i4") as rows:
        rows.extend(ROWS)
        yield rows


def lists(rows):
    return [row.tolist() for row in rows]


# --- rows ----------------------------------------------------------------------------------------


def test_rows_are_views_of_the_file(r):
    assert len(r) == 5
    assert lists(r) == ROWS
    row = r[0]
    assert type(row) is np.ndarray
    row[1] = 77
    assert r[0].tolist() == [1, 77, 3]
    assert np.shares_memory(row, np.asarray(r.data))


def test_indices_and_slices_are_those_of_a_list(r):
    for row in range(-5, 5):
        assert r[row].tolist() == ROWS[row]
        assert r[np.int8(row)].tolist() == ROWS[row]
    for key in (slice(None), slice(1, 3), slice(None, None, -2), slice(9, 2)):
        assert lists(r[key]) == ROWS[key]
    assert lists(r[[3, 0, -1]]) == [ROWS[3], ROWS[0], ROWS[-1]]
    assert lists(r[np.array([True, False, False, True, False])]) == [ROWS[0], ROWS[3]]
    assert r[[]] == []
    for key in (5, -6, [5], [-6], [1.5], "x", [True], np.zeros((2, 2), int), None):
        with pytest.raises(IndexError):
            r[key]


def test_what_it_is(r, place):
    assert r.dtype == np.dtype("<i4")
    assert r.item_shape == ()
    assert r.lengths.tolist() == [3, 0, 1, 2, 0]
    assert r.offsets[...].tolist() == [0, 3, 3, 4, 6, 6]
    assert r.data[...].tolist() == [1, 2, 3, 4, 5, 6]
    assert r.path == str(place)
    assert r.mode in ("x+", "r+")
    assert not r.closed
    assert "5 rows" in repr(r)


def test_numpy_reads_the_files(r, place):
    assert np.load(place / "data.npy").tolist() == [1, 2, 3, 4, 5, 6]
    assert np.load(place / "offsets.npy").tolist() == [0, 3, 3, 4, 6, 6]
    assert sorted(os.listdir(place)) == ["data.npy", "offsets.npy"]


def test_rows_of_more_dimensions(place):
    with mk.create_ragged(place, "f4", item_shape=(2, 3)) as r:
        r.append(np.ones((4, 2, 3)))
        r.extend([np.zeros((0, 2, 3)), np.full((1, 2, 3), 7.0)])
        assert [row.shape for row in r] == [(4, 2, 3), (0, 2, 3), (1, 2, 3)]
        elements, offsets = r.gather([2, 0], packed=True)
        assert elements.shape == (5, 2, 3)
        assert offsets.tolist() == [0, 1, 5]
        with pytest.raises(ValueError, match="first axis"):
            r.append(np.ones((2, 3)))


def test_strings(place):
    words = ["Ada", "", "Émilie", "\U0001f600\0y", "x" * 5000]
    with mk.create_ragged(place, str) as r:
        assert r.dtype is str
        assert r.append("first") == 1
        assert r.extend(words) == 6
        assert list(r) == r[:] == ["first", *words]
        assert r[-2] == "\U0001f600\0y"
        assert r.gather([3, 0, 3]) == ["Émilie", "first", "Émilie"]
        assert r.lengths[3] == len("Émilie".encode())
        r.check()
        for wrong in (b"bytes", 1, None):
            with pytest.raises(TypeError, match="str"):
                r.append(wrong)
        with pytest.raises(UnicodeEncodeError):
            r.append("\ud800")
        assert len(r) == 6
    assert json.loads((place / "ragged.json").read_text()) == {"kind": "str"}
    with mk.open_ragged(place) as r:
        assert list(r) == ["first", *words]


def test_bytes(place):
    with mk.create_ragged(place, bytes) as r:
        r.extend([b"\xff\0", b"", bytearray(b"abc"), memoryview(b"def")])
        assert list(r) == [b"\xff\0", b"", b"abc", b"def"]
        assert r.dtype is bytes
        for wrong in ("text", 5):
            with pytest.raises(TypeError):
                r.append(wrong)
    with mk.open_ragged(place) as r:
        assert r[2] == b"abc"


def test_strings_have_no_item_shape(place):
    with pytest.raises(ValueError, match="item_shape"):
        mk.create_ragged(place, str, item_shape=3)
    assert not place.exists()


@given(st.lists(st.lists(st.lists(st.integers(-9, 9), max_size=5), max_size=4), max_size=5))
@examples(30)
def test_any_rows_in_any_batches(tmp_path_factory, batches):
    place = tmp_path_factory.mktemp("ragged") / "r"
    with mk.create_ragged(place, "i2") as r:
        for batch in batches:
            r.extend(batch)
        oracle = [row for batch in batches for row in batch]
        assert lists(r) == lists(r.gather(range(len(oracle)))) == oracle
        assert len(r) == len(oracle)
        r.check()
    with mk.open_ragged(place) as r:
        assert lists(r) == oracle


def test_gather_copies(r):
    found = r.gather([3, 0, 0, 1, -3])
    assert lists(found) == [[5, 6], [1, 2, 3], [1, 2, 3], [], [4]]
    found[1][0] = 99
    assert r[0].tolist() == [1, 2, 3]
    elements, offsets = r.gather([3, 0], packed=True)
    assert (elements.tolist(), offsets.tolist()) == ([5, 6, 1, 2, 3], [0, 2, 5])
    assert r.gather([]) == []
    elements, offsets = r.gather([], packed=True)
    assert (elements.shape, offsets.tolist()) == ((0,), [0])
    assert lists(r.gather(r.lengths > 1)) == [[1, 2, 3], [5, 6]]
    for wrong in ([5], [-6], [0.5], 0):
        with pytest.raises(IndexError):
            r.gather(wrong)


# --- adding --------------------------------------------------------------------------------------


def test_rows_that_do_not_fit_add_nothing(r):
    wrong = [
        ([[1, 2]], ValueError),
        ([1.5], TypeError),
        (["a"], TypeError),
        ([1 << 40], ValueError),
        (5, ValueError),
        ([[1], [2, 3]], ValueError),
    ]
    for row, kind in wrong:
        for act in (r.append, lambda row: r.extend([[1], row])):
            with pytest.raises(kind):
                act(row)
    assert lists(r) == ROWS


def test_rows_of_other_dtypes_are_cast(r):
    r.extend([np.array([7], "i8"), np.array([8, 0, 9], ">i2")[::2], range(2)])
    assert lists(r[-3:]) == [[7], [8, 9], [0, 1]]


def test_generators_are_written_in_bounded_batches(place, monkeypatch):
    monkeypatch.setattr(ragged, "BATCH_BYTES", 100)
    seen = []

    def rows(r):
        for i in range(200):
            seen.append(len(r))
            yield [i] * (i % 7)

    with mk.create_ragged(place, "<i4") as r:
        assert r.extend(rows(r)) == 200
        assert lists(r) == [[i] * (i % 7) for i in range(200)]
    assert len(set(seen)) > 10


def test_views_stay_valid_while_rows_are_added(r):
    row = r[0]
    for _ in range(100):
        r.append(np.ones(1000, "i4"))
    row[0] = -1
    assert r[0].tolist() == [-1, 2, 3]


def test_what_a_killed_writer_left_is_overwritten(r, place):
    r.close()
    with mk.open_array(place / "data.npy", "r+") as data:
        data.append([99, 99, 99])
    with mk.open_ragged(place, "r+") as r:
        assert lists(r) == ROWS
        r.check()
        kept = r[0]
        r.append([7, 8])
        assert lists(r) == [*ROWS, [7, 8]]
        r.append([9, 10, 11])
        assert lists(r) == [*ROWS, [7, 8], [9, 10, 11]]
        assert kept.tolist() == [1, 2, 3]
        assert len(r.data) == 11


def test_readers_see_rows_after_refresh(r, place):
    with mk.open_ragged(place) as reader:
        row = reader[0]
        r.extend([[7, 8], [9]])
        assert len(reader) == 5
        assert reader.refresh() == 7
        assert lists(reader[-2:]) == [[7, 8], [9]]
        assert row.tolist() == [1, 2, 3]


def test_read_only_rows_stay(r, place):
    with mk.open_ragged(place) as reader:
        assert not reader[0].flags.writeable
        with pytest.raises(TypeError, match="r\\+"):
            reader.append([1])
    with mk.open_ragged(place, "c") as copy:
        copy[0][0] = 50
        assert copy[0].tolist() == [50, 2, 3]
    assert r[0].tolist() == [1, 2, 3]


def test_threads_add_whole_rows(place):
    with mk.create_ragged(place, "<i4") as r:

        def add(value):
            for i in range(50):
                r.append([value] * (i % 5))

        threads = [threading.Thread(target=add, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        r.check()
        assert len(r) == 200
        assert all(len(set(row.tolist())) <= 1 for row in r)


# --- life ----------------------------------------------------------------------------------------


def test_create_refuses_what_is_there_unless_told(r, place):
    with pytest.raises(FileExistsError, match="overwrite"):
        mk.create_ragged(place, str)
    assert lists(r) == ROWS
    if os.name != "posix":  # where mapped files cannot be deleted
        r.close()
    with mk.create_ragged(place, str, overwrite=True) as other:
        other.append("x")
    with mk.create_ragged(place, "u1", overwrite=True) as other:
        assert len(other) == 0
    with mk.open_ragged(place) as other:
        assert other.dtype == np.dtype("u1")


def test_other_files_of_the_directory_are_left_alone(place):
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    with mk.create_ragged(place, "u1", overwrite=True):
        pass
    assert (place / "notes.txt").read_text() == "mine"


def test_closing(r, place):
    row = r[0]
    with pytest.raises(BufferError, match="1 view"):
        r.close()
    assert not r.closed
    del row
    r.close()
    r.close()
    assert r.closed
    for act in (lambda: r[0], lambda: len(r), lambda: r.append([1]), r.refresh, r.flush, r.check,
                lambda: pickle.dumps(r), lambda: r.__enter__(), lambda: r.gather([0])):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(f"closed ({r.path!r}"[:-1])):
            act()
    assert "closed" in repr(r)


def test_an_error_inside_the_block_comes_out(place):
    r = mk.create_ragged(place, "u1")
    r.append([1])
    row = r[0]
    with pytest.raises(KeyError), r:
        raise KeyError
    assert row.tolist() == [1]
    assert r.closed


def test_pickle_by_reference(r):
    r.flush()
    with pickle.loads(pickle.dumps(r)) as other:
        assert lists(other) == ROWS
        assert len(pickle.dumps(r)) < 1000


def test_missing_arrays_are_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"offsets\.npy"):
        mk.open_ragged(tmp_path)
    with pytest.raises(ValueError, match="mode"):
        mk.open_ragged(tmp_path, "w+")


@pytest.mark.skipif(os.name != "posix", reason="counts descriptors as POSIX has them")
def test_nothing_leaks(place):
    def use():
        with mk.create_ragged(place, "u1", overwrite=True) as r:
            r.extend([[1, 2], [3]])
        with mk.open_ragged(place) as r:
            assert lists(r) == [[1, 2], [3]]
        np.save(place / "offsets.npy", np.array([1.5]))
        with pytest.raises(mk.FormatError):
            mk.open_ragged(place)

    use()
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for _ in range(10):
        use()
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before


# --- hostile files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([1, 6]),
        np.array([-1, 6]),
        np.array([0, 7]),
        np.array([0, -1]),
        np.array([], "i8"),
        np.array([0, 6], "i4"),
        np.array([0, 6], "u8"),
        np.array([0, 6], ">i8"),
        np.array([0.0, 6.0]),
        np.array([[0, 6]]),
        np.array(0),
    ],
    ids=str,
)
def test_offsets_that_make_no_sense_are_refused_at_once(r, place, offsets):
    r.close()
    np.save(place / "offsets.npy", offsets)
    with pytest.raises(mk.FormatError, match=r"offsets\.npy"):
        mk.open_ragged(place)


@pytest.mark.parametrize(
    ("offsets", "row"),
    [([0, 5, 3, 6], 1), ([0, -2, 3, 6], 0), ([0, 3, 9, 6], 1), ([0, 1 << 62, -(1 << 62), 6], 0)],
)
def test_rows_whose_offsets_make_no_sense_are_named(r, place, offsets, row):
    r.close()
    np.save(place / "offsets.npy", np.array(offsets))
    with mk.open_ragged(place) as hostile:
        match = f"row {row} of .*{offsets[row]} and {offsets[row + 1]}"
        acts = (
            lambda: hostile[row],
            lambda: hostile[:],
            lambda: list(hostile),
            lambda: hostile[[row]],
            lambda: hostile.gather([row]),
            hostile.check,
        )
        for act in acts:
            with pytest.raises(mk.FormatError, match=match):
                act()


@pytest.mark.parametrize(
    "data", [np.zeros((3, 2), order="F"), np.array(1.0), np.zeros(5)], ids=["F", "0-d", "short"]
)
def test_data_that_makes_no_sense_is_refused(r, place, data):
    r.close()
    np.save(place / "data.npy", data)
    with pytest.raises(mk.FormatError, match=r"data\.npy"):
        mk.open_ragged(place)


@pytest.mark.parametrize("name", ["data.npy", "offsets.npy"])
def test_files_that_are_no_arrays_are_refused(r, place, name):
    r.close()
    (place / name).write_bytes(bytes(64))
    with pytest.raises(mk.FormatError, match=name):
        mk.open_ragged(place)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"kind": 5}', '{"kind": "list"}', '{"kind": []}', "[" * 5000,
     '{"kind": "str"}' + " " * 2000, "\xff"],
    ids=range(10),
)  # fmt: skip
def test_kinds_that_make_no_sense_are_refused(r, place, text):
    r.close()
    (place / "ragged.json").write_text(text, encoding="latin-1")
    with pytest.raises(mk.FormatError, match=r"ragged\.json"):
        mk.open_ragged(place)


def test_strings_need_bytes(r, place):
    r.close()
    (place / "ragged.json").write_text('{"kind": "str"}')
    with pytest.raises(mk.FormatError, match=r"data\.npy.*str rows"):
        mk.open_ragged(place)


def test_text_that_is_no_utf_8_is_named(place):
    with mk.create_ragged(place, str) as r:
        r.extend(["fine", "é"])
        r.data[4] = 0xFF
        assert r[0] == "fine"
        for act in (lambda: r[1], lambda: r.gather([0, 1]), r.check):
            with pytest.raises(mk.FormatError, match=r"row 1 .*UTF-8"):
                act()


def test_files_that_change_into_others_are_noticed(r, place):
    with mk.open_ragged(place) as reader:
        with open(place / "offsets.npy", "r+b") as file:
            np.lib.format.write_array(file, np.array([0, 3, 100]))
        with pytest.raises(mk.FormatError):
            reader.refresh()


@pytest.mark.parametrize("dtype", [object, "V0", np.dtype([])])
def test_a_dtype_that_cannot_be_stored_replaces_nothing(tmp_path, dtype):
    with mk.create_ragged(tmp_path / "r", "f4") as r:
        r.append([1, 2])
    with pytest.raises(ValueError, match="dtype"):
        mk.create_ragged(tmp_path / "r", dtype, overwrite=True)
    with mk.open_ragged(tmp_path / "r") as r:
        assert r[0].tolist() == [1, 2]
    with pytest.raises(ValueError, match="dtype"):
        mk.create_ragged(tmp_path / "new", dtype)
    assert not (tmp_path / "new").exists()


def test_a_second_writer_does_not_write_over_rows_where_a_killed_one_left_a_tail(tmp_path):
    with mk.create_ragged(tmp_path / "r", "i4") as r:
        r.append([1, 2])
        r.data.append([0] * 10)  # what a writer that was killed leaves
    with mk.open_ragged(tmp_path / "r", "r+") as one, mk.open_ragged(tmp_path / "r", "r+") as two:
        two.append([3, 4, 5])
        with pytest.raises(OSError, match="another process changed the array"):
            one.append([6, 7])
        assert two[1].tolist() == [3, 4, 5]
        assert one.refresh() == 2
        assert one.append([6, 7]) == 3
        assert two.refresh() == 3
        assert [row.tolist() for row in two] == [[1, 2], [3, 4, 5], [6, 7]]
