""".npz archives: what numpy writes and what we write, compressed members, hostile archives."""

import contextlib
import io
import os
import random
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")
hypothesis_numpy = pytest.importorskip("hypothesis.extra.numpy")

ARRAYS = {
    "floats": np.arange(12.0).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    "scalar": np.float32(2.5),
    "nothing": np.zeros((0, 3)),
    "words": np.array(["aß", "b"]),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "records": np.array([(1, 2.5)], [("a", "<i4"), ("größe", ">f8")]),
    "layer/0/weights": np.ones((2, 2), "f2"),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


@pytest.fixture
def plain(path):
    """An archive by numpy: a of int64 0 to 4, b of float32 ones."""
    np.savez(path, a=np.arange(5, dtype="<i8"), b=np.ones((2, 3), "f4"))
    return path


def same(left, right):
    alike = left.dtype == right.dtype and left.shape == right.shape
    return alike and np.array_equal(left, right)


def require_refused(path, named=None, **how):
    """The archive, or one of its members, is refused with a message that names the file."""

    def read():
        with mk.open_arrays(path, **how) as d:
            return [a.nbytes for a in d.values()]

    with pytest.raises(mk.FormatError, match=named) as caught:
        read()
    assert path.name in str(caught.value)
    assert "byte" in str(caught.value)
    return str(caught.value)


def patch(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def directory_of(path):
    """Offset of the central directory's first entry, and of each local header."""
    with zipfile.ZipFile(path) as archive:
        return archive.start_dir, [info.header_offset for info in archive.infolist()]


# --- reading ------------------------------------------------------------------------------------


def test_we_read_what_savez_writes_without_copying(path):
    np.savez(path, *[np.arange(3)], **ARRAYS)
    with mk.open_arrays(path) as d:
        assert list(d) == [*ARRAYS, "arr_0"]
        for name, array in ARRAYS.items():
            assert same(np.asarray(d[name]), np.asarray(array))
            assert d[name].mapping is d.mapping
            assert d[name].order == ("F" if name == "columns" else "C")


def test_numpy_s_streamed_archives_are_read(path):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    np.savez(pipe, a=np.arange(5), b=np.arange(3.0))  # sizes follow the data
    path.write_bytes(pipe.data)
    with mk.open_arrays(path) as d:
        assert d["a"][...].tolist() == [0, 1, 2, 3, 4]
        assert d["b"][...].tolist() == [0, 1, 2]
        d.verify()


def test_streamed_archives_leave_out_sizes_only(path):
    np.savez_compressed(path, a=np.arange(5))
    _, (local,) = directory_of(path)
    patch(path, local + 6, b"\x08")  # sizes and checksum follow: zeros would be fine
    patch(path, local + 14, bytes(4))
    mk.open_arrays(path, load_compressed=True)["a"].close()
    patch(path, local + 8, b"\0")
    require_refused(path, "method", load_compressed=True)


def test_members_that_are_no_npy_files_are_bytes(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", b"hello")
        archive.mkdir("folder") if hasattr(archive, "mkdir") else archive.writestr("folder/", b"")
    with mk.open_arrays(path) as d:
        assert list(d) == ["notes.txt"]
        assert d["notes.txt"][...].tobytes() == b"hello"


def test_a_member_beside_its_namesake_keeps_its_suffix(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"bytes")
        buffer = io.BytesIO()
        np.save(buffer, np.arange(2))
        archive.writestr("a.npy", buffer.getvalue())
    with mk.open_arrays(path) as d:
        assert list(d) == ["a", "a.npy"]
        assert d["a.npy"][...].tolist() == [0, 1]


def test_empty_archive(path):
    np.savez(path)
    with mk.open_arrays(path) as d:
        assert len(d) == 0


def test_archive_behind_other_bytes_and_before_a_comment(path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        inner = io.BytesIO()
        np.save(inner, np.arange(4))
        archive.writestr("a.npy", inner.getvalue())
        archive.comment = b"a comment"
    path.write_bytes(b"#!/bin/sh\n" + buffer.getvalue())
    with mk.open_arrays(path) as d:  # by its name: it does not begin like an archive
        assert d["a"][...].tolist() == [0, 1, 2, 3]


def test_mode_c_changes_memory_only(plain):
    before = plain.read_bytes()
    with mk.open_arrays(plain, "c") as d:
        d["a"][0] = 7
        assert d["a"][0] == 7
    assert plain.read_bytes() == before


def test_mode_r_plus_is_refused_for_the_sake_of_the_checksums(plain):
    with pytest.raises(ValueError, match=r"a\.npz.*checksums.*mode 'c'"):
        mk.open_arrays(plain, "r+")


def test_read_only_mode_refuses_stores(plain):
    told = "mode 'r'; open it with mode 'c' for"  # and not with one that is refused
    with mk.open_arrays(plain) as d, pytest.raises(TypeError, match=told):
        d["a"][0] = 7


def test_member_is_no_npy_file_that_could_grow(plain):
    with mk.open_arrays(plain) as d:
        assert d["a"]._layout.format == "npz"


def test_verify_finds_a_flipped_bit(plain):
    with mk.open_arrays(plain) as d:
        d.verify()
        at = d["b"].offset
    patch(plain, at, b"\xff")
    with mk.open_arrays(plain) as d:
        assert d["b"].shape == (2, 3)  # nobody asked
        with pytest.raises(mk.FormatError, match=rf"'b\.npy'.*checksum.*{at + 24}"):
            d.verify()


def test_zip64_sizes_of_small_members_are_read(path):
    with zipfile.ZipFile(path, "w") as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.arange(4))
        with archive.open("a.npy", "w", force_zip64=True) as member:
            member.write(buffer.getvalue())
    with mk.open_arrays(path) as d:
        assert d["a"].size == 4


# --- compressed members -------------------------------------------------------------------------


def test_compressed_members_say_how_to_store_them(path):
    np.savez_compressed(path, a=np.arange(1000))
    text = require_refused(path, "compressed")
    for remedy in ("numpy.savez", "mmapkit.save_npz", "load_compressed=True"):
        assert remedy in text


@pytest.mark.parametrize("method", ["ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_compressed_members_are_loaded_on_request(path, method):
    pytest.importorskip({"ZIP_BZIP2": "bz2", "ZIP_LZMA": "lzma"}.get(method, "zlib"))
    data = np.arange(300_000).reshape(3, -1)
    buffer = io.BytesIO()
    np.save(buffer, data)
    with zipfile.ZipFile(path, "w", getattr(zipfile, method)) as archive:
        archive.writestr("a.npy", buffer.getvalue())
        archive.writestr("raw", b"bytes")
    with mk.open_arrays(path, load_compressed=True) as d:
        assert isinstance(d["a"], mk.MappedArray)
        assert same(d["a"][...], data)
        assert d["raw"][...].tobytes() == b"bytes"
        with pytest.raises(TypeError, match="loaded from a file that was opened with mode 'r'"):
            d["a"][0, 0] = 5
        assert d["a"].mapping.path is None
        d.verify()
    with mk.open_arrays(path, "c", load_compressed=True) as d:
        d["a"][0, 0] = 5
        assert d["a"][0, 0] == 5


@pytest.mark.parametrize("method", ["ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_broken_compressed_members_are_refused(path, method):
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(1).integers(0, 9, 5000))
    with zipfile.ZipFile(path, "w", getattr(zipfile, method)) as archive:
        archive.writestr("a.npy", buffer.getvalue())
        size = archive.infolist()[0].compress_size
    content = path.read_bytes()
    for at in (41, 41 + size // 2, 35 + size - 6):
        path.write_bytes(content)
        patch(path, at, bytes(byte ^ 0xFF for byte in content[at : at + 4]))
        require_refused(path, load_compressed=True)


def test_compressed_members_of_no_bytes(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("empty", b"")
    with mk.open_arrays(path, load_compressed=True) as d:
        assert d["empty"].shape == (0,)
        d.verify()


def test_compressed_member_that_promises_too_much_takes_no_memory(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1000))
    start, (local,) = directory_of(path)
    huge = struct.pack("<L", 0x7FFF_FFFF)
    patch(path, start + 24, huge)
    patch(path, local + 22, huge)
    require_refused(path, "promises 2147483647 bytes", load_compressed=True)


# --- hostile archives ---------------------------------------------------------------------------


def test_object_arrays_are_refused(path):
    np.savez(path, a=np.array([None, {}]))
    require_refused(path, "Python objects")


def test_encrypted_members_are_refused(plain):
    start, (local, _) = directory_of(plain)
    patch(plain, start + 8, b"\1")
    patch(plain, local + 6, b"\1")
    require_refused(plain, "encrypted")
    require_refused(plain, "encrypted", load_compressed=True)


# field, its offset in a local header, a value
LIES = [
    ("no local header", 0, b"PK\1\2"),
    ("encryption", 6, b"\1\0"),
    ("method", 8, b"\x08\0"),
    ("checksum", 14, b"abcd"),
    ("name", 30, b"x"),
    ("what follows", 26, b"\xff\xff"),
    ("what follows", 28, b"\xff\xff"),
]


@pytest.mark.parametrize(("named", "at", "value"), LIES, ids=[f"{lie[1]}" for lie in LIES])
def test_local_header_that_disagrees_is_refused(plain, named, at, value):
    _, (local, _) = directory_of(plain)
    patch(plain, local + at, value)
    require_refused(plain, named)


@pytest.mark.parametrize("at", [18, 22])
def test_local_sizes_that_disagree_are_refused(path, at):
    mk.save_npz(path, a=np.arange(5))
    patch(path, at, b"\1\0\0\0")
    require_refused(path, "size")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (16, b"abcd"),  # checksum
        (20, b"\xfe\xff\xff\xff"),  # compressed size
        (20, b"\x10\0\0\0"),
        (24, b"\xfe\xff\xff\xff"),  # size
        (24, b"\x10\0\0\0"),
        (28, b"\1\0"),  # length of the name
        (42, b"\xfe\xff\xff\xff"),  # offset of the local header
        (42, b"\1\0\0\0"),
        (6, b"\xff\0"),  # version needed
        (10, b"\x63\0"),  # method
    ],
)
def test_central_directory_that_lies_is_refused(plain, at, value):
    start, _ = directory_of(plain)
    patch(plain, start + at, value)
    require_refused(plain)


def test_overlapping_members_are_refused(plain):
    start, (first, second) = directory_of(plain)
    entry = plain.read_bytes()[start:]
    at = start + entry.index(b"b.npy") - 4
    patch(plain, at, struct.pack("<L", first))
    require_refused(plain, "takes bytes|what follows")
    patch(plain, at, struct.pack("<L", second - 8))
    require_refused(plain)


def test_two_members_of_one_name_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", b"2")
    require_refused(path, "two members are called 'a.npy'")


def test_nul_in_a_name_is_refused(plain):
    content = plain.read_bytes()
    plain.write_bytes(content.replace(b"a.npy", b"a\0npy"))
    require_refused(plain, "called")


def zip64_archive(size, offset, count=1, directory_bytes=None):
    """An archive of one member whose numbers stand in zip64 fields."""
    name, data = b"a.npy", b"\x93NUMPY"
    extra = struct.pack("<2H2Q", 1, 16, size, size)
    wide = 0xFFFF_FFFF
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 33, 0, wide, wide, 5, len(extra))
    body = local + name + extra + data
    extra = struct.pack("<2H3Q", 1, 24, size, size, offset)
    entry = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, wide, wide, 5, len(extra), 0, 0, 0, 0, wide),
    )
    entry += name + extra
    length = len(entry) if directory_bytes is None else directory_bytes
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, len(body))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(body) + len(entry), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, wide, wide, 0)
    return body + entry + end64 + locator + end


