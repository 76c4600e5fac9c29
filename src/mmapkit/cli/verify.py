"""`mmapkit verify`: whether files show every commit, and whether their journals are sound."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from mmapkit.cli.options import parser_of
from mmapkit.cli.output import Failures, Output

TYPE_CHECKING = False  # importing typing would cost more than all of this command
if TYPE_CHECKING:
    from typing import Final

    from mmapkit.durable.recovery import Report

__all__ = ["main"]

NEEDS_RECOVERY: Final = 1
WRONG: Final = 2
# State of a file -> exit status, if not 0.
STATUSES: Final = {"needs recovery": NEEDS_RECOVERY, "damaged": WRONG}


def main(arguments: Sequence[str]) -> int:
    """Verify; 0, 1 if a file needs recovery, 2 if there was something worse."""
    options = _parser().parse_args(arguments)
    from mmapkit.durable.recovery import verify

    output = Output()
    failures = Failures(output)
    status = 0
    for name in options.files:
        with failures:
            report = verify(name)
            _print(output, options, name, report)
            status = max(status, STATUSES.get(report.state, 0))
    output.flush()
    return WRONG if failures.any else status


def _print(output: Output, options: argparse.Namespace, name: str, report: Report) -> None:
    if options.json:
        from mmapkit.cli.jsonlines import write_object

        known = {} if report.commits is None else {"commits": report.commits}
        told = {"message": os.fsencode(report.message)} if report.message else {}
        write_object(output, file=os.fsencode(name), state=report.state.encode(), **known, **told)
        return
    count = ""
    if report.commits is not None:
        count = f" ({report.commits} commit{'s' * (report.commits != 1)} in its journal)"
    message = f"; {report.message}" if report.message else ""
    output.write(os.fsencode(f"{name}: {report.state}{count}{message}\n"))


_DESCRIPTION = """\
Tells for each FILE whether it shows every commit of the journal beside it, and whether the journal
is sound and belongs to the file. Changes nothing."""

_EPILOG = """\
states:
  no journal      there is nothing to recover
  committed       the file shows every commit in its journal
  in use          transactions are under way on it, and all is well
  needs recovery  a commit was interrupted: "mmapkit recover FILE" completes it
  damaged         the journal is, or it does not belong to the file as it is now

exit status: 0; 1 if a file needs recovery; 2 if a journal is damaged or a file cannot be read (the
others are still looked at).

--json prints one object for each file, on a line of its own: {"file": text, "state": text,
"commits": 0.., "message": text}; the last two where there is something to tell. A text is a string
if its bytes are UTF-8, else {"bytes": "..."} with the bytes in base64.

example:
  mmapkit verify --json *.npy"""


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("verify", _DESCRIPTION, _EPILOG)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a data file, not its journal")
    parser.add_argument("--json", action="store_true", help="print objects, see below")
    return parser
