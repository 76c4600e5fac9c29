"""Forking while mappings are alive."""

import sys

import pytest

from . import victim

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")

CHILDREN = """
    import warnings

    def child(work):
        # Runs in a child; ends the test if it hangs, raises or dies.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        number = os.fork()
        if number == 0:
            signal.alarm(100)
            try:
                work()
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(number, 0)
        assert status == 0, os.waitstatus_to_exitcode(status)
"""


def test_child_survives_its_own_fault_and_the_parent_has_none(file):
    victim.survive(
        CHILDREN
        + """
    path = make(args[0], 4 * MIB)
    m = mk.open(path, "r+")
    view = m.array("f8")
    assert view.sum() == MIB // 2

    def work():
        cut(path, MIB)
        require_fault(fault_of(view.sum), path, MIB)
        assert np.isnan(view.sum())
        require_fault(fault_of(m.check), path, MIB)
        assert m.faults >= 1

    child(work)
    assert m.faults == 0
    make(path, 4 * MIB, 2.0)
    assert view.sum() == MIB and m.faults == 0
    m.check()
    """,
        file,
        options=(),
    )


def test_child_sees_the_poison_of_its_parent_and_may_recover_alone(file):
    victim.survive(
        CHILDREN
        + """
    path = make(args[0], 4 * MIB)
    m = mk.open(path, "r+")
    view = m.array("f8")
    cut(path, MIB)
    fault_of(view.sum)
    make(path, 4 * MIB, 2.0)

    def work():
        assert np.isnan(view[-1])
        fault_of(m.read, MIB, 8)
        m.recover()
        assert view.sum() == MIB

    child(work)
    assert np.isnan(view[-1])
    m.recover()
    assert view.sum() == MIB
    """,
        file,
        options=(),
    )


def test_child_of_a_worker_thread_raises_in_what_is_its_main_thread(file):
    victim.survive(
        CHILDREN
        + """
    path = make(args[0], 4 * MIB)
    m = mk.open(path)
    view = m.array("f8")

    def sum_and_ask():
        view.sum()
        if sys.version_info >= (3, 13):
            m[0]  # it notices signals late in a worker's child; the next call tells

    def work():
        cut(path, MIB)
        require_fault(fault_of(sum_and_ask), path, MIB)

    in_thread(child, work)
    """,
        file,
        options=(),
    )


def test_fork_in_the_middle_of_a_sum_is_survived_on_both_sides(file):
    victim.survive(
        CHILDREN
        + """
    path = make(args[0], 16 * MIB)
    m = mk.open(path)
    view = m.array("f8")
    stop = threading.Event()
    told = []

    def read():
        while not stop.is_set():
            try:
                with m.guard():
                    view.sum()
            except MappingFault as fault:
                told.append(fault.cause)

    thread = threading.Thread(target=read)
    thread.start()

    def work():
        cut(path, MIB)
        fault_of(view.sum)

    child(work)
    while not told:
        time.sleep(0.001)
    stop.set()
    thread.join()
    assert set(told) == {"truncated"}, told
    """,
        file,
        options=(),
    )


@pytest.mark.slow
def test_two_hundred_forks_under_readers_and_resizers_do_not_deadlock(file):
    victim.survive(
        CHILDREN
        + """
    path = make(args[0], MIB)
    grown = make(args[0] + ".grown", MIB)
    lost = make(args[0] + ".lost", MIB)
    m = mk.open(path, "r+")
    g = mk.open(grown, "r+", reserve=64 * MIB)
    l = mk.open(lost)
    lost_view = l.array("f8")
    stop = threading.Event()
    errors = []

    def again(step):
        def work():
            try:
                while not stop.is_set():
                    step()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def resize():
        g.resize(2 * MIB)
        g.resize(MIB)

    def open_and_close():
        mk.open(path).close()

    def lose():
        cut(lost, 0)
        try:
            l.read()
        except MappingFault:
            pass
        os.truncate(lost, MIB)
        try:
            l.recover()
        except MappingFault:
            pass

    def read():
        m.read()
        m.flush(level="async")

    threads = [again(step) for step in (read, resize, open_and_close, lose)]

    def work():
        assert len(m.read()) == MIB
        m[0] = 1
        for other in (g, l):  # the parent goes on cutting both
            try:
                other.check()
                other.refresh()
            except MappingFault:
                pass
        with mk.open(path) as mine:
            assert mine[0] == 1
        m.close()

    for _ in range(200):
        child(work)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors
    """,
        file,
        options=(),
    )


def test_subprocess_does_not_inherit_the_guard(file):
    victim.survive(
        """
        import subprocess

        path = make(args[0], MIB)
        m = mk.open(path)
        code = "import os, signal; os.kill(os.getpid(), signal.SIGBUS)"
        status = subprocess.run([sys.executable, "-c", code]).returncode
        assert status == -signal.SIGBUS, status
        """,
        file,
    )
