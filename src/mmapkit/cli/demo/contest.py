"""The same work done by several contenders: medians of a few rounds, answers checked equal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

ROUNDS: Final = 5
# Slow disks get fewer rounds, so that the whole demo stays under a minute.
MOST_SECONDS: Final = 6.0


class DifferentAnswers(RuntimeError):
    """Two contenders disagree: the file changed meanwhile, or there is a bug."""


@dataclass(frozen=True)
class Result:
    """Median seconds of each contender."""

    work: str
    seconds: dict[str, float]
    rounds: int


def compare(
    work: str,
    contenders: Mapping[str, Callable[[], Any]],
    *,
    times: int = 1,
    before: Callable[[], object] | None = None,
) -> Result:
    """Let all contenders do the work, by turns.

    Parameters
    ----------
    work : str
        What it is called in the table.
    contenders : mapping
        Each returns its answer.
    times : int
        How often the work is done in a round; the seconds are those of one.
    before : callable, optional
        Called before each contender's turn, untimed. Without it one untimed round comes first.

    Raises
    ------
    DifferentAnswers
        If the answers are not all equal.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, Any] = {}
    begin = time.perf_counter()
    if before is None:
        for name, contender in contenders.items():
            answers[name] = contender()
    rounds = 0
    while rounds < ROUNDS and (rounds == 0 or time.perf_counter() - begin < MOST_SECONDS):
        for name, contender in contenders.items():
            if before is not None:
                before()
            start = time.perf_counter()
            for _ in range(times):
                answer = contender()
            taken[name].append((time.perf_counter() - start) / times)
            answers[name] = answer
        rounds += 1
    _require_equal(work, answers)
    return Result(work, {name: statistics.median(each) for name, each in taken.items()}, rounds)


def _require_equal(work: str, answers: Mapping[str, Any]) -> None:
    (first, expected), *others = answers.items()
    for name, answer in others:
        # Bit for bit, NaN included: all of them did the same operations in the same order.
        if np.asarray(answer).tobytes() != np.asarray(expected).tobytes():
            raise DifferentAnswers(f"{work}: {first} and {name} gave different answers")
