"""Which compiled patterns are accepted, and how each finds in bytes.

`re`, google-re2, pcre2 and hyperscan; none of the last three is imported here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol

from mmapkit.text.literals import UNKNOWN, Analysis, analyse, wants_whole_text

__all__ = ["Engine", "Found", "ScanMatch", "engine_of"]

Text = bytes | memoryview

ACCEPTED: Final = (
    "bytes, or a bytes pattern compiled by re, google-re2 (re2), pcre2 or hyperscan (a Database)"
)
# hs_scan() takes the length as a 32-bit number.
HYPERSCAN_MAX_BYTES: Final = (1 << 32) - 1


class Found(Protocol):
    """What every engine's match object offers."""

    def span(self) -> tuple[int, int]:
        """Where the match begins and ends."""


class Engine(NamedTuple):
    """How a pattern finds, and what is known of it."""

    name: str
    # The matches in a text, from left to right.
    finditer: Callable[[Text], Iterable[Found]]
    analysis: Analysis
    # Tells of a text whether there is a match, where that takes less time than finding them.
    probe: Callable[[bytes], object] | None = None
    # Finds in lines that are joined by newlines the first match from an offset on and before
    # another; only where `Analysis.within_lines` says that this can be.
    search_joined: Callable[[bytes, int, int], Found | None] | None = None
    # The match that begins at an offset.
    match_at: Callable[[Text, int], Found | None] | None = None


class ScanMatch(NamedTuple):
    """A match of hyperscan, which has no match objects of its own."""

    id: int  # of the expression
    start: int
    end: int

    def span(self) -> tuple[int, int]:
        """Where the match begins and ends."""
        return self.start, self.end


def engine_of(pattern: object) -> Engine:
    """Return how a compiled pattern finds.

    Raises
    ------
    TypeError
        If the pattern is of str, or no pattern.
    """
    if isinstance(pattern, re.Pattern):
        return _of_re(pattern)
    match _library_of(pattern):
        case "re2":
            return _of_re2(pattern)
        case "pcre2":
            return _of_pcre2(pattern)
        case "hyperscan":
            return _of_hyperscan(pattern)
    hint = "; encode it: pattern.encode()" if isinstance(pattern, str) else ""
    raise TypeError(f"pattern must be {ACCEPTED}, not {type(pattern).__name__}{hint}")


def _library_of(pattern: Any) -> str | None:
    library = type(pattern).__module__.partition(".")[0]
    if library in ("re2", "pcre2") and hasattr(pattern, "finditer"):
        return library
    return "hyperscan" if library == "hyperscan" and hasattr(pattern, "scan") else None


def _require_bytes(source: Any, library: str) -> bytes:
    if isinstance(source, str):
        raise TypeError(
            f"the pattern {source!r} was compiled from str, and files hold bytes: "
            f"compile it from bytes, {library}.compile({source.encode()!r})"
        )
    return bytes(source)


def _of_re(pattern: re.Pattern[Any]) -> Engine:
    source = _require_bytes(pattern.pattern, "re")
    analysis = analyse(source, pattern.flags)
    if analysis is None:
        verbose = bool(pattern.flags & re.VERBOSE)
        whole = bool(pattern.flags & re.DOTALL) or wants_whole_text(source, verbose=verbose)
        analysis = UNKNOWN._replace(whole_text=whole)
    joined = None
    if analysis.within_lines:
        joined = re.compile(source, (pattern.flags | re.MULTILINE) & ~re.DEBUG).search
    return Engine("re", pattern.finditer, analysis, pattern.search, joined, pattern.match)


# --- google-re2 and pcre2 -----------------------------------------------------------------------

# What means the same in re, RE2 and PCRE2, as far as literals go: printable ASCII, escapes of what
# is no letter or digit, kinds of byte, plain classes and groups, counted repeats.
_PLAIN: Final = rb"""[^\[\]\\&|~\-\x00-\x1f\x7f-\xff] | \\[^A-Za-z0-9\x00-\x1f\x7f-\xff]
    | \\[dDsSwWtnrf]"""
