""".safetensors files: read like the reference implementation does, and refused where it refuses."""

import json
import math
import random
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")

PLAIN = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
}
NUMPY = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "C64": "<c8",
}
SMALL = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}


def packed(header, data=None, length=None):
    """A file around a header, which may be text; the data count up, as many as are promised."""
    text = header if isinstance(header, (bytes, str)) else json.dumps(header)
    text = text.encode() if isinstance(text, str) else text
    if data is None:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name[0] != "_"]
        data = bytes(i % 120 for i in range(max(ends, default=0)))
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


@pytest.fixture
def refuse(path):
    def check(content, named=None):
        path.write_bytes(content)
        with pytest.raises(mk.FormatError, match=named) as caught:
            mk.open_arrays(path)
        assert "m.safetensors" in str(caught.value)
        assert "byte" in str(caught.value)

    return check


def one(**changes):
    """A header of one tensor: two bytes."""
    return {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2], **changes}}


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NUMPY)
def test_every_dtype_of_numpy_is_mapped(path, dtype):
    kind = np.dtype(NUMPY[dtype])
    size = 6 * kind.itemsize
    data = bytes(i % 2 for i in range(size))
    path.write_bytes(
        packed({"x": {"dtype": dtype, "shape": [2, 3], "data_offsets": [0, size]}}, data)
    )
    with mk.open_arrays(path) as d:
        assert (d["x"].dtype, d["x"].shape) == (kind, (2, 3))
        assert d["x"][...].tobytes() == data


