"""search(): the same hits as re line by line, or on the whole text."""

import itertools
import random
import re
import threading

import pytest

import mmapkit as mk
from mmapkit import _scan
from mmapkit.text import candidates, reading, windows
from mmapkit.text import search as module
from mmapkit.text.engines import engine_of
from mmapkit.text.search import Hit, search

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


@pytest.mark.parametrize("count", [600, pytest.param(4_000, marks=pytest.mark.slow)])
def test_random_patterns_find_in_lines_what_re_finds_in_each(count, monkeypatch):
    drawn = cases(count, 11, newlines=True)
    for (pattern, text), way in zip(drawn, ways(monkeypatch), strict=False):
        expected = by_lines(pattern, text)
        assert hits(text, pattern, multiline=False) == expected, (pattern, text, way)


@pytest.mark.parametrize("count", [600, pytest.param(4_000, marks=pytest.mark.slow)])
def test_random_patterns_find_in_the_whole_what_re_finds(count, monkeypatch):
    drawn = cases(count, 12, newlines=True)
    for (pattern, text), way in zip(drawn, ways(monkeypatch), strict=False):
        expected = by_whole(pattern, text)
        assert hits(memoryview(text), pattern, multiline=True) == expected, (pattern, text, way)


def test_whole_text_is_tried_where_matches_may_begin(monkeypatch):
    rng = random.Random(16)
    sources = [
        rb"aa(?s:.)",
        rb"a\nb?",
        rb"(?i)ab+",
        rb"aba|aa",
        rb"(?<!b)aa+",
        rb"^a\n|ab",
        rb"a{2}?",
    ]
    sources += [
        rb"(?m)^ab\n*",
        rb"ab(?=\n)",
        rb"aa(?!b)(?s:.)*?b",
        rb"ab\n|aab|ba?",
        rb"(?i)[ab]{2}\n*",
    ]
    for _ in range(600):
        text = bytes(rng.choices(b"aabA\n", k=rng.randint(0, 30)))
        monkeypatch.setattr(module, "HEADS_BYTES", rng.choice([1, 2, 5, 100]))
        pattern = re.compile(rng.choice(sources))
        assert hits(text, pattern, multiline=True) == by_whole(pattern, text), (pattern, text)


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


# --- what is searched -----------------------------------------------------------------------------

LOG = b"10:01 ok\r\n10:02 ERROR: timeout\r\n10:03 error\n10:04 ERROR timeout ERROR"


def test_mapping_of_a_file_is_searched(tmp_path):
    (tmp_path / "log").write_bytes(LOG)
    with mk.open(tmp_path / "log", offset=10) as m:
        assert next(m.search(b"ERROR")) == Hit(6, 11, 1, b"10:02 ERROR: timeout", None)
        found = list(m.search(re.compile(rb"ERROR.*(time)out$")))
        assert [(hit.offset, hit.line_number, hit.match[1]) for hit in found] == [(6, 1, b"time")]
        assert [hit.offset for hit in m.search(b"error", ignore_case=True)] == [6, 28, 40, 54]


def test_search_is_a_function_over_buffers():
    assert mk.search is search
    assert [hit.line_number for hit in mk.search(LOG, b"ERROR")] == [2, 4, 4]
    assert mk.Hit is Hit


STRUCTURED = np.frombuffer(LOG[:64], np.dtype([("a", ">u2"), ("b", "S6")]))


@pytest.mark.parametrize(
    "text",
    [
        bytearray(LOG),
        memoryview(LOG),
        memoryview(b"x" + LOG)[1:],
        np.frombuffer(LOG, np.uint8),
        np.frombuffer(LOG[:64], "<f8").reshape(2, 4),
        STRUCTURED,
    ],
    ids=["bytearray", "memoryview", "slice", "ndarray", "matrix", "structured"],
)
@pytest.mark.parametrize("pattern", [b"ERROR", re.compile(rb"ERROR"), re.compile(rb"(?s)ERROR.")])
def test_buffers_are_searched_as_their_bytes(text, pattern):
    data = text.tobytes() if isinstance(text, np.ndarray) else bytes(text)
    assert hits(text, pattern) == hits(data, pattern) != []


@pytest.mark.parametrize("pattern", [b"x", re.compile(rb"x*"), re.compile(rb"x")])
def test_nothing_is_found_in_no_lines(pattern):
    for empty in (b"", bytearray(), np.empty((0, 3))):
        assert list(search(empty, pattern)) == []


def test_whole_of_an_empty_text_may_match():
    assert hits(b"", re.compile(rb"x*"), multiline=True) == [(0, 0, 1, b"", ((0, 0), b"", ()))]


