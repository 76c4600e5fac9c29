"""Literals in bytes: what bytes' own methods find, wherever the text is and however it is cut."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.text import find as finding
from mmapkit.text import windows

ALPHABETS = ["ab", "aAbB", "ab\n", "a"]
texts = st.sampled_from(ALPHABETS).flatmap(
    lambda alphabet: st.text(alphabet, max_size=300).map(str.encode)
)
needles = st.sampled_from(ALPHABETS).flatmap(
    lambda alphabet: st.text(alphabet, max_size=20).map(str.encode)
)
bounds = st.none() | st.integers(-320, 320)
KINDS = ["bytes", "bytearray", "memoryview", "ndarray", "mapping", "part of a mapping"]


@pytest.fixture
def open_text(tmp_path):
    """Make a text of any kind that can be searched."""
    opened = []

    def make(kind, data):
        if "mapping" not in kind:
            kinds = {
                "bytes": bytes,
                "bytearray": bytearray,
                "memoryview": memoryview,
                "ndarray": lambda raw: np.frombuffer(raw, "u1"),
            }
            return kinds[kind](data)
        path = tmp_path / "text"
        before = b"zz" if kind.startswith("part") else b""
        path.write_bytes(before + data + before)
        where = {"offset": 2, "length": len(data)} if before else {}
        opened.append(mk.open(path, **where))
        return opened[-1]

    yield make
    for mapping in opened:
        mapping.close()


@pytest.fixture
def tiny_windows(monkeypatch):
    """Cut what is in memory into windows and shares of a few bytes."""
    monkeypatch.setattr(windows, "WARM_BYTES", 60)
    monkeypatch.setattr(windows, "SHARE_BYTES", 7)


def every(text, sub, overlapping=False):
    """Offsets of all occurrences, by `re`."""
    pattern = re.escape(sub)
    return [
        found.start()
        for found in re.finditer(b"(?=%s)" % pattern if overlapping else pattern, text)
    ]


@given(texts, needles, bounds, bounds)
def test_same_as_the_methods_of_bytes(text, sub, start, end):
    assert mk.find(text, sub, start, end) == text.find(sub, start, end)
    assert mk.rfind(text, sub, start, end) == text.rfind(sub, start, end)
    assert mk.count(text, sub, start, end) == text.count(sub, start, end)
    assert len(mk.find_all(text, sub, start, end)) == text.count(sub, start, end)


@given(texts, needles.filter(len), st.booleans())
def test_find_all_and_count_agree_with_re(text, sub, overlapping):
    expected = every(text, sub, overlapping)
    found = mk.find_all(text, sub, overlapping=overlapping)
    assert found.dtype == np.int64
    assert found.tolist() == expected
    assert mk.count(text, sub, overlapping=overlapping) == len(expected)


@given(texts, needles.filter(len))
def test_ignoring_case_is_searching_in_small_letters(text, sub):
    small, wanted = text.lower(), sub.lower()
    assert mk.find(text, sub, ignore_case=True) == small.find(wanted)
    assert mk.rfind(text, sub, ignore_case=True) == small.rfind(wanted)
    assert mk.count(text, sub, ignore_case=True) == small.count(wanted)
    assert mk.find_all(text, sub, ignore_case=True).tolist() == every(small, wanted)


def test_ignoring_case_leaves_other_bytes_alone():
    text = bytes(range(256))
    for byte in range(256):
        sub = bytes([byte])
        assert mk.find_all(text, sub, ignore_case=True).tolist() == every(text.lower(), sub.lower())


@given(texts, needles.filter(len), st.sampled_from([1, 2, 5]), st.booleans())
def test_threads_and_windows_change_nothing(text, sub, threads, overlapping):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WARM_BYTES", 60)
        patch.setattr(windows, "SHARE_BYTES", 7)
        how = {"threads": threads, "progress": lambda done, total: None}
        expected = every(text, sub, overlapping)
        assert mk.find(text, sub, **how) == text.find(sub)
        assert mk.count(text, sub, overlapping=overlapping, **how) == len(expected)
        assert mk.find_all(text, sub, overlapping=overlapping, **how).tolist() == expected


def test_overlaps_across_seams_are_taken_from_the_left(tiny_windows):
    text = b"a" * 1001
    for size in (2, 3, 7, 8, 60, 61, 500):
        assert mk.count(text, b"a" * size, threads=4) == text.count(b"a" * size)
        found = mk.find_all(text, b"a" * size, threads=4)
        assert found.tolist() == list(range(0, 1001 - size + 1, size))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_text(open_text, kind):
    data = b"one two one two three" * 3
    text = open_text(kind, data)
    assert mk.find(text, b"two") == 4
    assert mk.rfind(text, b"one") == data.rfind(b"one")
    assert mk.count(text, b"o") == data.count(b"o")
    assert mk.find_all(text, b"three").tolist() == every(data, b"three")
    assert list(mk.split(text, b"two")) == data.split(b"two")


def test_methods_of_a_mapping(open_text):
    data = b"Error\nerror\nERROR\n"
    m = open_text("mapping", data)
    assert m.find(b"error") == 6
    assert m.find(b"error", 7) == -1
    assert m.rfind(b"E", 0, 12) == 0
    assert m.count(b"error", ignore_case=True) == 3
    assert m.find_all(b"r", 6, -6).tolist() == [7, 8, 10]
    assert list(m.split(b"\n", 1)) == data.split(b"\n", 1)
    assert b"ERROR" in m
    assert 10 in m
    assert b"" in m
    assert b"none" not in m


@given(texts, needles.filter(len), st.integers(-1, 5))
def test_split_is_that_of_bytes(text, sep, maxsplit):
    assert list(mk.split(text, sep, maxsplit)) == text.split(sep, maxsplit)
    views = list(mk.split(bytearray(text), sep, maxsplit, views=True))
    assert [bytes(view) for view in views] == text.split(sep, maxsplit)
    assert all(view.readonly for view in views)


def test_split_goes_no_farther_than_it_is_asked(open_text):
    m = open_text("mapping", b"a,b,c")
    pieces = m.split(b",")
    assert next(pieces) == b"a"
    m.close()
    with pytest.raises(ValueError, match="closed"):
        list(pieces)


def test_views_of_pieces_keep_the_mapping_open(open_text):
    m = open_text("mapping", b"a,b")
    first = next(m.split(b",", views=True))
    with pytest.raises(BufferError):
        m.close()
    assert first == b"a"
    first.release()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4095, 4096, 4097, 300_000])
def test_needles_at_both_ends(open_text, size):
    text = open_text("mapping", b"<" + b"." * size + b">")
    assert text.find(b">") == size + 1
    assert text.rfind(b"<") == 0
    assert text.find(b"." * size + b">") == 1
    assert text.count(b".") == size


def test_needle_as_long_as_the_text_and_longer():
    text = b"x" * 100_000 + b"y"
    assert mk.find(text, text) == 0
    assert mk.find(text, b"x" + text) == -1
    assert mk.count(text, text) == 1


def test_long_needles_across_steps():
    """Longer than what is searched at a time."""
    needle = bytes(i * i % 251 for i in range(700_000))
    text = b"".join([needle[:-1], b"?", needle, needle[1:]])
    assert mk.find_all(text, needle).tolist() == [len(needle)]
    assert mk.rfind(text, needle) == len(needle)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["find", "count", "find_all"])
def test_progress_is_told_and_ends_at_the_total(name, threads):
    told = []
    getattr(mk, name)(
        bytes(1000), b"x", threads=threads, progress=lambda *where: told.append(where)
    )
    assert told[-1] == (1000, 1000)
    assert sorted(told) == told


def test_progress_may_be_a_bar(capfd):
    assert mk.count(b"aba", b"a", progress=True) == 2
    capfd.readouterr()


def test_only_windows_that_are_not_in_memory_are_read_ahead(open_text, monkeypatch):
    m = open_text("mapping", b"x" * 1000)
    read_ahead = []

    def cold(mapping, start, stop):
        read_ahead.append((start, stop))
        yield start, (start + stop) // 2
        yield (start + stop) // 2, stop

    monkeypatch.setattr(windows, "WARM_BYTES", 100)
    monkeypatch.setattr(windows, "COLD_WINDOWS", 3)
    monkeypatch.setattr(windows, "_in_memory", lambda text, at, *rest: at // 100 in (0, 3, 9))
    monkeypatch.setattr(windows, "_cold", cold)
    monkeypatch.setattr(finding, "is_one_window", lambda *call: False)
    assert m.count(b"x") == 1000
    assert read_ahead == [(100, 300), (400, 700), (700, 900)]
    assert m.find_all(b"xx").tolist() == list(range(0, 1000, 2))


def test_progress_that_raises_ends_the_search(open_text, tiny_windows):
    m = open_text("mapping", bytes(1000))

    def stop(done, total):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        m.count(b"x", threads=2, progress=stop)


def test_closed_mapping_says_so(open_text):
    m = open_text("mapping", b"abc")
    m.close()
    for name in ("find", "rfind", "count", "find_all", "split"):
        with pytest.raises(ValueError, match="closed"):
            getattr(m, name)(b"b")


@pytest.mark.parametrize("name", ["find", "count", "find_all", "lines"])
def test_mapping_that_becomes_shorter_before_it_is_read_ahead(name, tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(bytes(24 << 20))
    with mk.open(path, "r+") as m:

        def shrink(*args):
            m.resize(4096)
            return False

        monkeypatch.setattr(windows, "_in_memory", shrink)
        with pytest.raises(ValueError, match="4096"):
            getattr(m, name)(*([b"x"] if name != "lines" else []))


@pytest.mark.parametrize("name", ["find", "rfind", "count", "find_all", "split"])
def test_str_is_refused_with_advice(name):
    with pytest.raises(TypeError, match=r"'needle'\.encode\(\)"):
        getattr(mk, name)(b"text", "needle")
    with pytest.raises(TypeError, match=r"text\.encode\(\), or for a file mmapkit\.open\(path\)"):
        getattr(mk, name)("text", b"needle")


@pytest.mark.parametrize(
    ("text", "sub", "how", "error", "message"),
    [
        (b"x", 256, {}, ValueError, "from 0 to 255, not 256"),
        (b"x", -1, {}, ValueError, "from 0 to 255, not -1"),
        (b"x", 1.5, {}, TypeError, "not float"),
        (b"x", None, {}, TypeError, "not NoneType"),
        (b"x", True, {}, TypeError, "not bool"),
        (7, b"x", {}, TypeError, "not int"),
        (np.zeros((4, 4), "u1")[:, 1], b"x", {}, BufferError, "C-contiguous"),
        (b"x", b"x", {"start": "0"}, TypeError, "slice indices"),
        (b"x", b"x", {"threads": 0}, ValueError, "threads must be at least 1, not 0"),
        (b"x", b"x", {"threads": 2.0}, TypeError, "threads must be an int or None, not float"),
        (b"x", b"x", {"threads": 1.0}, TypeError, "threads must be an int or None, not float"),
        (b"x", b"x", {"threads": True}, TypeError, "threads must be an int or None, not bool"),
    ],
)
def test_wrong_arguments_are_named(text, sub, how, error, message):
    with pytest.raises(error, match=message):
        mk.find(text, sub, **how)


def test_any_contiguous_array_is_a_text_or_a_needle():
    text = np.array(["2026-01-01", "2026-01-02"], "M8[D]")
    raw = text.tobytes()
    assert mk.find(text, text[1:].view("u1")) == 8
    assert mk.count(raw, text[:1].view("u1")) == 1
    assert mk.find_any(text, [text.view("u1")[8:], text[:1].tobytes()])[1].tolist() == [1, 0]
    assert list(mk.split(text, raw[:8])) == list(map(bytes, mk.split(text, raw[:8], views=True)))
    assert [hit.offset for hit in mk.search(text, raw[8:])] == [8]
    assert list(mk.split(np.zeros((0, 3)), b"a")) == [b""]
    assert mk.find(b"abc", np.array([98, 99], "u1")) == mk.find(b"abc", np.array(98)) == 1


def test_empty_separator_is_refused():
    with pytest.raises(ValueError, match="empty separator"):
        mk.split(b"abc", b"")


def test_a_byte_may_be_an_int():
    assert mk.find(b"abc", 99) == 2
    assert mk.count(b"abcc", np.uint8(99)) == 2


def test_threads_none_means_one_on_each_core():
    assert mk.count(b"aba" * 10, b"a", threads=None) == 20


def test_ctrl_c_is_heard_in_the_middle(run_python):
    run_python(
        """
import _thread, os, threading
import mmapkit as mk

if os.name == "posix":  # one search would take many minutes
    mk.open("sparse", "x+", size=1 << 40, sparse=True).close()
    text = mk.open("sparse")
else:
    text = mk.anonymous(1 << 30)
try:
    threading.Timer(0.3, _thread.interrupt_main).start()
    while True:
        assert text.find(b"x") == -1
except KeyboardInterrupt:
    pass
text.close()
"""
    )
