"""One number at a time: load and store against the struct module."""

import math
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

ORDERS = ["", "@", "=", "<", ">", "!"]
INTEGERS = "bBhHiIlLqQ"
FLOATS = "efd"
# numpy's code -> struct's of the same meaning, where the size is standard
NUMPY = {
    "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d", "b1": "?", "S1": "c",
}  # fmt: skip
NUMPY_ORDERS = {"": "=", "=": "=", "<": "<", ">": ">", "|": "="}
CODES = [(order + code, order + code) for order in ORDERS for code in INTEGERS + FLOATS + "?c"]
CODES += [(code, code) for code in ("n", "N", "@n", "@N")]
CODES += [(o + n, NUMPY_ORDERS[o] + s) for n, s in NUMPY.items() for o in NUMPY_ORDERS]


@pytest.fixture
def m():
    with mk.anonymous(64) as mapping:
        yield mapping


def same(left, right):
    both_nan = isinstance(left, float) and math.isnan(left) and math.isnan(right)
    return type(left) is type(right) and (both_nan or left == right)


@examples(60)
@given(raw=st.binary(min_size=8, max_size=8), offset=st.integers(0, 20))
def test_load_and_store_agree_with_struct(raw, offset):
    with mk.anonymous(64) as m:
        for code, oracle in CODES:
            size = struct.calcsize(oracle)
            (expected,) = struct.unpack_from(oracle, raw)
            m[:] = b"." * 64
            m.write(offset, raw)
            assert same(m.load(code, offset), expected), code
            m[:] = b"." * 64
            m.store(code, offset, expected)
            stored = struct.pack(oracle, expected)
            assert m.read() == b"." * offset + stored + b"." * (64 - offset - size), code


@pytest.mark.parametrize("code", [order + code for order in ORDERS for code in INTEGERS])
def test_integers_at_and_beyond_their_limits(m, code):
    bits = 8 * struct.calcsize(code)
    low = -(1 << (bits - 1)) if code[-1].islower() else 0
    high = low + (1 << bits) - 1
    for value in (low, low + 1, -1 if low else 1, 0, high - 1, high):
        m.store(code, 3, value)
        assert m.load(code, 3) == value
    m.store(code, 3, 1)
    for value in (low - 1, high + 1, 2**64, -(2**64), 10**30):
        with pytest.raises(ValueError, match=rf"^{value} .*'{code}'.*{low}.*{high}"):
            m.store(code, 3, value)
    assert m.load(code, 3) == 1


@pytest.mark.parametrize(
    ("code", "value"),
    [("e", 65_520.0), ("<f2", -1e6), ("f", 3.5e38), (">f4", -1e300), ("f", 10**39)],
)
def test_float_that_does_not_fit_is_named(m, code, value):
    with pytest.raises(ValueError, match=f"does not fit '{code}'"):
        m.store(code, 0, value)
    assert m.read() == bytes(64)


@pytest.mark.parametrize("code", ["e", "f", "d", "<f8"])
def test_integer_beyond_every_float_does_not_fit(m, code):
    with pytest.raises(ValueError, match=f"does not fit '{code}'"):
        m.store(code, 0, 10**400)


@pytest.mark.parametrize("code", ["e", "f", "d"])
def test_infinities_zeros_and_nan_round_trip(m, code):
    for value in (math.inf, -math.inf, 0.0, -0.0):
        m.store(code, 0, value)
        assert m.load(code, 0) == value
        assert math.copysign(1, m.load(code, 0)) == math.copysign(1, value)
    m.store(code, 0, math.nan)
    assert math.isnan(m.load(code, 0))


@pytest.mark.parametrize(
    "code",
    [
        *("", "<", "x", "s", "p", "P", "dd", "<dd", "i3", "f1", "f16", "u16", "b2", "S2", "c8"),
        *("<n", "=N", " d", "d ", "1d", "\0", "d\0", "é", "<é", "i\u0664", "O", "<<d", "M8"),
    ],
)
def test_what_is_no_scalar_code_is_named(m, code):
    for call in (lambda: m.load(code, 0), lambda: m.store(code, 0, 0)):
        with pytest.raises(ValueError, match="scalar") as caught:
            call()
        assert repr(code) in str(caught.value)


@pytest.mark.parametrize("code", [None, b"d", 8])
def test_code_must_be_text(m, code):
    with pytest.raises(TypeError, match="code"):
        m.load(code, 0)
    with pytest.raises(TypeError, match="code"):
        m.store(code, 0, 0)


@pytest.mark.parametrize(
    ("code", "value"),
    [("i", 1.0), ("B", "1"), ("q", None), ("d", "1.5"), ("f", None), ("e", b"1")],
)
def test_value_of_another_type(m, code, value):
    with pytest.raises(TypeError):
        m.store(code, 0, value)
    assert m.read() == bytes(64)


@pytest.mark.parametrize("value", [b"", b"ab", "a", 65, None])
def test_char_takes_one_byte(m, value):
    with pytest.raises((ValueError, TypeError), match=r"length 1"):
        m.store("c", 0, value)


def test_bool_stores_truth(m):
    for value, expected in ((True, 1), (0, 0), ("x", 1), ([], 0), (0.5, 1)):
        m.store("?", 0, value)
        assert (m[0], m.load("?", 0)) == (expected, bool(expected))


@pytest.mark.parametrize("code", ["b", "<H", ">i4", "d"])
def test_scalar_fits_up_to_the_last_byte_and_no_further(m, code):
    size = struct.calcsize({">i4": ">i"}.get(code, code))
    m.store(code, 64 - size, 5)
    assert m.load(code, 64 - size) == m.load(code, -size) == 5
    m.store(code, -64, 6)
    assert m.load(code, 0) == 6
    for offset in (64 - size + 1, 64, 2**63 - 1, 2**63, 2**70, -65, -(2**63), -(2**70)):
        for call in (
            lambda offset=offset: m.load(code, offset),
            lambda offset=offset: m.store(code, offset, 1),
        ):
            with pytest.raises(IndexError, match=rf"{offset} .*64 bytes"):
                call()
    if size > 1:
        with pytest.raises(IndexError, match=r"-1 "):
            m.load(code, -1)


def test_mapping_smaller_than_the_scalar():
    for size in (0, 1, 7):
        with mk.anonymous(size) as m, pytest.raises(IndexError, match=f"{size} bytes"):
            m.load("d", 0)


@pytest.mark.parametrize("offset", [1.0, "0", None])
def test_offset_of_another_type(m, offset):
    with pytest.raises(TypeError):
        m.load("d", offset)
    with pytest.raises(TypeError):
        m.store("d", offset, 1)


def test_values_may_be_numpy_scalars(m):
    np = pytest.importorskip("numpy")
    m.store("<f8", np.int64(8), np.float32(1.5))
    m.store("<u2", 0, np.uint16(65_535))
    assert (m.load("<f8", 8), m.load("H" if sys.byteorder == "little" else "<H", 0)) == (1.5, 65535)
    for code in ("<i4", ">f8", "<u8", ">i2"):
        m.store(code, 5, 77)
        assert m.array(code, 1, offset=5)[0] == 77


def test_native_size_of_long_is_the_compilers(m):
    m[:] = b"\xff" * 64
    m.store("l", 0, 0)
    assert m.read(0, 16).index(0xFF) == struct.calcsize("l")
    m[:] = b"\xff" * 64
    m.store("=l", 0, 0)
    assert m.read(0, 16).index(0xFF) == 4
