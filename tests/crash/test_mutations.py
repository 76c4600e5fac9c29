"""Each step and each check of a commit and a recovery is needed: without it, something is noticed.

A row of the tables is a bug that is put into the code, and what has to notice it: a workload of the
campaign, or the tests of hostile journals.
"""

import inspect
import itertools
import textwrap

import pytest

from mmapkit.durable import findings, fit, frames, journal, recovery, redo, runs, slots

from . import campaign, test_hostile, workloads
from .workloads import Writer

# Where the code that is changed lies, and who imports it by name.
MODULES = (findings, fit, frames, journal, recovery, redo, runs, slots)

HOSTILE = "hostile journals"
DEATHS = "deaths beside the living"

# Who asks for the sync that is left out -> the workload that notices.
SYNCS = {
    "journal._create:journal": workloads.one_page,
    "journal._create:data": workloads.used_plainly_before,
    "journal._create:folder": workloads.one_page,
    "journal.sync:journal": workloads.one_page,
    "journal.undo_append:journal": workloads.failed_append,
    "journal.checkpoint:data": workloads.checkpoint,
    "journal.checkpoint:journal": workloads.checkpoint,
    "journal.remove:folder": workloads.used_plainly_afterwards,
    "redo.harden:journal": workloads.recovered_before_the_sync,
    "recovery._complete:data": workloads.one_page,
    "recovery._remove:folder": workloads.recovered_then_used_plainly,
    # The caller's: before the journal is removed.
    "workloads.close:data": workloads.one_page,
}
# Not for safety: see test_journal.py.
OTHER_SYNCS = {"journal.extend:journal", "workloads.write_plainly:data"}

# A check that is always true -> what notices.
CHECKS = {
    (slots, "slot_checksum_matches"): HOSTILE,
    (slots, "version_is_known"): HOSTILE,
    (slots, "slot_makes_sense"): HOSTILE,
    (slots, "same_journal"): HOSTILE,
    (frames, "same_generation"): HOSTILE,
    (frames, "follows"): HOSTILE,
    (frames, "length_is_possible"): HOSTILE,
    (frames, "frame_checksum_matches"): workloads.one_page,
    (frames, "is_next"): HOSTILE,
    (frames, "claims_are_possible"): HOSTILE,
    (frames, "table_fits"): HOSTILE,
    (frames, "run_is_possible"): HOSTILE,
    (frames, "amounts_match"): HOSTILE,
    (frames, "marker_checksum_matches"): HOSTILE,
    (frames, "is_proof"): workloads.group,
    (journal, "is_same_file"): HOSTILE,
    (journal, "marks"): DEATHS,
    (fit, "size_fits"): HOSTILE,
    (fit, "witness_holds"): HOSTILE,
    (fit, "sector_is"): HOSTILE,
    (fit, "sector_was"): HOSTILE,
    (fit, "shows_all"): workloads.one_page,
}

# What is changed in the text of a function -> what notices.
STEPS = {
    "applied before the sync": (
        Writer,
        "finish",
        [
            ("    self.journal.sync()\n", ""),
            ("    self.journal.mark", "    self.journal.sync()\n    self.journal.mark"),
        ],
        workloads.one_page,
    ),
    "marked before it is applied": (
        Writer,
        "finish",
        [
            ("    self.journal.mark_applied()\n", ""),
            ("    for commit, content", "    self.journal.mark_applied()\n    for commit, content"),
        ],
        DEATHS,
    ),
    "never marked, so that nobody knows": (
        Writer,
        "finish",
        [("self.journal.mark_applied()", "self.journal._applied_sequence += len(contents)")],
        HOSTILE,
    ),
    "the slot before the data is synced": (
        journal.Journal,
        "checkpoint",
        [
            ("    data.sync()\n", ""),
            ("    self.file.sync()\n", "    self.file.sync()\n    data.sync()\n"),
        ],
        workloads.checkpoint,
    ),
    "the marker before the slot is synced": (
        journal.Journal,
        "checkpoint",
        [
            ("    self.file.sync()\n", ""),
            ("    self.mark_applied()", "    self.mark_applied()\n    self.file.sync()"),
        ],
        workloads.checkpoint,
    ),
    "always the same slot": (
        journal.Journal,
        "checkpoint",
        [("1 - old.place", "old.place")],
        workloads.checkpoint_of_many_sectors,
    ),
    "the name before the content": (
        journal.Journal,
        "_create",
        [
            ("        file.sync()\n", ""),
            ("files.sync_directory(path)", "files.sync_directory(path)\n    data.sync()"),
        ],
        workloads.one_page,
    ),
    "made in its place": (
        journal.Journal,
        "_create",
        [
            ('beside = path + ".new"', "beside = path"),
            ("        files.replace(beside, path)\n", ""),
        ],
        workloads.one_page,
    ),
    "not taken back": (
        journal.Journal,
        "undo_append",
        [("    self._write_marker()  # over the head of its first frame", "    pass")],
        workloads.failed_append,
    ),
    "every frame the last one": (
        frames,
        "frames_from",
        [("last = bool(flags & LAST)", "last = True")],
        workloads.several_frames,
    ),
    "no frame the last one": (
        frames,
        "frames_from",
        [("last = bool(flags & LAST)", "last = False")],
        workloads.one_page,
    ),
    "a commit counts without its last frame": (
        journal,
        "entries_from",
        [("if frame.last:", "if True:")],
        workloads.several_frames,
    ),
    "the older slot": (
        slots,
        "read_slots",
        [("return max(", "return min(")],
        workloads.checkpoint,
    ),
    "no proof of damage is looked for": (
        frames,
        "evidence_of",
        [("while position < window.end", "while False")],
        HOSTILE,
    ),
    "not chained to the slot": (
        frames,
        "tail_of",
        [("slot.crc", "0")],
        HOSTILE,
    ),
    "the size stays": (
        redo,
        "apply",
        [("            data.resize(size)\n", "")],
        workloads.shrink,
    ),
    "only the last commit": (
        redo,
        "apply",
        [("for entry in entries:", "for entry in entries[-1:]:")],
        workloads.chain,
    ),
    "removed before the data is synced": (
        recovery,
        "_complete",
        [
            ("            data.sync()\n", ""),
            ("    _remove(files, journal)", "    _remove(files, journal)\n    data.sync()"),
        ],
        workloads.one_page,
    ),
    "fit is not asked for": (
        recovery,
        "_complete",
        [("if not force:", "if False:")],
        HOSTILE,
    ),
    "redone before the journal is synced": (
        redo,
        "redo",
        [("        harden(found, journal.file)\n", "")],
        workloads.completed_by_the_living,
    ),
    "not written again after a sync that failed": (
        redo,
        "harden",
        [("while start < end", "while False")],
        workloads.recovered_after_a_failed_sync,
    ),
}


