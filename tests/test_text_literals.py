"""What every match must contain: named cases, and random patterns against re itself."""

import re
import sys

import pytest

from mmapkit.text import literals
from mmapkit.text.literals import Requirement, analyse, wants_whole_text

from .patterns import cases


def literals_of(source, flags=0):
    re.compile(source, flags)
    found = analyse(source, flags).requirements
    return [set(each.alternatives) for each in found if not each.fold] + [
        ("fold", *each.alternatives) for each in found if each.fold
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"timeout", [{b"timeout"}]),
        (b"ERROR.*timeout", [{b"timeout"}, {b"ERROR"}]),
        (b"(foo|bar).*baz", [{b"baz"}, {b"foo", b"bar"}]),
        (b"gr[ae]y", [{b"gray", b"grey"}]),
        (b"[ab][cd]", [{b"ac", b"ad", b"bc", b"bd"}]),
        (b"x[abcd]y", [{b"xay", b"xby", b"xcy", b"xdy"}]),
        (b"xx[abcde]y", [{b"xx"}, {b"y"}]),  # a class of more members is anything
        (b"[^a]b", [{b"b"}]),
        (b"colou?r", [{b"color", b"colour"}]),
        (b"foo(bar)+baz", [{b"foobar"}, {b"barbaz"}]),
        (b"a{3}b", [{b"aaab"}]),
        (b"a{2,}b", [{b"aab"}]),
        (b"(?:ab){0}c", [{b"c"}]),
        (b"(?:ab)*c", [{b"c"}]),
        (b"(?:ab)*?", []),
        (b"x(?:a|bc|)y", [{b"xy", b"xay", b"xbcy"}]),
        (b"(?:foo\\d+|bar)z", [{b"foo", b"bar"}, {b"z"}]),
        (b"foo|\\d", []),
        (b"error|errno", [{b"error", b"errno"}]),
        (b"foo|foobar", [{b"foo"}]),  # what contains another says nothing more
        (b"^foo$", [{b"foo"}]),
        (b"\\bfoo\\b bar", [{b"foo bar"}]),
        (b"foo(?#a remark)bar", [{b"foobar"}]),
        (b"(?x) foo  bar # remark", [{b"foobar"}]),
        (b"(?P<q>['\"])x(?P=q)", [{b"'x", b'"x'}]),
        (b"(a)?(?(1)bc|bd)", [{b"bc", b"bd"}]),
        (b"(a)?(?(1)bc)", []),
        (b"(?>abc)d", [{b"abcd"}]),
        (b"(?:ab)++c", [{b"abc"}]),
        (b"\\d+(?= ms)", [{b" ms"}]),
        (b"(?<=user=)\\w+", [{b"user="}]),
        (b"(?=foo)\\w+bar", [{b"foo"}, {b"bar"}]),
        (b"(?:(?=foo)|x)\\d", []),
        (b"(?!foo)bar(?<!baz)", [{b"bar"}]),
        (b"(?!)", []),
        (b"", []),
        (b"$", []),
        (b"\\x41\\101\\.", [{b"AA."}]),
        (b"a\\nb", [{b"a\nb"}]),
        (b"\xe9t\xe9", [{b"\xe9t\xe9"}]),
        (b"(?i)Foo.*42", [{b"42"}, ("fold", b"foo")]),
        (b"(?i:Foo)BAR", [("fold", b"foobar")]),
        (b"(?i)a(?-i:XY)", [("fold", b"axy")]),
        (b"(?i)gr[AE]y", [("fold", b"gray", b"grey")]),
        (b"(?i)[aA]b", [("fold", b"ab")]),
        (b"(?L)foo", []),
        (b"foo(?L:bar)", []),
    ],
)
def test_literals_of(source, expected):
    found = literals_of(source)
    assert sorted(map(repr, map(_ordered, found))) == sorted(map(repr, map(_ordered, expected)))


