"""`mmapkit search`: the lines of files that match a pattern, as grep prints them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import mmapkit
from mmapkit.cli.inputs import opened
from mmapkit.cli.options import add_threads, parser_of, positive
from mmapkit.cli.output import Failures, Output, complain

TYPE_CHECKING = False  # importing typing would cost more than all of this command
if TYPE_CHECKING:
    from typing import Final

    from mmapkit.mapping import Mapping
    from mmapkit.text.search import Hit

__all__ = ["main"]

FOUND: Final = 0
NOT_FOUND: Final = 1
ERROR: Final = 2

# What `grep --color` writes: ECMA-48, Select Graphic Rendition.
MATCH, NAME, NUMBER, COLON = b"01;31", b"35", b"32", b"36"

_SHORT_BYTES: Final = 1 << 16
# A pattern without these is a literal, which is found faster.
_SPECIAL: Final = re.compile(rb"[.^$*+?{}\[\]\\|()]")


def main(arguments: Sequence[str]) -> int:
    """Search; 0 if there was a match, 1 if there was none, 2 after an error."""
    options = _parser().parse_args(arguments)
    try:
        search = _Search(options)
    except re.error as error:
        return complain(f"the pattern {options.pattern!r} is wrong: {error}", ERROR)
    output = Output()
    report = _report(options)(options, output)
    failures = Failures(output)
    found = False
    for name in options.files:
        with failures, opened(name) as text:
            found |= report.file(os.fsencode(name), text, search.hits(text))
    output.flush()
    if failures.any:
        return ERROR
    return FOUND if found else NOT_FOUND


# --- what is found --------------------------------------------------------------------------------


class _Search:
    """What is looked for, and how."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Compile the pattern; raises `re.error`."""
        source = os.fsencode(options.pattern)
        self.pattern: bytes | re.Pattern[bytes] = source
        self.ignore_case = options.ignore_case
        # An empty literal is on every line, as for grep; so is an empty pattern.
        if source and (options.fixed_string or not _SPECIAL.search(source)):
            self.whole_text = b"\n" in source
        else:
            from mmapkit.text.engines import engine_of

            self.pattern = re.compile(source, re.IGNORECASE if options.ignore_case else 0)
            self.ignore_case = False  # it is in the pattern
            self.whole_text = engine_of(self.pattern).analysis.whole_text
        self.whole_text |= options.multiline
        self.threads = options.threads
        self.most_lines = options.max_count

    def hits(self, text: Mapping | bytes) -> Iterator[Hit]:
        """The matches in a text, on as many lines as are wanted."""
        hits = self._all(text, self.whole_text, self.threads)
        return hits if self.most_lines is None else self._first(text, hits, self.most_lines)

    def _all(
        self, text: Mapping | bytes | memoryview, whole_text: bool, threads: int
    ) -> Iterator[Hit]:
        return mmapkit.search(
            text, self.pattern, ignore_case=self.ignore_case, multiline=whole_text, threads=threads
        )

    def _first(self, text: Mapping | bytes, hits: Iterator[Hit], most: int) -> Iterator[Hit]:
        lines = line_number = 0
        for hit in hits:
            if hit.line_number != line_number:
                lines += 1
                line_number = hit.line_number
                if lines > most:
                    return
                if lines == most and not self.whole_text:
                    # Asking for the next match might go through the rest of the file.
                    start = _line_start(text, hit)
                    for other in self._all(hit.line, True, 1):
                        yield hit._replace(offset=start + other.offset, end=start + other.end)
                    return
            yield hit


class _Block:
    """The line of a match, or the lines that it spans; with the other matches there."""

    __slots__ = ("end", "hits", "line_number", "start")

    def __init__(self, text: Mapping | bytes, hit: Hit) -> None:
        self.start = _line_start(text, hit)
        self.end = self.start + len(hit.line)  # of the last line, before its newline
        self.line_number = hit.line_number
        self.hits = [hit]
        if bytes(text[self.end : self.end + 1]) == b"\r":
            self.end += 1
        self._reach(text, hit)

    def add(self, text: Mapping | bytes, hit: Hit) -> None:
        """Take one more match, that begins here, and the lines that it reaches into."""
        self.hits.append(hit)
        self._reach(text, hit)

    def _reach(self, text: Mapping | bytes, hit: Hit) -> None:
        # The last byte of the match may be the newline.
        if hit.end > self.end + 1:
            end = mmapkit.find(text, b"\n", hit.end - 1)
            self.end = len(text) if end < 0 else end


