"""The examples run without arguments, check their answers and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmapkit

from .optional import need

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
if not EXAMPLES.is_dir():
    pytest.skip("the examples are in the repository only", allow_module_level=True)

# What each needs beside numpy.
LIBRARIES = {
    "acquisition_pipeline": ["dask.array"],
    "joblib_features": ["joblib"],
    "torch_dataset": ["torch"],
}


def test_every_example_is_listed_and_tested():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == LIBRARIES.keys()
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"]({name}.py)" not in text] == []


SLOW = {"torch_dataset"}  # to import torch takes seconds, in each of its workers


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in LIBRARIES],
)
def test_example_runs_and_finds_its_answer_correct(name, tmp_path):
    for library in LIBRARIES[name]:
        need(library)
    found = str(Path(mmapkit.__file__).parents[1])
    places = dict.fromkeys(["TMPDIR", "TEMP", "TMP"], str(tmp_path))
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        env={**os.environ, **places, "PYTHONPATH": found},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert ended.stdout.splitlines()[-1].startswith("correct: ")
    # Libraries keep caches of their own there.
    assert [path.name for path in tmp_path.glob("tmp*")] == []
