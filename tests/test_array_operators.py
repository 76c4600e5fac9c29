"""Operators and ufuncs on arrays in files, against the same on an ndarray."""

import operator
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

np = pytest.importorskip("numpy")

ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
BITS = ["and_", "or_", "xor", "lshift", "rshift"]
COMPARISONS = ["lt", "le", "eq", "ne", "gt", "ge"]
IN_PLACE = ["iadd", "isub", "imul", "ifloordiv", "imod", "ipow"]
IN_PLACE_BITS = ["iand", "ior", "ixor", "ilshift", "irshift"]

INTS = np.arange(1, 13, dtype="<i4").reshape(3, 4)
FLOATS = np.linspace(-2, 3, 12, dtype=">f8").reshape(3, 4)


def other_operands():
    """What stands on the other side: everything an ndarray takes."""
    yield "int", 3
    yield "float", 2.5
    yield "bool", True
    yield "complex", 1 + 2j
    yield "numpy scalar", np.int16(3)
    yield "numpy float", np.float32(1.5)
    yield "0-d", np.array(4)
    yield "row", np.arange(1, 5)
    yield "column", np.array([[1], [2], [3]], dtype="u1")
    yield "whole", INTS[::-1]
    yield "list", [1, 2, 3, 4]
    yield "big-endian", np.arange(1, 5).astype(">f4")


OTHERS = [pytest.param(value, id=name) for name, value in other_operands()]


def same(found, expected):
    """The same kind of thing with the same content."""
    assert type(found) is type(expected)
    if isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()
    else:
        assert found == expected or found != found


def outcome(work):
    """What a computation gives, or the type of what it raises."""
    try:
        with np.errstate(all="ignore"):
            return work()
    except Exception as error:
        return type(error)


def save(path, data, mode="r+"):
    np.save(path, data)
    return mk.open_array(path, mode)


def save_shards(folder, data, mode="r+"):
    """One row a file."""
    paths = [folder / f"{n}.npy" for n in range(len(data))]
    for path, row in zip(paths, data, strict=True):
        np.save(path, row[None])
    return mk.open_sharded(paths, mode)


@pytest.fixture(params=["ints", "floats", "shards"])
def pair(request, tmp_path):
    """An array of mode "r" in a file, or in several, and the ndarray of the same content."""
    data = INTS if request.param == "ints" else FLOATS
    if request.param == "shards":
        opened = save_shards(tmp_path, data, "r")
    else:
        opened = save(tmp_path / "a.npy", data, "r")
    with opened as a:
        yield a, data.copy()


# --- operators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", [*ARITHMETIC, *BITS, *COMPARISONS])
def test_binary_operators(pair, name, other):
    a, oracle = pair
    work = getattr(operator, name)
    same(outcome(lambda: work(a, other)), outcome(lambda: work(oracle, other)))
    same(outcome(lambda: work(other, a)), outcome(lambda: work(other, oracle)))


@pytest.mark.parametrize("name", ["neg", "pos", "abs", "invert"])
def test_unary_operators(pair, name):
    a, oracle = pair
    work = getattr(operator, name)
    same(outcome(lambda: work(a)), outcome(lambda: work(oracle)))


@pytest.mark.parametrize("other", OTHERS)
def test_divmod(pair, other):
    a, oracle = pair
    same(outcome(lambda: divmod(a, other)), outcome(lambda: divmod(oracle, other)))
    same(outcome(lambda: divmod(other, a)), outcome(lambda: divmod(other, oracle)))


@pytest.mark.parametrize(
    "other", [np.ones(4), np.arange(8.0).reshape(4, 2), np.ones(3), [1, 2, 3, 4]]
)
def test_matmul(pair, other):
    a, oracle = pair
    same(outcome(lambda: a @ other), outcome(lambda: oracle @ other))
    same(outcome(lambda: other @ a), outcome(lambda: other @ oracle))
    same(outcome(lambda: np.matmul(a, other)), outcome(lambda: np.matmul(oracle, other)))


