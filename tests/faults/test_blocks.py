"""Passes over files that are cut under them, and passes with little memory."""

import os

import pytest

from . import cgroups, victim

# Where the consumer is when the file is cut: `blocks` and how to get at what it holds.
PASSES = """
    path = make(args[0], 64 * MIB)
    way, where = args[1:]
    opened = []
    def blocks():
        if way == "mapping":
            opened.append(mk.open(path))
            return opened[0].blocks(MIB)
        if way == "array":
            opened.append(mk.open_array(path, dtype="f8"))
            return opened[0].blocks(MIB)
        return mk.blocks(path, way, size=MIB, dtype="f8")
    def consume():
        for number, block in enumerate(blocks()):
            total = np.asarray(block).sum()
            if number == 20:
                cut(path, 30 * MIB + 100)
        return number
"""
WAYS = ["mapping", "array", "map", "read", "auto"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["main", "thread"])
def test_truncation_during_the_pass_is_raised(file, way, where):
    victim.survive(
        PASSES
        + """
    fault = fault_of(consume) if where == "main" else fault_of(in_thread, consume)
    assert fault.cause == "truncated", fault
    assert fault.filename == path, fault
    assert fault.offset >= 30 * MIB, fault
    """,
        file,
        way,
        where,
    )


@pytest.mark.parametrize("way", ["mapping", "array", "map", "read"])
def test_truncation_inside_the_last_page_is_raised(file, way):
    victim.survive(
        PASSES
        + """
    def consume():
        for number, block in enumerate(blocks()):
            if number == 63:
                cut(path, 64 * MIB - 8)
    if way == "read":  # read before it was cut: nothing was lost
        consume()
    else:
        assert fault_of(consume).cause == "truncated"
    """,
        file,
        way,
        "main",
    )


@pytest.mark.parametrize("way", WAYS)
def test_truncation_under_map_blocks_is_raised(file, way):
    victim.survive(
        PASSES
        + """
    seen = []
    def fn(block):
        seen.append(1)
        if len(seen) == 20:
            cut(path, 30 * MIB + 100)
        return np.asarray(block).sum()
    def consume():
        source = path
        if way == "mapping":
            source = mk.open(path)
        elif way == "array":
            source = mk.open_array(path, dtype="f8")
        given = {} if source is not path else {"dtype": "f8", "how": way}
        opened.append(source)
        mk.map_blocks(fn, source, nbytes=MIB, workers=3, **given)
    fault = fault_of(consume)
    assert fault.cause == "truncated", fault
    assert fault.filename == path, fault
    time.sleep(0)  # nothing is raised a second time
    """,
        file,
        way,
        "main",
        err=None,
    )


def test_fault_inside_of_the_function_names_its_block(file):
    victim.survive(
        """
        path = make(args[0], 64 * MIB)
        def fn(block):
            if block[0] == 1.0 and len(done) == 3:
                cut(path, 3 * 8 * MIB + MIB)
            done.append(1)
            return block.sum()
        done = []
        with mk.open_array(path, dtype="f8") as a:
            try:
                mk.map_blocks(fn, a, workers=1, nbytes=8 * MIB)
            except MappingFault as fault:
                notes = fault.__notes__
            else:
                raise AssertionError
            assert any("block [3145728, 4194304)" in note for note in notes), notes
        """,
        file,
        err=None,
    )


def test_truncation_leaves_no_descriptor_and_no_mapping(file, linux):
    victim.survive(
        PASSES
        + """
    fault_of(consume)
    gc.collect()
    left = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{n}")]
    assert path not in left, left
    with open("/proc/self/maps") as maps:
        assert path not in maps.read()
    """,
        file,
        "map",
        "main",
    )


CONFINED = """
    from pathlib import Path
    path, group, way = args
    with open(path, "rb") as made:
        os.posix_fadvise(made.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    Path(group).write_text("0")
    if way == "array":
        with mk.open_array(path, dtype="u8") as a:
            total = sum(int(block.sum()) for block in a.blocks())
    elif way == "map_blocks":
        total = sum(map(int, mk.map_blocks(np.sum, path, dtype="u8", workers=2)))
    elif way == "out":
        with mk.open_array(path, "r+", dtype="u8") as a:
            for shift in 1, -1:
                mk.map_blocks(lambda block: block * 2 if shift > 0 else block // 2, a, a, workers=2)
            total = sum(int(block.sum()) for block in a.blocks())
    else:
        total = sum(int(block.sum()) for block in mk.blocks(path, way, dtype="u8"))
    assert total == MIB * sum(range(32)), total
    text = Path("/proc/self/status").read_text()
    assert int(text.split("VmHWM:")[1].split()[0]) < 160 << 10
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 256 MiB on the disk: 32 blocks of 0, 1, 2, ... as words; to be left as it was."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    with path.open("wb") as made:
        for number in range(32):
            made.write(number.to_bytes(8, "little") * (1 << 20))
        made.flush()
        os.fsync(made.fileno())
    yield path
    path.unlink()


@pytest.mark.parametrize(
    "way",
    ["map", "read", "auto", "array", "map_blocks", pytest.param("out", marks=pytest.mark.slow)],
)
def test_file_larger_than_the_memory_cgroup(large, way):
    with cgroups.limited(64 << 20) as group:
        victim.survive(CONFINED, large, group, way)
