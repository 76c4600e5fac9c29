"""Power cuts: the filesystem stops in the middle of commits, and what it had not written is gone.

The ioctl by which xfs and ext4 are tested themselves (FS_IOC_SHUTDOWN) ends all writing at once.
The page cache is lost with the unmounting, so that what is read afterwards had reached the device.
The device's own cache is not lost: reordering there is the enumerator's.
"""

import contextlib
import fcntl
import os
import random
import struct
import subprocess
import time

import pytest

import mmapkit as mk

from ..faults import disks
from . import workload
from .processes import start
from .report import Report

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, <linux/fs.h>
_CUTS = {"journal lost": 2, "journal written": 1}  # the filesystem's own: NOLOGFLUSH, LOGFLUSH
FEW, MANY = 4, 100  # cycles with each filesystem


def _mounted(kind, directory):
    """The disk of a campaign, and its image, which is mounted again after each cut."""
    return disks.loop(kind, directory), directory.with_suffix(".image")


def _cut_power(directory, how):
    place = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(place, _SHUTDOWN, struct.pack("I", _CUTS[how]))
    finally:
        os.close(place)


def _mount_again(image, directory):
    for _ in range(100):  # the killed writer may be on its way out
        if subprocess.run(["umount", directory], capture_output=True).returncode == 0:
            break
        time.sleep(0.02)
    subprocess.run(["mount", "-o", "loop", image, directory], check=True)


def _acknowledged(output, before):
    """The last commit of each lane that is known to be durable: found before, or said since."""
    last = list(before)
    for line in output.split("\n")[:-1]:  # what follows the last end of line is half a line
        lane, n = map(int, line.split())
        last[lane] = n
    return last


def _cycle(directory, image, before, chance, report, examiner, *mistake):
    """Write, cut, look: all that was acknowledged is there, and nothing is there in part."""
    path = directory / "data"
    lanes = len(before)
    per_session = chance.choice((3, 40, 1000))
    with start("writer.py", path, lanes, per_session, *mistake, stderr=subprocess.PIPE) as writer:
        first = writer.stdout.readline()
        if not first:
            raise AssertionError(f"the writer ended by itself: {writer.communicate()[1]}")
        time.sleep(chance.random() * 0.15)
        _cut_power(directory, chance.choice(list(_CUTS)))
        time.sleep(chance.random() * 0.005)
        writer.kill()
        # Not communicate(), which passes by what readline() has read ahead.
        rest, errors = writer.stdout.read(), writer.stderr.read()
    assert "Traceback" not in errors, errors
    acked = _acknowledged(first + rest, before)
    _mount_again(image, directory)
    report.tried += 1
    with mk.open(path, "r+") as m:
        try:
            found = examiner.counts(bytes(m[:]))
        except workload.Torn:
            report.torn += 1
            raise
    for lane in range(lanes):
        if not found[lane] >= acked[lane]:
            report.lost += acked[lane] - found[lane]
        assert found[lane] in (acked[lane], acked[lane] + 1), (lane, found, acked)
    return found


def _campaign(kind, lanes, cycles, tmp_path, report, *mistake):
    chance = random.Random(f"{kind} {lanes}")
    disk, image = _mounted(kind, tmp_path / kind)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(disk)
        path = workload.make(directory / "data", lanes)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        _sync_directory(directory)
        examiner = workload.Examiner(lanes)
        found = [0] * lanes
        for _ in range(cycles):
            found = _cycle(directory, image, found, chance, report, examiner, *mistake)
        report.note = f"{sum(found):,} commits, power cut while they went on"


def _sync_directory(directory):
    place = os.open(directory, os.O_RDONLY)
    os.fsync(place)
    os.close(place)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cuts_lose_no_acknowledged_commit(kind, lanes, tmp_path, report):
    _campaign(kind, lanes, FEW // 2, tmp_path, report)


def test_power_cuts_show_a_sync_that_is_left_out(tmp_path):
    report = Report("without sync")
    with pytest.raises((AssertionError, mk.JournalError)):
        _campaign("ext4", 1, 10, tmp_path, report, "unsynced")
    assert report.tried, "the writer ended by itself"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_many_power_cuts_lose_no_acknowledged_commit(kind, lanes, tmp_path, report):
    _campaign(kind, lanes, MANY // 2, tmp_path, report)
