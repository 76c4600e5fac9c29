"""The metadata, the wheels' configuration and the workflows agree with each other."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import mmapkit

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"

needs_repository = pytest.mark.skipif(
    not WORKFLOWS.is_dir(), reason="the workflows are in the repository only"
)


@pytest.fixture(scope="module")
def pyproject():
    path = ROOT / "pyproject.toml"
    if not path.exists():
        pytest.skip("needs pyproject.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheels():
    return (WORKFLOWS / "wheels.yml").read_text(encoding="utf-8")


def test_version_is_the_same_everywhere(pyproject):
    assert pyproject["project"]["version"] == mmapkit.__version__


def test_installed_metadata_is_of_this_version():
    try:
        installed = metadata.version("mmapkit")
    except metadata.PackageNotFoundError:
        pytest.skip("mmapkit is imported from a folder, not installed")
    assert installed == mmapkit.__version__


def test_package_is_marked_as_typed():
    package = Path(mmapkit.__file__).parent
    assert (package / "py.typed").exists()
    assert (package / "_native.pyi").exists()


def test_command_is_declared(pyproject):
    module, _, function = pyproject["project"]["scripts"]["mmapkit"].partition(":")
    assert (module, function) == ("mmapkit.cli", "main")


def test_oldest_python_is_what_the_code_is_checked_for(pyproject):
    oldest = re.fullmatch(r">= (3)\.(\d+)", pyproject["project"]["requires-python"])
    assert pyproject["tool"]["ruff"]["target-version"] == "py" + "".join(oldest.groups())
    assert sys.version_info >= tuple(map(int, oldest.groups()))


def test_cython_of_the_build_declares_free_threading(pyproject):
    # 3.1 is the first Cython that knows `freethreading_compatible`.
    (cython,) = (name for name in pyproject["build-system"]["requires"] if "Cython" in name)
    assert tuple(map(int, re.search(r">= (\d+)\.(\d+)", cython).groups())) >= (3, 1)
    setup = ROOT / "setup.py"
    if setup.exists():
        assert '"freethreading_compatible": True' in setup.read_text(encoding="utf-8")


def test_wheels_are_tested_with_what_the_tests_need(pyproject):
    config = pyproject["tool"]["cibuildwheel"]
    assert config["test-extras"] == ["test"]
    assert "{project}/tests" in config["test-command"]
    # 32-bit wheels are left out, and cibuildwheel 4 refuses groups that it no longer knows.
    assert config["archs"] == ["auto64"]
    assert "enable" not in config


@needs_repository
def test_each_architecture_has_a_runner(wheels):
    runners = re.findall(r"^ {10}- (\S+)$", wheels, re.MULTILINE)
    assert {re.sub(r"-[\d.]+", "", runner) for runner in runners} == {
        "ubuntu",
        "ubuntu-arm",
        "macos",
        "macos-intel",
        "windows",
        "windows-arm",
    }


@needs_repository
def test_identifiers_are_checked_with_the_cibuildwheel_that_builds(wheels):
    used = re.search(r"pypa/cibuildwheel@v(\d+\.\d+)\.", wheels)[1]
    checked = (ROOT / "tools" / "identifiers.sh").read_text(encoding="utf-8")
    assert f"cibuildwheel=={used}." in checked


@needs_repository
def test_only_tags_are_published_and_without_a_token(wheels):
    publish = wheels[wheels.index("\n  publish:") :]
    assert "startsWith(github.ref, 'refs/tags/v')" in publish
    assert "id-token: write" in publish
    assert re.search(r"environment:\s+name: pypi\b", publish)
    assert "needs: [wheels, sdist]" in publish
    assert wheels.count("id-token: write") == 1
    assert not re.search(r"secrets\.|password:", wheels)


@needs_repository
@pytest.mark.parametrize("name", ["ci.yml", "wheels.yml"])
def test_scripts_that_workflows_call_exist(name):
    text = (WORKFLOWS / name).read_text(encoding="utf-8")
    scripts = set(re.findall(r"(?:^|[\s:])((?:\.ci|tools)/[\w./-]*\w)", text, re.MULTILINE))
    assert scripts
    assert {script for script in scripts if not (ROOT / script).is_file()} == set()


@needs_repository
@pytest.mark.parametrize("name", ["ci.yml", "wheels.yml"])
def test_workflows_read_only_and_in_time(name):
    text = (WORKFLOWS / name).read_text(encoding="utf-8")
    assert re.search(r"^permissions:\n  contents: read$", text, re.MULTILINE)
    assert text.count("timeout-minutes:") == text.count("runs-on:")
