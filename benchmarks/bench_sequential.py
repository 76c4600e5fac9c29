"""One pass over a file, small to large: reading against mapping. Small files are read's ground."""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import limits
from benchmarks.effort import Effort
from benchmarks.files import Files, NotCold
from benchmarks.harness import Comparison, Way, call, compare
from benchmarks.limits import address_of

TITLE = "sequential: one pass over a file, open to close"

_SMALL_SIZES = (4 << 10, 64 << 10, 1 << 20)
_BUFFER_BYTES = 1 << 20
_MODULUS = 2**64


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    found = []
    for size in dict.fromkeys((*_SMALL_SIZES, effort.big_bytes)):
        path = files.random_bytes(size)
        memory = np.fromfile(path, np.uint64)
        in_c = [*_c_ways(path, helper), limits.words_from_memory(helper, memory)]
        in_numpy = [*_numpy_ways(path), _plain_numpy(memory)]
        rounds = effort.rounds if size in _SMALL_SIZES else effort.big_rounds
        for how, ways in (("C", in_c), ("numpy", in_numpy)):
            name = f"{_size(size)}, warm, summed in {how}"
            found.append(compare(name, ways, effort, byte_count=size, rounds=rounds))
    return [*found, _cold(files, files.random_bytes(effort.big_bytes), helper, effort)]


def _size(size: int) -> str:
    return f"{size >> 20:,} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def _c_ways(path: Path, helper: Any, prepare: Callable[[], None] | None = None) -> list[Way]:
    """Ways that have the bytes summed in C, so that getting at them is what counts."""
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    address = address_of(np.frombuffer(buffer, np.uint8))

    def ours(**options: Any) -> Callable[[], int]:
        def run() -> int:
            with mk.open(path, **options) as m:
                return helper.sum_words(address_of(np.asarray(m)), len(m))

        return run

    def readinto() -> int:
        total = 0
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(view):
                total += helper.sum_words(address, count)
        return total % _MODULUS

    def mmap_mmap() -> int:
        with (
            open(path, "rb", buffering=0) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as s,
        ):
            return helper.sum_words(address_of(np.frombuffer(s, np.uint8)), len(s))

    return [
        call("ours", "mk.open", ours(), prepare=prepare),
        call("ours", "mk.open(populate=True)", ours(populate=True), prepare=prepare),
        call("ours", 'mk.open(backend="read")', ours(backend="read"), prepare=prepare),
        call("rival", "readinto, a 1 MiB buffer reused", readinto, prepare=prepare),
        call("rival", "mmap.mmap", mmap_mmap, prepare=prepare),
    ]


def _numpy_ways(path: Path, prepare: Callable[[], None] | None = None) -> list[Way]:
    """Ways that numpy sums, as most users would write them."""

    def ours() -> int:
        with mk.open(path) as m:
            return int(m.array("<u8").sum())

    def memmap() -> int:
        return int(np.memmap(path, "<u8", "r").sum())

    def fromfile() -> int:
        total = 0
        with open(path, "rb", buffering=0) as file:
            while len(block := np.fromfile(file, "<u8", _BUFFER_BYTES // 8)):
                total += int(block.sum())
        return total % _MODULUS

    return [
        call("ours", 'mk.open, m.array("<u8").sum()', ours, prepare=prepare),
        call("rival", "np.memmap.sum()", memmap, prepare=prepare),
        call("rival", "np.fromfile, blocks of 1 MiB", fromfile, prepare=prepare),
    ]


def _plain_numpy(memory: np.ndarray) -> Way:
    return call("limit", "ndarray in memory: sum()", lambda: int(memory.sum()))


def _cold(files: Files, path: Path, helper: Any, effort: Effort) -> Comparison:
    size = path.stat().st_size
    work = f"{_size(size)}, cold"

    def advised() -> int:
        with mk.open(path, advice="sequential") as m:
            return helper.sum_words(address_of(np.asarray(m)), len(m))

    try:
        cool = files.cooler(path)
        ways = [
            call("ours", 'mk.open(advice="sequential"), C sum', advised, prepare=cool),
            *(way for way in _c_ways(path, helper, cool) if "(" not in way.name),
            *_numpy_ways(path, cool)[1:],
            limits.words_from_device(helper, path, cool),
        ]
        return compare(work, ways, effort, byte_count=size, rounds=effort.big_rounds)
    except NotCold as error:
        return Comparison(work, skipped=str(error))
