"""The `mmapkit` command as a whole; its commands have files of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mmapkit
from mmapkit.cli import COMMANDS, main

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")


@pytest.fixture
def start(tmp_path):
    """Start ``python -m mmapkit`` in the test's folder."""
    running = []

    def start(*args, **options):
        source = str(Path(mmapkit.__file__).parents[1])
        process = subprocess.Popen(
            [sys.executable, "-m", "mmapkit", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": source},
            stderr=subprocess.PIPE,
            **{"stdout": subprocess.PIPE, **options},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_version(start):
    process = start("--version")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.split()) == (0, [b"mmapkit", mmapkit.__version__.encode()])


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f"    {name}" not in out] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"usage: mmapkit {command} " in capsys.readouterr().out


@pytest.mark.parametrize("args", [[], ["bench"], ["--wrong"], ["--", "search"]])
def test_usage_errors_exit_with_2(args, capsys):
    with pytest.raises(SystemExit) as left:
        main(args)
    assert left.value.code == 2
    assert "usage: mmapkit" in capsys.readouterr().err


@pytest.mark.parametrize("args", [["search", "line", "file"], ["count", "file"]])
def test_search_and_count_start_without_numpy_and_rich(args, run_python, tmp_path):
    (tmp_path / "file").write_bytes(b"a line\n")
    script = (
        "import sys; from mmapkit.cli import main; status = main(sys.argv[1:]);"
        "loaded = {'numpy', 'rich', 'asyncio', 'json', 'shutil'} & set(sys.modules);"
        "sys.exit(f'{status} {loaded}' if status or loaded else 0)"
    )
    run_python(script, *args)


@POSIX
@pytest.mark.parametrize("args", [["search", ""], ["lines", "--no-index"]])
def test_closed_pipe_ends_it_quietly(args, start, tmp_path):
    (tmp_path / "file").write_bytes(b"a line\n" * 100_000)
    words = [*args, "file"] if args[0] == "search" else [*args, "file", ":"]
    process = start(*words)
    assert process.stdout.readline() == b"a line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize(
    "args", [["search", "", "file"], ["count", "file"], ["lines", "file", ":"]]
)
def test_output_that_cannot_be_written_is_an_error_in_one_line(args, start, tmp_path):
    (tmp_path / "file").write_bytes(b"a line\n" * 100_000)
    with open("/dev/full", "wb") as full:
        process = start(*args, stdout=full)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines() == [b"mmapkit: cannot write: No space left on device"]


@POSIX
def test_closed_standard_streams_are_errors_in_one_line(start, tmp_path):
    (tmp_path / "file").write_bytes(b"a line\n")
    process = start("search", "a", "-", "file", preexec_fn=lambda: os.close(0))
    assert process.communicate(timeout=60) == (b"file:a line\n", b"mmapkit: it is closed: '-'\n")
    assert process.returncode == 2
    process = start("count", "file", preexec_fn=lambda: os.close(1))
    assert process.communicate(timeout=60)[1] == (
        b"mmapkit: cannot write: standard output is closed\n"
    )
    assert process.returncode == 2


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="a file system of Linux")
def test_files_that_the_system_makes_up_are_read(capfdbinary):
    assert main(["search", "-o", "^VmRSS:", "/proc/self/status"]) == 0
    assert main(["count", "/proc/self/status"]) == 0
    assert main(["lines", "/proc/self/status", "0"]) == 0
    found, count, line, _ = capfdbinary.readouterr().out.split(b"\n")
    assert (found, int(count.split()[0]) > 20, line[:5]) == (b"VmRSS:", True, b"Name:")


@pytest.mark.skipif(sys.platform != "linux", reason="a limit that Linux keeps to")
def test_more_than_memory_is_an_error_beside_the_other_files(start, tmp_path):
    import resource

    (tmp_path / "file").write_bytes(b"a line\n")
    most = 1 << 30
    process = start(
        "count", "/dev/zero", "file",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )  # fmt: skip
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, b"1 file\n1 total\n")
    assert errors == b"mmapkit: there is not enough memory to read all of it: '/dev/zero'\n"


@POSIX
def test_ctrl_c_ends_a_search(start, tmp_path):
    # Prints without end, as far as one can tell: nobody reads on after the first line.
    (tmp_path / "file").write_bytes(b"a line\n" * 200_000)
    process = start("search", "", "file")
    assert process.stdout.readline() == b"a line\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"mmapkit: interrupted\n")


@POSIX
def test_standard_input_is_a_file_or_a_pipe(start, tmp_path):
    (tmp_path / "file").write_bytes(b"one\ntwo\n")
    with (tmp_path / "file").open("rb") as file:
        mapped = start("search", "-n", "two", "-", stdin=file)
    piped = start("search", "-n", "two", "-", stdin=subprocess.PIPE)
    picked = start("lines", "-", "-1", stdin=subprocess.PIPE)
    assert mapped.communicate(timeout=60)[0] == b"2:two\n"
    assert piped.communicate(b"one\ntwo\n", timeout=60)[0] == b"2:two\n"
    assert picked.communicate(b"one\ntwo\n", timeout=60)[0] == b"two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
