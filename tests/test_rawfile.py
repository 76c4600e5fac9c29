"""A mapping as a file: io.RawIOBase over it, against io.BytesIO."""

import io
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

SIZE = 100


@pytest.fixture
def m(file):
    with mk.open(file, "r+") as mapping:
        yield mapping


def test_it_is_a_raw_file(m, file):
    with m.as_file() as f:
        assert isinstance(f, io.RawIOBase)
        assert (f.readable(), f.writable(), f.seekable(), f.isatty()) == (True, True, True, False)
        assert (f.name, f.mode, f.tell(), f.closed) == (str(file), "rb+", 0, False)
        assert repr(str(file)) in repr(f)
        if sys.platform != "win32":
            assert os.fstat(f.fileno()).st_ino == file.stat().st_ino
    assert not m.closed


def test_buffered_reader_and_text_wrapper_work_over_it(tmp_path):
    path = tmp_path / "text"
    text = "".join(f"line {i} größer\n" for i in range(2000))
    path.write_text(text, encoding="utf-8", newline="\n")
    with mk.open(path) as m:
        with io.BufferedReader(m.as_file()) as f:
            assert f.readline() == b"line 0 gr\xc3\xb6\xc3\x9fer\n"
            assert f.peek(4)[:4] == b"line"
            f.seek(-8, os.SEEK_END)
            assert f.read() == text.encode()[-8:]
        with io.TextIOWrapper(m.as_file(), encoding="utf-8", newline="\n") as t:
            assert t.read() == text
        with io.TextIOWrapper(io.BufferedReader(m.as_file()), encoding="utf-8") as t:
            assert [line.rstrip("\n") for line in t] == text.splitlines()
        assert m.exports == 0


def test_buffered_writer_and_random_work_over_it(m, file, pattern):
    with io.BufferedWriter(m.as_file()) as f:
        f.write(b"first")
        f.seek(9_997)
        f.write(b"end")
    with io.BufferedRandom(m.as_file()) as f:
        assert f.read(5) == b"first"
        f.write(b"second")
        f.seek(0)
        assert f.read(12) == b"firstsecond" + pattern[11:12]
    assert m.read() == b"firstsecond" + pattern[11:9_997] + b"end"


operations = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, SIZE + 10) | st.none()),
        st.tuples(st.just("readall")),
        st.tuples(st.just("readline"), st.integers(-1, 40)),
        st.tuples(st.just("readinto"), st.integers(0, SIZE + 10)),
        st.tuples(st.just("seek"), st.integers(0, SIZE + 20)),
        st.tuples(st.just("seek"), st.integers(-SIZE - 10, SIZE), st.sampled_from([0, 1, 2, 3])),
        st.tuples(st.just("tell")),
        st.tuples(st.just("write"), st.binary(max_size=20)),
        st.tuples(st.just("readlines")),
    ),
    max_size=15,
)


def perform(f, name, *args):
    """What a file answers: a value or the type of its exception."""
    try:
        if name == "readinto":
            target = bytearray(args[0])
            return f.readinto(target), bytes(target)
        if name == "readall" and not hasattr(f, "readall"):
            return f.read()
        return getattr(f, name)(*args)
    except ValueError:
        return ValueError


@examples(100)
@given(operations)
def test_it_agrees_with_bytes_io(program):
    content = bytes(b"ab\ncd\n\nefgh"[i % 11] for i in range(SIZE))
    with mk.anonymous(SIZE) as m, m.as_file() as f:
        m[:] = content
        oracle = io.BytesIO(content)
        for name, *args in program:
            if name == "write":  # a mapping keeps its size
                args = [args[0][: max(0, SIZE - oracle.tell())]]
            if name == "seek" and args[1:] == [3]:
                with pytest.raises(ValueError, match="whence"):
                    f.seek(*args)
                continue
            if (
                name == "seek"
                and len(args) == 2
                and args[1]
                and (args[0] + (oracle.tell() if args[1] == 1 else SIZE) < 0)
            ):  # BytesIO stops at the start; a file refuses
                with pytest.raises(ValueError, match="before the start"):
                    f.seek(*args)
                continue
            assert perform(f, name, *args) == perform(oracle, name, *args), (name, args)
            assert f.tell() == oracle.tell()
        assert m.read() == oracle.getvalue()


