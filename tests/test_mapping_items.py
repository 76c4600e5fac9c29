"""Bytes in and out: items and slices as of a bytearray, and guarded copies."""

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

SIZE = 300


@pytest.fixture
def m():
    with mk.anonymous(10) as mapping:
        mapping[:] = bytes(range(10))
        yield mapping


@pytest.fixture(params=["r+", "c"])
def writable(request, file):
    with mk.open(file, request.param) as mapping:
        yield mapping


# --- one byte -----------------------------------------------------------------------------------


def test_index_gives_an_int_from_either_end(m):
    assert [m[i] for i in range(-10, 10)] == [*range(10), *range(10)]
    assert type(m[0]) is int


@pytest.mark.parametrize("index", [10, -11, 2**31, 2**63 - 1, 2**63, -(2**63), 2**70, -(2**70)])
def test_index_out_of_range_names_it_and_the_size(m, index):
    with pytest.raises(IndexError, match=rf"{index} .* 10 bytes"):
        m[index]
    with pytest.raises(IndexError, match=rf"{index} .* 10 bytes"):
        m[index] = 0


@pytest.mark.parametrize("key", [1.0, "1", None, (1, 2), b"1", ...])
def test_index_of_another_type_is_named(m, key):
    with pytest.raises(TypeError, match=type(key).__name__):
        m[key]
    with pytest.raises(TypeError, match=type(key).__name__):
        m[key] = 0


def test_numpy_integers_and_bools_index(m):
    np = pytest.importorskip("numpy")
    assert (m[np.int64(3)], m[np.uint8(4)], m[True]) == (3, 4, 1)
    m[np.int32(-1)] = np.uint8(200)
    assert m[9] == 200


@pytest.mark.parametrize("value", [-1, 256, 2**64, -(2**70)])
def test_byte_out_of_range_is_named(m, value):
    with pytest.raises(ValueError, match=str(value)):
        m[0] = value
    assert m[0] == 0


@pytest.mark.parametrize("value", [1.0, "1", b"1", None])
def test_byte_of_another_type_is_named(m, value):
    with pytest.raises(TypeError, match=type(value).__name__):
        m[0] = value


# --- slices -------------------------------------------------------------------------------------


def test_slice_is_a_view_without_copying(m):
    part = m[2:6]
    assert isinstance(part, memoryview)
    assert (part.format, part.itemsize, part.ndim, part.readonly) == ("B", 1, 1, False)
    part[0] = 99
    assert m[2] == 99
    m[5] = 98
    assert part.tolist() == [99, 3, 4, 98]


def test_slice_of_a_read_only_mapping_is_read_only(file):
    with mk.open(file) as m:
        with m[1:5] as part:
            assert part.readonly
            with pytest.raises(TypeError):
                part[0] = 1
        with pytest.raises(BufferError, match="read-only"):
            m.read_into(0, m)


slices = st.slices(SIZE)


@examples(100)
@given(slices)
def test_slices_are_those_of_a_bytearray(key):
    oracle = bytearray(i % 251 for i in range(SIZE))
    with mk.anonymous(SIZE) as m:
        m[:] = oracle
        assert bytes(m[key]) == bytes(oracle[key])


@examples(100)
@given(slices, st.binary(max_size=SIZE))
def test_slice_stores_are_those_of_a_bytearray(key, data):
    oracle = bytearray(i % 251 for i in range(SIZE))
    with mk.anonymous(SIZE) as m:
        m[:] = oracle
        count = len(oracle[key])
        data = (data * count)[:count] if data else bytes(count)
        m[key] = data
        oracle[key] = data
        assert bytes(m) == bytes(oracle)


@pytest.mark.parametrize("key", [slice(0, 5), slice(None, None, 2), slice(9, 4, -1), slice(4, 4)])
@pytest.mark.parametrize("extra", [-1, 1])
def test_slice_store_never_changes_the_size(m, key, extra):
    count = len(range(10)[key])
    if count + extra < 0:
        extra = 1
    with pytest.raises(ValueError, match=f"{count + extra} .* {count}"):
        m[key] = bytes(count + extra)
    assert bytes(m) == bytes(range(10))


