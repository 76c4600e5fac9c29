"""Transactions where the file, its folder or its filesystem is unusual."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmapkit as mk
from mmapkit._native import File
from tests.faults import disks

PAGE = 4096


def test_file_of_20_tib(mounts, tmp_path):
    disks.require("mkfs.xfs")
    path = mounts.enter_context(disks.loop("xfs", tmp_path / "xfs")) / "huge"
    size = 20 << 40
    with open(path, "wb") as file:
        file.truncate(size)
    with mk.open(path, "r+") as m:
        with m.transaction() as private:
            private[0] = 1
            private[17 << 40] = 2
            private[size - 1] = 3
        assert (m[0], m[17 << 40], m[size - 1]) == (1, 2, 3)
    with mk.open(path) as m:
        assert (m[0], m[17 << 40], m[size - 1]) == (1, 2, 3)
    assert path.stat().st_blocks * 512 < 1 << 20
    assert os.listdir(path.parent) == ["huge"]


def test_process_that_dies_with_a_file_of_20_tib(mounts, tmp_path):
    disks.require("mkfs.xfs")
    path = mounts.enter_context(disks.loop("xfs", tmp_path / "xfs")) / "huge"
    with open(path, "wb") as file:
        file.truncate(20 << 40)
    code = """
import os, sys, mmapkit as mk
m = mk.open(sys.argv[1], "r+")
with m.transaction() as private:
    private[19 << 40] = 7
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with mk.open(path, "r+") as m:
        assert m[19 << 40] == 7


UNWRITABLE = """
import os, sys
import mmapkit as mk
path = sys.argv[1]
# Everything is imported before: somebody else may not read where it lies.
with mk.open(path + ".warm", "w+", size=4096) as m, m.transaction() as private:
    private[0] = 1
os.remove(path + ".warm")
os.setgid(65534)
os.setuid(65534)
with mk.open(path, "r+") as m:
    try:
        m.transaction().begin()
    except PermissionError as error:
        assert error.filename.startswith(path), error
        print("refused:", error)
    assert m[0] == 0
    m[0] = 1  # plain stores are not concerned
"""


def test_journal_in_a_folder_that_cannot_be_written(tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # tmp_path is root's alone
        folder = Path(name)
        path = folder / "data"
        path.write_bytes(bytes(4 * PAGE))
        path.chmod(0o666)
        folder.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", UNWRITABLE, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "refused" in done.stdout
        assert os.listdir(folder) == ["data"]
        assert path.read_bytes()[0] == 1


def test_filesystem_without_locks(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.write_bytes(bytes(4 * PAGE))

    def refused(*arguments):
        raise mk.UnsupportedError(95, "the filesystem has no locks", os.fspath(path))

    class Lockless(File):
        try_lock = refused

    monkeypatch.setattr("mmapkit._native.File", Lockless)
    with mk.open(path, "r+") as m:
        with pytest.raises(mk.UnsupportedError, match="no locks"), m.transaction():
            pass
        m[0] = 1
    assert os.listdir(tmp_path) == ["data"]


def test_device(mounts, tmp_path):
    disks.require("losetup")
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    device = subprocess.run(
        ["losetup", "-f", "--show", image], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        refusal = pytest.raises(mk.UnsupportedError, match="regular file, not a device")
        with mk.open(device, "r+", length=1 << 20) as m, refusal:
            m.transaction()
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
