"""Lines of files that are cut, devices that fail, disks that are full."""

from . import victim

SETUP = """
    path, = args
    LINE = b"x" * 63 + b"\\n"
    COUNT = 4 * PAGE // 64 * 64
    with open(path, "wb") as file:
        file.write(LINE * COUNT)
    SIZE = 64 * COUNT
"""


def test_file_cut_before_it_is_indexed(tmp_path):
    victim.survive(
        SETUP
        + """
    for threads in (1, 2):
        with open(path, "wb") as file:
            file.write(LINE * COUNT)
        m = mk.open(path)
        cut(path, SIZE // 2 // PAGE * PAGE + 100)
        fault = fault_of(lambda: m.lines(threads=threads))
        assert fault.filename == path and fault.cause == "truncated", fault
        assert isinstance(fault.found, mk.Lines), fault.found
        known = len(fault.found)
        assert fault.searched <= SIZE // 2 // PAGE * PAGE + PAGE, fault.searched
        assert fault.searched // 64 - 1 <= known <= fault.searched // 64
        assert known > 0 and fault.found[known - 1] == LINE[:-1]
        assert list(fault.found) == [LINE[:-1]] * known
        del fault
        m.close()
    """,
        tmp_path / "f",
    )


def test_file_cut_while_it_is_indexed(tmp_path):
    victim.survive(
        SETUP
        + """
    m = mk.open(path)
    told = []

    def saw(done, total):
        told.append(done)
        if len(told) == 1:
            cut(path, 5 * PAGE)

    m.evict()
    with open(path, "ab") as file:
        file.truncate(200 * MIB)
    m.refresh()
    fault = fault_of(lambda: m.lines(progress=saw))
    assert len(told) >= 1
    assert fault.cause == "truncated", fault
    assert len(fault.found) >= 5 * PAGE // 64
    assert fault.found[0] == LINE[:-1]
    fault_of(lambda: fault.found[len(fault.found) - 1])
    m.close()
    """,
        tmp_path / "f",
    )


def test_file_cut_while_lines_are_iterated(tmp_path):
    victim.survive(
        SETUP
        + """
    m = mk.open(path)
    found = m.lines()
    for step in (1, 7):
        with open(path, "wb") as file:
            file.write(LINE * COUNT)
        m.recover() if m.faulted else None
        going = iter(found[::step])
        assert next(going) == LINE[:-1]
        cut(path, SIZE // 2 // PAGE * PAGE)
        count = 1

        def all_others():
            global count
            for line in going:
                assert line == LINE[:-1]
                count += 1

        fault = fault_of(all_others)
        require_fault(fault, path, fault.offset)
        assert 0 <= fault.offset - SIZE // 2 // PAGE * PAGE < PAGE
        assert count == -(-(SIZE // 2 // PAGE * PAGE // 64) // step), count
        assert found[count * step - step] == LINE[:-1]
        fault_of(lambda: found[-1])
        fault_of(lambda: found.span(COUNT - 1))
        in_thread(lambda: fault_of(lambda: found[-2]))
    m.close()
    """,
        tmp_path / "f",
    )


def test_file_cut_in_a_long_line(tmp_path):
    victim.survive(
        """
    path, = args
    with open(path, "wb") as file:
        file.write(b"a\\n" + b"b" * 50 * PAGE + b"\\nc\\n")
    m = mk.open(path)
    found = m.lines()
    # The last page is still read from, and tells nothing of those before it.
    with open(path, "r+b") as file:
        file.truncate(10 * PAGE)
    fault_of(lambda: found[1])
    assert found[0] == b"a"
    fault_of(lambda: list(found))
    m.close()
    """,
        tmp_path / "f",
    )


def test_index_file_cut_while_it_is_in_use(tmp_path):
    victim.survive(
        SETUP
        + """
    m = mk.open(path)
    m.lines(index=True)
    with mk.open(path) as other:
        expected = list(other.lines())
    for size in (0, PAGE):
        found = m.lines(index=True)
        assert list(found) == expected
        cut(path + ".lines", size)
        for use in (
            lambda: found[-1],
            lambda: list(found),
            lambda: found.offsets,
            lambda: found.at_offset(SIZE - 1),
            lambda: found.line_number(np.arange(SIZE - 3, SIZE)),
        ):
            fault = fault_of(use)
            assert fault.filename == path + ".lines", fault
        fault_of(found.save)
        del found, fault, use
        if size == 0:
            os.unlink(path + ".lines")
        assert list(m.lines(index=True)) == expected
    m.close()
    """,
        tmp_path / "f",
    )


def test_full_disk_leaves_the_index_in_memory(tmpfs):
    victim.survive(
        """
    disk, = args
    path = os.path.join(disk, "f")
    with open(path, "wb") as file:
        file.write(b"\\n" * 100_000)
    with mk.open(path) as m:
        fill(disk)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = m.lines(index=True)
        assert len(told) == 1 and "No space" in str(told[0].message), told
        assert len(found) == 100_000 and found[5] == b""
        for save in (found.save, lambda: m.lines(index=path + ".lines")):
            try:
                save()
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
            else:
                raise AssertionError("saved without space")
        assert sorted(os.listdir(disk)) == ["ballast", "f"]
        os.unlink(os.path.join(disk, "ballast"))
        assert len(m.lines(index=True)) == 100_000
    """,
        tmpfs,
    )


def test_ctrl_c_ends_the_search_for_lines(tmp_path):
    victim.survive(
        """
    path, = args
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    m = mk.open(path)
    for threads in (1, 2):

        def send():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

        try:
            threading.Thread(target=send).start()
            m.lines(threads=threads)  # takes many minutes
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("not heard")
    m.close()
    """,
        tmp_path / "f",
    )
