"""The benchmarks run, check their answers and write their tables. No time is looked at."""

import json
import sys
from pathlib import Path

import pytest

from .optional import need

ROOT = Path(__file__).resolve().parent.parent

if not (ROOT / "benchmarks" / "__main__.py").is_file():
    pytest.skip("the benchmarks are in the repository only", allow_module_level=True)
if sys.platform == "win32":
    pytest.skip("the benchmarks' rivals are POSIX calls", allow_module_level=True)
pytest.importorskip("numpy")

# Works that have to be there, by the start of their name, and the ways to be found in them.
EXPECTED = {
    "access": {
        "one byte": {"m[i]", "mmap.mmap: s[i]", "bytes: b[i]"},
        "one scalar": {'m.load("<d", i)', 'struct.unpack_from("<d", s, i)'},
        "slice of 64 bytes": {"m[i:j], a view", "memoryview(mmap)[i:j], a view"},
        "open and close a .npy": {"with mk.open_array(path)", 'np.load(path, mmap_mode="r")'},
        "open and close a raw array": {'np.memmap(path, "<f8", "r")'},
        "open and close bytes": {"with mk.open(path)", "open, mmap.mmap, close both"},
        "import": {'python -c "import mmapkit"', "python -c pass"},
    },
    "arrays": {
        "slice of an array, ndarray": {"x[i:j], x = np.asarray(a)", "np.memmap: p[i:j]"},
        "slice of an array, MappedArray": {"a[i:j]", "np.memmap: p[i:j]", "ndarray: d[i:j]"},
        "one element, MappedArray": {"a[i]", "np.memmap: p[i]"},
        "arithmetic on a slice, MappedArray": {"a[:10] + 1", "ndarray: d[:10] + 1"},
        "arithmetic on 1 MiB, MappedArray": {"np.add(a, 1)", "np.memmap: np.add(p, 1)"},
        "sum of 1 MiB, ndarray": {"np.sum(x), x = np.asarray(a)", "np.memmap: np.sum(p)"},
        "500 rows of 250, MappedArray": {"deque(a, 0)", "np.memmap: deque(p, 0)"},
    },
    "pickle": {
        "pickle.dumps, 1 MiB": {"MappedArray: dumps(a)", "np.memmap: dumps(p)"},
        "pickle.loads, ready to be read, 1 MiB": {"MappedArray: loads(sa)", "ndarray: loads(sd)"},
        "one element by a worker, array of 1 MiB": {
            "MappedArray: pool.apply(getitem, (a, 7))",
            "np.memmap: pool.apply(getitem, (p, 7))",
        },
    },
    "random": {
        "500 random bytes of 1 MiB, warm, one C call: already": {"fseek + fread (C)", "pread (C)"},
        "500 random bytes of 1 MiB, warm, one C call: mapped anew": {"mk.open, touch, close"},
        "500 random bytes of 1 MiB, warm, from Python": {"np.memmap[idx].sum()"},
        "20 random bytes of 1 MiB, cold": {"np.memmap[idx]"},
    },
    "sequential": {
        "4 KiB, warm, summed in C": {"mk.open", "readinto, a 1 MiB buffer reused"},
        "64 KiB, warm, summed in numpy": {"np.memmap.sum()", "np.fromfile, blocks of 1 MiB"},
        "1 MiB, warm, summed in C": {"mk.open", "memory read, 1 thread (C)"},
        "1 MiB, cold": {"mk.open"},
    },
    "passes": {
        "1 MiB, warm": {"mk.blocks(path)", "np.memmap, slices of 8 MiB"},
        "1 MiB, cold": {'mk.blocks(path, "read")', "device, 1 MiB blocks, depth 4 (C, O_DIRECT)"},
        "1 MiB, cold, a cgroup of 64 MiB": {"mk.blocks(path), no cgroup", "mk.blocks(path)"},
    },
    "commit": {
        "commit 1 page, anywhere of 64 KiB": {
            "with a.transaction() as w: w[numbers] = pages",
            "SQLite WAL, synchronous=FULL",
            "np.memmap, flush (msync): not atomic",
            "write the whole file, fsync, rename",
            "one page written over, one fdatasync",
        },
        "commit 16 pages in a row of 64 KiB": {"16 pages in a row written over, one fdatasync"},
        "commit 1 page, the next each time of 1 MiB, 4 threads": {"SQLite WAL, synchronous=FULL"},
        "commit 256 pages anywhere of 1 MiB": {"SQLite WAL, synchronous=FULL"},
        "find 64 changed pages": {"compare"},
        "recover a journal": {"mk.recover(path)"},
        "enter and leave": {"with m.reading(): m[0]"},
        "the first commit": {"open, one transaction, close"},
        "a program without transactions": {"mk.open(path), close", "the look for a journal in it"},
    },
    "search": {
        "count newlines, already mapped": {
            'm.count(b"\\n")',
            "np.count_nonzero(a == 10)",
            "memory read, 1 thread (C)",
            "memory read, 2 threads (C)",
        },
        "count newlines, opened anew": {"$ mmapkit count FILE", "readinto, bytearray.count"},
        "find an absent literal": {"m.find(needle)", "mmap.find(needle)"},
        "find a rare literal": {"m.find(needle, threads=2)", "re.search(needle, mmap)"},
        "find_all of the newline": {'m.find_all(b"\\n")', "np.flatnonzero(a == 10)"},
        "every line with ERROR.*timeout": {
            "m.search(pattern)",
            "$ mmapkit search -n ERROR.*timeout FILE",
            "pattern.finditer(mmap), lines counted",
        },
        "every one of 6 literals": {"m.find_any(words)", "re.finditer(alternation, mmap)"},
        "find a rare literal, whatever the case": {"m.find(needle, ignore_case=True)"},
        "index of lines, built": {"len(m.lines())", "mmap.readline, every line"},
        "1,000 random lines": {"[lines[i] for i in picks]"},
        "one line by its number": {"lines[i]", "linecache.getline(path, i + 1)"},
        "find a literal of 64 bytes": {"mk.find: a log", "mmap.find: random a and b"},
        "commands on an empty file": {"$ mmapkit count FILE", "$ python -c pass"},
        "find an absent literal, cold": {"mk.open(path), m.find(needle)", "mmap.find(needle)"},
        "linux-source": {"m.count"},  # not fetched here
    },
    "guard": {
        "m[i]": {"guard on", "guard off", "guard off, control"},
        "open, touch": {"guard on", "guard off"},
    },
}


