"""A pass over a file in bounded memory: rate, peak memory, and the same inside a memory cgroup.

Each way runs in a process of its own, which lives as long as the comparison: its peak is that of
one way, and a cgroup can be put around it. The time is that of the pass, taken inside of it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks import limits
from benchmarks.effort import Effort
from benchmarks.files import Files, NotCold
from benchmarks.harness import Comparison, Way, WrongAnswer, order, summarise
from benchmarks.passes_child import PASSES

TITLE = "passes: a file summed block by block, in bounded memory"

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
            _compare(f"{size}, warm", path, effort),
            Comparison(f"{size}, cold", skipped=str(error)),
        ]
    device = limits.words_from_device(helper, path, cool)
    found = [
        _compare(f"{size}, warm", path, effort),
        _compare(f"{size}, cold", path, effort, cool, device),
    ]
    work = f"{size}, cold, a cgroup of {LIMIT_MIB} MiB over none"
    try:
        found.append(_confined(work, path, effort, cool))
    except NoGroup as error:
        found.append(Comparison(work, skipped=f"cold: {error}"))
    return found


def _compare(
    work: str, path: Path, effort: Effort, cool: Any = None, device: Way | None = None
) -> Comparison:
    """All ways of a pass, in turns; with the device's rate as the limit."""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(name, path)) for name in PASSES]
        ways = [Way(PASSES[child.name].role, child.name, "", {}) for child in children]
        runs = [child.seconds for child in children]
        if device is not None:
            ways.append(device)
            runs.append(lambda: _timed(device))
        answers = {child.answer() for child in children}
        if device is not None:
            answers.add(str(eval(device.statement, dict(device.names))))
        if len(answers) != 1:
            raise WrongAnswer(f"{work}: {answers}")
        seconds = _rounds(runs, effort, cool)
        found = summarise(work, ways, seconds, effort.big_bytes)
        for index, child in enumerate(children):
            found = found.remark(index, _peak_remark(child))
        if device is not None:
            # The device's time over ours: at least 0.95 of its rate is the aim.
            line = found.lines[0]
            rate = found.lines[-1].ratio
            verdict = "met" if rate >= 0.95 else "missed"
            found = found.remark(
                0, f"{line.remark}; {rate:.2f} of the device's rate, target >= 0.95: {verdict}"
            )
    return found


def _peak_remark(child: "Child") -> str:
    peak = child.peak_mib()
    text = f"peak {peak} MiB, {child.base_mib} of them before"
    if PASSES[child.name].role == "ours":
        text += f", target < {LIMIT_MIB}: {'met' if peak < LIMIT_MIB else 'missed'}"
    return text


def _rounds(runs: list[Any], effort: Effort, cool: Any) -> list[list[float]]:
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(effort.big_rounds):
        for index in order(turn, len(runs)):
            if cool is not None:
                cool()
            seconds[index].append(runs[index]())
    return seconds


def _timed(way: Way) -> float:
    import timeit

    return timeit.Timer(way.statement, globals=dict(way.names)).timeit(1)


def _confined(work: str, path: Path, effort: Effort, cool: Any) -> Comparison:
    """Ours and their rivals, each in a small cgroup of its own; the first line is ours in none."""
    name = next(iter(PASSES))
    with ExitStack() as stack:
        free = stack.enter_context(Child(name, path))
        inside = []
        for number, way in enumerate(PASSES):
            group = stack.enter_context(_group(LIMIT_MIB * MIB, number))
            inside.append(stack.enter_context(Child(way, path, group)))
        children = [free, *inside]
        ways = [Way("ours", f"{name}, no cgroup", "", {})]
        ways += [Way(PASSES[c.name].role, c.name, "", {}) for c in inside]
        ways[1] = replace(ways[1], role="ours")
        if len({child.answer() for child in children}) != 1:
            raise WrongAnswer(work)
        seconds = _rounds([child.seconds for child in children], effort, cool)
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


class Child:
    """One process of passes_child, that knows one way."""

    def __init__(self, name: str, path: Path, group: Path | None = None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.passes_child", name, str(path), str(group or "")],
            # Numpy's threads take memory before there is any work.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base_mib = int(self._ask("peak"))

    def _ask(self, what: str) -> str:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(what + "\n")
        process.stdin.flush()
        if answer := process.stdout.readline():
            return answer.strip()
        raise RuntimeError(f"the process of {self.name!r} ended: {process.wait()}")

    def answer(self) -> str:
        return self._ask("answer")

    def seconds(self) -> float:
        return float(self._ask("time"))

    def peak_mib(self) -> int:
        return int(self._ask("peak"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()
