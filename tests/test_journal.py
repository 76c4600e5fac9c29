"""One journal, and two processes' views of it. What crashes leave is in tests/crash."""

import os
import stat
import struct
import sys

import pytest

from mmapkit import JournalError
from mmapkit._journal import sector_checksums
from mmapkit._native import File
from mmapkit.durable import recovery, slots
from mmapkit.durable.files import OS, Files, journal_path
from mmapkit.durable.journal import Commit, Journal, bytes_of
from mmapkit.durable.redo import redo
from mmapkit.durable.runs import split_runs

SIZE = 1 << 20
PAGE = 4096


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(SIZE))
    with File(path, "r+") as file:
        yield file


@pytest.fixture
def opened(data):
    """Open the journal of the file, again and again."""
    journals = []

    def opened(files=OS, first_bytes=1 << 16):
        path = journal_path(data.path)
        journals.append(Journal.open_or_create(files, path, data, first_bytes=first_bytes))
        return journals[-1]

    yield opened
    for journal in journals:
        journal.close()


def commit_of(data, *pages, value=b"x", size=SIZE):
    runs = struct.pack(f"={2 * len(pages)}q", *(n for at in pages for n in (at * PAGE, PAGE)))
    before = b"".join(sector_checksums(data.read(at * PAGE, PAGE)) for at in pages)
    return Commit(runs, value * (PAGE * len(pages)), before, size)


def apply(data, commit):
    data.write_runs(commit.runs, commit.payload)


def test_new_journal_is_empty_and_applied(opened, data):
    journal = opened()
    assert (journal.sequence, journal.generation, journal.position) == (0, 1, slots.FRAMES_AT)
    assert journal.applied
    assert journal.data_size == SIZE
    assert os.path.getsize(journal.path) == journal.capacity == 1 << 16
    assert os.listdir(os.path.dirname(data.path)) != []
    assert not os.path.exists(journal.path + ".new")


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are inherited there")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_journal_is_as_private_as_the_file(opened, data, mode):
    os.chmod(data.path, mode)
    before = os.umask(0)
    try:
        journal = opened()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == mode


def test_others_catch_up(opened, data):
    mine, theirs = opened(), opened()
    assert mine.catch_up() == []
    commits = [commit_of(data, 1, 2), commit_of(data, 5)]
    assert theirs.append(commits) == 2
    theirs.sync()
    found = mine.catch_up()
    assert [entry.sequence for entry in found] == [1, 2]
    assert found[0].runs == [(PAGE, PAGE), (2 * PAGE, PAGE)]
    assert not mine.applied
    theirs.mark_applied()
    assert mine.catch_up() == []
    assert mine.applied
    assert (mine.sequence, mine.position) == (theirs.sequence, theirs.position)


def test_others_follow_a_checkpoint(opened, data):
    mine, theirs = opened(), opened()
    for generation in (2, 3, 4):
        theirs.append([commit_of(data, 1)])
        theirs.sync()
        theirs.mark_applied()
        theirs.checkpoint(data)
        theirs.append([commit_of(data, 2)])
        if generation != 3:
            mine.catch_up()
            assert (mine.generation, mine.sequence) == (generation, theirs.sequence)
            assert not mine.applied
        theirs.mark_applied()


def test_what_the_dead_left_is_redone_once(opened, data):
    mine, theirs = opened(), opened()
    first, second = commit_of(data, 1, 2, value=b"a"), commit_of(data, 2, 3, value=b"b")
    theirs.append([first])
    apply(data, first)
    theirs.mark_applied()
    data.write(PAGE, b"plain")  # by somebody who does not use transactions
    theirs.append([second])
    mine.catch_up()
    redo(mine, data)
    assert mine.applied
    assert data.read(PAGE, 5) == b"plain"
    assert data.read(2 * PAGE, 2 * PAGE) == b"b" * 2 * PAGE
    assert opened().applied


