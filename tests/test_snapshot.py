"""snapshot(): a consistent copy, whole or not there, while a writer goes on working."""

import contextlib
import errno
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit._native import File
from mmapkit.durable import reading as readings
from mmapkit.durable import snapshot as snapshots
from mmapkit.durable.files import journal_path
from mmapkit.durable.locks import CHECKPOINT, Locks
from mmapkit.durable.recovery import before_open

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * (4 * PAGE // 256))
    return file


@pytest.fixture
def copying(monkeypatch):
    """As on filesystems that do not share blocks."""
    monkeypatch.setattr(snapshots, "_cloned", lambda *_: False)


@pytest.fixture(params=["", "ranges", "holes"])
def poorer(request, monkeypatch):
    """Also without copy_file_range(), and without finding holes."""
    if request.param == "ranges":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    if request.param == "holes":
        monkeypatch.delattr(os, "SEEK_DATA", raising=False)


def left(folder):
    return sorted(os.listdir(folder))


def test_it_copies_a_plain_file(path, tmp_path, copying, poorer):
    with mk.open(path) as m:
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    assert left(tmp_path) == ["copy", "data.bin"]


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, 3 * PAGE + 5, (1 << 20) + 1, 5 << 20])
def test_any_size(tmp_path, size, copying, poorer):
    data = np.random.default_rng(size).bytes(size)
    (tmp_path / "f").write_bytes(data)
    with mk.open(tmp_path / "f") as m:
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_it_copies_what_was_committed_and_nothing_else(path, tmp_path):
    with mk.open(path, "r+") as m:
        with m.transaction() as w:
            w[:3] = b"abc"
        with m.transaction() as w:
            w[:3] = b"xyz"
            m.snapshot(tmp_path / "copy")
        expected = b"abc" + path.read_bytes()[3:]
    assert (tmp_path / "copy").read_bytes() == expected
    assert left(tmp_path) == ["copy", "data.bin"]


def test_it_is_of_the_whole_file(path, tmp_path):
    with mk.open(path, offset=100, length=10) as m:
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_arrays_have_snapshots(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10))
    with mk.open_array(tmp_path / "a.npy", "r+") as a:
        with a.transaction() as w:
            w[0] = 5
        a.snapshot(tmp_path / "b.npy")
    assert np.load(tmp_path / "b.npy").tolist() == [5, *range(1, 10)]
    with pytest.raises(ValueError, match="closed"):
        a.snapshot(tmp_path / "c.npy")


