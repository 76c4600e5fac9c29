"""Several arrays of one file, or of many: a dict that closes, pickles and shares a mapping."""

import collections.abc
import gc
import io
import os
import pathlib
import pickle
import struct
import threading

import pytest

import mmapkit as mk

np = pytest.importorskip("numpy")

from mmapkit.formats import Contents, Format, Layout, Source, Unmapped, registry  # noqa: E402

FORMATS = ["npz", "safetensors", "npy", "paths"]


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "many.npz"
    mk.save_npz(path, a=np.arange(5.0), b=np.ones((2, 3), "i4"))
    return path


@pytest.fixture(params=FORMATS)
def several(request, tmp_path, npz):
    """What open_arrays() takes, of each kind; the names of the arrays within."""
    if request.param == "npz":
        return npz, ["a", "b"]
    if request.param == "safetensors":
        header = (
            b'{"x":{"dtype":"F64","shape":[5],"data_offsets":[0,40]},'
            b'"y":{"dtype":"U8","shape":[2,2],"data_offsets":[40,44]}}'
        )
        path = tmp_path / "many.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(44))
        return path, ["x", "y"]
    paths = [tmp_path / "1.npy", str(tmp_path / "2.npy")]
    for number, path in enumerate(paths):
        np.save(path, np.arange(4.0) + number)
    return (paths[0], ["arr_0"]) if request.param == "npy" else (paths, paths)


# --- a dict -------------------------------------------------------------------------------------


def test_behaves_like_a_dict(several):
    file, names = several
    with mk.open_arrays(file) as d:
        assert isinstance(d, collections.abc.Mapping)
        assert list(d) == list(d.keys()) == names
        assert len(d) == len(names)
        assert names[0] in d
        assert "nothing" not in d
        assert d._ipython_key_completions_() == names
        assert d.get("nothing") is None
        with pytest.raises(KeyError, match="nothing"):
            d["nothing"]
        for name, array in d.items():
            assert isinstance(array, mk.MappedArray)
            assert array is d[name]  # the same one each time
        with pytest.raises(TypeError):
            d["new"] = np.arange(3)
        assert {d: 1}[d] == 1
        assert d in [d]
        assert d != dict(d)


def test_says_what_it_is(npz):
    with mk.open_arrays(npz) as d:
        assert repr(d) == f"<mmapkit.MappedArrays {str(npz)!r} format='npz' mode='r': 'a', 'b'>"
        assert (d.path, d.mode, d.format, d.closed) == (str(npz), "r", "npz", False)
        assert d.mapping.size == npz.stat().st_size
    assert "closed" in repr(d)
    mk.save_npz(npz, **{f"n{i}": np.arange(2) for i in range(100)})
    with mk.open_arrays(npz) as d:
        assert len(repr(d)) < 300
        assert "100 arrays" in repr(d)


@pytest.mark.parametrize("convert", [str, os.fsencode, pathlib.Path])
def test_paths_of_every_type(npz, convert):
    with mk.open_arrays(convert(npz)) as d:
        assert list(d) == ["a", "b"]


def test_descriptors_and_file_objects(npz):
    with open(npz, "rb") as file:
        with mk.open_arrays(file) as d:
            assert d["a"][1] == 1
        with mk.open_arrays(file.fileno()) as d:
            assert d["a"][2] == 2


def test_content_tells_the_format_and_not_the_name(tmp_path, npz):
    npz.rename(tmp_path / "weights.bin")
    with mk.open_arrays(tmp_path / "weights.bin") as d:
        assert d.format == "npz"


