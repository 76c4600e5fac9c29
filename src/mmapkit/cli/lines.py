"""`mmapkit lines`: lines of a file by their numbers, at once however long the file is."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Sequence

import mmapkit
from mmapkit.cli.inputs import STDIN, opened
from mmapkit.cli.options import parser_of
from mmapkit.cli.output import Output, complain, describe
from mmapkit.errors import FormatError, JournalError
from mmapkit.mapping import Mapping

__all__ = ["main"]

_RANGE = re.compile(r" ?(?:(-?\d+)|(-?\d+)?:(-?\d+)?)")


def main(arguments: Sequence[str]) -> int:
    """Print the lines; 0, or 1 if that failed."""
    # argparse takes "-10:" for an option, but not what begins with a space.
    shielded = [" " + word if re.match("-[0-9]", word) else word for word in arguments]
    options = _parser().parse_args(shielded)
    output = Output()
    try:
        with opened(options.file) as text:
            index = options.index and isinstance(text, Mapping) and options.file != STDIN
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always", RuntimeWarning)
                lines = mmapkit.lines(text, keepends=True, index=index)
            if warned:
                complain(str(warned[-1].message))
            chosen = lines[options.range]
            for line in [chosen] if isinstance(options.range, int) else chosen:
                output.write(line)
    except (OSError, JournalError) as error:
        output.flush()
        return complain(describe(error))
    except FormatError:
        name = f"{options.file}.lines"
        return complain(f"{name!r} is no index of lines, and is left as it is: use --no-index")
    except IndexError:
        message = f"there is no line {options.range} in {options.file!r}, which has {len(lines)}"
        return complain(message)
    output.flush()
    return 0


def _range(word: str) -> int | slice:
    """``A`` or ``A:B`` as an index."""
    found = _RANGE.fullmatch(word)
    if found is None:
        raise argparse.ArgumentTypeError(f"{word!r} is neither A nor A:B with whole numbers")
    alone, first, last = found.groups()
    if alone is not None:
        return int(alone)
    return slice(first and int(first), last and int(last))


_DESCRIPTION = """\
Prints lines of FILE as they are, by their numbers. A:B means what it means in Python: lines are
numbered from 0, A is the first, B is the one after the last; negative numbers count from the end,
and A or B may be left out. A alone is one line. ("search -n" and editors number lines from 1:
their line N is N-1 here.)

Where the lines begin is kept in FILE.lines, which is made on first use where that is possible, and
brought up to date when FILE has grown; so that the next time takes no time. FILE "-" is standard
input; it and pipes are read to their end, and have no such file."""

_EPILOG = """\
exit status: 0, or 1 if the file cannot be read or the line A does not exist.

examples:
  mmapkit lines server.log 1000000:1000010    ten lines
  mmapkit lines server.log -10:               the last ten
  mmapkit lines server.log 0                  the first"""


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("lines", _DESCRIPTION, _EPILOG)
    parser.add_argument("file", metavar="FILE", help="a file of text")
    parser.add_argument("range", type=_range, metavar="A:B", help="which lines")
    parser.add_argument(
        "--no-index",
        dest="index",
        action="store_false",
        help="neither use nor make FILE.lines: go through the file",
    )
    return parser