# What takes seconds: the larger part of them is what the rivals import.
SLOW = {"arrays", "passes", "search"}
TOPICS = [
    pytest.param(topic, marks=pytest.mark.slow) if topic in SLOW else topic for topic in EXPECTED
]


@pytest.fixture
def run(monkeypatch):
    """`python -m benchmarks`, in this process, with the package that is being tested."""
    monkeypatch.syspath_prepend(str(ROOT))
    import mmapkit

    # Its processes import what this one does, be it installed or in the source tree.
    monkeypatch.setenv("PYTHONPATH", str(Path(mmapkit.__file__).parent.parent))
    from benchmarks.__main__ import main

    return main


@pytest.mark.parametrize("topic", TOPICS)
def test_topic_checks_every_answer_and_writes_its_rows(run, topic, tmp_path, capsys):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.md"
    page.write_text("before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    outputs = ["--json", str(numbers), "--markdown", str(page)]
    run([topic, "--smoke", "--directory", str(scratch), *outputs])

    found = json.loads(numbers.read_text())["topics"][topic]
    for start, ways in EXPECTED[topic].items():
        works = [comparison for comparison in found if comparison["work"].startswith(start)]
        assert works, f"no comparison for {start!r}"
        if not works[0]["skipped"]:
            assert ways <= {line["name"] for line in works[0]["lines"]}
    for comparison in found:
        if comparison["skipped"]:
            assert "cold" in comparison["work"] or comparison["work"] == "linux-source"
            continue
        assert comparison["answers_checked"]
        rounds = {len(line["seconds"]) for line in comparison["lines"]}
        assert rounds == {comparison["rounds"]}
        assert all(line["low"] <= line["ratio"] <= line["high"] for line in comparison["lines"])

    text = page.read_text()
    assert text.startswith("before\n<!-- results: begin -->")
    assert text.endswith("<!-- results: end -->\nafter\n")
    assert "\nold\n" not in text
    assert found[0]["work"] in text
    assert found[0]["work"] in capsys.readouterr().out
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("installed", [pytest.param(True, marks=pytest.mark.slow), False])
def test_rival_that_is_not_installed_is_reported_as_skipped(run, tmp_path, monkeypatch, installed):
    libraries = {"h5py": "h5py.Dataset", "zarr": "zarr.Array"}
    for library in libraries:
        if installed:
            need(library)
        else:
            monkeypatch.setitem(sys.modules, library, None)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.md"
    outputs = ["--json", str(numbers), "--markdown", str(page)]
    run(["arrays", "--smoke", "--directory", str(scratch), *outputs])
    for comparison in json.loads(numbers.read_text())["topics"]["arrays"]:
        assert comparison["missing"] == ([] if installed else list(libraries))
        names = [line["name"] for line in comparison["lines"]]
        for label in libraries.values():
            assert any(name.startswith(label) for name in names) is installed
    assert ("h5py: skipped, not installed" in page.read_text()) is not installed


def test_wrong_answer_is_not_timed(run):
    from benchmarks.effort import SMOKE
    from benchmarks.harness import WrongAnswer, call, compare

    ways = [call("ours", "right", lambda: 1), call("rival", "wrong", lambda: 2)]
    with pytest.raises(WrongAnswer, match="wrong answers 2, not 1"):
        compare("adding", ways, SMOKE)


def test_unknown_topic_is_refused(run, capsys):
    with pytest.raises(SystemExit):
        run(["nothing"])
    assert "unknown topic nothing" in capsys.readouterr().err


def test_readme_has_the_markers_that_the_tool_writes_between(run):
    from benchmarks.tables import BEGIN, END

    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == 1
    assert text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)
