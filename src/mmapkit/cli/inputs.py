"""The files that commands are given: mapped, or read where they cannot be."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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
        If there is no such file, or it cannot be read; its `filename` is set.
    """
    file = _standard_input() if name == STDIN else name
    see_to_journal(file, "r")  # it may have been empty before an interrupted commit
    found = os.stat(file)
    # Of what the system makes up while it is read, such as /proc/cpuinfo, the size is 0.
    if stat.S_ISREG(found.st_mode) and found.st_size > 0:
        with open_mapping(file) as mapping:
            yield mapping
    else:
        yield _everything(file, name)


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
