"""A fault never goes unreported, and is not reported twice to those who know."""

from . import victim

LOSE = """
    path = args[0]

    def lose():
        global m, view
        make(path, 4 * MIB)
        m = mk.open(path, "r+")
        view = m.array("f8")
        cut(path, MIB)
        assert np.isnan(in_thread(view.sum))
"""
LOST = (
    LOSE
    + """
    lose()
"""
)


def test_fault_of_a_silent_worker_is_raised_by_the_next_call_of_anybody(file):
    calls = [
        "m[0]",
        "m[:10]",
        "m.read(0, 1)",
        "m.write(0, b'x')",
        "m.load('<d', 0)",
        "m.flush()",
        "m.check()",
        "m.array('f8')",
        "memoryview(m)",
        "m.guard().__enter__()",
        "m.close(defer=True)",
    ]
    victim.survive(
        LOSE
        + f"""
    def work(call):
        lose()
        require_fault(fault_of(lambda: eval(call)), path, MIB)

    each({calls}, work)
    """,
        file,
    )


def test_fault_is_raised_once_by_calls_on_healthy_bytes(file):
    calls = ["m[0]", "m.read(0, 1)", "m.load('<d', 0)", "m[:8]", "m.array('f8', 9)"]
    victim.survive(
        LOSE
        + f"""
    def work(call):
        lose()
        fault_of(lambda: eval(call))
        eval(call)

    each({calls}, work)
    """,
        file,
    )


def test_lost_bytes_are_raised_again_and_again(file):
    victim.survive(
        LOST
        + """
    for _ in range(3):
        fault_of(m.read, MIB, 1)
        fault_of(m.check)
        fault_of(m.flush)
        fault_of(memoryview, m)
    """,
        file,
    )


def test_collected_mapping_with_an_unraised_fault_warns_and_names_it(file):
    victim.survive(
        LOST
        + """
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del m, view
        gc.collect()
    assert [w.category for w in seen] == [mk.UnraisedFaultWarning], seen
    assert path in str(seen[0].message) and str(MIB) in str(seen[0].message), seen[0].message
    """,
        file,
    )


def test_collected_mapping_with_a_raised_fault_does_not_warn(file):
    victim.survive(LOST + "    fault_of(m.check)\n    del m, view\n    gc.collect()", file)


def test_end_of_with_raises_what_nobody_was_told(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)

        def work():
            with mk.open(path) as m:
                cut(path, MIB)
                in_thread(lambda: m.array("f8").sum())

        require_fault(fault_of(work), path, MIB)
        """,
        file,
    )


def test_end_of_with_closes_and_leaves_another_error_as_context(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)

        def work():
            with mk.open(path) as m:
                cut(path, MIB)
                in_thread(lambda: m.array("f8").sum())
                raise KeyError("mine")

        fault = fault_of(work)
        require_fault(fault, path, MIB)
        assert isinstance(fault.__context__, KeyError)
        """,
        file,
    )


def test_end_of_with_over_a_file_that_was_cut_unseen_raises(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)

        def work():
            with mk.open(path, "r+") as m:
                m[0] = 1
                cut(path, MIB)

        require_fault(fault_of(work), path, MIB)
        """,
        file,
    )


def test_close_raises_what_nobody_was_told_and_closes_all_the_same(file):
    victim.survive(
        LOST
        + """
    del view
    require_fault(fault_of(m.close), path, MIB)
    assert m.closed
    m.close()
    """,
        file,
    )


def test_guard_raises_at_its_end_with_another_error_as_context(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        m = mk.open(path)
        view = m.array("f8")

        def work():
            with m.guard():
                cut(path, MIB)
                view.sum()
                raise KeyError("mine")

        fault = fault_of(in_thread, work)
        require_fault(fault, path, MIB)
        assert isinstance(fault.__context__, KeyError)
        """,
        file,
    )


def test_fault_inside_a_guard_of_the_main_thread_is_raised_inside_it(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        m = mk.open(path)
        view = m.array("f8")
        cut(path, MIB)
        reached = []

        def work():
            with m.guard():
                view.sum()
                reached.append(True)

        require_fault(fault_of(work), path, MIB)
        assert not reached
        """,
        file,
    )


def test_fault_of_the_main_thread_is_raised_once(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        m = mk.open(path)
        view = m.array("f8")
        cut(path, MIB)
        fault_of(view.sum)
        time.sleep(0)
        assert m[0] == 0 and m.faults == 1
        """,
        file,
    )


def test_fault_names_the_mapping_that_was_touched_among_many(file):
    victim.survive(
        """
        maps = [mk.open(make(f"{args[0]}{i}", MIB)) for i in range(20)]
        views = [m.array("f8") for m in maps]
        for i in (7, 3, 19):
            cut(maps[i].path, i * PAGE)
            require_fault(fault_of(views[i].sum), maps[i].path, i * PAGE)
        maps[0].check()
        """,
        file,
    )


def test_array_over_lost_bytes_raises_and_its_healthy_rows_do_not(file):
    victim.survive(
        """
        path = args[0] + ".npy"
        with mk.create_array(path, (1024, 1024)) as a:
            a[:] = 1
            cut(path, 4 * MIB)
            fault_of(lambda: a[600:].sum())
            assert a[:100].sum() == 100 * 1024
            fault_of(lambda: a[500:520])
            fault_of(lambda: np.asarray(a))
            fault_of(a.flush)
        """,
        file,
    )


def test_mapping_fault_travels_to_another_process(file):
    victim.survive(
        """
        import pickle

        path = make(args[0], 4 * MIB)
        m = mk.open(path)
        cut(path, MIB)
        fault = pickle.loads(pickle.dumps(fault_of(m.read, MIB, 8)))
        require_fault(fault, path, MIB)
        """,
        file,
    )
