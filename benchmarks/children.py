"""Ways that run in processes of their own: their peak memory is that of one way.

Each process lives as long as the comparison and does its work on request; the time is that of the
work, taken inside of it. A memory cgroup can be put around it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from benchmarks.effort import Effort
from benchmarks.harness import Comparison, Way, WrongAnswer, order, summarise

PEAK_MIB = 64  # what ours may have in memory at most
DEVICE_SHARE = 0.95  # of the device's rate, what ours should reach on a cold file


@dataclass(frozen=True)
class Work:
    """A way, and what it answers for a file."""

    role: Literal["ours", "rival"]
    run: Callable[[str], int]


# --- in the child ---------------------------------------------------------------------------------


def serve(works: Mapping[str, Work]) -> None:
    """Be the process of one way: its name, the file and a cgroup are the arguments.

    Each line in is a word: ``answer`` has the work done, ``time`` too, and answers with the
    seconds; ``peak`` answers with the most memory that was in use in a timed work so far, in MiB.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    name, path, group = sys.argv[1:]
    if group:
        Path(group).write_text("0")
    peak_mib = _peak_mib()
    for line in sys.stdin:
        what = line.strip()
        if what == "peak":
            print(peak_mib, flush=True)
            continue
        _forget_peak()
        start = time.perf_counter()
        found = works[name].run(path)
        elapsed = time.perf_counter() - start
        if what == "answer":
            print(found, flush=True)
        else:
            peak_mib = max(peak_mib, _peak_mib())
            print(elapsed, flush=True)


def _forget_peak() -> None:
    """So that what was done before is not counted; proc(5), clear_refs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> int:
    """The most memory that this process has had, of its own and mapped."""
    try:
        # getrusage() would tell the parent's, too, if that was more.
        text = Path("/proc/self/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) >> 10
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # bytes on macOS


# --- in the parent --------------------------------------------------------------------------------


class Process:
    """A module of ``benchmarks`` as a process that answers each line with a line."""

    def __init__(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            env={**os.environ, **environment},
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> str:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        if answer := process.stdout.readline():
            return answer.strip()
        raise RuntimeError(f"the process of {self.name!r} ended: {process.wait()}")

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


class Child(Process):
    """One process of a module of ``benchmarks``, that does one way."""

    def __init__(self, module: str, name: str, path: Path, group: Path | None = None) -> None:
        # Numpy's threads take memory before there is any work.
        super().__init__(name, module, name, str(path), str(group or ""), OPENBLAS_NUM_THREADS="1")
        self.base_mib = int(self.ask("peak"))

    def answer(self) -> str:
        return self.ask("answer")

    def seconds(self) -> float:
        return float(self.ask("time"))

    def peak_mib(self) -> int:
        return int(self.ask("peak"))


def compare(
    work: str,
    module: str,
    works: Mapping[str, Work],
    path: Path,
    effort: Effort,
    *,
    cool: Callable[[], None] | None = None,
    device: Way | None = None,
    missing: Sequence[str] = (),
) -> Comparison:
    """Compare all works of a module, in turns; with the device's rate as the limit."""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(module, name, path)) for name in works]
        ways = [Way(works[child.name].role, child.name, "", {}) for child in children]
        runs = [child.seconds for child in children]
        answers = {child.answer() for child in children}
        if device is not None:
            ways.append(device)
            timer = timeit.Timer(device.statement, globals=dict(device.names))
            runs.append(lambda: timer.timeit(1))
            answers.add(str(eval(device.statement, dict(device.names))))
        if len(answers) != 1:
            raise WrongAnswer(f"{work}: {answers}")
        found = summarise(work, ways, rounds(runs, effort, cool), path.stat().st_size, missing)
        for index, child in enumerate(children):
            found = found.remark(index, _peak_remark(child, works[child.name].role))
        if device is not None:
            # The device's time over ours.
            rate = found.lines[-1].ratio
            verdict = "met" if rate >= DEVICE_SHARE else "missed"
            share = f"{rate:.2f} of the device's rate, target >= {DEVICE_SHARE}: {verdict}"
            found = found.remark(0, f"{found.lines[0].remark}; {share}")
    return found


def rounds(
    runs: Sequence[Callable[[], float]], effort: Effort, cool: Callable[[], None] | None
) -> list[list[float]]:
    """Run every way once a round; the seconds of each way."""
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(effort.big_rounds):
        for index in order(turn, len(runs)):
            if cool is not None:
                cool()
            seconds[index].append(runs[index]())
    return seconds


def _peak_remark(child: Child, role: str) -> str:
    peak = child.peak_mib()
    text = f"peak {peak} MiB, {child.base_mib} of them before"
    if role == "ours":
        text += f", target < {PEAK_MIB}: {'met' if peak < PEAK_MIB else 'missed'}"
    return text
