import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmapkit
from mmapkit.cli import main

LOG = b"""\
10:00 INFO started
10:01 ERROR disk: timeout after 30 s, timeout is fatal
10:02 info ERROR swallowed
10:03 DEBUG nothing
10:04 ERROR net: timeout"""  # the last line lacks its newline


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with two texts and a binary file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    (tmp_path / "log").write_bytes(LOG)
    (tmp_path / "other").write_bytes(b"nothing\r\nERROR too\r\n\n")
    (tmp_path / "binary").write_bytes(b"\x00\xff ERROR\n\xfe\n")
    (tmp_path / "empty").touch()
    return tmp_path


@pytest.fixture
def search(folder, capsysbinary):
    """Run `mmapkit search`: its status, output and complaints."""

    def search(*args):
        status = main(["search", *args])
        printed = capsysbinary.readouterr()
        return status, printed.out, printed.err

    return search


def objects(out):
    return [json.loads(line) for line in out.splitlines()]


# --- what is printed ------------------------------------------------------------------------------


def test_lines_that_match_are_printed_once(search):
    lines = LOG.splitlines()
    assert search("ERROR.*timeout", "log") == (0, lines[1] + b"\n" + lines[4] + b"\n", b"")


def test_numbers_and_offsets(search):
    assert search("-n", "-b", "^10:0[24]", "log")[1].splitlines() == [
        b"3:%d:10:02 info ERROR swallowed" % LOG.index(b"10:02"),
        b"5:%d:10:04 ERROR net: timeout" % LOG.index(b"10:04"),
    ]


def test_only_the_match(search):
    first = LOG.index(b"timeout")
    assert search("-o", "-b", "time[a-z]+", "log")[1].splitlines() == [
        b"%d:timeout" % first,
        b"%d:timeout" % LOG.index(b"timeout", first + 1),
        b"%d:timeout" % LOG.rindex(b"timeout"),
    ]


def test_empty_matches_print_nothing_of_their_own(search):
    assert search("-o", "x*", "log") == (0, b"", b"")


def test_several_files_are_named(search):
    assert search("-n", "ERROR", "other", "binary") == (
        0,
        b"other:2:ERROR too\r\nbinary:1:\x00\xff ERROR\n",
        b"",
    )


def test_literal(search):
    assert search("-F", "disk:", "log")[0] == 0
    assert search("-F", "d.sk:", "log")[0] == 1
    assert search("d.sk:", "log")[0] == 0


@pytest.mark.parametrize("options", [["-i"], ["-i", "-F"]])
def test_either_case(options, search):
    assert search(*options, "-c", "error", "log", "other")[1] == b"log:3\nother:1\n"
    assert search(*options[1:], "error", "log")[0] == 1


def test_counts_are_of_lines(search):
    assert search("-c", "timeout", "log") == (0, b"2\n", b"")
    assert search("-c", "timeout", "log", "other", "empty") == (
        0,
        b"log:2\nother:0\nempty:0\n",
        b"",
    )


def test_names_of_files_with_matches(search):
    assert search("-l", "ERROR", "log", "empty", "other") == (0, b"log\nother\n", b"")


def test_most_lines(search):
    first, second = LOG.splitlines()[:2]
    assert search("-m", "2", "0", "log") == (0, first + b"\n" + second + b"\n", b"")
    assert search("-m", "2", "-c", "0", "log", "other") == (0, b"log:2\nother:0\n", b"")
    assert search("-m", "1", "-n", "-o", "0", "log") == (0, b"1:0\n" * 3, b"")  # of one line


def test_most_lines_are_not_followed_by_a_search_for_more(search, monkeypatch):
    real = mmapkit.search
    asked = []

    def counting(*args, **options):
        for hit in real(*args, **options):
            asked.append(hit.line_number)
            yield hit

    monkeypatch.setattr(mmapkit, "search", counting)
    assert search("-m", "1", "-o", "-b", "timeout", "log")[1].count(b"\n") == 2
    assert 5 not in asked


def test_no_line_spans_two_unless_asked_for(search):
    assert search(r"started[^x]*ERROR", "log")[0] == 1
    expected = b"1:10:00 INFO started\n2:" + LOG.splitlines()[1] + b"\n"
    assert search("--multiline", "-n", r"started[^x]*?ERROR", "log") == (0, expected, b"")
    assert search("-n", r"started\n10:01 ERROR", "log") == (0, expected, b"")


