"""Regular expressions and literals, line by line or in the whole text.

The kernels find the lines that may match, by a literal that every match contains; the engine runs
on these alone. Where a pattern has no such literal, it runs on all lines, many at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mmapkit import _scan
from mmapkit.errors import MappingFault
from mmapkit.passes.progress import progress_for
from mmapkit.text.candidates import Candidates, Plan, Wanted, lines_of
from mmapkit.text.engines import Engine, Found, Text, engine_of
from mmapkit.text.find import find
from mmapkit.text.literals import Requirement
from mmapkit.text.reading import Source
from mmapkit.text.windows import Crew, size_of, windows

if TYPE_CHECKING:
    from mmapkit.passes.progress import Report
    from mmapkit.text.calls import type_of_text

__all__ = ["Hit", "search"]

# What is copied to run an engine on all of its lines.
BLOCK_BYTES: Final = 256 << 10
# How far the literal is looked for that matches in the whole text begin with.
HEADS_BYTES: Final = 1 << 20
# Of more alternatives than these it is not asked whether all are absent.
MAX_LOOKED_FOR: Final = 8


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

    Notes
    -----
    The iterator is for one thread at a time, as all generators are: a free-threaded CPython 3.13
    crashes if two ask one of them at once. Any number of searches may run side by side.

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
    source = Source(text, size)
    if isinstance(pattern, bytes | bytearray | memoryview):
        literal = bytes(pattern)
        if not literal:
            raise ValueError("the literal to search is empty: it would be found everywhere")
        wanted = Wanted.one_of([literal], ignore_case)
        spans = b"\n" in literal
        found = Candidates(source, wanted, crew, progress, once=False, spans_lines=spans)
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


def _literal_hits(candidates: Candidates, *, within: bool) -> Iterator[Hit]:
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
    source.settle()


# --- an engine on lines ---------------------------------------------------------------------------


def _in_lines(source: Source, engine: Engine, crew: Crew, progress: bool | Report) -> Iterator[Hit]:
    plan = Plan(source, engine.analysis.requirements)
    if plan.wanted is None:
        yield from _in_blocks(source, engine, progress)
        return
    candidates = Candidates(source, plan.wanted, crew, progress)
    finditer, new = engine.finditer, _hit
    all_of, has_one_of_each = plan.all_of, plan.has_one_of_each if plan.one_of else None
    for batch in candidates:
        for start, line, number in lines_of(source, batch):
            found: Iterable[Found]
            if not isinstance(line, bytes):
                found = source.unharmed(finditer(line))
            else:
                for literal in all_of:
                    if literal not in line:
                        break
                else:
                    literal = b""
                if literal or (has_one_of_each and not has_one_of_each(line)):
                    continue
                found = finditer(line)
            for match in found:
                begin, end = match.span()
                yield new(Hit, (start + begin, start + end, number + 1, line, match))
    source.settle()


# --- an engine on all lines -----------------------------------------------------------------------


def _in_blocks(source: Source, engine: Engine, progress: bool | Report) -> Iterator[Hit]:
    """Hits of a pattern that may match in any line."""
    blocks = _Blocks(engine)
    at = number = 0
    ranges: Any = windows(source.text, 0, source.size, progress=progress)
    with closing(ranges):
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
    source.settle()


def _block(source: Source, start: int) -> tuple[bytes, MappingFault | None]:
    """A copy of some whole lines, none if the first one is longer than a block; and the fault that
    ended it."""
    stop = min(source.size, start + BLOCK_BYTES)
    fault = None
    try:
        block = source.read(start, stop)
    except MappingFault as error:
        fault = error
        block = source.read(start, source.first_lost(start))
    if fault is not None or stop < source.size:
        block = block[: block.rfind(b"\n") + 1]
    return block, fault


def _long_line_hits(
    source: Source, engine: Engine, start: int, end: int, number: int
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
        # Most lines match: to find out first which ones do would not pay.
        self._dense = False

    def hits(self, block: bytes, at: int, number: int) -> Iterator[Hit]:
        """Hits in whole lines; `at` is where they are in the text, `number` how many are before."""
        engine, returns = self._engine, b"\r\n" in block
        if self._dense or (engine.probe is None and engine.search_joined is None):
            find = _all_lines
        elif engine.search_joined and (not returns or engine.analysis.despite_returns):
            find = self._matching_joined
        else:
            find = self._matching
        finditer, new, matching = engine.finditer, _hit, 0
        for start, line, before in find(block, returns):
            start += at
            match = None
            for match in finditer(line):
                begin, end = match.span()
                yield new(Hit, (start + begin, start + end, number + before + 1, line, match))
            matching += match is not None
        self._dense = 2 * matching > block.count(b"\n")

    def _matching(self, block: bytes, returns: bool) -> Iterator[tuple[int, bytes, int]]:
        """Lines with a match, each looked at alone."""
        raw, lines = _split(block, returns)
        probe = self._engine.probe
        assert probe is not None
        start = before = 0
        for i in [i for i, line in enumerate(lines) if probe(line)]:
            start += sum(map(len, raw[before:i])) + i - before
            before = i
            yield start, lines[i], i

    def _matching_joined(self, block: bytes, returns: bool) -> Iterator[tuple[int, bytes, int]]:
        """Lines with a match, and maybe others, by one search through all of them."""
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


def _split(block: bytes, returns: bool) -> tuple[list[bytes], list[bytes]]:
    """Lines up to their newlines, and without their endings."""
    ended = block.endswith(b"\n")
    raw = (block[:-1] if ended else block).split(b"\n")
    if not returns:
        return raw, raw
    lines = [line[:-1] if line[-1:] == b"\r" else line for line in raw]
    if not ended:
        lines[-1] = raw[-1]
    return raw, lines


def _all_lines(block: bytes, returns: bool) -> Iterator[tuple[int, bytes, int]]:
    """Each line: start, content, how many are before."""
    raw, lines = _split(block, returns)
    start = 0
    for i, line in enumerate(lines):
        yield start, line, i
        start += len(raw[i]) + 1


# --- an engine on the whole text ------------------------------------------------------------------


def _in_whole(source: Source, engine: Engine, progress: bool | Report) -> Iterator[Hit]:
    text, size = source.text, source.size
    if any(_is_absent(source, each) for each in engine.analysis.requirements):
        return
    # A text that is not long is copied: then nothing of it can get lost.
    whole = source.read(0, size) if size <= source.long_line_bytes else source.whole()
    head = engine.analysis.head if engine.match_at else None
    found = _from_heads(source, engine, head, whole) if head else engine.finditer(whole)
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
    source.settle()


def _from_heads(source: Source, engine: Engine, head: Requirement, whole: Text) -> Iterator[Found]:
    """What `finditer` finds, tried only where the literals are that each match begins with."""
    match_at = engine.match_at
    assert match_at is not None
    needle, shortest = Wanted.one_of(head.alternatives, head.fold)
    text, size, done = source.text, source.size, 0
    last = size - shortest + 1
    for start in range(0, last, HEADS_BYTES):
        first, stop = max(start, done), min(start + HEADS_BYTES, last)
        if first >= stop:
            continue
        try:
            if isinstance(needle, _scan.Needle):
                offsets, _ = _scan.find_all(text, needle, first, stop, size, True)
            else:
                offsets, _, _ = _scan.find_any(text, needle, first, stop, size, True)
        except MappingFault as fault:
            fault.found = None
            raise
        for at in memoryview(offsets):
            if at >= done and (match := match_at(whole, at)):
                done = match.span()[1]
                yield match


def _is_absent(source: Source, requirement: Requirement) -> bool:
    literals = requirement.alternatives
    return len(literals) <= MAX_LOOKED_FOR and all(
        find(source.text, each, 0, source.size, ignore_case=requirement.fold) < 0
        for each in literals
    )
