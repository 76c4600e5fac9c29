"""How many threads can run at once."""

from __future__ import annotations

import os

__all__ = ["count_cores"]


def count_cores() -> int:
    """Cores that this process may use: not all of the machine's, where it is confined to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
