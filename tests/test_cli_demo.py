import os
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from mmapkit.cli import main

pytest.importorskip("rich", reason="the command line needs rich: pip install 'mmapkit[cli]'")

SMALL = ["--size", "2"]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and file modes of POSIX")


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A directory for temporary files, which the command has to leave empty."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setenv("TEMP", str(directory))
    monkeypatch.setenv("TMP", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    yield directory
    assert list(directory.iterdir()) == []


def run_module(*args, **options):
    """Run ``python -m mmapkit`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mmapkit", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        **options,
    )


def assert_full_report(out):
    for work in ("open and close", "random rows, resident", "resident after evict()"):
        assert work in out
    assert "All answers were equal" in out
    if sys.platform == "win32":
        assert "Windows does not let a mapped file be truncated" in out
    else:
        assert "mmapkit raised MappingFault out of numpy's sum:" in out
        assert "cause='truncated'" in out
        assert "numpy.memmap ended: SIGBUS" in out


# --- what it prints -------------------------------------------------------------------------------


def test_demo_on_data_of_its_own(scratch, capsys):
    assert main(["demo", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "data made for the demo: .npy, float64 (512, 512)" in out
    assert "2 MiB in rows of 4096 bytes" in out
    assert_full_report(out)


ARRAYS = {
    "c_order": np.arange(60_000, dtype="f4").reshape(600, 100),
    "f_order": np.asfortranarray(np.arange(60_000, dtype="f8").reshape(600, 100)),
    "big_endian": np.arange(10_000, dtype=">i2"),
    "nan": np.full(5_000, np.nan),
    "scalar": np.array(2.5),
    "complex": np.ones((30, 20, 10), "c16"),
    "structured": np.zeros(500, [("time", "i8"), ("value", "f4")]),
    "dates": np.arange("2026-01", "2026-12", dtype="M8[D]"),
    "strings": np.array(["row", "column"] * 900),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_demo_on_a_npy_file(name, scratch, tmp_path, capsys):
    path = tmp_path / f"{name}.npy"
    np.save(path, ARRAYS[name])
    before = path.read_bytes()
    assert main(["demo", str(path)]) == 0
    out = capsys.readouterr().out
    assert f".npy, {ARRAYS[name].dtype} {ARRAYS[name].shape}" in out
    assert_full_report(out)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [1, 7, 4096, 100_001])
def test_demo_on_a_raw_file(size, scratch, tmp_path, capsys):
    path = tmp_path / "data.bin"
    path.write_bytes(np.random.default_rng(3).bytes(size - 1) + b"\0")
    assert main(["demo", str(path)]) == 0
    out = capsys.readouterr().out
    assert ": raw" in out
    assert_full_report(out)


def test_demo_on_a_text_file_counts_lines(scratch, tmp_path, capsys):
    path = tmp_path / "log.txt"
    path.write_text("grüße\n" * 30_000, encoding="utf-8")  # a character is cut at 64 KiB
    assert main(["demo", str(path)]) == 0
    out = capsys.readouterr().out
    assert ": text" in out
    assert "count lines, resident" in out
    assert_full_report(out)


def test_demo_uses_no_more_of_a_file_than_size_says(scratch, tmp_path, capsys):
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(3 << 20))
    assert main(["demo", "--size", "1", str(path)]) == 0
    assert "1 MiB in rows of" in capsys.readouterr().out


def test_output_is_plain_text_when_it_is_not_a_terminal(scratch):
    found = run_module("demo", *SMALL)
    assert found.returncode == 0
    assert "\x1b" not in found.stdout
    assert "\x1b" not in found.stderr
    assert "random rows, resident ..." in found.stderr  # progress


def test_output_can_be_written_where_only_ascii_can(scratch):
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    found = run_module("demo", *SMALL, env=ascii_only)
    assert found.returncode == 0, found.stderr
    assert_full_report(found.stdout)


@POSIX
def test_demo_leaves_truncation_out_when_the_guard_is_off(scratch):
    found = run_module("demo", *SMALL, env={**os.environ, "MMAPKIT_GUARD": "0"})
    assert found.returncode == 0
    assert "the fault guard is switched off (MMAPKIT_GUARD)" in found.stdout


# --- what goes wrong ------------------------------------------------------------------------------


def complaint(capsys):
    """The one line that it says."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("mmapkit: ")
    return printed.err


def test_missing_file(scratch, tmp_path, capsys):
    assert main(["demo", str(tmp_path / "missing")]) == 1
    assert "missing" in complaint(capsys)


def test_directory(scratch, tmp_path, capsys):
    assert main(["demo", str(tmp_path)]) == 1
    assert "is a directory; give a file" in complaint(capsys)


def test_empty_file(scratch, tmp_path, capsys):
    (tmp_path / "empty").touch()
    assert main(["demo", str(tmp_path / "empty")]) == 1
    assert "is empty" in complaint(capsys)


def test_damaged_journal(scratch, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"text\n")
    (tmp_path / "file.mmapkit-journal").write_bytes(b"no journal")
    assert main(["demo", str(tmp_path / "file")]) == 1
    assert "is not a journal of mmapkit" in complaint(capsys)


def test_npy_of_objects(scratch, tmp_path, capsys):
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    assert main(["demo", str(tmp_path / "objects.npy")]) == 1
    assert "holds Python objects, which cannot be mapped" in complaint(capsys)


def test_npy_without_elements(scratch, tmp_path, capsys):
    np.save(tmp_path / "none.npy", np.zeros((0, 4)))
    assert main(["demo", str(tmp_path / "none.npy")]) == 1
    assert "has no elements" in complaint(capsys)


def test_npy_that_is_cut_short(scratch, tmp_path, capsys):
    np.save(tmp_path / "short.npy", np.zeros(1000))
    os.truncate(tmp_path / "short.npy", 5000)
    assert main(["demo", str(tmp_path / "short.npy")]) == 1
    assert "but the file has 5000 bytes" in complaint(capsys)


@POSIX
def test_pipe(scratch, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert main(["demo", str(tmp_path / "pipe")]) == 1
    assert "is not a regular file" in complaint(capsys)


def test_unreadable_file(scratch, tmp_path, capsys, monkeypatch):
    path = tmp_path / "secret.bin"
    path.write_bytes(b"\0" * 100)

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    if sys.platform == "win32" or os.geteuid() == 0:  # whom file modes do not stop
        monkeypatch.setattr("mmapkit.cli.demo.subject.open_mapping", refuse)
    path.chmod(0)
    assert main(["demo", str(path)]) == 1
    assert "Permission denied" in complaint(capsys)


def test_full_disk(scratch, capsys, monkeypatch):
    def refuse(path, *args, **options):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr("mmapkit.cli.demo.subject.create_array", refuse)
    assert main(["demo", *SMALL]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_different_answers_are_an_error(scratch, capsys, monkeypatch):
    counter = iter(range(10**6))
    monkeypatch.setattr("mmapkit.cli.demo.subject.np.sum", lambda array: next(counter))
    assert main(["demo", *SMALL]) == 1
    assert "gave different answers" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["--size", "0"], ["--size", "x"], ["a", "b"]])
def test_usage_errors_exit_with_2(args, capsys):
    with pytest.raises(SystemExit) as left:
        main(["demo", *args])
    assert left.value.code == 2
    assert "usage: mmapkit demo" in capsys.readouterr().err


def test_without_rich_it_tells_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert "pip install 'mmapkit[cli]'" in complaint(capsys)


@POSIX
@pytest.mark.parametrize("step", ["making", "random rows, resident", "truncating", "the same with"])
def test_ctrl_c_leaves_no_files(step, scratch):
    status, errors = run_until(step, signal.SIGINT)
    assert status == 130, errors
    assert "Traceback" not in errors
    assert errors.endswith("mmapkit: interrupted; temporary files are removed\n")


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_termination_leaves_no_files(name, scratch):
    number = getattr(signal, name)
    status, errors = run_until("random rows, resident", number)
    assert status == 128 + number, errors
    assert "Traceback" not in errors


UNTIL = """
import os, sys
from mmapkit.cli import main
from mmapkit.cli.demo import report

step, number = sys.argv[1], int(sys.argv[2])
say = report._Steps.__call__

def say_and_send(steps, text):
    say(steps, text)
    if text.startswith(step):
        os.kill(os.getpid(), number)

report._Steps.__call__ = say_and_send
sys.exit(main(["demo", "--size", "2"]))
"""


def run_until(step, number):
    """Send the demo a signal at a step of its progress; return its exit status and stderr."""
    found = subprocess.run(
        [sys.executable, "-c", UNTIL, step, str(int(number))],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return found.returncode, found.stderr
