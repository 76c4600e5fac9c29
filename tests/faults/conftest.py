"""Fixtures: filesystems to fail on. Everything is unmounted afterwards, also after a failure."""

import contextlib
import sys

import pytest

from . import disks

if sys.platform == "win32":
    # A mapped file cannot be truncated there (error 1224), and there are no signals to inject.
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def file(tmp_path):
    """Return a path for the victim's file, on the filesystem of the temporary directory."""
    return tmp_path / "victim.bin"


@pytest.fixture
def linux():
    """Skip elsewhere."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc, or relies on Linux otherwise")


@pytest.fixture
def mounts(tmp_path):  # unmounted before the folder goes
    """Return an ExitStack for what a test mounts."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def tmpfs(mounts, tmp_path):
    """Mount a tmpfs of 8 MiB."""
    return mounts.enter_context(disks.tmpfs(tmp_path / "tmpfs"))


def _kinds(*names):
    slow = ("xfs", "btrfs")
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


@pytest.fixture(params=_kinds("tmpfs", "ext4", "xfs", "btrfs"))
def small_disk(request, mounts, tmp_path):
    """Mount a small filesystem of each kind."""
    place = tmp_path / request.param
    kind = request.param
    return mounts.enter_context(disks.tmpfs(place) if kind == "tmpfs" else disks.loop(kind, place))


@pytest.fixture(scope="session")
def faulty_program(tmp_path_factory):
    """Compile the faulty filesystem, once."""
    return disks.compile_faulty(tmp_path_factory.mktemp("fuse"))


@pytest.fixture
def faulty(faulty_program, mounts, tmp_path):
    """Return a function that mounts the faulty filesystem with what is to fail."""

    def mount(**failures):
        return mounts.enter_context(disks.faulty(faulty_program, tmp_path / "faulty", **failures))

    return mount
