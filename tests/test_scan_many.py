"""Many literals at once: what an alternation in `re` finds, whatever the text and the needles."""

import re
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit import _scan

ALPHABETS = ["a", "ab", "abAB", "abcdefgh", "a\n."]


def words(alphabet, least, most):
    return st.text(alphabet, min_size=least, max_size=most).map(str.encode)


problems = st.sampled_from(ALPHABETS).flatmap(
    lambda alphabet: st.tuples(
        words(alphabet, 0, 300), st.lists(words(alphabet, 1, 12), min_size=1, max_size=30)
    )
)


@pytest.fixture(params=_scan.kernel_names(), autouse=True)
def kernels(request):
    before = _scan.kernel_name()
    _scan.use_kernels(request.param)
    yield request.param
    _scan.use_kernels(before)


def expected(text, needles, fold=False, overlapping=False):
    """Offsets and indices, by `re`."""
    flags = re.IGNORECASE if fold else 0
    if not overlapping:
        pattern = b"|".join(b"(%s)" % re.escape(needle) for needle in needles)
        return [(hit.start(), hit.lastindex - 1) for hit in re.finditer(pattern, text, flags)]
    return sorted(
        (hit.start(), which)
        for which, needle in enumerate(needles)
        for hit in re.finditer(b"(?=%s)" % re.escape(needle), text, flags)
    )


def pairs(offsets, which):
    assert offsets.itemsize == which.itemsize == 8
    return list(zip(np.frombuffer(offsets, "i8"), np.frombuffer(which, "i8"), strict=True))


def find_any(text, needles, start=0, stop=None, end=None, **options):
    end = len(text) if end is None else end
    stop = end if stop is None else stop
    offsets, which, resume = _scan.find_any(text, needles, start, stop, end, **options)
    assert resume >= stop
    return pairs(offsets, which)


@given(problem=problems, fold=st.booleans(), overlapping=st.booleans())
def test_find_any_is_an_alternation(problem, fold, overlapping):
    text, needles = problem
    wanted = expected(text, needles, fold, overlapping)
    studied = _scan.Needles(needles, fold)
    assert find_any(text, studied, overlapping=overlapping) == wanted
    count, first, resume = _scan.count_any(text, studied, 0, len(text), len(text), overlapping)
    assert count == len(wanted)
    assert first == (wanted[0][0] if wanted else -1)
    assert resume >= len(text)


@given(problem=problems, data=st.data())
def test_ranges_limit_starts_and_ends(problem, data):
    text, needles = problem
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    end = data.draw(st.integers(stop, len(text)))
    wanted = [
        (at, which)
        for at, which in expected(text[:end], needles, overlapping=True)
        if start <= at < stop
    ]
    assert find_any(text, _scan.Needles(needles), start, stop, end, overlapping=True) == wanted


@given(problem=problems, data=st.data())
def test_cut_anywhere_the_parts_are_the_whole(problem, data):
    text, needles = problem
    studied = _scan.Needles(needles)
    found, at = [], 0
    while at < len(text):
        stop = data.draw(st.integers(at + 1, len(text)))
        offsets, which, at = _scan.find_any(text, studied, at, stop, len(text))
        found += pairs(offsets, which)
        assert at >= stop
    assert found == expected(text, needles)


@pytest.mark.parametrize("count", [2, 8, 50, 1000, 10_000])
def test_words_among_letters(count):
    rng = np.random.default_rng(7)
    letters = np.frombuffer(b"abcdefghijklmnop\n", "u1")
    text = letters[rng.integers(0, len(letters), 100_000)].tobytes()
    words = sorted({text[at : at + 9] for at in rng.integers(0, len(text) - 9, count)})
    studied = _scan.Needles(words)
    assert len(studied) == len(words)
    assert studied.longest == 9
    index = {word: which for which, word in enumerate(words)}
    wanted = [
        (at, index[text[at : at + 9]]) for at in range(len(text) - 8) if text[at : at + 9] in index
    ]
    assert find_any(text, studied, overlapping=True) == wanted


