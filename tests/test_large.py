"""Files over 4 GiB: no offset is cut to 32 bits. The files are sparse."""

import os
import sys

import pytest

import mmapkit as mk

GIB = 1 << 30
SIZE = 5 * GIB + 123

pytestmark = pytest.mark.skipif(sys.maxsize < 2**32, reason="needs 64-bit addresses")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file with bytes around 2**31 and 2**32 and at its end."""
    path = tmp_path_factory.mktemp("large") / "large"
    try:
        with mk.open(path, "x+", size=SIZE, sparse=True) as m:
            for at in (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, SIZE - 1):
                m[at] = at % 251 + 1
    except OSError as error:
        pytest.skip(f"no file of 5 GiB here: {error}")
    if sys.platform != "win32" and path.stat().st_blocks * 512 > GIB:
        path.unlink()
        pytest.skip("this filesystem has no holes")
    yield path
    path.unlink()


def value(at):
    return at % 251 + 1


def test_items_and_copies_beyond_4_gib(large):
    with mk.open(large, "r+") as m:
        assert len(m) == m.size == SIZE
        for at in (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, SIZE - 1):
            assert m[at] == value(at)
            assert m[at - SIZE] == value(at)
            assert m.read(at, 1) == bytes([value(at)])
            assert bytes(m[at : at + 1]) == bytes([value(at)])
            assert m.load("B", at) == value(at)
        assert m[5] == 0  # 2**32 + 5, cut
        m.write(2**32 + 100, b"written")
        assert m.read(100, 7) == bytes(7)
        m.move(2**32 + 200, 2**32 + 100, 7)
        target = bytearray(7)
        m.read_into(2**32 + 200, target)
        assert target == b"written"
        m.store("<d", 2**32 + 300, 2.5)
        assert m.load("<d", 2**32 + 300) == 2.5
        assert m.load("<d", 300) == 0
        with m[2**32 :: 2**20] as strided:
            assert len(strided) == (SIZE - 2**32 + 2**20 - 1) // 2**20
        with pytest.raises(IndexError, match=str(SIZE)):
            m[SIZE]
        m.flush(2**32, 1000)
    with open(large, "rb") as f:
        f.seek(2**32 + 200)
        assert f.read(7) == b"written"


@pytest.mark.parametrize("offset", [2**31, 2**32 - 1, 2**32, 2**32 + 5])
@pytest.mark.parametrize("backend", ["map", "read"])
def test_mappings_that_begin_beyond(large, offset, backend):
    with mk.open(large, "r+", offset=offset, length=100, backend=backend) as m:
        assert (m.offset, len(m), m[0]) == (offset, 100, value(offset))
        m[99] = 7
        m.flush()
    with open(large, "rb") as f:
        f.seek(offset + 99)
        assert f.read(1) == b"\7"
    with mk.open(large, "r+", offset=offset, length=100) as m:
        m[99] = 0


def test_memory_calls_beyond(large):
    with mk.open(large) as m:
        for call in (m.prefetch, m.populate, m.evict):
            call(2**32 + 5, 10)
        m.prefetch([(2**32 + 5, 10), (SIZE - 1, 1)])
        if "normal" in mk.supported_advice():
            m.advise("normal", 2**32 + 5, 10)
        with pytest.raises(ValueError, match=str(SIZE)):
            m.populate(SIZE, 1)
    assert mk.residency(large).total_bytes == SIZE


@pytest.mark.reserve
def test_resizing_beyond(tmp_path):
    path = tmp_path / "f"
    with mk.open(path, "x+", size=10, sparse=True, reserve=SIZE) as m:
        try:
            m.resize(SIZE)
        except OSError as error:
            pytest.skip(f"no file of 5 GiB here: {error}")
        m[SIZE - 1] = 9
        assert path.stat().st_size == SIZE
        m.resize(2**32 + 1)
        assert (len(m), path.stat().st_size) == (2**32 + 1, 2**32 + 1)
        m.resize(5)
    assert path.read_bytes() == bytes(5)


def test_arrays_beyond(large):
    np = pytest.importorskip("numpy")
    with mk.open(large) as m:
        a = m.array("u1", 10, offset=2**32)
        assert (a[0], a[5]) == (value(2**32), value(2**32 + 5))
        wide = m.array("u1", (2,), offset=0, strides=(2**32 + 5,))
        assert wide[1] == value(2**32 + 5)
        del a, wide
    with mk.open_array(large, shape=(5, GIB)) as a:
        assert a[4, 0] == value(2**32)
        assert np.asarray(a).nbytes == 5 * GIB
    with mk.open_array(large, dtype="<u2", shape=20, offset=2**32 - 1) as a:
        assert a[0] == value(2**32 - 1) + 256 * value(2**32)


def test_npy_file_beyond(tmp_path):
    np = pytest.importorskip("numpy")
    path = tmp_path / "a.npy"
    try:
        a = mk.create_array(path, (5, GIB), "u1", sparse=True)
    except OSError as error:
        pytest.skip(f"no file of 5 GiB here: {error}")
    with a:
        a[4, 7] = 77
        a.flush(level="os")
    with mk.open_array(path) as a:
        assert a[4, 7] == 77
    assert np.load(path, mmap_mode="r")[4, 7] == 77
    path.unlink()


def test_raw_file_beyond(large):
    with mk.open(large) as m, m.as_file() as f:
        f.seek(2**32 + 5)
        assert f.read(1) == bytes([value(2**32 + 5)])
        assert f.seek(-1, os.SEEK_END) == SIZE - 1
        assert f.read() == bytes([value(SIZE - 1)])