@pytest.mark.parametrize("kind", [os.fspath, os.fsencode, Path])
def test_any_kind_of_path(path, tmp_path, kind):
    with mk.open(path) as m:
        m.snapshot(kind(os.fspath(tmp_path / "copy")))
    assert (tmp_path / "copy").exists()


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_it_has_the_permissions_of_the_file(path, tmp_path):
    path.chmod(0o640)
    with mk.open(path) as m:
        m.snapshot(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o640


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts blocks")
def test_holes_stay_holes(tmp_path, copying):
    path = tmp_path / "sparse"
    with mk.open(path, "w+", size=64 << 20, sparse=True) as m:
        m[32 << 20] = 7
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 64 << 20
    assert (tmp_path / "copy").stat().st_blocks * 512 < 1 << 20
    with mk.open(tmp_path / "copy") as copy:
        assert copy[32 << 20] == 7


def test_a_filesystem_without_locks_has_plain_copies(path, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise mk.UnsupportedError(errno.ENOTSUP, "no locks here", os.fspath(path))

    monkeypatch.setattr(readings, "try_reading", refuse)
    with mk.open(path) as m:
        with pytest.raises(mk.UnsupportedError, match="no locks"), m.reading():
            pytest.fail("was inside")
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_what_was_stored_into_memory_comes_along(path, tmp_path):
    with mk.open(path, "r+", backend="read") as m:
        m[0] = 77
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes()[0] == 77


# --- where it goes --------------------------------------------------------------------------------


def test_a_file_of_that_name_is_kept(path, tmp_path):
    (tmp_path / "copy").write_bytes(b"old")
    with mk.open(path) as m:
        with pytest.raises(FileExistsError, match="overwrite=True") as caught:
            m.snapshot(tmp_path / "copy")
        assert caught.value.filename == os.fspath(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"old"
        m.snapshot(tmp_path / "copy", overwrite=True)
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
    assert left(tmp_path) == ["copy", "data.bin"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_appears_meanwhile(path, tmp_path, monkeypatch, overwrite, copying):
    copy = snapshots._copy

    def slow(*args):
        copy(*args)
        (tmp_path / "copy").write_bytes(b"new")

    monkeypatch.setattr(snapshots, "_copy", slow)
    expected = contextlib.nullcontext() if overwrite else pytest.raises(FileExistsError)
    with mk.open(path) as m, expected:
        m.snapshot(tmp_path / "copy", overwrite=overwrite)
    wanted = path.read_bytes() if overwrite else b"new"
    assert (tmp_path / "copy").read_bytes() == wanted
    assert left(tmp_path) == ["copy", "data.bin"]


def test_filesystems_without_links(path, tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", link)
    with mk.open(path) as m:
        m.snapshot(tmp_path / "copy")
        with pytest.raises(FileExistsError):
            m.snapshot(tmp_path / "copy")
    assert left(tmp_path) == ["copy", "data.bin"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_it_does_not_take_its_own_place(path, tmp_path, overwrite):
    names = [path]
    with contextlib.suppress(OSError):
        os.link(path, tmp_path / "hard")
        names.append(tmp_path / "hard")
    with contextlib.suppress(OSError):
        (tmp_path / "soft").symlink_to(path)
        if (tmp_path / "soft").exists():  # with Wine 8 it leads nowhere
            names.append(tmp_path / "soft")
    with mk.open(path) as m:
        for name in names:
            with pytest.raises(ValueError, match="its own place"):
                m.snapshot(name, overwrite=overwrite)
    assert path.stat().st_size == 4 * PAGE


def test_a_journal_beside_the_copy_is_refused(path, tmp_path):
    beside = Path(journal_path(os.fspath(tmp_path / "copy")))
    beside.touch()
    with mk.open(path) as m:
        with pytest.raises(FileExistsError, match="journal"):
            m.snapshot(tmp_path / "copy", overwrite=True)
        with pytest.raises(ValueError, match="name of a journal"):
            m.snapshot(beside, overwrite=True)
    assert beside.read_bytes() == b""


def test_folders_and_devices_are_refused(path, tmp_path):
    with mk.open(path) as m:
        with pytest.raises(IsADirectoryError):
            m.snapshot(tmp_path, overwrite=True)
        with pytest.raises(FileNotFoundError) as caught:
            m.snapshot(tmp_path / "nowhere" / "copy")
        assert caught.value.filename == os.fspath(tmp_path / "nowhere" / "copy")
        if os.path.exists("/dev/null"):
            with pytest.raises(ValueError, match="no regular file"):
                m.snapshot("/dev/null", overwrite=True)


def test_what_is_in_no_file_is_refused(path, tmp_path):
    with mk.open(path, "c") as m, pytest.raises(mk.UnsupportedError, match="mode 'c'"):
        m.snapshot(tmp_path / "copy")
    with mk.anonymous(10) as m, pytest.raises(mk.UnsupportedError, match="anonymous"):
        m.snapshot(tmp_path / "copy")
    with mk.temporary(10) as m, pytest.raises(mk.UnsupportedError, match="name"):
        m.snapshot(tmp_path / "copy")
    m = mk.open(path)
    m.close()
    with pytest.raises(ValueError, match="closed"):
        m.snapshot(tmp_path / "copy")
    assert left(tmp_path) == ["data.bin"]


@pytest.mark.skipif(os.name != "posix", reason="a mapped file is not replaced here")
def test_a_file_that_was_replaced_is_refused(path, tmp_path):
    with mk.open(path) as m:
        (tmp_path / "new").write_bytes(b"x")
        os.replace(tmp_path / "new", path)
        with pytest.raises(OSError, match="open it again"):
            m.snapshot(tmp_path / "copy")
    assert left(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.EIO, "broken"), MemoryError])
def test_nothing_is_left_of_a_copy_that_failed(path, tmp_path, monkeypatch, error, copying):
    def fail(*_):
        raise error

    monkeypatch.setattr(snapshots, "_copy", fail)
    with mk.open(path, "r+") as m:
        with pytest.raises(type(error) if isinstance(error, OSError) else error):
            m.snapshot(tmp_path / "copy")
        with m.transaction(timeout=0) as w:
            w[0] = 1
        m.flush()  # a checkpoint: no snapshot is in the way
    assert left(tmp_path) == ["data.bin"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors")
def test_nothing_is_left_open(path, tmp_path):
    def count():
        return len(os.listdir("/proc/self/fd"))

    before = count()
    with mk.open(path) as m:
        for _ in range(3):
            m.snapshot(tmp_path / "copy", overwrite=True)
        with pytest.raises(FileExistsError):
            m.snapshot(tmp_path / "copy")
    assert count() == before


# --- while a writer works -------------------------------------------------------------------------


def fill(m, value):
    with m.transaction(timeout=30) as w:
        w[:] = bytes([value]) * len(w)


def test_commits_go_on_while_it_is_copied(path, tmp_path, monkeypatch, copying):
    """The writer is in the middle of everything, and nobody waits."""
    copy = snapshots._copy

    with mk.open(path, "r+") as m:

        def slow(source, to):
            fill(m, 2)
            copy(source, to)
            fill(m, 3)

        fill(m, 1)
        monkeypatch.setattr(snapshots, "_copy", slow)
        m.snapshot(tmp_path / "copy")
        assert m[0] == 3
    assert (tmp_path / "copy").read_bytes() == bytes([3]) * 4 * PAGE


@pytest.mark.parametrize("before", [False, True], ids=["a new journal", "an old journal"])
def test_a_mixture_is_made_whole(path, tmp_path, monkeypatch, copying, before):
    """Half of the copy is made before a commit, half after it."""

    with mk.open(path, "r+") as m:

        def torn(source, to):
            to.resize(4 * PAGE)
            to.write(0, source.read(0, 2 * PAGE))
            fill(m, 9)
            to.write(2 * PAGE, source.read(2 * PAGE, 2 * PAGE))

        if before:
            fill(m, 8)
        monkeypatch.setattr(snapshots, "_copy", torn)
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes([9]) * 4 * PAGE


@pytest.mark.reserve
def test_a_file_that_grows_meanwhile(tmp_path, monkeypatch, copying):
    np.save(tmp_path / "a.npy", np.zeros(10))
    copy = snapshots._copy
    with mk.open_array(tmp_path / "a.npy", "r+") as a:

        def growing(source, to):
            copy(source, to)
            for number in range(1, 4):
                with a.transaction() as w:
                    w.append(np.full(2000, number))
                    w[0] = number

        monkeypatch.setattr(snapshots, "_copy", growing)
        a.snapshot(tmp_path / "b.npy")
        assert (np.load(tmp_path / "b.npy") == a[:]).all()
        assert a.shape == (6010,)


def test_much_is_applied_while_commits_go_on(path, tmp_path, monkeypatch, copying):
    """Only the last of it keeps them waiting."""
    monkeypatch.setattr(snapshots, "BRIEF_BYTES", 1000)
    copy, apply = snapshots._copy, snapshots._apply
    rounds = []
    with mk.open(path, "r+") as m:

        def slow(source, to):
            copy(source, to)
            fill(m, 2)

        def slower(*args):
            apply(*args)
            rounds.append(1)
            if len(rounds) < 4:
                fill(m, 2 + len(rounds))

        monkeypatch.setattr(snapshots, "_copy", slow)
        monkeypatch.setattr(snapshots, "_apply", slower)
        m.snapshot(tmp_path / "copy")
        assert len(rounds) == 5
    assert (tmp_path / "copy").read_bytes() == bytes([5]) * 4 * PAGE


def test_the_journal_is_kept_until_it_is_done(path, tmp_path, monkeypatch, copying):
    copy = snapshots._copy
    with mk.open(path) as m:

        def slow(source, to):
            copy(source, to)
            with mk.open(path, "r+") as other:  # which would remove it with its end
                fill(other, 5)
                other.flush()
                fill(other, 6)

        monkeypatch.setattr(snapshots, "_copy", slow)
        m.snapshot(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bytes([6]) * 4 * PAGE
    before_open(os.fspath(path), "r+")
    assert left(tmp_path) == ["copy", "data.bin"]
    assert path.read_bytes() == bytes([6]) * 4 * PAGE


def test_without_the_journal_it_is_copied_again(path, tmp_path, monkeypatch, copying):
    """Somebody threw it away meanwhile."""
    copy = snapshots._copy
    calls = []
    with mk.open(path, "r+") as m:

        def slow(source, to):
            copy(source, to)
            calls.append(1)
            if len(calls) == 1:
                fill(m, 4)
                os.rename(journal_path(os.fspath(path)), tmp_path / "away")
            if len(calls) == 2:
                os.rename(tmp_path / "away", journal_path(os.fspath(path)))
                fill(m, 5)

        fill(m, 1)
        monkeypatch.setattr(snapshots, "_copy", slow)
        m.snapshot(tmp_path / "copy")
        assert len(calls) == 2
    assert (tmp_path / "copy").read_bytes() == bytes([5]) * 4 * PAGE


def test_it_holds_off_checkpoints_and_lets_go(path, tmp_path, monkeypatch, copying):
    copy = snapshots._copy
    locks = Locks(File(path, "r+"))
    taken = []

    def look(*args):
        copy(*args)
        taken.append(locks.try_exclusive(CHECKPOINT))

    monkeypatch.setattr(snapshots, "_copy", look)
    with mk.open(path, "r+") as m:
        m.snapshot(tmp_path / "copy")
    assert taken == [False]
    assert locks.try_exclusive(CHECKPOINT)
    locks.close()


def test_inside_reading_and_two_at_a_time(path, tmp_path, copying):
    with mk.open(path, "r+") as m:
        fill(m, 1)
        with m.reading():
            m.snapshot(tmp_path / "inside")
        threads = [
            threading.Thread(target=m.snapshot, args=[tmp_path / str(number)])
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in ("inside", "0", "1", "2"):
        assert (tmp_path / name).read_bytes() == bytes([1]) * 4 * PAGE