def test_slice_step_of_zero(m):
    with pytest.raises(ValueError, match="step"):
        m[::0]
    with pytest.raises(ValueError, match="step"):
        m[::0] = b""


def test_slice_store_from_itself_may_overlap(m):
    m[2:8] = m[0:6]
    assert bytes(m) == bytes([0, 1, 0, 1, 2, 3, 4, 5, 8, 9])
    m[::-1] = m[:]
    assert bytes(m) == bytes([9, 8, 5, 4, 3, 2, 1, 0, 1, 0])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda np: np.arange(3, dtype=">i4"), id="big-endian"),
        pytest.param(lambda np: np.ones(2, "i2,f4"), id="structured"),
        pytest.param(lambda np: np.ones((2, 3), order="F").T, id="two dimensions"),
        pytest.param(lambda np: np.zeros((0, 3)), id="nothing"),
        pytest.param(lambda np: np.array(5.0), id="0-d"),
        pytest.param(lambda np: np.array(["2020-02-02"], "M8[D]"), id="datetime"),
        pytest.param(lambda np: array.array("d", [1, 2]), id="array.array"),
        pytest.param(lambda np: bytearray(b"abc"), id="bytearray"),
    ],
)
def test_any_contiguous_buffer_can_be_stored(make):
    np = pytest.importorskip("numpy")
    data = make(np)
    expected = bytes(data) if isinstance(data, bytearray) else data.tobytes()
    with mk.anonymous(100) as m:
        m[1 : 1 + len(expected)] = data
        assert m.read(1, len(expected)) == expected
        assert m.write(50, data) == len(expected)
        assert m.read(50, len(expected)) == expected


@pytest.mark.parametrize("value", [1, "ab", None, [1, 2]])
def test_slice_store_takes_buffers_only(m, value):
    with pytest.raises(TypeError, match=type(value).__name__):
        m[0:2] = value
    with pytest.raises(TypeError, match=type(value).__name__):
        m.write(0, value)


def test_stores_into_a_read_only_mapping_raise_type_error(file, pattern):
    with mk.open(file) as m:
        for store in (
            lambda: m.__setitem__(0, 1),
            lambda: m.__setitem__(slice(0, 2), b"ab"),
            lambda: m.__setitem__(slice(0, 4, 2), b"ab"),
            lambda: m.write(0, b"ab"),
            lambda: m.write(0, b""),
            lambda: m.move(0, 5, 2),
            lambda: m.store("<i4", 0, 1),
        ):
            with pytest.raises(TypeError, match=r"file\.bin.*read-only.*'r\+'"):
                store()
        assert bytes(m) == pattern


def test_bytes_cannot_be_deleted(m):
    for key in (0, slice(0, 2)):
        with pytest.raises(TypeError, match="size"):
            del m[key]


# --- iteration and membership -------------------------------------------------------------------


def test_iteration_gives_ints_and_reversed_too(m):
    assert list(m) == list(range(10))
    assert list(reversed(m)) == list(range(9, -1, -1))


@pytest.mark.parametrize("item", [0, 9, b"", b"\0", b"\3\4\5", b"\x09", bytearray(b"\1\2")])
def test_membership_finds(m, item):
    assert item in m


@pytest.mark.parametrize("item", [10, 255, b"\4\3", b"\x09\x0a", bytes(range(11))])
def test_membership_misses(m, item):
    assert item not in m


@pytest.mark.parametrize("item", [-1, 256])
def test_membership_of_no_byte_is_named(m, item):
    with pytest.raises(ValueError, match=str(item)):
        item in m  # noqa: B015


@pytest.mark.parametrize("item", ["a", None, 1.5])
def test_membership_of_other_types(m, item):
    with pytest.raises(TypeError):
        item in m  # noqa: B015


def test_membership_across_the_chunks_of_the_search():
    chunk = 1 << 20
    with mk.anonymous(2 * chunk + 5) as m:
        for at in (chunk - 2, chunk - 1, chunk, 2 * chunk - 1, 2 * chunk + 1):
            m[at : at + 4] = b"word"
            assert b"word" in m
            m[at : at + 4] = bytes(4)
            assert b"word" not in m


# --- copies -------------------------------------------------------------------------------------

