"""Checksums, and copies of runs out of a mapping."""

import array
import os
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit
from mmapkit import MappingFault, _journal
from mmapkit._journal import copy_runs, crc32c, sector_checksums, sector_checksums_of

WINDOWS = sys.platform == "win32"


@pytest.fixture(params=_journal.checksum_kernels(), autouse=True)
def kernel(request):
    before = _journal.checksum_kernel()
    _journal.use_checksum_kernel(request.param)
    yield request.param
    _journal.use_checksum_kernel(before)


def oracle(data, seed=0):
    crc = seed ^ 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def runs_of(*pairs):
    return array.array("q", [number for pair in pairs for number in pair])


def sectors_of(data):
    return b"".join(
        oracle(data[at : at + 512]).to_bytes(4, "little") for at in range(0, len(data), 512)
    )


# --- checksums ------------------------------------------------------------------------------------


def test_published_values():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(st.binary(max_size=1200), st.integers(0, 2**32 - 1), st.integers(0, 1200))
def test_agrees_with_the_definition(data, seed, cut):
    assert crc32c(data, seed) == oracle(data, seed)
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.array(list(data), "u1")])
def test_any_contiguous_buffer(kind):
    assert crc32c(kind(b"123456780")) != crc32c(kind(b"123456789")) == 0xE3069283


def test_bad_arguments():
    for bad in ("text", 5, None):
        with pytest.raises(TypeError):
            crc32c(bad)
    with pytest.raises((BufferError, ValueError)):
        crc32c(np.arange(10)[::2])
    for seed in (-1, 2**32):
        with pytest.raises(OverflowError):
            crc32c(b"", seed)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5000])
def test_sector_checksums(size):
    data = os.urandom(size)
    assert sector_checksums(data) == sectors_of(data)


def test_kernel_is_a_demand(run_python, kernel):
    code = "from mmapkit import _journal; print(_journal.checksum_kernel())"
    assert run_python(code, MMAPKIT_CHECKSUM=kernel).stdout.split() == [kernel]
    failed = run_python(code, MMAPKIT_CHECKSUM="abacus", code=1)
    assert "there is no checksum 'abacus' for this processor; it has portable" in failed.stderr
    with pytest.raises(RuntimeError, match="no checksum 'none'"):
        _journal.use_checksum_kernel("none")
    assert _journal.checksum_kernel() == kernel


def test_fastest_is_the_default(run_python):
    code = "from mmapkit import _journal; print(_journal.checksum_kernel())"
    assert run_python(code).stdout.split() == [_journal.checksum_kernels()[-1]]


