"""Which compiled patterns are accepted, and what is known of them."""

import array
import random
import re
import sys

import pytest

from mmapkit.text.engines import ScanMatch, engine_of
from mmapkit.text.literals import Requirement

from .optional import need
from .patterns import Sources, text

LINES = b"some foo here\nand bar, foo\n"


def spans(pattern, text):
    return [match.span() for match in engine_of(pattern).finditer(text)]


def required(pattern):
    return [set(each.alternatives) for each in engine_of(pattern).analysis.requirements]


# --- what is no pattern ---------------------------------------------------------------------------


def test_pattern_of_str_says_how_to_compile_bytes():
    with pytest.raises(TypeError) as told:
        engine_of(re.compile("t\xe9l"))
    assert "the pattern 't\xe9l' was compiled from str" in str(told.value)
    assert "re.compile(b't\\xc3\\xa9l')" in str(told.value)


@pytest.mark.parametrize("pattern", [None, 5, b"foo", [b"foo"], array.array("b"), re])
def test_other_objects_are_named_with_what_is_accepted(pattern):
    with pytest.raises(TypeError, match=rf"re, google-re2.*, not {type(pattern).__name__}"):
        engine_of(pattern)


def test_str_says_encode():
    with pytest.raises(TypeError, match=r"not str; encode it: pattern\.encode\(\)"):
        engine_of("foo")


# --- re -------------------------------------------------------------------------------------------


def test_re_finds_with_its_own_match_objects():
    pattern = re.compile(rb"(f)oo")
    engine = engine_of(pattern)
    assert engine.name == "re"
    found = list(engine.finditer(LINES))
    assert [type(match) for match in found] == [re.Match] * 2
    assert spans(pattern, memoryview(LINES)) == spans(pattern, LINES) == [(5, 8), (23, 26)]
    assert required(pattern) == [{b"foo"}]


def test_re_searches_joined_lines_as_each_of_them():
    engine = engine_of(re.compile(rb"^\w+$"))
    assert engine.search_joined(b"a b\ncd\nef", 0, 9).span() == (4, 6)
    assert engine.search_joined(b"a b\ncd\nef", 7, 8).span() == (7, 8)
    assert engine.search_joined(b"a b\ncd ", 0, 7) is None
    assert engine_of(re.compile(rb"\s")).search_joined is None


def test_re_whose_tree_is_strange_is_read_as_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "re._parser", None)
    for source, flags, whole in [
        (rb"foo", 0, False),
        (rb"foo\n", 0, True),
        (rb"foo", re.S, True),
        (b"a \n b", re.X, False),
    ]:
        engine = engine_of(re.compile(source, flags))
        assert engine.analysis.whole_text is whole
        assert engine.analysis.requirements == ()
        assert engine.search_joined is None


# --- google-re2 -----------------------------------------------------------------------------------


def test_re2_finds_with_its_own_match_objects():
    re2 = need("re2")
    pattern = re2.compile(rb"(f)oo")
    assert engine_of(pattern).name == "re2"
    assert spans(pattern, memoryview(LINES)) == spans(pattern, LINES) == [(5, 8), (23, 26)]
    assert next(iter(engine_of(pattern).finditer(LINES))).group(1) == b"f"


def options_of(re2, **values):
    options = re2.Options()
    for name, value in values.items():
        setattr(options, name, value)
    return options


def test_re2_tells_its_literals():
    re2 = need("re2")
    latin = options_of(re2, encoding=re2.Options.Encoding.LATIN1)
    assert required(re2.compile(rb"ERROR.*timeout")) == [{b"timeout"}, {b"ERROR"}]
    assert required(re2.compile(rb"(?i)errors")) == [{b"error"}]  # the long s is one, too
    assert required(re2.compile(rb"(?i)errors", latin)) == [{b"errors"}]
    assert required(re2.compile(rb"foo|\pN")) == []
    assert required(re2.compile(rb"\Qa.b\E")) == []
    assert required(re2.compile("\xe9*a".encode())) == []
    exact = options_of(re2, literal=True)
    assert required(re2.compile(rb"a.b(", exact)) == [{b"a.b("}]
    folded = options_of(re2, literal=True, case_sensitive=False)
    found = engine_of(re2.compile(b"Foo", folded)).analysis.requirements
    assert found == (Requirement((b"foo",), True),)