@pytest.mark.parametrize("size", [2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_zip64_numbers_past_the_end_are_refused(path, size):
    path.write_bytes(zip64_archive(size, 0))
    require_refused(path)
    path.write_bytes(zip64_archive(6, size))
    require_refused(path)
    path.write_bytes(zip64_archive(6, 0, directory_bytes=size))
    require_refused(path)
    path.write_bytes(zip64_archive(6, 0, count=size))  # nobody needs it
    require_refused(path, "cut short")


def test_archive_cut_at_each_byte(plain):
    content = plain.read_bytes()
    for length in range(0, len(content), 7):
        plain.write_bytes(content[:length])
        require_refused(plain)


def mutated(content, seed):
    """A few bytes changed, most of them where the directories are."""
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        places = [rng.randrange(len(data))]
        for magic in (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\x93NUMPY"):
            found = data.find(magic, rng.randrange(len(data)))
            if found >= 0:
                places.append(min(found + rng.randrange(64), len(data) - 1))
        at = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0:
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == 1:
            data[at : at + 4] = rng.choice([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f"])
        elif kind == 2:
            del data[at : at + rng.randrange(1, 9)]
        else:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
    return bytes(data)


@pytest.fixture(scope="module")
def archives():
    """Archives of every kind, as bytes."""
    found = []
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(3, "i2"), "s": np.array("text")}
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, **arrays)
        found.append(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("x.npy", "raw"):
            inner = io.BytesIO()
            np.save(inner, np.arange(4))
            archive.writestr(name, inner.getvalue())
        archive.comment = b"comment"
    return [*found, buffer.getvalue(), zip64_archive(6, 0)]


def require_harmless(path, load):
    """Opened, everything it holds can be read; otherwise it is refused in an orderly way."""
    try:
        d = mk.open_arrays(path, load_compressed=load)
    except (ValueError, OSError):
        return
    with d:
        size = d.mapping.size
        for name in d:
            try:
                found = d[name]
            except (ValueError, OSError):
                continue
            if found.mapping is d.mapping:
                first, last = found._layout.span
                assert 0 <= first <= last <= size
            found[...].tobytes()
        with contextlib.suppress(ValueError, OSError):
            d.verify()


@examples(400)
@given(st.integers(0, 3), st.integers(0, 2**32), st.booleans())
def test_mutated_archives_never_crash(tmp_path_factory, archives, which, seed, load):
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    path.write_bytes(mutated(archives[which], seed))
    require_harmless(path, load)


@pytest.mark.slow
def test_many_mutated_archives_never_crash(tmp_path, archives):
    path = tmp_path / "mutated.npz"
    for seed in range(20_000):
        path.write_bytes(mutated(archives[seed % 4], seed))
        require_harmless(path, seed % 2 == 0)


# --- writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", [True, False])
def test_numpy_reads_what_we_write(path, aligned):
    mk.save_npz(path, [1, 2], np.eye(2), aligned=aligned, **ARRAYS)
    with np.load(path) as z, mk.open_arrays(path) as d:
        assert sorted(z.files) == sorted([*ARRAYS, "arr_0", "arr_1"]) == sorted(d)
        for name, array in ARRAYS.items():
            assert same(z[name], np.asarray(array))
            assert same(np.asarray(d[name]), np.asarray(array))
            assert d[name].offset % (4096 if aligned else 64) == 0
        assert z["arr_0"].tolist() == [1, 2]
        d.verify()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


@examples(60)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda text: text.isidentifier()),
        hypothesis_numpy.arrays(
            st.one_of(hypothesis_numpy.integer_dtypes(), hypothesis_numpy.floating_dtypes()),
            hypothesis_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_any_arrays_go_there_and_back(tmp_path_factory, arrays, aligned):
    arrays.pop("aligned", None)
    path = tmp_path_factory.getbasetemp() / "any.npz"
    mk.save_npz(path, aligned=aligned, **arrays)
    with np.load(path) as z, mk.open_arrays(path) as d:
        for name, array in arrays.items():
            assert z[name].tobytes() == d[name][...].tobytes() == array.tobytes()


def test_padding_of_every_length_is_well_formed(path):
    for length in (*range(1, 70), 4000, 4020, 4030):
        mk.save_npz(path, aligned=length > 70, **{"n" * length: np.arange(3), "b": np.arange(2)})
        with zipfile.ZipFile(path) as archive, mk.open_arrays(path) as d:
            assert archive.testzip() is None
            assert all(a.offset % 64 == 0 for a in d.values())
            content = path.read_bytes()
            for info in archive.infolist():
                name, extra = struct.unpack_from("<2H", content, info.header_offset + 26)
                at = info.header_offset + 30 + name
                end = at + extra
                while at < end:
                    at += 4 + struct.unpack_from("<H", content, at + 2)[0]
                assert at == end


def test_same_arrays_give_the_same_bytes(tmp_path):
    mk.save_npz(tmp_path / "a", x=np.arange(5))
    mk.save_npz(tmp_path / "b", x=np.arange(5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_strided_arrays_are_written_in_pieces(path):
    data = np.arange(1_200_000).reshape(1000, 1200)
    mk.save_npz(path, a=data[::-2, ::3], b=data.T, c=data[:, :0], d=data[5:6])
    with np.load(path) as z:
        assert same(z["a"], data[::-2, ::3])
        assert same(z["b"], data.T)
        assert z["c"].shape == (1000, 0)
        assert same(z["d"], data[5:6])


def test_mapped_arrays_are_written_without_a_copy(tmp_path, path):
    with mk.create_array(tmp_path / "big.npy", 4 << 20, "u1") as a:
        a[...] = 3
        tracemalloc = pytest.importorskip("tracemalloc")
        tracemalloc.start()
        try:
            mk.save_npz(path, a=a)
            assert tracemalloc.get_traced_memory()[1] < 3 << 20
        finally:
            tracemalloc.stop()
    with mk.open_arrays(path) as d:
        assert (d["a"][...] == 3).all()


@pytest.mark.parametrize("name", ["file", "path", "args", "arrays", "self", "arr_7"])
def test_names_of_parameters_are_names_of_arrays(path, name):
    mk.save_npz(path, **{name: np.arange(3)})
    with np.load(path) as z:
        assert z.files == [name]


@pytest.mark.parametrize(
    "name",
    ["", "a\0b", "/a", "../a", "a/../b", "a\\b", "\ud800", pytest.param("x" * 65532, id="long")],
    ids=ascii,
)
def test_bad_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name"):
        mk.save_npz(tmp_path / "a.npz", **{name: np.arange(3)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "array", [np.array([None]), np.array([(1, "x")], "i4,O"), np.zeros(3, "V0"), [[1], [2, 3]]]
)
def test_what_cannot_be_stored_leaves_the_file_alone(path, array):
    path.write_bytes(b"precious")
    with pytest.raises(ValueError):
        mk.save_npz(path, good=np.arange(3), bad=array)
    assert path.read_bytes() == b"precious"
    assert os.listdir(path.parent) == ["a.npz"]


def test_dtypes_that_npy_has_no_word_for_are_refused(path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(ValueError, match=r"'a'.*bfloat16 would come back"):
        mk.save_npz(path, a=np.zeros(3, ml_dtypes.bfloat16))
    with pytest.raises(ValueError, match="bfloat16 would come back"):
        mk.create_array(path, 3, ml_dtypes.bfloat16)
    assert not path.exists()


def test_arrays_of_one_name_are_refused(path):
    with pytest.raises(ValueError, match="arr_0"):
        mk.save_npz(path, np.arange(3), arr_0=np.arange(3))
    with pytest.raises(TypeError, match="aligned"):
        mk.save_npz(path, aligned=np.arange(3))


def test_an_existing_file_is_replaced_and_keeps_its_permissions(path):
    path.write_bytes(b"old")
    path.chmod(0o640)
    before = path.stat().st_mode
    mk.save_npz(path, a=np.arange(3))
    assert path.stat().st_mode == before
    assert os.listdir(path.parent) == ["a.npz"]


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links and umask")
def test_links_are_followed_and_new_files_get_usual_permissions(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a.npz")
    mk.save_npz(tmp_path / "link", a=np.arange(3))
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "usual").touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("usual", "there/a.npz")}
    assert len(modes) == 1


def test_what_is_no_file_is_not_replaced(tmp_path):
    with pytest.raises(ValueError, match="regular"):
        mk.save_npz(tmp_path, a=np.arange(3))
    with pytest.raises(FileNotFoundError, match="none"):
        mk.save_npz(tmp_path / "none" / "a.npz", a=np.arange(3))


def test_mapping_of_a_replaced_archive_keeps_the_old_bytes(path):
    if os.name != "posix":
        pytest.skip("a mapped file cannot be replaced there")
    mk.save_npz(path, a=np.zeros(3))
    with mk.open_arrays(path) as d:
        mk.save_npz(path, a=np.ones(3))
        assert d["a"][...].tolist() == [0, 0, 0]
        mk.save_npz(path, a=d["a"], b=d["a"] + 2)  # from what it replaces
    with np.load(path) as z:
        assert (z["a"].tolist(), z["b"].tolist()) == ([0, 0, 0], [2, 2, 2])


@pytest.mark.slow
def test_members_beyond_4_gib_are_zip64(tmp_path):
    path = tmp_path / "large.npz"
    with mk.create_array(tmp_path / "large.npy", (1 << 32) + 8, "u1", sparse=True) as a:
        a[-1] = 7
        mk.save_npz(path, a=a, b=np.arange(3))
    with mk.open_arrays(path) as d:
        assert d["a"].shape == ((1 << 32) + 8,)
        assert d["a"][-1] == 7
        assert d["b"][...].tolist() == [0, 1, 2]
        assert d["b"].offset > 1 << 32
        d.verify()
    with np.load(path) as z:
        assert z["b"].tolist() == [0, 1, 2]


# --- aligned .npy files -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_aligned_npy_begins_on_a_page(tmp_path, shape):
    with mk.create_array(tmp_path / "a.npy", shape, "<f4", aligned=True) as a:
        assert a.offset == 4096
        a[...] = 5
        a.flush()
    assert same(np.load(tmp_path / "a.npy"), np.full(shape, 5, "<f4"))
    assert (tmp_path / "a.npy").stat().st_size == 4096 + np.zeros(shape, "<f4").nbytes
    with mk.open_array(tmp_path / "a.npy") as a:
        assert (a.offset, a.shape) == (4096, shape)


def test_saving_rows_that_differ_in_length_names_the_array(tmp_path):
    with pytest.raises(ValueError, match="array 'x': "):
        mk.save_npz(tmp_path / "a.npz", x=[[1], [1, 2]])
    assert not list(tmp_path.iterdir())
