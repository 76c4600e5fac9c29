"""Compare ways of doing one work: answers first, then times, round-robin.

Each round runs every way once, for about `Effort.sample_s`, in an order of its own. What counts
is a way's time over the first way's *in the same round*: the median of these ratios, with their
quartiles as the spread. No time is ever asserted.
"""

import random
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median, quantiles
from typing import Any, Literal

import numpy as np

from benchmarks.effort import Effort

Role = Literal["ours", "rival", "limit"]

# Below this, the statement is unrolled, so that the loop around it does not count.
_UNROLL_BELOW_S = 5e-6
_UNROLL = 20
# A round's sample is cut in so many parts, of which the fastest counts: on a busy machine, the
# others hold the time of somebody else.
REPEATS = 20


@dataclass(frozen=True)
class Way:
    """One way of doing a work."""

    role: Role
    name: str
    statement: str
    names: Mapping[str, Any]
    answer: str = ""  # expression to compare by; the statement itself by default
    target: float | None = None  # how many times the first way's time this one should take
    prepare: Callable[[], None] | None = None  # before each run, not timed


@dataclass(frozen=True)
class Line:
    """What was measured of one way."""

    role: Role
    name: str
    seconds: tuple[float, ...]  # of one operation, for each round
    median_s: float
    ratio: float  # over the first way, median of the rounds
    low: float
    high: float
    target: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Comparison:
    """All ways of one work; the first is what the ratios refer to."""

    work: str
    lines: tuple[Line, ...] = ()
    byte_count: int | None = None  # moved by one operation, where a rate makes sense
    answers_checked: bool = False
    skipped: str = ""  # why there are no lines
    missing: tuple[str, ...] = ()  # rivals that are not installed here
    rounds: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", len(self.lines[0].seconds) if self.lines else 0)

    def remark(self, index: int, text: str) -> "Comparison":
        """The same with a remark on one line."""
        lines = list(self.lines)
        lines[index] = replace(lines[index], remark=text)
        return replace(self, lines=tuple(lines))


class WrongAnswer(Exception):
    """Two ways of one work differ in what they answer."""


def call(
    role: Role,
    name: str,
    function: Callable[[], Any],
    *,
    target: float | None = None,
    prepare: Callable[[], None] | None = None,
) -> Way:
    """A way that is a function without arguments, and answers by what that returns."""
    return Way(role, name, "run()", {"run": function}, target=target, prepare=prepare)


def compare(
    work: str,
    ways: Sequence[Way],
    effort: Effort,
    *,
    byte_count: int | None = None,
    rounds: int | None = None,
    missing: Sequence[str] = (),
) -> Comparison:
    """Check that all ways give one answer, then time them; `missing` rivals are only mentioned."""
    check_answers(work, ways)
    runs = [_timed(way, effort) for way in ways]
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds or effort.rounds):
        for index in order(turn, len(ways)):
            seconds[index].append(runs[index]())
    return summarise(work, ways, seconds, byte_count, missing)


def order(turn: int, count: int) -> list[int]:
    """Return a round's order: shuffled, so that no way always comes after the same other."""
    return random.Random(turn).sample(range(count), count)


def check_answers(work: str, ways: Sequence[Way]) -> None:
    """Raise WrongAnswer unless all ways give what the first gives."""
    expected = None
    for index, way in enumerate(ways):
        if way.prepare is not None:
            way.prepare()
        answer = _plain(eval(way.answer or way.statement, dict(way.names)))
        if index == 0:
            expected = answer
        elif answer != expected:
            raise WrongAnswer(f"{work}: {way.name} answers {answer!r}, not {expected!r}")


def summarise(
    work: str,
    ways: Sequence[Way],
    seconds: Sequence[Sequence[float]],
    byte_count: int | None = None,
    missing: Sequence[str] = (),
) -> Comparison:
    """Put the times of each way, which were measured round by round, into a comparison."""
    lines = []
    for way, times in zip(ways, seconds, strict=True):
        ratios = [time / first for time, first in zip(times, seconds[0], strict=True)]
        low, high = spread(ratios)
        ratio, typical = median(ratios), median(times)
        line = Line(way.role, way.name, tuple(times), typical, ratio, low, high, way.target)
        lines.append(line)
    return Comparison(work, tuple(lines), byte_count, answers_checked=True, missing=tuple(missing))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """First and third quartile."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4, method="inclusive")
    return first, third


def _timed(way: Way, effort: Effort) -> Callable[[], float]:
    """Return what runs the way for a while, and gives the seconds of one operation."""
    once = timeit.Timer(way.statement, globals=dict(way.names))
    if way.prepare is not None:

        def run_prepared() -> float:
            way.prepare()
            return once.timeit(1)

        return run_prepared
    estimate = once.timeit(1)  # not the first run: the answer was checked
    unroll = 1
    timer = once
    if estimate < _UNROLL_BELOW_S:
        unroll = _UNROLL
        timer = timeit.Timer("\n".join([way.statement] * unroll), globals=dict(way.names))
    if estimate < effort.sample_s:
        estimate = min(timer.repeat(3, 1))
    repeats = min(REPEATS, max(1, round(effort.sample_s / estimate)))
    number = max(1, round(effort.sample_s / repeats / estimate))
    return lambda: min(timer.repeat(repeats, number)) / (number * unroll)


def _plain(answer: Any) -> Any:
    """Something that == compares as a whole, whatever the kind of view."""
    if isinstance(answer, memoryview):
        return answer.tobytes()
    if isinstance(answer, np.ndarray) and answer.ndim:
        return (answer.dtype.str, answer.shape, answer.tobytes())
    if isinstance(answer, np.generic | np.ndarray):  # zarr gives elements as 0-d arrays
        return answer.item()
    return answer
