"""Descriptors, mappings and memory return to where they were."""

import gc
import os
import sys
from pathlib import Path

import pytest

import mmapkit as mk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def mappings():
    return Path("/proc/self/maps").read_text()


def kilobytes(*names):
    text = Path("/proc/self/status").read_text()
    return sum(int(text.split(f"{name}:")[1].split()[0]) for name in names)


def memory():
    """Memory of its own, and addresses, in KiB; pages of files come and go as the system likes."""
    return kilobytes("RssAnon", "RssShmem", "VmSwap"), kilobytes("VmSize")


def settle(act, times):
    """Repeat, and check that nothing is left of it."""
    for _ in range(3):  # caches fill
        act()
    gc.collect()
    before = descriptors(), *memory()
    for _ in range(times):
        act()
    gc.collect()
    after = descriptors(), *memory()
    assert after[0] == before[0]
    # One page a time would be 4 * times; the allocators' arenas move by less than this.
    assert after[1] - before[1] < max(2048, times)
    assert after[2] - before[2] < max(8192, times)


def test_ten_thousand_times_open_and_close(file):
    def act():
        m = mk.open(file, "r+", offset=5)
        m[0] = 1
        m.close()

    settle(act, 10_000)
    assert str(file) not in mappings()


def closed_with_views(file):
    m = mk.open(file)
    view = m[5:10]
    m.close(defer=True)
    assert view[0] is not None


def never_closed(file):
    mk.open(file, "r+", reserve=1 << 22)


def resized(file):
    with mk.open(file, "r+", reserve=20_000) as m:
        m.resize(15_000)
        m.resize(500_000)
        m.resize(0)
        m.resize(10_000)


def read_backend(file):
    with mk.open(file, "r+", backend="read") as m:
        m[0] = 1
        m.flush()
        m.resize(20_000)
        m.resize(10_000)


def anonymous(file):
    with mk.anonymous(100_000, huge_pages=True) as m:
        m.resize(200_000)


def temporary(file):
    mk.temporary(10_000)


def cycle(file):
    m = mk.open(file)
    loop = [m[0:5]]
    loop.append(loop)


def faultless_guard(file):
    with mk.open(file) as m, m.guard():
        m.check()
        m.residency()
        m.prefetch([(0, 1), (5000, 1)])


def as_file(file):
    with mk.open(file).as_file() as f:
        f.read()


def arrays(file):
    np = pytest.importorskip("numpy")
    with mk.open_array(file, dtype="u2", shape=(5, 10)) as a:
        np.asarray(a)[1:].sum()
    path = file.with_name("a.npy")
    mk.create_array(path, (10, 10), overwrite=True)[...].sum()
    mk.open_array(path, "c")[3, 3] = 5


def residency(file):
    mk.residency(file)


@pytest.mark.parametrize(
    "act",
    [
        closed_with_views,
        never_closed,
        resized,
        read_backend,
        anonymous,
        temporary,
        cycle,
        faultless_guard,
        as_file,
        arrays,
        residency,
    ],
)
def test_every_way_of_life_leaves_nothing(file, act):
    before = mappings().count("(deleted)")
    settle(lambda: act(file), 200)
    assert str(file) not in mappings()
    assert mappings().count("(deleted)") == before


FAILURES = {
    "missing": lambda d: mk.open(d / "none"),
    "directory": lambda d: mk.open(d),
    "directory for writing": lambda d: mk.open(d, "r+"),
    "exists": lambda d: mk.open(d / "f", "x+", size=5),
    "unknown mode": lambda d: mk.open(d / "f", "bogus"),
    "unknown advice": lambda d: mk.open(d / "f", advice="bogus"),
    "unknown backend": lambda d: mk.open(d / "f", backend="bogus"),
    "past the end": lambda d: mk.open(d / "f", offset=10_001),
    "too long": lambda d: mk.open(d / "f", length=10_001),
    "negative": lambda d: mk.open(d / "f", offset=-1),
    "too large": lambda d: mk.open(d / "new", "x+", size=2**62),
    "reserve too large": lambda d: mk.open(d / "f", reserve=2**62),
    "size too small": lambda d: mk.open(d / "f", "r+", size=5),
    "fifo": lambda d: mk.open(d / "fifo", length=5),
    "device without length": lambda d: mk.open("/dev/zero"),
    "closed descriptor": lambda d: mk.open(999_999),
    "read-only descriptor": lambda d: open_read_only(d),
    "nul": lambda d: mk.open("a\0b"),
    "beneath": lambda d: mk.open("../f", beneath=d),
    "anonymous too large": lambda d: mk.anonymous(2**62),
    "temporary too large": lambda d: mk.temporary(2**62),
    "no number": lambda d: mk.open(d / "f", length=object()),
    "resize too large": lambda d: resize_beyond(d),
    "refused resize": lambda d: resize_with_view(d),
    "bad .npy": lambda d: mk.open_array(d / "bad.npy"),
    "raw too short": lambda d: mk.open_array(d / "f", shape=10_001),
    "raw of objects": lambda d: mk.open_array(d / "f", dtype=object),
    "array of nothing": lambda d: mk.create_array(d / "n.npy", 3, "S0"),
    "array too large": lambda d: mk.create_array(d / "n.npy", 2**60),
    "array of too many axes": lambda d: mk.create_array(d / "n.npy", (1,) * 65),
}


def open_read_only(folder):
    with open(folder / "f", "rb") as f:
        mk.open(f, "r+")


def resize_beyond(folder):
    with mk.open(folder / "f", "r+") as m:
        m.resize(2**62)


def resize_with_view(folder):
    with mk.open(folder / "f", "r+", backend="read") as m, memoryview(m):
        m.resize(100)


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_failures_leave_nothing(file, tmp_path, fail):
    pytest.importorskip("numpy")
    file.rename(tmp_path / "f")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00garbage")
    before = sorted(os.listdir(tmp_path))

    def act():
        with pytest.raises((OSError, ValueError, TypeError, BufferError, MemoryError)):
            fail(tmp_path)

    settle(act, 200)
    assert sorted(os.listdir(tmp_path)) == before
    assert str(tmp_path) not in mappings()
    assert (tmp_path / "f").stat().st_size == 10_000


def test_failing_calls_leave_nothing(file):
    with mk.open(file, "r+") as m:

        def act():
            for call in (
                lambda: m[10_000],
                lambda: m.read(5, 10_000),
                lambda: m.write(9_999, b"ab"),
                lambda: m.load("bogus", 0),
                lambda: m.store("b", 0, 1000),
                lambda: m.array("u1", 10_001),
                lambda: m.array("u1", (1,) * 65),
                lambda: m.flush(level="bogus"),
                lambda: m.prefetch([(0, 1), (0, 10_001)]),
                lambda: m.read_into(9_999, bytearray(5)),
                lambda: m.__setitem__(slice(0, 5), b"ab"),
                lambda: m.protect("bogus"),
            ):
                with pytest.raises((ValueError, IndexError)):
                    call()

        settle(act, 200)
        assert m.exports == 0


def test_no_names_are_left_in_shared_memory(file, tmp_path):
    names = set(os.listdir("/dev/shm"))
    for act in (anonymous, temporary, resized, read_backend):
        act(file)
    assert set(os.listdir("/dev/shm")) - names == set()
