"""Descriptors that are closed behind our back, as daemons do, and the user's own."""

import sys

import pytest

from . import victim

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="handles are not descriptors")

CLOSED = """
    path, mode = args
    make(path, 4 * MIB)
    m = mk.open(path, mode)
    view = m.array("u1")
    number = m.fileno()
    os.close(number)
"""
REUSED = (
    CLOSED
    + """
    secret = b"secret" * 1_000_000
    with open(path + ".other", "wb") as other:
        other.write(secret)
    other = os.open(path + ".other", os.O_RDWR)
    assert other == number
"""
)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_truncation_is_survived_after_the_descriptor_was_closed(file, mode):
    victim.survive(
        CLOSED
        + """
    cut(path, MIB)
    fault = fault_of(view.sum)
    assert fault.filename == path and fault.offset >= MIB, fault
    assert (view[MIB:] == 0xFF).all()
    for call in (m.check, m.recover, m.refresh):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EBADF, error
        else:
            raise AssertionError(call)
    """,
        file,
        mode,
    )


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_another_file_under_the_same_number_is_never_mapped(file, mode):
    victim.survive(
        REUSED
        + """
    cut(path, MIB)
    fault = fault_of(view.sum)
    assert fault.filename == path, fault
    for call in (m.check, m.recover, m.flush, m.recover):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EBADF, error
        else:
            assert call == m.flush and mode != "r+"
        assert b"secret" not in view.tobytes(), call
    assert (view[MIB:] == 0xFF).all()
    """,
        file,
        mode,
    )


def test_another_file_under_the_same_number_is_not_taken_for_ours_by_flush(file):
    victim.survive(
        REUSED
        + """
    view[0] = 9
    for call in (m.flush, m.check):
        try:
            call()
        except OSError as error:
            assert error.errno == errno.EBADF, error
        else:
            raise AssertionError(call)
    """,
        file,
        "r+",
    )


def test_refresh_never_follows_another_file_under_the_same_number(file):
    victim.survive(
        REUSED
        + """
    del view
    for _ in range(2):
        try:
            m.refresh()
        except OSError as error:
            assert error.errno == errno.EBADF, error
        else:
            raise AssertionError("refreshed")
        assert m.size == 4 * MIB and b"secret" not in m.read()
    """,
        file,
        "r",
    )


def test_another_file_under_the_same_number_is_never_cut(file):
    victim.survive(
        REUSED
        + """
    del view
    for size in (PAGE, 8 * MIB):
        try:
            m.resize(size)
        except OSError as error:
            assert error.errno == errno.EBADF, error
        else:
            raise AssertionError(size)
        assert os.path.getsize(path + ".other") == len(secret)
    """,
        file,
        "r+",
    )


def test_poison_file_closed_by_a_daemon_is_made_again(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        for round in range(3):
            m = mk.open(path)
            view = m.array("f8")
            cut(path, MIB)
            fault_of(view.sum)
            assert np.isnan(view[-1])
            os.closerange(3, 100)
            with open(path, "r+b") as other:
                other.truncate(4 * MIB)
                other.seek(0)
                other.write(b"secret" * 100_000)
                other.flush()
                again = mk.open(path)
                view = again.array("f8")
                cut(path, MIB)
                fault_of(view.sum)
                assert np.isnan(view[-1]), round
            make(path, 4 * MIB)
        """,
        file,
        options=(),
    )


def test_callers_descriptor_may_be_closed_at_once(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with open(path, "rb") as mine:
            m = mk.open(mine)
        with open(os.devnull) as other:
            cut(path, MIB)
            require_fault(fault_of(m.read, MIB, 8), path, MIB)
        """,
        file,
    )
