"""System calls that fail: each ends in a clean error or in success, and no success is a false one.

An error is given to one call after the other of a process that tries again and believes every
success: afterwards all it believed is there, and at most one commit more.
"""

import errno
import os

import pytest

import mmapkit as mk

from . import workload
from .test_kill import _fresh

FEW = 17  # every so many cases in the quick run

_WRITE = (errno.EIO, errno.ENOSPC, errno.EINTR)
_ERRORS = {
    "pwrite64": _WRITE,
    "pwritev": _WRITE,
    "pwritev2": _WRITE,
    "pread64": (errno.EIO, errno.EINTR),
    "fdatasync": _WRITE,
    "fsync": _WRITE,
    "msync": (errno.EIO,),
    "ftruncate": _WRITE,
    "fallocate": (*_WRITE, errno.EOPNOTSUPP),
    "fcntl": (errno.EIO, errno.EINTR, errno.ENOLCK),
    "ioctl": (errno.EIO, errno.ENOTTY),
    "mmap": (errno.ENOMEM, errno.EIO),
    "mremap": (errno.ENOMEM,),
    "madvise": (errno.EIO, errno.ENOMEM),
    "openat": (errno.EMFILE, errno.EIO, errno.EINTR),
    "open": (errno.EMFILE, errno.EIO, errno.EINTR),
    "fstat": (errno.EIO,),
    "newfstatat": (errno.EIO,),
    "stat": (errno.EIO,),
    "statx": (errno.EIO,),
    "lseek": (errno.EIO,),
    "unlink": (errno.EIO, errno.EROFS),
    "unlinkat": (errno.EIO, errno.EROFS),
    "rename": _WRITE,
    "renameat": _WRITE,
    "renameat2": _WRITE,
    "close": (errno.EIO, errno.EINTR),
}
_SHORT = ("pwrite64", "pwritev", "pwritev2")


def _cases(calls):
    """(index, name, action and its arguments) of everything that can go wrong."""
    for index, name in enumerate(calls):
        for code in _ERRORS.get(name, ()):
            yield index, name, ("fail", index, code)
        if name in _SHORT:
            for size in (1, 512, 4095):
                yield index, name, ("short", index, size)


def _look(path, ended, report, examiner, case):
    report.tried += 1
    acked = ended.acked
    assert ended.status == 0, (case, ended.status)
    failures = ended.all("failed")
    if "commit again" in failures and "fdatasync" in case:
        assert not ended.all("flushed"), (case, ended.said)
    try:
        with mk.open(path, "r+") as m:
            found = examiner.counts(bytes(m[:]))[0]
    except workload.Torn:
        report.torn += 1
        raise AssertionError((case, ended.said)) from None
    if found < acked:
        report.lost += acked - found
    assert found in (acked, acked + 1), (case, found, ended.said)
    assert found == acked or failures or ended.all("raised"), (case, found, ended.said)


def _campaign(zygote, work, folder, report, step, offset=0):
    calls = zygote.calls(work, _fresh(folder))
    examiner = workload.Examiner()
    kinds = {}
    for case in list(_cases(calls))[offset::step]:
        _, name, action = case
        path = _fresh(folder)
        ended = zygote.run(work, path, *action)
        assert ended.hit == [f"hit {name}"], (case, ended.hit)
        _look(path, ended, report, examiner, (work, name, *action))
        outcome = "an error" if ended.all("failed") + ended.all("raised") else "success"
        kinds[outcome] = kinds.get(outcome, 0) + 1
        if action[0] == "short":
            assert outcome == "success", (case, ended.said)
    report.note = ", ".join(f"{count} times {kind}" for kind, count in sorted(kinds.items()))


@pytest.mark.parametrize("work", ["misled", "stubborn"])
def test_failing_calls(work, zygote, quick_folder, report):
    _campaign(zygote, work, quick_folder, report, FEW)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("work", ["misled", "stubborn"])
def test_every_failing_call(work, zygote, quick_folder, report):
    _campaign(zygote, work, quick_folder, report, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_failing_call_of_a_recovery(zygote, quick_folder, report):
    _failing_recovery(zygote, quick_folder, report, 1)


def test_failing_calls_of_a_recovery(zygote, quick_folder, report):
    _failing_recovery(zygote, quick_folder, report, FEW)


def _interrupted(zygote, folder):
    """A file whose commits are in the journal only."""
    path = _fresh(folder)
    before = path.read_bytes()
    acked = zygote.run("interrupt", path).acked
    path.write_bytes(before)
    return path, acked


def _failing_recovery(zygote, folder, report, step):
    examiner = workload.Examiner()
    path, acked = _interrupted(zygote, folder)
    for case in list(_cases(zygote.calls("recover", path)))[::step]:
        _, name, action = case
        path, _ = _interrupted(zygote, folder)
        ended = zygote.run("recover", path, *action)
        assert ended.hit == [f"hit {name}"], (case, ended.hit)
        report.tried += 1
        done = examiner.counts(path.read_bytes()) == [acked] if ended.all("recovered") else True
        assert done, (case, ended.said)
        with mk.open(path, "r+") as m:
            found = examiner.counts(bytes(m[:]))[0]
        assert found == acked, (case, found, ended.said)
        assert os.listdir(folder) == [path.name], case


def _syncs(calls):
    return [index for index, name in enumerate(calls) if name in ("fdatasync", "fsync")]


def test_failed_sync_poisons(zygote, quick_folder, report):
    """Once the disk has failed to take a commit, nothing on this file claims success; what is there
    is known when it is opened again. (The first syncs are of a journal that is being made.)"""
    folder = quick_folder
    calls = zygote.calls("misled", _fresh(folder))
    poisoned = 0
    for index in _syncs(calls):
        path = _fresh(folder)
        ended = zygote.run("misled", path, "fail", index, errno.EIO)
        said = ended.said
        _look(path, ended, report, workload.Examiner(), ("misled", "fdatasync", "fail", index))
        failed = next(i for i, line in enumerate(said) if "failed" in line)
        assert "Input/output error" in said[failed]["error"], said
        after = said[failed + 1 :]
        if said[failed]["failed"] == "commit" and after[0].get("failed") == "commit again":
            poisoned += 1
            assert not [line for line in after if "acked" in line or "flushed" in line], said
            assert "open" in after[0]["error"], after  # the remedy
    assert poisoned >= 6, poisoned  # the sync of each commit
    report.note = f"{poisoned} poisoned"


def test_truncation_under_a_transaction_is_refused(tmp_path):
    """The private pages past the new end are lost: nothing of the rest may be written."""
    path = workload.make(tmp_path / "data")
    before = path.read_bytes()
    with mk.open(path, "r+") as m:
        transaction = m.transaction()
        w = transaction.begin()
        workload.change(w, 0, 1)
        os.truncate(path, 20 * workload.PAGE)
        with pytest.raises(OSError, match=r"truncated|had"):
            transaction.commit()
        transaction.rollback()
        assert path.read_bytes() == before[: 20 * workload.PAGE]
        with pytest.raises(mk.MappingFault):
            m.check()
        os.truncate(path, len(before))
        m.recover()
        with m.transaction() as w:
            w[:3] = b"new"
    assert path.read_bytes()[:4] == b"new" + before[3:4]
