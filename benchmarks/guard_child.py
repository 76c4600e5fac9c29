"""A process that times works on request, for bench_guard.

Each line in is ``work <tab> count``. A count of 0 asks for the work's answer; any other has it run
so many times, over and over, and answers with the seconds of one in the fastest repeat.
"""

import os
import signal
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks.harness import REPEATS

# What is timed. The names are those of `names_for`.
STATEMENTS = {
    "m[i]": "m[i]",
    'm.load("<d", i)': 'm.load("<d", i)',
    "m[i:j], 64 bytes": "m[i:j]",
    "m.read(i, 64)": "m.read(i, 64)",
    "m.read(), 1 MiB": "m.read()",
    'm.array("<f8")': 'm.array("<f8")',
    "a[i:j], MappedArray": "a[i:j]",
    "np.asarray(a)": "asarray(a)",
    "np.asarray(a).sum(), 1 MiB": "x.sum()",
    "open, touch every page of 1 MiB, close": "touch()",
}


def names_for(path: Path, npy: Path) -> dict[str, Any]:
    """Open the files; they stay open until the process ends."""
    m = mk.open(path)
    a = mk.open_array(npy)

    def touch() -> int:
        with mk.open(path) as opened:
            return int(opened.array("u1")[::4096].sum())

    return {
        "m": m, "a": a, "x": np.asarray(a), "asarray": np.asarray, "touch": touch,
        "i": 1000, "j": 1064,
    }  # fmt: skip


def serve(answer: Callable[[str, int], object]) -> None:
    """Answer each line of standard input with one on standard output."""
    for line in sys.stdin:
        work, count = line.rstrip("\n").split("\t")
        print(answer(work, int(count)), flush=True)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    names = names_for(Path(sys.argv[1]), Path(sys.argv[2]))
    if mk.guard_enabled() != (os.environ["MMAPKIT_GUARD"] == "1"):
        raise SystemExit("MMAPKIT_GUARD did not switch the guard")
    timers = {work: timeit.Timer(code, globals=dict(names)) for work, code in STATEMENTS.items()}

    def answer(work: str, count: int) -> object:
        if count:
            return min(timers[work].repeat(REPEATS, count)) / count
        found = eval(STATEMENTS[work], dict(names))
        return found.tobytes().hex() if hasattr(found, "tobytes") else repr(found)

    serve(answer)


if __name__ == "__main__":
    main()
