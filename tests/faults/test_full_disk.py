"""A disk that is full: when a file is made or grown, and when a store meets a hole."""

import pytest

from . import victim

SPARSE = """
    disk, = args
    path = os.path.join(disk, "sparse")
    with mk.open(path, "w+", size=4 * MIB, sparse=True) as m:
        view = m.array("u1")
        view[:PAGE] = 1
        m.flush()
        fill(disk)
"""


def test_store_into_a_hole_raises_fault_and_flush_never_lies(small_disk):
    victim.survive(
        SPARSE
        + """
        def store():
            view[MIB:] = 7

        fault = fault_of(store)
        assert (fault.filename, fault.cause, fault.errno) == (path, "no space", errno.ENOSPC)
        assert MIB <= fault.offset < 4 * MIB, fault.offset
        for _ in range(3):
            again = fault_of(m.flush)
            assert (again.cause, again.errno) == ("no space", errno.ENOSPC), again
            assert fault_of(m.check).cause == "no space"
        assert (view[:PAGE] == 1).all()
        del view
        """,
        small_disk,
    )


def test_write_into_a_hole_raises_fault_in_any_thread(small_disk):
    victim.survive(
        SPARSE
        + """
        for run in (lambda call, *rest: call(*rest), in_thread):
            fault = fault_of(run, m.write, 2 * MIB, b"x" * MIB)
            assert (fault.cause, fault.errno) == ("no space", errno.ENOSPC), fault
            fault_of(run, m.flush)
        del view
        """,
        small_disk,
    )


def test_recover_takes_stores_again_once_there_is_room(small_disk):
    victim.survive(
        SPARSE
        + """
        def store():
            view[2 * MIB : 2 * MIB + 4 * PAGE] = 7

        fault_of(store)
        os.unlink(os.path.join(disk, "ballast"))
        os.sync()
        m.recover()
        # What was stored into the poison is gone, as it says.
        assert (view[2 * MIB : 2 * MIB + 4 * PAGE] == 0).all()
        store()
        m.flush()
        with open(path, "rb") as file:
            file.seek(2 * MIB)
            assert file.read(4 * PAGE) == bytes([7]) * 4 * PAGE
        del view
        """,
        small_disk,
    )


def test_reading_a_hole_of_a_full_tmpfs_says_no_space(tmpfs):
    # tmpfs takes a page even to read a hole.
    victim.survive(
        """
        disk, = args
        path = os.path.join(disk, "sparse")
        with open(path, "wb") as new:
            new.truncate(MIB)
        fill(disk)
        with mk.open(path) as m:
            fault = fault_of(m.load, "<f8", 0)
            assert (fault.cause, fault.errno) == ("no space", errno.ENOSPC), fault
        """,
        tmpfs,
    )


@pytest.mark.parametrize("mode", ["w+", "x+"])
def test_file_larger_than_the_disk_raises_enospc_and_is_not_left_behind(small_disk, mode):
    victim.survive(
        """
        disk, mode = args
        before = set(os.listdir(disk))
        path = os.path.join(disk, "large")
        try:
            mk.open(path, mode, size=1024 * MIB)
        except OSError as error:
            assert not isinstance(error, MappingFault)
            assert (error.errno, error.filename) == (errno.ENOSPC, path), error
        else:
            raise AssertionError("opened")
        assert set(os.listdir(disk)) == before
        """,
        small_disk,
        mode,
    )


def test_array_larger_than_the_disk_raises_enospc_and_leaves_no_file(small_disk):
    victim.survive(
        """
        disk, = args
        before = set(os.listdir(disk))
        path = os.path.join(disk, "large.npy")
        try:
            mk.create_array(path, (1 << 27,), "f8")
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
        else:
            raise AssertionError("created")
        assert set(os.listdir(disk)) == before
        """,
        small_disk,
    )


def test_overwriting_with_what_does_not_fit_keeps_the_old_content(small_disk):
    victim.survive(
        """
        disk, = args
        path = os.path.join(disk, "old.npy")
        np.save(path, np.arange(1000))
        old = content(path)
        for make_it in (
            lambda: mk.open(path, "w+", size=1024 * MIB),
            lambda: mk.create_array(path, (1 << 27,), overwrite=True),
        ):
            try:
                make_it()
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
            else:
                raise AssertionError("opened")
            assert content(path) == old
        """,
        small_disk,
    )


def test_growing_on_a_full_disk_raises_and_changes_nothing(small_disk):
    victim.survive(
        """
        disk, = args
        path = os.path.join(disk, "growing")
        for reserve in (None, 64 * MIB):
            with mk.open(path, "w+", size=MIB, reserve=reserve) as m:
                m.write(0, bytes(range(256)) * (MIB // 256))
                m.flush()
                fill(disk)
                old = m.read()
                for _ in range(2):
                    try:
                        m.resize(512 * MIB)
                    except OSError as error:
                        assert error.errno == errno.ENOSPC, error
                    else:
                        raise AssertionError("grown")
                    assert os.path.getsize(path) == m.size == len(m) == MIB
                    assert m.read() == old == content(path)
                m.check()
                os.unlink(os.path.join(disk, "ballast"))
                os.sync()
                m[0] = 99
                m.flush()
                m.resize(2 * MIB)
                assert m.read(0, MIB) == b"c" + old[1:]
        """,
        small_disk,
    )


def test_growing_at_opening_on_a_full_disk_raises_and_changes_nothing(small_disk):
    victim.survive(
        """
        disk, = args
        path = os.path.join(disk, "growing")
        with open(path, "wb") as new:
            new.write(b"old")
        try:
            mk.open(path, "r+", size=1024 * MIB)
        except OSError as error:
            assert (error.errno, error.filename) == (errno.ENOSPC, path), error
        else:
            raise AssertionError("grown")
        assert content(path) == b"old"
        """,
        small_disk,
    )
