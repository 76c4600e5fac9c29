"""Truncates a copy of the file under a running numpy sum: with mmapkit here, with numpy.memmap in a
process of its own, which dies of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Final

from mmapkit.cli.demo.subject import Subject
from mmapkit.errors import MappingFault
from mmapkit.faults import guard_enabled
from mmapkit.mapping import Mapping, page_size
from mmapkit.mapping import open as open_mapping

MOST_BYTES: Final = 64 << 20
_PATIENCE_S: Final = 10.0
_DELAY_S: Final = 0.02

# What the other process does: path, dtype, offset, items, bytes to cut to.
_RIVAL: Final = f"""
import os, resource, sys, threading, time
import numpy as np
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
path, dtype, offset, items, cut = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
array = np.memmap(path, dtype, "r", offset, (items,))
threading.Timer({_DELAY_S}, os.truncate, (path, cut)).start()
deadline = time.monotonic() + {_PATIENCE_S}
while time.monotonic() < deadline:
    array.sum()
"""


def reason_to_skip() -> str | None:
    """Why truncation cannot be shown here; None if it can."""
    if sys.platform == "win32":
        return "Windows does not let a mapped file be truncated"
    if not guard_enabled():
        return "the fault guard is switched off (MMAPKIT_GUARD)"
    return None


def copy_of(subject: Subject, directory: str) -> Subject:
    """Copy the beginning of the file, to be truncated."""
    path = os.path.join(directory, "copy")
    size = min(subject.offset + subject.nbytes, max(MOST_BYTES, subject.offset + 8))
    with open_mapping(subject.path, length=size) as source, open(path, "wb") as target:
        target.write(source)
    items = max(1, (size - subject.offset) // subject.dtype.itemsize)
    return Subject(path, subject.kind, subject.dtype, subject.offset, items, 1)


def _cut_of(copy: Subject) -> int:
    """Where to cut: in the middle, at a page, for a page that is cut in two reads as zeros."""
    return (copy.offset + copy.nbytes) // 2 // page_size() * page_size()


def catch(copy: Subject) -> MappingFault | None:
    """Sum until the fault arrives, and return it; None if the sum never noticed."""
    cutting = threading.Timer(_DELAY_S, os.truncate, (copy.path, _cut_of(copy)))
    mapping = open_mapping(copy.path)
    try:
        cutting.start()
        _sum(mapping, copy)
    except MappingFault as fault:
        if fault.__context__ is not None:  # Ctrl-C came at the same time
            raise
        return fault.with_traceback(None)
    finally:
        cutting.cancel()
        if cutting.ident is not None:
            cutting.join()
        mapping.close(defer=True)
    return None


def _sum(mapping: Mapping, copy: Subject) -> None:
    array = mapping.array(copy.dtype, copy.items, copy.offset)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with mapping.guard():  # the main thread needs none, but this may be another one
            array.sum()


def with_memmap(copy: Subject) -> str:
    """Do the same with numpy.memmap in another process; return how that ended, in words."""
    numbers = map(str, (copy.offset, copy.items, _cut_of(copy)))
    command = [sys.executable, "-c", _RIVAL, copy.path, copy.dtype.str, *numbers]
    status = subprocess.run(command, capture_output=True, check=False, timeout=60).returncode
    if status < 0:
        return f"{signal.Signals(-status).name}, exit status {status}"
    return f"exit status {status}"