def _ordered(literals):
    return sorted(literals) if isinstance(literals, set) else literals


def test_most_telling_requirement_comes_first():
    found = analyse(b"ab.*(?:abcdef|ghijkl).*abcdef.*z", 0).requirements
    assert found == (Requirement((b"abcdef",), False), Requirement((b"z",), False))
    assert analyse(b"(?i:abc).abc", 0).requirements == (Requirement((b"abc",), False),)


def test_flag_of_the_pattern_folds():
    assert literals_of(b"Foo", re.IGNORECASE) == [("fold", b"foo")]
    assert literals_of(b"42", re.IGNORECASE) == [{b"42"}]


def test_letters_that_fold_to_more_than_ascii_break_a_literal():
    found = analyse(b"(?i)timeoutk[sx]error", re.IGNORECASE, wide_folds=b"ks").requirements
    assert found == (Requirement((b"timeout",), True), Requirement((b"error",), True))


@pytest.mark.parametrize(
    "source",
    [
        b"[ab]" * 40,
        b"(?:(?:(?:ab){60}){60}){60}",
        b"a{65535}",
        b"|".join(b"%d" % i for i in range(3000)),
        b"x" * 5000,
        b"(" * 60 + b"a" + b"|b)" * 60,
        b"(?:a|b|c|d|e){3}(?:foo|bar){20}z",
    ],
    ids=len,
)
def test_sizes_are_bounded(source):
    for requirement in analyse(source, 0).requirements:
        assert len(requirement.alternatives) <= literals.MAX_ALTERNATIVES
        assert max(map(len, requirement.alternatives)) <= literals.MAX_LITERAL_BYTES


def test_a_list_of_words_is_a_set_of_literals():
    words = sorted(b"word%dx" % i for i in range(300))
    assert literals_of(b"(?:" + b"|".join(words) + b")\\d") == [set(words)]


@pytest.mark.parametrize(
    "tree",
    [
        [("NEVER_SEEN", None)],
        [("SUBPATTERN", (1, 0, 0, [("NEW", None)]))],
        [("SUBPATTERN", (1, 0, 0, [("LITERAL", 97)], "more"))],
        [("SUBPATTERN", (1, 0))],
        [("MAX_REPEAT", {"least": 1})],
        [("LITERAL", "a")],
        [("LITERAL", 256)],
        [("ASSERT", None)],
        [("IN", 5)],
    ],
)
def test_what_is_unknown_gives_nothing(tree, monkeypatch):
    monkeypatch.setattr(literals, "_parse", lambda source, flags: (tree, flags))
    assert analyse(b"foo", 0) is None


@pytest.mark.parametrize(
    "members",
    [
        [("LITERAL", 97), ("NEVER_SEEN", None)],
        [("CATEGORY", "CATEGORY_NEW")],
        [("NEGATE", None), ("LITERAL", 97), ("NEGATE", None), ("RANGE", (98, 99))],
    ],
)
def test_an_unknown_class_may_have_any_byte(members, monkeypatch):
    monkeypatch.setattr(literals, "_parse", lambda source, flags: ([("IN", members)], flags))
    assert analyse(b"foo", 0) == literals.UNKNOWN


def test_a_parser_that_is_gone_gives_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "re._parser", None)
    assert analyse(b"foo", 0) is None


def test_a_parser_of_another_kind_gives_nothing(monkeypatch):
    monkeypatch.delattr(sys.modules["re._parser"], "parse")
    assert analyse(b"foo", 0) is None


def test_debug_prints_nothing(capsys):
    analyse(b"foo", re.DEBUG)
    assert capsys.readouterr().out == ""


def contains(text, requirement):
    text = text.lower() if requirement.fold else text
    return any(literal in text for literal in requirement.alternatives)


