"""Text: counting, finding, lines and patterns, in a log made with a seed and in real sources."""

import dataclasses
import linecache
import mmap
import re
import sys
import tracemalloc
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mmapkit as mk
from benchmarks import children, commands, limits, rivals, texts
from benchmarks.commands import OURS, RIPGREP, command
from benchmarks.effort import Effort
from benchmarks.files import Files, NotCold, random_offsets
from benchmarks.harness import Comparison, Way, call, compare
from benchmarks.search_child import FINDS
from benchmarks.texts import Text

TITLE = "search: counting, finding, lines and patterns in text"

NEWLINE = 10
SLOW_ROUNDS = 3  # of works whose rivals take seconds
PART = 16  # of the log, for works whose rivals keep each line or take minutes
RANDOM_LINES = 1000

# What ours should reach; the other targets are times over ours.
INDEX_GB_S = 8
LINE_NS = 200
ADVERSARIAL = 3.0
MEMORY_SHARE = 0.25


def run(files: Files, helper: Any, effort: Effort) -> list[Comparison]:
    folder = files.folder("texts")
    log = texts.log(folder, effort.big_bytes)
    with _Opened(log, helper, effort) as opened:
        found = [
            opened.count_mapped(),
            opened.count_fresh(),
            opened.find("an absent literal", log.absent),
            opened.find("a rare literal", log.rare),
            opened.find_all(),
            opened.pattern(),
            opened.find_any(),
            opened.ignore_case(),
            opened.build_lines(),
            opened.random_lines(),
        ]
    part = texts.log(folder, effort.big_bytes // PART)
    found += [_lines(part, effort), _adversarial(part, effort)]
    found += [_adversarial_set(folder, part, effort), _start_up(folder, effort)]
    found.append(_cold(files, log, helper, effort))
    return [*found, *_sources(helper, effort)]


def _sources(helper: Any, effort: Effort) -> list[Comparison]:
    """The same, of what people wrote."""
    if not effort.real_text:
        return [Comparison("linux-source", skipped="it is fetched for the full run only")]
    try:
        text = texts.linux(effort.big_bytes)
    except texts.NoText as error:
        return [Comparison("linux-source", skipped=str(error))]
    with _Opened(text, helper, effort) as opened:
        return [
            opened.count_mapped(),
            opened.find("a rare literal", text.rare),
            opened.pattern(),
            opened.find_any(),
        ]


# --- works on one text ----------------------------------------------------------------------------


class _Opened:
    """A text that is mapped, in memory, and open in each rival."""

    def __init__(self, text: Text, helper: Any, effort: Effort) -> None:
        self.text = text
        self.path = text.path
        self.effort = effort
        self.helper = helper
        self.size = text.path.stat().st_size
        self.m = mk.open(text.path)
        self.m.populate()
        with text.path.open("rb") as file:
            self.s = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.a = np.frombuffer(self.s, np.uint8)
        self.data = text.path.read_bytes()
        self.memory = np.fromfile(text.path, np.uint64)
        self.a.max()  # every page has been touched
        modules, self.missing = rivals.installed("stringzilla")
        self.stringzilla = modules.get("stringzilla")
        self.z = None
        if self.stringzilla is not None:
            self.z = self.stringzilla.Str(self.stringzilla.File(str(text.path)))

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *error: object) -> None:
        self.m.close()
        del self.a
        self.s.close()
        self.z = None  # a file that is mapped somewhere stays in memory

    def _compare(
        self, work: str, ways: Sequence[Way], programs: Sequence[str] = (), *, slow: bool = False
    ) -> Comparison:
        rounds = self.effort.big_rounds
        return compare(
            f"{work}, {self.text.name}",
            ways,
            self.effort,
            byte_count=self.size,
            rounds=min(rounds, SLOW_ROUNDS) if slow else rounds,
            missing=[*self.missing, *commands.missing(*programs)],
        )

    def _zilla(self, name: str, function: Callable[[], Any], target: float) -> list[Way]:
        if self.stringzilla is None:
            return []
        return [call("rival", f"stringzilla: {name}", function, target=target)]

    def _bandwidth(self, answer: object) -> list[Way]:
        return limits.memory_bandwidth(self.helper, self.memory, answer, target=0.9)

    def count_mapped(self) -> Comparison:
        m, a, data = self.m, self.a, self.data
        ways = [
            call("ours", 'm.count(b"\\n")', lambda: m.count(b"\n")),
            call("ours", 'm.count(b"\\n", threads=2)', lambda: m.count(b"\n", threads=2)),
            call("rival", "np.count_nonzero(a == 10)",
                 lambda: np.count_nonzero(a == NEWLINE), target=4),
            *self._zilla('z.count("\\n")', lambda: self.z.count("\n"), target=1.8),
            call("rival", "bytes.count, read beforehand", lambda: data.count(b"\n")),
            *self._bandwidth(m.count(b"\n")),
        ]  # fmt: skip
        return self._compare("count newlines, already mapped", ways)

    def count_fresh(self) -> Comparison:
        path = self.path

        def ours() -> int:
            with mk.open(path) as m:
                return m.count(b"\n")

        def ours_in_two() -> int:
            with mk.open(path) as m:
                return m.count(b"\n", threads=2)

        def memmap() -> int:
            return np.count_nonzero(np.memmap(path, np.uint8, "r") == NEWLINE)

        def readinto() -> int:
            buffer = bytearray(1 << 20)
            found = 0
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    found += buffer.count(b"\n", 0, count)
            return found

        def zilla() -> int:
            return self.stringzilla.Str(self.stringzilla.File(str(path))).count("\n")

        ways = [
            call("ours", 'mk.open, m.count(b"\\n")', ours),
            call("ours", 'mk.open, m.count(b"\\n", threads=2)', ours_in_two),
            *command("ours", (*OURS, "count"), path, _first_number),
            *command("rival", ("wc", "-l"), path, _first_number, target=2.5),
            *command("rival", (*RIPGREP, "-c", "^"), path, _first_number),
            call("rival", "np.count_nonzero(np.memmap == 10)", memmap, target=4),
            *self._zilla('Str(File(path)).count("\\n")', zilla, target=1.8),
            call("rival", "readinto, bytearray.count", readinto),
            *self._bandwidth(self.m.count(b"\n")),
        ]
        return self._compare("count newlines, opened anew", ways, ["wc", "rg"])

    def find(self, what: str, needle: bytes) -> Comparison:
        m, s, data = self.m, self.s, self.data
        word = needle.decode()
        one = ("-m", "1", "-o", "-b", "-F", word)
        compiled = re.compile(re.escape(needle))

        def search() -> int:
            found = compiled.search(s)
            return found.start() if found else -1

        ways = [
            call("ours", "m.find(needle)", lambda: m.find(needle)),
            call("ours", "m.find(needle, threads=2)", lambda: m.find(needle, threads=2)),
            *command("ours", (*OURS, "search", *one), self.path, _first_number, hide=[word]),
            call("rival", "mmap.find(needle)", lambda: s.find(needle), target=8),
            *self._zilla("z.find(needle)", lambda: self.z.find(needle), target=1),
            *command("rival", (*RIPGREP, *one), self.path, _first_number, hide=[word], target=1),
            call("rival", "re.search(needle, mmap)", search),
            call("rival", "bytes.find(needle), read beforehand", lambda: data.find(needle)),
            *self._bandwidth(m.find(needle)),
        ]
        return self._compare(f"find {what}", ways, ["rg"])

    def find_all(self) -> Comparison:
        m, a = self.m, self.a

        def ours() -> np.ndarray:
            return m.find_all(b"\n")

        def numpy() -> np.ndarray:
            return np.flatnonzero(a == NEWLINE)

        ways = [
            call("ours", 'm.find_all(b"\\n")', ours),
            call("rival", "np.flatnonzero(a == 10)", numpy, target=3),
        ]
        found = self._compare("find_all of the newline", ways)
        mine, theirs = _allocated(ours), _allocated(numpy)
        share = mine / theirs
        verdict = "met" if share <= MEMORY_SHARE else "missed"
        return found.remark(
            0,
            f"allocates {mine >> 20} MiB, {share:.2f} of numpy's {theirs >> 20}, "
            f"target <= {MEMORY_SHARE}: {verdict}",
        )

    def pattern(self) -> Comparison:
        m, s = self.m, self.s
        source = self.text.pattern.decode()
        pattern = re.compile(self.text.pattern)

        def ours(threads: int = 1) -> list[tuple[int, bytes]]:
            return [(hit.line_number, hit.line) for hit in m.search(pattern, threads=threads)]

        def mapped() -> list[tuple[int, bytes]]:
            found = []
            number, counted = 1, 0
            for match in pattern.finditer(s):
                start = s.rfind(b"\n", 0, match.start()) + 1
                number += s[counted:start].count(b"\n")
                counted = start
                found.append((number, s[start : s.find(b"\n", match.end())]))
            return found

        def by_line() -> list[tuple[int, bytes]]:
            with self.path.open("rb") as file:
                return [
                    (number, line[:-1])
                    for number, line in enumerate(file, 1)
                    if pattern.search(line)
                ]

        ways = [
            call("ours", "m.search(pattern)", ours),
            call("ours", "m.search(pattern, threads=2)", lambda: ours(2)),
            *command("ours", (*OURS, "search", "-n", source), self.path, _numbered),
            *command("rival", (*RIPGREP, "-n", source), self.path, _numbered, target=1),
            call("rival", "pattern.finditer(mmap), lines counted", mapped, target=5),
            call("rival", "for line in file: pattern.search(line)", by_line),
            *self._bandwidth(ours()),
        ]
        return self._compare(f"every line with {source}, and its number", ways, ["rg"], slow=True)

    def find_any(self) -> Comparison:
        m, s = self.m, self.s
        words = list(self.text.words)
        alternation = re.compile(b"|".join(map(re.escape, words)))
        which = {word: number for number, word in enumerate(words)}

        def ours() -> list[tuple[int, int]]:
            offsets, picks = m.find_any(words)
            return list(zip(offsets.tolist(), picks.tolist(), strict=True))

        def read(output: bytes) -> list[tuple[int, int]]:
            pairs = (line.split(b":", 1) for line in output.splitlines())
            return [(int(offset), which[word]) for offset, word in pairs]

        options = [option for word in words for option in ("-e", word.decode())]
        ways = [
            call("ours", "m.find_any(words)", ours),
            *command("rival", (*RIPGREP, "-o", "-b", "-F", *options), self.path, read,
                     hide=options),
            call("rival", "re.finditer(alternation, mmap)",
                 lambda: [(t.start(), which[t[0]]) for t in alternation.finditer(s)]),
        ]  # fmt: skip
        return self._compare(f"every one of {len(words)} literals", ways, ["rg"], slow=True)

    def ignore_case(self) -> Comparison:
        m, s = self.m, self.s
        needle = self.text.rare.upper()
        compiled = re.compile(re.escape(needle), re.IGNORECASE)
        word = needle.decode()
        one = ("-m", "1", "-o", "-b", "-i", "-F", word)

        def search() -> int:
            found = compiled.search(s)
            return found.start() if found else -1

        def zilla() -> int:
            return self.z.utf8_uncased_search(needle)

        ways = [
            call("ours", "m.find(needle, ignore_case=True)",
                 lambda: m.find(needle, ignore_case=True)),
            *self._zilla("z.utf8_uncased_search(needle)", zilla, target=1),
            *command("rival", (*RIPGREP, *one), self.path, _first_number, hide=[word], target=1),
            call("rival", "re.search(needle, mmap, IGNORECASE)", search),
        ]  # fmt: skip
        return self._compare("find a rare literal, whatever the case", ways, ["rg"], slow=True)

    def build_lines(self) -> Comparison:
        m, s, a = self.m, self.s, self.a

        def readlines() -> int:
            s.seek(0)
            return sum(1 for _ in iter(s.readline, b""))

        ways = [
            call("ours", "len(m.lines())", lambda: len(m.lines())),
            call("rival", "len(np.flatnonzero(a == 10) + 1)",
                 lambda: len(np.flatnonzero(a == NEWLINE) + 1)),
            call("rival", "mmap.readline, every line", readlines),
            *self._bandwidth(len(m.lines())),
        ]  # fmt: skip
        found = self._compare("index of lines, built", ways, slow=True)
        rate = self.size / found.lines[0].median_s / 1e9
        verdict = "met" if rate >= INDEX_GB_S else "missed"
        return found.remark(0, f"{rate:.1f} GB/s, target >= {INDEX_GB_S}: {verdict}")

    def random_lines(self) -> Comparison:
        m, s = self.m, self.s
        lines = m.lines()
        picks = random_offsets(len(lines), RANDOM_LINES).tolist()
        ends = np.flatnonzero(self.a == NEWLINE)
        o = array("q", np.concatenate([[0], ends + 1]).tobytes())

        ways = [
            call("ours", "[lines[i] for i in picks]", lambda: [lines[i] for i in picks]),
            call("rival", "[s[o[i]:o[i + 1] - 1] for i in picks], an array of offsets",
                 lambda: [s[o[i] : o[i + 1] - 1] for i in picks]),
        ]  # fmt: skip
        work = f"{RANDOM_LINES:,} random lines by their numbers, {self.text.name}"
        return compare(work, ways, self.effort)