def test_two_mapped_arrays(tmp_path):
    with save(tmp_path / "a.npy", INTS) as a, save(tmp_path / "b.npy", FLOATS, "r") as b:
        for name in [*ARITHMETIC, *COMPARISONS]:
            work = getattr(operator, name)
            same(outcome(lambda w=work: w(a, b)), outcome(lambda w=work: w(INTS, FLOATS)))
            same(outcome(lambda w=work: w(b, a)), outcome(lambda w=work: w(FLOATS, INTS)))
            same(outcome(lambda w=work: w(a, a)), outcome(lambda w=work: w(INTS, INTS)))
        same(a @ a[...].T, INTS @ INTS.T)


def test_results_do_not_keep_the_mapping(tmp_path):
    a = save(tmp_path / "a.npy", INTS)
    found = [a + 1, -a, a == a, divmod(a, 2), a @ np.ones(4), np.sin(a), np.add.reduce(a)]
    a.close()
    assert len(found) == 7


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", [*IN_PLACE, *IN_PLACE_BITS, "itruediv"])
@pytest.mark.parametrize("data", [INTS, FLOATS], ids=["ints", "floats"])
def test_in_place_operators_store_into_the_file(tmp_path, data, name, other):
    oracle = data.copy()
    with save(tmp_path / "a.npy", data) as a:
        work = getattr(operator, name)
        expected = outcome(lambda: work(oracle, other))
        found = outcome(lambda: work(a, other))
        if isinstance(expected, type):
            assert found is expected
        else:
            assert found is a
        same(np.asarray(a), oracle)
        a.flush()
    same(np.load(tmp_path / "a.npy"), oracle)


def test_in_place_matmul_stores_into_the_file(tmp_path):
    square = np.arange(9.0).reshape(3, 3)
    with save(tmp_path / "a.npy", square) as a:
        kept = a
        a @= square
        assert a is kept
        same(np.asarray(a), square @ square)


@pytest.mark.parametrize("name", [*IN_PLACE, *IN_PLACE_BITS, "itruediv", "imatmul"])
def test_in_place_on_mode_r_raises_type_error(tmp_path, name):
    with save(tmp_path / "a.npy", np.ones((2, 2), "i4"), "r") as a:
        with pytest.raises(TypeError, match=r"a\.npy.*'r'.*'r\+'"):
            getattr(operator, name)(a, np.ones((2, 2), "i4"))
        assert a[...].tolist() == [[1, 1], [1, 1]]


def test_in_place_in_mode_c_leaves_the_file(tmp_path):
    with save(tmp_path / "a.npy", INTS, "c") as a:
        a += 1
        same(np.asarray(a), INTS + 1)
    same(np.load(tmp_path / "a.npy"), INTS)


def test_in_place_on_an_ndarray_gives_that_ndarray(tmp_path):
    with save(tmp_path / "a.npy", INTS, "r") as a:
        total = np.zeros((3, 4))
        kept = total
        total += a
        assert total is kept
        assert np.array_equal(total, INTS)


def test_operators_of_other_array_types_are_asked(tmp_path):
    class Other:
        __array_ufunc__ = None  # "leave me alone": NEP 13

        def __radd__(self, left):
            return "mine", type(left)

        def __eq__(self, left):
            return "equal"

        __hash__ = None

    class Wrapper(np.lib.mixins.NDArrayOperatorsMixin):
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return "wrapped", ufunc.__name__

    with save(tmp_path / "a.npy", INTS) as a:
        assert a + Other() == ("mine", mk.MappedArray)
        assert (a == Other()) == "equal"
        assert np.asarray(a).__add__(Other()) is NotImplemented
        for found in (a + Wrapper(), Wrapper() + a):
            assert found == ("wrapped", "add")
        assert (a == Wrapper()) == ("wrapped", "equal")
        with pytest.raises(TypeError):
            a + object()
        for stranger in (object(), "text"):
            same(operator.eq(a, stranger), operator.eq(INTS, stranger))
        same(a != None, INTS != None)  # noqa: E711


def test_subclasses_of_ndarray_stay_what_they_are(tmp_path):
    class Tagged(np.ndarray):
        pass

    with save(tmp_path / "a.npy", INTS, "r") as a:
        tagged = INTS.view(Tagged)
        for found in (a + tagged, tagged + a, np.add(a, tagged)):
            assert type(found) is Tagged
            assert np.array_equal(found, INTS + INTS)
        masked = np.ma.masked_greater(INTS, 5)
        for found in (a + masked, masked + a):
            assert isinstance(found, np.ma.MaskedArray)
            assert np.array_equal(found.mask, masked.mask)
            assert found.sum() == (masked + masked).sum()


