"""What may be mapped: paths, descriptors, devices, names beneath a folder."""

import os
import sys
from pathlib import Path

import pytest

import mmapkit as mk

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux devices and system calls")


# --- what may be mapped -------------------------------------------------------------------------


def test_paths_of_every_kind(file, pattern, monkeypatch):
    monkeypatch.chdir(file.parent)
    for path in (file, str(file), os.fsencode(file), Path(file.name), file.name):
        with mk.open(path) as m:
            assert bytes(m) == pattern
            assert m.path == str(file)


def test_non_ascii_and_spaced_paths(tmp_path):
    path = tmp_path / "größe mit leer\N{SNOWMAN}.bin"
    path.write_bytes(b"abc")
    with mk.open(path) as m:
        assert (bytes(m), m.path) == (b"abc", str(path))


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS wants UTF-8 names")
def test_path_that_is_not_utf8(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe"
    with mk.open(name, "x+", size=3) as m:
        assert os.fsencode(m.path) == name


def test_descriptor_may_be_closed_afterwards(file, pattern):
    descriptor = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
    m = mk.open(descriptor, "r+")
    os.close(descriptor)
    with m:
        assert bytes(m) == pattern
        assert m.path is None
        m.resize(10_010)
    assert file.stat().st_size == 10_010


def test_file_object_stays_open_and_keeps_its_position(file, pattern):
    with open(file, "r+b") as f:
        f.seek(17)
        with mk.open(f, "r+") as m:
            assert bytes(m) == pattern
            assert m.path == str(file)
        assert not f.closed
        assert f.read(3) == pattern[17:20]


def test_missing_file_raises_with_its_name(tmp_path):
    for mode in ("r", "r+", "c"):
        with pytest.raises(FileNotFoundError) as caught:
            mk.open(tmp_path / "none", mode)
        assert caught.value.filename == str(tmp_path / "none")


def test_directory_is_refused(tmp_path):
    for mode in ("r", "r+", "c"):
        with pytest.raises((IsADirectoryError, PermissionError)) as caught:
            mk.open(tmp_path, mode)
        assert caught.value.filename == str(tmp_path)


@posix
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_fifo_and_pipe_are_refused_without_waiting(tmp_path, mode):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="only files and devices can be mapped") as caught:
        mk.open(fifo, mode, length=10)
    assert caught.value.filename == str(fifo)
    reader, writer = os.pipe()
    try:
        with pytest.raises(OSError, match="only files and devices can be mapped"):
            mk.open(reader, length=10)
    finally:
        os.close(reader)
        os.close(writer)


def test_write_only_descriptor_is_refused(tmp_path):
    with open(tmp_path / "f", "wb") as f:
        f.write(b"abc")
        f.flush()
        for mode in ("r", "r+"):
            with pytest.raises(PermissionError, match="can be read"):
                mk.open(f, mode)


def test_read_only_descriptor_cannot_be_mapped_for_writing(file):
    with open(file, "rb") as f, pytest.raises(TypeError, match=r"read-only.*'r\+'"):
        mk.open(f, "r+")


def test_closed_and_negative_descriptors_are_refused(file):
    descriptor = os.open(file, os.O_RDONLY)
    os.close(descriptor)
    with pytest.raises(OSError, match=str(descriptor)):
        mk.open(descriptor)
    with pytest.raises(ValueError, match="-1"):
        mk.open(-1)
    f = open(file, "rb")  # noqa: SIM115
    f.close()
    with pytest.raises(ValueError, match="closed"):
        mk.open(f)


@pytest.mark.parametrize("value", [None, 1.5, True, [], object()])
def test_what_is_no_file_is_named_by_its_type(value):
    with pytest.raises(TypeError, match=f"file.*{type(value).__name__}"):
        mk.open(value)


def test_path_with_a_nul_byte_is_named():
    with pytest.raises(ValueError, match=r"a\\x00b"):
        mk.open("a\0b")


def test_x_plus_takes_no_descriptor(file):
    with open(file, "r+b") as f, pytest.raises(ValueError, match=r"x\+"):
        mk.open(f, "x+", size=10)


# --- devices ------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_dev_zero_with_length(mode):
    with mk.open("/dev/zero", mode, length=5000) as m:
        assert bytes(m) == bytes(5000)
        if mode != "r":
            m[3] = 1
            assert m[3] == 1


@linux
def test_char_device_without_length_says_what_to_give():
    with pytest.raises(ValueError, match=r"/dev/zero.*length="):
        mk.open("/dev/zero")


@linux
def test_device_that_refuses_mapping_is_read():
    with mk.open("/dev/urandom", length=64) as m:
        assert m.backend == "read"
        assert len(set(m.read())) > 8


@linux
def test_device_without_bytes_raises_instead_of_inventing_some():
    with pytest.raises(OSError, match="/dev/null"):
        mk.open("/dev/null", length=16)


@linux
def test_device_cannot_be_resized():
    with mk.open("/dev/zero", "r+", length=10) as m, pytest.raises(mk.UnsupportedError, match="20"):
        m.resize(20)


# --- beneath ------------------------------------------------------------------------------------


@linux
def test_beneath_opens_what_lies_below(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "f").write_bytes(b"abc")
    with mk.open("sub/f", beneath=tmp_path) as m:
        assert (bytes(m), m.path) == (b"abc", str(tmp_path / "sub" / "f"))
    with mk.open("sub/../sub/g", "x+", size=3, beneath=tmp_path):
        assert (tmp_path / "sub" / "g").stat().st_size == 3


@linux
def test_beneath_refuses_every_way_out(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (root / "link").symlink_to(secret)
    (root / "up").symlink_to("..")
    for name in ("../secret", str(secret), "link", "up/secret", "/etc/passwd"):
        with pytest.raises(OSError, match=r"leads out of .*beneath"):
            mk.open(name, beneath=root)
    with pytest.raises(OSError, match="beneath"):
        mk.open("../new", "x+", size=1, beneath=root)
    assert not (tmp_path / "new").exists()


@linux
def test_beneath_goes_with_paths_only(file):
    with open(file, "rb") as f, pytest.raises(TypeError, match="beneath"):
        mk.open(f, beneath=file.parent)


@pytest.mark.skipif(sys.platform == "linux", reason="Linux has it")
def test_beneath_is_unsupported_elsewhere(file):
    with pytest.raises(mk.UnsupportedError):
        mk.open(file.name, beneath=file.parent)