# (source, a text) beside the random ones.
TRAPS = [
    (b"(?:a|)+b", b"b"),
    (b"(?i)[Z-b]", b"B"),
    (b"(?i)[^a]b", b"AB bb"),
    (b"(?:ab.cd)+e", b"ab-cde"),
    (b"(?:ab.cd){2}e", b"ab-cdab-cde"),
    (b"(?:a{70}b)", b"a" * 70 + b"b"),
    (b"(?:ab|cd){70}", b"abcd" * 35),
]


def trapped_and_random(count, seed, traps=TRAPS, **how):
    yield from ((re.compile(source), text) for source, text in traps)
    yield from cases(count, seed, **how)


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_text_with_a_match_meets_each_requirement(count):
    for pattern, text in trapped_and_random(count, 1, newlines=True):
        found = analyse(pattern.pattern, pattern.flags)
        assert found is not None
        if pattern.search(text):
            assert all(contains(text, each) for each in found.requirements), (pattern, text)


def test_each_match_contains_what_is_required():
    for pattern, text in trapped_and_random(1500, 2, newlines=True, asides=False):
        requirements = analyse(pattern.pattern, pattern.flags).requirements
        for match in pattern.finditer(text):
            assert all(contains(match[0], each) for each in requirements), (pattern, text)


def test_random_patterns_find_and_have_literals():
    # Or the tests above would show little.
    drawn = list(cases(1000, 3))
    assert sum(pattern.search(text) is not None for pattern, text in drawn) > 500
    assert (
        sum(bool(analyse(pattern.pattern, pattern.flags).requirements) for pattern, _ in drawn)
        > 300
    )


@pytest.mark.parametrize(
    ("source", "head"),
    [
        (b"foo.*bar", Requirement((b"foo",), False)),
        (b"^\\bfoo", Requirement((b"foo",), False)),
        (b"(?<=x)foo", Requirement((b"foo",), False)),
        (b"(?i)Fo+", Requirement((b"fo",), True)),
        (b"(?:ab|cd)+x", Requirement((b"ab", b"cd"), False)),
        (b"colou?r", Requirement((b"color", b"colour"), False)),
        (b"x?foo", Requirement((b"foo", b"xfoo"), False)),
        (b"x*foo", None),
        (b"\\w+foo", None),
        (b"foo|", None),
        (b"", None),
    ],
)
def test_head_is_what_each_match_begins_with(source, head):
    assert analyse(source, 0).head == head


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_each_match_begins_with_the_head(count):
    for pattern, text in trapped_and_random(count, 7, newlines=True):
        head = analyse(pattern.pattern, pattern.flags).head
        for match in pattern.finditer(text) if head else ():
            begin = match[0].lower() if head.fold else match[0]
            assert begin.startswith(head.alternatives), (pattern, text)


# --- the whole text or lines ----------------------------------------------------------------------

WHOLE = [
    b"(?s)a.b",
    b"a(?s:.)b",
    b"(?:a|(?s:.)){2}",
    b"a\\nb",
    b"a\nb",
    b"[\\n ]",
    b"[a\\x0a]",
    b"[\\n-\\r]",
    b"a(?=\\n)",
    b"(?<=\\n)a",
    b"(?:a|b(?:\\n)?)+",
]
LINES = [
    b"a.b",
    b"",
    b"a\\sb",
    b"\\W\\D",
    b"[^\\n]a",
    b"[^a\\n]",
    b"a(?!\\n)",
    b"(?<!\\n)a",
    b"[\\x00-\\xff]",
    b"\\\\n",
    b"(?m)^a$",
    b"(?-s:a.)",
]


@pytest.mark.parametrize("source", WHOLE)
def test_newline_by_name_or_dotall_wants_the_whole_text(source):
    assert analyse(source, re.compile(source).flags).whole_text


@pytest.mark.parametrize("source", LINES)
def test_other_patterns_are_for_lines(source):
    assert not analyse(source, re.compile(source).flags).whole_text