@pytest.mark.parametrize(
    "dtype", [[("x", "<i4"), ("y", ">f8")], [("x", "S3"), ("in", [("y", "u1", (2,))])]], ids=str
)
def test_structures_compare_as_whole_records(tmp_path, dtype):
    data = np.zeros(4, dtype)
    data["x"] = [1, 2, 3, 4]
    changed = data.copy()
    changed["x"][2] = 9
    with save(tmp_path / "a.npy", data, "r") as a, save(tmp_path / "b.npy", changed, "r") as b:
        for left, right in ((a, b), (a, changed), (data, b)):
            assert (left == right).tolist() == [True, True, False, True]
            assert (left != right).tolist() == [False, False, True, False]
        assert (a == data[1]).tolist() == [False, True, False, False]
        with pytest.raises(TypeError):
            a < b  # noqa: B015


def test_single_elements_convert_as_in_numpy(tmp_path):
    with save(tmp_path / "a.npy", np.array(3)) as a, save(tmp_path / "b.npy", np.array([2.5])) as b:
        assert (int(a), float(a), complex(a), bool(a)) == (3, 3.0, 3 + 0j, True)
        assert [0, 1, 2, 3][a] == 3
        assert a.__index__() == 3
        assert bool(b)
        with pytest.raises(TypeError):
            operator.index(b)
    with save(tmp_path / "c.npy", INTS) as c:
        for convert in (int, float, complex, operator.index):
            with pytest.raises(TypeError):
                convert(c)
        with pytest.raises(ValueError, match="ambiguous"):
            bool(c)
        assert 5 in c
        assert 99 not in c
        with pytest.raises(TypeError, match="unhashable"):
            hash(c)


# --- ufuncs ---------------------------------------------------------------------------------------

UNARY = ["sin", "exp", "sqrt", "absolute", "sign", "isnan", "floor", "square", "reciprocal"]
UNARY += ["negative", "logical_not", "invert", "signbit", "spacing", "modf", "frexp", "conjugate"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "fmin", "hypot", "arctan2", "power"]
BINARY += ["logical_and", "bitwise_xor", "greater", "copysign", "ldexp", "divmod", "float_power"]


@pytest.mark.parametrize("name", UNARY)
def test_unary_ufuncs(pair, name):
    a, oracle = pair
    work = getattr(np, name)
    same(outcome(lambda: work(a)), outcome(lambda: work(oracle)))


@pytest.mark.parametrize("name", BINARY)
def test_binary_ufuncs(pair, name):
    a, oracle = pair
    work = getattr(np, name)
    for other in (2, np.arange(1, 5), INTS):
        same(outcome(lambda o=other: work(a, o)), outcome(lambda o=other: work(oracle, o)))
        same(outcome(lambda o=other: work(o, a)), outcome(lambda o=other: work(o, oracle)))
    same(outcome(lambda: work(a, a)), outcome(lambda: work(oracle, oracle)))


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "logical_or"])
def test_methods_of_ufuncs(pair, name):
    a, oracle = pair
    ufunc = getattr(np, name)
    for kwargs in ({}, {"axis": 1}, {"axis": None}, {"axis": 0, "keepdims": True}):
        same(ufunc.reduce(a, **kwargs), ufunc.reduce(oracle, **kwargs))
    same(ufunc.accumulate(a, axis=1), ufunc.accumulate(oracle, axis=1))
    same(ufunc.outer(a, [1, 2]), ufunc.outer(oracle, [1, 2]))
    same(ufunc.outer([1, 2], a), ufunc.outer([1, 2], oracle))
    same(ufunc.reduceat(a, [0, 2], axis=0), ufunc.reduceat(oracle, [0, 2], axis=0))
    same(
        ufunc.reduce(a, where=INTS > 4, initial=1),
        ufunc.reduce(oracle, where=INTS > 4, initial=1),
    )


