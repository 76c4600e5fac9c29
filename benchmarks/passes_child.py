"""A process that passes over a file in one way, on request, for bench_passes.

Each line in is a word: ``answer`` has the file summed, ``time`` too, and answers with the seconds;
``peak`` answers with the most memory that was in use so far, in MiB.
"""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

import mmapkit as mk

_BLOCK_BYTES = 8 << 20
_MODULUS = 2**64


@dataclass(frozen=True)
class Pass:
    """A way, and what it sums a file by."""

    role: Literal["ours", "rival"]
    run: Callable[[str], int]


def _blocks(how: str) -> Callable[[str], int]:
    def run(path: str) -> int:
        return sum(int(block.sum()) for block in mk.blocks(path, how, dtype="<u8"))

    return run


def _array(path: str) -> int:
    with mk.open_array(path, dtype="<u8") as a:
        return sum(int(block.sum()) for block in a.blocks())


def _map_blocks(path: str) -> int:
    return sum(map(int, mk.map_blocks(np.sum, path, dtype="<u8", workers=2)))


def _memmap(path: str) -> int:
    a = np.memmap(path, "<u8", "r")
    step = _BLOCK_BYTES // 8
    return sum(int(a[at : at + step].sum()) for at in range(0, len(a), step))


def _fromfile(path: str) -> int:
    total = 0
    with open(path, "rb", buffering=0) as file:
        while len(block := np.fromfile(file, "<u8", _BLOCK_BYTES // 8)):
            total += int(block.sum())
    return total


def _readinto(path: str) -> int:
    total = 0
    words = np.empty(_BLOCK_BYTES // 8, "<u8")
    view = memoryview(words).cast("B")
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(view):
            total += int(words[: count // 8].sum())
    return total


PASSES = {
    "mk.blocks(path)": Pass("ours", _blocks("auto")),
    'mk.blocks(path, "map")': Pass("ours", _blocks("map")),
    'mk.blocks(path, "read")': Pass("ours", _blocks("read")),
    "mk.open_array(path).blocks()": Pass("ours", _array),
    "mk.map_blocks(np.sum, path, workers=2)": Pass("ours", _map_blocks),
    "np.memmap, slices of 8 MiB": Pass("rival", _memmap),
    "np.fromfile, blocks of 8 MiB": Pass("rival", _fromfile),
    "readinto, an 8 MiB buffer reused": Pass("rival", _readinto),
}


def peak_mib() -> int:
    """The most memory that this process has had, of its own and mapped."""
    try:
        # getrusage() would tell the parent's, too, if that was more.
        text = Path("/proc/self/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) >> 10
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # bytes on macOS


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    name, path, group = sys.argv[1:]
    if group:
        Path(group).write_text("0")
    for line in sys.stdin:
        what = line.strip()
        if what == "peak":
            print(peak_mib(), flush=True)
            continue
        start = time.perf_counter()
        total = PASSES[name].run(path) % _MODULUS
        elapsed = time.perf_counter() - start
        print(total if what == "answer" else elapsed, flush=True)


if __name__ == "__main__":
    main()