def test_match_that_ends_with_a_newline(search):
    assert search("--multiline", "-n", r"started\n", "log") == (0, b"1:10:00 INFO started\n", b"")


def test_matches_on_shared_lines_are_one_block(search):
    first, second = LOG.splitlines()[:2]
    found = search("--multiline", "-n", r"started\n10|disk|fatal", "log")
    assert found == (0, b"1:" + first + b"\n2:" + second + b"\n", b"")


def test_empty_pattern_matches_every_line(search):
    assert search("-c", "", "log", "other", "empty") == (0, b"log:5\nother:3\nempty:0\n", b"")


def test_pattern_beyond_ascii(search, folder):
    (folder / "words").write_bytes("grün\nblau\n".encode())
    assert search("grün", "words") == (0, "grün\n".encode(), b"")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_name_and_line_that_are_not_utf8(search, folder):
    name = os.fsdecode(b"\xff\xfe")
    (folder / name).write_bytes(b"\xff ERROR\n")
    assert search("-l", "ERROR", name) == (0, b"\xff\xfe\n", b"")
    (found,) = objects(search("--json", "ERROR", name)[1])
    assert base64.b64decode(found["file"]["bytes"]) == b"\xff\xfe"
    assert base64.b64decode(found["line"]["bytes"]) == b"\xff ERROR"


def test_pipes_are_read(search, folder):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(folder / "pipe")
    script = "import sys; open(sys.argv[1], 'wb').write(b'no\\nERROR\\n')"
    with subprocess.Popen([sys.executable, "-c", script, "pipe"], cwd=folder):
        assert search("-n", "ERROR", "pipe") == (0, b"2:ERROR\n", b"")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_find_the_same(threads, search, folder):
    (folder / "long").write_bytes((LOG + b"\n") * 20_000)
    assert search("--threads", threads, "-c", "ERROR.*timeout", "long") == (0, b"40000\n", b"")


# --- JSON -----------------------------------------------------------------------------------------


def test_json_has_an_object_for_each_match(search):
    status, out, _ = search("--json", "timeout", "log")
    assert status == 0
    line = LOG.splitlines()[1].decode()
    starts = [match.start() for match in re.finditer(b"timeout", LOG)]
    assert objects(out)[:2] == [
        {"file": "log", "line_number": 2, "offset": start, "end": start + 7, "line": line}
        for start in starts[:2]
    ]
    assert [found["offset"] for found in objects(out)] == starts


def test_json_of_bytes_that_are_no_text(search):
    (found,) = objects(search("--json", "ERROR", "binary")[1])
    assert base64.b64decode(found["line"]["bytes"]) == b"\x00\xff ERROR"


def test_json_of_matches_counts_and_names(search):
    (found,) = objects(search("--json", "-o", "n[e]t", "log")[1])
    assert found["match"] == "net"
    assert "line" not in found
    assert objects(search("--json", "-c", "ERROR", "log", "empty")[1]) == [
        {"file": "log", "count": 3},
        {"file": "empty", "count": 0},
    ]
    assert objects(search("--json", "-l", "ERROR", "log", "empty")[1]) == [{"file": "log"}]


def test_json_leaves_the_line_ending_out(search):
    (found,) = objects(search("--json", "too", "other")[1])
    assert found["line"] == "ERROR too"


# --- colour ---------------------------------------------------------------------------------------


def test_colour_marks_every_match(search):
    out = search("--color", "always", "-n", "timeout", "log", "empty")[1].splitlines()
    colon = b"\x1b[36m:\x1b[m"
    name, number = b"\x1b[35mlog\x1b[m", b"\x1b[32m2\x1b[m"
    text = LOG.splitlines()[1].replace(b"timeout", b"\x1b[01;31mtimeout\x1b[m")
    assert out[0] == name + colon + number + colon + text


def test_colour_changes_no_text(search):
    for options in (["-o"], ["-c"], ["-l"], ["-b", "--multiline"]):
        plain = search(*options, r"0\d|ERROR", "log", "other")[1]
        marked = search("--color=always", *options, r"0\d|ERROR", "log", "other")[1]
        assert marked != plain
        assert re.sub(rb"\x1b\[[\d;]*m", b"", marked) == plain


def test_colour_of_a_match_over_lines(search):
    out = search("--color=always", "--multiline", r"started\n10:01", "log")[1]
    assert out.startswith(b"10:00 INFO \x1b[01;31mstarted\x1b[m\n\x1b[01;31m10:01\x1b[m ERROR")


