"""Lines by number: against a naive splitter, over any buffer, over mappings that change."""

import gc
import itertools
import os
import pickle
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit import _lines, _scan
from mmapkit.text.lines import lines_of

WRAP = 1 << 32

posix = pytest.mark.skipif(os.name != "posix", reason="mapped files cannot be cut on Windows")

texts = st.one_of(
    st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bc", b"\0", b"\xff"])).map(b"".join),
    st.binary(),
)


def naive(text, keepends=False):
    """Lines by the definition: a newline ends one, with one carriage return right before it."""
    found, start = [], 0
    while start < len(text):
        at = text.find(b"\n", start)
        stop = len(text) if at < 0 else at + 1
        line = text[start:stop]
        if not keepends and at >= 0:
            line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        found.append(line)
        start = stop
    return found


def starts_of(text):
    return np.cumsum([0] + [len(line) for line in naive(text, keepends=True)])[:-1].tolist()


@pytest.fixture
def log(tmp_path):
    """A file of lines of many lengths, some with two bytes of ending; its text."""
    chosen = random.Random(3)
    rows = [b"%d %s" % (i, b"x" * chosen.randrange(200)) for i in range(5000)]
    text = b"".join(row + chosen.choice([b"\n", b"\n", b"\r\n"]) for row in rows) + b"the rest"
    path = tmp_path / "some.log"
    path.write_bytes(text)
    return path, text


# --- what a line is -------------------------------------------------------------------------------


@given(texts, st.booleans())
def test_lines_are_those_of_a_naive_splitter(text, keepends):
    expected = naive(text, keepends)
    found = mk.lines(text, keepends=keepends)
    assert len(found) == len(expected)
    assert list(found) == expected
    assert [found[i] for i in range(-len(expected), len(expected))] == expected * 2
    assert found.offsets.tolist() == starts_of(text)
    spans = [found.span(i) for i in range(len(found))]
    assert [text[start:stop] for start, stop in spans] == expected


@given(texts, st.slices(30), st.slices(30))
def test_slices_are_those_of_a_list(text, first, second):
    expected = naive(text)
    found = mk.lines(text)
    for key in (first, second):
        found, expected = found[key], expected[key]
        assert len(found) == len(expected)
        assert list(found) == expected
        assert [found[i] for i in range(len(found))] == expected
        assert list(reversed(found)) == expected[::-1]
    assert len(found.offsets) == len(expected)


@given(texts)
def test_each_byte_is_in_its_line(text):
    found = mk.lines(text)
    expected = [number for number, line in enumerate(naive(text, keepends=True)) for _ in line]
    assert [found.at_offset(o) for o in range(len(text))] == expected
    assert [found.line_number(o) - 1 for o in range(len(text))] == expected
    every = np.arange(len(text))
    assert found.at_offset(every).tolist() == expected
    assert found.line_number(every).dtype == np.int64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\r\n", [b""]),
        (b"\r", [b"\r"]),
        (b"a\r", [b"a\r"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"\n\r", [b"", b"\r"]),
        (b"no newline at all", [b"no newline at all"]),
        (b"a\n\n", [b"a", b""]),
        (b"a\rb\x0bc\x85\n", [b"a\rb\x0bc\x85"]),
    ],
)
def test_endings(text, expected):
    assert list(mk.lines(text)) == expected


@pytest.mark.parametrize("name", _scan.kernel_names())
def test_every_kernel_lists_the_same_newlines(name):
    before = _scan.kernel_name()
    chosen = np.random.default_rng(1)
    try:
        _scan.use_kernels(name)
        for share in (0, 1, 8, 60, 200, 256):  # of 256: from no newline to nothing else
            text = np.where(chosen.integers(0, 256, 5000) < share, 10, 97).astype("u1")
            for start, stop in [(0, 5000), (1, 4999), (63, 64), (64, 320), (700, 700), (3, 1000)]:
                found = np.frombuffer(_scan.list_newlines(text, start, stop), "u4")
                assert np.array_equal(found, np.flatnonzero(text[start:stop] == 10) + start + 1)
    finally:
        _scan.use_kernels(before)


# --- indices --------------------------------------------------------------------------------------


def test_indices_out_of_range():
    found = mk.lines(b"a\nb\nc")
    for index in (3, -4, 1 << 70, -(1 << 70)):
        with pytest.raises(IndexError, match=r"3 lines|cannot fit"):
            found[index]
        with pytest.raises(IndexError):
            found.span(index)
    assert found[np.int64(1)] == b"b"
    assert found[True] == b"b"
    for key in ("a", 1.0, None, (1, 2)):
        with pytest.raises(TypeError, match="integers or slices"):
            found[key]


