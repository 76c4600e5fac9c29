"""Runs: ranges of bytes as pairs of int64, offset and length, in one buffer."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["pairs", "pieces", "shifted", "total"]


def pairs(runs: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Iterate over offset and length."""
    numbers = iter(memoryview(runs).cast("B").cast("q"))
    return zip(numbers, numbers, strict=True)


def total(runs: bytes | memoryview) -> int:
    """Sum the lengths, in bytes."""
    return sum(memoryview(runs).cast("B").cast("q")[1::2])
