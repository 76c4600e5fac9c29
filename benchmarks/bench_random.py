"""Random bytes of a large file: calls on files against mappings, in C and from Python."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import limits
from benchmarks.effort import Effort
from benchmarks.files import Files, NotCold, random_offsets
from benchmarks.harness import Comparison, Way, call, compare
from benchmarks.limits import address_of

TITLE = "random: single bytes of a large file, in random order"


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    path = files.random_bytes(effort.big_bytes)
    warm = random_offsets(effort.big_bytes, effort.random_count)
    found = [
        *_warm_in_c(path, warm, helper, effort),
        _warm_from_python(path, warm, effort),
    ]
    # Nothing above may still map the file: mapped pages are not dropped.
    cold = random_offsets(effort.big_bytes, effort.cold_random_count)
    return [*found, *_cold(files, path, cold, helper, effort)]


def _file_calls(
    path: Path, offsets: np.ndarray, helper: Any, target: float | None, prepare: Any = None
) -> list[Way]:
    args = os.fsencode(path), address_of(offsets), len(offsets)
    return [
        call(
            "rival", "fseek + fread (C)", lambda: helper.fseek_sum_at(*args),
            target=target, prepare=prepare,
        ),
        call("rival", "pread (C)", lambda: helper.pread_sum_at(*args), prepare=prepare),
    ]  # fmt: skip


def _mapped_anew(path: Path, offsets: np.ndarray, helper: Any) -> Callable[[], int]:
    """Map, sum in one C call, unmap."""

    def run() -> int:
        with mk.open(path) as m:
            return helper.sum_at(address_of(np.asarray(m)), address_of(offsets), len(offsets))

    return run


def _warm_in_c(path: Path, offsets: np.ndarray, helper: Any, effort: Effort) -> list[Comparison]:
    count = f"{len(offsets):,} random bytes of {effort.big_bytes >> 20:,} MiB, warm, one C call"
    memory = np.fromfile(path, np.uint8)
    args = os.fsencode(path), address_of(offsets), len(offsets)
    with mk.open(path) as m:
        address = address_of(np.asarray(m))
        mapped = compare(
            f"{count}: already mapped",
            [
                call(
                    "ours",
                    "np.asarray(m), mapped before",
                    lambda: helper.sum_at(address, address_of(offsets), len(offsets)),
                ),
                *_file_calls(path, offsets, helper, 20.0),
                limits.bytes_from_memory(helper, memory, offsets),
            ],
            effort,
        )
    anew = compare(
        f"{count}: mapped anew",
        [
            call("ours", "mk.open, touch, close", _mapped_anew(path, offsets, helper)),
            *_file_calls(path, offsets, helper, 2.5),
            call("limit", "open, mmap, touch, munmap (C)", lambda: helper.map_sum_at(*args)),
        ],
        effort,
    )
    return [mapped, anew]


def _warm_from_python(path: Path, offsets: np.ndarray, effort: Effort) -> Comparison:
    positions = offsets.tolist()
    index = offsets.astype(np.intp)
    memory = np.fromfile(path, np.uint8)
    m = mk.open(path)
    x = m.array("u1")
    p = np.memmap(path, np.uint8, "r")
    with path.open("rb") as file:
        s = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return compare(
        f"{len(offsets):,} random bytes of {effort.big_bytes >> 20:,} MiB, warm, from Python",
        [
            call("ours", 'm.array("u1")[idx].sum()', lambda: x[index].sum()),
            call("rival", "np.memmap[idx].sum()", lambda: p[index].sum()),
            call("ours", "sum(m[i] for i in idx)", lambda: sum(m[i] for i in positions)),
            call("rival", "sum(mmap[i] for i in idx)", lambda: sum(s[i] for i in positions)),
            call("limit", "ndarray[idx].sum()", lambda: memory[index].sum()),
        ],
        effort,
    )


def _cold(
    files: Files, path: Path, offsets: np.ndarray, helper: Any, effort: Effort
) -> list[Comparison]:
    work = f"{len(offsets):,} random bytes of {effort.big_bytes >> 20:,} MiB, cold"
    index = offsets.astype(np.intp)
    pages = [(at, 1) for at in offsets.tolist()]

    def prefetched() -> int:
        with mk.open(path, advice="random") as m:
            m.prefetch(pages)
            return helper.sum_at(address_of(np.asarray(m)), address_of(offsets), len(offsets))

    def gathered() -> int:
        with mk.open(path, advice="random") as m:
            return m.array("u1")[index].sum()

    def memmap() -> int:
        return np.memmap(path, np.uint8, "r")[index].sum()

    try:
        cool = files.cooler(path)
        ways = [
            call("ours", 'mk.open(advice="random"), prefetch, touch', prefetched, prepare=cool),
            call("ours", 'mk.open(advice="random"), array[idx]', gathered, prepare=cool),
            call("ours", "mk.open, touch", _mapped_anew(path, offsets, helper), prepare=cool),
            *_file_calls(path, offsets, helper, None, cool),
            call("rival", "np.memmap[idx]", memmap, prepare=cool),
            limits.bytes_from_device(helper, path, offsets, cool),
        ]
        return [compare(work, ways, effort, rounds=effort.big_rounds)]
    except NotCold as error:
        return [Comparison(work, skipped=str(error))]
