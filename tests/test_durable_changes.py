"""Which way of finding changed pages is taken."""

import subprocess
import sys

import pytest

from mmapkit._native import change_methods
from mmapkit.durable import changes

COMMIT = """
import sys
import mmapkit as mk
from mmapkit.durable import changes
with mk.open(sys.argv[1], "w+", size=1 << 20) as m:
    with m.transaction() as private:
        private[5] = 1
        private[900_000] = 2
    assert (m[5], m[900_000]) == (1, 2)
print(changes.method())
"""


def commit(tmp_path, monkeypatch, demanded):
    monkeypatch.setenv(changes.CHOICE_VARIABLE, demanded)
    command = [sys.executable, "-c", COMMIT, str(tmp_path / "data")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_best_is_chosen():
    assert changes.method() == next(name for name in changes.METHODS if name in change_methods())
    assert "compare" in change_methods()


@pytest.mark.parametrize("name", changes.METHODS)
def test_a_demanded_way_is_taken(tmp_path, monkeypatch, name):
    if name not in change_methods():
        pytest.skip("not offered by this system")
    done = commit(tmp_path, monkeypatch, name)
    assert (done.returncode, done.stdout.split()) == (0, [name]), done.stderr


def test_a_way_that_there_is_not_fails_loudly(tmp_path, monkeypatch):
    done = commit(tmp_path, monkeypatch, "guess")
    assert done.returncode == 1
    assert "MMAPKIT_CHANGES=guess: must be one of pagemap_scan, pagemap, compare" in done.stderr
    with pytest.raises(ValueError, match="this system offers compare"):
        changes._choose("pagemap", ("compare",))
