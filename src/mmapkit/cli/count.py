"""`mmapkit count`: the lines of files, or how often a literal occurs in them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import mmapkit
from mmapkit.cli.inputs import opened
from mmapkit.cli.options import add_threads, parser_of
from mmapkit.cli.output import FAILED, Failures, Output

TYPE_CHECKING = False  # importing typing would cost more than all of this command
if TYPE_CHECKING:
    from mmapkit.mapping import Mapping

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Count; 0, or 1 if there was an error."""
    options = _parser().parse_args(arguments)
    output = Output()
    failures = Failures(output)
    total = 0
    for name in options.files:
        with failures:
            with opened(name) as text:
                count = _count(text, options)
            total += count
            _print(output, options, count, os.fsencode(name))
    if len(options.files) > 1 and not options.json:
        output.write(b"%d total\n" % total)
    output.flush()
    return FAILED if failures.any else 0


def _count(text: Mapping | bytes, options: argparse.Namespace) -> int:
    if options.of is not None:
        return mmapkit.count(text, os.fsencode(options.of), threads=options.threads)
    newlines = mmapkit.count(text, b"\n", threads=options.threads)
    lacks_last = len(text) > 0 and text[len(text) - 1] != ord("\n")
    return newlines + lacks_last


def _print(output: Output, options: argparse.Namespace, count: int, name: bytes) -> None:
    if not options.json:
        output.write(b"%d %b\n" % (count, name))
        return
    from mmapkit.cli.jsonlines import write_object

    what = {"lines": count} if options.of is None else {"count": count}
    write_object(output, file=name, **what)


_DESCRIPTION = """\
Prints how many lines each FILE has, and the total of several. A last line that lacks its newline
counts, as it does for grep and for Python; "wc -l" leaves it out. FILE "-" is standard input."""

_EPILOG = """\
exit status: 0, or 1 if a file cannot be read (the others are still counted).

--json prints one object for each file, on a line of its own: {"file": text, "lines": 0..}, or with
--of {"file": text, "count": 0..}. A text is a string if its bytes are UTF-8, else {"bytes": "..."}
with the bytes in base64.

example:
  mmapkit count --of ' 404 ' access.log"""


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("count", _DESCRIPTION, _EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to count in")
    parser.add_argument(
        "--of",
        metavar="TEXT",
        help="count this literal instead of lines; where it overlaps itself, as bytes.count does",
    )
    parser.add_argument("--json", action="store_true", help="print objects, see below")
    add_threads(parser)
    return parser
