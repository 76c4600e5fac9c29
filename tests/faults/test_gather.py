"""Rows by index from a file that fails: reported, precisely, in whatever thread."""

import sys

import pytest

from . import victim

MIB = 1 << 20


@pytest.mark.parametrize("threads", [1, 3])
def test_gather_from_truncated_file_raises_fault(file, threads):
    victim.survive(
        """
        import mmapkit.gather as gathering
        threads = int(args[1])
        gathering.THREADS_FROM_S, gathering.count_cores = 0 if threads > 1 else 1e9, lambda: threads
        path = make(args[0], 8 * MIB)
        with mk.open_array(path, dtype="f8") as a:
            rows = np.arange(0, MIB, 512)
            assert (a.gather(rows) == 1).all()
            cut(path, 1 * MIB)
            fault = fault_of(a.gather, rows)
            assert fault.offset == 1 * MIB or threads > 1 and fault.offset > 1 * MIB
            require_fault(fault, path, fault.offset)
            # What is left can still be gathered; what is not, raises again and again.
            gathering.THREADS_FROM_S = 1e9
            assert (a.gather(rows[rows < MIB // 8]) == 1).all()
            for _ in range(3):
                fault_of(a.gather, rows[-5:])
            fault_of(in_thread, a.gather, rows)
        """,
        file,
        threads,
    )


# 64 KiB from row to row, which no page fault maps together: where the system can, such rows are
# read from the file after the first few hundred.
APART = """
    import mmapkit.gather as gathering
    gathering.THREADS_FROM_S = 1e9
    APART, COUNT = 1 << 16, 2000
    path = args[0]
    with open(path, "wb") as made:
        made.truncate(APART * COUNT)
        for row in range(COUNT):
            made.seek(row * APART)
            made.write(row.to_bytes(8, "little"))
    rows = np.arange(COUNT) * (APART // 8)
"""


def test_gather_of_rows_apart_from_truncated_file_raises_fault(file):
    victim.survive(
        APART
        + """
    with mk.open_array(path, dtype="<u8") as a:
        assert (a.gather(rows) == np.arange(COUNT)).all()
    with mk.open_array(path, dtype="<u8") as a:
        cut(path, APART * 1500)
        require_fault(fault_of(a.gather, rows), path, APART * 1500)
        assert (a.gather(rows[:1500]) == np.arange(1500)).all()
        for _ in range(3):
            fault_of(a.gather, rows)
        """,
        file,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="handles are not descriptors")
@pytest.mark.parametrize("reused", [False, True])
def test_gather_of_rows_apart_after_the_descriptor_was_closed(file, reused):
    victim.survive(
        APART
        + """
    with mk.open_array(path, dtype="<u8") as a:
        number = a.mapping.fileno()
        os.close(number)
        if args[1] == "True":
            with open(path + ".other", "wb") as other:
                other.write(b"x" * (APART * COUNT))
            assert os.open(path + ".other", os.O_RDWR) == number
        for _ in range(3):
            assert (a.gather(rows) == np.arange(COUNT)).all()
        """,
        file,
        reused,
    )


def test_gather_in_worker_thread_raises_there(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open_array(path, dtype="f8") as a:
            cut(path, 1 * MIB)
            require_fault(fault_of(in_thread, a.gather, [10, MIB // 4]), path, 2 * MIB)
        """,
        file,
    )


def test_awaited_gather_raises_fault(file):
    victim.survive(
        """
        import asyncio
        path = make(args[0], 4 * MIB)
        with mk.open_array(path, dtype="f8") as a:
            cut(path, 1 * MIB)
            require_fault(fault_of(lambda: asyncio.run(a.agather([MIB // 4]))), path, 2 * MIB)
        """,
        file,
    )


def test_truncation_in_the_middle_of_gathers(file):
    victim.survive(
        """
        path = make(args[0], 32 * MIB)
        a = mk.open_array(path, dtype="f8")
        rows = np.random.default_rng(1).integers(0, 4 * MIB, 50_000)
        threading.Timer(0.05, cut, (path, 5 * PAGE)).start()

        def gather_for_ever():
            while True:
                assert (a.gather(rows) == 1).all()

        fault = fault_of(gather_for_ever)
        assert fault.cause == "truncated" and fault.offset >= 5 * PAGE, fault
        gc.collect()
        a.close()
        """,
        file,
    )


def test_gather_from_failing_device_raises_fault(faulty):
    bad = 20 * 4096
    disk = faulty(size=MIB, read_eio=(bad, bad + 4096))
    victim.survive(
        """
        path, bad = args[0], int(args[1])
        with mk.open_array(path) as a:
            rows = np.arange(0, bad, 512)
            assert (a.gather(rows) == (rows // 4096 * 7 + rows) % 256).all()
            fault = fault_of(a.gather, [5, bad + 7, bad + 20_000])
            require_fault(fault, path, bad + 7, "I/O error", errno.EIO)
            assert a.gather([bad + 4096]).shape == (1,)
        """,
        disk.path,
        bad,
    )
