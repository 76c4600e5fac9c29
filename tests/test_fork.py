"""Mappings in a child process made by fork."""

import os
import sys

import pytest

import mmapkit as mk

if not hasattr(os, "fork"):
    pytest.skip("no fork on this system", allow_module_level=True)


@pytest.fixture
def in_child():
    """Run a function in a forked child; fails unless it returns without an exception."""

    def run(act):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                act()
                code = 0
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    if sys.version_info >= (3, 12):
        import warnings

        with warnings.catch_warnings():  # pytest-timeout's thread; nothing of it is used
            warnings.simplefilter("ignore", DeprecationWarning)
            yield run
    else:
        yield run


def test_child_sees_and_shares_a_file(file, pattern, in_child):
    with mk.open(file, "r+") as m:

        def act():
            assert m.read() == pattern
            m[3] = 99
            m.flush()
            m.close()

        in_child(act)
        assert m[3] == 99
        assert not m.closed


@pytest.mark.parametrize("make", [lambda file: mk.open(file, "c"), lambda file: mk.anonymous(10)])
def test_private_memory_is_copied(file, in_child, make):
    with make(file) as m:
        m[0] = 1

        def act():
            assert m[0] == 1
            m[0] = 2

        in_child(act)
        assert m[0] == 1


def test_child_may_resize_while_the_parent_keeps_views(file, in_child):
    with mk.open(file, "r+", reserve=1 << 20) as m:

        def act():
            m.resize(20_000)
            m[19_999] = 5

        in_child(act)
        with memoryview(m):
            assert m.refresh() == 20_000
        assert m[19_999] == 5


def test_views_count_in_the_child_as_in_the_parent(file, in_child):
    with mk.open(file) as m:
        view = memoryview(m)

        def act():
            assert m.exports == 1
            with pytest.raises(BufferError):
                m.close()
            view.release()
            m.close()

        in_child(act)
        assert m.exports == 1
        view.release()


def test_closing_in_the_parent_leaves_the_child_alone(file, in_child):
    m = mk.open(file, "r+")
    reader, writer = os.pipe()

    def act():
        os.read(reader, 1)
        assert m[0] == 0
        m[0] = 7

    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    m.close()
    os.write(writer, b"x")
    _, status = os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert os.waitstatus_to_exitcode(status) == 0
    assert file.read_bytes()[0] == 7


@pytest.mark.parametrize("what", ["m.read()", "m.flush()", "m.resize(1 << 22)", "m[5:9].release()"])
def test_fork_while_other_threads_are_inside_calls(run_python, what):
    # Locks and pins that another thread held at the fork must not bind the child.
    run_python(
        f"""
import os, threading, warnings
import mmapkit as mk
warnings.simplefilter("ignore", DeprecationWarning)
m = mk.open("f", "w+", size=1 << 22, reserve=1 << 24)
stop = threading.Event()
def use():
    while not stop.is_set():
        try:
            {what}
        except BufferError:
            pass
threads = [threading.Thread(target=use) for _ in range(3)]
for thread in threads: thread.start()
try:
    for i in range(30):
        child = os.fork()
        if child == 0:
            try:
                m.read(0, 1 << 20); m[5] = 1; m.flush(level="os"); m.refresh()
                m.resize(1 << 22); m.close(defer=True)
                os._exit(0)
            except BaseException as error:
                os.write(2, repr(error).encode())
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
finally:
    stop.set()
    for thread in threads: thread.join()
""",
    )
