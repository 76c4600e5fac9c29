"""Runs code that may die in a process of its own, and looks at how it ended.

A victim is a piece of source code. What `inside.py` offers is imported before it, and ``args``
holds its arguments as text. Warnings are errors there; a core is never dumped.
"""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import mmapkit

HERE = Path(__file__).parent
PACKAGES = Path(mmapkit.__file__).parents[1]
PRELUDE = "from inside import *\n"


@dataclass(frozen=True)
class Outcome:
    """How a victim ended."""

    status: int
    out: str
    err: str


def run(code, *args, timeout=120, env=None, options=("-W", "error")):
    """Run a victim to its end, whatever that is; a victim that hangs fails the test."""
    surroundings = dict(os.environ, **(env or {}))
    surroundings["PYTHONPATH"] = os.pathsep.join([str(PACKAGES), str(HERE)])
    surroundings.pop("PYTHONFAULTHANDLER", None)
    command = [sys.executable, *options, "-c", PRELUDE + textwrap.dedent(code), *map(str, args)]
    process = subprocess.Popen(
        command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"hung for {timeout} s\n{out}\n{err}") from None
    return Outcome(process.returncode, out, err)


def survive(code, *args, err="", **how):
    """Run a victim that has to end well; `err` is what it may leave on stderr (None: anything)."""
    outcome = run(code, *args, **how)
    assert outcome.status == 0, f"status {outcome.status}\n{outcome.out}\n{outcome.err}"
    if err is not None:
        assert outcome.err == err, outcome.err
    return outcome
