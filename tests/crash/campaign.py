"""Crash, recover, compare: old or new, never mixed, nothing lost that was acknowledged."""

from dataclasses import dataclass, field

from mmapkit.durable import recovery, redo
from mmapkit.durable.journal import Journal
from mmapkit.errors import RecoveryNeeded

from .enumerator import Disk, MemoryFiles, apply_step, crashes
from .workloads import JOURNAL, PATH, WORKLOADS, recorded


@dataclass
class Result:
    """What a campaign found."""

    states: int = 0
    nested: int = 0  # of these, crashes inside of recoveries
    torn: list = field(default_factory=list)
    lost: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    sites: set = field(default_factory=set)

    @property
    def wrong(self):
        return len(self.torn) + len(self.lost) + len(self.failed)

    def __add__(self, other):
        return Result(
            self.states + other.states,
            self.nested + other.nested,
            self.torn + other.torn,
            self.lost + other.lost,
            self.failed + other.failed,
            self.sites | other.sites,
        )

    def __str__(self):
        return (
            f"{self.states} states tried ({self.nested} of them crashes inside a recovery): "
            f"{len(self.torn)} torn, {len(self.lost)} acknowledged commits lost, "
            f"{len(self.failed)} not recovered"
        )


def recovered(state, skipped=frozenset()):
    """Recover a medium; return the disk afterwards."""
    disk = Disk(state, skipped)
    recovery._recover_on_demand(MemoryFiles(disk), PATH, False, False)
    return disk


def content_of(disk):
    return bytes(disk.inodes[disk.names[PATH]])


def check(result, where, state, allowed, history, skipped=frozenset()):
    """Recover one state and judge; return the disk, or None."""
    result.states += 1
    try:
        before = shown_to_readers(state)
        disk = recovered(state, skipped)
    except Exception as error:
        result.failed.append((where, repr(error)))
        return None
    found = content_of(disk)
    if not (allowed(found) if callable(allowed) else allowed is None or found in allowed):
        (result.lost if found in history else result.torn).append(where)
    elif before is not None and before != found:
        result.torn.append((where, "seen by a reader"))
    elif JOURNAL in disk.names:
        result.failed.append((where, "the journal is still there"))
    return disk


def shown_to_readers(state):
    """What who may only read sees; None if he is told that recovery is needed."""
    disk = Disk(state)
    if JOURNAL not in disk.names:
        return None
    try:
        recovery.before_open(PATH, "r", MemoryFiles(disk))
    except RecoveryNeeded:
        return None
    return content_of(disk)


def run(workloads=WORKLOADS, *, limit=None, nested_every=7, skipped=frozenset(), stop=False, **how):
    """Try all crashes of some workloads; every `nested_every`-th recovery is itself crashed.

    With `stop`, the first thing that is wrong ends it.
    """
    result = Result()
    for workload in workloads:
        start, disk = recorded(workload, skipped=skipped)
        run_log(result, workload.__name__, start, disk, limit, nested_every, stop, **how)
        if stop and result.wrong:
            break
    return result


def run_log(result, name, start, disk, limit=None, nested_every=7, stop=False, **how):
    """Try all crashes of what was recorded."""
    skipped = disk.skipped
    result.sites |= disk.sites
    notes = [step.note for step in disk.log if step.kind == "note"]
    history = {note for note in notes if isinstance(note, tuple)}
    history = {content for note in history for content in note}
    for tried, (allowed, state) in enumerate(crashes(start, disk.log, **how), 1):
        if limit is not None and tried > limit:
            break
        where = (name, tried)
        after = check(result, where, state, allowed, history, skipped)
        if after is not None:
            result.sites |= after.sites
        if after is not None and nested_every and tried % nested_every == 0 and after.log:
            crash_recovery(result, where, state, after, allowed, history, skipped)
        if stop and result.wrong:
            return


def crash_recovery(result, where, state, first, allowed, history, skipped):
    """Crash a recovery at each of its steps: the next one comes to the same."""
    wanted = content_of(first)
    for number, (_, again) in enumerate(crashes(state, first.log, subsets=1, most_single=4)):
        result.nested += 1
        check(result, (*where, number), again, (wanted,), history, skipped)


def deaths(workloads=WORKLOADS):
    """Let the process die, and nothing else, after each step, while another one lives: that one
    redoes what is left, and then everybody sees old or new."""
    result = Result()
    for workload in workloads:
        start, disk = recorded(workload)
        state, note, opened = start.copy(), None, False
        for number, step in enumerate(disk.log):
            if step.kind == "note":
                note = step.note
                continue
            if step.kind in ("sync", "folder"):
                continue
            apply_step(state, step)
            opened = opened or step.kind == "rename"
            if not opened or JOURNAL not in state.names or not note:
                continue
            result.states += 1
            now = Disk(state)
            files = MemoryFiles(now)
            data = files.open(PATH, "r+")
            journal = Journal.open(files, JOURNAL, data)
            if not journal.applied:
                redo.redo(journal, data)
            if content_of(now) not in note:
                result.torn.append((workload.__name__, number))
    return result
