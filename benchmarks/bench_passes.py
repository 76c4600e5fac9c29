"""A pass over a file in bounded memory: rate, peak memory, and the same inside a memory cgroup.

Each way runs in a process of its own, see children.py.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import children, limits
from benchmarks.children import Child
from benchmarks.effort import Effort
from benchmarks.files import Files, NotCold
from benchmarks.harness import Comparison, Way, WrongAnswer, summarise
from benchmarks.passes_child import PASSES

TITLE = "passes: a file summed block by block, in bounded memory"

CHILD = "passes_child"
MIB = 1 << 20
LIMIT_MIB = 64
GROUPS = Path("/sys/fs/cgroup")


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    path = files.random_bytes(effort.big_bytes)
    size = f"{effort.big_bytes // MIB:,} MiB"
    try:
        cool = files.cooler(path)
    except NotCold as error:
        return [
            children.compare(f"{size}, warm", CHILD, PASSES, path, effort),
            Comparison(f"{size}, cold", skipped=str(error)),
        ]
    device = limits.words_from_device(helper, path, cool)
    found = [
        children.compare(f"{size}, warm", CHILD, PASSES, path, effort),
        children.compare(f"{size}, cold", CHILD, PASSES, path, effort, cool=cool, device=device),
    ]
    work = f"{size}, cold, a cgroup of {LIMIT_MIB} MiB over none"
    try:
        found.append(_confined(work, path, effort, cool))
    except NoGroup as error:
        found.append(Comparison(work, skipped=f"cold: {error}"))
    return found


def _confined(work: str, path: Path, effort: Effort, cool: Any) -> Comparison:
    """Ours and their rivals, each in a small cgroup of its own; the first line is ours in none."""
    name = next(iter(PASSES))
    with ExitStack() as stack:
        free = stack.enter_context(Child(CHILD, name, path))
        inside = []
        for number, way in enumerate(PASSES):
            group = stack.enter_context(_group(LIMIT_MIB * MIB, number))
            inside.append(stack.enter_context(Child(CHILD, way, path, group)))
        everybody = [free, *inside]
        ways = [Way("ours", f"{name}, no cgroup", "", {})]
        ways += [Way(PASSES[c.name].role, c.name, "", {}) for c in inside]
        ways[1] = replace(ways[1], role="ours")
        if len({child.answer() for child in everybody}) != 1:
            raise WrongAnswer(work)
        seconds = children.rounds([child.seconds for child in everybody], effort, cool)
        found = summarise(work, ways, seconds, effort.big_bytes)
    ratio = found.lines[1].ratio
    return found.remark(1, f"target <= 1.2x: {'met' if ratio <= 1.2 else 'missed'}")


class NoGroup(Exception):
    """No memory cgroup can be made here."""


@contextmanager
def _group(limit_bytes: int, number: int) -> Iterator[Path]:
    """A memory cgroup, of version 1 or 2; gives the file by which a process enters it."""
    parent, limit = GROUPS / "memory", "memory.limit_in_bytes"
    if not (parent / limit).exists():
        parent, limit = GROUPS, "memory.max"
    group = parent / f"mmapkit-bench-{os.getpid()}-{number}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoGroup(f"no memory cgroup can be made: {error}") from None
    try:
        try:
            (group / limit).write_text(str(limit_bytes))
        except OSError as error:
            raise NoGroup(f"no memory cgroup can be made: {error}") from None
        yield group / "cgroup.procs"
    finally:
        group.rmdir()
