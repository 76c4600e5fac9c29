"""Options that more than one command has."""

from __future__ import annotations

import argparse

__all__ = ["add_threads", "positive"]


def positive(text: str) -> int:
    """A whole number from 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=positive,
        default=1,
        metavar="N",
        help="how many threads share the work on one file; default 1, which is all that most disks "
        "keep busy",
    )