def _blocks(text: Mapping | bytes, hits: Iterator[Hit]) -> Iterator[_Block]:
    block = None
    try:
        for hit in hits:
            if block is None:
                block = _Block(text, hit)
            elif hit.offset <= block.end:
                block.add(text, hit)
            else:
                yield block
                block = _Block(text, hit)
    except OSError:
        if block is not None:
            yield block  # found before the file was cut, or its device failed
        raise
    if block is not None:
        yield block


def _line_start(text: Mapping | bytes, hit: Hit) -> int:
    """Where the line of a match begins; the match may begin with the ending of the line."""
    lowest = max(0, hit.offset - len(hit.line) - len(b"\r\n"))
    if hit.offset - lowest < _SHORT_BYTES:
        found = bytes(text[lowest : hit.offset]).rfind(b"\n")  # cheaper than a search
        return lowest + found + 1
    found = mmapkit.rfind(text, b"\n", lowest, hit.offset)
    return lowest if found < 0 else found + 1


# --- what is printed ------------------------------------------------------------------------------


class _Report:
    """Prints what is found in each file, in a way of its own."""

    def __init__(self, options: argparse.Namespace, output: Output) -> None:
        self.output = output
        self.options = options
        self.colour = output.wants_colour(options.color)
        self.colon = self.paint(COLON, b":")

    def file(self, name: bytes, text: Mapping | bytes, hits: Iterator[Hit]) -> bool:
        """Report on one file; tell whether there was a match."""
        raise NotImplementedError

    def write_object(self, **fields: bytes | int) -> None:
        """Write a line of JSON."""
        from mmapkit.cli.jsonlines import write_object

        write_object(self.output, **fields)

    def prefix(self, name: bytes, number: int | None = None, offset: int | None = None) -> bytes:
        """The file's name, the line's number and the offset, where they are asked for."""
        parts = []
        if len(self.options.files) > 1:
            parts.append(self.paint(NAME, name))
        if self.options.line_number and number is not None:
            parts.append(self.paint(NUMBER, b"%d" % number))
        if self.options.byte_offset and offset is not None:
            parts.append(self.paint(NUMBER, b"%d" % offset))
        parts.append(b"")
        return self.colon.join(parts)

    def paint(self, colour: bytes, data: bytes) -> bytes:
        """Some bytes in colour, if there is any."""
        return b"\x1b[%bm%b\x1b[m" % (colour, data) if self.colour else data

    def marked(self, line: bytes, start: int, block: _Block) -> bytes:
        """A line, with what matched in it in colour."""
        if not self.colour:
            return line
        parts, at = [], 0
        for hit in block.hits:
            first, last = max(hit.offset - start, at), min(hit.end - start, len(line))
            if first < last:
                parts += [line[at:first], self.paint(MATCH, line[first:last])]
                at = last
        return b"".join([*parts, line[at:]])


class _Lines(_Report):
    """The lines with matches."""

    def file(self, name: bytes, text: Mapping | bytes, hits: Iterator[Hit]) -> bool:
        block = None
        for block in _blocks(text, hits):
            start = block.start
            lines = bytes(text[start : block.end]).split(b"\n")
            for number, line in enumerate(lines, block.line_number):
                prefix = self.prefix(name, number, start)
                self.output.write(prefix + self.marked(line, start, block) + b"\n")
                start += len(line) + 1
        return block is not None


class _Matches(_Report):
    """The matches alone, those that are not empty."""

    def file(self, name: bytes, text: Mapping | bytes, hits: Iterator[Hit]) -> bool:
        hit = None
        for hit in hits:
            if hit.offset < hit.end:
                match = self.paint(MATCH, bytes(text[hit.offset : hit.end]))
                prefix = self.prefix(name, hit.line_number, hit.offset)
                self.output.write(prefix + match + b"\n")
        return hit is not None


