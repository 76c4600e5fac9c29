"""A process whose children do one work each, and may be killed or misled in it.

Everything is imported and done once, so that a child costs milliseconds and does no system calls
but those of its work. Lines in and out are JSON: a work and its file in, the child's process id
out, "go" in, how it ended and what it said out.

A child calls sched_yield(2) before and after its work: see tracer.c.
"""

import contextlib
import gc
import json
import os
import sys
import tempfile
from pathlib import Path

from workload import change, commit, count_of, make

import mmapkit as mk
import mmapkit.durable.recovery
import mmapkit.durable.transaction
from mmapkit.durable.store import Store

COMMITS = 6  # the fifth makes the file longer
CLEAN = (OSError, MemoryError)  # what a failing system may raise


def session(path, say):
    """Open, commit, close: with all that the first commit and the last user do."""
    with mk.open(path, "r+") as m:
        first = count_of(m, 0) + 1
        for n in range(first, first + COMMITS):
            commit(m, 0, n)
            say(acked=n)
    say(closed=True)


def one_commit(path, say):
    """A commit beside others' journal."""
    with mk.open(path, "r+") as m:
        n = count_of(m, 0) + 1
        commit(m, 0, n)
        say(acked=n)


def interrupt(path, say):
    """Commit, and end without closing."""
    m = mk.open(path, "r+")
    first = count_of(m, 0) + 1
    for n in range(first, first + COMMITS):
        commit(m, 0, n)
        say(acked=n)
    os._exit(0)


def recover(path, say):
    """Do what opening does."""
    mk.recover(path)
    say(recovered=True)


def readings(path, say):
    """Sections of a reader, beside a writer's journal."""
    with mk.open(path, "r+") as m, mk.open(path) as reader:
        commit(m, 0, count_of(m, 0) + 1)
        for n in range(COMMITS):
            with reader.reading():
                say(read=n)


def misled(path, say):
    """The same as `session`, by somebody who meets errors, tries again, and believes successes."""
    try:
        m = mk.open(path, "r+")
    except CLEAN as error:
        say(failed="open", error=repr(error))
        m = mk.open(path, "r+")
    try:
        n = count_of(m, 0)
        for _ in range(COMMITS):
            for attempt in ("commit", "commit again"):
                try:
                    commit(m, 0, n + 1)
                except CLEAN as error:
                    say(failed=attempt, error=repr(error))
                    if count_of(m, 0) == n + 1:  # it failed when all was done
                        n += 1
                        break
                else:
                    n += 1
                    say(acked=n)
                    break
            else:  # twice: nothing may claim success now
                try:
                    m.flush()
                except CLEAN as error:
                    say(failed="flush", error=repr(error))
                else:
                    say(flushed=True)
                break
    finally:
        try:
            m.close()
        except CLEAN as error:
            say(failed="close", error=repr(error))
            with contextlib.suppress(*CLEAN):
                m.close()
        else:
            say(closed=True)


def stubborn(path, say):
    """One transaction whose commit is tried again, and rolled back after the second error."""
    with mk.open(path, "r+") as m:
        commit(m, 0, count_of(m, 0) + 1)
        n = count_of(m, 0) + 1
        say(acked=n - 1)
        transaction = m.transaction()
        change(transaction.begin(), 0, n)
        for attempt in ("commit", "commit again"):
            try:
                transaction.commit()
            except CLEAN as error:
                say(failed=attempt, error=repr(error))
                if "committed" in repr(transaction):  # it failed when all was done
                    break
            else:
                say(acked=n)
                break
        else:
            with contextlib.suppress(ValueError):  # the failure has ended it
                transaction.rollback()


WORKS = {
    work.__name__: work
    for work in (session, one_commit, interrupt, recover, readings, misled, stubborn)
}


def child(name, path, heard, told):
    def say(**what):
        os.write(told, json.dumps(what).encode() + b"\n")

    os.read(heard, 1)
    os.sched_yield()
    try:
        WORKS[name](path, say)
    except CLEAN as error:
        say(raised=repr(error))
    except BaseException:
        import traceback

        say(crashed=traceback.format_exc())
    os.sched_yield()
    os._exit(0)


def warm_up():
    """Do the works once, so that nothing is left to import."""
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder) / "data")
        for work in (session, one_commit, recover, readings, stubborn, misled):
            work(str(path), lambda **what: None)
    gc.collect()


def main():
    if sys.argv[1:] == ["in-place"]:  # a mistake that the campaign has to see
        Store._write = lambda self, batch, timeout: self._apply(batch)
    warm_up()
    for line in sys.stdin:
        name, path = json.loads(line)
        heard, go = os.pipe()
        said, told = os.pipe()
        process = os.fork()
        if process == 0:
            child(name, path, heard, told)
        os.close(told)
        os.close(heard)
        print(process, flush=True)
        sys.stdin.readline()
        os.write(go, b"!")
        with os.fdopen(said, "rb") as pipe:
            lines = [json.loads(one) for one in pipe]
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        os.close(go)
        print(json.dumps([status, lines]), flush=True)


if __name__ == "__main__":
    main()