_COMMON: Final = re.compile(
    rb"""(?:
      [ !"\#%&',\-/0-9:;<=>@A-Z\]_`a-z}~.^$|)]
    | \\[^A-Za-z0-9\x00-\x1f\x7f-\xff]
    | \\[dDsSwWbBtnrf]
    | \[ \^? (?:PLAIN) (?:PLAIN | -(?!-))* \]
    | \((?![?*])
    | \(\? (?: : | > | <?[=!] | P<[A-Za-z_][A-Za-z0-9_]*> | [ims]+[:)] )
    | [*+?]
    | \{ [0-9]+ (?: , [0-9]* )? \}
    )*""".replace(b"PLAIN", _PLAIN),
    re.VERBOSE,
)
# Ignoring case in Unicode, k is the Kelvin sign, too, and s the long s.
_WIDE_FOLDS: Final = b"ks"


def _foreign(
    source: bytes, *, fold: bool, unicode: bool, dotall: bool, verbose: bool = False
) -> Analysis:
    """What is known of a pattern in another engine's syntax."""
    whole = dotall or wants_whole_text(source, verbose=verbose)
    if not verbose and _COMMON.fullmatch(source):
        flags = re.IGNORECASE if fold else re.NOFLAG
        found = analyse(source, flags, wide_folds=_WIDE_FOLDS if unicode else b"")
        if found is not None:
            return UNKNOWN._replace(requirements=found.requirements, whole_text=whole)
    return UNKNOWN._replace(whole_text=whole)


def _of_re2(pattern: Any) -> Engine:
    source = _require_bytes(pattern.pattern, "re2")
    options = getattr(pattern, "options", None)
    if options is None or options.posix_syntax:  # where a+? is (a+)?
        analysis = UNKNOWN._replace(whole_text=wants_whole_text(source))
    else:
        fold = not options.case_sensitive
        unicode = options.encoding != options.Encoding.LATIN1
        if options.literal:
            analysis = _foreign(re.escape(source), fold=fold, unicode=unicode, dotall=False)
            analysis = analysis._replace(whole_text=b"\n" in source)
        else:
            analysis = _foreign(source, fold=fold, unicode=unicode, dotall=options.dot_nl)
    return Engine("re2", pattern.finditer, analysis)


def _of_pcre2(pattern: Any) -> Engine:
    source = _require_bytes(pattern.pattern, "pcre2")
    library = sys.modules["pcre2"]
    flags = library.RegexFlag(pattern.flags)
    known = library.I | library.U | library.M | library.S | library.X | library.A | library.O0
    verbose, dotall = bool(flags & library.X), bool(flags & library.S)
    if flags & ~known:  # options of the C library that may change what the source means
        analysis = UNKNOWN._replace(whole_text=dotall or wants_whole_text(source, verbose=verbose))
    else:
        fold, unicode = bool(flags & library.I), bool(flags & library.U)
        analysis = _foreign(source, fold=fold, unicode=unicode, dotall=dotall, verbose=verbose)
    return Engine("pcre2", pattern.finditer, analysis)


# --- hyperscan ----------------------------------------------------------------------------------


def _of_hyperscan(database: Any) -> Engine:
    library = sys.modules["hyperscan"]
    try:
        mode = bytes(database.info())
    except library.error as error:
        raise ValueError("the hyperscan Database holds no pattern: compile() some") from error
    if b"Mode: BLOCK" not in mode:
        raise ValueError(
            f"the hyperscan Database must be of block mode (HS_MODE_BLOCK), not {mode.decode()!r}"
        )
    # Of its own, so that the database may be used elsewhere between two matches.
    scratch = library.Scratch(database)

    def finditer(text: Text) -> list[ScanMatch]:
        size = len(text)
        if size > HYPERSCAN_MAX_BYTES:
            raise ValueError(f"hyperscan takes 4 GiB - 1 bytes at a time, not {size}")
        events: list[ScanMatch] = []

        def note(number: int, start: int, end: int, *_: object) -> None:
            events.append(ScanMatch(number, start, end))

        database.scan(text, note, scratch=scratch)
        return _leftmost_longest(events)

    # What it was compiled from cannot be asked: lines, unless multiline=True says otherwise.
    return Engine("hyperscan", finditer, UNKNOWN)


def _leftmost_longest(events: list[ScanMatch]) -> list[ScanMatch]:
    """Pick of every end that was reported those that do not overlap, for each expression alone.

    The match that begins first is taken, the longest of those that begin there, and nothing that
    begins before its end.
    """
    events.sort(key=lambda event: (event.start, -event.end, event.id))
    ends: dict[int, int] = {}
    picked = []
    for event in events:
        if event.start >= ends.get(event.id, 0):
            ends[event.id] = event.end
            picked.append(event)
    return picked
