"""Filesystems made for one test: small ones that fill up, and one that fails to order."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MIB = 1 << 20
# The smallest that each mkfs makes without complaint.
IMAGE_BYTES = {"ext4": 24 * MIB, "xfs": 320 * MIB, "btrfs": 128 * MIB}
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-m", "0"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
}


def require(*tools):
    """Skip where filesystems cannot be mounted; in CI, on Linux and as root, that is a failure."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mounts filesystems the way Linux does")
    if os.geteuid() != 0:
        pytest.skip("needs root to mount filesystems")
    missing = [tool for tool in tools if not _have(tool)]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI has to bring {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def _have(tool):
    return os.path.exists(tool) if tool.startswith("/") else shutil.which(tool) is not None


def _run(*command):
    done = subprocess.run(
        [os.fspath(word) for word in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@contextlib.contextmanager
def _unmounted_afterwards(place):
    try:
        yield
    finally:
        # A victim that was killed a moment ago may still be on its way out.
        for _ in range(50):
            if subprocess.run(["umount", place], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            _run("umount", "-l", place)


@contextlib.contextmanager
def tmpfs(directory, size=8 * MIB):
    """Mount a tmpfs of a limited size."""
    require("mount", "umount")
    directory.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "mmapkit-test", directory)
    with _unmounted_afterwards(directory):
        yield directory


@contextlib.contextmanager
def loop(kind, directory):
    """Mount a new ext4, xfs or btrfs over a file; the loop device goes with the mount."""
    require("mount", "umount", "/dev/loop-control", MAKE[kind][0])
    directory.mkdir()
    image = directory.with_suffix(".image")
    with open(image, "wb") as file:
        file.truncate(IMAGE_BYTES[kind])
    try:
        _run(*MAKE[kind], image)
        _run("mount", "-o", "loop", image, directory)
        with _unmounted_afterwards(directory):
            yield directory
    finally:
        image.unlink()


def compile_faulty(directory):
    """Compile faulty_fuse.c."""
    require("cc", "pkg-config", "/dev/fuse", "umount")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=False
    )
    if flags.returncode != 0:
        require("libfuse3-dev (pkg-config knows no fuse3)")
    program = directory / "faulty_fuse"
    _run("cc", "-O1", "-Wall", "-o", program, HERE / "faulty_fuse.c", *flags.stdout.split())
    return program


class Faulty:
    """A mounted faulty_fuse: its file, and the process that SIGUSR1 stops failing."""

    def __init__(self, directory, process):
        self.path = directory / "data"
        self.process_id = process.pid


@contextlib.contextmanager
def faulty(program, directory, *, size, read_eio=(0, 0), write_eio=False, direct_io=False):
    """Mount a filesystem that holds one file, whose byte i is `pattern(i)`, and fails to order."""
    directory.mkdir()
    process = subprocess.Popen(
        [
            program,
            directory,
            str(size),
            *map(str, read_eio),
            str(int(write_eio)),
            str(int(direct_io)),
        ]
    )
    try:
        deadline = time.monotonic() + 60
        while not os.path.ismount(directory):
            assert process.poll() is None, "faulty_fuse ended at once"
            assert time.monotonic() < deadline, "faulty_fuse did not mount"
            time.sleep(0.005)
        with _unmounted_afterwards(directory):
            yield Faulty(directory, process)
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