def test_reads_past_the_end_are_empty(m):
    with m.as_file() as f:
        assert f.seek(20_000) == 20_000
        assert (f.read(), f.read(5), f.readall(), f.readline()) == (b"", b"", b"", b"")
        assert f.readinto(bytearray(3)) == 0
        assert f.tell() == 20_000


def test_write_is_cut_short_at_the_end_and_then_refused(m):
    with m.as_file() as f:
        f.seek(9_998)
        assert f.write(b"abc") == 2
        assert m.read(9_998) == b"ab"
        assert f.write(b"") == 0
        with pytest.raises(OSError, match=r"10000 bytes.*resize"):
            f.write(b"x")


def test_truncate_resizes_like_a_file(m, file, pattern):
    with m.as_file() as f:
        f.seek(10)
        assert f.truncate() == 10
        assert (len(m), f.tell()) == (10, 10)
        assert f.truncate(20_000) == 20_000
        assert (len(m), f.tell(), file.stat().st_size) == (20_000, 10, 20_000)
        assert f.truncate(5) == 5
        assert f.tell() == 10
        assert f.read() == b""
        with pytest.raises(ValueError, match="-1"):
            f.truncate(-1)
        with pytest.raises(TypeError):
            f.truncate(1.5)
    assert file.read_bytes() == pattern[:5]


def test_truncate_with_live_views_raises(m):
    with m.as_file() as f, memoryview(m), pytest.raises(BufferError):
        f.truncate(5)


@pytest.mark.parametrize("offset", [1.5, "1", None])
def test_seek_takes_integers(m, offset):
    with m.as_file() as f:
        with pytest.raises(TypeError):
            f.seek(offset)
        assert f.tell() == 0
        assert len(f.read()) == 10_000


def test_arrays_of_every_kind_are_read_and_written(m):
    np = pytest.importorskip("numpy")
    for dtype in ("u1", ">i4", "f4,i8", "M8[s]"):
        data = np.frombuffer(os.urandom(120), dtype)
        with m.as_file() as f:
            assert f.write(data) == 120
            f.seek(0)
            found = np.empty_like(data)
            assert f.readinto(found) == 120
        assert found.tobytes() == data.tobytes()


def test_read_only_mapping_gives_a_read_only_file(file):
    with mk.open(file) as m, m.as_file() as f:
        assert (f.writable(), f.mode) == (False, "rb")
        with pytest.raises(io.UnsupportedOperation, match="read-only"):
            f.write(b"x")
        with pytest.raises((TypeError, OSError)):
            f.truncate(5)


def test_closed_file_refuses_everything(m):
    f = m.as_file()
    f.close()
    f.close()
    for use in (
        f.read,
        f.readall,
        f.readline,
        f.tell,
        f.readable,
        f.writable,
        f.seekable,
        f.fileno,
        f.truncate,
        f.flush,
        f.__enter__,
        lambda: f.readinto(bytearray(1)),
        lambda: f.write(b""),
        lambda: f.seek(0),
        lambda: next(f),
    ):
        with pytest.raises(ValueError, match="closed file"):
            use()
    assert m[0] == 0


def test_file_over_a_closed_mapping_raises(file):
    m = mk.open(file, "r+")
    f = m.as_file()
    m.close()
    for use in (f.read, lambda: f.readinto(bytearray(1)), lambda: f.write(b"x"), f.truncate):
        with pytest.raises(ValueError, match="closed"):
            use()
    f.close()


def test_file_keeps_the_mapping_alive(file, pattern):
    with mk.open(file).as_file() as f:
        assert f.read() == pattern


def test_flush_reaches_the_file(m, file):
    with m.as_file() as f:
        f.write(b"flushed")
        f.flush()
        assert file.read_bytes()[:7] == b"flushed"
