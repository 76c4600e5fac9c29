"""Regular expressions and literals, line by line or in the whole text.

The kernels find the lines that may match, by a literal that every match contains; the engine runs
on these alone. Where a pattern has no such literal, it runs on all lines, many at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mmapkit import _scan
from mmapkit.errors import MappingFault
from mmapkit.mapping import Mapping
from mmapkit.passes.progress import progress_for
from mmapkit.text.engines import Engine, Text, engine_of
from mmapkit.text.find import find
from mmapkit.text.literals import Requirement
from mmapkit.text.windows import Crew, size_of, windows

if TYPE_CHECKING:
    from mmapkit.passes.progress import Report
    from mmapkit.text.find import type_of_text

__all__ = ["Hit", "search"]

# Lines up to this are copied; longer ones are views.
LONG_LINE_BYTES: Final = 1 << 20
# What is copied to run an engine on all of its lines.
BLOCK_BYTES: Final = 256 << 10
# Lines of one batch are copied in one piece if it is few bytes, or not so many times theirs.
NEAR: Final = 4
NEAR_BYTES: Final = 64 << 10
# Where literals are counted, to tell which is rare.
SAMPLES: Final = 16
SAMPLE_BYTES: Final = 4 << 10
# A literal that is found in more than this share of the lines tells too little.
COMMON_SHARE: Final = 0.5

# Of more alternatives than these it is not asked whether all are absent.
MAX_LOOKED_FOR: Final = 8

NEWLINE: Final = _scan.Needle(b"\n")

Candidate = tuple[int, int, int, int, int]  # offset, size, line start, line end, lines before


class Hit(NamedTuple):
    """An occurrence, and the line in which it begins.

    Attributes
    ----------
    offset, end : int
        Where it begins and ends in the text, in bytes.
    line_number : int
        Counted from 1.
    line : bytes or memoryview
        Without its ending; a copy up to 1 MiB, beyond that a read-only view that keeps the text's
        memory alive.
    match : object
        What the engine found: for `re` a `re.Match` on the line or, where the pattern runs over the
        whole text, on the text; None for a literal.
    """

    offset: int
    end: int
    line_number: int
    line: bytes | memoryview
    match: Any


_hit = tuple.__new__  # without the detour through keywords: hits come by the million


def search(
    text: type_of_text,
    pattern: Any,
    *,
    ignore_case: bool = False,
    multiline: bool | None = None,
    threads: int | None = 1,
    progress: bool | Report = False,
) -> Iterator[Hit]:
    """Iterate over what a literal or a regular expression finds, with line and line number.

    The unit is the line, as in grep: ``^`` and ``$`` hold in each, nothing reaches across, and the
    hits are those of ``pattern.finditer(line)`` for each line without its ending (``\\n``, or
    ``\\r\\n``). A pattern that sets DOTALL or names newline itself runs over the whole text, and
    gives what ``pattern.finditer(text)`` gives.

    Parameters
    ----------
    text : Mapping or bytes-like
        What is searched, as far as hits are asked for. What it grows by meanwhile is not.
    pattern : bytes-like or compiled pattern
        Bytes are a literal, and found without overlaps. A regular expression is compiled from bytes
        by `re`, google-re2, pcre2 or hyperscan.
    ignore_case : bool
        For a literal: also find ASCII letters of the other case.
    multiline : bool, optional
        True runs a regular expression over the whole text, False over lines; a literal may then not
        reach into a line's ending.
    threads : int or None
        How many look for lines that may match; None for one on each core. The engine runs in the
        thread that iterates.
    progress : bool or callable
        Called with the bytes done and the bytes in all from time to time; True draws a bar.

    Yields
    ------
    Hit

    Raises
    ------
    TypeError
        At once, if the pattern is of str or is none.
    ValueError
        At once, if the literal is empty, or if `ignore_case` comes with a compiled pattern. While
        iterating, if the mapping is closed or has become shorter by `resize()`.
    MappingFault
        While iterating, if bytes were lost; what was found before them has come.

    Examples
    --------
    >>> import re
    >>> import mmapkit as mk
    >>> log = b"10:01 ok\\n10:02 ERROR timeout of 5 s\\n10:03 ok\\n"
    >>> found = mk.search(log, re.compile(rb"ERROR.* (\\d+) s"))
    >>> [(hit.line_number, hit.match[1]) for hit in found]
    [(2, b'5')]
    """
    size = size_of(text)
    if multiline not in (None, True, False):
        raise TypeError(f"multiline must be True, False or None, not {multiline!r}")
    crew = Crew(threads)
    source = _Source(text, size)
    if isinstance(pattern, bytes | bytearray | memoryview):
        literal = bytes(pattern)
        if not literal:
            raise ValueError("the literal to search is empty: it would be found everywhere")
        needle = _scan.Needle(literal, ignore_case)
        spans = b"\n" in literal
        found = _Candidates(source, needle, crew, progress, once=False, spans_lines=spans)
        return _literal_hits(found, within=multiline is False)
    if isinstance(pattern, str):
        raise TypeError(f"bytes are searched, not str: give {pattern[:40]!r}.encode()")
    engine = engine_of(pattern)
    if ignore_case:
        raise ValueError(
            "ignore_case goes with a literal; a pattern is compiled so, as with re.IGNORECASE"
        )
    if engine.analysis.whole_text if multiline is None else multiline:
        return _in_whole(source, engine, progress)
    return _in_lines(source, engine, crew, progress)


# --- the text -------------------------------------------------------------------------------------


class _Source:
    """Bytes of a mapping, guarded, or of a buffer, which is held."""

    def __init__(self, text: Any, size: int) -> None:
        self.text = text
        self.size = size
        self.mapping = text if isinstance(text, Mapping) else None
        if isinstance(text, bytes):
            self.read: Callable[[int, int], bytes] = lambda start, stop: text[start:stop]
        elif self.mapping is not None:
            self.read = lambda start, stop: text.read(start, stop - start)
        else:
            whole = _flat(text)
            self.read = lambda start, stop: bytes(whole[start:stop])

    def view(self, start: int, stop: int) -> memoryview:
        """Bytes without a copy."""
        if self.mapping is not None:
            return self.mapping[start:stop].toreadonly()
        return _flat(self.text)[start:stop].toreadonly()

    def whole(self) -> Text:
        """All bytes without a copy."""
        if isinstance(self.text, bytes):
            return self.text
        found = self.view(0, self.size)
        if len(found) < self.size:
            raise ValueError(
                f"the text has become shorter than the {self.size} bytes it had: {len(found)}"
            )
        return found

    def line(self, start: int, end: int) -> bytes | memoryview:
        """A line without its ending; `end` is where its newline is, or the end of the text."""
        if end < self.size and end > start and self.read(end - 1, end) == b"\r":
            end -= 1
        return self.read(start, end) if end - start <= LONG_LINE_BYTES else self.view(start, end)

    def read_if_whole(self, start: int, stop: int) -> bytes | None:
        """A copy, or None if bytes of it were lost."""
        try:
            return self.read(start, stop)
        except MappingFault:
            return None

    def find_newline(self, start: int, stop: int) -> int:
        """Where the first one in a range is, or -1."""
        return _scan.find(self.text, NEWLINE, start, stop, stop) if start < stop else -1

    def line_end(self, start: int) -> int:
        """Where the newline of a line is, or the end of the text."""
        at = self.find_newline(start, self.size)
        return self.size if at < 0 else at

    def whole_lines(self, start: int, stop: int) -> int:
        """Where the last line ends that is all in a range, with its newline."""
        at = _scan.rfind(self.text, NEWLINE, start, stop, stop) if start < stop else -1
        return start if at < 0 else at + 1

    def first_lost(self, fault: MappingFault) -> int:
        """Offset in the text of the first byte that a fault tells to be lost."""
        return max(0, fault.offset - self.mapping.offset) if self.mapping is not None else 0

    def unharmed(self, found: Iterable[Any]) -> Iterator[Any]:
        """Pass on what was found in a view, while no bytes of it are lost."""
        if self.mapping is None:
            yield from found
            return
        before = self.mapping.faults
        for each in found:
            if self.mapping.faults != before:
                break
            yield each
        if self.mapping.faults != before:
            raise self.mapping._take_fault()


def _flat(buffer: Any) -> memoryview:
    view = memoryview(buffer)
    return view.cast("B") if view.nbytes else memoryview(b"")


# --- lines that may match -------------------------------------------------------------------------


class _Candidates:
    """Batches of the lines in which a literal occurs.

    After a fault come those that are certain, and iteration ends; `fault` is to be raised then.

    Parameters
    ----------
    once : bool
        Only the first occurrence in each line.
    spans_lines : bool
        The literal has a newline in it.
    """

    def __init__(
        self,
        source: _Source,
        needle: _scan.Needle,
        crew: Crew,
        progress: bool | Report,
        *,
        once: bool = True,
        spans_lines: bool = False,
    ) -> None:
        self.source = source
        self.fault: MappingFault | None = None
        self._needle = needle
        self._once = once
        self._spans_lines = spans_lines
        self._crew = Crew(1) if spans_lines else crew
        self._progress = progress
        self._last: Candidate | None = None

    def __iter__(self) -> Iterator[list[Candidate]]:
        source, crew = self.source, self._crew
        stop = source.size - self._needle.size + 1
        if stop <= 0:
            return
        ranges = windows(source.text, 0, stop, progress=self._progress, cut=crew.size > 1)
        try:
            with crew, closing(ranges):
                for batch in self._shared(ranges) if crew.size > 1 else self._alone(ranges):
                    if batch:
                        self._last = batch[-1]
                        yield batch
        except MappingFault as fault:
            self.fault = fault
            yield from self._certain(fault)

    def _certain(self, fault: MappingFault) -> Iterator[list[Candidate]]:
        """What is left in the lines that end before the first byte that was lost."""
        if self._spans_lines:
            yield fault.found or []
            return
        text, last = self.source.text, self._last
        start, number = (0, 0) if last is None else (last[2], last[4])
        try:
            stop = self.source.whole_lines(start, self.source.first_lost(fault))
            scanner = _scan.LineScanner(self._needle, once=self._once, start=start)
            while batch := scanner.next(text, stop, stop):
                found = [(*each[:4], each[4] + number) for each in batch]
                yield [each for each in found if last is None or each[0] > last[0]]
        except MappingFault:  # more was lost meanwhile
            return

    def _alone(self, ranges: Iterable[tuple[int, int]]) -> Iterator[list[Candidate]]:
        scanner = _scan.LineScanner(self._needle, once=self._once)
        text, size = self.source.text, self.source.size
        for _, last in ranges:
            while batch := scanner.next(text, last, size):
                yield batch

    def _shared(self, ranges: Iterable[tuple[int, int]]) -> Iterator[list[Candidate]]:
        number = 0
        for first, last in ranges:
            for _, (found, lines) in self._crew.run(self._part, first, last):
                yield [(*each[:4], each[4] + number) for each in found]
                number += lines

    def _part(
        self, first: int, last: int, interrupt: bytearray | None
    ) -> tuple[list[Candidate], int]:
        """Candidates of the lines that start in a range, numbered from the first of them on, and
        how many lines these are."""
        source, found = self.source, list[Candidate]()
        if first > 0:
            newline = source.find_newline(first - 1, last - 1)
            if newline < 0:
                return found, 0
            first = newline + 1
        stop = min(source.line_end(last - 1) + 1, source.size)
        scanner = _scan.LineScanner(self._needle, once=self._once, start=first)
        while batch := scanner.next(source.text, stop, stop, interrupt):
            found += batch
        return found, _scan.count_byte(source.text, 10, first, stop, interrupt)


def _literal_hits(candidates: _Candidates, *, within: bool) -> Iterator[Hit]:
    """Hits of a literal; `within` leaves out what is not all in one line without its ending."""
    source, new = candidates.source, _hit
    known = -1
    for batch in candidates:
        for offset, size, start, end, number in batch:
            if start != known:
                line, known = source.line(start, end), start
            if within and offset + size > start + len(line):
                continue
            yield new(Hit, (offset, offset + size, number + 1, line, None))
    if candidates.fault is not None:
        raise candidates.fault


# --- an engine on lines ---------------------------------------------------------------------------


def _in_lines(
    source: _Source, engine: Engine, crew: Crew, progress: bool | Report
) -> Iterator[Hit]:
    plan = _Plan(source, engine.analysis.requirements)
    if plan.needle is None:
        yield from _in_blocks(source, engine, progress)
        return
    candidates = _Candidates(source, plan.needle, crew, progress)
    finditer, others, new, long = engine.finditer, plan.others, _hit, LONG_LINE_BYTES
    for batch in candidates:
        for start, line, number in _lines_of(source, batch):
            if len(line) > long:
                for match in source.unharmed(finditer(line)):
                    begin, end = match.span()
                    yield new(Hit, (start + begin, start + end, number + 1, line, match))
                continue
            for literals in others:
                if not any(literal in line for literal in literals):
                    break
            else:
                for match in finditer(line):
                    begin, end = match.span()
                    yield new(Hit, (start + begin, start + end, number + 1, line, match))
    if candidates.fault is not None:
        raise candidates.fault


def _lines_of(
    source: _Source, batch: list[Candidate]
) -> Iterator[tuple[int, bytes | memoryview, int]]:
    """Start, content and number of the lines of a batch; close together, they are copied as one."""
    if not batch:
        return
    first, last, size = batch[0][2], batch[-1][3], source.size
    near = max(NEAR * sum(each[3] - each[2] for each in batch), NEAR_BYTES)
    near = min(near, LONG_LINE_BYTES)
    block = source.read_if_whole(first, last) if last - first <= near else None
    if block is None:
        for _, _, start, end, number in batch:
            yield start, source.line(start, end), number
        return
    for _, _, start, end, number in batch:
        line = block[start - first : end - first]
        if end < size and line[-1:] == b"\r":
            line = line[:-1]
        yield start, line, number


class _Plan:
    """Which literal the kernels look for, and which ones a line has to have besides."""

    def __init__(self, source: _Source, requirements: tuple[Requirement, ...]) -> None:
        self.needle: _scan.Needle | None = None
        # Sets of which each line has one.
        self.others = [each.alternatives for each in requirements if not each.fold]
        ways = [(each, found) for each in requirements if (found := _shared_literal(each))]
        if not ways:
            return
        sample = _sample(source)
        folded = sample.lower()
        counts = [(folded if each.fold else sample).count(literal) for each, literal in ways]
        rarest = min(range(len(ways)), key=counts.__getitem__)
        if counts[rarest] > COMMON_SHARE * (sample.count(b"\n") + 1):
            return
        requirement, literal = ways[rarest]
        self.needle = _scan.Needle(literal, requirement.fold)
        if requirement.alternatives == (literal,) and not requirement.fold:
            self.others.remove(requirement.alternatives)


def _shared_literal(requirement: Requirement) -> bytes:
    """The longest literal that all alternatives contain."""
    shortest = min(requirement.alternatives, key=len)
    for size in range(len(shortest), 0, -1):
        for start in range(len(shortest) - size + 1):
            part = shortest[start : start + size]
            if all(part in other for other in requirement.alternatives):
                return part
    return b""


def _sample(source: _Source) -> bytes:
    """Pieces of the text from all over it."""
    last = max(0, source.size - SAMPLE_BYTES)
    starts = {last * i // (SAMPLES - 1) for i in range(SAMPLES)}
    # What is lost is told when the search gets there.
    pieces = (source.read_if_whole(at, min(source.size, at + SAMPLE_BYTES)) for at in starts)
    return b"\n".join(piece for piece in pieces if piece is not None)


# --- an engine on all lines -----------------------------------------------------------------------


def _in_blocks(source: _Source, engine: Engine, progress: bool | Report) -> Iterator[Hit]:
    """Hits of a pattern that may match in any line."""
    blocks = _Blocks(engine)
    at = number = 0
    with closing(windows(source.text, 0, source.size, progress=progress, cut=True)) as ranges:
        for _, last in ranges:
            while at < last:
                block, fault = _block(source, at)
                if block:
                    yield from blocks.hits(block, at, number)
                    at += len(block)
                    number += block.count(b"\n")
                if fault is not None:
                    raise fault
                if not block:
                    end = source.line_end(at)
                    yield from _long_line_hits(source, engine, at, end, number)
                    at, number = min(end + 1, source.size), number + 1


def _block(source: _Source, start: int) -> tuple[bytes, MappingFault | None]:
    """A copy of some whole lines, none if the first one is longer than a block; and the fault that
    ended it."""
    stop = min(source.size, start + BLOCK_BYTES)
    fault = None
    try:
        block = source.read(start, stop)
    except MappingFault as error:
        fault = error
        block = source.read(start, max(start, source.first_lost(error)))
    if fault is not None or stop < source.size:
        block = block[: block.rfind(b"\n") + 1]
    return block, fault


def _long_line_hits(
    source: _Source, engine: Engine, start: int, end: int, number: int
) -> Iterator[Hit]:
    line = source.line(start, end)
    found = engine.finditer(line)
    for match in found if isinstance(line, bytes) else source.unharmed(found):
        begin, stop = match.span()
        yield Hit(start + begin, start + stop, number + 1, line, match)


class _Blocks:
    """Runs an engine on the lines of one block after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._joined = engine.search_joined is not None

    def hits(self, block: bytes, at: int, number: int) -> Iterator[Hit]:
        """Hits in whole lines; `at` is where they are in the text, `number` how many are before."""
        returns = b"\r\n" in block
        lines = 0
        joined = self._joined and (not returns or self._engine.analysis.despite_returns)
        find = self._matching_joined if joined else self._matching
        finditer, new = self._engine.finditer, _hit
        for start, line, before in find(block, returns):
            lines += 1
            start += at
            for match in finditer(line):
                begin, end = match.span()
                yield new(Hit, (start + begin, start + end, number + before + 1, line, match))
        # Where most lines match, finding them first does not pay.
        self._joined = self._engine.search_joined is not None and lines * 2 < block.count(b"\n") + 1

    def _matching(self, block: bytes, returns: bool) -> Iterator[tuple[int, bytes, int]]:
        """Lines with a match, each looked at alone: start, content, how many are before."""
        ended = block.endswith(b"\n")
        raw = (block[:-1] if ended else block).split(b"\n")
        lines = raw
        if returns:
            lines = [line[:-1] if line[-1:] == b"\r" else line for line in raw]
            lines[-1] = lines[-1] if ended else raw[-1]
        probe = self._engine.probe
        picked: Iterable[int] = range(len(lines))
        if probe is not None:
            picked = [i for i, line in enumerate(lines) if probe(line)]
        start = before = 0
        for i in picked:
            start += sum(map(len, raw[before:i])) + i - before
            before = i
            yield start, lines[i], i

    def _matching_joined(self, block: bytes, returns: bool) -> Iterator[tuple[int, bytes, int]]:
        """The same by one search through all of them, and maybe lines without a match."""
        search = self._engine.search_joined
        assert search is not None
        end = len(block) - block.endswith(b"\n")
        start = counted = before = 0
        while start <= end and (match := search(block, start, end)):
            at = match.span()[0]
            start = max(start, block.rfind(b"\n", start, at) + 1)
            before += block.count(b"\n", counted, start)
            counted = start
            stop = block.find(b"\n", at, end)
            stop = end if stop < 0 else stop
            cut = returns and stop < len(block) and block[stop - 1 : stop] == b"\r" and stop > start
            yield start, block[start : stop - cut], before
            start = stop + 1