def test_offsets_out_of_range():
    found = mk.lines(b"a\nb\nc")
    for offset in (5, 1 << 62, 1 << 63, 1 << 70, -1):
        with pytest.raises(IndexError, match=str(offset)):
            found.at_offset(offset)
        if offset < 1 << 64:
            with pytest.raises(IndexError, match=str(offset)):
                found.line_number(np.array([0, offset], "i8" if offset < 1 << 63 else "u8"))
    with pytest.raises(IndexError):
        mk.lines(b"").at_offset(0)
    with pytest.raises(TypeError, match="float"):
        found.at_offset(np.array([1.0]))
    with pytest.raises(TypeError):
        found.at_offset("1")
    assert found.at_offset(np.array([[0, 1], [2, 4]], "i2")).tolist() == [[0, 0], [1, 2]]
    assert found.at_offset([]).tolist() == []


def test_a_part_counts_its_own_lines_and_numbers_those_of_the_text():
    part = mk.lines(b"a\nb\nc\nd\ne\n")[1::2]
    assert list(part) == [b"b", b"d"]
    assert part.at_offset(6) == 1
    assert part.line_number(6) == 4
    assert part.at_offset(np.array([2, 7])).tolist() == [0, 1]
    assert part.offsets.tolist() == [2, 6]
    for offset in (0, 4, np.array([2, 4])):
        with pytest.raises(IndexError, match="not among these"):
            part.at_offset(offset)
    assert part.line_number(0) == 1


def test_lines_are_made_by_lines():
    with pytest.raises(TypeError, match="made by"):
        mk.Lines()
    for use in (len, iter, lambda found: found[0], lambda found: found[:]):
        with pytest.raises(TypeError, match="made by"):
            use(mk.Lines.__new__(mk.Lines))


def test_repr_tells_how_many_and_of_what(log):
    path, text = log
    assert repr(mk.lines(b"a\nb")) == "<mmapkit.Lines 'bytes': 2 lines>"
    with mk.open(path) as m:
        assert repr(m.lines()) == f"<mmapkit.Lines {str(path)!r}: {len(naive(text))} lines>"


# --- what lines are of ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda b: np.frombuffer(b, "u1"),
        lambda b: np.frombuffer(b, "S1"),
        lambda b: np.frombuffer(b, ">u2").reshape(2, -1),
        lambda b: np.frombuffer(b, [("x", "u1"), ("y", "i1")]),
    ],
)
def test_any_contiguous_buffer(wrap):
    text = b"one\r\ntwo\n\nthree\nend"
    text += b" " * (-len(text) % 4)
    for views in (False, True):
        found = mk.lines(wrap(text), views=views)
        assert list(map(bytes, found)) == naive(text)
        assert bytes(found[0]) == b"one"


def test_what_has_no_lines_raises():
    with pytest.raises(TypeError, match=r"encode\(\)"):
        mk.lines("text")
    with pytest.raises(TypeError, match="int"):
        mk.lines(3)
    with pytest.raises(BufferError, match="contiguous"):
        mk.lines(np.zeros((4, 4), "u1")[:, ::2])
    for threads in (0, -1):
        with pytest.raises(ValueError, match="threads"):
            mk.lines(b"", threads=threads)


def test_lines_of_a_mapping(log):
    path, text = log
    expected = naive(text)
    for backend in ("map", "read"):
        with mk.open(path, backend=backend) as m:
            found = m.lines()
            assert list(found) == expected
            assert found[1234] == expected[1234]
            assert found.text is m
            assert m.exports == 0
    with mk.anonymous(100) as m:
        m[:4] = b"a\nb\n"
        assert list(m.lines())[:2] == [b"a", b"b"]
    empty = path.with_name("empty")
    empty.write_bytes(b"")
    with mk.open(empty) as m:
        assert list(m.lines()) == []
        assert m.lines().offsets.tolist() == []


def test_views_are_read_only_and_keep_the_mapping(log):
    path, text = log
    expected = naive(text)
    for mode in ("r", "r+", "c"):
        m = mk.open(path, mode)
        found = m.lines(views=True)
        views = list(found)
        assert [bytes(view) for view in views] == expected
        one = found[7]
        for view in (one, views[3]):
            assert isinstance(view, memoryview)
            assert view.readonly
            with pytest.raises(TypeError):
                view[0] = 0
        with pytest.raises(BufferError, match="alive"):
            m.close()
        del views, view, m, found
        gc.collect()
        assert bytes(one) == expected[7]
        del one


def test_bytes_keep_nothing(log):
    path, text = log
    m = mk.open(path)
    found = m.lines()
    kept = [found[0], *found[1:3]]
    m.close()
    assert kept == naive(text)[:3]


def test_closed_mapping_raises(log):
    path, _ = log
    m = mk.open(path)
    found = m.lines()
    going = iter(found)
    next(going)
    m.close()
    for use in (lambda: found[0], lambda: found.span(0), lambda: list(found), lambda: list(going)):
        with pytest.raises(ValueError, match="closed"):
            use()
    with pytest.raises(ValueError, match="closed"):
        found.refresh()
    with pytest.raises(ValueError, match="closed"):
        m.lines()
    assert found.offsets[0] == 0  # what is known of them stays