offsets = st.integers(0, SIZE + 5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), offsets, st.binary(max_size=SIZE)),
        st.tuples(st.just("move"), offsets, offsets, offsets),
        st.tuples(st.just("store"), st.integers(-SIZE, SIZE - 1), st.integers(0, 255)),
        st.tuples(st.just("read"), offsets, st.none() | offsets),
        st.tuples(st.just("read_into"), offsets, offsets),
    ),
    max_size=20,
)


def bytearray_step(oracle, step):
    """Do to a bytearray what Mapping does; None where the range does not fit."""
    name, first, *rest = step
    if name == "store":
        oracle[first] = rest[0]
        return 0
    if name == "write":
        if first + len(rest[0]) > SIZE:
            return None
        oracle[first : first + len(rest[0])] = rest[0]
        return len(rest[0])
    if name == "move":
        if max(first, rest[0]) + rest[1] > SIZE:
            return None
        oracle[first : first + rest[1]] = oracle[rest[0] : rest[0] + rest[1]]
        return 0
    count = rest[0] if rest[0] is not None else max(SIZE - first, 0)
    return None if first + count > SIZE else bytes(oracle[first : first + count])


def mapping_step(m, step):
    name, first, *rest = step
    if name == "store":
        m[first] = rest[0]
        return 0
    if name == "read_into":
        target = bytearray(rest[0])
        assert m.read_into(first, target) == rest[0]
        return bytes(target)
    return getattr(m, name)(first, *rest) or 0


@examples(80)
@given(steps)
def test_copies_are_those_of_a_bytearray(program):
    oracle = bytearray(SIZE)
    with mk.anonymous(SIZE) as m:
        for step in program:
            expected = bytearray_step(oracle, step)
            if expected is None:
                with pytest.raises(ValueError, match="300 bytes"):
                    mapping_step(m, step)
            else:
                assert (mapping_step(m, step) or b"") == (expected or b"")
            assert bytes(m) == bytes(oracle)


def test_copies_work_in_every_writable_mode(writable, pattern):
    expected = bytearray(pattern)
    writable.write(4090, b"across a page boundary")
    expected[4090 : 4090 + 22] = b"across a page boundary"
    writable.move(0, 4090, 5000)
    expected[0:5000] = expected[4090:9090]
    writable.move(5001, 1, 4999)
    expected[5001:10_000] = expected[1:5000]
    assert writable.read() == bytes(expected)


@pytest.mark.parametrize("offset", [-1, 11, 2**63, -(2**64), 10**25])
def test_copy_offset_outside_is_named(m, offset):
    for call in (
        lambda: m.read(offset),
        lambda: m.read(offset, 1),
        lambda: m.read_into(offset, bytearray(1)),
        lambda: m.write(offset, b"x"),
        lambda: m.move(offset, 0, 1),
        lambda: m.move(0, offset, 1),
    ):
        with pytest.raises(ValueError, match=str(offset)):
            call()
    assert bytes(m) == bytes(range(10))


@pytest.mark.parametrize("size", [-1, 11, 2**63 - 1, 2**64])
def test_copy_size_outside_is_named(m, size):
    for call in (lambda: m.read(0, size), lambda: m.move(0, 0, size)):
        with pytest.raises(ValueError, match=rf"{size}\b"):
            call()


def test_copy_that_does_not_fit_stores_nothing(m):
    with pytest.raises(ValueError, match=r"\[8, 11\).*10 bytes"):
        m.write(8, b"abc")
    target = bytearray(b"....")
    with pytest.raises(ValueError, match=r"\[7, 11\).*10 bytes"):
        m.read_into(7, target)
    assert (bytes(m), target) == (bytes(range(10)), b"....")


def test_read_into_needs_a_writable_buffer(m):
    for target in (b"abc", memoryview(b"abc")):
        with pytest.raises((TypeError, BufferError)):
            m.read_into(0, target)


def test_read_into_and_write_between_parts_of_one_mapping(m):
    assert m.read_into(0, m[4:10]) == 6
    assert bytes(m) == bytes([0, 1, 2, 3, 0, 1, 2, 3, 4, 5])
    assert m.write(0, m[4:]) == 6
    assert bytes(m[:6]) == bytes(range(6))