@pytest.mark.parametrize("dtype", SMALL)
def test_small_floats_are_those_of_ml_dtypes(path, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = np.dtype(getattr(ml_dtypes, SMALL[dtype]))
    numbers = np.array([0.5, 1, 2, 4], kind)
    entry = {"dtype": dtype, "shape": [4], "data_offsets": [0, numbers.nbytes]}
    path.write_bytes(packed({"x": entry}, numbers.tobytes()))
    with mk.open_arrays(path) as d:
        assert d["x"].dtype == kind
        assert d["x"][...].astype("f4").tolist() == [0.5, 1, 2, 4]


def test_without_ml_dtypes_only_its_dtypes_are_missing(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    header = {
        "brain": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
        "plain": {"dtype": "U8", "shape": [3], "data_offsets": [2, 5]},
    }
    path.write_bytes(packed(header))
    with mk.open_arrays(path) as d:
        assert list(d) == ["brain", "plain"]
        assert d["plain"][...].tolist() == [2, 3, 4]
        with pytest.raises(mk.FormatError, match=r"'brain'.*BF16.*pip install ml_dtypes"):
            d["brain"]


@pytest.mark.parametrize(
    ("dtype", "shape", "size"), [("F4", [4], 2), ("F6_E2M3", [4], 3), ("X9", [], 7)]
)
def test_dtypes_that_numpy_cannot_see_say_how_to_get_their_bytes(path, dtype, shape, size):
    path.write_bytes(
        packed({"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}, bytes(size))
    )
    refused = pytest.raises(mk.FormatError, match=rf"{dtype}.*open_array\(file")
    with mk.open_arrays(path) as d, refused as caught:
        d["x"]
    place = str(caught.value).split("offset=")[1]
    offset, shape = (int(word.strip(" shape=)")) for word in place.split(","))
    with mk.open_array(path, dtype="u1", offset=offset, shape=shape) as a:
        assert a[...].tobytes() == bytes(size)


def test_metadata_is_given(path):
    path.write_bytes(packed({"__metadata__": {"format": "pt", "größe": "1"}, **PLAIN}))
    with mk.open_arrays(path) as d:
        assert dict(d.metadata) == {"format": "pt", "größe": "1"}
        assert list(d) == ["a", "b"]
        with pytest.raises(TypeError):
            d.metadata["more"] = "x"
    path.write_bytes(packed(PLAIN))
    with mk.open_arrays(path) as d:
        assert dict(d.metadata) == {}


@pytest.mark.parametrize("header", [{}, {"__metadata__": {"a": "b"}}, {"__metadata__": None}])
def test_files_without_tensors(path, header):
    path.write_bytes(packed(header, b""))
    with mk.open_arrays(path) as d:
        assert len(d) == 0


def test_any_order_of_the_header_and_padding_behind_it(path):
    header = json.dumps(dict(reversed(PLAIN.items()))) + "    "
    path.write_bytes(packed(header, bytes(32)))
    with mk.open_arrays(path) as d:
        assert list(d) == ["b", "a"]
        assert d["b"].offset == d["a"].offset + 24


def test_empty_tensors_share_an_offset(path):
    header = {
        "e": {"dtype": "F32", "shape": [0, 5], "data_offsets": [0, 0]},
        "x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "f": {"dtype": "F32", "shape": [5, 0], "data_offsets": [1, 1]},
    }
    path.write_bytes(packed(header))
    with mk.open_arrays(path) as d:
        assert [a.shape for a in d.values()] == [(0, 5), (1,), (5, 0)]


def test_r_plus_writes_and_c_does_not(path):
    path.write_bytes(packed(PLAIN))
    with mk.open_arrays(path, "c") as d:
        d["a"][0] = -1
        assert d["a"][0].tolist() == [-1, -1, -1]
    with mk.open_arrays(path, "r+") as d:
        assert d["a"][0, 0] != -1
        d["a"][1, 2] = 2.5
        d.flush()
    with mk.open_arrays(path) as d:
        assert d["a"][1, 2] == 2.5
        with pytest.raises(TypeError, match="mode 'r'"):
            d["a"][0] = 1


def test_there_is_nothing_to_verify(path):
    path.write_bytes(packed(PLAIN))
    with mk.open_arrays(path) as d, pytest.raises(mk.UnsupportedError, match="no checksums"):
        d.verify()


# --- hostile files ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [100_000_001, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_header_lengths_past_the_limit_are_refused(refuse, length):
    refuse(packed(PLAIN, length=length), rf"{length}.*100000000")


def test_header_that_is_longer_than_the_file(refuse):
    refuse(packed("{}", b"", length=3), "ends? at byte 11.* 10 bytes|end at byte 11")
    refuse(b"", "8 bytes")
    refuse(b"\2\0\0\0\0\0\0", "7")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "[{}]", '"a"', "5", "null", "{", "{]", "{'a': 1}", "{}{}", "{},", "}", " {}"),
        *('{"a": NaN}', '{"a": Infinity}', "{" + '"a":{' * 90_000, b'{"\xff": 1}', "{}\0"),
        *(f'{{"a": {"9" * 5000}}}', '{"a": 1e999}', '{"a": null}', '{"a": 5}', '{"a": []}'),
        '{"a": {"dtype": "U8", "shape": [], "data_offsets": [0, 0]}, "a": {}}',
        '{"a": {"dtype": "U8", "dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}',
        '{"__metadata__": {"a": "1", "a": "1"}}',
    ],
    ids=lambda text: str(text)[:20],
)
def test_headers_that_are_no_json_object_are_refused(refuse, text):
    refuse(packed(text, bytes(2)))


@pytest.mark.parametrize("found", [[], "x", 5, {"a": 1}, {"a": None}, {"a": {}}, {"a": ["b"]}])
def test_metadata_of_other_types_is_refused(refuse, found):
    refuse(packed({"__metadata__": found}, b""), "__metadata__")


@pytest.mark.parametrize(
    "changes",
    [
        *({"dtype": value} for value in (None, 5, ["U8"], {})),
        *({"shape": value} for value in (None, 2, "2", [2.0], ["2"], [True], [-2], [[2]], {})),
        *({"shape": value} for value in ([2**64], [10**30], [3], [1], [2, 2], [0], [1] * 65)),
        *({"shape": value} for value in ([2**32, 2**32], [2**63, 2], [0, 2**64 - 1], [])),
        *({"data_offsets": value} for value in (None, 2, [0], [0, 2, 2], ["0", 2], [0, 2.0])),
        *({"data_offsets": value} for value in ([-2, 0], [2, 0], [0, 3], [0, 1], [1, 3], [1, 2])),
        *({"data_offsets": value} for value in ([0, 2**63], [0, 2**64], [2**64 - 2, 2**64], {})),
        *({"data_offsets": value} for value in ([False, 2], [10**40, 10**40 + 2])),
        *({"dtype": value} for value in ("U16", "F64", "F4", "BF16", "F8_E4M3")),
    ],
    ids=str,
)
def test_entries_that_make_no_sense_are_refused(refuse, changes):
    changed = one(**changes)
    if changes.get("dtype") == "F8_E4M3":
        changed = one(dtype="F8_E4M3", shape=[3])
    refuse(packed(changed, bytes(2)), "'a'|tensors end")


@pytest.mark.parametrize("missing", ["dtype", "shape", "data_offsets"])
def test_entries_without_a_key_are_refused(refuse, missing):
    header = one()
    del header["a"][missing]
    refuse(packed(header, bytes(2)), missing)


@pytest.mark.parametrize(
    ("second", "size", "named"),
    [
        ([1, 3], 3, "begins at byte"),  # overlaps
        ([0, 2], 2, "begins at byte"),  # the same bytes
        ([3, 5], 5, "begins at byte"),  # a hole
        ([2, 4], 5, "tensors end"),  # more bytes
        ([2, 4], 3, "but the file has"),  # fewer
    ],
)
def test_holes_and_overlaps_are_refused(refuse, second, size, named):
    header = {**one(), "b": {"dtype": "U8", "shape": [2], "data_offsets": second}}
    refuse(packed(header, bytes(size)), named)


def test_many_duplicates_are_found_quickly(refuse):
    keys = ",".join(f'"{i % 100_000}":1' for i in range(200_000))
    refuse(packed("{" + keys + "}", b""), "twice")


# --- against the reference implementation -------------------------------------------------------


def test_reference_reads_what_it_wrote_as_we_do(path):
    reference = pytest.importorskip("safetensors.numpy")
    arrays = {
        name: np.arange(6).astype(kind).reshape(2, 3)
        for name, kind in NUMPY.items()
        if name in reference._TYPES
    }
    arrays["scalar"] = np.array(5.0)
    arrays["nothing"] = np.zeros((0, 3), "f4")
    reference.save_file(arrays, path, metadata={"key": "value"})
    with mk.open_arrays(path) as d:
        assert set(d) == set(arrays)
        assert dict(d.metadata) == {"key": "value"}
        for name, array in arrays.items():
            assert d[name].dtype == array.dtype
            assert np.array_equal(d[name][...], array)


def test_reference_sees_what_we_stored(path):
    reference = pytest.importorskip("safetensors.numpy")
    reference.save_file({"a": np.zeros((2, 3)), "b": np.zeros(4, "i2")}, path)
    with mk.open_arrays(path, "r+") as d:
        d["a"][...] = [[1, 2, 3], [4, 5, 6]]
        d["b"][1] = 7
        d.flush()
    found = reference.load_file(path)
    assert found["a"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["b"].tolist() == [0, 7, 0, 0]


def mutated(seed):
    """A valid file with a few changes in its header, its length or its data."""
    rng = random.Random(seed)
    header = {"__metadata__": {"k": "v"}, **PLAIN, "c": dict(PLAIN["a"], data_offsets=[32, 56])}
    content = bytearray(packed(header))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(8, len(content) - 20) if rng.random() < 0.9 else rng.randrange(8)
        kind = rng.randrange(4)
        if kind == 0:
            content[at] = (
                rng.choice(b'0123456789-.,:[]{}" aeFIU') if at >= 8 else rng.randrange(256)
            )
        elif kind == 1:
            content[at : at + rng.randrange(5)] = b""
        elif kind == 2:
            content[at:at] = bytes(rng.choices(b'0123456789,[]{}" -', k=rng.randrange(1, 4)))
        else:
            del content[len(content) - rng.randrange(1, 9) :]
    if rng.random() < 0.7:  # true again to its length
        end = content.rfind(b"}}") + 2
        if end > 8:
            content[:8] = struct.pack("<Q", end - 8)
    return bytes(content)


def compare_with_reference(path, content):
    """What we open lies in the file; what the reference takes, we take, and read alike."""
    path.write_bytes(content)
    try:
        theirs = dict(reference_of(content))
    except Exception:
        theirs = None
    try:
        d = mk.open_arrays(path)
    except (ValueError, OSError):
        # It does not mind duplicate keys, nor what precedes the brace.
        assert theirs is None or content[8:9] != b"{" or has_duplicates(content)
        return
    with d:
        found = {}
        for name in d:
            try:
                array = d[name]
            except mk.FormatError:
                continue
            first, last = array._layout.span
            assert 0 <= first <= last <= len(content)
            found[name] = (list(array.shape), array[...].tobytes())
        if theirs is not None:
            for name, (shape, data) in found.items():
                assert (shape, data) == (theirs[name]["shape"], bytes(theirs[name]["data"]))


def reference_of(content):
    return pytest.importorskip("safetensors").deserialize(content)


def has_duplicates(content):
    text = content[8 : 8 + int.from_bytes(content[:8], "little")]
    found = []

    def pairs(items):
        found.append(len(items) != len(dict(items)))
        return dict(items)

    json.loads(text, object_pairs_hook=pairs)
    return any(found)


@examples(600)
@given(st.integers(0, 2**32))
def test_mutated_files_are_taken_as_the_reference_takes_them(tmp_path_factory, seed):
    pytest.importorskip("safetensors")
    compare_with_reference(tmp_path_factory.getbasetemp() / "mutated", mutated(seed))


@pytest.mark.slow
def test_many_mutated_files_are_taken_as_the_reference_takes_them(tmp_path):
    pytest.importorskip("safetensors")
    for seed in range(50_000):
        compare_with_reference(tmp_path / "mutated", mutated(seed))


@examples(300)
@given(st.integers(0, 2**32))
def test_mutated_files_never_lead_outside(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "outside.safetensors"
    content = mutated(seed)
    path.write_bytes(content)
    try:
        d = mk.open_arrays(path)
    except (ValueError, OSError):
        return
    with d:
        for name in d:
            try:
                found = d[name]
            except mk.FormatError:
                continue
            assert found.offset + found.nbytes <= len(content)
            assert found.nbytes == math.prod(found.shape) * found.dtype.itemsize
            found[...].tobytes()