def test_long_lines_are_whole(tmp_path):
    text = b"a" * 3_000_000 + b"\n" + b"b" * 70_000 + b"\r\n" + b"c\n" * 300
    path = tmp_path / "long"
    path.write_bytes(text)
    with mk.open(path) as m:
        assert list(m.lines()) == naive(text)
        assert list(m.lines()[::-1]) == naive(text)[::-1]
    assert list(mk.lines(text)) == naive(text)


def test_index_takes_four_bytes_a_line():
    assert mk.lines(b"line\n" * 1000).index_bytes == 4000


# --- texts that change ----------------------------------------------------------------------------


def test_growing_text_is_followed(log):
    path, text = log
    with mk.open(path) as m:
        found = m.lines()
        part = found[-2:]
        assert found.refresh() == len(found)
        for more in (b"", b" goes on", b"\r", b"\nmore\n", b"x" * 100_000 + b"\n\n", b"end"):
            with path.open("ab") as file:
                file.write(more)
            text += more
            assert found.refresh() == len(naive(text))
            assert list(found) == naive(text)
            assert found.offsets.tolist() == starts_of(text)
        assert part.offsets.tolist() == starts_of(text)[4999:5001]
        assert part[1] == b"the rest goes on"


def test_iterating_sees_what_has_grown_meanwhile():
    text = bytearray(b"a\nb\n")
    found = mk.lines(text)
    going = iter(found)
    assert [next(going), next(going)] == [b"a", b"b"]
    text += b"c\n"
    assert found.refresh() == 3
    assert list(going) == [b"c"]
    assert list(going) == []


@posix
def test_shorter_text_raises_until_it_is_indexed_again(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"line\n" * 1000)
    with mk.open(path) as m:
        found, part = m.lines(), m.lines()[900:]
        m2 = m.lines()
        tail = m2[900:]
        path.write_bytes(b"line\n" * 500)
        m.refresh()
        assert found[499] == b"line"
        for use in (lambda: found[500], lambda: list(found), lambda: part[0], lambda: list(part)):
            with pytest.raises(ValueError, match=r"shorter.*2500 bytes.*refresh"):
                use()
        assert m2.refresh() == 500
        assert list(m2) == [b"line"] * 500
        for use in (lambda: tail[0], lambda: tail.offsets, lambda: list(tail)):
            with pytest.raises(ValueError, match="500 lines now"):
                use()
        path.write_bytes(b"")
        assert m2.refresh() == 0
        assert list(m2) == []


def test_another_text_is_indexed_from_the_start(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"one\ntwo\n")
    with mk.open(path) as m:
        found = m.lines()
        with path.open("r+b") as file:
            file.write(b"a\nb\nc\nd\ne\nf\ng\n")
        assert found.refresh() == 7
        assert list(found) == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


def test_changed_line_raises_and_others_do_not(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"".join(b"%05d\n" % i for i in range(300)))
    with mk.open(path, "r+") as m:
        found = m.lines()
        m[6 * 100 - 1 : 6 * 100] = b"x"
        assert found[98] == b"00098"
        with pytest.raises(ValueError, match=r"line 99 .*has changed"):
            found[99]
        going = iter(found)
        assert [next(going) for _ in range(99)] == [b"%05d" % i for i in range(99)]
        with pytest.raises(ValueError, match=r"line 99 .*has changed"):
            next(going)
        assert len(m.lines()) == 299


def test_buffer_that_grows_is_not_held():
    text = bytearray(b"a\nb")
    found = mk.lines(text)
    assert found[1] == b"b"
    text.extend(b"c\nd")
    assert found.refresh() == 3
    assert list(found) == [b"a", b"bc", b"d"]
    del text[1:]
    with pytest.raises(ValueError, match="shorter"):
        found[2]
    assert found.refresh() == 1


