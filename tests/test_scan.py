"""Which kernels run, and that all of them find the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk
from mmapkit import _scan

NAMES = ["scalar", "sse2", "avx2", "avx512", "neon"]

texts = st.binary(max_size=500) | st.text("ab\n", max_size=500).map(str.encode)


@pytest.fixture(autouse=True)
def same_kernels_afterwards():
    name = _scan.kernel_name()
    yield
    _scan.use_kernels(name)


def test_the_last_kernels_of_this_processor_are_chosen(run_python):
    run_python(
        "from mmapkit import _scan; assert _scan.kernel_name() == _scan.kernel_names()[-1]",
        MMAPKIT_KERNELS=_scan.kernel_names()[-1],
    )
    names = _scan.kernel_names()
    assert names[0] == "scalar"
    assert [name for name in NAMES if name in names] == names


@pytest.mark.parametrize("name", _scan.kernel_names())
def test_kernels_that_are_asked_for_run(run_python, name):
    run_python(
        "import sys; from mmapkit import _scan; assert _scan.kernel_name() == sys.argv[1]",
        name,
        MMAPKIT_KERNELS=name,
    )


def test_kernels_that_do_not_run_here_are_refused(run_python):
    missing = next(name for name in NAMES if name not in _scan.kernel_names())
    for name in (missing, "avx9", ""):
        ended = run_python("import mmapkit; mmapkit.find(b'', b'')", code=1, MMAPKIT_KERNELS=name)
        assert f"there are no kernels {name!r} for this processor" in ended.stderr
        assert "scalar" in ended.stderr
    with pytest.raises(RuntimeError, match="no kernels 'avx9'"):
        _scan.use_kernels("avx9")


@given(texts, st.binary(min_size=1, max_size=3) | st.text("ab", min_size=1).map(str.encode))
def test_all_kernels_find_the_same(text, needle):
    found = set()
    for name in _scan.kernel_names():
        _scan.use_kernels(name)
        found.add(
            (
                mk.find(text, needle),
                mk.rfind(text, needle, ignore_case=True),
                mk.count(text, needle),
                tuple(mk.find_all(text, needle, overlapping=True).tolist()),
                tuple(mk.find_any(text, [needle, b"a", b"\n"])[0].tolist()),
                tuple(mk.lines(text).offsets.tolist()),
            )
        )
    assert len(found) == 1
    assert next(iter(found))[:1] == (text.find(needle),)


@pytest.mark.parametrize(
    ("start", "stop", "end"), [(0, 4, 4), (2, 1, 3), (0, 3, 2), (5, 5, 5), (0, 0, 9)]
)
def test_ranges_outside_of_the_text_are_refused(start, stop, end):
    needle = _scan.Needle(b"a")
    for work in (_scan.find, _scan.rfind, _scan.count, _scan.find_all):
        with pytest.raises(ValueError, match="not all in a text of 3 bytes"):
            work(b"abc", needle, start, stop, end)
