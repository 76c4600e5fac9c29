import json

import pytest

from mmapkit.cli import main


@pytest.fixture
def count(tmp_path, monkeypatch, capsysbinary):
    """Run `mmapkit count` on some files: its status, output and complaints."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three").write_bytes(b"one\ntwo\r\n\n")
    (tmp_path / "cut").write_bytes(b"aaaa\naaa")
    (tmp_path / "empty").touch()

    def count(*args):
        status = main(["count", *args])
        printed = capsysbinary.readouterr()
        return status, printed.out, printed.err

    return count


def test_lines_of_a_file(count):
    assert count("three") == (0, b"3 three\n", b"")
    assert count("empty") == (0, b"0 empty\n", b"")


def test_last_line_without_newline_counts(count):
    assert count("cut") == (0, b"2 cut\n", b"")


def test_several_files_have_a_total(count):
    assert count("three", "cut", "empty")[1] == b"3 three\n2 cut\n0 empty\n5 total\n"


def test_literal_is_counted_without_overlaps(count):
    assert count("--of", "aa", "cut") == (0, b"3 cut\n", b"")
    assert count("--of", "absent", "cut", "three")[1] == b"0 cut\n0 three\n0 total\n"


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_count_the_same(threads, count, tmp_path):
    (tmp_path / "long").write_bytes(b"a line\n" * 300_000)
    assert count("--threads", threads, "long")[1] == b"300000 long\n"


def test_json(count):
    assert [json.loads(line) for line in count("--json", "three", "cut")[1].splitlines()] == [
        {"file": "three", "lines": 3},
        {"file": "cut", "lines": 2},
    ]
    assert json.loads(count("--json", "--of", "a", "cut")[1]) == {"file": "cut", "count": 7}


def test_missing_file_is_an_error_beside_the_others(count):
    status, out, errors = count("missing", "cut")
    assert (status, out) == (1, b"2 cut\n2 total\n")
    assert errors.startswith(b"mmapkit: ")
    assert b"'missing'" in errors


def test_damaged_journal_is_an_error_beside_the_others(count, tmp_path):
    (tmp_path / "three.mmapkit-journal").write_bytes(b"no journal")
    status, out, errors = count("three", "cut")
    assert (status, out) == (1, b"2 cut\n2 total\n")
    assert errors.startswith(b"mmapkit: ")
    assert errors.count(b"\n") == 1
    assert b"is not a journal of mmapkit" in errors
