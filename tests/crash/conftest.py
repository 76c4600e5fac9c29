"""Fixtures of the campaigns, and their report at the end of the run."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from .processes import Zygote, compile_tracer
from .report import Report

if sys.platform == "win32":  # they mount, signal, and follow processes as POSIX does
    collect_ignore = [
        *("test_calls.py", "test_errno.py", "test_full_disk.py", "test_kill.py"),
        "test_shutdown.py",
    ]

_reports = pytest.StashKey[list[Report]]()


@pytest.fixture
def report(request):
    """The campaign's count; printed at the end of the run, also after a failure."""
    made = Report(request.node.name)
    request.config.stash.setdefault(_reports, []).append(made)
    return made


def pytest_terminal_summary(terminalreporter, config):
    reports = config.stash.get(_reports, [])
    if reports:
        terminalreporter.section("crash campaigns")
        for report in reports:
            terminalreporter.write_line(str(report))
        tried = sum(report.tried for report in reports)
        torn = sum(report.torn for report in reports)
        lost = sum(report.lost for report in reports)
        terminalreporter.write_line(f"all: {tried:,} states tried, {torn} torn, {lost} lost")


@pytest.fixture
def quick_folder(tmp_path):
    """An empty folder in memory where there is one: what no power cut can hit need not wait for a
    disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="mmapkit-test-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def tracer(tmp_path_factory):
    """The compiled tracer."""
    return compile_tracer(tmp_path_factory.mktemp("tracer"))


@pytest.fixture(scope="module")
def zygote(tracer):
    """A process that does the works."""
    one = Zygote(tracer)
    yield one
    one.close()