def runs(draw, least, most):
    """Bytes made of a few runs: what is nearly found everywhere."""
    units = draw(
        st.lists(st.sampled_from([b"a", b"b", b"ab", b"aab", b"aaab"]), min_size=1, max_size=3)
    )
    times = draw(st.lists(st.integers(1, most // 4), min_size=len(units), max_size=len(units)))
    made = b"".join(unit * count for unit, count in zip(units, times, strict=True))
    return (made * (least // len(made) + 1))[: max(least, min(len(made), most))]


@given(data=st.data(), fold=st.booleans(), overlapping=st.booleans())
def test_hostile_texts_of_two_letters(data, fold, overlapping):
    text = bytearray(runs(data.draw, 12_000, 16_000))
    needles = [runs(data.draw, 1, 70) for _ in range(data.draw(st.integers(1, 12)))]
    needles += [needle + b"c" for needle in needles[::2]]
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from(b"abcABC"))
    if data.draw(st.booleans()):
        needles = needles[::-1]
    # One letter more makes all needles rare: candidates are false then, and not found.
    needles = [needle + b"c" for needle in needles] if data.draw(st.booleans()) else needles
    text = bytes(text)
    found = find_any(text, _scan.Needles(needles, fold), overlapping=overlapping)
    assert found == expected(text, needles, fold, overlapping)


@pytest.mark.parametrize("size", [11, 24, 64])
@pytest.mark.parametrize("count", [2, 8, 64])
@pytest.mark.parametrize("letters", [b"ab", b"aAbB", b"ACGT"])
def test_long_words_among_the_same_letters(letters, count, size):
    fold = letters == b"aAbB"
    rng = np.random.default_rng(7)
    alphabet = np.frombuffer(letters, "u1")
    text = bytearray(alphabet[rng.integers(0, len(alphabet), 300_000)].tobytes())
    words = sorted({alphabet[rng.integers(0, len(alphabet), size)].tobytes() for _ in range(count)})
    for at in rng.integers(0, len(text) - size, 50):
        text[at : at + size] = words[at % len(words)]
    half = len(text) // 2  # nearly a word, again and again
    text[half : half + 40_000] = (words[0][:-1] + b"c") * (40_000 // size) + b"c" * (40_000 % size)
    text = bytes(text)
    index = {}
    for which, word in enumerate(words):
        index.setdefault(word.lower() if fold else word, []).append(which)
    seen = text.lower() if fold else text
    wanted = [
        (at, which)
        for at in range(len(text) - size + 1)
        for which in index.get(seen[at : at + size], ())
    ]
    assert find_any(text, _scan.Needles(words, fold), overlapping=True) == wanted


# False candidates everywhere, for filters of any kind, and more ends than beginnings.
@pytest.mark.parametrize("overlapping", [False, True])
def test_text_that_looks_like_the_needles(overlapping):
    text = (b"a" * 999 + b"b") * 600
    needles = [b"a" * 50 + b"c", b"c" + b"a" * 50, b"a" * 700 + b"ba", b"ab" + b"a" * 30]
    found = find_any(text, _scan.Needles(needles), overlapping=overlapping)
    assert found == expected(text, needles, overlapping=overlapping)


def test_every_needle_starts_everywhere():
    needles = [b"a" * size for size in range(1, 401)]
    text = b"a" * 500
    found = find_any(text, _scan.Needles(needles), overlapping=True)
    assert len(found) == sum(min(400, 500 - at) for at in range(500))
    assert found[:3] == [(0, 0), (0, 1), (0, 2)]
    assert find_any(text, _scan.Needles(needles[::-1]))[0] == (0, 0)


def test_only_letters_of_ascii_are_folded():
    needles = _scan.Needles([b"\xe4[", b"@Z"], True)
    assert needles.fold
    assert find_any(b"\xe4[ \xc4[ \xe4{ @z `z `Z", needles) == [(0, 0), (9, 1)]


def test_lines_of_many():
    text = b"ok\nwarn: error\r\nok\nerror"
    for once, wanted in [
        (False, [(3, 4, 3, 15, 1), (9, 5, 3, 15, 1), (19, 5, 19, 24, 3)]),
        (True, [(3, 4, 3, 15, 1), (19, 5, 19, 24, 3)]),
    ]:
        scanner = _scan.LineScanner(_scan.Needles([b"error", b"warn"]), once=once)
        assert scanner.next(text, len(text), len(text)) == wanted
        assert scanner.position >= len(text)
        assert scanner.next(text, len(text), len(text)) == []


def test_batches_of_lines_go_on_where_the_last_one_ended():
    text = b"".join(b"%d x%d\n" % (i, i % 3) for i in range(2000))
    scanner = _scan.LineScanner(_scan.Needles([b"x0", b"x2"]), once=True)
    numbers = []
    while batch := scanner.next(text, len(text), len(text)):
        numbers += [number for *_, number in batch]
    assert numbers == [i for i in range(2000) if i % 3 != 1]


def test_mapping_is_searched(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"." * 300_000 + b"needle" + b"." * 300_000 + b"pin")
    with mk.open(path) as mapping:
        assert find_any(mapping, _scan.Needles([b"pin", b"needle"])) == [(300_000, 1), (600_006, 0)]


def test_interrupt_ends_a_call_early():
    needles = _scan.Needles([b"ab", b"ba"])
    text = bytes(1 << 20)
    *_, resume = _scan.find_any(text, needles, 0, len(text), len(text), interrupt=bytearray(b"\1"))
    assert resume < len(text)


def test_threads_share_needles():
    text = b"xaxbxcx" * 10_000
    needles = _scan.Needles([b"a", b"bx", b"cxx"])
    results = []

    def work():
        results.append(find_any(text, needles, overlapping=True))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected(text, [b"a", b"bx", b"cxx"], overlapping=True)] * 4


def test_unsuitable_needles():
    with pytest.raises(ValueError, match="there are no needles"):
        _scan.Needles([])
    with pytest.raises(ValueError, match="needle 1 is empty"):
        _scan.Needles([b"a", b""])
    with pytest.raises(TypeError, match="needle 0 must be bytes, not str"):
        _scan.Needles(["a"])
    with pytest.raises(TypeError):
        _scan.LineScanner(b"a", once=True)
    with pytest.raises(ValueError, match="not all in a text of 3 bytes"):
        _scan.find_any(b"abc", _scan.Needles([b"a"]), 0, 4, 4)
