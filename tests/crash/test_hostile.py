"""Journals that no crash makes: made up, damaged, of other files. The data file is left alone."""

import os
import struct

import pytest

from mmapkit._journal import crc32c, sector_checksums
from mmapkit.durable import frames, recovery, slots
from mmapkit.durable.runs import runs_of, split_runs, sums_of
from mmapkit.errors import JournalError

from . import workloads
from .campaign import content_of
from .enumerator import Disk, MemoryFiles, State
from .workloads import JOURNAL, PAGE, PATH, changed, original

SIZE = 7 * PAGE + 300
SECTOR = 512


def crashed(*changes, size=SIZE, applied=0, then=None):
    """A medium whose journal holds commits, of which the first `applied` are in the data file.

    Returns the disk, contents before and after each commit, and the frames' positions.
    """
    disk = Disk(State({PATH: 1}, {1: original(size)}))
    writer = workloads.Writer(disk)
    contents, places = [writer.now], []
    for number, change in enumerate(changes):
        contents.append(change(contents[-1]))
        places.append(writer.journal.position)
        writer.append(contents[-1])
        if number < applied:
            writer.finish(contents[-1])
        else:
            writer.journal.sync()
            writer.now = contents[-1]
            writer.journal._applied_sequence += 1  # as if it had been applied
    places.append(writer.journal.position)
    return disk, contents, places


def page(*numbers, value=1):
    return lambda content: changed(content, *numbers, value=value)


def journal_of(disk):
    return disk.inodes[disk.names[JOURNAL]]


def recover(disk, **how):
    return recovery._recover_on_demand(
        MemoryFiles(disk), PATH, how.get("discard", False), how.get("force", False)
    )


def refused(disk, match):
    """Recovery is refused, and has changed nothing; return what it said."""
    before = {inode: bytes(data) for inode, data in disk.inodes.items()}
    disk.log.clear()
    with pytest.raises(JournalError, match=match) as caught:
        recover(disk)
    assert disk.log == []
    assert {inode: bytes(data) for inode, data in disk.inodes.items()} == before
    report = recovery.verify(PATH, MemoryFiles(disk))
    assert report.state == "damaged"
    with pytest.raises(JournalError):
        recovery.before_open(PATH, "r+", MemoryFiles(disk))
    return str(caught.value)


def reframe(disk, place, **fields):
    """Change fields of the frame at a place, and make its checksum right again."""
    names = [
        "crc",
        "previous",
        "magic",
        "journal",
        "generation",
        "sequence",
        "size_after",
        "applied",
        "index",
        "flags",
        "runs",
        "length",
    ]
    journal = journal_of(disk)
    values = dict(zip(names, frames._FRAME.unpack_from(journal, place), strict=True))
    values |= fields
    length = min(values["length"], len(journal) - place)
    frames._FRAME.pack_into(journal, place, *values.values())
    return seal(disk, place, length)


def seal(disk, place, length):
    journal = journal_of(disk)
    crc = crc32c(bytes(journal[place + 4 : place + length]))
    struct.pack_into("<I", journal, place, crc)
    return crc


# --- recovery without trouble ---------------------------------------------------------------------


def test_commits_are_completed():
    disk, contents, _ = crashed(page(1, 2), page(2, 6, value=2))
    assert recover(disk) == 2
    assert content_of(disk) == contents[-1]
    assert JOURNAL not in disk.names
    assert recover(disk) == 0


def test_discard_leaves_the_file_as_it_is():
    disk, contents, _ = crashed(page(1), page(2), applied=1)
    assert recover(disk, discard=True) == 0
    assert content_of(disk) == contents[1]
    assert JOURNAL not in disk.names


def test_discard_and_force_exclude_each_other():
    with pytest.raises(ValueError, match="choose one"):
        recovery.recover("anything", discard=True, force=True)


def test_newest_slot_counts():
    disk = Disk(State({PATH: 1}, {1: original(SIZE)}))
    writer = workloads.Writer(disk)
    writer.commit(changed(writer.now, 1))
    writer.journal.checkpoint(writer.data)
    content = changed(writer.now, 2)
    writer.append(content)
    assert recover(disk) == 1
    assert content_of(disk) == content


def test_frames_of_an_older_generation_do_not_count():
    """Where a checkpoint left them, also if they had been taken for the next one's."""
    disk, contents, places = crashed(page(1), page(2, value=3))
    journal = journal_of(disk)
    slot = slots.read_slots(MemoryFiles(disk).open(JOURNAL, "r"))
    slot.generation += 1
    journal[: slots.SLOT_BYTES] = slots.pack_slot(slot)
    reframe(disk, places[0], previous=slot.crc)
    assert recover(disk) == 0
    assert content_of(disk) == contents[0]