def test_file_without_a_newline_is_one_line():
    text = b"\0\xff" * 1000 + b"needle" + b"\r" + b"\0" * 1000 + b"\r"
    assert hits(text, re.compile(rb"need.e")) == by_lines(re.compile(rb"need.e"), text)
    assert hits(text, b"needle")[0][3] == text


def test_long_lines_are_views(tmp_path):
    long = b"a needle" + b"x" * (1 << 20) + b"needle"
    (tmp_path / "long").write_bytes(b"needle\n" + long + b"\r\nneedle\n")
    with mk.open(tmp_path / "long", "r+") as m:
        for pattern in (
            b"needle",
            re.compile(rb"need.e"),
            re.compile(rb"(?<=x)..edle|ne+dl[e]"),
        ):
            found = list(m.search(pattern))
            assert [hit.line_number for hit in found][:1] == [1]
            views = [hit.line for hit in found if hit.line_number == 2]
            assert {type(view) for view in views} == {memoryview}
            assert all(view == long and view.readonly for view in views)
            assert type(found[-1].line) is bytes
            with pytest.raises(BufferError):
                m.close()
            del found, views
    assert m.closed


@pytest.mark.slow
def test_lines_of_2_gib_are_not_copied():
    size = (2 << 30) + 100
    with mk.anonymous(size) as m:  # zeros take no memory until they are written
        m[5:12] = b"needle\r"
        m[size - 20 : size] = b"needle" + b"\0" * 6 + b"\r\nneedle"
        for pattern in (b"needle", re.compile(rb"ne+dl(e)")):
            found = [(hit.offset, hit.line_number, len(hit.line)) for hit in m.search(pattern)]
            assert found == [(5, 1, size - 8), (size - 20, 1, size - 8), (size - 6, 2, 6)]


# --- how it is asked for --------------------------------------------------------------------------


def test_pattern_tells_whether_lines_or_the_whole_are_meant():
    text = b"a\nb\n"
    for pattern in (rb"(?s)a.b", rb"a\nb", rb"a[\n]b"):
        assert [hit[:4] for hit in hits(text, re.compile(pattern))] == [(0, 3, 1, b"a")]
        assert hits(text, re.compile(pattern), multiline=False) == []
    assert hits(text, re.compile(rb"a\sb")) == []
    assert [hit[:2] for hit in hits(text, re.compile(rb"a\sb"), multiline=True)] == [(0, 3)]
    assert [hit[:2] for hit in hits(text, re.compile(rb"^b"))] == [(2, 3)]
    assert hits(text, re.compile(rb"^b"), multiline=True) == []


def test_literal_stays_in_its_line_if_told_so():
    assert [hit[:2] for hit in hits(b"a\r\n", b"a\r")] == [(0, 2)]
    assert hits(b"a\r\n", b"a\r", multiline=False) == []
    assert [hit[:2] for hit in hits(b"a\r", b"a\r", multiline=False)] == [(0, 2)]


def test_literal_may_be_any_bytes():
    for literal in (bytearray(b"ERROR"), memoryview(b"ERROR")):
        assert hits(LOG, literal) == hits(LOG, b"ERROR")


@pytest.mark.parametrize(
    ("pattern", "how", "error", "message"),
    [
        (b"", {}, ValueError, "the literal to search is empty"),
        ("foo", {}, TypeError, r"not str: give 'foo'\.encode\(\)"),
        (re.compile("foo"), {}, TypeError, r"re\.compile\(b'foo'\)"),
        (7, {}, TypeError, "pattern must be bytes, or .*, not int"),
        (re.compile(b"a"), {"ignore_case": True}, ValueError, r"re\.IGNORECASE"),
        (b"a", {"multiline": "yes"}, TypeError, "True, False or None, not 'yes'"),
        (b"a", {"threads": 0}, ValueError, "at least 1, not 0"),
    ],
)
def test_bad_input_is_told_at_once(pattern, how, error, message):
    with pytest.raises(error, match=message):
        search(LOG, pattern, **how)


def test_bad_texts_are_told_at_once():
    with pytest.raises(TypeError, match="not str"):
        search("text", b"x")
    with pytest.raises(BufferError, match="C-contiguous"):
        search(np.zeros((4, 4))[:, ::2], b"x")
    m = mk.anonymous(10)
    m.close()
    with pytest.raises(ValueError, match="closed"):
        search(m, b"x")


