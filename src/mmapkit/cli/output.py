"""What commands print: bytes as they are, and errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmapkit.errors import JournalError

TYPE_CHECKING = False  # importing typing would cost more than all of this
if TYPE_CHECKING:
    from typing import Final, Self

__all__ = ["FAILED", "Failures", "Output", "OutputClosed", "OutputFailed", "complain", "describe"]

FAILED: Final = 1


class OutputClosed(Exception):
    """Nobody reads the output any more, as after ``| head``."""


class OutputFailed(Exception):
    """The output cannot be written: a disk is full, or there is none."""


class Output:
    """Standard output, for bytes. On a terminal every write shows at once."""

    def __init__(self) -> None:
        """Take what standard output is now."""
        if sys.stdout is None:
            raise OutputFailed("standard output is closed")
        sys.stdout.flush()
        self._file = sys.stdout.buffer
        self.is_terminal = sys.stdout.isatty()

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it; raises OutputClosed where a pipe has no reader."""
        with _told():
            self._file.write(data)
            if self.is_terminal:
                self._file.flush()

    def flush(self) -> None:
        """Hand everything on, so that it stands before what is then said on stderr."""
        with _told():
            self._file.flush()

    def wants_colour(self, choice: str) -> bool:
        """Decide about ``auto``, ``always`` or ``never``; https://no-color.org."""
        if choice != "auto":
            return choice == "always"
        return self.is_terminal and not os.environ.get("NO_COLOR") and _draws_colours()


@contextmanager
def _told() -> Iterator[None]:
    """Tell errors of the output from those of the files that are read."""
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputFailed(describe(error)) from None


class Failures:
    """What is done with one of several files goes into a block: if it fails, that is told in one
    line, and the others are still done.

    Attributes
    ----------
    any : bool
        Whether a block failed.
    """

    def __init__(self, output: Output) -> None:
        """What was printed into `output` stands before what is told."""
        self.any = False
        self._output = output

    def __enter__(self) -> Self:
        """Begin with a file."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        """Tell what is wrong with the file; other errors go on."""
        if not isinstance(error, OSError | JournalError):
            return False
        self.any = True
        self._output.flush()
        complain(describe(error))
        return True


def _draws_colours() -> bool:
    return os.environ.get("TERM") != "dumb"


def complain(message: str, status: int = FAILED) -> int:
    """Say it in one line on stderr; return the status."""
    print(f"mmapkit: {message}", file=sys.stderr)
    return status


def describe(error: OSError | JournalError) -> str:
    """What is wrong, and with which file, in one line."""
    if isinstance(error, JournalError):
        return str(error)
    name = f": {error.filename!r}" if error.filename else ""
    return f"{error.strerror or error}{name}"
