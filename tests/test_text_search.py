"""search(): the same hits as re line by line, or on the whole text."""

import itertools
import random
import re

import pytest

import mmapkit as mk
from mmapkit.text import candidates, reading, windows
from mmapkit.text import search as module
from mmapkit.text.search import search

from .optional import need
from .patterns import cases

np = pytest.importorskip("numpy")


def lines_of(text):
    """(start, content without its ending) of each line, the naive way."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        if end < 0:
            yield start, text[start:]
            return
        yield start, text[start:end].removesuffix(b"\r")
        start = end + 1


def line_at(text, offset):
    """(number, content) of the line of a place."""
    start = text.rfind(b"\n", 0, offset) + 1
    end = text.find(b"\n", offset)
    line = text[start:] if end < 0 else text[start:end].removesuffix(b"\r")
    return text.count(b"\n", 0, offset) + 1, line


def told(match):
    return None if match is None else (match.span(), match.group(), match.groups())


def by_lines(pattern, text):
    return [
        (start + match.start(), start + match.end(), number, line, told(match))
        for number, (start, line) in enumerate(lines_of(text), 1)
        for match in pattern.finditer(line)
    ]


def by_whole(pattern, text):
    return [
        (*match.span(), *line_at(text, match.start()), told(match))
        for match in pattern.finditer(text)
    ]


def by_literal(literal, text):
    return [
        (match.start(), match.end(), *line_at(text, match.start()), None)
        for match in re.finditer(re.escape(literal), text)
    ]


def hits(text, pattern, **how):
    return [(*hit[:3], bytes(hit.line), told(hit.match)) for hit in search(text, pattern, **how)]


def mapped(text):
    mapping = mk.anonymous(len(text))
    mapping[:] = text
    return mapping


# --- random patterns ------------------------------------------------------------------------------

WAYS = [
    # COMMON_SHARE, BLOCK_BYTES, LONG_LINE_BYTES
    (1e9, 256, 1 << 20),
    (1e9, 256, 3),
    (-1.0, 256, 1 << 20),
    (-1.0, 7, 1 << 20),
    (-1.0, 7, 3),
]


def ways(monkeypatch):
    """Each way that a search may go, for texts that are small, one after the other."""
    for share, block, long in itertools.cycle(WAYS):
        monkeypatch.setattr(candidates, "COMMON_SHARE", share)
        monkeypatch.setattr(module, "BLOCK_BYTES", block)
        monkeypatch.setattr(reading.Source, "long_line_bytes", long)
        yield share, block, long


def test_random_patterns_find_in_lines_what_re_finds_in_each(monkeypatch):
    drawn = cases(3000, 11, newlines=True)
    for (pattern, text), way in zip(drawn, ways(monkeypatch), strict=False):
        expected = by_lines(pattern, text)
        assert hits(text, pattern, multiline=False) == expected, (pattern, text, way)


def test_random_patterns_find_in_the_whole_what_re_finds(monkeypatch):
    drawn = cases(2000, 12, newlines=True)
    for (pattern, text), way in zip(drawn, ways(monkeypatch), strict=False):
        expected = by_whole(pattern, text)
        assert hits(memoryview(text), pattern, multiline=True) == expected, (pattern, text, way)


def test_random_patterns_find_in_a_mapping(monkeypatch):
    drawn = cases(600, 13, newlines=True)
    for (pattern, text), way in zip(drawn, ways(monkeypatch), strict=False):
        if not text:
            continue
        with mapped(text) as m:
            whole = re.compile(rb"\(\?s|\\n|\n").search(pattern.pattern)  # roughly
            for multiline, oracle in [(False, by_lines), (True, by_whole)]:
                found = hits(m, pattern, multiline=multiline)
                assert found == oracle(pattern, text), (pattern, text, way)
            if not whole and not pattern.flags & re.DOTALL:
                assert hits(m, pattern) == by_lines(pattern, text), (pattern, text, way)


def test_random_literals_are_found_as_in_the_text():
    rng = random.Random(14)
    for _ in range(1500):
        text = bytes(rng.choices(b"ab\n\r", k=rng.randint(0, 40)))
        literal = bytes(rng.choices(b"aab\n\r", k=rng.randint(1, 4)))
        assert hits(text, literal) == by_literal(literal, text), (text, literal)
        inside = [hit for hit in by_literal(literal, text) if literal in hit[3]]
        inside = [hit for hit in inside if hit[1] <= text.rfind(b"\n", 0, hit[0]) + 1 + len(hit[3])]
        assert hits(text, literal, multiline=False) == inside, (text, literal)


def test_threads_find_the_same_across_seams(monkeypatch):
    monkeypatch.setattr(windows, "WARM_BYTES", 64)
    monkeypatch.setattr(windows, "SHARE_BYTES", 8)
    monkeypatch.setattr(candidates, "COMMON_SHARE", 1e9)
    rng = random.Random(15)
    for _ in range(60):
        text = b"".join(rng.choices([b"a", b"ab", b"b", b"\n", b"c", b"\r\n", b"aaaa"], k=100))
        for pattern in (re.compile(rb"ab+"), re.compile(rb"a.*c"), re.compile(rb"aa|cc")):
            assert hits(text, pattern, threads=3) == by_lines(pattern, text)
        for literal in (b"a", b"aa", b"ab", b"b\n"):
            assert hits(text, literal, threads=3) == by_literal(literal, text)


@pytest.mark.parametrize("name", ["re2", "pcre2"])
def test_other_engines_find_in_lines_what_they_find_in_each(name, monkeypatch):
    library = need(name)
    text = b"some ERROR here\r\nno\n\ntimeout after ERROR: timeout\nlast ERROR timeout"
    for _, source in zip(range(5), itertools.repeat(rb"ERROR.*time(out)?|no|$"), strict=False):
        for way in itertools.islice(ways(monkeypatch), len(WAYS)):
            pattern = library.compile(source)
            assert hits(text, pattern) == by_lines(pattern, text), way
    pattern = library.compile(rb"ERROR.*time(out)?")
    assert hits(text, pattern) == by_lines(pattern, text)
    whole = library.compile(rb"(?s)ERROR.*time")
    assert hits(text, whole) == by_whole(whole, text)


def test_hyperscan_finds_in_each_line():
    hyperscan = need("hyperscan")
    database = hyperscan.Database()
    database.compile([rb"fo+", rb"^b"], flags=[hyperscan.HS_FLAG_SOM_LEFTMOST] * 2)
    found = list(search(b"foo fo\nbar\r\nfox", database))
    assert [(hit.offset, hit.end, hit.line_number, hit.match.id) for hit in found] == [
        (0, 3, 1, 0), (4, 6, 1, 0), (7, 8, 2, 1), (12, 14, 3, 0),
    ]  # fmt: skip
    assert found[2].line == b"bar"
