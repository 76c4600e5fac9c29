"""What the fault guard costs where nothing faults: the same work in processes with and without.

Three processes take turns: guard off (the reference), guard on, and guard off once more. The last
one is the control: how far it strays from 1 is how far two processes stray that do the same. Each
generation of processes is new, since where their memory lies makes a difference of its own.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.children import Process
from benchmarks.effort import Effort
from benchmarks.files import Files
from benchmarks.guard_child import STATEMENTS
from benchmarks.harness import REPEATS, Comparison, Way, WrongAnswer, order, summarise

TITLE = "guard: what the fault guard costs, MMAPKIT_GUARD=1 over MMAPKIT_GUARD=0"

_BYTES = 1 << 20
_WAYS = (
    Way("ours", "guard off", "", {}),
    Way("ours", "guard on", "", {}),
    Way("ours", "guard off, control", "", {}),
)
_GUARDS = ("0", "1", "0")


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    paths = (
        files.random_bytes(_BYTES),
        files.npy(np.random.default_rng(1).random(_BYTES // 8)),
    )
    seconds: dict[str, list[list[float]]] = {work: [[], [], []] for work in STATEMENTS}
    for generation in range(effort.guard_generations):
        with ExitStack() as stack:
            children = [stack.enter_context(Child(guard, *paths)) for guard in _GUARDS]
            counts = {work: _count(children[0], work, effort) for work in STATEMENTS}
            for work, count in counts.items():
                _check(work, children)
                for turn in range(effort.rounds):
                    for index in order(turn + generation * effort.rounds, len(children)):
                        seconds[work][index].append(children[index].seconds(work, count))
    return [_conclude(summarise(work, _WAYS, times)) for work, times in seconds.items()]


def _count(child: "Child", work: str, effort: Effort) -> int:
    """How often a work is run in each repeat of one turn."""
    return max(1, round(effort.sample_s / 2 / REPEATS / child.seconds(work, 3)))


def _check(work: str, children: list["Child"]) -> None:
    if len({child.answer(work, 0) for child in children}) != 1:
        raise WrongAnswer(f"{work}: the answer depends on the guard")


def _conclude(comparison: Comparison) -> Comparison:
    line = comparison.lines[1]
    if line.low <= 1 <= line.high:
        verdict = "1.0 lies within the spread"
    elif max(line.ratio, 1 / line.ratio) < 1.01:
        verdict = "1.0 lies outside the spread, by less than 1 %"
    else:
        verdict = "1.0 lies outside the spread"
    return comparison.remark(1, verdict)


class Child(Process):
    """One process of guard_child."""

    def __init__(self, guard: str, path: Path, npy: Path) -> None:
        name = f"MMAPKIT_GUARD={guard}"
        super().__init__(name, "guard_child", str(path), str(npy), MMAPKIT_GUARD=guard)

    def answer(self, work: str, count: int) -> str:
        return self.ask(f"{work}\t{count}")

    def seconds(self, work: str, count: int) -> float:
        return float(self.answer(work, count))
