"""SIGKILL at every system call: of a session from open to close, of a commit, of a recovery.

A process dies before the call is made. What it wrote stays in the page cache: what a power cut
takes, the enumerator and test_shutdown.py try.
"""

import contextlib
import os
import random
import signal

import pytest

import mmapkit as mk

from . import workload
from .processes import Zygote, start
from .report import Report

FEW = 15  # every so many calls in the quick run


def _look(path, ended, report, examiner, exact=None):
    """Open again as anybody does: first to read, then to write; all or nothing of each commit."""
    acked = ended.acked
    if exact is not None:
        acked = exact
    allowed = {acked} if exact is not None else {acked, acked + 1}
    report.tried += 1
    try:
        with contextlib.suppress(mk.RecoveryNeeded), mk.open(path) as m:
            found = examiner.counts(bytes(m[:]))[0]
            assert found in allowed, (found, allowed, ended.hit)
        with mk.open(path, "r+") as m:
            found = examiner.counts(bytes(m[:]))[0]
    except workload.Torn:
        report.torn += 1
        raise
    if found < acked:
        report.lost += acked - found
    assert found in allowed, (found, allowed, ended.hit)
    # And it can be written to as ever.
    with mk.open(path, "r+") as m:
        workload.commit(m, 0, found + 1)
    assert examiner.counts(path.read_bytes()) == [found + 1]
    assert os.listdir(path.parent) == [path.name], os.listdir(path.parent)
    return found


def _fresh(folder):
    """A new file in an empty folder."""
    for name in os.listdir(folder):
        (folder / name).unlink()
    return workload.make(folder / "data")


def _killed(zygote, work, path, index):
    ended = zygote.run(work, path, "kill", index)
    assert ended.hit, f"there was no call {index}"
    assert ended.status == -signal.SIGKILL, ended.status
    return ended


def _session(zygote, folder, report, step):
    calls = zygote.calls("session", _fresh(folder))
    examiner = workload.Examiner()
    seen = set()
    for index in range(0, len(calls), step):
        path = _fresh(folder)
        ended = _killed(zygote, "session", path, index)
        seen.add(_look(path, ended, report, examiner))
    report.note = f"{len(calls)} calls of a session"
    return seen


def test_killed_in_a_session(zygote, quick_folder, report):
    seen = _session(zygote, quick_folder, report, FEW)
    assert len(seen) > 3, seen  # from the first commit to the last


def test_kills_show_a_commit_without_a_journal(tracer, quick_folder):
    zygote = Zygote(tracer, "in-place")
    with pytest.raises(workload.Torn):
        _session(zygote, quick_folder, Report("in place"), 2)
    zygote.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_call_of_a_session(zygote, quick_folder, report):
    assert _session(zygote, quick_folder, report, 1) == set(range(7))


def _half_applied(zygote, path, chance):
    """A file whose writer ended without closing, after which the disk lost any of the sectors that
    had not been synced."""
    before = path.read_bytes()
    ended = zygote.run("interrupt", path)
    after = bytearray(path.read_bytes())
    for at in range(0, len(before), 512):
        if chance.random() < 0.5:
            after[at : at + 512] = before[at : at + 512]
    end = chance.choice((len(before), len(after)))
    path.write_bytes(after[:end])
    return ended.acked


def _recovery(zygote, folder, report, step):
    chance = random.Random(7)
    path = _fresh(folder)
    _half_applied(zygote, path, chance)
    calls = zygote.calls("recover", path)
    examiner = workload.Examiner()
    for index in range(0, len(calls), step):
        path = _fresh(folder)
        acked = _half_applied(zygote, path, chance)
        ended = _killed(zygote, "recover", path, index)
        with contextlib.suppress(AssertionError):  # and again, if there is anything left to do
            _killed(zygote, "recover", path, chance.randrange(len(calls)))
        _look(path, ended, report, examiner, exact=acked)
    report.note = f"{len(calls)} calls of a recovery"


def test_killed_in_a_recovery(zygote, quick_folder, report):
    _recovery(zygote, quick_folder, report, FEW)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_call_of_a_recovery(zygote, quick_folder, report):
    for _ in range(3):  # sectors are lost by chance
        _recovery(zygote, quick_folder, report, 1)


def _with_peer(zygote, folder, report, step):
    """Another process has the file open, so that no recovery is done: the next writer redoes."""
    path = _fresh(folder)
    examiner = workload.Examiner()
    with start("peer.py", path) as peer:

        def ask(what):
            peer.stdin.write(what + "\n")
            peer.stdin.flush()
            inside, section = peer.stdout.readline().split()
            assert inside == section
            return int(inside)

        ask("commit")
        calls = zygote.calls("one_commit", path)
        n = ask("look")
        for index in range(0, len(calls), step):
            ended = zygote.run("one_commit", path, "kill", index)
            acked = ended.acked or n
            report.tried += 1
            try:
                found = ask("look")
            except ValueError:
                report.torn += 1
                raise
            if found < acked:
                report.lost += acked - found
            assert found in ({acked, acked + 1} if ended.status else {acked}), (n, found, ended.hit)
            n = ask("commit") if index % 3 == 0 else found
        peer.communicate()
    assert examiner.counts(path.read_bytes()) == [n]
    assert os.listdir(folder) == [path.name]
    report.note = f"{len(calls)} calls of a commit, and a process that lives on"


def test_killed_beside_a_living_process(zygote, quick_folder, report):
    _with_peer(zygote, quick_folder, report, FEW)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_call_beside_a_living_process(zygote, quick_folder, report):
    _with_peer(zygote, quick_folder, report, 1)
