"""Lines that may match: those that contain a literal which every match contains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from mmapkit import _scan
from mmapkit.errors import MappingFault
from mmapkit.text.literals import Requirement
from mmapkit.text.reading import Source
from mmapkit.text.windows import Crew, windows

if TYPE_CHECKING:
    from mmapkit.passes.progress import Report

__all__ = ["Candidate", "Candidates", "Plan", "Wanted", "lines_of"]

# What is looked through before the first of few hits is given: nothing to wait for.
STEP_BYTES: Final = 4 << 20
# Where literals are counted, to tell which is rare.
SAMPLES: Final = 16
SAMPLE_BYTES: Final = 4 << 10
# A literal that is found in more than this share of the lines tells too little.
COMMON_SHARE: float = 0.5
# Lines of one batch are copied in one piece if it is few bytes, or not so many times theirs.
NEAR: Final = 4
NEAR_BYTES: Final = 64 << 10

Candidate = tuple[int, int, int, int, int]  # offset, size, line start, line end, lines before


class Wanted(NamedTuple):
    """What the kernels look for."""

    needle: _scan.Needle | _scan.Needles
    shortest: int  # in bytes

    @classmethod
    def one_of(cls, literals: Sequence[bytes], fold: bool) -> Self:
        """Any of some literals."""
        if len(literals) == 1:
            return cls(_scan.Needle(literals[0], fold), len(literals[0]))
        return cls(_scan.Needles(list(literals), fold), min(map(len, literals)))


class Candidates:
    """Batches of the lines in which a literal occurs.

    If bytes were lost, MappingFault is raised after what is certain has come.

    Parameters
    ----------
    once : bool
        Only the first occurrence in each line.
    spans_lines : bool
        The literal has a newline in it.
    """

    def __init__(
        self,
        source: Source,
        wanted: Wanted,
        crew: Crew,
        progress: bool | Report,
        *,
        once: bool = True,
        spans_lines: bool = False,
    ) -> None:
        """Promise the candidates of a text; nothing is looked at yet."""
        self.source = source
        self._needle, self._shortest = wanted
        self._once = once
        self._spans_lines = spans_lines
        self._crew = Crew(1) if spans_lines else crew
        self._progress = progress
        self._last: Candidate | None = None

    def __iter__(self) -> Iterator[list[Candidate]]:
        """Go through the text once."""
        source, crew = self.source, self._crew
        stop = source.size - self._shortest + 1
        if stop <= 0:
            return
        ranges: Any = windows(source.text, 0, stop, progress=self._progress)
        batches: Iterator[list[Candidate]]
        batches = self._shared(ranges) if crew.size > 1 else self._alone(ranges)
        try:
            with crew, closing(ranges):
                for batch in batches:
                    if batch:
                        self._last = batch[-1]
                        yield batch
        except MappingFault as fault:
            source.know_of_faults()
            found, fault.found = fault.found, None
            yield from self._certain(found)
            raise

    def _certain(self, spanning: Any) -> Iterator[list[Candidate]]:
        """What is left in the lines that end before the first byte that was lost."""
        if self._spans_lines:
            yield spanning or []
            return
        text, last = self.source.text, self._last
        start, number = (0, 0) if last is None else (last[2], last[4])
        try:
            stop = self.source.whole_lines(start, self.source.first_lost(start))
            scanner = _scan.LineScanner(self._needle, once=self._once, start=start)
            while batch := scanner.next(text, stop, stop):
                found = [(*each[:4], each[4] + number) for each in batch]
                yield [each for each in found if last is None or each[0] > last[0]]
        except MappingFault:  # more was lost meanwhile
            return

    def _alone(self, ranges: Iterable[tuple[int, int]]) -> Iterator[list[Candidate]]:
        scanner = _scan.LineScanner(self._needle, once=self._once)
        text, size = self.source.text, self.source.size
        for first, last in ranges:
            for stop in range(min(first + STEP_BYTES, last), last + STEP_BYTES, STEP_BYTES):
                while batch := scanner.next(text, min(stop, last), size):
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
            newline = source.find_newline(first - 1, last - 1, interrupt)
            if newline < 0:
                return found, 0
            first = newline + 1
        stop = min(source.line_end(last - 1, interrupt) + 1, source.size)
        scanner = _scan.LineScanner(self._needle, once=self._once, start=first)
        while batch := scanner.next(source.text, stop, stop, interrupt):
            found += batch
        return found, _scan.count_byte(source.text, 10, first, stop, interrupt)


def lines_of(
    source: Source, batch: list[Candidate]
) -> Iterator[tuple[int, bytes | memoryview, int]]:
    """Start, content and number of the lines of a batch; close together, they are copied as one."""
    if not batch:
        return
    first, last, size = batch[0][2], batch[-1][3], source.size
    near = max(NEAR * sum(each[3] - each[2] for each in batch), NEAR_BYTES)
    near = min(near, source.long_line_bytes)
    block = source.read_if_whole(first, last) if last - first <= near else None
    if block is None:
        for _, _, start, end, number in batch:
            yield start, source.line(start, end), number
        return
    returns = b"\r" in block
    for _, _, start, end, number in batch:
        line = block[start - first : end - first]
        if returns and end < size and line[-1:] == b"\r":
            line = line[:-1]
        yield start, line, number


class Plan:
    """Which literals the kernels look for, and which ones a line has to have besides."""

    def __init__(self, source: Source, requirements: tuple[Requirement, ...]) -> None:
        """Look at a sample of the text; without literals that are rare nothing is wanted."""
        self.wanted: Wanted | None = None
        # What each line has to have, too: all of these literals, and one of each of these sets.
        self.all_of = [each.alternatives[0] for each in requirements if _is_plain(each)]
        self.one_of = [
            each.alternatives for each in requirements if not each.fold and not _is_plain(each)
        ]
        ways = [(each, each.alternatives) for each in requirements]
        # One literal that all alternatives contain is found faster than several.
        ways += [
            (each, (shared,))
            for each in requirements
            if len(each.alternatives) > 1 and len(shared := _shared_literal(each)) > 1
        ]
        if not ways:
            return
        sample = _sample(source)
        folded = sample.lower()
        counts = [
            sum(map((folded if each.fold else sample).count, literals)) for each, literals in ways
        ]
        rarest = min(range(len(ways)), key=lambda i: (counts[i], len(ways[i][1]) > 1))
        if counts[rarest] > COMMON_SHARE * (sample.count(b"\n") + 1):
            return
        requirement, literals = ways[rarest]
        self.wanted = Wanted.one_of(literals, requirement.fold)
        if requirement.fold or literals != requirement.alternatives:
            return
        if _is_plain(requirement):
            self.all_of.remove(literals[0])
        else:
            self.one_of.remove(literals)

    def has_one_of_each(self, line: bytes) -> bool:
        """Tell whether a line has one of each set."""
        return all(any(literal in line for literal in literals) for literals in self.one_of)


def _is_plain(requirement: Requirement) -> bool:
    return len(requirement.alternatives) == 1 and not requirement.fold


def _shared_literal(requirement: Requirement) -> bytes:
    """The longest literal that all alternatives contain."""
    shortest = min(requirement.alternatives, key=len)
    for size in range(len(shortest), 0, -1):
        for start in range(len(shortest) - size + 1):
            part = shortest[start : start + size]
            if all(part in other for other in requirement.alternatives):
                return part
    return b""


def _sample(source: Source) -> bytes:
    """Pieces of the text from all over it."""
    last = max(0, source.size - SAMPLE_BYTES)
    starts = {last * i // (SAMPLES - 1) for i in range(SAMPLES)}
    # What is lost is told when the search gets there.
    pieces = (source.read_if_whole(at, min(source.size, at + SAMPLE_BYTES)) for at in starts)
    return b"\n".join(piece for piece in pieces if piece is not None)
