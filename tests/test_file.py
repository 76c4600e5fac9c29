"""File: positioned reads and writes, blocks, locks and syncs of one open file."""

import array
import contextlib
import errno
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmapkit import UnsupportedError
from mmapkit._native import File, sync_directory

WINDOWS = sys.platform == "win32"
LINUX = sys.platform == "linux"
FAR = 2**62


def runs_of(*pairs):
    return array.array("q", [number for pair in pairs for number in pair])


# --- opening and closing --------------------------------------------------------------------------


def test_modes(file, tmp_path, pattern):
    with File(file, "r") as f:
        assert (f.path, f.mode, f.closed, f.size()) == (str(file), "r", False, len(pattern))
    assert f.closed
    with File(file, "r+") as f:
        f.write(0, b"new")
        assert f.size() == len(pattern)  # nothing was cut
    new = tmp_path / "new"
    with File(new, "x+") as f:
        assert f.size() == 0
        assert f.read(0, 10) == b""
    with pytest.raises(FileExistsError) as caught:
        File(new, "x+")
    assert caught.value.filename == str(new)
    with pytest.raises(FileNotFoundError) as caught:
        File(tmp_path / "none", "r+")
    assert caught.value.filename == str(tmp_path / "none")


@pytest.mark.parametrize("mode", ["w", "rb", "", "c", "r +"])
def test_unknown_mode(file, mode):
    with pytest.raises(ValueError, match=r"mode must be 'r', 'r\+' or 'x\+'"):
        File(file, mode)


def test_bad_paths(tmp_path):
    with pytest.raises(TypeError, match="not int"):
        File(3, "r")
    with pytest.raises(ValueError, match="not a file name"):
        File("a\0b", "r")
    with pytest.raises(OSError) as caught:
        File(tmp_path, "r")
    assert caught.value.errno == errno.EISDIR


def test_paths_of_every_kind(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    for path in (file, str(file), os.fsencode(file), file.name):
        with File(path, "r") as f:
            assert f.path == str(file)


@pytest.mark.skipif(WINDOWS, reason="POSIX")
def test_only_regular_files(tmp_path):
    with pytest.raises(UnsupportedError, match="device"):
        File("/dev/zero", "r")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError):
        File(tmp_path / "fifo", "r")


def test_closed_file_raises(file):
    f = File(file, "r+")
    f.close()
    f.close()
    calls = [
        f.fileno,
        f.size,
        f.identity,
        f.allocated,
        lambda: f.has_name(str(file)),
        f.sync,
        f.__enter__,
        lambda: f.read(0, 1),
        lambda: f.read_into(0, bytearray(1)),
        lambda: f.write(0, b"x"),
        lambda: f.write_runs(runs_of((0, 1)), b"x"),
        lambda: f.resize(1),
        lambda: f.allocate(0, 1),
        lambda: f.try_lock(0, 1, True),
        lambda: f.unlock(0, 1),
        lambda: f.clone(f),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="the file is closed"):
            call()


def test_opened_once_and_not_pickled(file):
    with File(file, "r") as f:
        with pytest.raises(RuntimeError, match="opened once"):
            f.__init__(file, "r")
        with pytest.raises(TypeError):
            pickle.dumps(f)


@pytest.mark.skipif(not LINUX, reason="looks into /proc")
def test_no_descriptor_is_left_or_inherited(file):
    before = len(os.listdir("/proc/self/fd"))
    f = File(file, "r")
    assert not os.get_inheritable(f.fileno())
    del f
    for _ in range(20):
        File(file, "r").close()
        with pytest.raises(UnsupportedError):
            File("/dev/null", "r")
    sync_directory(file.parent)
    assert len(os.listdir("/proc/self/fd")) == before


def test_closing_under_readers_is_safe(file, pattern):
    """A reader that is inside a call ends it; later calls raise. No other file is ever read."""
    for _ in range(50):
        f = File(file, "r")
        wrong = []

        def read(f=f, wrong=wrong):
            try:
                while True:
                    if f.read(100, 1000) != pattern[100:1100]:
                        wrong.append(True)
            except ValueError:
                pass

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        f.close()
        for thread in threads:
            thread.join()
        assert not wrong


# --- what it is -----------------------------------------------------------------------------------


def test_identity_stays_and_tells_files_apart(file, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"x")
    with File(file, "r+") as a, File(file, "r") as again, File(other, "r") as b:
        assert a.identity() == again.identity() != b.identity()
        a.resize(5)
        assert a.identity() == again.identity()
        device, inode, birth = a.identity()
        found = os.stat(file)
        assert (device, inode) == (found.st_dev, found.st_ino) or WINDOWS
        if birth:
            assert abs(birth - found.st_mtime_ns) < 3600 * 10**9