def test_undone_append_is_gone(opened, data):
    journal = opened()
    place = journal.position
    journal.append([commit_of(data, 1), commit_of(data, 2)])
    journal.undo_append()
    assert (journal.position, journal.sequence, journal.applied) == (place, 0, True)
    again = opened()
    assert (again.sequence, again.applied) == (0, True)


def test_room_is_for_what_was_asked(opened, data):
    journal = opened()
    commits = [commit_of(data, *range(0, 26, 2)), commit_of(data, 1)]
    assert journal.room(bytes_of(commits[1:]))
    assert not journal.room(bytes_of(commits))
    journal.extend(bytes_of(commits))
    assert journal.room(bytes_of(commits))
    journal.append(commits)
    journal.mark_applied()
    assert os.path.getsize(journal.path) == journal.capacity == 1 << 17


class FullFiles(Files):
    """A filesystem that notices only while it syncs a longer journal that it is full."""

    def open(self, path, mode):
        file = super().open(path, mode)
        return FullFile(file) if mode == "r+" else file


class FullFile:
    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def sync(self):
        raise OSError(28, "No space left on device")


def test_extension_that_fails_leaves_the_journal_as_it_was(opened, data):
    journal = opened(FullFiles())
    with pytest.raises(OSError, match="No space"):
        journal.extend(1 << 20)
    assert os.path.getsize(journal.path) == journal.capacity == 1 << 16


def test_creation_that_fails_leaves_nothing(opened, data):
    class Failing(Files):
        def replace(self, source, target):
            raise PermissionError(13, "Permission denied", target)

    with pytest.raises(PermissionError) as caught:
        opened(Failing())
    assert caught.value.filename == journal_path(data.path)
    assert os.listdir(os.path.dirname(data.path)) == ["data"]


def test_what_is_left_of_a_creation_is_overwritten(opened, data):
    with open(journal_path(data.path) + ".new", "w") as file:
        file.write("half")
    assert opened().sequence == 0
    assert not os.path.exists(journal_path(data.path) + ".new")


def test_journal_of_another_file_is_not_opened(opened, data, tmp_path):
    opened()
    (tmp_path / "other").write_bytes(bytes(SIZE))
    with (
        File(tmp_path / "other", "r+") as other,
        pytest.raises(JournalError, match="belongs to another file"),
    ):
        Journal.open(OS, journal_path(data.path), other)


def test_large_commit_is_streamed(opened, data):
    """In frames, out of pieces of any length, over the end of the file."""
    journal = opened()
    length = 9 * (1 << 20) + 700
    content = (os.urandom(1 << 16) * (length // (1 << 16) + 1))[:length]
    runs = split_runs(struct.pack("=qq", PAGE, length), SIZE)
    pieces = (content[at : at + 1_000_003] for at in range(0, length, 1_000_003))
    before = sector_checksums(bytes(SIZE - PAGE))
    commit = Commit(runs, pieces, before, PAGE + length, length)
    assert not journal.room(bytes_of([commit]))
    journal.extend(bytes_of([commit]))
    journal.append([commit])
    assert journal.position <= journal.capacity
    journal.close()
    assert recovery.recover(data.path) == 1
    assert data.read(PAGE, length) == content
    assert data.size() == PAGE + length


def test_large_journal_is_recovered(opened, data):
    """Many commits, of many pages each, read in several windows."""
    journal = opened(first_bytes=8 << 20)
    wanted = bytearray(SIZE)
    for value in range(1, 25):
        pages = range(value % 7, 256, 5)
        commit = commit_of(data, *pages, value=bytes([value]))
        journal.append([commit])
        apply(data, commit)
        journal.mark_applied()
        for page in pages:
            wanted[page * PAGE : (page + 1) * PAGE] = bytes([value]) * PAGE
    data.write(0, bytes(SIZE // 2))  # as if it had not got to the disk
    journal.close()
    assert recovery.recover(data.path) == 24
    assert data.read(0, SIZE) == wanted
