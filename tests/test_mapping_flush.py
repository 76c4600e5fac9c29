"""Flushing: levels, ranges, and that the bytes reach the file."""

import gc
import os
import subprocess
import sys

import pytest

import mmapkit as mk

LEVELS = ["async", "os", "disk"]
BACKENDS = ["map", "read"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_reaches_the_file(file, pattern, level, backend):
    with mk.open(file, "r+", backend=backend, offset=3) as m:
        m[0:5] = b"start"
        m[-3:] = b"end"
        assert m.flush(level=level) is None
        assert file.read_bytes() == pattern[:3] + b"start" + pattern[8:-3] + b"end"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 0), (1, 1), (4095, 2), (4096, 4096), (5000, None), (9_999, 1), (10_000, 0)],
)
def test_any_range_can_be_flushed(file, offset, length, backend):
    with mk.open(file, "r+", backend=backend) as m:
        end = len(m) if length is None else offset + length
        m[offset:end] = b"\xfe" * (end - offset)
        for level in LEVELS:
            m.flush(offset, length, level=level)
        assert file.read_bytes()[offset:end] == b"\xfe" * (end - offset)


def test_flush_of_a_range_leaves_the_rest_of_the_read_backend_unwritten(file, pattern):
    with mk.open(file, "r+", backend="read") as m:
        m[0] = m[9_000] = 255
        m.flush(0, 100)
        assert file.read_bytes() == b"\xff" + pattern[1:]
        m.flush()
        assert file.read_bytes() == b"\xff" + pattern[1:9_000] + b"\xff" + pattern[9_001:]


@pytest.mark.parametrize(
    ("offset", "length"),
    [(-1, None), (10_001, None), (0, 10_001), (9_999, 2), (2**63, 1), (1, 2**64), (0, -1)],
)
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_range_outside_is_named_in_every_mode(file, mode, offset, length):
    with mk.open(file, mode) as m:
        named = offset if length in (None, 1, 2) or offset > 1 else length
        with pytest.raises(ValueError, match=str(named)):
            m.flush(offset, length)


@pytest.mark.parametrize("level", ["", "sync", "DISK", "full"])
def test_unknown_level_names_the_known_ones(file, level):
    with mk.open(file, "r+") as m, pytest.raises(ValueError, match=r"'async'.*'disk'") as caught:
        m.flush(level=level)
    assert repr(level) in str(caught.value)


def test_level_is_given_by_name(file):
    with mk.open(file, "r+") as m, pytest.raises(TypeError):
        m.flush(0, None, "disk")


@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize("level", LEVELS)
def test_flush_does_nothing_where_nothing_is_written(file, pattern, mode, level):
    before = file.stat().st_mtime_ns
    with mk.open(file, mode) as m:
        if mode == "c":
            m[0] = 255
        m.flush(level=level)
    assert file.read_bytes() == pattern
    assert file.stat().st_mtime_ns == before


def test_flush_of_memory_and_of_devices():
    with mk.anonymous(100) as m:
        m.flush(3, 5)
    if sys.platform == "linux":
        with mk.open("/dev/zero", "r+", length=5000) as m:
            m.flush(level="os")


def test_stores_are_seen_by_other_processes_without_a_flush(file):
    with mk.open(file, "r+") as m:
        m[5000:5005] = b"hello"
        script = "import sys; f = open(sys.argv[1], 'rb'); f.seek(5000); print(f.read(5))"
        found = subprocess.run(
            [sys.executable, "-c", script, os.fspath(file)], capture_output=True, check=True
        )
        assert found.stdout.strip() == b"b'hello'"


def test_close_without_flush_keeps_stores_of_a_mapped_file(file):
    with mk.open(file, "r+") as m:
        m[0:4] = b"kept"
    assert file.read_bytes()[:4] == b"kept"


def test_close_without_flush_keeps_stores_of_the_read_backend(file, pattern):
    with mk.open(file, "r+", backend="read") as m:
        m[0:4] = b"kept"
    assert file.read_bytes() == b"kept" + pattern[4:]


@pytest.mark.parametrize("end", ["deferred", "collected"])
def test_stores_of_the_read_backend_survive_a_view(file, pattern, end):
    m = mk.open(file, "r+", backend="read")
    view = m[0:4]
    if end == "deferred":
        m.close(defer=True)
    del m
    view[:] = b"kept"
    view.release()
    del view
    gc.collect()
    assert file.read_bytes() == b"kept" + pattern[4:]


def test_flush_with_live_views(file):
    with mk.open(file, "r+") as m, m[0:4] as view:
        view[:] = b"view"
        m.flush()
        assert file.read_bytes()[:4] == b"view"
