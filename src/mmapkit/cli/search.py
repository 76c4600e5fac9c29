"""`mmapkit search`: the lines of files that match a pattern, as grep prints them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import mmapkit
from mmapkit.cli.inputs import opened
from mmapkit.cli.options import add_threads, parser_of, positive
from mmapkit.cli.output import Output, complain, describe

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


def main(arguments: Sequence[str]) -> int:
    """Search; 0 if there was a match, 1 if there was none, 2 after an error."""
    options = _parser().parse_args(arguments)
    try:
        pattern = _pattern(options)
    except re.error as error:
        return complain(f"the pattern {options.pattern!r} is wrong: {error}", ERROR)
    output = Output()
    report = _report(options)(options, output)
    found = failed = False
    for name in options.files:
        try:
            with opened(name) as text:
                found |= report.file(os.fsencode(name), text, _blocks(text, pattern, options))
        except OSError as error:
            output.flush()
            complain(describe(error))
            failed = True
    output.flush()
    if failed:
        return ERROR
    return FOUND if found else NOT_FOUND


def _pattern(options: argparse.Namespace) -> bytes | re.Pattern[bytes]:
    text = os.fsencode(options.pattern)
    if options.fixed_string:
        return text
    return re.compile(text, re.IGNORECASE if options.ignore_case else 0)


# --- what is found --------------------------------------------------------------------------------


class _Block:
    """The line of a match, or the lines that it spans; with the other matches there."""

    __slots__ = ("end", "hits", "line_number", "start")

    def __init__(self, start: int, end: int, hit: Hit) -> None:
        self.start = start
        self.end = end  # of the last line, before its newline
        self.line_number = hit.line_number
        self.hits = [hit]


def _blocks(
    text: Mapping | bytes, pattern: bytes | re.Pattern[bytes], options: argparse.Namespace
) -> Iterator[_Block]:
    """Search a text, and put the matches together that are on the same lines."""
    hits = mmapkit.search(
        text,
        pattern,
        ignore_case=options.ignore_case and options.fixed_string,  # in a regex it is compiled
        multiline=options.multiline or None,
        threads=options.threads,
    )
    most = 1 if options.files_with_matches else options.max_count
    return islice(_put_together(text, hits), most)


def _put_together(text: Mapping | bytes, hits: Iterator[Hit]) -> Iterator[_Block]:
    block = None
    for hit in hits:
        if block is None or hit.offset > block.end:
            if block is not None:
                yield block
            start = mmapkit.rfind(text, b"\n", 0, hit.offset) + 1
            block = _Block(start, _line_end(text, hit), hit)
        else:
            block.hits.append(hit)
            if hit.end > block.end:
                block.end = _line_end(text, hit)
    if block is not None:
        yield block


def _line_end(text: Mapping | bytes, hit: Hit) -> int:
    """Where the last line of a match ends; the last byte of the match may be the newline."""
    end = mmapkit.find(text, b"\n", max(hit.offset, hit.end - 1))
    return len(text) if end < 0 else end


# --- what is printed ------------------------------------------------------------------------------


class _Report:
    """Prints what was found in each file: here, the lines."""

    def __init__(self, options: argparse.Namespace, output: Output) -> None:
        self.write = output.write
        self.output = output
        self.options = options
        self.colour = output.wants_colour(options.color)

    def file(self, name: bytes, text: Mapping | bytes, blocks: Iterator[_Block]) -> bool:
        """Report on one file; tell whether there was a match."""
        found = False
        for block in blocks:
            self.block(name, text, block)
            found = True
        return found

    def block(self, name: bytes, text: Mapping | bytes, block: _Block) -> None:
        """Print each of its lines."""
        start = block.start
        lines = bytes(text[start : block.end]).split(b"\n")
        for number, line in enumerate(lines, block.line_number):
            self.write(self.prefix(name, number, start) + self.marked(line, start, block) + b"\n")
            start += len(line) + 1

    def prefix(self, name: bytes, number: int | None = None, offset: int | None = None) -> bytes:
        """The file's name, the line's number and the offset, where they are asked for."""
        parts = []
        if len(self.options.files) > 1:
            parts.append(self.paint(NAME, name))
        if self.options.line_number and number is not None:
            parts.append(self.paint(NUMBER, b"%d" % number))
        if self.options.byte_offset and offset is not None:
            parts.append(self.paint(NUMBER, b"%d" % offset))
        colon = self.paint(COLON, b":")
        return b"".join(part + colon for part in parts)

    def paint(self, colour: bytes, data: bytes) -> bytes:
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


class _Matches(_Report):
    """The matches alone, those that are not empty."""

    def block(self, name: bytes, text: Mapping | bytes, block: _Block) -> None:
        for hit in block.hits:
            if hit.offset < hit.end:
                match = self.paint(MATCH, bytes(text[hit.offset : hit.end]))
                self.write(self.prefix(name, hit.line_number, hit.offset) + match + b"\n")


class _Counts(_Report):
    """How many lines have a match, or how many runs of lines have one that spans them."""

    def file(self, name: bytes, text: Mapping | bytes, blocks: Iterator[_Block]) -> bool:
        count = sum(1 for _ in blocks)
        self.count(name, count)
        return count > 0

    def count(self, name: bytes, count: int) -> None:
        self.write(self.prefix(name) + b"%d\n" % count)


class _Names(_Report):
    """The names of the files that have a match."""

    def block(self, name: bytes, text: Mapping | bytes, block: _Block) -> None:
        self.write(self.paint(NAME, name) + b"\n")


class _JsonMatches(_Report):
    def block(self, name: bytes, text: Mapping | bytes, block: _Block) -> None:
        from mmapkit.cli.jsonlines import write_object

        for hit in block.hits:
            what = {"line": bytes(hit.line)}
            if self.options.only_matching:
                what = {"match": bytes(text[hit.offset : hit.end])}
            write_object(
                self.output,
                file=name,
                line_number=hit.line_number,
                offset=hit.offset,
                end=hit.end,
                **what,
            )


class _JsonCounts(_Counts):
    def count(self, name: bytes, count: int) -> None:
        from mmapkit.cli.jsonlines import write_object

        write_object(self.output, file=name, count=count)


class _JsonNames(_Report):
    def block(self, name: bytes, text: Mapping | bytes, block: _Block) -> None:
        from mmapkit.cli.jsonlines import write_object

        write_object(self.output, file=name)


def _report(options: argparse.Namespace) -> Callable[[argparse.Namespace, Output], _Report]:
    if options.count:
        return _JsonCounts if options.json else _Counts
    if options.files_with_matches:
        return _JsonNames if options.json else _Names
    if options.json:
        return _JsonMatches
    return _Matches if options.only_matching else _Report


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
