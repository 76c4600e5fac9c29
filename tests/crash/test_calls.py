"""Which system calls commits and readers make, again and again."""

from itertools import pairwise

from .test_kill import _fresh

COMMITS = 6  # of a session, and sections of a reader: see zygote.py
# From Linux 6.13 on, who asks for a file's times has its next write take a time of its own, which
# the next sync then waits for (multigrain timestamps).
ASK_FOR_TIMES = {"stat", "lstat", "fstat", "newfstatat"}


def test_commits_sync_once_and_ask_for_no_times(zygote, quick_folder):
    calls = zygote.calls("session", _fresh(quick_folder))
    syncs = [index for index, name in enumerate(calls) if name == "fdatasync"]
    assert len(syncs) == 2 + COMMITS + 1, calls  # first a journal is made, and at last it goes
    for first, last in pairwise(syncs[2:-1]):
        between = calls[first:last]
        assert between.count("pwritev") == 2, between  # the mark of one, and the next one's frame
        assert ASK_FOR_TIMES.isdisjoint(between), between


def test_readers_do_not_ask_for_the_times_of_what_is_written(zygote, quick_folder):
    calls = zygote.calls("readings", _fresh(quick_folder))
    sections = [index for index, name in enumerate(calls) if name == "write"]
    assert len(sections) == COMMITS, calls
    for first, last in pairwise(sections[1:]):  # the first one opens the journal
        assert "fcntl" in calls[first:last], calls[first:last]
        assert ASK_FOR_TIMES.isdisjoint(calls[first:last]), calls[first:last]
