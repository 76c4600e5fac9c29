"""The work that is compared: each done with mmapkit, numpy.memmap, mmap and read."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.random import default_rng

from mmapkit.array import MappedArray, open_array
from mmapkit.cli.demo.subject import Subject

OURS: Final = "mmapkit"
RIVALS: Final = ("numpy.memmap", "mmap", "read")

Contenders = dict[str, Callable[[], Any]]
Array = npt.NDArray[Any]

_MOST_ROWS = 2000
_ROWS_BYTES = 16 << 20


def _ours(subject: Subject, *shape: int) -> MappedArray:
    return open_array(subject.path, dtype=subject.dtype, shape=shape, offset=subject.offset)


def _memmap(subject: Subject, *shape: int) -> Array:
    return np.memmap(subject.path, subject.dtype, "r", subject.offset, shape)


@contextmanager
def _mmap(subject: Subject) -> Iterator[mmap.mmap]:
    size = subject.offset + subject.nbytes
    with (
        open(subject.path, "rb") as file,
        mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped,
    ):
        yield mapped


def opening(subject: Subject) -> Contenders:
    """Open, take the first item, close."""
    dtype, offset, items = subject.dtype, subject.offset, subject.items

    def ours() -> Any:
        with _ours(subject, items) as a:
            return a[0]

    def with_memmap() -> Any:
        return _memmap(subject, items)[0]

    def with_mmap() -> Any:
        with _mmap(subject) as mapped:
            return np.frombuffer(mapped, dtype, 1, offset)[0]

    return dict(zip((OURS, *RIVALS), (ours, with_memmap, with_mmap), strict=False))


def one_pass(subject: Subject) -> Contenders:
    """Compute the answer over everything."""
    dtype, offset, items, answer = subject.dtype, subject.offset, subject.items, subject.answer

    def ours() -> Any:
        with _ours(subject, items) as a:
            return answer(np.asarray(a))

    def with_memmap() -> Any:
        return answer(_memmap(subject, items))

    def with_mmap() -> Any:
        with _mmap(subject) as mapped:
            return answer(np.frombuffer(mapped, dtype, items, offset))

    def with_read() -> Any:
        return answer(np.fromfile(subject.path, dtype, items, offset=offset))

    return dict(zip((OURS, *RIVALS), (ours, with_memmap, with_mmap, with_read), strict=True))


def random_rows(subject: Subject, *, prefetch: bool) -> Contenders:
    """Copy some rows out, one by one, in random order."""
    dtype, offset, width = subject.dtype, subject.offset, subject.width
    step, rows = subject.row_bytes, subject.rows
    count = min(_MOST_ROWS, max(16, rows // 4), max(16, _ROWS_BYTES // step))
    picked = default_rng(7).integers(rows, size=count).tolist()
    out = np.empty((count, width), dtype)

    def ours() -> Any:
        with _ours(subject, rows, width) as a:
            if prefetch:
                a.mapping.prefetch((offset + row * step, step) for row in picked)
            for i, row in enumerate(picked):
                out[i] = a[row]
        return out.copy()

    def with_memmap() -> Any:
        array = _memmap(subject, rows, width)
        for i, row in enumerate(picked):
            out[i] = array[row]
        return out.copy()

    def with_mmap() -> Any:
        with _mmap(subject) as mapped:
            for i, row in enumerate(picked):
                out[i] = np.frombuffer(mapped, dtype, width, offset + row * step)
        return out.copy()

    def with_read() -> Any:
        with open(subject.path, "rb", buffering=0) as file:
            for i, row in enumerate(picked):
                file.seek(offset + row * step)
                file.readinto(memoryview(out[i]).cast("B"))
        return out.copy()

    return dict(zip((OURS, *RIVALS), (ours, with_memmap, with_mmap, with_read), strict=True))
