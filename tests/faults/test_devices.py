"""A device that fails, and a filesystem that refuses to be mapped.

The filesystem's process has one thread: a signal is heard before what is asked of it next.
"""

import pytest

from . import victim

MIB = 1 << 20
PAGE = 4096
BAD = 100 * PAGE
PATTERN = """
    path, bad = args[0], int(args[1])

    def pattern(start, stop):
        i = np.arange(start, stop)
        return ((i // 4096 * 7 + i) & 0xFF).astype("u1")
"""


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_read_error_names_the_page_and_spares_its_neighbours(faulty, mode):
    disk = faulty(size=MIB, read_eio=(BAD, BAD + PAGE))
    victim.survive(
        PATTERN
        + """
        calls = {
            "read": lambda m: m.read(bad + 5, 10),
            "item": lambda m: m[bad + 5],
            "load": lambda m: m.load("<u8", bad + 5),
            "sum": lambda m: m.array("u1")[bad + 5 :].sum(),
        }
        for name, call in calls.items():
            with mk.open(path, args[2]) as m:
                require_fault(fault_of(call, m), path, bad + 5, "I/O error", errno.EIO)
                view = memoryview(m[:bad]), memoryview(m[bad + PAGE :])
                assert bytes(view[0]) == pattern(0, bad).tobytes(), name
                assert bytes(view[1]) == pattern(bad + PAGE, len(m)).tobytes(), name
                fault_of(m.read, bad + PAGE - 1, 1)
                assert m.read(bad + PAGE, 1) == pattern(bad + PAGE, bad + PAGE + 1).tobytes()
                fault_of(lambda: m[bad - 1 : bad + 1])
                del view
                fault_of(m.check)
        """,
        disk.path,
        BAD,
        mode,
    )


def test_recover_reads_the_page_once_the_device_can(faulty):
    disk = faulty(size=MIB, read_eio=(BAD, BAD + PAGE))
    victim_code = (
        PATTERN
        + """
        m = mk.open(path)
        fault_of(m.read)
        # Still failing: the page is poison again when it is read again.
        m.recover()
        require_fault(fault_of(m.load, "<u8", bad), path, bad, "I/O error", errno.EIO)
        os.kill(int(args[2]), signal.SIGUSR1)
        m.recover()
        assert m.read() == pattern(0, len(m)).tobytes()
        m.check()
    """
    )
    victim.survive(victim_code, disk.path, BAD, disk.process_id)


def test_many_failing_pages_are_reported_and_survived(faulty):
    # More than are patched one by one.
    disk = faulty(size=4 * MIB, read_eio=(0, 2 * MIB))
    victim.survive(
        PATTERN
        + """
        m = mk.open(path)
        view = m.array("u1")
        require_fault(fault_of(view.sum), path, 0, "I/O error", errno.EIO)
        assert (view[: 2 * MIB] == 0xFF).all()
        fault_of(m.check)
        assert 256 <= m.faults <= 520, m.faults
        """,
        disk.path,
        BAD,
    )


def test_populate_over_a_failing_page_raises_fault(faulty):
    disk = faulty(size=MIB, read_eio=(BAD, BAD + PAGE))
    victim.survive(
        PATTERN
        + """
        with mk.open(path) as m:
            require_fault(fault_of(m.populate), path, bad, "I/O error", errno.EIO)
        fault = fault_of(lambda: mk.open(path, populate=True))
        require_fault(fault, path, bad, "I/O error", errno.EIO)
        """,
        disk.path,
        BAD,
    )


@pytest.mark.parametrize("level", ["os", "disk"])
def test_failed_write_back_is_raised_by_every_later_flush(faulty, level):
    disk = faulty(size=MIB, write_eio=True)
    victim.survive(
        """
        path, level, daemon = args
        m = mk.open(path, "r+")
        m[0] = 99
        fault = fault_of(lambda: m.flush(level=level))
        assert (fault.filename, fault.cause, fault.errno) == (path, "I/O error", errno.EIO), fault
        os.kill(int(daemon), signal.SIGUSR1)
        for _ in range(3):
            # The system would report success now: the page counts as clean.
            assert fault_of(lambda: m.flush(level=level)).errno == errno.EIO
            assert fault_of(m.check).errno == errno.EIO
        fault_of(m.recover)
        m.close()
        with mk.open(path, "r+") as m:
            m[0] = 98
            m.flush(level=level)
        assert content(path)[:1] == b"b"
        """,
        disk.path,
        level,
        disk.process_id,
    )


def test_failed_write_back_that_nobody_flushed_for_is_told_at_the_next_flush(faulty):
    # The kernel writes dirty pages when it likes; the error waits for the first fsync.
    disk = faulty(size=MIB, write_eio=True)
    victim.survive(
        """
        path, = args
        with mk.open(path, "r+") as m:
            m[0] = 99
            os.sync()
            assert fault_of(m.flush).errno == errno.EIO
            fault_of(m.flush)
        """,
        disk.path,
    )


def test_file_that_refuses_shared_maps_is_mapped_privately_to_be_read(faulty):
    disk = faulty(size=MIB, direct_io=True)
    victim.survive(
        PATTERN
        + """
        with mk.open(path) as m:
            assert m.backend == "map-private"
            assert m.read() == pattern(0, MIB).tobytes()
            assert (m.array("u1") == pattern(0, MIB)).all()
        with mk.open(path, "c") as m:
            assert m.backend == "map"
            m[0] = 1
            assert m.read() == b"\\1" + pattern(1, MIB).tobytes()
        """,
        disk.path,
        0,
    )


def test_file_that_refuses_shared_maps_is_read_and_written_instead(faulty):
    disk = faulty(size=MIB, direct_io=True)
    victim.survive(
        PATTERN
        + """
        with mk.open(path, "r+", offset=100) as m:
            assert m.backend == "read"
            assert m.read() == pattern(100, MIB).tobytes()
            m[0] = 1
            m.array("u1")[PAGE * 3] = 2
            m.flush()
        expected = pattern(0, MIB)
        expected[100], expected[100 + 3 * PAGE] = 1, 2
        assert content(path) == expected.tobytes()
        with mk.open(path) as m:
            assert m.read() == expected.tobytes()
        try:
            mk.open(path, "r+", backend="map")
        except OSError as error:
            assert error.errno == errno.ENODEV, error
        else:
            raise AssertionError("mapped")
        """,
        disk.path,
        0,
    )


def test_write_error_of_the_read_backend_sticks_as_well(faulty):
    disk = faulty(size=MIB, direct_io=True, write_eio=True)
    victim.survive(
        """
        path, daemon = args
        with mk.open(path, "r+") as m:
            assert m.backend == "read"
            m[0] = 1
            assert fault_of(m.flush).errno == errno.EIO
            os.kill(int(daemon), signal.SIGUSR1)
            assert fault_of(m.flush).errno == errno.EIO
        """,
        disk.path,
        disk.process_id,
    )