def test_verbose_newlines_are_not_named():
    source = b"(?x) a \n b"
    assert not analyse(source, re.compile(source).flags).whole_text


OTHER_SYNTAX = [
    b"\\N",
    b"[^]\\n]",
    b"[^[:alpha:]\\n]",
    b"(?i-s)a",
    b"\\\\[^\\n]",
    b"\\[\\\\n]",
    b"[\\\\n]",
    b"(?x) a \n b",
    b"(?P<s>a)",
]


@pytest.mark.parametrize("source", [*WHOLE, b"\\R", b"(?is-m)a", b"(?^s:.)", b"a\\x{0a}"])
def test_text_of_a_pattern_tells_that_the_whole_is_wanted(source):
    assert wants_whole_text(source)


# By its text, a negative assertion names a newline, too.
@pytest.mark.parametrize("source", [s for s in LINES if b"!" not in s] + OTHER_SYNTAX)
def test_text_of_a_pattern_tells_that_lines_will_do(source):
    assert not wants_whole_text(source)


def test_verbose_flag_hides_newlines_of_the_source():
    assert not wants_whole_text(b"a\nb", verbose=True)
    assert wants_whole_text(b"a\\nb", verbose=True)


# --- joined lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [b"\\d+", b"^a.b$", b"\\bx", b"[^\\s]+", b"(?!a)\\w", b"[^\\n]"])
def test_these_cannot_leave_their_line(source):
    assert analyse(source, 0).within_lines


@pytest.mark.parametrize(
    "source",
    [
        b"\\s",
        b"[^a]",
        b"\\W",
        b"\\D",
        b"\\Aa",
        b"a\\Z",
        b"\\B",
        b"(?s).",
        b"(?-m:^)a",
        b"[\\t-\\r]",
    ],
)
def test_these_may_leave_their_line(source):
    assert not analyse(source, re.compile(source).flags).within_lines


def lines_found(pattern, text, ends):
    """Starts of the lines in which a pattern finds something in the joined lines."""
    found, start = [], 0
    while start <= len(text):
        match = pattern.search(text, start)
        if match is None:
            break
        begin = text.rfind(b"\n", 0, match.start()) + 1
        found.append(begin)
        end = text.find(b"\n", match.start())
        start = len(text) + 1 if end < 0 else end + 1
    return found


def joined_agrees(pattern, lines, end):
    joined = re.compile(pattern.pattern, pattern.flags | re.MULTILINE)
    starts, place = [], 0
    for line in lines:
        if pattern.search(line):
            starts.append(place)
        place += len(line) + len(end)
    return starts, lines_found(joined, end.join(lines), end)


JOINED = [
    (b"(?-m:^)a", b"b\na"),
    (b"a$", b"a\nb"),
    (b"\\B", b"a\n\nb"),
    (b"a(?!\\r)", b"a\nb"),
    (b"(?>a\\r|a)(?<=a)", b"a\nb"),
    (b"a\\r?+(?<=a)", b"a\nb"),
]


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_joined_lines_match_as_each_line_does(count):
    for pattern, text in trapped_and_random(count, 4, JOINED):
        if analyse(pattern.pattern, pattern.flags).within_lines:
            expected, found = joined_agrees(pattern, text.split(b"\n"), b"\n")
            assert found == expected, (pattern, text)


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_joined_lines_with_returns_miss_no_line(count):
    for pattern, text in trapped_and_random(count, 5, JOINED):
        if analyse(pattern.pattern, pattern.flags).despite_returns:
            expected, found = joined_agrees(pattern, text.split(b"\n"), b"\r\n")
            assert set(expected) <= set(found), (pattern, text)


def test_what_wants_the_whole_text_never_stays_within_lines():
    for pattern, _ in cases(500, 6, newlines=True):
        found = analyse(pattern.pattern, pattern.flags)
        assert found.within_lines or not found.despite_returns
        assert not (found.within_lines and found.whole_text), pattern
