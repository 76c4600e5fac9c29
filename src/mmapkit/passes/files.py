"""The file of a pass: opening it, and finding the array in it without leaving traces."""

from __future__ import annotations

import contextlib
import operator
import os
import stat
import sys

from mmapkit.mapping import see_to_journal
from mmapkit.passes.cache import FOLIO_BYTES, Traces

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    import io
    from collections.abc import Sequence
    from typing import Any

    import numpy.typing as npt

    from mmapkit.formats.layout import Layout

__all__ = ["advise_file", "forget_head", "layout_in", "open_file", "size_of"]


def open_file(file: Any) -> io.FileIO:
    """Open a file for one pass, or take a descriptor over; its position is nobody's concern."""
    descriptor: Any = file.fileno() if hasattr(file, "fileno") else file
    if not hasattr(descriptor, "__index__"):
        see_to_journal(file, "r")
        return open(file, "rb", buffering=0)
    number = os.dup(operator.index(descriptor))
    name = getattr(file, "name", None)
    if isinstance(name, (str, bytes)):  # for messages
        return open(name, "rb", buffering=0, opener=lambda *_: number)
    return open(number, "rb", buffering=0)


def size_of(file: io.FileIO) -> int:
    """Bytes of a file or a disk; ValueError for what has no size, such as a pipe."""
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    if not stat.S_ISBLK(found.st_mode):
        raise ValueError(f"{file.name!r} has no size: passes are over files and disks")
    before = file.tell()
    try:
        return file.seek(0, os.SEEK_END)
    finally:
        file.seek(before)


def advise_file(descriptor: int, advice: str, first: int = 0, last: int = 0) -> None:
    """Give a hint on a range of a file (``posix_fadvise``), to the end by default; nothing happens
    where there is no such call, or on filesystems that know no page cache."""
    call = getattr(os, "posix_fadvise", None)
    if call is not None:
        with contextlib.suppress(OSError):
            call(descriptor, first, last - first, getattr(os, f"POSIX_FADV_{advice}"))


def _peek(file: io.FileIO, count: int, offset: int = 0) -> bytes:
    """Bytes of the file; not read ahead, which would look like somebody else's doing."""
    if sys.platform == "win32":
        before = file.tell()
        try:
            file.seek(offset)
            return file.read(count) or b""
        finally:
            file.seek(before)
    advise_file(file.fileno(), "RANDOM")
    try:
        return os.pread(file.fileno(), count, offset)
    finally:
        advise_file(file.fileno(), "NORMAL")


def forget_head(file: io.FileIO, seen: Traces) -> None:
    """Have the page cache drop what reading the header brought in."""
    for first, last in seen.leave(FOLIO_BYTES):
        advise_file(file.fileno(), "DONTNEED", first, last)


def layout_in(
    file: io.FileIO,
    size: int,
    dtype: npt.DTypeLike | None,
    row_shape: int | Sequence[int] | None,
    offset: int | None,
) -> Layout | None:
    """Where an array lies in the file; None for bytes."""
    path = str(file.name)
    head = _peek(file, 6) if offset is None else b""
    is_npy = head == b"\x93NUMPY"
    if not is_npy and dtype is None:
        if offset is None and path.lower().endswith(".npy"):
            from mmapkit.formats import registry

            registry.require_other_name(path, head)
        if row_shape is not None:
            raise ValueError("row_shape= goes with dtype=")
        return None
    import numpy as np

    from mmapkit.formats import Source, npy, raw
    from mmapkit.views import normal_shape

    if is_npy:
        found = npy.read_layout(Source(lambda count, start: _peek(file, count, start), size, path))
        assert found is not None
        if dtype is not None and np.dtype(dtype) != found.dtype:
            raise ValueError(f"{path!r} holds {found.dtype}, not {np.dtype(dtype)}")
        if row_shape is not None and normal_shape(row_shape) != found.shape[1:]:
            raise ValueError(f"{path!r} has rows of shape {found.shape[1:]}, not {row_shape}")
        return found
    assert dtype is not None
    return raw.rows_of(size, path, dtype, row_shape or (), offset or 0)
