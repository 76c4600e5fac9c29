"""Searching files that are larger than the memory there is for it."""

import os
import sys

import pytest

from tests.faults import cgroups

MIB = 1 << 20

SEARCHES = {
    "count": "m.count(b'\\n')",
    "find": "m.find(b'absent')",
    "find_all": "len(m.find_all(b'needle'))",
    "find_any": "len(m.find_any([b'needle', b'absent'])[0])",
    "lines": "len(m.lines())",
    "search": "len(list(m.search(re.compile(b'ne+dle'))))",
    "search all": "sum(1 for hit in m.search(re.compile(b'[n]e+dle$|^needle 9')))",
    "split": "sum(1 for piece in m.split(b'needle'))",
}
EXPECTED = {
    "count": 64 * 192,
    "find": -1,
    "find_all": 192,
    "find_any": 192,
    "lines": 64 * 192,
    "search": 192,
    "search all": 192,
    "split": 193,
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """192 MiB, in lines of 16 KiB, with a needle in each MiB."""
    path = tmp_path_factory.mktemp("text") / "large"
    block = ((b"." * 16383 + b"\n") * 64)[:-8] + b" needle\n"
    with open(path, "wb") as file:
        for _ in range(192):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    yield path
    path.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak of one program alone")
def test_memory_is_bounded_where_the_file_is_cold(text, run_python):
    run_python(
        f"""
import os, re, sys
import numpy
import mmapkit as mk

def peak():  # getrusage() would tell the parent's, too, if it was more
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0])

for name, expected in {EXPECTED!r}.items():
    with mk.open(sys.argv[1]) as m:
        os.posix_fadvise(m.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if m.residency().fraction > 0.5:
            sys.exit("the page cache was not emptied")
        with open("/proc/self/clear_refs", "w") as begin_anew:
            begin_anew.write("5")
        before = peak()
        found = eval({SEARCHES!r}[name])
        grown = peak() - before
    assert found == expected, (name, found)
    assert grown * 1024 < 96 << 20, (name, grown)
""",
        text,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")
def test_searches_within_a_cgroup_smaller_than_the_file(text, run_python):
    with cgroups.limited(64 * MIB) as group:
        run_python(
            f"""
import re, sys
import mmapkit as mk

with open(sys.argv[2], "w") as procs:
    procs.write("0")
with mk.open(sys.argv[1]) as m:
    for name, expected in {EXPECTED!r}.items():
        found = eval({SEARCHES!r}[name])
        assert found == expected, (name, found)
""",
            text,
            group,
        )
