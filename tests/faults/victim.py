"""Runs code that may die in a process of its own, and looks at how it ended.

A victim is a piece of source code. What `inside.py` offers is imported before it, and ``args``
holds its arguments as text. Warnings are errors there; a core is never dumped.
"""

import atexit
import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import mmapkit

HERE = Path(__file__).parent
PACKAGES = Path(mmapkit.__file__).parents[1]
PRELUDE = "from inside import *\n"
STRICT = ("-W", "error")


@dataclass(frozen=True)
class Outcome:
    """How a victim ended."""

    status: int
    out: str
    err: str


def run(code, *args, timeout=120, env=None, options=None):
    """Run a victim to its end, whatever that is; a victim that hangs fails the test.

    Of variables or options of its own it gets a new interpreter, and is forked otherwise.
    """
    code, args = PRELUDE + textwrap.dedent(code), [*map(str, args)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if sys.platform == "linux" and env is None and options is None:
            status = _fork(code, args, out, err, timeout)
        else:
            status = _start(code, args, out, err, timeout, env or {}, options)
        out.seek(0)
        err.seek(0)
        found = Outcome(status, out.read(), err.read())
    assert status is not None, f"hung for {timeout} s\n{found.out}\n{found.err}"
    return found


def _surroundings(env):
    surroundings = {**os.environ, **env}
    surroundings["PYTHONPATH"] = os.pathsep.join([str(PACKAGES), str(HERE)])
    surroundings.pop("PYTHONFAULTHANDLER", None)
    return surroundings


def _start(code, args, out, err, timeout, env, options):
    """Run a victim in an interpreter of its own; None for one that hung."""
    options = STRICT if options is None else options
    command = [sys.executable, *options, "-c", code, *args]
    with subprocess.Popen(command, env=_surroundings(env), stdout=out, stderr=err) as process:
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            return None


def _fork(code, args, out, err, timeout):
    """Run a victim in a fork of the nursery; None for one that hung."""
    link = _nursery()
    socket.send_fds(link, [pickle.dumps((code, args))], [out.fileno(), err.fileno()])
    born = int(link.recv(32))
    link.settimeout(timeout)
    try:
        return int(link.recv(32))
    except TimeoutError:
        link.settimeout(None)
        os.kill(born, signal.SIGKILL)
        link.recv(32)
        return None
    finally:
        link.settimeout(None)


@functools.cache
def _nursery():
    """Start the nursery, which ends with this process."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, *STRICT, str(HERE / "nursery.py"), str(its.fileno())]
    surroundings = _surroundings({"OPENBLAS_NUM_THREADS": "1"})  # whose threads begin at once
    process = subprocess.Popen(command, env=surroundings, pass_fds=[its.fileno()])
    its.close()

    def end():
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def survive(code, *args, err="", **how):
    """Run a victim that has to end well; `err` is what it may leave on stderr (None: anything)."""
    outcome = run(code, *args, **how)
    assert outcome.status == 0, f"status {outcome.status}\n{outcome.out}\n{outcome.err}"
    if err is not None:
        assert outcome.err == err, outcome.err
    return outcome
