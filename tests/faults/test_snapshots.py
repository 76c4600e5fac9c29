"""Snapshots onto full and other disks, and while another process commits without a pause."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mmapkit as mk
from mmapkit._native import File
from mmapkit.durable import snapshot as snapshots

from . import disks

PAGE = 4096
PAGES = 256


def test_a_full_disk_leaves_nothing(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"x" * (10 << 20))
    with disks.tmpfs(tmp_path / "small", 2 << 20) as small, mk.open(path) as m:
        (small / "old").write_bytes(b"old")
        for name, overwrite in (("copy", False), ("old", True)):
            with pytest.raises(OSError, match="space") as caught:
                m.snapshot(small / name, overwrite=overwrite)
            assert caught.value.errno == errno.ENOSPC
            assert caught.value.filename == os.fspath(small / name)
        assert os.listdir(small) == ["old"]
        assert (small / "old").read_bytes() == b"old"


def test_onto_another_filesystem(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"x" * PAGE)
    with disks.tmpfs(tmp_path / "other", 2 << 20) as other, mk.open(path) as m:
        m.snapshot(other / "copy")
        assert (other / "copy").read_bytes() == path.read_bytes()


WRITER = """
import sys
import mmapkit as mk
m = mk.open(sys.argv[1], "r+")
number = 0
while True:
    number += 1
    with m.transaction(timeout=60) as w:
        words = w.array("<i8")
        words[:] = number
        del words
    if number == 3:
        print("ready", flush=True)
"""


def snapshots_are_consistent(folder, count, *, must_clone=False):
    path = folder / "data.bin"
    path.write_bytes(bytes(PAGES * PAGE))
    environment = {**os.environ, "PYTHONPATH": str(Path(mk.__file__).parents[1])}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, os.fspath(path)], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert writer.stdout.readline().strip() == b"ready"
        states = []
        with mk.open(path) as m:
            for _ in range(count):
                m.snapshot(folder / "copy", overwrite=True)
                words = np.fromfile(folder / "copy", "<i8")
                assert len(words) == PAGES * PAGE // 8
                assert (words == words[0]).all(), np.unique(words)
                states.append(int(words[0]))
            if must_clone:
                with File(path, "r") as source, File(folder / "other", "x+") as other:
                    assert other.clone(source)
        assert states == sorted(states)
        assert states[-1] > states[0] > 0
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


def test_copies_during_commits_are_consistent(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_cloned", lambda *_: False)
    snapshots_are_consistent(tmp_path, 25)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_clones_during_commits_are_consistent(tmp_path, kind):
    with disks.loop(kind, tmp_path / "disk") as folder:
        snapshots_are_consistent(folder, 25, must_clone=True)


@pytest.mark.slow
def test_many_copies_during_commits_are_consistent(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_cloned", lambda *_: False)
    snapshots_are_consistent(tmp_path, 300)