def test_frames_that_do_not_follow_do_not_count():
    disk, contents, places = crashed(page(1), page(2), page(3))
    for place in places[1:3]:
        reframe(disk, place, previous=7, applied=0)
    assert recover(disk) == 1
    assert content_of(disk) == contents[1]


def test_frames_of_another_journal_do_not_count():
    disk, contents, places = crashed(page(1))
    reframe(disk, places[0], journal=b"another!")
    assert recover(disk) == 0
    assert content_of(disk) == contents[0]


def test_commit_without_its_last_frame_does_not_count():
    with workloads.small_frames():
        disk, contents, places = crashed(page(1), page(0, 1, 2, 3, 5))
        journal = journal_of(disk)
        assert journal[places[1] + 60] == 0  # the first frame is not the last one
        last = bytes(journal).rindex(frames.FRAME_MAGIC) - 8
        journal[last : last + 4] = b"torn"
        assert recover(disk) == 1
    assert content_of(disk) == contents[1]


def test_torn_tail_ends_the_journal():
    disk, contents, places = crashed(page(1), page(2))
    journal_of(disk)[places[2] - 600] ^= 1
    assert recover(disk) == 1
    assert content_of(disk) == contents[1]


# --- damage ---------------------------------------------------------------------------------------


def test_damage_before_a_later_commit_is_not_a_torn_tail():
    disk, _, places = crashed(page(1), page(2), page(3))
    journal_of(disk)[places[1] + 300] ^= 1
    text = refused(disk, "is damaged at byte")
    assert "discard=True" in text


def test_damage_before_a_marker_is_not_a_torn_tail():
    disk, _, places = crashed(page(1), page(2), applied=2)
    journal_of(disk)[places[1] + 300] ^= 1
    refused(disk, "is damaged at byte")


def test_marker_whose_checksum_is_wrong_proves_nothing():
    disk, contents, places = crashed(page(1), page(2), applied=2)
    journal = journal_of(disk)
    journal[places[1] + 300] ^= 1
    journal[places[2] + 60] ^= 1
    disk.inodes[1][:] = contents[0]
    assert recover(disk) == 1
    assert content_of(disk) == contents[1]


def test_lost_newest_slot_is_noticed():
    disk = Disk(State({PATH: 1}, {1: original(SIZE)}))
    writer = workloads.Writer(disk)
    writer.commit(changed(writer.now, 1))
    writer.journal.checkpoint(writer.data)
    writer.append(changed(writer.now, 2))
    journal_of(disk)[slots.SLOT_BYTES + 100] ^= 1
    refused(disk, "is damaged at byte")


@pytest.mark.parametrize("content", [b"", b"x", bytes(100_000), b"mmapkitS" * 2000])
def test_what_is_no_journal_is_refused(content):
    disk, _, _ = crashed(page(1))
    journal_of(disk)[:] = content
    refused(disk, "is not a journal of mmapkit")


def test_slots_of_two_journals_are_refused():
    disk, _, _ = crashed(page(1))
    slot = slots.read_slots(MemoryFiles(disk).open(JOURNAL, "r"))
    slot.journal, slot.generation, slot.place = b"another!", 9, 1
    journal_of(disk)[slots.SLOT_BYTES : slots.FRAMES_AT] = slots.pack_slot(slot)
    refused(disk, "belong to two journals")


def reslot(disk, **fields):
    """Change the slot, and chain the first frame to it again."""
    slot = slots.read_slots(MemoryFiles(disk).open(JOURNAL, "r"))
    for name, value in fields.items():
        setattr(slot, name, value)
    journal_of(disk)[: slots.SLOT_BYTES] = slots.pack_slot(slot)
    reframe(disk, slots.FRAMES_AT, previous=slot.crc)


def reversion(disk, version):
    journal = journal_of(disk)
    struct.pack_into("<I", journal, 4, version)
    crc = crc32c(bytes(journal[4 : slots.SLOT_BYTES]))
    struct.pack_into("<I", journal, 0, crc)
    reframe(disk, slots.FRAMES_AT, previous=crc)


def test_version_of_the_future_is_refused():
    disk, _, _ = crashed(page(1))
    reversion(disk, 2)
    refused(disk, "version 2")


@pytest.mark.parametrize("fields", [{"generation": 0}, {"size": 1 << 63 | 1}])
def test_slot_that_makes_no_sense_is_refused(fields):
    disk, _, _ = crashed(page(1))
    reslot(disk, **fields)
    refused(disk, "slot at byte 0 of the journal makes no sense")


