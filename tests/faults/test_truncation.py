"""A file that becomes shorter while it is mapped."""

import pytest

from . import victim

# --- in the main thread ---------------------------------------------------------------------


def test_sum_over_truncated_file_raises_fault(file):
    victim.survive(
        """
        path = make(args[0], 8 * MIB)
        with mk.open(path) as m:
            view = m.array("f8")
            assert view.sum() == MIB
            cut(path, 1 * MIB)
            fault = fault_of(view.sum)
            require_fault(fault, path, 1 * MIB)
            assert m.faults == fault.count == 1
            del view
        """,
        file,
    )


def test_poison_reads_as_nan_and_what_is_left_of_the_file_does_not(file):
    victim.survive(
        """
        path = make(args[0], 8 * MIB)
        with mk.open(path) as m:
            view, raw, whole = m.array("f8"), m.array("u1"), m.array("i8")
            cut(path, 1 * MIB)
            fault_of(view.sum)
            assert np.isnan(view.sum())
            assert np.isnan(view[MIB // 8 :]).all() and (view[: MIB // 8] == 1).all()
            assert (raw[MIB:] == 0xFF).all() and (whole[MIB // 8 :] == -1).all()
            del view, raw, whole
        """,
        file,
    )


def test_truncation_in_the_middle_of_a_sum_raises_fault(file):
    victim.survive(
        """
        path = make(args[0], 32 * MIB)
        m = mk.open(path)
        view = m.array("f8")
        threading.Timer(0.05, cut, (path, 5 * PAGE)).start()

        def sum_for_ever():
            while True:
                view.sum()

        fault = fault_of(sum_for_ever)
        assert fault.cause == "truncated" and fault.offset >= 5 * PAGE, fault
        assert np.isnan(view.sum())
        """,
        file,
    )


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_file_cut_to_nothing_raises_fault_in_every_mode(file, mode):
    victim.survive(
        """
        path, mode = args
        make(path, 4 * MIB)
        with mk.open(path, mode) as m:
            view = m.array("f8")
            cut(path, 0)
            require_fault(fault_of(view.sum), path, 0)
            assert np.isnan(view).all()
            require_fault(fault_of(m.check), path, 0)
            del view
        """,
        file,
        mode,
    )


def test_offset_of_fault_counts_from_the_start_of_the_file(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open(path, offset=MIB + 100, length=2 * MIB) as m:
            cut(path, 2 * MIB)
            require_fault(fault_of(lambda: m[2 * MIB - 1]), path, 3 * MIB + 99)
        """,
        file,
    )


def test_store_through_a_view_past_the_end_raises_fault(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        m = mk.open(path, "r+")
        view = m.array("f8")
        cut(path, MIB)

        def store():
            view[:] = 5

        require_fault(fault_of(store), path, MIB)
        require_fault(fault_of(m.flush), path, MIB)
        assert os.path.getsize(path) == MIB
        """,
        file,
    )