def test_files_of_no_format_are_refused(file, tmp_path):
    with pytest.raises(mk.FormatError, match=r"file\.bin.*npy, npz, safetensors"):
        mk.open_arrays(file)
    for name in ("a.npz", "a.safetensors", "a.npy"):
        (tmp_path / name).write_bytes(b"something else, and long enough for a header")
        with pytest.raises(mk.FormatError, match=name):
            mk.open_arrays(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(mk.FormatError, match=name):
            mk.open_arrays(tmp_path / name)


@pytest.mark.parametrize("mode", ["w+", "x+", "w", "rb", None])
def test_modes_that_make_files_are_refused(npz, mode):
    before = npz.read_bytes()
    with pytest.raises(ValueError, match=r"create_array\(\) and save_npz"):
        mk.open_arrays(npz, mode)
    assert npz.read_bytes() == before


def test_missing_files_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        mk.open_arrays(tmp_path / "none.npz")


# --- open_array() ---------------------------------------------------------------------------------


def test_open_array_points_to_open_arrays(several):
    file, names = several
    if isinstance(file, list) or len(names) == 1:
        pytest.skip("files of one array")
    with pytest.raises(mk.FormatError, match=rf"{file.name}.*several arrays: use open_arrays"):
        mk.open_array(file)
    with mk.open_array(file, offset=0) as a:
        assert a.nbytes == file.stat().st_size
    with mk.open_array(file, dtype="u1") as a:
        assert a[...].tobytes() == file.read_bytes()


def test_files_with_other_names_or_contents_stay_raw(tmp_path, npz):
    npz.rename(tmp_path / "book.docx")
    (tmp_path / "not.npz").write_bytes(b"bytes")
    for name in ("book.docx", "not.npz"):
        with mk.open_array(tmp_path / name) as a:
            assert a.dtype == "u1"


# --- sequences of paths ---------------------------------------------------------------------------


def test_each_path_has_a_mapping_of_its_own(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "raw").write_bytes(b"bytes")
    paths = (tmp_path / "a.npy", str(tmp_path / "raw"))
    with mk.open_arrays(iter(paths), "r+") as d:
        assert tuple(d) == paths
        assert d[paths[0]][2] == 2
        assert d[paths[1]][...].tobytes() == b"bytes"
        assert d[paths[0]].mapping is not d[paths[1]].mapping
        assert (d.mapping, d.path, d.format) == (None, None, None)
        with pytest.raises(mk.UnsupportedError):
            d.verify()
        d[paths[1]][0] = ord("B")
        d.flush()
        d[paths[0]].close()
        assert d[paths[0]][1] == 1  # opened again
    assert (tmp_path / "raw").read_bytes() == b"Bytes"


def test_sequences_open_all_or_nothing(tmp_path, npz):
    np.save(tmp_path / "a.npy", np.arange(3))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    for wrong, error in ((tmp_path / "none", FileNotFoundError), (npz, mk.FormatError)):
        with pytest.raises(error, match=wrong.name):
            mk.open_arrays([tmp_path / "a.npy", wrong])
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_sequences_of_other_things_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match="twice"):
        mk.open_arrays([tmp_path / "a.npy"] * 2)
    with pytest.raises(TypeError, match="int"):
        mk.open_arrays([5])
    with mk.open_arrays([]) as d:
        assert len(d) == 0


# --- closing --------------------------------------------------------------------------------------


def test_closing_one_leaves_the_others(several):
    file, names = several
    with mk.open_arrays(file) as d:
        first, last = d[names[0]], d[names[-1]]
        first.close()
        if len(names) > 1:
            assert last[...].size
        again = d[names[0]]
        assert again is not first
        assert again[...].size == d[names[0]].size


def test_closing_all_closes_every_array(several):
    file, names = several
    d = mk.open_arrays(file)
    arrays = list(d.values())
    mappings = [array.mapping for array in arrays]
    d.close()
    d.close()
    assert d.closed
    assert all(array.closed for array in arrays)
    assert all(mapping.closed for mapping in mappings)
    for act in (lambda: d[names[0]], d.flush, d.verify, d.__enter__, lambda: pickle.dumps(d)):
        with pytest.raises(ValueError, match=r"closed: <mmapkit\.MappedArrays"):
            act()
    assert list(d) == names


def test_live_views_keep_everything_open(several):
    file, names = several
    d = mk.open_arrays(file)
    arrays = list(d.values())
    view = arrays[-1][...]
    before = view.copy()
    with pytest.raises(BufferError, match="1 view is alive"):
        d.close()
    assert not d.closed
    assert not any(array.closed for array in arrays)
    assert arrays[0][...].size
    assert d[names[-1]] is arrays[-1]
    assert np.array_equal(view, before)
    del view
    d.close()
    assert d.closed