@pytest.mark.skipif(WINDOWS, reason="POSIX counts blocks")
def test_has_name(file, tmp_path, symlink):
    link, none = tmp_path / "link", tmp_path / "none"
    symlink(link, file)
    other = tmp_path / "other"
    shutil.copy(file, other)
    with File(file, "r") as f:
        assert f.has_name(str(file))
        assert f.has_name(str(link))
        assert not f.has_name(str(other))
        assert not f.has_name(str(none))
        os.replace(file, none)
        assert f.has_name(str(none))
        assert not f.has_name(str(file))
    with pytest.raises(ValueError, match="closed"):
        f.has_name(str(file))


@pytest.mark.skipif(WINDOWS, reason="nothing is found below a file there")
def test_has_name_raises_what_is_in_the_way(file):
    with File(file, "r") as f, pytest.raises(NotADirectoryError) as caught:
        f.has_name(f"{file}/below")
    assert caught.value.filename == f"{file}/below"


def test_allocated_tells_holes(tmp_path):
    with File(tmp_path / "f", "x+") as f:
        f.resize(1 << 20)
        assert f.allocated() < 1 << 20
        f.write(0, bytes(1 << 20))
        f.sync()
        assert f.allocated() >= 1 << 20


# --- bytes ----------------------------------------------------------------------------------------


def test_read(file, pattern):
    with File(file, "r") as f:
        assert f.read(0, 10) == pattern[:10]
        assert f.read(9_995, 10) == pattern[-5:]
        assert f.read(20_000, 10) == b""
        assert f.read(5, 0) == b""
        assert f.read(0, 1 << 60) == pattern  # not a byte more is taken
        assert f.read(1 << 62, 1 << 62) == b""
        with pytest.raises(ValueError, match="offset must be between"):
            f.read(-1, 1)
        with pytest.raises(TypeError, match="length must be an int"):
            f.read(0, 1.0)


def test_read_into(file, pattern):
    buffer = np.zeros(1000, "u1")
    with File(file, "r") as f:
        assert f.read_into(50, buffer) == 1000
        assert buffer.tobytes() == pattern[50:1050]
        assert f.read_into(9_990, buffer) == 10
        assert f.read_into(0, bytearray()) == 0
        with pytest.raises(BufferError):
            f.read_into(0, b"constant")


def test_write_of_many_parts(tmp_path):
    rng = random.Random(1)
    parts = [rng.randbytes(rng.choice([0, 1, 7, 4096])) for _ in range(2000)]
    with File(tmp_path / "f", "x+") as f:
        f.write(3, *parts)
        f.write(0)
        f.write(0, b"", b"")
        f.write(0, b"abc", np.array([], "f8"))
    assert (tmp_path / "f").read_bytes() == b"abc" + b"".join(parts)


def test_write_past_the_end_leaves_a_hole(file, pattern):
    with File(file, "r+") as f:
        f.write(20_000, b"far")
    assert file.read_bytes() == pattern + bytes(10_000) + b"far"


def test_parts_must_be_contiguous_buffers(file, pattern):
    with File(file, "r+") as f:
        with pytest.raises(TypeError):
            f.write(0, b"good", "text")
        with pytest.raises((BufferError, ValueError)):
            f.write(0, np.arange(10)[::2])
    assert file.read_bytes() == pattern


