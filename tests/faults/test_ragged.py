"""Ragged rows whose writer is killed, whose disk is full, whose file is cut."""

from . import victim


def test_rows_of_a_killed_writer_are_whole(tmp_path):
    victim.survive(
        """
        import random

        place, = args
        mk.create_ragged(place, "i8").close()

        def write():
            with mk.open_ragged(place, "r+") as r:
                while len(r) < 50_000:
                    first = len(r)
                    more = random.choice([1, 5, 300])
                    r.extend(np.full(i % 7, i) for i in range(first, first + more))
                os._exit(0)

        def right(r):
            count = len(r)
            assert r.lengths.tolist() == [i % 7 for i in range(count)]
            whole = np.repeat(np.arange(count), np.arange(count) % 7)
            assert np.array_equal(r.data[: len(whole)], whole)
            r.check()
            return count

        before = 0
        reader = mk.open_ragged(place)
        for cycle in range(30):
            random.seed(cycle)
            moment = random.random() * 0.02
            child = os.fork()
            if child == 0:
                write()
            try:
                until = time.monotonic() + moment
                while time.monotonic() < until or before == 0:
                    with mk.open_ragged(place) as r:
                        assert right(r) >= before
                    reader.refresh()
                    before = right(reader)
            finally:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        """,
        tmp_path / "r",
    )


def test_disk_full_keeps_the_rows_that_were_there(tmpfs):
    victim.survive(
        """
        disk, = args
        place = os.path.join(disk, "r")
        rows = [np.arange(8000.0)] * 10
        with mk.create_ragged(place, "f8") as r:
            r.extend(rows)
            view = r[0]
            while True:
                try:
                    r.extend(rows)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    break
            count = len(r)
            r.check()
            assert count % 10 == 0
            del view
        with mk.open_ragged(place, "r+") as r:
            assert len(r) == count
            assert all((row == rows[0]).all() for row in r)
        """,
        tmpfs,
    )


def test_rows_that_were_cut_raise_fault(tmp_path):
    victim.survive(
        """
        place, = args
        with mk.create_ragged(place, "f8") as r:
            r.extend([np.ones(PAGE)] * 3)
        r = mk.open_ragged(place)
        cut(os.path.join(place, "data.npy"), 10 * PAGE)
        assert r.gather([0])[0][0] == 1
        fault = fault_of(lambda: r.gather([0, 2]))
        assert fault.cause == "truncated"
        fault_of(lambda: float(r[2].sum()))
        fault_of(lambda: r.gather([2]))
        try:
            r.refresh()
        except mk.FormatError as error:
            assert "data.npy" in str(error)
        else:
            raise AssertionError("nothing was lost")
        """,
        tmp_path / "r",
    )