class _Counts(_Report):
    """How many lines have a match, or have one begin on them."""

    def file(self, name: bytes, text: Mapping | bytes, hits: Iterator[Hit]) -> bool:
        count = sum(1 for _ in groupby(hits, attrgetter("line_number")))
        if self.options.json:
            self.write_object(file=name, count=count)
        else:
            self.output.write(self.prefix(name) + b"%d\n" % count)
        return count > 0


class _Names(_Report):
    """The names of the files that have a match."""

    def file(self, name: bytes, text: Mapping | bytes, hits: Iterator[Hit]) -> bool:
        if next(hits, None) is None:
            return False
        if self.options.json:
            self.write_object(file=name)
        else:
            self.output.write(self.paint(NAME, name) + b"\n")
        return True


class _Objects(_Report):
    """The matches in JSON, with their lines or alone."""

    def file(self, name: bytes, text: Mapping | bytes, hits: Iterator[Hit]) -> bool:
        hit = None
        for hit in hits:
            where = {"line_number": hit.line_number, "offset": hit.offset, "end": hit.end}
            if self.options.only_matching:
                self.write_object(file=name, **where, match=bytes(text[hit.offset : hit.end]))
            else:
                self.write_object(file=name, **where, line=bytes(hit.line))
        return hit is not None


def _report(options: argparse.Namespace) -> type[_Report]:
    if options.count:
        return _Counts
    if options.files_with_matches:
        return _Names
    if options.json:
        return _Objects
    return _Matches if options.only_matching else _Lines


# --- the command line -----------------------------------------------------------------------------

_DESCRIPTION = """\
Prints the lines of each FILE that match PATTERN, a regular expression of Python's re module over
bytes: "." is one byte, and letters beyond ASCII are several. Lines end at a newline; ^ and $ hold
for each line, and no match spans lines unless the pattern names the newline (\\n), switches the
flag s on, or --multiline is given. Binary files are searched as any other, and what is printed are
the file's own bytes. FILE "-" is standard input. Pipes are read to their end first."""

_EPILOG = """\
exit status:
  0  a line matched
  1  no line matched
  2  an error: a file that cannot be read (the others are still searched), a wrong pattern

--json prints one object for each match, on a line of its own:
  {"file": text, "line_number": 1.., "offset": 0.., "end": 0.., "line": text}
offset and end are those of the match in the file, in bytes; line is the line on which it begins,
without its ending. With -o, "match": text stands in the place of "line". With -c the object is
{"file": text, "count": 0..}, with -l {"file": text}. A text is a string if its bytes are UTF-8,
else {"bytes": "..."} with the bytes in base64.

example:
  mmapkit search -n 'ERROR.*timeout' server.log"""


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("search", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("pattern", metavar="PATTERN", help="what to look for")
    add("files", nargs="+", metavar="FILE", help="where")
    add("-F", "--fixed-string", action="store_true", help="PATTERN is a literal")
    add("-i", "--ignore-case", action="store_true", help="ASCII letters match in either case")
    add("--multiline", action="store_true", help="matches may span lines")
    add("-n", "--line-number", action="store_true", help="print the line's number, from 1")
    add(
        "-b",
        "--byte-offset",
        action="store_true",
        help="print the offset in the file at which the line begins, or with -o the match",
    )
    add("-o", "--only-matching", action="store_true", help="print the match only, not its line")
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "-c", "--count", action="store_true", help="print how many lines of each file match"
    )
    either.add_argument(
        "-l",
        "--files-with-matches",
        action="store_true",
        help="print the names of files that match",
    )
    add(
        "-m",
        "--max-count",
        type=positive,
        metavar="NUM",
        help="stop after so many lines of each file",
    )
    add("--json", action="store_true", help="print objects, see below")
    add(
        "--color",
        "--colour",
        choices=("auto", "always", "never"),
        default="auto",
        help="mark matches; auto, the default: on a terminal, unless NO_COLOR is set",
    )
    add_threads(parser)
    return parser
