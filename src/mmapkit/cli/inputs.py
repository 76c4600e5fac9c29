"""The files that commands are given: mapped, or read where there is nothing to map."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmapkit.mapping import Mapping
from mmapkit.mapping import open as open_mapping

__all__ = ["STDIN", "opened"]

STDIN = "-"


@contextmanager
def opened(name: str) -> Iterator[Mapping | bytes]:
    """Open a file for the block: a Mapping of it, or all bytes that come out of a pipe.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read; its `filename` is set.
    """
    file: str | int = sys.stdin.fileno() if name == STDIN else name
    if stat.S_ISREG(os.stat(file).st_mode):
        with open_mapping(file) as mapping:
            yield mapping
    else:
        yield _everything(file, name)


def _everything(file: str | int, name: str) -> bytes:
    try:
        with open(file, "rb", closefd=file is name) as source:
            return source.read()
    except OSError as error:
        error.filename = name
        raise
