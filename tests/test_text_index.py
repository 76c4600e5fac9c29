"""The index of lines beside a file: used while it is true, brought up to date, never believed."""

import os
import random
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.text import index as indexing

from .test_text_lines import naive

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and signals of POSIX")
not_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere"
)


@pytest.fixture
def text():
    chosen = random.Random(1)
    return b"".join(b"%d %s\n" % (i, b"x" * chosen.randrange(60)) for i in range(3000)) + b"rest"


@pytest.fixture
def log(tmp_path, text):
    path = tmp_path / "some.log"
    path.write_bytes(text)
    return path


@pytest.fixture
def beside(log):
    return log.with_name("some.log.lines")


@pytest.fixture
def scans(monkeypatch):
    """How many bytes are read to find lines, for each time."""
    found = []

    def scan(text, start, stop, *rest):
        found.append(stop - start)
        return real(text, start, stop, *rest)

    real = indexing.scan
    monkeypatch.setattr(indexing, "scan", scan)
    monkeypatch.setattr("mmapkit.text.lines.scan", scan)
    return found


def lines_in(path, **how):
    """All lines by the index beside the file."""
    with mk.open(path) as m:
        return list(m.lines(**{"index": True, **how}))


def touch(path, seconds):
    """Shift the time of the last change."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + round(seconds * 1e9)))


# --- used, extended, made again -------------------------------------------------------------------


def test_index_is_made_once_and_used(log, beside, text, scans):
    assert lines_in(log) == naive(text)
    made = beside.stat()
    for _ in range(3):
        assert lines_in(log) == naive(text)
    assert scans == [len(text)]
    assert beside.stat() == made


def test_numpy_reads_the_index(log, beside, text):
    lines_in(log)
    with np.load(beside) as found:
        assert found["line_index"]["size"] == len(text)
        assert found["line_index"]["mtime_ns"] == log.stat().st_mtime_ns
        ends = np.cumsum([len(line) for line in naive(text, keepends=True)])
        assert found["ends"].tolist() == ends[:-1].tolist()
        assert found["wraps"].tolist() == []


def test_index_elsewhere(log, beside, text, tmp_path, scans):
    place = tmp_path / "other"
    for path in (place, str(place), os.fsencode(place)):
        assert lines_in(log, index=path) == naive(text)
    assert scans == [len(text)]
    assert place.exists()
    assert not beside.exists()
    with mk.open(log) as m:
        m.lines().save()
        assert list(m.lines(index=False)) == naive(text)
    scans.clear()
    assert lines_in(log) == naive(text)
    assert scans == []


def test_grown_file_is_read_where_it_is_new(log, beside, text, scans):
    lines_in(log)
    for more in (b" of it", b"\r", b"\n", b"new\n" * 100, b"x" * 20_000, b"\n"):
        with log.open("ab") as file:
            file.write(more)
        text += more
        scans.clear()
        assert lines_in(log) == naive(text)
        assert scans == [len(more)]
        scans.clear()
        assert lines_in(log) == naive(text)
        assert scans == []


def test_large_index_is_saved_again_once_that_pays(log, beside, text, scans, monkeypatch):
    monkeypatch.setattr(indexing, "SMALL_BYTES", 0)
    lines_in(log)
    made = beside.read_bytes()
    for count in (1, 2):
        with log.open("ab") as file:
            file.write(b"new\n")
        text += b"new\n"
        assert lines_in(log) == naive(text)
        assert scans[-1] == 4 * count
        assert beside.read_bytes() == made
    with log.open("ab") as file:
        file.write(b"x" * 20_000 + b"\n")
    text += b"x" * 20_000 + b"\n"
    assert lines_in(log) == naive(text)
    assert beside.read_bytes() != made
    scans.clear()
    assert lines_in(log) == naive(text)
    assert scans == []


@pytest.mark.parametrize(
    "change",
    [
        lambda path, text: touch(path, 1),
        lambda path, text: touch(path, -1),
        lambda path, text: path.write_bytes(text[::-1]),
        lambda path, text: path.write_bytes(text[: len(text) // 2]),
        lambda path, text: path.write_bytes(b"x" + text),
        lambda path, text: path.write_bytes(b"other\n" * len(text)),
        lambda path, text: path.write_bytes(b""),
        lambda path, text: path.write_bytes(text[:5000] + b"\n" * 9000 + text[14_000:] + b"new"),
    ],
    ids=["later", "earlier", "other", "half", "shifted", "longer", "empty", "middle"],
)
def test_other_file_is_indexed_anew(log, text, scans, change):
    lines_in(log)
    change(log, text)
    now = log.read_bytes()
    scans.clear()
    assert lines_in(log) == naive(now)
    assert scans == [len(now)]
    scans.clear()
    assert lines_in(log) == naive(now)
    assert scans == []


def test_rotated_file_is_indexed_anew(log, beside, text, scans):
    lines_in(log)
    before = log.stat()
    other = log.with_name("new")
    other.write_bytes(b"\n" * len(text))  # as long, ...
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))  # ... and as old
    os.replace(other, log)
    assert lines_in(log) == [b""] * len(text)
    assert scans == [len(text), len(text)]


def test_file_that_has_grown_since_it_was_mapped(log, beside, text, scans):
    with mk.open(log) as old:
        with log.open("ab") as file:
            file.write(b"\nnew\n")
        assert list(old.lines(index=True)) == naive(text)
        assert lines_in(log) == naive(text + b"\nnew\n")
        made = beside.read_bytes()
        assert list(old.lines(index=True)) == naive(text)  # which knows less than the index
        assert beside.read_bytes() == made
        assert old.lines(index=True).refresh() == len(naive(text + b"\nnew\n"))


def test_refresh_goes_on_behind_a_saved_index(log, beside, text):
    lines_in(log)
    with mk.open(log) as m:
        found = m.lines(index=True)
        for more in (b"!\n", b"new\n", b"x"):
            with log.open("ab") as file:
                file.write(more)
            text += more
            found.refresh()
            assert list(found) == naive(text)
        found.save()
    with mk.open(log) as m:
        assert list(m.lines(index=True)) == naive(text)


def test_empty_file(log, beside):
    log.write_bytes(b"")
    for _ in range(2):
        assert lines_in(log) == []
    log.write_bytes(b"\n")
    for _ in range(2):
        assert lines_in(log) == [b""]


texts = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"d" * 50])).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from(["append", "write", "touch"]), texts), max_size=6))
def test_lines_are_right_whatever_happens_to_the_file(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("f") / "f"
    path.write_bytes(b"")
    for number, (what, more) in enumerate(steps):
        if what == "touch":
            touch(path, 1)
        else:
            with path.open("ab" if what == "append" else "wb") as file:
                file.write(more)
            touch(path, number + 1)  # the clock may be coarser than this test is slow
        assert lines_in(path) == naive(path.read_bytes())


# --- what is no index, and what is a bad one ------------------------------------------------------


def test_foreign_file_is_left_alone(log, beside, text, tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.arange(3))
    foreign = (tmp_path / "arrays.npz").read_bytes()
    for content in (b"my own notes\n", b"PK", foreign):
        beside.write_bytes(content)
        for how in (True, beside):
            with pytest.raises(mk.FormatError, match=r"some\.log\.lines.*another path"):
                lines_in(log, index=how)
        with mk.open(log) as m, pytest.raises(mk.FormatError, match="another path"):
            m.lines().save()
        assert beside.read_bytes() == content
    beside.write_bytes(b"")  # of which nothing is lost
    assert lines_in(log) == naive(text)


@posix
def test_text_is_not_replaced_by_its_index(log, text, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(log)
    for path in (log, link):
        with pytest.raises(ValueError, match="the text itself"):
            lines_in(log, index=path)
    assert log.read_bytes() == text


@pytest.mark.parametrize("content", [b"", b"text\n"])
def test_text_is_not_replaced_under_another_name(log, content):
    log.write_bytes(content)
    names = [log.with_name("hard link"), log.with_name("SOME.LOG")]
    os.link(log, names[0])
    for path in filter(Path.exists, names):  # the second one where case is ignored
        with pytest.raises(ValueError, match="the text itself"):
            lines_in(log, index=path)
        assert path.read_bytes() == content
    assert log.read_bytes() == content


def rewritten(path, **changes):
    """Write an index with other arrays than it had."""
    with np.load(path) as found:
        arrays = dict(found)
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    mk.save_npz(path, aligned=False, **arrays)


def field(name, value):
    def change(about):
        about = about.copy()
        about[name] = value
        return about

    return change


@pytest.mark.parametrize(
    "changes",
    [
        {"ends": lambda ends: ends.astype("i8")},
        {"ends": lambda ends: ends.astype(">u4")},
        {"ends": lambda ends: ends.reshape(2, -1)},
        {"ends": lambda ends: np.append(ends, np.uint32(0xFFFF_FFFF))},
        {"ends": lambda ends: np.zeros(1 << 20, "u4")},
        {"wraps": lambda wraps: np.array([1])},
        {"wraps": lambda wraps: np.zeros(0, "f8")},
        {"wraps": lambda wraps: np.zeros((0, 2), "i8")},
        {"line_index": field("version", 2)},
        {"line_index": field("size", -1)},
        {"line_index": field("size", 1 << 62)},
        {"line_index": field("size", 5 << 32)},
        {"line_index": field("head_crc", 0)},
        {"line_index": field("tail_crc", -5)},
        {"line_index": lambda about: about.reshape(1)},
        {"line_index": lambda about: np.int64(3)},
    ],
)
def test_index_that_makes_no_sense_is_made_again(log, beside, text, scans, changes):
    lines_in(log)
    good = beside.read_bytes()
    rewritten(beside, **changes)
    assert beside.read_bytes() != good
    assert lines_in(log) == naive(text)
    assert scans == [len(text), len(text)]
    assert beside.read_bytes() == good


def test_index_without_an_array_is_made_again(log, beside, text, scans):
    lines_in(log)
    with np.load(beside) as found:
        about = found["line_index"]
    mk.save_npz(beside, line_index=about)
    assert lines_in(log) == naive(text)
    assert scans == [len(text), len(text)]


def test_truncated_index_is_made_again(log, beside, text):
    lines_in(log)
    good = beside.read_bytes()
    for size in [*range(44, len(good), 97), len(good) - 1]:
        beside.write_bytes(good[:size])
        assert lines_in(log) == naive(text), size
        assert beside.read_bytes() == good


def test_index_of_another_file_is_made_again(log, text, tmp_path, scans):
    other = tmp_path / "other.log"
    other.write_bytes(text[::-1])
    os.utime(other, ns=(0, log.stat().st_mtime_ns))
    place = tmp_path / "index"
    for _ in range(2):
        assert lines_in(other, index=place) == naive(text[::-1])
        assert lines_in(log, index=place) == naive(text)
    assert len(scans) == 4


def outcome(call, *args):
    """What a call returns, or what it raises."""
    try:
        return call(*args)
    except (mk.FormatError, ValueError) as error:
        return error


@pytest.mark.parametrize("seed", range(3))
def test_damaged_numbers_give_errors_or_pieces_of_the_text(log, beside, text, seed):
    lines_in(log)
    good = beside.read_bytes()
    with mk.open_arrays(beside) as arrays:
        first, size = arrays["ends"].offset, arrays["ends"].nbytes
    chosen = random.Random(seed)
    for _ in range(4):
        bad = bytearray(good)
        for _ in range(chosen.choice([1, 5, 500])):
            bad[first + chosen.randrange(size)] = chosen.choice([0, 255, chosen.randrange(256)])
        beside.write_bytes(bad)
        with mk.open(log) as m:
            found = m.lines(index=True)
            assert len(found) == 3001
            told = [outcome(found.__getitem__, i) for i in range(len(found))]
            errors = [one for one in told if not isinstance(one, bytes)]
            assert all(one in text for one in told if isinstance(one, bytes))
            assert bool(errors) == (told != naive(text))
            told = [outcome(found.at_offset, o) for o in range(0, len(text), 997)]
            errors += [one for one in told if not isinstance(one, int)]
            assert all(0 <= one < len(found) for one in told if isinstance(one, int))
            for error in errors:
                assert "has changed" in str(error) or f"{str(beside)!r} is damaged" in str(error)
            assert len(found.offsets) == len(found)


# --- texts that have no index ---------------------------------------------------------------------


def test_part_of_a_file_has_no_index(log, beside, text):
    for how in ({"offset": 5}, {"length": 5}, {"offset": 5, "length": 7}):
        with mk.open(log, **how) as m, pytest.raises(ValueError, match=r"whole files.*bytes \["):
            m.lines(index=True)
    with mk.open(log, length=len(text)) as m:
        assert list(m.lines(index=True)) == naive(text)
    beside.unlink()
    with mk.open(log, offset=5) as m:
        found = m.lines()
        with pytest.raises(ValueError, match="whole files"):
            found.save()


def test_what_is_in_no_file_has_no_index(log):
    with mk.open(log, "c") as m, pytest.raises(ValueError, match="mode 'c'"):
        m.lines(index=True)
    for m in (mk.anonymous(10), mk.temporary(10)):
        with m, pytest.raises(ValueError, match="file"):
            m.lines(index=True)
    with pytest.raises(TypeError, match="not for bytes"):
        mk.lines(b"a\n", index=True)
    with pytest.raises(TypeError, match="not for bytes"):
        mk.lines(b"a\n").save("x")
    assert len(mk.lines(b"a\n", index=False)) == 1


# --- saving ---------------------------------------------------------------------------------------


def test_index_that_cannot_be_saved_is_in_memory(log, beside, text, monkeypatch):
    def fail(*args, **how):
        raise PermissionError(13, "Permission denied", str(beside))

    monkeypatch.setattr(indexing, "save_npz", fail)
    with mk.open(log) as m:
        with pytest.warns(
            RuntimeWarning, match=r"some\.log\.lines.*in memory only.*Permission"
        ) as w:
            found = m.lines(index=True)
        assert w[0].filename == __file__
        assert list(found) == naive(text)
        for use in (lambda: m.lines(index=beside), found.save):
            with pytest.raises(PermissionError):
                use()


@not_root
def test_folder_that_cannot_be_written(log, text):
    log.parent.chmod(0o555)
    try:
        with pytest.warns(RuntimeWarning, match="in memory only"):
            assert lines_in(log) == naive(text)
    finally:
        log.parent.chmod(0o755)


def test_folder_that_is_not_there(log, tmp_path):
    with pytest.raises(FileNotFoundError):
        lines_in(log, index=tmp_path / "nowhere" / "index")
    with pytest.raises(OSError, match=r"directory|denied"):
        lines_in(log, index=tmp_path)


@posix
def test_index_keeps_its_permissions(log, beside):
    lines_in(log)
    beside.chmod(0o640)
    with log.open("ab") as file:
        file.write(b"more\n")
    lines_in(log)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o640


def test_nothing_else_is_left_in_the_folder(log, beside):
    lines_in(log)
    assert sorted(path.name for path in log.parent.iterdir()) == [log.name, beside.name]


def test_nothing_is_left_open(log, beside, text):
    lines_in(log)
    m = mk.open(log)
    found = m.lines(index=True)
    m.close()
    assert found.index_bytes == 4 * 3000
    del found
    os.replace(beside, log.with_name("moved"))
    if Path("/proc/self/maps").exists():
        assert "moved" not in Path("/proc/self/maps").read_text()


@posix
def test_two_at_once_leave_a_good_index(log, beside, text):
    errors = []

    def work():
        try:
            for _ in range(10):
                beside.unlink(missing_ok=True)
                assert lines_in(log) == naive(text)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert lines_in(log) == naive(text)


KILLED = """
import sys, mmapkit as mk
print("ready", flush=True)
while True:
    with mk.open(sys.argv[1]) as m:
        m.lines().save()
"""


@posix
def test_killed_while_saving_leaves_an_index_that_is_whole(log, beside, text, scans):
    chosen = random.Random(1)
    lines_in(log)
    environment = {**os.environ, "PYTHONPATH": str(Path(mk.__file__).parents[1])}
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, log], stdout=subprocess.PIPE, env=environment
        )
        with process:
            process.stdout.readline()
            threading.Event().wait(chosen.random() * 0.1)
            process.kill()
        assert lines_in(log) == naive(text)
    assert scans == [len(text)]


def test_warnings_are_not_given_for_nothing(log):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines_in(log)
