"""A shard that is truncated: the fault names its file."""

import pytest

from . import victim


@pytest.mark.parametrize("rows", [131072, 1000])  # whole pages, which lie side by side; and not
def test_truncated_shard_is_named(tmp_path, rows):
    victim.survive(
        """
        rows = int(args[1])
        paths = [make(os.path.join(args[0], f"{n}.bin"), 8 * rows) for n in range(3)]
        s = mk.open_sharded(paths, dtype="f8")
        assert s.contiguous is (rows == 131072)
        assert np.asarray(s).sum() == 3 * rows
        cut(paths[1], 0)
        whole = lambda: np.asarray(s).sum()
        require_fault(fault_of(whole), paths[1], 0)
        fault_of(s.gather, [rows + 5])
        fault_of(in_thread, lambda: s[rows : rows + 5])
        gc.collect()
        require_fault(fault_of(s.check), paths[1], 0)
        s.close()
        assert s.closed
        """,
        tmp_path,
        rows,
    )


def test_nothing_leaks(tmp_path):
    victim.survive(
        """
        paths = [make(os.path.join(args[0], f"{n}.bin"), 16 * PAGE) for n in range(5)]

        def once():
            with mk.open_sharded(paths, dtype="f8") as s:
                assert s.contiguous and np.asarray(s).sum() == 5 * 2 * PAGE
                s.gather([0, 5000])

        once()
        gc.collect()
        before = map_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            once()
        gc.collect()
        after = map_count(), len(os.listdir("/proc/self/fd"))
        assert before == after, (before, after)
        """,
        tmp_path,
    )