def test_loaded_members_with_live_views_keep_everything_open(tmp_path):
    np.savez_compressed(tmp_path / "z.npz", a=np.arange(5), b=np.arange(3))
    d = mk.open_arrays(tmp_path / "z.npz", load_compressed=True)
    a, b = d["a"][...], d["b"]
    with pytest.raises(BufferError):
        d.close()
    assert not d.closed
    assert a.tolist() == [0, 1, 2, 3, 4]
    assert b[...].tolist() == [0, 1, 2]
    del a
    d.close()


def test_exceptions_pass_with_live_views(npz):
    with pytest.raises(KeyError), mk.open_arrays(npz) as d:  # noqa: PT012
        view = d["a"][...]
        raise KeyError
    assert d.closed
    assert view.tolist() == [0, 1, 2, 3, 4]


def test_an_array_outlives_the_collection_that_is_gone(npz):
    a = mk.open_arrays(npz)["a"]
    gc.collect()
    assert a[...].tolist() == [0, 1, 2, 3, 4]
    assert not a.mapping.closed
    a.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="counts descriptors and maps")
def test_nothing_is_left(several):
    file, names = several

    def left():
        gc.collect()
        with open("/proc/self/maps") as maps:
            mapped = maps.read()
        return len(os.listdir("/proc/self/fd")), mapped.count(str(names[0])), mapped.count("many")

    before = left()
    for _ in range(50):
        with mk.open_arrays(file) as d:
            d[names[0]][...].sum()
        list(mk.open_arrays(file).values())
        pickle.loads(pickle.dumps(mk.open_arrays(file))).close()
    assert left() == before


def test_threads_get_the_same_array(npz):
    mk.save_npz(npz, **{f"n{i}": np.full(10, i) for i in range(200)})
    for _ in range(5):
        d = mk.open_arrays(npz)
        found = [[] for _ in range(4)]
        barrier = threading.Barrier(4)

        def work(mine, d=d, barrier=barrier):
            barrier.wait()
            mine.extend(d[name] for name in d)

        threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(len(set(map(id, same))) == 1 for same in zip(*found, strict=True))
        d.close()


# --- pickling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "c"])
def test_pickles_by_reference(several, mode):
    file, names = several
    with mk.open_arrays(file, mode) as d:
        data = pickle.dumps(d)
        assert len(data) < 1000
        with pickle.loads(data) as again:
            assert list(again) == names
            assert again.mode == "r"  # changes of mode "c" stay where they were made
            assert again[names[0]][...].tobytes() == d[names[0]][...].tobytes()


def test_arrays_pickle_alone_and_together(npz):
    with mk.open_arrays(npz) as d:
        a, b = pickle.loads(pickle.dumps([d["a"], d["b"]]))
    assert a.mapping is not b.mapping  # each closes for itself
    a.close()
    assert b[...].tolist() == [[1, 1, 1], [1, 1, 1]]
    b.close()


def test_compressed_members_load_after_pickling(tmp_path):
    np.savez_compressed(tmp_path / "z.npz", a=np.arange(5))
    with mk.open_arrays(tmp_path / "z.npz", load_compressed=True) as d:
        with pickle.loads(pickle.dumps(d)) as again:
            assert again["a"][4] == 4
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(d["a"])  # memory has no name elsewhere


# --- other formats --------------------------------------------------------------------------------


def toy(members, name="toy", **options):
    return Format(
        name, lambda source: source.head[:4] == b"TOY1", lambda source: Contents(members), **options
    )


@pytest.fixture
def known():
    """Forgets the formats that a test registers."""
    before = list(registry._formats)
    yield
    registry._formats[:] = before


@pytest.fixture
def toy_file(tmp_path):
    path = tmp_path / "a.toy"
    path.write_bytes(b"TOY1" + bytes(range(20)))
    return path


