"""Keeps the house: who may import whom, and what lies where. Reads the source tree."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "mmapkit"
CORE = ROOT / "csrc"

needs_tree = pytest.mark.skipif(
    not (PACKAGE.is_dir() and CORE.is_dir()), reason="needs the source tree"
)

# Who may import whom, lazily or at once; "cli.*" stands for each module of the folder.
# cli -> features (array, residency) -> mapping -> _native; features do not import each other.
EDGES = {
    "errors": set(),
    "_native": {"errors"},
    "faults": {"_native"},
    "views": set(),
    "closing": set(),
    "awaiting": set(),
    "operators": set(),
    "rawfile": set(),
    # Lazily: residency(path) maps a file where the system has no better way to ask.
    "residency": {"_native", "mapping"},
    "mapping": {"errors", "_native", "faults", "residency", "views", "rawfile", "passes.*"}
    | {"durable.*", "searchable"},
    # Lazily: its methods are in text/.
    "searchable": {"text.find", "text.lines", "text.search", "text.several"},
    "_scan": {"_native"},
    "_lines": {"_native", "_scan", "errors"},
    "_journal": {"_native"},
    "cores": set(),
    "pools": set(),
    "text": set(),
    "text.windows": {"_scan", "cores", "errors", "mapping", "passes.*", "pools", "residency"},
    "text.calls": {"_scan", "errors", "text.windows"},
    "text.find": {"_scan", "errors", "mapping", "text.calls", "text.windows"},
    "text.several": {"_scan", "text.calls", "text.windows"},
    "text.stamps": {"_scan", "mapping", "text.windows"},
    "text.lines": {
        "_lines",
        "_scan",
        "errors",
        "mapping",
        "text.index",
        "text.stamps",
        "text.windows",
    },
    "text.index": {"_lines", "_scan", "collection", "errors", "mapping", "saving", "text.lines"}
    | {"text.stamps"},
    "text.literals": set(),
    "text.engines": {"text.literals"},
    "text.reading": {"_native", "_scan", "errors", "mapping"},
    "text.candidates": {"_scan", "errors", "text.literals", "text.reading", "text.windows"},
    "text.search": {"_scan", "errors", "passes.*", "text.candidates", "text.engines", "text.find"}
    | {"text.literals", "text.reading", "text.windows"},
    "formats": {"formats.*"},
    "formats.*": {"errors", "views", "formats.*"},
    # Lazily: its methods are in modules of their own.
    "array": {
        "awaiting",
        "closing",
        "_native",
        "errors",
        "formats",
        "formats.*",
        "mapping",
        "operators",
        "residency",
        "views",
    }
    | {"dask", "durable.*", "gather", "growing", "passes.*"},
    "growing": {"array", "errors", "mapping", "formats", "formats.*", "views"},
    "ragged": {"closing", "array", "errors", "growing", "views"},
    "dask": {"_native", "views"},
    "gather": {"_native", "cores", "errors", "pools"},
    # Lazily: dask and passes.
    "sharded": {"awaiting", "closing", "_native", "array", "errors", "formats.*", "gather"}
    | {"dask", "mapping", "operators", "passes.*", "views"},
    "collection": {"array", "closing", "errors", "mapping", "formats.*"},
    "saving": {"errors", "mapping", "operators", "views", "formats.*"},
    "durable": set(),
    "durable.*": {
        "_journal",
        "_native",
        "durable.*",
        "errors",
        "array",
        "formats",
        "formats.*",
        "pools",
    }
    | {"growing", "mapping", "views"},
    "passes": set(),
    # Lazily: array, sharded, views and formats, for passes over bytes do without numpy.
    "passes.*": {
        "_native",
        "cores",
        "errors",
        "mapping",
        "pools",
        "residency",
        "array",
        "sharded",
        "views",
        "formats",
        "formats.*",
        "passes",
        "passes.*",
    },
    "cli": {"__init__", "cli.*"},
    # Lazily: only the command that runs is imported.
    "cli.*": {"__init__", "cli", "cli.*", "cli.demo.*", "durable.*", "errors"}
    | {"mapping", "text.engines"},
    "cli.demo.*": {
        "__init__",
        "cli.*",
        "cli.demo.*",
        "array",
        "errors",
        "faults",
        "formats",
        "formats.*",
        "mapping",
        "residency",
    },
    "__main__": {"cli"},
    "__init__": {
        "errors",
        "faults",
        "mapping",
        "residency",
        "array",
        "collection",
        "durable.*",
        "ragged",
        "sharded",
        "saving",
        "formats.*",
        "passes.*",
        "text.*",
    },
}
# Only these may need numpy at once; others import it when a function that uses it is called.
NUMBERS = {
    "array",
    "cli",
    "dask",
    "formats",
    "gather",
    "growing",
    "operators",
    "passes.parallel",
    "ragged",
    "saving",
    "sharded",
    "text.index",
    "text.lines",
    "text.several",
    "views",
}

# Folder of csrc -> the headers of ours that it may include.
INCLUDES = {
    "include": ("mmk/",),
    "map": ("mmk/", "map/", "os/", "guard/registry.h"),
    "os": ("mmk/", "os/"),
    "guard": ("mmk/", "guard/", "os/"),
    "scan": ("mmk/scan.h", "scan/", "os/compiler.h"),
    "lines": ("mmk/table.h",),
    "journal": ("mmk/checksum.h", "journal/", "os/compiler.h"),
}
STANDARD_C = {
    f"{name}.h"
    for name in ("assert", "errno", "limits", "stdatomic", "stdbool", "stddef", "stdint", "stdlib")
} | {"string.h"}


def modules() -> dict[str, Path]:
    """Name without the package -> file, for all Python and Cython modules."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py*")):
        if path.suffix not in (".py", ".pyx"):
            continue
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