@pytest.mark.parametrize(
    ("terminal", "variables", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_by_itself(terminal, variables, coloured, search, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert (b"\x1b[" in search("ERROR", "log")[1]) is coloured
    assert b"\x1b[" not in search("--color=never", "ERROR", "log")[1]


# --- what goes wrong ------------------------------------------------------------------------------


def test_nothing_found(search):
    assert search("absent", "log", "empty") == (1, b"", b"")


@pytest.mark.parametrize("name", ["missing", "."])
def test_file_that_cannot_be_read_is_an_error_beside_what_is_found(name, search):
    status, out, errors = search("ERROR too", name, "other")
    assert (status, out) == (2, b"other:ERROR too\r\n")
    assert re.fullmatch(rb"mmapkit: [^\n]+: '" + re.escape(name.encode()) + rb"'\r?\n", errors)


def test_damaged_journal_is_an_error_beside_what_is_found(search, folder):
    (folder / "log.mmapkit-journal").write_bytes(b"no journal")
    status, out, errors = search("ERROR too", "log", "other")
    assert (status, out) == (2, b"other:ERROR too\r\n")
    assert re.fullmatch(rb"mmapkit: [^\n]+ is not a journal of mmapkit[^\n]+: 'log'\r?\n", errors)


def test_fault_in_the_middle_tells_what_was_found_before(search, monkeypatch):
    real = mmapkit.search

    def cut(text, *args, **options):
        yield next(real(text, *args, **options))
        raise mmapkit.MappingFault(6, "the file was truncated", text.path)

    monkeypatch.setattr(mmapkit, "search", cut)
    status, out, errors = search("ERROR", "log")
    assert (status, out) == (2, LOG.splitlines()[1] + b"\n")
    assert errors.startswith(b"mmapkit: the file was truncated: ")


def test_complaint_stands_where_it_belongs(folder):
    command = [sys.executable, "-m", "mmapkit", "search", "ERROR", "other", "missing", "binary"]
    environment = {**os.environ, "PYTHONPATH": str(Path(mmapkit.__file__).parents[1])}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    both = subprocess.run(command, env=environment, check=False, **streams).stdout
    kinds = [line[:8] for line in both.splitlines()]
    assert kinds == [b"other:ER", b"mmapkit:", b"binary:\x00"]


def test_wrong_pattern(search):
    status, out, errors = search("a(b", "log")
    assert (status, out) == (2, b"")
    assert errors.startswith(b"mmapkit: the pattern 'a(b' is wrong: missing )")
    assert errors.count(b"\n") == 1


@pytest.mark.parametrize(
    "args",
    [["x"], ["-m", "0", "x", "log"], ["--threads", "no", "x", "log"], ["-c", "-l", "x", "log"]],
)
def test_usage_errors(args, folder, capsys):
    with pytest.raises(SystemExit) as left:
        main(["search", *args])
    assert left.value.code == 2
    assert "usage: mmapkit search" in capsys.readouterr().err


# --- beside grep ----------------------------------------------------------------------------------

GREP = [
    ["-n", "ERROR"],
    ["-b", "ERROR"],
    ["-o", "-b", "ERROR"],
    ["-n", "-o", "t.m"],
    ["-c", "0"],
    ["-c", ""],
    ["-l", "ERROR"],
    ["-i", "-n", "error"],
    ["-F", "."],
    ["-n", "^$"],
    ["-m", "1", "-n", "ERROR"],
    ["-m", "1", "-o", "0"],
    ["-m", "1", "-c", "0"],
    ["absent"],
    ["-n", "^10:0[13]"],
]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("grep"), reason="needs GNU grep")
@pytest.mark.parametrize("args", GREP, ids=" ".join)
@pytest.mark.parametrize("files", [["log"], ["log", "other", "empty", "missing"]], ids=len)
def test_output_and_status_are_those_of_grep(args, files, search, folder):
    command = ["grep", "-a", "-E" if "-F" not in args else "-F", *args, *files]
    expected = subprocess.run(
        command, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False
    )
    status, out, errors = search(*args, *files)
    # GNU grep ends a last line that lacks its newline with one, as we do.
    assert (status, out) == (expected.returncode, expected.stdout)
    assert bool(errors) == bool(expected.stderr)


@pytest.mark.parametrize("options", [[], ["-F"], ["-F", "-i"]])
def test_empty_pattern_is_on_every_line(options, search):
    assert search("-c", *options, "", "log") == (0, b"5\n", b"")
    assert search("-c", *options, "", "empty") == (1, b"0\n", b"")
