import pytest

from mmapkit.cli import main

LINES = [b"zero\n", b"one\r\n", b"\n", b"three \xff\n", b"last"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"".join(LINES))
    return path


@pytest.fixture
def lines(file, capsysbinary):
    """Run `mmapkit lines` on the file: its status, output and complaints."""

    def lines(*args):
        status = main(["lines", *args[:-1], str(file), args[-1]])
        printed = capsysbinary.readouterr()
        return status, printed.out, printed.err

    return lines


RANGES = {
    "1:3": slice(1, 3),
    ":2": slice(None, 2),
    "3:": slice(3, None),
    "-2:": slice(-2, None),
    "-3:-1": slice(-3, -1),
    ":-1": slice(None, -1),
    ":": slice(None),
    "3:1": slice(3, 1),
    "2:99": slice(2, 99),
    "50:": slice(50, None),
    "0": slice(0, 1),
    "-1": slice(-1, None),
}


@pytest.mark.parametrize("options", [[], ["--no-index"]], ids=["index", "no index"])
@pytest.mark.parametrize("text", RANGES)
def test_range_means_what_it_means_in_python(text, options, lines):
    assert lines(*options, text) == (0, b"".join(LINES[RANGES[text]]), b"")


def test_options_may_follow_the_range(file, capsysbinary):
    assert main(["lines", str(file), "-1:", "--no-index"]) == 0
    assert capsysbinary.readouterr().out == LINES[-1]


def test_index_is_kept_beside_the_file_and_follows_it(lines, file):
    index = file.with_name("file.lines")
    assert lines("1")[1] == LINES[1]
    assert index.exists()
    with file.open("ab") as grown:
        grown.write(b" is longer\nnew\n")
    assert lines("-2:")[1] == b"last is longer\nnew\n"


def test_without_index_nothing_is_made(lines, file):
    assert lines("--no-index", "1")[1] == LINES[1]
    assert [path.name for path in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("text", ["5", "-6"])
def test_line_that_does_not_exist(text, lines):
    status, out, errors = lines(text)
    assert (status, out) == (1, b"")
    assert errors.startswith(f"mmapkit: there is no line {text} in ".encode())
    assert errors.rstrip().endswith(b"which has 5")


def test_file_beside_that_is_no_index_is_left_as_it_is(lines, file):
    other = file.with_name("file.lines")
    other.write_bytes(b"somebody's\n")
    status, out, errors = lines("0")
    assert (status, out) == (1, b"")
    assert errors.rstrip().endswith(
        b"file.lines' is no index of lines, and is left as it is: use --no-index"
    )
    assert other.read_bytes() == b"somebody's\n"
    assert lines("--no-index", "0") == (0, LINES[0], b"")


def test_damaged_journal_is_not_taken_for_the_index(lines, file):
    file.with_name("file.mmapkit-journal").write_bytes(b"no journal")
    status, out, errors = lines("0")
    assert (status, out) == (1, b"")
    assert b"is not a journal of mmapkit" in errors
    assert b"index" not in errors


def test_index_that_cannot_be_made_is_told_in_one_line(lines, file):
    file.with_name("file.lines").mkdir()
    status, out, errors = lines("0")
    assert (status, out) == (0, LINES[0])
    assert errors.startswith(b"mmapkit: the index of lines in ")
    assert errors.count(b"\n") == 1


def test_empty_file(lines, file):
    file.write_bytes(b"")
    assert lines(":") == (0, b"", b"")
    assert lines("0")[0] == 1


def test_missing_file(tmp_path, capsys):
    assert main(["lines", str(tmp_path / "missing"), "0"]) == 1
    assert "missing" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["x", "", "1:2:3", "1-3", "--1", "1.5"])
def test_wrong_ranges_are_usage_errors(text, file, capsys):
    with pytest.raises(SystemExit) as left:
        main(["lines", str(file), text])
    assert left.value.code == 2
    assert "usage: mmapkit lines" in capsys.readouterr().err