def test_slot_with_too_many_witnesses_is_refused():
    disk, _, _ = crashed(page(1))
    journal = journal_of(disk)
    struct.pack_into("<I", journal, 64, 65)
    crc = crc32c(bytes(journal[4 : slots.SLOT_BYTES]))
    struct.pack_into("<I", journal, 0, crc)
    reframe(disk, slots.FRAMES_AT, previous=crc)
    refused(disk, "makes no sense")


@pytest.mark.parametrize(
    "fields",
    [
        {"sequence": 2},
        {"sequence": 0},
        {"sequence": 1 << 63},
        {"index": 1},
        {"size_after": (1 << 63) + 1},
        {"applied": 1},
        {"applied": 1 << 63},
        {"flags": 3},
        {"runs": 0},
        {"runs": 2},
        {"runs": 5000},
        {"runs": 0xFFFF_FFFF},
        {"size_after": 100},
    ],
    ids=str,
)
def test_frame_that_makes_no_sense_is_refused(fields):
    disk, _, places = crashed(page(1))
    reframe(disk, places[0], **fields)
    refused(disk, "the frame at byte 8192 of the journal makes no sense")


@pytest.mark.parametrize("length", [0, 71, 1 << 20, 0xFFFF_FFFF])
def test_length_of_a_frame_is_not_believed(length):
    disk, contents, places = crashed(page(1))
    reframe(disk, places[0], length=length)
    assert recover(disk) == 0
    assert content_of(disk) == contents[0]


def test_frame_with_more_runs_than_there_may_be_is_refused():
    disk, _, _ = crashed(page(1, 5))
    before = frames.MOST_RUNS
    frames.MOST_RUNS = 1
    try:
        refused(disk, "makes no sense: 2 runs")
    finally:
        frames.MOST_RUNS = before


def rerun(disk, place, *numbers):
    """Write other numbers into the run table of a frame."""
    journal = journal_of(disk)
    struct.pack_into(f"<{len(numbers)}Q", journal, place + frames.HEADER_BYTES, *numbers)
    reframe(disk, place)


@pytest.mark.parametrize(
    "runs",
    [
        (SIZE, PAGE, 5 * PAGE, PAGE),  # past the end
        (1 << 63, PAGE, 5 * PAGE, PAGE),
        ((1 << 64) - 512, PAGE, 5 * PAGE, PAGE),
        (5 * PAGE, PAGE, PAGE, PAGE),  # not ascending
        (PAGE, PAGE, PAGE + 512, PAGE),  # overlapping
        (PAGE, 0, 5 * PAGE, 2 * PAGE),  # empty
        (PAGE, PAGE + 512, 5 * PAGE, PAGE),  # more bytes than there are
        (PAGE, PAGE - 512, 5 * PAGE, PAGE),  # fewer
        (PAGE, PAGE | 1 << 33, 5 * PAGE, PAGE),  # a flag that nobody knows
        (PAGE, PAGE | 1 << 32, 5 * PAGE, PAGE),  # new, where the file had bytes
        (PAGE + 1, PAGE, 5 * PAGE, PAGE),  # across sectors, and not at the start of one
    ],
    ids=str,
)
def test_runs_that_cannot_be_are_refused(runs):
    disk, _, places = crashed(page(1, 5))
    rerun(disk, places[0], *runs)
    refused(disk, "the frame at byte 8192 of the journal makes no sense")


def test_run_past_the_old_end_must_be_new():
    disk, _, places = crashed(lambda content: content + bytes(range(200)))
    numbers = runs_of(bytes(journal_of(disk)[places[0] + 72 :][:32]))
    assert numbers[2] == SIZE
    assert numbers[3] >> 32 == 1
    rerun(disk, places[0], *numbers[:3], numbers[3] & 0xFFFF_FFFF)
    refused(disk, "makes no sense")


# --- the data file --------------------------------------------------------------------------------


def test_journal_of_another_file_is_refused():
    disk, contents, _ = crashed(page(1))
    inode = max(disk.inodes) + 1
    disk.inodes[inode] = bytearray(original(SIZE))
    disk.names[PATH] = inode
    text = refused(disk, "belongs to another file")
    assert "discard=True" in text
    assert "force=True" in text
    assert recover(disk, force=True) == 1
    assert content_of(disk) == contents[1]


@pytest.mark.parametrize("size", [0, PAGE, SIZE - 1, SIZE + 1, 20 * PAGE])
def test_file_of_another_size_is_refused(size):
    disk, _, _ = crashed(page(1))
    data = disk.inodes[1]
    data[:] = (bytes(data) + bytes(20 * PAGE))[:size]
    refused(disk, f"has {size} bytes")


