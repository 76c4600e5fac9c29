"""Importing: what it brings along, and what the package says of itself."""

import pytest

import mmapkit as mk


def test_import_is_light(run_python):
    run_python(
        """
import sys
import mmapkit
heavy = {"numpy", "typing", "dataclasses", "ctypes", "mmap", "multiprocessing", "rich", "re"}
found = heavy & set(sys.modules)
before = "import sys; print(*sys.modules)"
import subprocess
bare = set(subprocess.check_output([sys.executable, "-c", before], text=True).split())
assert not found - bare, found - bare
"""
    )


def test_bytes_work_without_numpy(run_python):
    run_python(
        """
import sys
sys.modules["numpy"] = None
import mmapkit as mk
with mk.open("f", "w+", size=100) as m, m.as_file() as f:
    m.store("<f8", 8, 2.5)
    f.write(b"abc")
    m.resize(200)
    m.flush()
    assert m.residency().total_bytes == 200
    assert bytes(m[:3]) == b"abc"
"""
    )


def test_numpy_comes_with_the_first_array(run_python):
    pytest.importorskip("numpy")
    run_python(
        """
import sys
import mmapkit as mk
m = mk.anonymous(80)
assert "numpy" not in sys.modules
assert m.array("f8").shape == (10,)
assert "numpy" in sys.modules
"""
    )


def test_all_is_complete_and_every_name_resolves():
    pytest.importorskip("numpy")
    assert len(set(mk.__all__)) == len(mk.__all__)
    for name in mk.__all__:
        assert getattr(mk, name).__doc__, name
        assert name in dir(mk)
    own = {
        name
        for name, value in vars(mk).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("mmapkit")
    }
    assert own <= set(mk.__all__)


def test_star_import(run_python):
    pytest.importorskip("numpy")
    run_python(
        """
import builtins
real = builtins.open
from mmapkit import *
assert open is not real
with open("f", "w+", size=5) as m:
    assert type(m) is Mapping
assert create_array.__module__ == "mmapkit.array"
"""
    )


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"mmapkit.*'bogus'"):
        mk.bogus  # noqa: B018


def test_version_is_that_of_the_distribution():
    metadata = pytest.importorskip("importlib.metadata")
    try:
        installed = metadata.version("mmapkit")
    except metadata.PackageNotFoundError:
        pytest.skip("not installed")
    assert installed == mk.__version__


# --- the environment variable -------------------------------------------------------------------

TELL = "import mmapkit as mk; print(mk.guard_enabled())"


@pytest.mark.parametrize("value", ["1", "on", "yes", "TRUE", " 1 ", ""])
def test_guard_variable_leaves_it_on(run_python, value):
    assert run_python(TELL, MMAPKIT_GUARD=value).stdout.strip() == "True"


@pytest.mark.parametrize("value", ["0", "off", "No", "false"])
def test_guard_variable_switches_it_off(run_python, value):
    assert run_python(TELL, MMAPKIT_GUARD=value).stdout.strip() == "False"


@pytest.mark.parametrize("value", ["2", "maybe", "-1"])
def test_guard_variable_of_another_value_is_named(run_python, value):
    error = run_python(TELL, code=1, MMAPKIT_GUARD=value).stderr
    assert f"ImportError: MMAPKIT_GUARD must be 1 or 0, not '{value}'" in error
