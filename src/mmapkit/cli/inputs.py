"""The files that commands are given: mapped, or read where they cannot be."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmapkit.errors import JournalError
from mmapkit.mapping import Mapping, see_to_journal
from mmapkit.mapping import open as open_mapping

__all__ = ["STDIN", "opened"]

STDIN = "-"


@contextmanager
def opened(name: str) -> Iterator[Mapping | bytes]:
    """Open a file for the block: a Mapping of it, or all bytes that come out of what has no size.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read; its `filename` is set. EIO if the journal
        beside it is damaged or of another file.
    """
    file = _standard_input() if name == STDIN else name
    try:
        see_to_journal(file, "r")  # it may have been empty before an interrupted commit
        found = os.stat(file)
        # Of what the system makes up while it is read, such as /proc/cpuinfo, the size is 0.
        is_mapped = stat.S_ISREG(found.st_mode) and found.st_size > 0
        mapping = open_mapping(file) if is_mapped else None
    except JournalError as error:
        raise OSError(errno.EIO, str(error), name) from None
    if mapping is None:
        yield _everything(file, name)
    else:
        with mapping:
            yield mapping


def _standard_input() -> int:
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed", STDIN)
    return sys.stdin.fileno()


def _everything(file: str | int, name: str) -> bytes:
    try:
        with open(file, "rb", closefd=file is name) as source:
            return source.read()
    except OSError as error:
        error.filename = name
        raise
    except MemoryError:
        raise OSError(errno.ENOMEM, "there is not enough memory to read all of it", name) from None
