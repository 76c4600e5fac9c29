"""Searching a file that fails: what was found until then comes with the fault."""

import pytest

from . import victim

MIB = 1 << 20

SETUP = """
    from functools import partial
    from mmapkit.text import windows
    path = make(args[0], 8 * MIB)
    with open(path, "r+b") as text:  # a mark every 64 KiB
        for at in range(0, 8 * MIB, 65536):
            text.seek(at)
            text.write(b"<mark>")
    marks = list(range(0, 8 * MIB, 65536))

    def told_of(work, *values, upto=3 * MIB, **how):
        fault = fault_of(partial(work, *values, **how))
        require_fault(fault, path, fault.offset)
        assert fault.searched <= upto <= fault.searched + MIB, fault.searched
        return fault
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_fault_tells_what_was_found_before(file, threads):
    victim.survive(
        SETUP
        + """
    threads = int(args[1])
    with mk.open(path) as m:
        assert m.count(b"<mark>", threads=threads) == 128
        cut(path, 3 * MIB)
        fault = told_of(m.count, b"<mark>", threads=threads)
        assert fault.found == sum(at < fault.searched for at in marks)
        fault = told_of(m.count, b"<", threads=threads)
        assert fault.found == sum(at < fault.searched for at in marks)
        fault = told_of(m.find_all, b"<mark>", threads=threads)
        assert fault.found.tolist() == [at for at in marks if at < fault.searched]
        fault = told_of(m.find, b"none", threads=threads)
        assert fault.found is None
        # What is left can be searched, again and again.
        for _ in range(3):
            assert m.find(b"<mark>", 1, threads=threads) == 65536
            assert m.count(b"<mark>", 0, 3 * MIB, threads=threads) == 48
        assert m.rfind(b"<mark>", 0, 3 * MIB) == 3 * MIB - 65536
        assert 3 * MIB < fault_of(m.rfind, b"none").searched <= 8 * MIB
        fault_of(in_thread, partial(m.count, b"<mark>", threads=threads))
""",
        file,
        threads,
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_file_that_is_cut_in_the_middle(file, threads):
    victim.survive(
        SETUP
        + """
    windows.WARM_BYTES = MIB
    threads = int(args[1])

    def cut_at_half(done, total):
        if done == 4 * MIB:
            cut(path, 5 * MIB)

    with mk.open(path) as m:
        fault = told_of(m.find_all, b"<mark>", threads=threads, progress=cut_at_half, upto=5 * MIB)
        assert fault.found.tolist() == [at for at in marks if at < fault.searched]
    """,
        file,
        threads,
    )


def test_cold_file_that_is_cut_in_the_middle(file):
    victim.survive(
        SETUP
        + """
    windows._in_memory = lambda *where: False

    def cut_at_once(done, total):
        cut(path, 5 * MIB)

    with mk.open(path) as m:
        # Its second block is being read ahead.
        sources = __import__("mmapkit.passes.sources", fromlist=["sources"])
        sources._plan_mapping.__defaults__ = (MIB, *sources._plan_mapping.__defaults__[1:])
        fault = fault_of(partial(m.count, b"<mark>", progress=cut_at_once))
        require_fault(fault, path, fault.offset)
        assert fault.found == sum(at < fault.searched for at in marks)
        assert 0 < fault.searched <= 5 * MIB
    """,
        file,
    )


def test_pieces_before_the_fault_have_come(file):
    victim.survive(
        SETUP
        + """
    with mk.open(path) as m:
        cut(path, 3 * MIB)
        pieces, come = m.split(b"<mark>"), 0

        def take():
            global come
            for piece in pieces:
                come += 1

        assert fault_of(take).found is None
        assert 44 <= come <= 48, come
    """,
        file,
    )


def test_fault_is_pickled_with_what_was_found(file):
    victim.survive(
        SETUP
        + """
    import pickle
    with mk.open(path) as m:
        cut(path, 3 * MIB)
        fault = told_of(m.count, b"<")
        again = pickle.loads(pickle.dumps(fault))
        assert (again.found, again.searched) == (fault.found, fault.searched)
        fault_of(m.check)
    """,
        file,
    )
