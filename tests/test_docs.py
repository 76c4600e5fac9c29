"""Every example in README.md, docs/ and the docstrings runs and prints what it says."""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import mmapkit
from mmapkit.formats import registry

from .optional import need

ROOT = Path(__file__).resolve().parent.parent
PAGES = [path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))] if path.exists()]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# The two commands that README promises for a fresh clone.
DEMO = "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/mmapkit demo"
TESTS = (
    "python3 -m venv .venv && .venv/bin/pip install -q '.[test]' && "
    ".venv/bin/python -m pytest -m 'not slow'"
)

# ```python examples of a page run one after another; after ```python may stand where a block's
# examples mean something, and then they run by themselves.
PLACES = {
    "posix": (sys.platform != "win32", "an example of what POSIX allows"),
    "linux": (sys.platform == "linux", "an example of what Linux offers"),
    "reserve": (True, ""),  # the mark of this name skips it
    "dask": (True, ""),  # need() skips it
}
FENCE = re.compile(r"^```(\S*) ?(\S*)$")


def only_blocks(text, wanted):
    """The page with everything but the wanted blocks blanked, so that line numbers stay true."""
    kept, block = [], None
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence:
            block = None if block else fence.groups()
        kept.append(line if block and not fence and wanted(*block) else "")
    return "\n".join(kept) + "\n"


def special_blocks():
    """(page, place, first line, text) of each block that is only for some systems."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```python (\w+)\n(.*?)^```$", text, re.M | re.S):
            line = text[: block.start()].count("\n") + 1
            marks = [pytest.mark.reserve] if block[1] == "reserve" else []
            label = f"{page.name}:{line}"
            yield pytest.param(page, block[1], line, block[2], id=label, marks=marks)


def consoles():
    """(page, [(command, what it prints)]) of each page with ```console blocks."""
    for page in PAGES:
        blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
        steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks), re.M)
        if steps:
            yield pytest.param(steps, id=page.name)


def run(test):
    said = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(test, out=said.append, clear_globs=True)
    assert runner.failures == 0, "".join(said)


@pytest.fixture(autouse=True)
def known_formats():
    """Forget the formats that examples register."""
    before = list(registry._formats)
    yield
    registry._formats[:] = before


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {"mk": mmapkit, "np": np}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_examples(page, names):
    text = only_blocks(page.read_text(encoding="utf-8"), lambda *block: block == ("python", ""))
    run(doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0))


@pytest.mark.parametrize(("page", "place", "line", "text"), list(special_blocks()))
def test_page_examples_for_some_systems(page, place, line, text, names):
    if place == "dask":
        need("dask.array")
    holds, reason = PLACES[place]
    if not holds:
        pytest.skip(reason)
    run(doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line))


@pytest.mark.skipif(sys.platform == "win32", reason="commands for a POSIX shell")
@pytest.mark.parametrize("steps", list(consoles()))
def test_page_commands(steps, tmp_path, monkeypatch):
    """Run in one folder, one after the other; all of them succeed."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "mmapkit").write_text(f'#!/bin/sh\nexec {sys.executable} -m mmapkit "$@"\n')
    (tools / "mmapkit").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(mmapkit.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    for command, expected in steps:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, ""), command


def modules():
    yield mmapkit
    for found in pkgutil.walk_packages(mmapkit.__path__, "mmapkit."):
        needs_rich = found.name.startswith("mmapkit.cli.demo.") and not find_spec("rich")
        if found.name != "mmapkit.__main__" and not needs_rich:
            yield importlib.import_module(found.name)


def docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in modules():
        for test in finder.find(module):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(docstring_examples()))
def test_docstring_examples(test, tmp_path, monkeypatch):
    if "to_dask(" in test.docstring:
        need("dask.array")
    monkeypatch.chdir(tmp_path)
    run(test)


# --- what pages claim ---------------------------------------------------------------------------


@pytest.mark.skipif(not PAGES, reason="README.md and docs/ are not part of a wheel")
class TestPages:
    def test_readme_gives_the_two_commands(self):
        blocks = re.findall(r"^```sh\n(.*?)\n```$", PAGES[0].read_text("utf-8"), re.M | re.S)
        assert blocks[:2] == [DEMO, TESTS]

    def test_what_the_commands_install_exists(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        assert {"cli", "test"} <= project["optional-dependencies"].keys()
        assert project["scripts"]["mmapkit"] == "mmapkit.cli:main"
        assert "mmapkit[cli]" in project["optional-dependencies"]["test"]

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_links_lead_somewhere(self, page):
        text = page.read_text("utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), target

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
    def test_anchors_lead_somewhere(self, page):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text("utf-8")):
            other = page if not target else page.parent / target
            headings = re.findall(r"^#+ (.*)$", other.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}

    def test_every_public_name_is_in_the_list_of_names(self):
        text = (ROOT / "docs" / "api.md").read_text("utf-8")
        assert [name for name in mmapkit.__all__ if not re.search(rf"(`|## ){name}\b", text)] == []

    @pytest.mark.parametrize(
        "kind",
        [
            "Mapping",
            "MappedArray",
            "MappedArrays",
            "ShardedArray",
            "RaggedArray",
            "Lines",
            "Blocks",
            "Residency",
        ],
    )
    def test_every_public_method_is_in_the_list_of_names(self, kind):
        text = (ROOT / "docs" / "api.md").read_text("utf-8")
        public = [name for name in dir(getattr(mmapkit, kind)) if not name.startswith("_")]
        assert [name for name in public if not re.search(rf"`{name}\b", text)] == []

    def test_every_advice_is_explained(self):
        text = (ROOT / "docs" / "mapping.md").read_text("utf-8")
        assert [name for name in mmapkit.supported_advice() if f'`"{name}"`' not in text] == []