# --- an engine on the whole text ------------------------------------------------------------------


def _in_whole(source: _Source, engine: Engine, progress: bool | Report) -> Iterator[Hit]:
    text, size = source.text, source.size
    if any(_is_absent(source, each) for each in engine.analysis.requirements):
        return
    # A text that is not long is copied: then nothing of it can get lost.
    whole = source.read(0, size) if size <= LONG_LINE_BYTES else source.whole()
    found = engine.finditer(whole)
    start = known = number = 0  # of the line under way: its start, a place in it, lines before
    stop = -1  # where its newline is
    line: Text = b""
    with progress_for(progress, size) as tell:
        for match in found if isinstance(whole, bytes) else source.unharmed(found):
            begin, end = match.span()
            if begin > stop:
                number += _scan.count_byte(text, 10, known, begin)
                start = max(start, source.whole_lines(known, begin))
                known, stop = begin, source.line_end(begin)
                line = source.line(start, stop)
            yield Hit(begin, end, number + 1, line, match)
            tell(end)
        tell(size)


def _is_absent(source: _Source, requirement: Requirement) -> bool:
    literals = requirement.alternatives
    return len(literals) <= MAX_LOOKED_FOR and all(
        find(source.text, each, 0, source.size, ignore_case=requirement.fold) < 0
        for each in literals
    )