# --- runs -----------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 3000)).map(
            lambda run: (run[0], min(run[1], 10_000 - run[0]))
        ),
        max_size=20,
    ),
    st.integers(0, 5),
)
def test_runs_agree_with_slices(tmp_path_factory, runs, at):
    pattern = bytes((i * 7 + i // 251) % 256 for i in range(10_000))
    path = tmp_path_factory.getbasetemp() / "runs"
    if not path.exists():
        path.write_bytes(pattern)
    wanted = b"".join(pattern[offset : offset + length] for offset, length in runs)
    with mmapkit.open(path, "c") as m:
        out = bytearray(b"?" * (at + len(wanted) + 1))
        assert copy_runs(m, runs_of(*runs), out, at) == len(wanted)
        assert out == b"?" * at + wanted + b"?"
        sums = b"".join(sectors_of(pattern[offset : offset + length]) for offset, length in runs)
        if len(wanted) < 3000:  # the oracle takes its time
            assert sector_checksums_of(m, runs_of(*runs)) == sums


def test_what_was_stored_is_copied(file):
    with mmapkit.open(file, "c") as m:
        m[5000] = 255
        out = bytearray(1)
        assert copy_runs(m, runs_of((5000, 1)), out) == 1
        assert out == b"\xff"
        assert sector_checksums_of(m, runs_of((5000, 1))) == sectors_of(b"\xff")


def test_no_runs(file):
    with mmapkit.open(file, "r") as m:
        assert copy_runs(m, b"", bytearray()) == 0
        assert sector_checksums_of(m, b"") == b""
        assert copy_runs(m, runs_of((10_000, 0)), bytearray()) == 0


@pytest.mark.parametrize("run", [(-1, 1), (0, -1), (10_000, 1), (9_999, 2), (2**63 - 1, 2**63 - 1)])
def test_runs_outside_are_refused(file, run):
    with mmapkit.open(file, "r") as m:
        out = bytearray(100)
        with pytest.raises(ValueError, match="inside the mapping's 10000 bytes"):
            copy_runs(m, runs_of((0, 1), run), out)
        with pytest.raises(ValueError, match="inside the mapping's 10000 bytes"):
            sector_checksums_of(m, runs_of((0, 1), run))
        assert out == bytes(100)


def test_bad_buffers(file):
    with mmapkit.open(file, "r") as m:
        for at, size in ((0, 9), (1, 10), (11, 10), (2**63, 10)):
            with pytest.raises(ValueError, match="do not fit"):
                copy_runs(m, runs_of((0, 10)), bytearray(size), at)
        with pytest.raises(BufferError):
            copy_runs(m, runs_of((0, 1)), b"constant")
        with pytest.raises(ValueError, match="not 8 bytes"):
            copy_runs(m, array.array("q", [1]), bytearray(1))
        with pytest.raises(ValueError, match="aligned"):
            copy_runs(m, memoryview(b"?" * 17)[1:], bytearray(1))
        with pytest.raises(TypeError):
            copy_runs(b"no mapping", b"", bytearray())
    with pytest.raises(ValueError, match="closed"):
        copy_runs(m, b"", bytearray())
    with pytest.raises(ValueError, match="closed"):
        sector_checksums_of(m, b"")


@pytest.mark.skipif(WINDOWS, reason="a mapped file cannot be truncated there")
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_truncated_file_raises_fault(file, mode):
    m = mmapkit.open(file, mode)
    os.truncate(file, 5000)
    out = bytearray(10)
    assert copy_runs(m, runs_of((0, 10)), out) == 10
    for call in (copy_runs, lambda m, runs, out: sector_checksums_of(m, runs)):
        with pytest.raises(MappingFault) as caught:
            call(m, runs_of((0, 5), (8192, 5)), out)
        assert (caught.value.filename, caught.value.cause) == (str(file), "truncated")
        assert copy_runs(m, runs_of((0, 10)), out) == 10  # elsewhere all is well
    m.close()


@pytest.mark.skipif(WINDOWS, reason="a mapped file cannot be truncated there")
def test_file_truncated_while_copying_raises_fault(tmp_path):
    """A copy is right, or the fault is raised, whatever the moment."""
    path = tmp_path / "f"
    size = 4 << 20
    runs = runs_of(*((at, 1000) for at in range(0, size, 4096)))
    page = bytes(range(1, 251)) * 4 + bytes(3096)
    wanted = page[:1000] * (size // 4096)
    out = bytearray(len(wanted))
    for attempt in range(10):
        path.write_bytes(page * (size // 4096))
        m = mmapkit.open(path, "r")
        thread = threading.Timer(attempt * 0.0002, os.truncate, (path, 4096))
        thread.start()
        with pytest.raises(MappingFault) as caught:  # noqa: PT012
            while copy_runs(m, runs, out):
                assert out == wanted
        assert caught.value.offset >= 4096
        thread.join()
        m.close()


def test_closing_meanwhile_is_refused(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(bytes(64 << 20))
    m = mmapkit.open(path, "r")
    out = bytearray(64 << 20)
    thread = threading.Thread(target=copy_runs, args=(m, runs_of((0, 64 << 20)), out))
    thread.start()
    while thread.is_alive():
        try:
            m.close()
            break
        except BufferError as error:
            assert "another thread is using" in str(error)  # noqa: PT017
    thread.join()
    m.close()
