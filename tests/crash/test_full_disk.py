"""A disk that is full: in the journal, in the file's holes, where it grows. Nothing is lost, and
all goes on when there is room again."""

import contextlib
import errno
import os

import pytest

import mmapkit as mk

from ..faults import disks
from ..faults.inside import fill

MIB = 1 << 20


@pytest.fixture(params=["tmpfs", "ext4", pytest.param("xfs", marks=pytest.mark.slow)])
def disk(request, tmp_path):
    """A small filesystem."""
    place = tmp_path / request.param
    with contextlib.ExitStack() as stack:
        if request.param == "tmpfs":
            made = disks.tmpfs(place, 24 * MIB)
        else:
            made = disks.loop(request.param, place)
        yield stack.enter_context(made)


def _free(directory):
    (directory / "ballast").unlink()


def _leave_free(directory, size):
    """Take all room but that for a file of so many bytes."""
    spare = directory / "spare"
    with spare.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    fill(directory)
    spare.unlink()


def _full(call, *arguments):
    """The call raises ENOSPC."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == errno.ENOSPC, caught.value


def _refused(call):
    """Bytes are lost: no commit of what is left."""
    with pytest.raises(mk.MappingFault):
        call()


def _content(path):
    with path.open("rb") as file:
        return file.read()


def test_no_room_for_the_journal(disk):
    path = disk / "data"
    path.write_bytes(b"a" * MIB)
    fill(disk)
    with mk.open(path, "r+") as m:
        _full(m.transaction().begin)
        assert bytes(m[:3]) == b"aaa"
        _free(disk)
        with m.transaction() as w:
            w[:3] = b"new"
        assert bytes(m[:3]) == b"new"
    assert _content(path) == b"new" + b"a" * (MIB - 3)
    assert os.listdir(disk).count("data") == 1
    assert not [name for name in os.listdir(disk) if name not in ("data", "lost+found")]


def test_no_room_for_a_commit_in_the_journal(disk):
    path = disk / "data"
    size = 6 * MIB  # more than the journal's first bytes
    path.write_bytes(b"a" * size)
    with mk.open(path, "r+") as m:
        with m.transaction() as w:
            w[:3] = b"new"
        _leave_free(disk, 1 * MIB)
        transaction = m.transaction()
        w = transaction.begin()
        w[:] = b"b" * size
        _full(transaction.commit)
        assert bytes(m[:4]) == b"newa"
        assert _content(path) == b"new" + b"a" * (size - 3)
        w[10] = 7  # it is still open, and can be committed when there is room
        _free(disk)
        transaction.commit()
        wanted = b"b" * 10 + b"\x07" + b"b" * (size - 11)
        assert bytes(m[:]) == wanted
    assert _content(path) == wanted


def test_no_room_rolled_back(disk):
    path = disk / "data"
    size = 6 * MIB
    path.write_bytes(b"a" * size)
    with mk.open(path, "r+") as m:
        with m.transaction() as w:
            w[:3] = b"new"
        _leave_free(disk, 1 * MIB)

        def everything():
            with m.transaction() as w:
                w[:] = b"b" * size

        _full(everything)
        with m.transaction() as w:  # a small one still finds its place
            assert bytes(w[:4]) == b"newa"
            w[4:8] = b"more"
        assert bytes(m[:8]) == b"newamore"
    assert _content(path) == b"newamore" + b"a" * (size - 8)


def test_no_room_in_a_hole(disk):
    path = disk / "data"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    with mk.open(path, "r+") as m:
        with m.transaction() as w:
            w[:3] = b"new"
        fill(disk)
        transaction = m.transaction()
        w = transaction.begin()
        try:
            w[32 * MIB : 33 * MIB] = b"b" * MIB
        except mk.MappingFault:  # on tmpfs even a look into a hole wants a page
            _refused(transaction.commit)
            transaction.rollback()
            transaction = None
        else:
            _full(transaction.commit)
        assert _content(path) == b"new" + bytes(64 * MIB - 3)
        _free(disk)
        if transaction is None:
            transaction = m.transaction()
            transaction.begin()[32 * MIB : 33 * MIB] = b"b" * MIB
        transaction.commit()
        assert bytes(m[33 * MIB - 1 : 33 * MIB + 1]) == b"b\0"
        assert m.faults == 0
    assert _content(path)[:3] == b"new"
    assert _content(path).count(b"b") == MIB


def test_no_room_to_grow(disk):
    path = disk / "data"
    path.write_bytes(b"a" * 5000)
    with mk.open(path, "r+") as m:
        with m.transaction() as w:
            w[:3] = b"new"
        fill(disk)
        transaction = m.transaction()
        w = transaction.begin()
        with contextlib.suppress(OSError):  # may be found out at once, or by the commit
            w.resize(3 * MIB)
            w[5000:] = b"c" * (3 * MIB - 5000)
            _full(transaction.commit)
        assert os.path.getsize(path) == 5000
        assert _content(path) == b"new" + b"a" * 4997
        transaction.rollback()
        _free(disk)
        with m.transaction() as w:
            w.resize(3 * MIB)
            w[5000:] = b"c" * (3 * MIB - 5000)
        assert m.size == 3 * MIB
        assert bytes(m[4999:5001]) == b"ac"
    assert _content(path) == b"new" + b"a" * 4997 + b"c" * (3 * MIB - 5000)


def test_array_that_finds_no_room_to_grow(disk):
    path = disk / "data.npy"
    with mk.create_array(path, (100, 4)) as a:
        a[:] = 1
        with a.transaction() as w:
            w[0] = 2
        fill(disk)

        def grow():
            with a.transaction() as w:
                w[1] = 3
                w.append([[5.0] * 4] * 50_000)

        _full(grow)
        assert a.shape == (100, 4)
        assert a[1, 0] == 1
        _free(disk)
        grow()
        assert a.shape == (50_100, 4)
        assert (a[0, 0], a[1, 0], a[-1, 0]) == (2, 3, 5)
    with mk.open_array(path) as a:
        assert a.shape == (50_100, 4)