@pytest.mark.parametrize(
    "pattern",
    [b"fo", re.compile(rb"fo+"), re.compile(rb"[fg]o"), re.compile(rb"(?s)fo.")],
    ids=["literal", "needle", "blocks", "whole"],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_progress_is_told_to_the_end(pattern, threads):
    told = []
    text = b"foo bar\n" * 1000
    found = list(search(text, pattern, threads=threads, progress=lambda *at: told.append(at)))
    assert len(found) == 1000
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    assert told[-1][0] == told[-1][1] > 0.99 * len(text)


# --- which literal is looked for ------------------------------------------------------------------


def plan_of(pattern, text):
    requirements = engine_of(re.compile(pattern)).analysis.requirements
    return candidates.Plan(reading.Source(text, len(text)), requirements)


def wanted_of(plan):
    """The size of the one literal, or how many there are."""
    needle = plan.wanted.needle
    return needle.size if isinstance(needle, _scan.Needle) else (len(needle),)


def test_rarest_literal_is_looked_for_and_the_others_are_left_to_check():
    text = (b"ERROR a\n" + b"fine \n" * 9) * 100 + b"timeout\n"
    plan = plan_of(rb"ERROR.*timeout.*(?:fine|good)", text)
    assert (wanted_of(plan), plan.all_of, plan.one_of) == (7, [b"ERROR"], [(b"fine", b"good")])
    assert wanted_of(plan_of(rb"ERROR.*fine", text)) == 5


def test_rare_alternatives_are_looked_for_together():
    plan = plan_of(rb"(?:foo|bar|needle).*x", b"x\n" * 1000)
    assert (wanted_of(plan), plan.wanted.shortest, plan.one_of) == ((3,), 3, [])
    assert plan.all_of == [b"x"]


def test_what_alternatives_share_is_looked_for_unless_it_is_common():
    plan = plan_of(rb"warning|warned", b"x\n" * 1000)
    assert (wanted_of(plan), plan.one_of) == (4, [(b"warned", b"warning")])
    assert wanted_of(plan_of(rb"warning|warned", b"warn\nx\nx\n" * 1000)) == (2,)


def test_literals_of_most_lines_are_not_looked_for():
    for pattern in (rb"fine.*\d", rb"\d+", rb"fine|bar"):
        assert plan_of(pattern, b"fine \n" * 100).wanted is None


# --- between two hits -----------------------------------------------------------------------------

KINDS = pytest.mark.parametrize(
    "pattern",
    [b"needle", re.compile(rb"ne+dle"), re.compile(rb"[mn]e+dle"), re.compile(rb"(?s)ne+dle.")],
    ids=["literal", "needle", "blocks", "whole"],
)
LINES = b"needle\n" + b"hay\n" * 100_000


@KINDS
def test_search_is_lazy_and_goes_on_where_it_was(pattern):
    text = bytearray(LINES[: 1 << 16] + b"needle\n" + b"hay" * (2 << 20) + LINES)
    found = search(text, pattern)
    assert next(found).offset == 0
    last = len(text) - len(LINES)
    text[last : last + 6] = b"NEEDLE"  # not looked at yet
    assert [hit.offset for hit in found] == [1 << 16]


@KINDS
def test_buffer_cannot_go_away_under_a_search(pattern):
    text = bytearray(LINES * 3)
    found = search(text, pattern)
    next(found)
    with pytest.raises(BufferError):
        text.clear()
    found.close()
    del found
    text.clear()


@KINDS
def test_mapping_that_is_closed_meanwhile_is_told(pattern):
    m = mapped(LINES * 3)
    found = m.search(pattern)
    next(found)
    try:
        m.close()
    except BufferError:  # a view is under way
        assert [hit.line_number for hit in found] == [100_002, 200_003]
        del found
        m.close()
        return
    with pytest.raises(ValueError, match="closed"):
        list(found)


@KINDS
def test_mapping_that_is_cut_meanwhile_is_told(pattern):
    with mapped(LINES * 3) as m:
        found = m.search(pattern)
        next(found)
        try:
            m.resize(1000)
        except BufferError:
            assert len(list(found)) == 2
        else:
            with pytest.raises(ValueError, match=r"1000|offset"):
                list(found)
        del found


@KINDS
def test_what_a_mapping_grows_by_is_not_searched(pattern, tmp_path):
    (tmp_path / "f").write_bytes(LINES)
    with mk.open(tmp_path / "f", "r+") as m:
        found = m.search(pattern)
        assert next(found).offset == 0
        m.resize(2 * len(LINES))
        m[len(LINES) :] = LINES
        assert list(found) == []


def test_search_that_is_dropped_ends_its_threads(monkeypatch):
    monkeypatch.setattr(windows, "SHARE_BYTES", 1000)
    before = threading.active_count()
    found = search(LINES, b"needle", threads=3)
    next(found)
    del found
    assert threading.active_count() == before
