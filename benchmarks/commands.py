"""Command lines as ways: mmapkit's own, and those of other programs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Role, Way

OURS = (sys.executable, "-m", "mmapkit")
# Its own settings might be anybody's; and none of the texts is binary.
RIPGREP = ("rg", "--no-config", "--color=never", "--text")

# Python is to start as it does where a package is installed: with its modules compiled.
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def command(
    role: Role,
    words: Sequence[str],
    path: Path,
    read: Callable[[bytes], Any] = bytes,
    *,
    hide: Sequence[str] = (),
    target: float | None = None,
) -> list[Way]:
    """A program's run on a file, from start to end; none if it is not installed.

    Its answer is what `read` makes of the output, which is not timed. Exit status 1 is that of
    searches that found nothing. The words that `hide` holds show as dots.
    """
    if shutil.which(words[0]) is None:
        return []

    variables = {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}

    def run() -> bytes:
        done = subprocess.run(
            [*words, str(path)], stdout=subprocess.PIPE, env=variables, check=False
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{' '.join(words)} ended with status {done.returncode}")
        return done.stdout

    if tuple(words[: len(OURS)]) == OURS:
        shown = ["mmapkit", *words[len(OURS) :]]
    else:
        shown = [word for word in words if word not in RIPGREP[1:]]
    dotted = re.sub(
        r"\.\.\.( \.\.\.)+", "...", " ".join("..." if word in hide else word for word in shown)
    )
    name = f"$ {dotted} FILE"
    return [Way(role, name, "run()", {"run": run, "read": read}, "read(run())", target)]


def missing(*programs: str) -> list[str]:
    """Those that are not installed."""
    return [program for program in programs if shutil.which(program) is None]