def test_at_stores_into_the_file_unbuffered(tmp_path):
    oracle = INTS.copy()
    with save(tmp_path / "a.npy", INTS) as a:
        for target in (a, oracle):
            assert np.add.at(target, ([0, 0, 2], [1, 1, 3]), 10) is None
            np.negative.at(target, (1, slice(None)))
        same(np.asarray(a), oracle)
    with save(tmp_path / "r.npy", INTS, "r") as a:
        with pytest.raises(TypeError, match=r"r\.npy.*'r\+'"):
            np.add.at(a, (0, 0), 1)
        same(np.asarray(a), INTS)


def test_out_stores_into_the_file_and_is_returned(tmp_path):
    with save(tmp_path / "a.npy", FLOATS) as a, save(tmp_path / "b.npy", np.zeros(4)) as b:
        assert np.multiply(INTS, 2, out=a) is a
        same(np.asarray(a), (INTS * 2).astype(">f8"))
        assert np.add(a, a, out=a) is a
        assert np.add.reduce(INTS, axis=0, out=b) is b
        same(np.asarray(b), INTS.sum(axis=0).astype("f8"))
        plain = np.empty((3, 4))
        assert np.add(a, 1, out=plain) is plain
        assert np.array_equal(plain, INTS * 4 + 1)
        found = np.sum(a, axis=0, out=b)
        assert found is b
        assert np.array_equal(b, (INTS * 4).sum(axis=0))


def test_out_of_ufuncs_with_several_results(tmp_path):
    with save(tmp_path / "a.npy", FLOATS) as a, save(tmp_path / "b.npy", FLOATS) as b:
        plain = np.empty((3, 4))
        first, second = np.modf(FLOATS, out=(a, plain))
        assert first is a
        assert second is plain
        fraction, whole = np.modf(FLOATS)
        assert np.array_equal(a, fraction)
        assert np.array_equal(plain, whole)
        first, second = np.divmod(INTS, 5, out=(None, b))
        assert type(first) is np.ndarray
        assert second is b
        assert np.array_equal(first, INTS // 5)
        assert np.array_equal(b, INTS % 5)


def test_where_leaves_the_others_alone(tmp_path):
    oracle = INTS.copy()
    mask = INTS % 3 == 0
    with save(tmp_path / "a.npy", INTS) as a, save(tmp_path / "m.npy", mask, "r") as m:
        assert np.add(a, 100, out=a, where=mask) is a
        np.add(oracle, 100, out=oracle, where=mask)
        same(np.asarray(a), oracle)
        assert np.add(a, 100, out=a, where=m) is a  # the mask may lie in a file, too
        np.add(oracle, 100, out=oracle, where=mask)
        same(np.asarray(a), oracle)
        same(np.add.reduce(a, where=m), np.add.reduce(oracle, where=mask))


@pytest.mark.parametrize(
    "store",
    [
        lambda a: np.add(1, 1, out=a),
        lambda a: np.modf(FLOATS, out=(np.empty((3, 4)), a)),
        lambda a: np.add.reduce(np.ones((2, 3, 4)), axis=0, out=a),
        lambda a: np.add.at(a, 0, 1),
        lambda a: np.sum(np.ones((2, 3, 4)), axis=0, out=a),
    ],
)
def test_storing_into_mode_r_raises_type_error(tmp_path, store):
    with save(tmp_path / "a.npy", FLOATS, "r") as a:
        with pytest.raises(TypeError, match=r"a\.npy.*'r'"):
            store(a)
        same(np.asarray(a), FLOATS)


def test_casts_that_numpy_refuses_are_refused(tmp_path):
    with save(tmp_path / "a.npy", INTS) as a:
        with pytest.raises(TypeError, match="cast"):
            a += 0.5
        same(np.asarray(a), INTS)
        same(np.add(a, 1, dtype="f4"), np.add(INTS, 1, dtype="f4"))


@pytest.mark.parametrize(
    "name", ["sum", "mean", "std", "max", "argmin", "median", "cumsum", "sort"]
)
def test_functions_that_are_not_ufuncs(pair, name):
    a, oracle = pair
    work = getattr(np, name)
    same(work(a), work(oracle))
    same(work(a, axis=1), work(oracle, axis=1))


def test_ravel_and_astype(pair):
    a, oracle = pair
    for order in "CFAK":
        same(a.ravel(order), oracle.ravel(order))
    same(a.astype("f4"), oracle.astype("f4"))
    with pytest.raises(TypeError, match="cast"):
        a.astype("u1", casting="safe")


def test_ravel_and_astype_copy_only_if_they_must(tmp_path):
    with save(tmp_path / "a.npy", INTS, "r") as a:
        assert np.shares_memory(a.ravel(), np.asarray(a))
        assert not np.shares_memory(a.astype(a.dtype), np.asarray(a))
        assert np.shares_memory(a.astype(a.dtype, copy=False), np.asarray(a))


def test_functions_of_several_arrays(tmp_path):
    with save(tmp_path / "a.npy", FLOATS, "r") as a:
        same(np.concatenate([a, FLOATS]), np.concatenate([FLOATS, FLOATS]))
        same(np.where(a > 0, a, 0), np.where(FLOATS > 0, FLOATS, 0))
        same(np.einsum("ij,kj->ik", a, a), np.einsum("ij,kj->ik", FLOATS, FLOATS))
        same(np.dot(a, a[...].T), np.dot(FLOATS, FLOATS.T))
        same(np.linalg.norm(a), np.linalg.norm(FLOATS))
        assert np.allclose(a, FLOATS)
        assert np.shape(a) == (3, 4)
        assert np.ndim(a) == 2
        target = np.empty((3, 4))
        np.copyto(target, a)
        assert np.array_equal(target, FLOATS)


@given(
    st.sampled_from([*ARITHMETIC, *COMPARISONS]),
    st.lists(st.integers(-100, 100), min_size=1, max_size=6),
    st.sampled_from(["i1", ">i2", "<u4", "f2", ">f4", "f8", "c8"]),
    st.sampled_from(["i1", ">i2", "<u4", "f2", ">f4", "f8", "c8"]),
)
def test_any_two_dtypes_promote_as_in_numpy(tmp_path_factory, name, values, left, right):
    with np.errstate(all="ignore"):
        one, two = np.array(values).astype(left), np.array(values[::-1]).astype(right)
    path = tmp_path_factory.getbasetemp() / "promote.npy"
    work = getattr(operator, name)
    with save(path, one) as a:
        same(outcome(lambda: work(a, two)), outcome(lambda: work(one, two)))
        same(outcome(lambda: work(two, a)), outcome(lambda: work(two, one)))


def test_operators_of_a_closed_array_raise(tmp_path):
    a = save(tmp_path / "a.npy", INTS)
    a.close()
    for work in (lambda: a + 1, lambda: 1 + a, lambda: a == 1, lambda: -a, lambda: np.sum(a)):
        with pytest.raises(ValueError, match="closed"):
            work()
    with pytest.raises(ValueError, match="closed"):
        np.add(1, 1, out=a)


# --- copies, as numpy 2 asks for them -----------------------------------------------------------

numpy2 = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="copy=None and DLPack 1.0 are numpy 2's"
)


