"""Recovery of fuzzed journals: seeded bytes, hypothesis, and atheris where it is installed."""

import importlib.util
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from . import fuzzing


def seeded(count, seed):
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.randbytes(12 + 4 * chance.choice([3, 3, 6, 12, 40]))


def test_seeded_journals_are_recovered_or_refused():
    found = Counter(fuzzing.try_one(data) for data in seeded(1500, 1))
    assert found["recovered"] > 100, found
    assert found["refused"] > 100, found


@pytest.mark.slow
def test_many_seeded_journals_are_recovered_or_refused():
    found = Counter(fuzzing.try_one(data) for data in seeded(60_000, 2))
    print(dict(found))
    assert found["refused"] > 1000


@settings(max_examples=150)
@given(st.binary(min_size=12, max_size=200))
def test_any_damage_is_recovered_or_refused(data):
    fuzzing.try_one(data)


def test_memory_does_not_follow_what_a_field_claims():
    # The window, a piece of it, and what the disk in memory copies.
    most = max(fuzzing.memory_of(data) for data in seeded(150, 3))
    assert most < 48 << 20, most


def test_atheris_finds_nothing():
    demanded = bool(os.environ.get("MMAPKIT_TEST_ALL"))
    if not importlib.util.find_spec("atheris") and not demanded:
        pytest.skip("needs atheris: pip install 'mmapkit[fuzz]'")
    seconds = "30" if demanded else "5"
    tests = Path(__file__).parents[1]
    code = "import sys; sys.path.insert(0, sys.argv[1]); from crash import atheris_target"
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; atheris_target.main(sys.argv[2])", tests, seconds],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    assert "Done" in ended.stderr, ended.stderr[-2000:]