def test_system_call_on_a_truncated_view_fails_and_check_tells_why(file):
    # The kernel's own copies answer EFAULT instead of raising a signal.
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open(path) as m:
            cut(path, MIB)
            with open(path + ".out", "wb", buffering=0) as out:
                with m[2 * MIB : 2 * MIB + PAGE] as part:
                    try:
                        out.write(part)
                    except OSError as error:
                        assert error.errno == errno.EFAULT, error
                    else:
                        raise AssertionError("written")
            require_fault(fault_of(m.check), path, MIB)
        """,
        file,
    )


# --- in other threads -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["guard", "check", "next call"])
def test_each_of_eight_threads_gets_a_report_of_its_own(file, how):
    victim.survive(
        """
        path, how = args
        make(path, 32 * MIB)
        m = mk.open(path)
        parts = arrays_of(m, 8)
        gate, told, seen = threading.Barrier(9), threading.Barrier(8), {}

        def work(i):
            gate.wait()
            gate.wait()
            if how == "guard":
                fault = fault_of(guarded, i)
            else:
                assert np.isnan(parts[i].sum())
                # Bytes that are all there: only its own report can raise.
                fault = fault_of(m.check if how == "check" else lambda: m[0])
            seen[i] = fault
            told.wait()  # before that, anybody's next call raises what nobody was told of yet
            if how != "check":
                assert m[0] == 0  # and it comes once

        def guarded(i):
            with m.guard():
                assert np.isnan(parts[i].sum())

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        gate.wait()
        cut(path, PAGE)
        gate.wait()
        for thread in threads:
            thread.join()
        assert sorted(seen) == list(range(8)), seen
        for fault in seen.values():
            assert (fault.filename, fault.cause) == (path, "truncated"), fault
            assert fault.offset >= PAGE
        """,
        file,
        how,
    )


def test_truncation_in_the_middle_of_eight_sums_is_survived(file):
    victim.survive(
        """
        path = make(args[0], 64 * MIB)
        m = mk.open(path)
        parts = arrays_of(m, 8)
        seen = []

        def work(part):
            try:
                while True:
                    with m.guard():
                        part.sum()
            except MappingFault as fault:
                seen.append(fault.with_traceback(None))

        threads = [threading.Thread(target=work, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        cut(path, 0)
        for thread in threads:
            thread.join()
        assert len(seen) == 8, seen
        """,
        file,
    )


def test_forty_threads_are_survived_and_none_goes_without_a_report(file):
    # More than the guard remembers by name.
    victim.survive(
        """
        path = make(args[0], 40 * 16 * PAGE)
        m = mk.open(path)
        parts = arrays_of(m, 40)
        cut(path, 0)
        gate, seen = threading.Barrier(40), []

        def work(i):
            gate.wait()
            assert np.isnan(parts[i].sum())
            gate.wait()
            # All of its bytes are poison, so it learns of it whoever was told before.
            seen.append(fault_of(m.read, i * 16 * PAGE, 16 * PAGE))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 40
        """,
        file,
    )


def test_main_thread_gets_its_fault_at_once_while_many_threads_are_owed_theirs(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        m = mk.open(path)
        parts = arrays_of(m, 32)
        cut(path, 0)
        for part in parts[::-1]:
            in_thread(part.sum)
        fault_of(m.check)
        more = mk.open(path + ".more", "x+", size=MIB)
        view = more.array("f8")
        cut(path + ".more", 0)
        require_fault(fault_of(view.sum), path + ".more", 0)
        """,
        file,
    )


# --- our own copies -------------------------------------------------------------------------

COPIES = """
    path, where = args
    at = 3 * MIB
    calls = {
        "read": lambda m: m.read(at, PAGE),
        "read large": lambda m: m.read(at, MIB),
        "read_into": lambda m: m.read_into(at, bytearray(PAGE)),
        "read_into large": lambda m: m.read_into(at, bytearray(MIB)),
        "write": lambda m: m.write(at, b"x" * PAGE),
        "write large": lambda m: m.write(at, b"x" * MIB),
        "item": lambda m: m[at],
        "store item": lambda m: m.__setitem__(at, 7),
        "load": lambda m: m.load("<f8", at),
        "store": lambda m: m.store("<f8", at, 1.5),
        "slice": lambda m: (bytes(m[at : at + 10]), m[0]),
        "store slice": lambda m: m.__setitem__(slice(at, at + 3), b"abc"),
        "store stepped slice": lambda m: m.__setitem__(slice(at, at + 6, 2), b"abc"),
        "move out": lambda m: m.move(0, at, 100),
        "move in": lambda m: m.move(at, 0, 100),
        "populate": lambda m: m.populate(at, PAGE),
        "contains": lambda m: b"not there" in m,
    }
    for name, call in calls.items():
        make(path, 4 * MIB)
        with mk.open(path, "r+") as m:
            cut(path, 2 * MIB)
            run = in_thread if where == "worker" else lambda call, *rest: call(*rest)
            fault = fault_of(run, call, m)
            assert (fault.filename, fault.cause) == (path, "truncated"), (name, fault)
            # A copy may run downwards.
            assert at <= fault.offset < at + MIB or name == "contains", (name, fault)
            # The bytes that are there stay readable, the others keep raising.
            fault_of(m.read, at, 1)
            assert m.read(MIB, 8) == np.float64(1).tobytes(), name
"""


@pytest.mark.parametrize("where", ["main", "worker"])
def test_every_copy_of_ours_raises_fault_of_truncated_file(file, where):
    victim.survive(COPIES, file, where)


# --- inside a page --------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["check", "flush", "close", "end of with"])
def test_truncation_inside_a_page_reads_zeros_and_is_told_of(file, call):
    victim.survive(
        """
        path, call = args
        make(path, 4 * PAGE)
        m = mk.open(path, "r+")
        cut(path, 3 * PAGE + 80)
        assert m.load("<f8", 3 * PAGE + 72) == 1.0
        assert m.load("<f8", 3 * PAGE + 80) == 0.0 and m.faults == 0
        if call == "end of with":
            def leave():
                with m:
                    pass
            fault = fault_of(leave)
        else:
            fault = fault_of(getattr(m, call))
        require_fault(fault, path, 3 * PAGE + 80)
        if call in ("check", "flush"):
            require_fault(fault_of(m.flush), path, 3 * PAGE + 80)
            require_fault(fault_of(m.check), path, 3 * PAGE + 80)
            m.close()
        assert m.closed
        """,
        file,
        call,
    )


# --- coming back ----------------------------------------------------------------------------


def test_recover_shows_the_file_again_in_the_same_views(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open(path, "r+") as m:
            view = m.array("f8")
            cut(path, MIB)
            fault_of(view.sum)
            make(path, 4 * MIB, 2.0)
            assert np.isnan(view).any()
            m.recover()
            assert (view == 2.0).all() and not m.faulted
            view[-1] = 3.0
            m.flush()
            assert np.fromfile(path)[-1] == 3.0
            m.check()
            del view
        """,
        file,
    )


def test_recover_of_a_file_that_is_still_short_raises_and_keeps_poison(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open(path) as m:
            view = m.array("f8")
            cut(path, MIB)
            fault_of(view.sum)
            os.truncate(path, 2 * MIB)
            require_fault(fault_of(m.recover), path, 2 * MIB)
            assert (view[MIB // 8 : 2 * MIB // 8] == 0).all()
            fault_of(view.sum)
            assert np.isnan(view[2 * MIB // 8 :]).all()
            require_fault(fault_of(m.check), path, 2 * MIB)
            del view
        """,
        file,
    )


def test_refresh_follows_the_file_that_shrank(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open(path) as m:
            cut(path, MIB)
            fault_of(m.read)
            assert m.refresh() == m.size == MIB
            assert not m.faulted and m.array("f8").sum() == MIB // 8
            m.check()
            cut(path, 100)
            fault_of(m.check)
            assert m.refresh() == 100 and m.load("<f8", 88) == 1.0
            m.check()
        """,
        file,
    )


def test_resize_of_a_truncated_mapping_raises_fault_and_changes_nothing(file):
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        with mk.open(path, "r+") as m:
            cut(path, MIB)
            fault_of(m.read)
            fault_of(m.resize, 8 * MIB)
            assert os.path.getsize(path) == MIB and m.size == 4 * MIB
        """,
        file,
    )


@pytest.mark.slow
def test_poison_stays_nan_however_often_files_are_truncated(file, linux):
    # Each cycle lays 20 patches; there must be no limit to how many there were in a lifetime.
    victim.survive(
        """
        path, size = args[0], 320 * MIB
        with open(path, "wb") as new:
            new.truncate(size)
        m = mk.open(path)
        view = m.array("f8")
        before = map_count()
        for cycle in range(1000):
            cut(path, 0)
            fault_of(m.load, "<f8", size - 8)
            assert np.isnan(view[0]) and np.isnan(view[-1]), cycle
            os.truncate(path, size)
            m.recover()
            assert view[0] == view[-1] == 0
        assert map_count() <= before + 4
        """,
        file,
    )


@pytest.mark.slow
def test_poison_stays_nan_however_many_mappings_were_lost(file):
    victim.survive(
        """
        path = args[0]
        for cycle in range(17_000):
            with open(path, "wb") as new:
                new.truncate(PAGE)
            with mk.open(path) as m:
                view = m.array("f8")
                cut(path, 0)
                fault_of(m.load, "<f8", 0)
                assert np.isnan(view[0]), cycle
                del view
        """,
        file,
    )


@pytest.mark.slow
def test_every_second_page_after_truncation_costs_no_mappings(file, linux):
    victim.survive(
        """
        path = args[0]
        with open(path, "wb") as new:
            new.truncate(1024 * MIB)
        m = mk.open(path)
        pages = m.array("u1")[::PAGE]
        assert pages[::2].sum() == 0
        before = map_count()
        cut(path, 0)
        fault_of(pages[::2].sum)
        assert pages[::2].sum() == 255 * len(pages[::2])
        assert m.faults == 1
        # 64 patches of 16 MiB each.
        assert map_count() <= before + 66, map_count() - before
        os.truncate(path, 1024 * MIB)
        m.recover()
        assert map_count() <= before + 2
        """,
        file,
    )


# --- stores and recoveries that race ----------------------------------------------------------


def test_stores_that_race_with_the_patch_are_not_lost(file):
    # Without the note of what is patched, a second thread's fault lays fresh poison over the
    # stores of the first: 924 of 196,608 bytes were lost then.
    victim.survive(
        """
        path, size = args[0], 48 * PAGE
        for round in range(200):
            with open(path, "wb") as new:
                new.truncate(size)
            with mk.open(path, "r+") as m:
                view = m.array("u1")
                assert view.sum() == 0
                gate = threading.Barrier(5)

                def work(i):
                    gate.wait()
                    # Interleaved: every page is stored to by all four.
                    view[i::4] = i + 1

                threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
                for thread in threads:
                    thread.start()
                cut(path, 0)
                gate.wait()
                for thread in threads:
                    thread.join()
                for i in range(4):
                    assert (view[i::4] == i + 1).all(), (round, i)
                fault_of(m.flush)
                del view
        """,
        file,
    )


@pytest.mark.slow
def test_thousand_cycles_of_truncation_and_recovery_under_readers(file, linux):
    victim.survive(
        """
        path, size = args[0], MIB
        make(path, size)
        m = mk.open(path, "r+")
        view = m.array("f8")
        stop, told, healthy = threading.Event(), [0] * 4, [0] * 4

        def read(i):
            while not stop.is_set():
                try:
                    with m.guard():
                        total = view.sum()
                    assert total == total
                    healthy[i] += 1
                except MappingFault as fault:
                    assert fault.filename == path
                    told[i] += 1
                    time.sleep(0.001)

        threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        with open(path, "r+b", buffering=0) as writer:
            content = np.arange(size // 8, dtype="f8").tobytes()
            for cycle in range(1000):
                cut(path, cycle % 7 * PAGE + cycle % 2 * 100)
                time.sleep(0.001)
                os.pwrite(writer.fileno(), content, 0)
                m.recover()
                if cycle == 10:
                    before = map_count()
            stop.set()
            for thread in threads:
                thread.join()
        # A reader may have met the short file after the last recovery began.
        m.recover()
        assert map_count() <= before + 4, (before, map_count())
        assert (view == np.arange(size // 8)).all()
        view[:] = 5
        m.flush()
        assert (np.fromfile(path) == 5).all()
        assert sum(healthy) > 100, (told, healthy)
        print(told, healthy)
        """,
        file,
        timeout=240,
    )


def test_fault_of_another_thread_outlives_recovery(file):
    # The sum of the worker is worth nothing, whoever has mended the file meanwhile.
    victim.survive(
        """
        path = make(args[0], 4 * MIB)
        m = mk.open(path)
        view = m.array("f8")
        summed, recovered = threading.Event(), threading.Event()
        seen = []

        def work():
            assert np.isnan(view.sum())
            summed.set()
            recovered.wait()
            seen.append(fault_of(lambda: m[0]))
            assert m[0] == 0

        thread = threading.Thread(target=work)
        cut(path, MIB)
        thread.start()
        summed.wait()
        fault_of(m.check)
        make(path, 4 * MIB)
        m.recover()
        # It is over for everybody who was told.
        m.check()
        m.flush()
        assert m.array("f8").sum() == MIB // 2
        recovered.set()
        thread.join()
        require_fault(seen[0], path, MIB)
        """,
        file,
    )


@pytest.mark.slow
def test_fault_that_arrives_during_recovery_is_not_forgotten(file):
    # A second file end, below the first, that is met while the first patch is being replaced.
    victim.survive(
        """
        path, size = args[0], 64 * PAGE
        for round in range(300):
            make(path, size)
            m = mk.open(path, "r+")
            view = m.array("u1")
            cut(path, 32 * PAGE)
            fault_of(lambda: view[40 * PAGE])
            gate = threading.Barrier(2)

            def work():
                gate.wait()
                cut(path, 0)
                view[:32] = 7

            thread = threading.Thread(target=work)
            thread.start()
            gate.wait()
            try:
                m.recover()
            except MappingFault:
                pass
            thread.join()
            os.truncate(path, size)
            try:
                m.recover()
            except MappingFault:
                m.recover()
            # All of it is the file again: no poison is left that nobody knows of.
            assert view[0] in (0, 7) and (view[32:] == 0).all(), round
            view[:] = 9
            m.flush()
            assert content(path) == bytes([9]) * size, round
            del view
            m.close()
        """,
        file,
        options=(),
    )