@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=200)), max_size=40))
def test_write_runs_agrees_with_slices(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("runs") / "f"
    wanted = bytearray(6000)
    with File(path, "x+") as f:
        f.resize(6000)
        f.write_runs(
            runs_of(*((at, len(data)) for at, data in items)), b"".join(d for _, d in items)
        )
    for at, data in items:  # in order: later runs win
        wanted[at : at + len(data)] = data
    assert path.read_bytes() == wanted


def test_runs_next_to_each_other(tmp_path):
    with File(tmp_path / "f", "x+") as f:
        f.write_runs(np.array([[0, 2], [2, 3], [5, 0], [9, 1]]), b"abcdef")
        f.write_runs(b"", b"")
    assert (tmp_path / "f").read_bytes() == b"abcde\0\0\0\0f"


@pytest.mark.parametrize(
    "pairs", [[(0, 2)], [(0, 4)], [(-1, 3)], [(0, 4), (4, -1)], [(2**63 - 2, 3)], [(5, -3), (0, 6)]]
)
def test_bad_runs_write_nothing(file, pattern, pairs):
    with File(file, "r+") as f, pytest.raises(ValueError, match="runs must be pairs"):
        f.write_runs(runs_of(*pairs), b"abc")
    assert file.read_bytes() == pattern


def test_half_a_pair_is_refused(file):
    with File(file, "r+") as f, pytest.raises(ValueError, match="not 8 bytes"):
        f.write_runs(array.array("q", [1]), b"")


def test_read_only_file_is_not_written(file, pattern):
    with File(file, "r") as f:
        calls = [
            lambda: f.write(0, b"x"),
            lambda: f.write_runs(runs_of((0, 1)), b"x"),
            lambda: f.resize(1),
            lambda: f.allocate(0, 1),
            lambda: f.try_lock(0, 1, True),
            lambda: f.clone(f),
        ]
        for call in calls:
            with pytest.raises(TypeError, match="read-only"):
                call()
    assert file.read_bytes() == pattern


def test_resize_and_allocate(tmp_path):
    with File(tmp_path / "f", "x+") as f:
        f.write(0, b"abcdef")
        f.resize(3)
        f.resize(5)
        assert f.read(0, 10) == b"abc\0\0"
        with contextlib.suppress(UnsupportedError):
            f.allocate(0, 1 << 20)
            assert f.allocated() >= 1 << 20 or WINDOWS
        assert f.read(0, 10) == b"abc\0\0"
        f.allocate(7, 0)
        with pytest.raises(ValueError, match="beyond"):
            f.allocate(2**63 - 1, 2)
        with pytest.raises(OSError) as caught:
            f.allocate(0, 1 << 60)
        assert caught.value.filename == f.path


def test_sync(file):
    with File(file, "r+") as f:
        f.write(0, b"x")
        f.sync()
    sync_directory(file.parent)
    sync_directory(os.fsencode(file.parent))
    with pytest.raises(TypeError):
        sync_directory(5)


@pytest.mark.skipif(WINDOWS, reason="directories need no syncing")
def test_syncing_what_is_no_directory(file):
    with pytest.raises(NotADirectoryError):
        sync_directory(file)
    with pytest.raises(FileNotFoundError) as caught:
        sync_directory(file.parent / "none")
    assert caught.value.filename == str(file.parent / "none")


@pytest.mark.skipif(WINDOWS, reason="POSIX limits")
def test_short_writes_go_on_until_the_error(tmp_path, run_python):
    """The system takes what fits the limit, and then none."""
    run_python(
        """
import errno, resource
from mmapkit._native import File
with File("f", "x+") as f:
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        f.write(5000, b"a" * 3000, b"b" * 3000)
    except OSError as error:
        assert (error.errno, error.filename) == (errno.EFBIG, f.path), error
    else:
        raise AssertionError
    assert f.read(0, 20_000) == bytes(5000) + b"a" * 3000 + b"b" * 2000
"""
    )


# --- locks ----------------------------------------------------------------------------------------


def test_locks_shut_others_out(file):
    with File(file, "r+") as a, File(file, "r+") as b, File(file, "r") as reader:
        assert a.try_lock(FAR, 1, True)
        assert not b.try_lock(FAR, 1, True)
        assert not reader.try_lock(FAR, 1, False)
        assert b.try_lock(FAR + 1, 1, True)  # the byte beside it
        a.unlock(FAR, 1)
        assert reader.try_lock(FAR, 1, False)
        assert a.try_lock(FAR, 1, False)
        assert not b.try_lock(FAR, 1, True)
        a.close()
        assert not b.try_lock(FAR, 1, True)
        reader.close()
        assert b.try_lock(FAR, 1, True)


def test_lock_ranges_overlap(file):
    with File(file, "r+") as a, File(file, "r+") as b:
        assert a.try_lock(100, 100, True)
        assert not b.try_lock(0, 101, True)
        assert not b.try_lock(199, 10, False)
        assert b.try_lock(0, 100, True)
        assert b.try_lock(200, 2**63 - 1 - 200, True)


def test_locks_are_not_a_descriptors(file):
    """Closing another descriptor of the same file in this process leaves a lock as it is."""
    with File(file, "r+") as a, File(file, "r+") as b:
        assert a.try_lock(FAR, 1, True)
        file.read_bytes()
        File(file, "r").close()
        assert not b.try_lock(FAR, 1, True)


def test_unlock_of_what_is_not_locked(file):
    with File(file, "r+") as f:
        f.unlock(FAR, 1)
        for call in (f.unlock, lambda at, size: f.try_lock(at, size, False)):
            with pytest.raises(ValueError, match="at least 1"):
                call(0, 0)
            with pytest.raises(ValueError, match="beyond"):
                call(2**63 - 1, 2)


def test_locks_of_another_process_go_with_it(file):
    script = """
import sys
from mmapkit._native import File
f = File(sys.argv[1], "r+")
print(f.try_lock(2**62 + 1, 1, True), flush=True)
sys.stdin.read()
"""
    found = str(Path(sys.modules["mmapkit"].__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": found},
    ) as child:
        assert child.stdout.readline() == "True\n"
        with File(file, "r+") as f:
            assert not f.try_lock(FAR + 1, 1, False)
            assert f.try_lock(FAR, 1, True)
            child.kill()
            child.wait()
            assert f.try_lock(FAR + 1, 1, True)


# --- clones ---------------------------------------------------------------------------------------


def test_clone_copies_all_or_says_that_it_cannot(file, tmp_path, pattern):
    with File(file, "r") as source, File(tmp_path / "copy", "x+") as copy:
        copy.write(0, b"old")
        if copy.clone(source):
            assert copy.read(0, 1 << 20) == pattern
            copy.write(0, b"changed")
            assert source.read(0, 7) == pattern[:7]
        else:
            assert copy.read(0, 10) == b"old"
        with pytest.raises(TypeError):
            copy.clone("path")


# --- Windows --------------------------------------------------------------------------------------


def test_an_open_file_can_be_renamed_and_removed(file, tmp_path):
    with File(file, "r+") as f:
        os.replace(file, tmp_path / "elsewhere")
        f.write(0, b"still")
        os.remove(tmp_path / "elsewhere")


# --- errors of the system -------------------------------------------------------------------------


@pytest.fixture
def with_errors(file, run_python):
    """Run a script in which system calls on the file fail: strace puts the errors in."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")

    def run(script, *injections):
        found = str(Path(sys.modules["mmapkit"].__file__).parents[1])
        command = [strace, "-f", "-qq", "-o", os.devnull, "-P", str(file)]
        for one in injections:
            command += ["-e", f"inject={one}"]
        head = "import errno, sys\nfrom mmapkit import UnsupportedError\n"
        head += "from mmapkit._native import File\nf = File(sys.argv[1], 'r+')\n"
        ended = subprocess.run(
            [*command, sys.executable, "-c", head + script, str(file)],
            env={**os.environ, "PYTHONPATH": found},
            capture_output=True,
            text=True,
            timeout=60,
        )
        if "PTRACE" in ended.stderr or "not permitted" in ended.stderr:
            pytest.skip("may not trace here")
        assert ended.returncode == 0, ended.stderr

    return run


@pytest.mark.skipif(not LINUX, reason="strace")
@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_filesystem_without_locks(with_errors, error):
    with_errors(
        """
try:
    f.try_lock(2**62, 1, True)
except UnsupportedError as error:
    assert error.filename == f.path and "no locks" in str(error), error
else:
    raise AssertionError
""",
        f"fcntl:error={error}:when=2+",  # the first asks for the file's flags
    )


@pytest.mark.skipif(not LINUX, reason="strace")
@pytest.mark.parametrize("error", ["EAGAIN", "EACCES"])
def test_both_words_for_a_locked_range(with_errors, error):
    with_errors("assert f.try_lock(0, 1, True) is False", f"fcntl:error={error}:when=2")


@pytest.mark.skipif(not LINUX, reason="strace")
def test_interrupted_calls_go_on(with_errors):
    calls = ("pread64", "pwrite64", "pwritev", "fdatasync", "ftruncate", "fallocate", "fcntl")
    with_errors(
        """
f.write(0, b"ab", b"cd")
f.write_runs(memoryview(bytes(8) + (2).to_bytes(8, sys.byteorder)), b"AB")
assert f.read(0, 4) == b"ABcd"
f.resize(100)
f.allocate(0, 1000)
f.sync()
assert f.try_lock(0, 1, True)
""",
        *(f"{call}:error=EINTR:when={2 if call == 'fcntl' else 1}" for call in calls),
    )


@pytest.mark.skipif(not LINUX, reason="strace")
@pytest.mark.parametrize(
    ("call", "statement"),
    [
        ("pwritev", "f.write(0, b'a', b'b')"),
        ("pwrite64", "f.write_runs(memoryview(bytes(8) + (1).to_bytes(8, sys.byteorder)), b'A')"),
        ("pread64", "f.read(0, 10)"),
        ("fdatasync", "f.sync()"),
        ("ftruncate", "f.resize(1)"),
        ("fallocate", "f.allocate(0, 10)"),
    ],
)
def test_errors_name_the_file(with_errors, call, statement):
    with_errors(
        f"""
try:
    {statement}
except OSError as error:
    assert (error.errno, error.filename) == (errno.EIO, f.path), error
else:
    raise AssertionError
""",
        f"{call}:error=EIO",
    )