def _first_number(output: bytes) -> int:
    """The number at the output's start; -1 if there is nothing."""
    found = re.match(rb"\s*(\d+)", output)
    return int(found[1]) if found else -1


def _numbered(output: bytes) -> list[tuple[int, bytes]]:
    """Lines after their numbers."""
    pairs = (line.split(b":", 1) for line in output.split(b"\n")[:-1])
    return [(int(number), line) for number, line in pairs]


def _allocated(function: Callable[[], object]) -> int:
    """The most that Python and numpy have allocated at once, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- lines by number ------------------------------------------------------------------------------


def _lines(text: Text, effort: Effort) -> Comparison:
    """One line by its number; the rivals keep every line, or every offset."""
    path = text.path
    with path.open("rb") as file:
        s = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    kept = list(iter(s.readline, b""))
    starts = np.concatenate([[0], np.flatnonzero(np.frombuffer(s, np.uint8) == NEWLINE) + 1])
    offsets = starts.tolist()
    i = len(kept) // 2
    linecache.getlines(str(path))
    with mk.open(path) as m:
        lines = m.lines()
        ways = [
            Way("ours", "lines[i]", "lines[i]", {"lines": lines, "i": i}),
            Way("rival", "s[o[i]:o[i + 1] - 1], a list of offsets", "s[o[i]:o[i + 1] - 1]",
                {"s": s, "o": offsets, "i": i}),
            Way("rival", "list of mmap.readline: every line in memory", "kept[i]",
                {"kept": kept, "i": i}, answer="kept[i][:-1]"),
            Way("rival", "linecache.getline(path, i + 1)", "getline(path, i + 1)",
                {"getline": linecache.getline, "path": str(path), "i": i},
                answer="getline(path, i + 1)[:-1].encode()"),
        ]  # fmt: skip
        found = compare(f"one line by its number, {text.name}", ways, effort)
    linecache.clearcache()
    nanoseconds = found.lines[0].median_s * 1e9
    verdict = "met" if nanoseconds < LINE_NS else "missed"
    return found.remark(0, f"target < {LINE_NS} ns: {verdict}")


# --- texts that are made to be hard ---------------------------------------------------------------


def _adversarial(text: Text, effort: Effort) -> Comparison:
    """Needles of 64 bytes of which nearly every byte occurs nearly everywhere, but not in a row."""
    log = text.path.read_bytes()
    size = len(log)
    coin = np.random.default_rng(7)
    sides = np.frombuffer(b"ab", np.uint8)
    flips, needle = (sides[coin.integers(0, 2, count)].tobytes() for count in (size, 64))
    cases = {
        "a log": (log, b"a" * 63 + b"b"),
        "aaa...ab in aaa...": (b"a" * size, b"a" * 63 + b"b"),
        "baaa...a in aaa...": (b"a" * size, b"b" + b"a" * 63),
        "abab...bb in abab...": (b"ab" * (size // 2), b"ab" * 31 + b"bb"),
        "random a and b": (flips, needle),
    }
    mapped = {}
    for name, (haystack, _) in cases.items():
        mapped[name] = mmap.mmap(-1, size)
        mapped[name][: len(haystack)] = haystack
    ways = [_hard("ours", "mk.find", mk.find, name, mapped[name], cases[name][1]) for name in cases]
    ways += [
        _hard("rival", "mmap.find", mmap.mmap.find, name, mapped[name], cases[name][1])
        for name in cases
    ]
    modules, missing = rivals.installed("stringzilla")
    if modules:
        zilla = modules["stringzilla"].find
        ways += [
            _hard("rival", "stringzilla.find", zilla, name, haystack, needle)
            for name, (haystack, needle) in cases.items()
        ]
    found = compare(
        f"find a literal of 64 bytes that is not there, {size >> 20} MiB",
        ways, effort, byte_count=size, rounds=min(effort.big_rounds, SLOW_ROUNDS), missing=missing,
    )  # fmt: skip
    return _against_the_log(found, ways, len(cases))


def _adversarial_set(folder: Path, text: Text, effort: Effort) -> Comparison:
    """Several literals at once, whose first bytes occur nearly everywhere."""
    log = text.path.read_bytes()
    size = len(log)
    coin = np.random.default_rng(7)
    sides = np.frombuffer(b"ab", np.uint8)
    flips = sides[coin.integers(0, 2, size)].tobytes()
    runs = [b"a" * length + b"b" for length in (8, 12, 16, 20, 24, 32, 48, 63)]
    tosses = [sides[coin.integers(0, 2, 64)].tobytes() for _ in range(64)]
    cases = {
        "a log": (log, runs),
        "8 that begin as each line's host": (log, [b" host-%02d~" % i for i in range(8)]),
        "aab and aaa...ab in aaa...": (b"a" * size, [b"aab", runs[-1]]),
        "8 of aaa...ab in aaa...": (b"a" * size, runs),
        "64 of aaa...ab in aaa...": (b"a" * size, [b"a" * n + b"b" for n in range(8, 72)]),
        "8 of abab...bb in abab...": (b"ab" * (size // 2), [b"ab" * len(r) + b"bb" for r in runs]),
        "8 random a and b": (flips, tosses[:8]),
        "64 random a and b": (flips, tosses),
    }
    ours, theirs = [], []
    for number, (name, (haystack, needles)) in enumerate(cases.items()):
        path = folder / f"hostile-{number}"
        path.write_bytes(haystack)
        mapped = mmap.mmap(-1, size)
        mapped[: len(haystack)] = haystack
        ours.append(_hard("ours", "mk.find_any", _count_of_any, name, mapped, needles))
        options = [word for needle in needles for word in ("-e", needle.decode())]
        found = command("rival", (*RIPGREP, "-o", "-b", "-F", *options), path,
                        lambda output: len(output.splitlines()), hide=options)  # fmt: skip
        theirs += [dataclasses.replace(way, name=f"{way.name}: {name}") for way in found]
    found = compare(
        f"find several literals that are not there, {size >> 20} MiB", [*ours, *theirs], effort,
        byte_count=size, rounds=min(effort.big_rounds, SLOW_ROUNDS), missing=commands.missing("rg"),
    )  # fmt: skip
    return _against_the_log(found, [*ours, *theirs], len(cases))


def _count_of_any(haystack: Any, needles: Sequence[bytes]) -> int:
    return len(mk.find_any(haystack, needles)[0])


def _against_the_log(found: Comparison, ways: Sequence[Way], case_count: int) -> Comparison:
    """Remark how much longer each case takes than the first one, the log."""
    for index in range(len(ways)):
        easy = found.lines[index // case_count * case_count].median_s
        if index % case_count:
            times = found.lines[index].median_s / easy
            remark = f"{times:.2g}x its time for a log"
            if ways[index].role == "ours":
                verdict = "met" if times <= ADVERSARIAL else "missed"
                remark += f", target <= {ADVERSARIAL:g}x: {verdict}"
            found = found.remark(index, remark)
    return found


def _hard(
    role: Any, label: str, function: Callable[..., int], name: str, haystack: Any, needle: Any
) -> Way:
    return call(role, f"{label}: {name}", lambda: function(haystack, needle))


# --- processes, and cold files --------------------------------------------------------------------


def _start_up(folder: Path, effort: Effort) -> Comparison:
    """The same commands on a file of nothing: what of their time is not searching."""
    path = folder / "empty"
    path.touch()

    def count(output: bytes) -> int:
        return max(_first_number(output), 0)  # rg prints no 0

    ways = [
        *command("ours", (*OURS, "count"), path, count),
        *command("ours", (*OURS, "search", "-n", "a"), path, count),
        *command("rival", ("wc", "-l"), path, count),
        *command("rival", (*RIPGREP, "-n", "a"), path, count),
        *command("limit", (sys.executable, "-c", "pass"), path, count),
    ]
    ways[-1] = Way("limit", "$ python -c pass", ways[-1].statement, ways[-1].names, ways[-1].answer)
    work = "commands on an empty file: their start-up"
    missing = commands.missing("wc", "rg")
    return compare(work, ways, effort, rounds=effort.process_rounds, missing=missing)


def _cold(files: Files, text: Text, helper: Any, effort: Effort) -> Comparison:
    """A pass that finds nothing, in processes of their own, beside the device."""
    work = f"find an absent literal, cold, {text.name}"
    try:
        cool = files.cooler(text.path)
    except NotCold as error:
        return Comparison(work, skipped=str(error))
    device = limits.words_from_device(helper, text.path, cool)
    total = int(np.fromfile(text.path, np.uint64).sum())
    names = {**device.names, "total": total}
    statement = f"-1 if {device.statement} == total else None"
    device = Way(device.role, device.name, statement, names, prepare=device.prepare)
    return children.compare(
        work, "search_child", FINDS, text.path, effort, cool=cool, device=device
    )