def test_backup_from_before_the_checkpoint_is_refused():
    """Copied over the same inode; its sectors are well where the journal's commits are."""
    disk = Disk(State({PATH: 1}, {1: original(300 * PAGE)}))
    writer = workloads.Writer(disk)
    backup = writer.now
    writer.commit(changed(writer.now, 123))
    writer.journal.checkpoint(writer.data)
    content = changed(writer.now, 7)
    writer.append(content)
    writer.journal.sync()
    disk.inodes[1][:] = backup
    refused(disk, "was restored from a backup")
    assert recover(disk, force=True) == 1
    assert content_of(disk) == changed(backup, 7)


def test_backup_between_two_commits_is_completed():
    disk, contents, _ = crashed(page(1), page(2), page(3), applied=2)
    disk.inodes[1][:] = contents[1]
    assert recover(disk) == 3
    assert content_of(disk) == contents[3]


@pytest.mark.parametrize("applied", [0, 1, 2])
@pytest.mark.parametrize("at", [PAGE, PAGE + 511, PAGE + 512, 2 * PAGE - 1, SIZE - 1])
def test_sector_that_no_commit_left_is_refused(at, applied):
    disk, _, _ = crashed(page(1, 7), page(1, 7, value=2), applied=applied)
    disk.inodes[1][at] ^= 0x10
    text = refused(disk, "has bytes at")
    assert str(at // SECTOR * SECTOR) in text


def test_sectors_of_different_commits_are_completed():
    """As a crash leaves them, when nothing of a page is older than the oldest."""
    disk, contents, _ = crashed(page(1, 2), page(1, value=2), page(1, 2, value=3))
    for number, sector in enumerate(range(PAGE, 3 * PAGE, SECTOR)):
        source = contents[number % 4]
        disk.inodes[1][sector : sector + SECTOR] = source[sector : sector + SECTOR]
    assert recover(disk) == 3
    assert content_of(disk) == contents[3]


def test_witness_that_a_commit_covers_says_nothing():
    disk, contents, _ = crashed(page(*range(8)), applied=1)
    assert recover(disk) == 1
    assert content_of(disk) == contents[1]


def test_witness_of_a_made_up_place_is_refused():
    disk, _, _ = crashed(page(1))
    reslot(disk, witnesses=[(0, 1 << 31, 0)])
    disk2, _, _ = crashed(page(1))
    reslot(disk2, witnesses=[((1 << 64) - 1, 512, 0)])
    recover(disk2)  # no commit ever had such bytes: nothing to compare
    reslot(disk, witnesses=[(3 * PAGE, 512, 0)])
    refused(disk, "other bytes")


def test_runs_of_different_extent_on_one_sector():
    """The last sector as one commit found it, and longer, as the next did after the file grew."""
    disk, contents, _ = crashed(
        page(7), lambda content: content + original(800, 4), page(7, value=2), applied=1
    )
    for source in contents:
        disk.inodes[1][:] = contents[1][: SIZE - 300] + source[SIZE - 300 : SIZE]
        copy = Disk(State(dict(disk.names), {i: bytes(d) for i, d in disk.inodes.items()}))
        assert recover(copy) == 3
        assert content_of(copy) == contents[3]


def test_readers_see_the_committed_state_or_are_told():
    disk, contents, _ = crashed(page(1, 2), page(2, value=2))
    with pytest.raises(recovery.RecoveryNeeded, match="mode 'r\\+'") as caught:
        recovery.before_open(PATH, "r", MemoryFiles(disk))
    assert caught.value.filename == PATH
    disk.inodes[1][:] = contents[2]
    recovery.before_open(PATH, "c", MemoryFiles(disk))
    assert JOURNAL in disk.names


def test_split_runs_cut_where_sectors_and_the_file_end():
    def cut(*pairs, old):
        flat = struct.pack(f"={len(pairs)}q", *pairs)
        return list(struct.iter_unpack("=qq", split_runs(flat, old)))

    assert cut(0, 4096, old=4096) == [(0, 4096)]
    assert cut(100, 4096, old=9000) == [(100, 412), (512, 3684)]
    assert cut(4096, 8192, old=10_000) == [(4096, 5904), (10_000, 240), (10_240, 2048)]
    assert cut(100, 100, old=150) == [(100, 50), (150, 50)]
    assert cut(512, 100, 10_000, 100, old=600) == [(512, 88), (600, 12), (10_000, 100)]
    assert split_runs(b"", 5) == b""


def test_checksums_of_runs_are_of_sectors():
    table = struct.pack("<4Q", 0, 100, 512, 1024)
    data = os.urandom(1124)
    assert sums_of(table, data) == sector_checksums(data[:100]) + sector_checksums(data[100:])
