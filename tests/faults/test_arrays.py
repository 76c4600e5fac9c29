"""Operators, exports and Dask tasks over an array whose file is cut."""

import pytest

from . import victim

PRELUDE = """
def array_of(path, mode="r"):
    np.save(path, np.ones(MIB))
    return mk.open_array(path, mode)

def cut_off(a):
    cut(a.path, MIB)

def require(fault):
    # Vectorised loops do not touch a page at its first byte.
    found = fault.filename, fault.cause, fault.errno
    assert found == (args[0], "truncated", errno.ENXIO), found
    assert MIB <= fault.offset < MIB + PAGE, fault.offset
"""


@pytest.fixture
def npy(tmp_path):
    return tmp_path / "victim.npy"


# Work on `a`, 8 MiB of ones whose last 7 MiB are gone.
OPERATORS = {
    "binary": "a + 1",
    "reflected": "1 - a",
    "unary": "-a",
    "comparison": "a == 1",
    "unequal": "a != 1",
    "divmod": "divmod(a, 2)",
    "ufunc": "np.sqrt(a)",
    "out": "np.sqrt(a, out=np.empty(MIB))",
    "reduce": "np.add.reduce(a)",
    "accumulate": "np.add.accumulate(a)",
    "outer": "np.multiply.outer([1, 2], a)",
    "with itself": "a * a",
    "second operand": "np.ones(MIB) * a",
    "contains": "7 in a",
    "conversion": "a.__array__('f4')",
    "copy": "a.__array__(copy=True)",
    "astype": "a.astype('f4')",
}
STORES = {
    "in place": "a.__iadd__(1)",
    "into out": "np.add(1, 1, out=a)",
    "at": "np.add.at(a, slice(None), 1)",
    "setitem": "a.__setitem__(slice(None), 2)",
}
THREADS = {"main": "{}", "worker": "in_thread(lambda: {})"}


@pytest.mark.parametrize("thread", THREADS)
def test_operators_on_a_truncated_file_raise_fault(npy, thread):
    lines = [
        f"""
a = array_of(args[0])
cut_off(a)
require(fault_of(lambda: {THREADS[thread].format(work)}))
require(fault_of(lambda: {THREADS[thread].format(work)}))  # poison stays
a.mapping.close(defer=True)
"""
        for work in OPERATORS.values()
    ]
    victim.survive(PRELUDE + "".join(lines), npy)


@pytest.mark.parametrize("thread", THREADS)
def test_matmul_on_a_truncated_file_raises_fault(npy, thread):
    # BLAS has threads of its own, so that another access than the first may fail first.
    victim.survive(
        PRELUDE
        + f"""
a = array_of(args[0])
cut_off(a)
fault = fault_of(lambda: {THREADS[thread].format("a @ np.ones(MIB)")})
assert fault.filename == args[0] and fault.offset >= MIB, fault
""",
        npy,
    )


@pytest.mark.parametrize("thread", THREADS)
def test_stores_into_a_truncated_file_raise_fault(npy, thread):
    lines = [
        f"""
a = array_of(args[0], "r+")
cut_off(a)
require(fault_of(lambda: {THREADS[thread].format(work)}))
require(fault_of(a.flush))
a.mapping.close(defer=True)
"""
        for work in STORES.values()
    ]
    victim.survive(PRELUDE + "".join(lines), npy)


@pytest.mark.parametrize("thread", THREADS)
def test_mask_in_a_truncated_file_raises_fault(npy, thread):
    work = "np.add.reduce(ones, where=mask)"
    victim.survive(
        PRELUDE
        + f"""
array_of(args[0]).close()
mask = mk.open_array(args[0], offset=128, dtype="?", shape=8 * MIB)
ones = np.ones(8 * MIB)
cut_off(mask)
require(fault_of(lambda: {THREADS[thread].format(work)}))
""",
        npy,
    )


def test_parts_that_are_left_can_be_used_after_a_fault(npy):
    victim.survive(
        PRELUDE
        + """
a = array_of(args[0])
cut_off(a)
fault_of(lambda: a + 1)
assert (a[: MIB // 16] + 1).sum() == MIB // 8
require(fault_of(lambda: a[MIB // 2 :]))
require(fault_of(lambda: np.asarray(a)))
require(fault_of(lambda: memoryview(a)))
require(fault_of(lambda: np.from_dlpack(a)))
""",
        npy,
    )


@pytest.mark.parametrize("thread", THREADS)
def test_conversion_of_a_lost_element_raises_fault(npy, thread):
    lines = [
        f"""
array_of(args[0]).close()
a = mk.open_array(args[0], offset=128 + 2 * MIB, dtype="{dtype}", shape=())
cut(args[0], MIB)
fault = fault_of(lambda: {THREADS[thread].format(work)})
assert fault.offset == 128 + 2 * MIB, fault
a.mapping.close(defer=True)
"""
        for work, dtype in (
            ("float(a)", "f8"),
            ("int(a)", "i8"),
            ("bool(a)", "?"),
            ("complex(a)", "c16"),
            ("a.__index__()", "i4"),
            ("a.ravel().sum()", "f8") if thread == "main" else ("a.astype('f4')", "f8"),
        )
    ]
    victim.survive(PRELUDE + "".join(lines), npy)


def test_copy_that_numpy_makes_of_the_buffer_raises_fault(npy):
    # numpy takes the buffer and reads it afterwards: a view, as far as mmapkit can see.
    victim.survive(
        PRELUDE
        + """
def guarded(work):
    with a.mapping.guard():
        work()

for work in (lambda: np.array(a), lambda: np.asarray(a, "f4"), lambda: bytes(a)):
    for run in (lambda: work(), lambda: in_thread(lambda: guarded(work))):
        a = array_of(args[0])
        cut_off(a)
        require(fault_of(run))
        a.mapping.close(defer=True)
""",
        npy,
    )


def test_at_on_mode_r_does_not_end_the_process(npy):
    victim.survive(
        PRELUDE
        + """
with array_of(args[0]) as a:
    try:
        np.add.at(a, 0, 1)
    except TypeError as error:
        assert "'r+'" in str(error)
    else:
        raise AssertionError("stored into a read-only mapping")
""",
        npy,
    )
