"""Several literals at once: what an alternation of `re` finds, however the text is cut."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit.text import windows

texts = st.text("abcA\n", max_size=200).map(str.encode)
several = st.lists(st.text("abcA", min_size=1, max_size=6).map(str.encode), min_size=1, max_size=12)


def expected(text, needles, overlapping):
    if overlapping:
        return [
            (at, which)
            for at in range(len(text))
            for which, needle in enumerate(needles)
            if text.startswith(needle, at)
        ]
    pattern = re.compile(b"|".join(b"(%s)" % re.escape(needle) for needle in needles))
    return [(found.start(), found.lastindex - 1) for found in pattern.finditer(text)]


def pairs(found):
    offsets, which = found
    assert offsets.dtype == which.dtype == np.int64
    return list(zip(offsets.tolist(), which.tolist(), strict=True))


@given(texts, several, st.booleans())
def test_same_as_an_alternation(text, needles, overlapping):
    found = mk.find_any(text, needles, overlapping=overlapping)
    assert pairs(found) == expected(text, needles, overlapping)


@given(texts, several, st.sampled_from([1, 2, 5]), st.booleans())
def test_threads_and_windows_change_nothing(text, needles, threads, overlapping):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WARM_BYTES", 60)
        patch.setattr(windows, "SHARE_BYTES", 7)
        found = mk.find_any(
            text, needles, overlapping=overlapping, threads=threads, progress=lambda *where: None
        )
        assert pairs(found) == expected(text, needles, overlapping)


@given(texts, several, st.integers(-210, 210), st.integers(-210, 210))
def test_slices(text, needles, start, end):
    first = slice(start, end).indices(len(text))[0]
    found = pairs(mk.find_any(text, needles, start, end))
    assert [(at - first, which) for at, which in found] == expected(text[start:end], needles, False)


@given(texts, several)
def test_ignoring_case(text, needles):
    found = mk.find_any(text, needles, ignore_case=True)
    assert pairs(found) == expected(text.lower(), [needle.lower() for needle in needles], False)


def test_method_of_a_mapping(tmp_path):
    (tmp_path / "text").write_bytes(b"to be or not to be" * 1000)
    with mk.open(tmp_path / "text") as m:
        found = pairs(m.find_any([b"or", b"be", 110]))
        assert found == expected(m.read(), [b"or", b"be", b"n"], False)


@pytest.mark.parametrize(
    ("needles", "error", "message"),
    [
        (b"abc", TypeError, "a list of bytes, not bytes"),
        ("abc", TypeError, "a list of bytes, not str"),
        (["abc"], TypeError, r"'abc'\.encode\(\)"),
        ([], ValueError, "no needle"),
        ([b"a", b""], ValueError, "needle 1 is empty"),
        ([b"a", 256], ValueError, "from 0 to 255, not 256"),
        ([None], TypeError, "not NoneType"),
    ],
)
def test_wrong_needles_are_named(needles, error, message):
    with pytest.raises(error, match=message):
        mk.find_any(b"text", needles)
