"""Files of several arrays: truncated under a member, a full disk or a kill while one is written."""

from . import victim

ARCHIVE = """
        path = args[0]
        mk.save_npz(path, a=np.ones(MIB // 8), b=np.full(MIB // 8, 2.0), c=np.ones(MIB // 8))
"""


def test_file_truncated_under_a_member_raises_fault(file):
    victim.survive(
        ARCHIVE
        + """
        with mk.open_arrays(path) as d:
            a, c = np.asarray(d["a"]), np.asarray(d["c"])
            end = d["b"].offset + PAGE
            cut(path, end)
            assert a.sum() == MIB // 8
            fault = fault_of(c.sum)
            require_fault(fault, path, d["c"].offset)
            assert np.isnan(c).all()
            del a, c
        """,
        file,
    )


def test_member_that_is_lost_raises_from_its_array(file):
    victim.survive(
        ARCHIVE
        + """
        d = mk.open_arrays(path)
        a, c = d["a"], d["c"]
        cut(path, c.offset)
        fault_of(lambda: c[...].sum())
        assert a[...].sum() == MIB // 8
        fault_of(c.__getitem__, 5)
        d.close()
        """,
        file,
    )


def test_verify_over_a_truncated_archive_raises_fault_in_any_thread(file):
    victim.survive(
        ARCHIVE
        + """
        for run in (lambda call: call(), in_thread):
            mk.save_npz(path, a=np.ones(MIB // 8))
            d = mk.open_arrays(path)
            cut(path, MIB // 2)
            fault = fault_of(run, d.verify)
            assert fault.cause == "truncated", fault
            d.close()
        """,
        file,
    )


def test_archive_cut_before_a_member_is_asked_for_is_refused(file):
    victim.survive(
        ARCHIVE
        + """
        d = mk.open_arrays(path)
        cut(path, MIB)
        try:
            d["c"]
        except mk.FormatError as error:
            assert path in str(error), error
        else:
            raise AssertionError
        assert fault_of(d.close).cause == "truncated"
        assert d.closed
        """,
        file,
    )


def test_saving_an_array_whose_file_was_truncated_leaves_no_archive(file):
    victim.survive(
        """
        path = args[0]
        np.save(path + ".npy", np.ones(MIB))
        for run in (lambda call, *rest, **more: call(*rest, **more), in_thread):
            a = mk.open_array(path + ".npy")
            cut(path + ".npy", 4 * MIB)
            fault = fault_of(run, mk.save_npz, path, a)
            assert (fault.cause, fault.filename) == ("truncated", path + ".npy"), fault
            assert os.listdir(os.path.dirname(path)) == [os.path.basename(path) + ".npy"]
            a.close()
            np.save(path + ".npy", np.ones(MIB))
        """,
        file,
    )


def test_full_disk_while_saving_leaves_no_file(small_disk):
    victim.survive(
        """
        disk, = args
        path = os.path.join(disk, "a.npz")
        mk.save_npz(path, old=np.arange(3))
        fill(disk)
        before = sorted(os.listdir(disk))
        for big in (np.ones(4 * MIB), np.ones(64 * MIB // 8)):
            try:
                mk.save_npz(path, big, small=np.arange(5))
            except OSError as error:
                assert (error.errno, error.filename) == (errno.ENOSPC, path), error
            else:
                raise AssertionError
            assert sorted(os.listdir(disk)) == before
            with mk.open_arrays(path) as d:
                assert d["old"][...].tolist() == [0, 1, 2]
        """,
        small_disk,
    )


def test_process_killed_while_saving_leaves_the_old_archive(file):
    victim.survive(
        """
        path = args[0]
        mk.save_npz(path, old=np.arange(3))

        def save(step):
            import mmapkit.saving as saving
            write = saving.npz.write

            def interrupted(file, arrays, alignment, after):
                def until(name):
                    if name == step:
                        ready()
                        os.kill(os.getpid(), signal.SIGKILL)
                write(file, arrays, alignment, until)

            saving.npz.write = interrupted
            mk.save_npz(path, a=np.ones(MIB), b=np.ones(MIB))

        each(["a", "b"], save, status=-signal.SIGKILL)
        with mk.open_arrays(path) as d:
            assert list(d) == ["old"]
            d.verify()
        """,
        file,
    )
