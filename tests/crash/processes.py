"""The tests' side of the programs beside this file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmapkit

HERE = Path(__file__).parent
PACKAGES = Path(mmapkit.__file__).parents[1]


def surroundings():
    """What the programs find this package and each other by."""
    found = os.pathsep.join([str(PACKAGES), str(HERE)])
    return {
        **os.environ,
        "PYTHONPATH": found,
        "OPENBLAS_NUM_THREADS": "1",
        # A free-threaded CPython's allocator gives memory back when some milliseconds have passed:
        # then the calls of two runs differ, and the one that is to fail is another.
        "MIMALLOC_PURGE_DELAY": "-1",
    }


def start(program, *arguments, **how):
    """Start one of the programs, to be talked to."""
    return subprocess.Popen(
        [sys.executable, HERE / program, *map(str, arguments)],
        env=surroundings(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **how,
    )


class Ended:
    """How a work ended: the exit status, and what it said of itself."""

    def __init__(self, status, said, hit):
        self.status = status
        self.said = said
        self.hit = hit  # the name of the system call that was interfered with

    def all(self, key):
        """What it said about something, in order."""
        return [line[key] for line in self.said if key in line]

    @property
    def acked(self):
        """The last commit that it was told to be durable; 0 without any."""
        return max(self.all("acked"), default=0)


class Zygote:
    """See zygote.py; with tracer.c to interfere."""

    def __init__(self, tracer, *mistake):
        self._tracer = tracer
        self._process = start("zygote.py", *mistake)

    def run(self, work, path, *action):
        """Have a child do a work, with a tracer that does something to it, and wait for its end."""
        process_id = int(self._ask(json.dumps([work, str(path)])))
        hit = []
        if action:
            with subprocess.Popen(
                [self._tracer, str(process_id), *map(str, action)],
                stdout=subprocess.PIPE,
                text=True,
            ) as tracer:
                assert tracer.stdout.readline() == "attached\n"
                status, said = json.loads(self._ask("go"))
                hit = tracer.stdout.read().splitlines()
            assert tracer.returncode == 0, tracer.returncode
        else:
            status, said = json.loads(self._ask("go"))
        ended = Ended(status, said, hit)
        assert not ended.all("crashed"), (action, hit, ended.all("crashed")[0])
        return ended

    def calls(self, work, path):
        """The names of the system calls that a work does, in order."""
        found = self.run(work, path, "list").hit
        names = [line.split()[1] for line in found]
        assert [line.split()[0] for line in found] == [str(i) for i in range(len(names))]
        return names

    def _ask(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote is gone"
        return answer

    def close(self):
        self._process.communicate()


def compile_tracer(directory):
    """Compile tracer.c, or skip where it is not possible to follow a process."""
    if not sys.platform.startswith("linux") or os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("follows processes the way Linux does, on x86-64 and arm64")
    program = directory / "tracer"
    try:
        done = subprocess.run(
            ["cc", "-O1", "-Wall", "-o", program, HERE / "tracer.c"], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("needs a C compiler")
    assert done.returncode == 0, done.stderr
    _require_permission(program)
    return program


def _require_permission(program):
    """Skip where the kernel lets nobody follow another process (Yama, seccomp of containers)."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as one:
        tracer = subprocess.Popen(
            [program, str(one.pid), "list"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        attached = tracer.stdout.readline() == "attached\n"
        one.communicate(b"\n")
        _, error = tracer.communicate()
    if not attached:
        pytest.skip(f"no process may be followed here: {error.strip()}")