def mutated(monkeypatch, owner, name, replacements):
    """Put a bug into the text of a function."""
    found = inspect.getattr_static(owner, name)
    function = found.__func__ if isinstance(found, classmethod) else found
    text = textwrap.dedent(inspect.getsource(function)).replace("@classmethod\n", "")
    for old, new in replacements:
        assert old in text, f"{name} has no {old!r} any more"
        text = text.replace(old, new)
    space = {}
    exec("from __future__ import annotations\n" + text, function.__globals__, space)
    changed = space[name]
    monkeypatch.setattr(owner, name, classmethod(changed) if function is not found else changed)
    # Others have imported it by name.
    for module in MODULES:
        if getattr(module, name, None) is function:
            monkeypatch.setattr(module, name, changed)


def noticed(by, skipped=frozenset()):
    """Whether something went wrong."""
    if by == HOSTILE:
        return hostile_failure() is not None
    if by == DEATHS:
        try:
            return bool(campaign.deaths().wrong)
        except Exception:
            return True
    try:
        return bool(campaign.run([by], skipped=skipped, nested_every=4, stop=True).wrong)
    except Exception:  # it ended the workload itself
        return True


def hostile_failure():
    """The first test of hostile journals that fails, or None."""
    for name, test in vars(test_hostile).items():
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        for values in itertools.product(*(mark.args[1] for mark in marks)):
            given = {mark.args[0]: value for mark, value in zip(marks, values, strict=True)}
            try:
                test(**given)
            except (Exception, pytest.fail.Exception):
                return name, given
    return None


def test_nothing_is_noticed_without_a_bug():
    assert hostile_failure() is None


@pytest.mark.parametrize("site", SYNCS)
def test_each_sync_is_needed(site):
    assert noticed(SYNCS[site], frozenset([site]))


def test_every_sync_is_in_the_table():
    result = campaign.run(subsets=0, most_single=1, nested_every=20)
    assert result.sites == SYNCS.keys() | OTHER_SYNCS


@pytest.mark.parametrize(
    ("module", "name"), CHECKS, ids=lambda part: getattr(part, "__name__", part)
)
def test_each_check_is_needed(module, name, monkeypatch):
    check = getattr(module, name)
    for other in MODULES:
        if getattr(other, name, None) is check:
            monkeypatch.setattr(other, name, lambda *given: True)
    assert noticed(CHECKS[module, name])


def test_every_check_is_in_the_table():
    """A check is a function of bytes and numbers that says yes or no."""
    found = {
        (module, name)
        for module in MODULES
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and value.__annotations__.get("return") == "bool"
        and not name.startswith("_")
        # One looks for a marker, and believes only that; the other takes a lock.
        and name not in ("step_over", "try_alone")
    }
    assert found == CHECKS.keys()


@pytest.mark.parametrize("bug", STEPS)
def test_each_step_is_needed(bug, monkeypatch):
    owner, name, replacements, by = STEPS[bug]
    mutated(monkeypatch, owner, name, replacements)
    assert noticed(by)
