"""Memory cgroups made for one test, of version 1 or 2."""

import contextlib
import os
import sys
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


def _parent():
    """Return where groups can be made, and the name of the limit; None where they cannot."""
    if (ROOT / "memory" / "memory.limit_in_bytes").exists():
        return ROOT / "memory", "memory.limit_in_bytes"
    controllers = ROOT / "cgroup.subtree_control"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return ROOT, "memory.max"
    return None


@contextlib.contextmanager
def limited(limit_bytes):
    """Make a group; gives the file that a process writes 0 to, to enter it.

    Skips where that is not possible; in CI, on Linux and as root, that is a failure.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("cgroups are Linux's")
    if os.geteuid() != 0:
        pytest.skip("needs root to make cgroups")
    found = _parent()
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("CI has to bring a memory cgroup that groups can be made in")
    if found is None:
        pytest.skip("no memory cgroup that groups can be made in")
    parent, limit = found
    group = parent / f"mmapkit-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error}")
    try:
        (group / limit).write_text(str(limit_bytes))
        yield group / "cgroup.procs"
    finally:
        group.rmdir()