def test_re2_of_posix_syntax_repeats_repeats():
    re2 = need("re2")
    pattern = re2.compile(rb"xa{2}+b", options_of(re2, posix_syntax=True, log_errors=False))
    assert spans(pattern, b"xaaaab") == [(0, 6)]
    assert required(pattern) == []


def test_re2_wants_the_whole_text_by_option_or_name():
    re2 = need("re2")
    for pattern, whole in [
        (re2.compile(rb"a.b"), False),
        (re2.compile(rb"a.b", options_of(re2, dot_nl=True)), True),
        (re2.compile(rb"(?s)a.b"), True),
        (re2.compile(rb"\pN\n"), True),
        (re2.compile(rb"\pN[^\n]"), False),
        (re2.compile(b"a\nb", options_of(re2, literal=True)), True),
        (re2.compile(rb"a\nb", options_of(re2, literal=True)), False),
    ]:
        assert engine_of(pattern).analysis.whole_text is whole, pattern.pattern


def test_re2_of_str_says_how_to_compile_bytes():
    re2 = need("re2")
    with pytest.raises(TypeError, match=r"'foo' was compiled from str.*re2\.compile\(b'foo'\)"):
        engine_of(re2.compile("foo"))


# --- pcre2 ----------------------------------------------------------------------------------------


def test_pcre2_finds_with_its_own_match_objects():
    pcre2 = need("pcre2")
    pattern = pcre2.compile(rb"(f)oo")
    assert engine_of(pattern).name == "pcre2"
    assert spans(pattern, memoryview(LINES)) == spans(pattern, LINES) == [(5, 8), (23, 26)]
    assert next(iter(engine_of(pattern).finditer(LINES))).group(1) == b"f"


def test_pcre2_tells_its_literals():
    pcre2 = need("pcre2")
    assert required(pcre2.compile(rb"ERROR.*timeout")) == [{b"timeout"}, {b"ERROR"}]
    assert required(pcre2.compile(rb"errors", pcre2.I)) == [{b"errors"}]
    assert required(pcre2.compile(rb"(?i)errors", pcre2.U)) == [{b"error"}]
    assert required(pcre2.compile(rb"\d+(?= ms)")) == [{b" ms"}]
    assert required(pcre2.compile(rb"fo o", pcre2.X)) == []
    assert required(pcre2.compile(rb"\Qa.b\E")) == []
    assert required(pcre2.compile(rb"(?|foo)")) == []
    assert required(pcre2.compile(rb"[[:alpha:]]foo")) == []
    assert required(pcre2.compile(rb"(foo)\Kbar")) == []


def test_pcre2_wants_the_whole_text_by_flag_or_name():
    pcre2 = need("pcre2")
    for pattern, whole in [
        (pcre2.compile(rb"a.b"), False),
        (pcre2.compile(rb"a.b", pcre2.S), True),
        (pcre2.compile(rb"a.b(?s:.)"), True),
        (pcre2.compile(rb"\h\R"), True),
        (pcre2.compile(b"a\nb", pcre2.X), False),
    ]:
        assert engine_of(pattern).analysis.whole_text is whole, pattern.pattern


def test_pcre2_of_str_says_how_to_compile_bytes():
    pcre2 = need("pcre2")
    with pytest.raises(TypeError, match=r"'foo' was compiled from str.*pcre2\.compile\(b'foo'\)"):
        engine_of(pcre2.compile("foo"))


# --- literals of both -----------------------------------------------------------------------------


def compile_with(library, source, rng):
    fold = rng.random() < 0.3
    source = rng.choice([b"", b"", b"(?i)"]) + source
    if library.__name__ == "pcre2":
        flags = rng.choice([0, library.U, library.S, library.X]) | (library.I if fold else 0)
        return library.compile(source, flags)
    encoding = rng.choice([library.Options.Encoding.LATIN1, library.Options.Encoding.UTF8])
    options = options_of(library, case_sensitive=not fold, encoding=encoding, log_errors=False)
    if rng.random() < 0.1:
        options.posix_syntax = options.perl_classes = True
    return library.compile(source, options)


