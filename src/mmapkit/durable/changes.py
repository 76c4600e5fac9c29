"""Which pages of a private view were changed: the ways to find out, and the one that is taken."""

from __future__ import annotations

import os

from mmapkit._native import Region, change_methods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["CHOICE_VARIABLE", "METHODS", "changed_runs", "method", "total_bytes"]

# The best first. Each is a demand if it stands in the environment: see method().
METHODS: Final = ("pagemap_scan", "pagemap", "compare")
CHOICE_VARIABLE: Final = "MMAPKIT_CHANGES"

_chosen: str | None = None


def method() -> str:
    """Tell how changed pages are found in this process.

    Returns
    -------
    str
        ``"pagemap_scan"``: the kernel lists them (Linux 6.7 and later). ``"pagemap"``: read from
        ``/proc/self/pagemap`` (Linux). ``"compare"``: every page is compared with the file, which
        takes as long as reading both (macOS, Windows, and where /proc is not mounted).

    Raises
    ------
    ValueError
        If the environment variable ``MMAPKIT_CHANGES`` demands one that there is not.
    """
    global _chosen
    if _chosen is None:
        _chosen = _choose(os.environ.get(CHOICE_VARIABLE), change_methods())
    return _chosen


def _choose(demanded: str | None, offered: tuple[str, ...]) -> str:
    if not demanded:
        return next(name for name in METHODS if name in offered)
    if demanded not in METHODS:
        known = ", ".join(METHODS)
        raise ValueError(f"{CHOICE_VARIABLE}={demanded}: must be one of {known}")
    if demanded not in offered:
        raise ValueError(f"{CHOICE_VARIABLE}={demanded}: this system offers {', '.join(offered)}")
    return demanded


def changed_runs(view: Region, base: Region) -> bytes:
    """Find the pages of a private view that differ, or may differ, from the file below it.

    Parameters
    ----------
    view : Region
        The private, copy-on-write view.
    base : Region
        A shared mapping of the same bytes.

    Returns
    -------
    bytes
        Pairs of int64, native byte order: offset in the view and length, in bytes.
    """
    return view._changes(method(), base)


def total_bytes(runs: bytes) -> int:
    """Sum the lengths of runs."""
    return sum(memoryview(runs).cast("q")[1::2])