def test_registered_format_is_opened(known, toy_file):
    layout = Layout(np.dtype("u1"), (3,), "C", 5, format="toy")
    members = {
        "at once": layout,
        "later": lambda: layout._replace(offset=6),
        "never": Unmapped("a.toy: byte 9 is in the way"),
    }
    mk.register_format(toy(members, suffixes=(".toy",)))
    with mk.open_arrays(toy_file) as d:
        assert d.format == "toy"
        assert d["at once"][...].tolist() == [1, 2, 3]
        assert d["later"][...].tolist() == [2, 3, 4]
        with pytest.raises(mk.FormatError, match="byte 9"):
            d["never"]
    with pytest.raises(mk.FormatError, match=r"a\.toy.*several arrays"):
        mk.open_array(toy_file)


def test_registered_format_of_one_array_is_opened_by_open_array(known, toy_file):
    layout = Layout(np.dtype("u1"), (3,), "C", 5, format="toy")
    mk.register_format(toy({"a": layout}, several=False))
    with mk.open_array(toy_file) as a:
        assert a[...].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="uint8"):
        mk.open_array(toy_file, dtype="f4")


def test_formats_may_take_empty_files(known, tmp_path):
    (tmp_path / "empty").touch()
    mk.register_format(toy({})._replace(recognise=lambda source: source.size == 0))
    with mk.open_arrays(tmp_path / "empty") as d:
        assert (len(d), d.path, d.format) == (0, str(tmp_path / "empty"), "toy")


def test_formats_refuse_modes_and_say_why(known, toy_file):
    toy_file.with_name("other").write_bytes(b"another")
    mk.register_format(toy({}, modes=("r",), refusal="it is carved in stone"))
    with pytest.raises(ValueError, match=r"toy.*'c'.*carved in stone"):
        mk.open_arrays(toy_file, "c")
    mk.register_format(
        toy({}, name="one", several=False)._replace(recognise=lambda source: True, modes=("r",))
    )
    with pytest.raises(ValueError, match=r"one.*'r\+'"):
        mk.open_array(toy_file.with_name("other"), "r+")


@pytest.mark.parametrize(("offset", "length"), [(22, 3), (25, 1), (-1, 2), (0, 25)])
def test_formats_cannot_map_what_is_not_there(known, toy_file, offset, length):
    mk.register_format(toy({"a": Layout(np.dtype("u1"), (length,), "C", offset)}))
    with mk.open_arrays(toy_file) as d, pytest.raises(mk.FormatError, match="24"):
        d["a"]


def test_names_of_formats_are_unique(known):
    with pytest.raises(ValueError, match="'npz'"):
        mk.register_format(toy({}, name="npz"))
    with pytest.raises(TypeError, match="Format"):
        mk.register_format("npz")


# --- what it costs --------------------------------------------------------------------------------


def test_opening_reads_the_directory_and_not_the_members(npz, monkeypatch):
    mk.save_npz(npz, **{f"n{i}": np.full(10, i) for i in range(300)})
    counts = []
    peek = Source.peek
    monkeypatch.setattr(
        Source, "peek", lambda self, *place: counts.append(place[0]) or peek(self, *place)
    )
    with mk.open_arrays(npz) as d:
        assert len(counts) < 10
        assert sum(counts) < npz.stat().st_size / 10
        assert d["n7"][0] == 7
        assert len(counts) < 14


def test_zipfile_and_json_come_only_with_their_formats(npz, tmp_path, run_python):
    np.save(tmp_path / "a.npy", np.arange(3))
    run_python(
        """
import sys
import mmapkit as mk
mk.open_array("a.npy").close()
assert "zipfile" not in sys.modules
mk.open_arrays("many.npz").close()
assert "zipfile" in sys.modules
"""
    )


def test_streams_without_a_descriptor_are_refused():
    with pytest.raises((TypeError, OSError, io.UnsupportedOperation)):
        mk.open_arrays(io.BytesIO(b"PK"))
    with pytest.raises(TypeError, match="a sequence of paths, not NoneType"):
        mk.open_arrays(None)
