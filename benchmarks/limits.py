"""What the machine allows: ways that do the same work without file, library or cache in between.

They run in the same rounds as the ways they stand beside, and give the same answer.
"""

import ctypes
import os
from collections.abc import Callable
from math import ldexp
from pathlib import Path

import numpy as np

from benchmarks.harness import Way, call

# Requests in flight at which disks reach their full rate.
RANDOM_DEPTH = 32
SEQUENTIAL_DEPTH = 4
SEQUENTIAL_BLOCK_BYTES = 1 << 20


def address_of(array: np.ndarray) -> int:
    """Where an array's first element lies."""
    return array.__array_interface__["data"][0]


def byte_of_bytes(data: bytes, index: int) -> Way:
    """Index Python's own bytes: no interpreter gets at a byte faster."""
    return Way("limit", "bytes: b[i]", "b[i]", {"b": data, "i": index})


def float_from_c(value: float) -> Way:
    """Call C with two arguments and get a float back."""
    mantissa, exponent = np.frexp(value)
    names = {"ldexp": ldexp, "x": float(mantissa), "e": int(exponent)}
    return Way("limit", "C call of 2 arguments: math.ldexp(x, e)", "ldexp(x, e)", names)


def mapping_in_c(helper: ctypes.CDLL, path: Path, answer: object) -> Way:
    """Open, map, unmap, close: the system calls alone. They give no answer: it is passed."""
    names = {"run": helper.map_and_unmap, "path": os.fsencode(path), "answer": answer}
    return Way("limit", "system calls alone (C)", "run(path)", names, answer="answer")


def words_from_memory(helper: ctypes.CDLL, memory: np.ndarray) -> Way:
    """Sum memory that no file backs: its read bandwidth, for one thread."""
    address, size = address_of(memory), memory.nbytes
    return call("limit", "memory read, 1 thread (C)", lambda: helper.sum_words(address, size))


def memory_bandwidth(
    helper: ctypes.CDLL, memory: np.ndarray, answer: object, target: float | None = None
) -> list[Way]:
    """Read plain memory with one thread and with two, beside works that answer something else.

    Their own answer, the sum of the words, is compared; if it is right, they give `answer`.
    """
    names = {"address": address_of(memory), "size": memory.nbytes}
    names |= {"total": int(memory.sum()), "answer": answer}
    right = "answer if run(address, size) == total else None"

    def way(threads: str, run: Callable[..., int], target: float | None) -> Way:
        name = f"memory read, {threads} (C)"
        return Way("limit", name, "run(address, size)", {**names, "run": run}, right, target)

    return [
        way("1 thread", helper.sum_words, target),
        way("2 threads", helper.sum_words_in_two, None),
    ]


def bytes_from_memory(helper: ctypes.CDLL, memory: np.ndarray, offsets: np.ndarray) -> Way:
    """Sum random bytes of memory that no file backs."""
    args = address_of(memory), address_of(offsets), len(offsets)
    return call("limit", "random read of plain memory (C)", lambda: helper.sum_at(*args))


def bytes_from_device(
    helper: ctypes.CDLL, path: Path, offsets: np.ndarray, cool: Callable[[], None]
) -> Way:
    """Read the pages of random bytes past the page cache, many at once."""
    args = os.fsencode(path), address_of(offsets), len(offsets), RANDOM_DEPTH
    name = f"device, random 4 KiB, depth {RANDOM_DEPTH} (C, O_DIRECT)"
    return call("limit", name, lambda: helper.direct_sum_at(*args), prepare=cool)


def words_from_device(helper: ctypes.CDLL, path: Path, cool: Callable[[], None]) -> Way:
    """Read a file once past the page cache, a few blocks at once."""
    args = os.fsencode(path), path.stat().st_size, SEQUENTIAL_BLOCK_BYTES, SEQUENTIAL_DEPTH
    name = f"device, 1 MiB blocks, depth {SEQUENTIAL_DEPTH} (C, O_DIRECT)"
    return call("limit", name, lambda: helper.direct_sum_words(*args), prepare=cool)
