"""A process that passes over a file in one way, on request, for bench_passes."""

from collections.abc import Callable
from typing import Literal

import numpy as np

import mmapkit as mk
from benchmarks.children import Work, serve

_BLOCK_BYTES = 8 << 20
_MODULUS = 2**64


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


def _work(role: Literal["ours", "rival"], run: Callable[[str], int]) -> Work:
    return Work(role, lambda path: run(path) % _MODULUS)


PASSES = {
    "mk.blocks(path)": _work("ours", _blocks("auto")),
    'mk.blocks(path, "map")': _work("ours", _blocks("map")),
    'mk.blocks(path, "read")': _work("ours", _blocks("read")),
    "mk.open_array(path).blocks()": _work("ours", _array),
    "mk.map_blocks(np.sum, path, workers=2)": _work("ours", _map_blocks),
    "np.memmap, slices of 8 MiB": _work("rival", _memmap),
    "np.fromfile, blocks of 8 MiB": _work("rival", _fromfile),
    "readinto, an 8 MiB buffer reused": _work("rival", _readinto),
}


if __name__ == "__main__":
    serve(PASSES)