@numpy2
def test_copy_says_whether_to_copy(tmp_path):
    with save(tmp_path / "a.npy", INTS) as a:
        whole = a[...]
        for found in (
            np.asarray(a),
            np.asarray(a, copy=False),
            np.asarray(a, copy=None),
            np.array(a, copy=None),
            np.array(a, copy=False),
            np.asarray(a, "<i4", copy=False),
            np.asanyarray(a),
        ):
            assert type(found) is np.ndarray
            assert found.__array_interface__["data"] == whole.__array_interface__["data"]
        for found in (np.array(a), np.array(a, copy=True), np.asarray(a, copy=True)):
            assert not np.shares_memory(found, whole)
            same(found, INTS)
            found[...] = 0
        same(np.asarray(a), INTS)
        for dtype in ("f8", ">i4"):
            same(np.array(a, dtype=dtype, copy=None), INTS.astype(dtype))
            with pytest.raises(ValueError, match="copy"):
                np.array(a, dtype=dtype, copy=False)
        del found, whole


def test_what_a_copy_owns_is_its_own(tmp_path):
    a = save(tmp_path / "a.npy", INTS, "r")
    copies = [
        np.array(a),
        np.asarray(a, "f8"),
        a.__array__(copy=True),
        np.ascontiguousarray(a, "f4"),
    ]
    a.close()
    assert all(found.flags.owndata and found.flags.writeable for found in copies)
    assert sys.getrefcount(a) < 5
