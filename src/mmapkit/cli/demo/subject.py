"""What the demo runs on: a user's file, or data made for it."""

from __future__ import annotations

import codecs
import math
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import default_rng

from mmapkit.array import create_array, open_array
from mmapkit.formats import npy
from mmapkit.mapping import open as open_mapping

_CHUNK_BYTES = 4096  # a "row" of a file that has none
_LONGEST_ROW_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20
_NEWLINE = 10


class UnusableFile(ValueError):
    """The demo can do nothing with this file; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A part of a file, as one-dimensional items in the order in which they lie there."""

    path: str
    kind: str  # what it is, in words
    dtype: np.dtype[Any]
    offset: int
    items: int
    width: int  # items of a row
    is_text: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        return self.items * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * self.dtype.itemsize

    @property
    def rows(self) -> int:
        """Whole rows."""
        return self.items // self.width

    @property
    def what(self) -> str:
        """What `answer` computes."""
        return "count lines" if self.is_text else "sum"

    @property
    def answer(self) -> Callable[[npt.NDArray[Any]], Any]:
        """The one-pass computation: the sum of numbers, or the count of lines of text."""
        return _count_lines if self.is_text else np.sum


def _count_lines(text: npt.NDArray[Any]) -> int:
    return sum(
        int(np.count_nonzero(text[start : start + _BLOCK_BYTES] == _NEWLINE))
        for start in range(0, len(text), _BLOCK_BYTES)
    )


def make(directory: str, limit: int) -> Subject:
    """Make a .npy file of seeded random numbers, `limit` bytes of them."""
    path = os.path.join(directory, "demo.npy")
    random = default_rng(2026)
    width = _CHUNK_BYTES // 8
    with create_array(path, (limit // _CHUNK_BYTES, width)) as a:
        step = _BLOCK_BYTES // _CHUNK_BYTES
        for start in range(0, len(a), step):
            random.random(out=a[start : start + step])
        a.flush()  # only clean pages can be evicted
    return find(path, limit)


def find(path: str, limit: int) -> Subject:
    """Look at a file, and take at most `limit` bytes of it.

    Raises
    ------
    OSError
        If it cannot be opened.
    UnusableFile
        If there is nothing in it to work on.
    """
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        raise UnusableFile(f"{path!r} is a directory; give a file")
    if not stat.S_ISREG(found.st_mode):
        raise UnusableFile(f"{path!r} is not a regular file")
    if found.st_size == 0:
        raise UnusableFile(f"{path!r} is empty")
    with open_mapping(path) as mapping:
        size = len(mapping)
        head = mapping.read(0, min(size, 1 << 16))
    if head.startswith(npy.MAGIC):
        return _of_npy(path, limit)
    if _is_text(head, complete=len(head) == size):
        return _of_bytes(path, size, limit, is_text=True)
    return _of_bytes(path, size, limit, is_text=False)


def _of_npy(path: str, limit: int) -> Subject:
    try:
        with open_array(path) as a:
            dtype, shape, order, offset, count = a.dtype, a.shape, a.order, a.offset, a.size
    except ValueError as error:
        raise UnusableFile(str(error)) from None
    if count == 0:
        raise UnusableFile(f"{path!r} holds an array of shape {shape}, which has no elements")
    kind = f".npy, {dtype} {shape}"
    if dtype.kind not in "biufc":
        kind, dtype, count = f"{kind}, taken as bytes", np.dtype("u1"), count * dtype.itemsize
        shape = (count,)
    items = min(count, max(1, limit // dtype.itemsize))
    width = math.prod(shape[1:]) if order == "C" else 0
    if len(shape) < 2 or not 0 < width * dtype.itemsize <= _LONGEST_ROW_BYTES or width > items:
        width = _chunk(items, dtype)
    return Subject(path, kind, dtype, offset, items, width)


def _of_bytes(path: str, size: int, limit: int, *, is_text: bool) -> Subject:
    words = not is_text and size >= 8
    dtype = np.dtype("u8" if words else "u1")
    kind = "text" if is_text else "raw, taken as 64-bit words" if words else "raw"
    items = min(size, limit) // dtype.itemsize
    return Subject(path, kind, dtype, 0, items, _chunk(items, dtype), is_text)


def _chunk(items: int, dtype: np.dtype[Any]) -> int:
    return min(items, max(1, _CHUNK_BYTES // dtype.itemsize))


def _is_text(head: bytes, *, complete: bool) -> bool:
    if b"\0" in head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=complete)
    except UnicodeDecodeError:
        return False
    return True