@pytest.mark.reserve
def test_threads_read_while_lines_are_refreshed(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0\n")
    stop, errors = threading.Event(), []
    with mk.open(path, reserve=1 << 20) as m:
        found = m.lines()

        def read():
            try:
                while not stop.is_set():
                    count = len(found)
                    assert found[count - 1] == b"%d" % (count - 1)
                    offsets = found.offsets
                    assert found.at_offset(offsets)[-1] == len(offsets) - 1
                    assert sum(1 for _ in found[: count // 2]) == count // 2
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        other = threading.Thread(target=lambda: [found.refresh() for _ in range(200)])
        other.start()
        with path.open("ab", buffering=0) as file:
            for i in range(1, 400):
                file.write(b"%d\n" % i)
                assert found.refresh() == i + 1
        other.join()
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == []


def test_threads_that_share_an_iterator_get_each_line_once():
    count = 3000
    # Long enough for the GIL to be given away while they are copied.
    shared = iter(mk.lines(b"".join(b"%06d%b\n" % (i, bytes(2000)) for i in range(count))))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda _: [int(line[:6]) for line in shared], range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(itertools.chain.from_iterable(taken)) == list(range(count))


# --- how they are found ---------------------------------------------------------------------------


def test_threads_and_windows_leave_no_seams(tmp_path):
    chosen = np.random.default_rng(5)
    text = np.where(chosen.integers(0, 50, 9_000_000) == 0, 10, 97).astype("u1")
    text[1 << 20] = text[3_000_000 - 1] = 10
    path = tmp_path / "f"
    text.tofile(path)
    expected = np.flatnonzero(text == 10)[:-1] + 1
    with mk.open(path) as m:
        for how in ({"threads": 3}, {"threads": None}, {"progress": lambda done, total: None}):
            found = m.lines(**how)
            assert np.array_equal(found.offsets[1:][: len(expected)], expected), how
            assert len(found) - len(expected) in (1, 2)
        m.evict()
        assert np.array_equal(m.lines().offsets, found.offsets)


def test_progress_is_told():
    text = b"line\n" * 100_000
    told = []
    mk.lines(text, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (500_000, 500_000)
    assert told == sorted(told)


def test_pickled_lines_are_those_of_the_same_file(log):
    path, text = log
    with mk.open(path) as m:
        found = m.lines(keepends=True)[10:20:3]
        again = pickle.loads(pickle.dumps(found))
        assert list(again) == naive(text, keepends=True)[10:20:3]
        again.text.close()
    assert list(pickle.loads(pickle.dumps(mk.lines(b"a\nb")))) == [b"a", b"b"]


# --- more than 4 GiB ------------------------------------------------------------------------------


def table_of(ends, size):
    """A table of lines that end at any offsets, of a text that is not there."""
    ends = np.asarray(ends, np.int64)
    low, wraps = _scan.Numbers(4), _scan.Numbers(8)
    low.add(ends.astype("u4"))
    wraps.add(np.searchsorted(ends, WRAP * np.arange(1, (size >> 32) + 1)).astype("i8"))
    return _lines.LineTable(b"", low, wraps, size)


wide = st.lists(
    st.one_of(
        st.integers(1, 5 * WRAP),
        st.builds(lambda k, d: max(1, k * WRAP + d), st.integers(0, 4), st.integers(-2, 2)),
    ),
    unique=True,
    max_size=20,
).map(sorted)


@given(wide, st.integers(0, 2 * WRAP))
def test_offsets_beyond_32_bits(ends, rest):
    size = (ends[-1] if ends else 0) + rest
    table = table_of(ends, size)
    found = lines_of(table)
    starts = [0, *ends]
    if starts[-1] == size:
        starts.pop()
    assert found.offsets.tolist() == starts
    asked = sorted({o + d for o in starts for d in (-1, 0, 1) if 0 <= o + d < size})
    expected = (np.searchsorted(starts, asked, "right") - 1).tolist()
    assert [found.at_offset(o) for o in asked] == expected
    assert found.at_offset(np.array(asked, np.int64)).tolist() == expected
    assert found[::2].offsets.tolist() == starts[::2]
    assert found[::-1].offsets.tolist() == starts[::-1]


def test_wraps_that_make_no_sense_are_refused():
    low, wraps = _scan.Numbers(4), _scan.Numbers(8)
    low.add(np.array([1, 2], "u4"))
    wraps.add(np.array([3]))
    with pytest.raises(ValueError, match="wraps"):
        _lines.LineTable(b"", low, wraps, 5 * WRAP)
    with pytest.raises(ValueError, match="outside of 1 bytes"):
        _lines.LineTable(b"", low, _scan.Numbers(8), 1)
    with pytest.raises(TypeError):
        _lines.LineTable(b"", wraps, low, 1)


@pytest.mark.slow
def test_sparse_file_of_more_than_4_gib(tmp_path):
    size = WRAP + 100
    ends = [3, 4, WRAP - 1, WRAP, WRAP + 1, WRAP + 50]
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(size)
        for end in ends:
            file.seek(end - 1)
            file.write(b"\n")
    with mk.open(path) as m:
        found = m.lines()
        assert found.offsets.tolist() == [0, *ends]
        assert list(found[3:5]) == [b"", b""]
        assert found.at_offset(WRAP) == 4
        assert found.span(5) == (WRAP + 1, WRAP + 49)
        with path.open("r+b") as file:
            file.seek(size - 1)
            file.write(b"x\ny\n")
        assert found.refresh() == len(ends) + 2
        assert found.offsets.tolist() == [0, *ends, size + 1]
        assert found[-1] == b"y"
