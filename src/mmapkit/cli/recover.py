"""`mmapkit recover`: complete the commits to files that were interrupted."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from mmapkit.cli.options import parser_of
from mmapkit.cli.output import Failures, Output

TYPE_CHECKING = False  # importing typing would cost more than all of this command
if TYPE_CHECKING:
    from typing import Final

__all__ = ["main"]

REFUSED: Final = 2


def main(arguments: Sequence[str]) -> int:
    """Recover; 0, or 2 if one of the files could not be."""
    options = _parser().parse_args(arguments)
    from mmapkit.durable.recovery import recover

    output = Output()
    failures = Failures(output)
    for name in options.files:
        with failures:
            count = recover(name, discard=options.discard, force=options.force)
            output.write(b"%b: %b\n" % (os.fsencode(name), _told(count, options.discard)))
    output.flush()
    return REFUSED if failures.any else 0


def _told(count: int, discarded: bool) -> bytes:
    if discarded:
        return b"no journal any more"
    if not count:
        return b"nothing to recover"
    return b"1 commit recovered" if count == 1 else b"%d commits recovered" % count


_DESCRIPTION = """\
Completes the commits to each FILE that a crash interrupted, from the journal beside it, and removes
the journal. Opening the file for writing with mmapkit does the same."""

_EPILOG = """\
exit status: 0, or 2 if a file cannot be recovered (the others are still tried). A journal that is
damaged, or does not belong to the file as it is now, is refused: nothing is changed then.

--discard and --force are for journals that are refused:
  --discard  leaves the file as it is, perhaps with some pages of a commit and without others
  --force    overwrites what is in the file now, perhaps a newer or another one

example:
  mmapkit recover data.npy"""


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("recover", _DESCRIPTION, _EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a data file, not its journal")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--discard", action="store_true", help="throw the journal away instead")
    choice.add_argument(
        "--force", action="store_true", help="apply it even if the file has changed since"
    )
    return parser
