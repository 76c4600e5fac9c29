"""Hostile .npy files: FormatError or ValueError that names the file, and nothing else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmapkit as mk

from .effort import examples

np = pytest.importorskip("numpy")

PLAIN = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"


def npy(header, data=bytes(24), version=(1, 0), length=None):
    """A .npy file around a header, which may be anything."""
    text = header if isinstance(header, bytes) else header.encode("latin-1", "replace")
    count = len(text) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack(
        "<H" if version[0] == 1 else "<I", count
    ) + text + data  # fmt: skip


def described(descr="'<f8'", shape="(3,)", fortran="False"):
    return npy(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")


@pytest.fixture
def refuse(tmp_path):
    """Check that a file is refused with a message that names it; return the error."""

    def check(content, kind=mk.FormatError, named="hostile"):
        path = tmp_path / "hostile.npy"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=named) as caught:
            mk.open_array(path)
        assert isinstance(caught.value, kind)
        assert "hostile.npy" in str(caught.value)
        return caught.value

    return check


def test_format_error_is_a_value_error():
    assert issubclass(mk.FormatError, ValueError)


@pytest.mark.parametrize("header", [PLAIN, PLAIN + "\n", PLAIN.replace(" ", ""), PLAIN + " " * 999])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_harmless_variations_are_read(tmp_path, header, version):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(header, np.arange(3.0).tobytes(), version))
    with mk.open_array(path) as a:
        assert a[...].tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["L", "L,"])
def test_long_integers_of_python_2_are_read(tmp_path, suffix):
    path = tmp_path / "a.npy"
    shape = "(3L,)" if suffix == "L" else "(3L, 1L)"
    path.write_bytes(npy(PLAIN.replace("(3,)", shape)))
    with mk.open_array(path) as a:
        assert a.size == 3


def test_longer_files_than_the_header_says_are_read(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(PLAIN) + b"more")
    with mk.open_array(path) as a:
        assert a.shape == (3,)


def test_truncated_at_each_byte(tmp_path):
    np.save(tmp_path / "whole.npy", np.arange(4.0))
    content = (tmp_path / "whole.npy").read_bytes()
    path = tmp_path / "cut.npy"
    for length in range(6, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(mk.FormatError, match=r"cut\.npy"):
            mk.open_array(path)


def test_magic_that_is_cut_is_a_raw_file(tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(b"\x93NUMP")
    with mk.open_array(path) as a:
        assert a[...].tobytes() == b"\x93NUMP"


@pytest.mark.parametrize("version", [(0, 0), (0, 1), (1, 1), (2, 1), (4, 0), (255, 255), (3, 1)])
def test_unknown_version_is_named(refuse, version):
    named = rf"\({version[0]}, {version[1]}\)"
    refuse(b"\x93NUMPY" + bytes(version) + npy(PLAIN)[8:], named=named)


@pytest.mark.parametrize("length", [0, 1, 55, 58, 1000, 2**16 - 1])
def test_header_that_lies_about_its_length(refuse, length):
    refuse(npy(PLAIN, length=length))


@pytest.mark.parametrize("length", [82, 2**18, 2**18 + 1, 2**31, 2**32 - 1])
def test_long_header_that_is_not_there(refuse, length):
    refuse(npy(PLAIN, length=length, version=(2, 0)))


def test_header_of_megabytes_is_not_parsed(refuse):
    refuse(npy(PLAIN + " " * (1 << 20), version=(2, 0)), named="claims 1048")


@pytest.mark.parametrize(
    "shape",
    [
        *("(4,)", "(3, 2)", "(2**3,)", "(9223372036854775807,)", "(9223372036854775808,)", "(-1,)"),
        *(
            "(4294967296, 4294967296)",
            "(3, -1)",
            "(True,)",
            "(3.0,)",
            "('3',)",
            "(None,)",
            "((3,),)",
        ),
        *("[3]", "3", "None", "{}", "'3'", f"({10**40},)", "(1, 3, 10**9)", f"({'9' * 5000},)"),
        *("(0, 9223372036854775808)", f"(0, {10**30})", "(0, 4294967296, 4294967296)"),
        *(
            f"({'1, ' * 65})",
            f"({'0, ' * 5000})",
            "(3, 18446744073709551616)",
            "(1j,)",
            "(3,",
            "3,)",
        ),
    ],
)
def test_impossible_shapes(refuse, shape):
    refuse(described(shape=shape), ValueError)


def test_shape_that_promises_more_than_there_is_names_both(refuse):
    refuse(described(shape="(4,)"), named=r"\(4,\).*byte 99\b.*91 bytes|\(4,\).*bytes")


@pytest.mark.parametrize(
    "descr",
    [
        *(
            "'|O'",
            "'O'",
            "[('a', '|O')]",
            "[('a', [('b', '|O')])]",
            "'|S0'",
            "'<U0'",
            "'|V0'",
            "[]",
        ),
        *("'<f3'", "'f'*3", "'x'", "''", "'<'", "'f8 '", "5", "None", "True", "1.5", "(1,)", "()"),
        *("{}", "{'a': 1}", "[1]", "['<f8']", "[('a',)]", "[('a', 'b', 'c', 'd')]", "[('a', 'x')]"),
        *("[(1, '<f8')]", "[('a', '<i4'), ('a', '<i4')]", "[('a', '<i4', -1)]", "b'<f8'", "'M8['"),
        *(
            f"[('a', '<i4', {2**70})]",
            f"[('a', '<i4', ({2**40}, {2**40}))]",
            "('<f8', -1)",
        ),
        *("'<U999999999'", "'<U9999999999'", "'|S2147483648'", "'|V4294967296'", "'<M8[nonsense]'"),
        *(
            "'<f8' '<f8'",
            "'<f8\\x00'",
            "'é'",
            "('<f8', (2, 'x'))",
            "[('a', ('<f8', 5.5))]",
        ),
        *("('O', (2,))", "[[('a', '<i4')]]", "[(('t', 'a'), '|O')]", "'(2,0)f4'", "'S5,O'"),
    ],
)
def test_impossible_dtypes(refuse, descr):
    refuse(described(descr=descr, shape="(1,)"), ValueError)


@pytest.mark.parametrize("fortran", ["0", "1", "None", "'False'", "[]", "(True,)"])
def test_fortran_order_that_is_no_bool(refuse, fortran):
    refuse(described(fortran=fortran), named="fortran_order")


@pytest.mark.parametrize(
    "header",
    [
        *(
            "",
            " ",
            "\n",
            "{",
            "{}",
            "[]",
            "()",
            "None",
            "5",
            "'descr'",
            "\0" * 50,
            "{'descr': '<f8'}",
        ),
        *(PLAIN[:-1], PLAIN + PLAIN, PLAIN + " 5", PLAIN[:-1] + "'more': 1}", "{1: 2, 3: 4, 5: 6}"),
        *("__import__('os').system('true')", "{'descr': '<f8', **{}}", "lambda: 0", "f'{1}'"),
        *(
            PLAIN.replace("(3,)", "exit()"),
            PLAIN.replace("'descr'", "b'descr'"),
            "\t" + PLAIN + "\\",
        ),
        *(
            "(" * 100,
            "[" * 5000,
            "-" * 5000 + "1",
            "{" * 99 + "}" * 99,
            "'" * 5001,
            "1+" * 9000 + "1",
        ),
        *(
            "[" * 150 + "]" * 150,
            "{'a':" * 90 + "1" + "}" * 90,
            "not " * 3000 + "1",
            "\u00ff\u00fe",
        ),
    ],
    ids=lambda header: repr(header)[:20],
)
@pytest.mark.parametrize("version", [(1, 0), (3, 0)])
def test_garbage(refuse, header, version):
    text = header.encode("latin-1")
    refuse(npy(text, version=version))


def test_bytes_that_are_not_utf8_in_version_3(refuse):
    refuse(npy(b"{'descr': '\xff\xfe'}", version=(3, 0)))


def test_expressions_are_not_evaluated(tmp_path, refuse):
    refuse(described(descr=f"open({str(tmp_path / 'made')!r}, 'w')"))
    assert not (tmp_path / "made").exists()


# --- fuzz ---------------------------------------------------------------------------------------

literals = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=4),
        st.sampled_from(["<f8", ">i4", "|O", "S5", "M8[ns]", "f4,f4", "(2,)i4", "V", "U9", "c16"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.tuples(st.text(max_size=3), inner).map(lambda pair: [pair]),
    ),
    max_leaves=8,
)
headers = st.one_of(
    st.fixed_dictionaries(
        {
            "descr": literals | st.sampled_from(["<f8", ">u2", "|S3"]),
            "fortran_order": st.booleans() | literals,
            "shape": st.lists(st.integers(0, 3)).map(tuple) | literals,
        }
    ).map(repr),
    literals.map(repr),
    st.text(max_size=60),
)


def attempt(path, content):
    """Open hostile content: it is an array inside the file, or an error that names the file."""
    path.write_bytes(content)
    try:
        with mk.open_array(path) as a:
            assert a.offset + a.nbytes <= len(content)
            np.asarray(a).tobytes()
    except ValueError as error:
        if path.name not in str(error):
            raise AssertionError(f"does not name the file: {error!r}") from error


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@examples(100)
@given(header=headers, version=st.sampled_from([(1, 0), (2, 0), (3, 0)]), data=st.binary())
def test_made_up_headers(tmp_path_factory, header, version, data):
    path = tmp_path_factory.getbasetemp() / "made up.npy"
    attempt(path, npy(header.encode("utf-8", "surrogatepass"), data, version))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@examples(100)
@given(st.data())
def test_flipped_bytes_of_real_files(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "flipped.npy"
    dtype = data.draw(st.sampled_from(["<f8", [("a", ">i4"), ("b", "S3", (2,))], "<M8[us]"]))
    np.save(path, np.zeros((2, 3), dtype))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(6, min(len(content), 130) - 1))
        content[at] = data.draw(st.integers(0, 255))
    attempt(path, bytes(content))


@examples(50)
@given(st.binary(max_size=200))
def test_random_bytes_after_the_magic(tmp_path_factory, data):
    attempt(tmp_path_factory.getbasetemp() / "random.npy", b"\x93NUMPY" + data)


@pytest.mark.parametrize("content", [b"", b"\x93NUM", b"\0" * 200, b"1.0, 2.0\n"])
def test_a_file_that_is_only_named_npy_is_not_taken_for_raw_bytes(tmp_path, content):
    path = tmp_path / "a.NPY"
    path.write_bytes(content)
    with pytest.raises(
        mk.FormatError, match="named as of the format npy, and begins otherwise, with b"
    ):
        mk.open_array(path)
    with mk.open_array(path, dtype="u1") as a:  # who says what it is
        assert a[:].tobytes() == content
    with mk.open_array(path, offset=0) as a:
        assert len(a) == len(content)