@pytest.mark.parametrize("name", ["re2", "pcre2"])
def test_other_engines_need_what_is_required(name):
    library = need(name)
    rng = random.Random(7)
    drawn = Sources(rng, asides=name == "pcre2")
    tried = 0
    while tried < 1500:
        source, sample = drawn.draw()
        try:
            pattern = compile_with(library, source, rng)
        except library.error:
            continue
        tried += 1
        sample = (text(rng) + sample + text(rng)).replace(b"\xe9", b"\xc3\xa9")
        if rng.random() < 0.3:  # what k and s are, too, in Unicode
            sample = sample.replace(b"k", "\u212a".encode())
        if pattern.search(sample):
            for each in engine_of(pattern).analysis.requirements:
                found = sample.lower() if each.fold else sample
                assert any(literal in found for literal in each.alternatives), (source, sample)


# --- hyperscan ------------------------------------------------------------------------------------


def database_of(hyperscan, *sources, mode=None, **how):
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK if mode is None else mode)
    how.setdefault("flags", [hyperscan.HS_FLAG_SOM_LEFTMOST] * len(sources))
    database.compile(list(sources), **how)
    return database


def test_hyperscan_finds_leftmost_longest_without_overlap():
    hyperscan = need("hyperscan")
    engine = engine_of(database_of(hyperscan, rb"a+b?"))
    assert engine.name == "hyperscan"
    assert list(engine.finditer(b"aab xa")) == [ScanMatch(0, 0, 3), ScanMatch(0, 5, 6)]
    assert [match.span() for match in engine.finditer(memoryview(b"aab"))] == [(0, 3)]
    assert list(engine.finditer(b"")) == []


def test_hyperscan_finds_each_expression_by_itself():
    hyperscan = need("hyperscan")
    database = database_of(hyperscan, rb"fo+", rb"oo", ids=[7, 3])
    assert list(engine_of(database).finditer(b"foo oo")) == [(7, 0, 3), (3, 1, 3), (3, 4, 6)]


def test_hyperscan_without_starts_gives_ends():
    hyperscan = need("hyperscan")
    engine = engine_of(database_of(hyperscan, rb"fo+", flags=0))
    assert list(engine.finditer(b"a foo fo")) == [(0, 0, 8)]


def test_hyperscan_has_no_literals_and_works_by_lines():
    hyperscan = need("hyperscan")
    engine = engine_of(database_of(hyperscan, rb"foo\n"))
    assert (engine.analysis.requirements, engine.analysis.whole_text) == ((), False)


def test_hyperscan_agrees_with_re_where_matches_are_longest():
    hyperscan = need("hyperscan")
    rng = random.Random(8)
    for source in [rb"a[^b\n]*", rb"(ab)+|k", rb"\d{2,3}", rb"[ab]+"]:
        engine = engine_of(database_of(hyperscan, source))
        for _ in range(100):
            sample = text(rng)
            expected = [match.span() for match in re.finditer(source, sample)]
            assert [match.span() for match in engine.finditer(sample)] == expected


def test_hyperscan_in_use_elsewhere():
    hyperscan = need("hyperscan")
    database = database_of(hyperscan, rb"foo")
    inside = []

    def scan_again(*_):
        inside.extend(engine_of(database).finditer(b"foo foo"))

    database.scan(b"foo", scan_again)
    assert len(inside) == 2


def test_hyperscan_must_be_compiled_for_blocks():
    hyperscan = need("hyperscan")
    with pytest.raises(ValueError, match="holds no pattern"):
        engine_of(hyperscan.Database())
    database = database_of(hyperscan, rb"foo", mode=hyperscan.HS_MODE_VECTORED)
    with pytest.raises(ValueError, match=r"block mode \(HS_MODE_BLOCK\), not .*VECTORED"):
        engine_of(database)


def test_hyperscan_takes_less_than_4_gib():
    hyperscan = need("hyperscan")

    class Large(bytes):
        def __len__(self):
            return 1 << 32

    with pytest.raises(ValueError, match="at a time, not 4294967296"):
        engine_of(database_of(hyperscan, rb"foo")).finditer(Large())