def table_row(module: str) -> str:
    """The name under which a module stands in EDGES."""
    return module if module in EDGES else f"{module.rpartition('.')[0]}.*"


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def import_statements(tree: ast.AST, *, lazy: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports of a module; with `lazy` those inside of functions, too. Not those for types."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            for other in node.orelse:
                yield from import_statements(ast.Module([other], []), lazy=lazy)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from import_statements(node, lazy=lazy)


def cython_imports(text: str) -> ast.Module:
    """The import lines of a .pyx, as Python; Cython's cimports are not imports of modules."""
    lines = re.findall(r"^\s*((?:import|from)\s.+)$", text, re.MULTILINE)
    statements = [line for line in lines if not re.search(r"\bcimport\b", line)]
    return ast.parse("\n".join(line for line in statements if not line.startswith("from libc")))


def imported(module: str, path: Path, *, lazy: bool) -> set[str]:
    """Full names of what a module imports: modules, or attributes of modules."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text) if path.suffix == ".py" else cython_imports(text)
    names = set()
    for node in import_statements(tree, lazy=lazy):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{module}: relative import in line {node.lineno}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(module: str, path: Path, known: set[str], *, lazy: bool) -> set[str]:
    """Modules of ours that a module imports."""
    found = set()
    for name in imported(module, path, lazy=lazy):
        package, _, rest = name.partition(".")
        if package != "mmapkit":
            continue
        while rest and rest not in known:  # an attribute: the module that holds it is meant
            rest = rest.rpartition(".")[0]
        found.add(rest or "__init__")
    return found - {module}


@needs_tree
def test_imports_follow_the_table():
    known = modules()
    strangers = {name for name in known if table_row(name) not in EDGES}
    assert not strangers, "enter these modules into EDGES"
    wrong = {
        f"{module} -> {target}"
        for module, path in known.items()
        for target in own_imports(module, path, set(known), lazy=True)
        if table_row(target) not in EDGES[table_row(module)]
        and target not in EDGES[table_row(module)]
    }
    assert not wrong


@needs_tree
def test_table_names_only_what_exists():
    rows = {table_row(name) for name in modules()}
    assert set(EDGES) == rows


@needs_tree
def test_modules_import_each_other_without_a_cycle():
    known = modules()
    left = {name: own_imports(name, path, set(known), lazy=False) for name, path in known.items()}
    while left:
        leaves = {name for name, targets in left.items() if not targets & left.keys()}
        assert leaves, f"a cycle among {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in leaves}


@needs_tree
def test_only_numbers_need_numpy():
    users = {
        name
        for name, path in modules().items()
        if any(target.partition(".")[0] == "numpy" for target in imported(name, path, lazy=False))
    }
    assert {name for name in users if not {name, name.partition(".")[0]} & NUMBERS} == set()


def test_import_does_not_load_numpy():
    code = "import sys, mmapkit; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_tree
def test_every_pyx_has_a_pyi():
    missing = [
        path.name for path in PACKAGE.rglob("*.pyx") if not path.with_suffix(".pyi").exists()
    ]
    assert not missing


# --- csrc -----------------------------------------------------------------------------------------


def core_files() -> list[Path]:
    return sorted([*CORE.rglob("*.c"), *CORE.rglob("*.h")])


def core_name(path: Path) -> str:
    return path.relative_to(CORE).as_posix()


@needs_tree
def test_core_does_not_know_python():
    pattern = re.compile(r"#\s*include\s*[<\"](Python|pythread|numpy/)")
    assert [core_name(path) for path in core_files() if pattern.search(path.read_text())] == []


@needs_tree
def test_core_includes_follow_the_table():
    wrong = []
    for path in core_files():
        allowed = INCLUDES[path.relative_to(CORE).parts[0]]
        for header in re.findall(r'#\s*include\s*"([^"]+)"', path.read_text()):
            assert (CORE / header).exists() or (CORE / "include" / header).exists(), header
            if not header.startswith(allowed):
                wrong.append(f"{core_name(path)} -> {header}")
    assert not wrong


@needs_tree
def test_policy_has_no_platforms():
    for path in (CORE / "map").iterdir():
        text = path.read_text()
        guard = rf"MMK_MAP_{path.stem.upper()}_H"
        conditions = re.findall(r"^\s*#\s*(?:if|elif)\w*\s+(.+)$", text, re.MULTILINE)
        assert [c for c in conditions if c.strip() != guard] == [], core_name(path)
        headers = set(re.findall(r"#\s*include\s*<([^>]+)>", text))
        assert headers <= STANDARD_C, core_name(path)


def extensions(platform: str) -> dict[str, list[str]]:
    """setup.py's table of extensions, as it would be on a platform."""
    wanted = {"CORE", "PLATFORM", "WINDOWS", "MACOS", "SYSTEM", "EXTENSIONS"}
    body = []
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        names = {
            target.id for target in getattr(node, "targets", ()) if isinstance(target, ast.Name)
        }
        if names & wanted:
            body.append(node)
    space: dict[str, object] = {"os": os, "sys": sys, "sysconfig": FakeSysconfig(platform)}
    space["Path"] = lambda path: ROOT / path
    exec(compile(ast.Module(body, []), "setup.py", "exec"), space)
    return space["EXTENSIONS"]


class FakeSysconfig:
    def __init__(self, platform: str) -> None:
        self.platform = platform

    def get_platform(self) -> str:
        return self.platform


@needs_tree
def test_each_c_file_is_in_exactly_one_extension(monkeypatch):
    monkeypatch.delenv("_PYTHON_HOST_PLATFORM", raising=False)
    owners: dict[str, set[str]] = {}
    for platform in ("linux-x86_64", "macosx-11.0-arm64", "win-amd64"):
        files = [file for table in extensions(platform).values() for file in table]
        # Static state must not be doubled: two SIGBUS handlers would not know each other's maps.
        assert sorted(files) == sorted(set(files)), platform
        for extension, table in extensions(platform).items():
            for file in table:
                owners.setdefault(file, set()).add(extension)
    assert {file: names for file, names in owners.items() if len(names) != 1} == {}
    assert set(owners) == {core_name(path) for path in CORE.rglob("*.c")}


@needs_tree
def test_extensions_are_the_pyx_files():
    names = {
        "mmapkit." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in PACKAGE.rglob("*.pyx")
    }
    assert set(extensions("linux-x86_64")) == names


# --- the tree -------------------------------------------------------------------------------------


@needs_tree
def test_no_paths_or_hosts_of_one_machine():
    # Put together here, so that this file does not contain them.
    places = "|".join(["root", "work", "home", "Users"])
    hosts = "|".join([r"deb\.deb" r"ian\.org", r"pypi\.org/sim" "ple", r"files\.python" "hosted"])
    pattern = re.compile(rf"(?<![\w.$}}\"*{{/-])/(?:{places})/\w|{hosts}")
    folders = ("src", "csrc", "tests", "tools", "benchmarks", "docs", "examples", ".ci", ".github")
    kinds = {".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".sh", ".md", ".toml", ".yml"}
    kinds |= {".cfg", ""}
    found = []
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in [*files, *ROOT.glob("*.*")]:
        if path.is_file() and path.suffix in kinds and "results" not in path.parts:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if pattern.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found
