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


@pytest.mark.parametrize("rows", [131072, 1000])
def test_what_is_computed_of_a_truncated_shard_raises(tmp_path, rows):
    victim.survive(
        """
        rows = int(args[1])
        paths = [make(os.path.join(args[0], f"{n}.bin"), 8 * rows) for n in range(3)]
        out = np.zeros(3 * rows)
        calls = [
            lambda s: s + 1,
            lambda s: s == s,
            lambda s: np.add(out, s, out=out),
            lambda s: np.array(s),
            lambda s: s.astype("f4"),
            lambda s: 2.0 in s,
            lambda s: (s[rows // 2 : -rows // 2].sum(), s[0 : rows + 1]),
            lambda s: s.gather(np.arange(3 * rows)),
            lambda s: [len(block) for block in s.blocks(rows=100, overlap=2)],
            lambda s: mk.map_blocks(np.sum, s, workers=2),
            lambda s: mk.map_blocks(np.copy, s, out),
            lambda s: mk.map_blocks(np.copy, source, s, dtype="f8"),
        ]
        source = make(os.path.join(args[0], "source.bin"), 24 * rows)
        for call in calls:
            for run in (fault_of, lambda *a: fault_of(in_thread, *a)):
                make(paths[1], 8 * rows)
                s = mk.open_sharded(paths, "r+", dtype="f8")
                cut(paths[1], 0)
                fault = run(call, s)
                assert fault.filename == paths[1], (fault.filename, call)
                try:
                    s.close(defer=True)
                except MappingFault:
                    pass
                assert s.closed
        """,
        tmp_path,
        rows,
    )


def test_nothing_leaks(tmp_path):
    victim.survive(
        """
        paths = [make(os.path.join(args[0], f"{n}.bin"), 16 * PAGE) for n in range(5)]

        def held():  # stacks of threads come and go
            with open("/proc/self/maps") as maps:
                return maps.read().count(args[0]), len(os.listdir("/proc/self/fd"))

        def once():
            with mk.open_sharded(paths, dtype="f8") as s:
                assert s.contiguous and np.asarray(s).sum() == 5 * 2 * PAGE
                s.gather([0, 5000])
                assert sum(map(len, s.blocks(rows=1000, overlap=10))) > len(s)
                next(iter(mk.blocks(s)))
                assert mk.map_blocks(len, s, workers=2) == [2 * PAGE] * 5

        once()
        gc.collect()
        before = held()
        for _ in range(50):
            once()
        gc.collect()
        after = held()
        assert before == after, (before, after)
        """,
        tmp_path,
    )
