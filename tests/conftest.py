"""What every test shares: how hypothesis runs, files to map, other processes."""

import functools
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import mmapkit

# Machines are shared and tests run in wheels builds: the same examples every time, no deadlines.
# `--hypothesis-profile=thorough`, as in .ci/run, tries more of them.
settings.register_profile(
    "thorough",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("mmapkit", settings.get_profile("thorough"), max_examples=30)
settings.load_profile("mmapkit")


def pytest_configure(config):
    config.addinivalue_line("markers", "reserve: needs a file to be mapped with reserve=")
    # What a shell starts in the background ignores Ctrl-C, and so do its children: tests that send
    # it would wait for ever.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.cache
def can_reserve():
    """Whether files grow in place here. Windows before 10 1803 and Wine 8 have no placeholders."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            mmapkit.open(Path(folder) / "f", "x+", size=1, reserve=1 << 16).close()
        except mmapkit.UnsupportedError:
            return False
    return True


@pytest.fixture(autouse=True)
def needs_reserve(request):
    if request.node.get_closest_marker("reserve") and not can_reserve():
        pytest.skip("no reserve= for files here")


@pytest.fixture
def symlink():
    """Make a symbolic link, or skip: Windows wants a privilege, and in Wine 8 it leads nowhere."""

    def make(link, target):
        try:
            link.symlink_to(target)
        except OSError:
            pytest.skip("no symbolic links here")
        if not link.exists():
            pytest.skip("symbolic links lead nowhere here")

    return make


@pytest.fixture
def pattern():
    """10,000 bytes that differ from their neighbours and from page to page."""
    return bytes((i * 7 + i // 251) % 256 for i in range(10_000))


@pytest.fixture
def file(tmp_path, pattern):
    """A file of the pattern: two and a half pages of 4 KiB."""
    path = tmp_path / "file.bin"
    path.write_bytes(pattern)
    return path


@pytest.fixture
def run_python(tmp_path):
    """Run a script in another process, in the test's folder; fails unless it exits with `code`."""

    def run(script, *args, code=0, timeout=120, **variables):
        found = str(Path(mmapkit.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": found, **variables}
        ended = subprocess.run(
            [sys.executable, "-c", script, *map(str, args)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert ended.returncode == code, (
            f"exit status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        )
        return ended

    return run
