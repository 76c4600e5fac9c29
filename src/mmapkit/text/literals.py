"""What every match of a regular expression must contain, worked out from `re`'s own parse tree.

A text that lacks it needs no engine. The tree is private to `re`: `_parse()` is the one place that
asks for it, and whatever is not known here gives no literals, never wrong ones.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

__all__ = ["UNKNOWN", "Analysis", "Requirement", "analyse", "wants_whole_text"]

# Members that a class may have and still be spelled out: gr[ae]y is {gray, grey}.
MAX_CLASS: Final = 4
# Literals that neighbours may multiply to, and alternatives that may stand side by side.
MAX_PRODUCT: Final = 64
MAX_ALTERNATIVES: Final = 512
MAX_LITERAL_BYTES: Final = 256
# How often what is repeated is written out.
MAX_COPIES: Final = 64

NEWLINE: Final = 10


class Requirement(NamedTuple):
    """A set of literals one of which is in every text that matches."""

    alternatives: tuple[bytes, ...]  # sorted, none empty; lower case where case folds
    fold: bool  # ASCII letters of either case


class Analysis(NamedTuple):
    """What a pattern tells of its matches."""

    # Each is met by every text in which there is a match; most telling first.
    requirements: tuple[Requirement, ...]
    # Each match begins with one of these; None if that is not known.
    head: Requirement | None
    # DOTALL, or newline by name: meant for the whole text rather than for each line.
    whole_text: bool
    # With MULTILINE added, it finds in joined lines a match in each line where it has one, and no
    # other: nothing in it can be or see a newline.
    within_lines: bool
    # The same if lines end in a carriage return that they should not have: nothing looks at what
    # follows, or keeps what it has taken.
    despite_returns: bool


UNKNOWN: Final = Analysis((), None, False, False, False)


def analyse(source: bytes, flags: int, *, wide_folds: bytes = b"") -> Analysis | None:
    """Work out what every match contains.

    Parameters
    ----------
    source : bytes
        The pattern as it was compiled, in `re`'s syntax.
    flags : int
        Those it was compiled with; the pattern itself may set more.
    wide_folds : bytes
        Letters in lower case that, ignoring case, also match what is no ASCII.

    Returns
    -------
    Analysis or None
        None if the tree is not as known.
    """
    parsed = _parse(source, flags)
    if parsed is None:
        return None
    tree, flags = parsed
    try:
        dotall = bool(flags & re.DOTALL)
        whole = dotall or any(_is_dotall(*node) or _is_newline(*node) for node in _affirmed(tree))
        if flags & re.LOCALE or any(_is_locale(*node) for node in _nodes(tree)):
            return UNKNOWN._replace(whole_text=whole)
        part = _Reader(wide_folds).sequence(tree, bool(flags & re.IGNORECASE))
        within = not dotall and not any(_minds_newlines(*node) for node in _nodes(tree))
        despite = within and not any(_looks_ahead(*node) for node in _nodes(tree))
        head = None
        if b"" not in part.head.strings:
            head = Requirement(tuple(sorted(part.head.strings)), part.head.fold)
        return Analysis(_requirements(part), head, whole, within, despite)
    except (_Strange, RecursionError):
        return None
    except (TypeError, ValueError, LookupError):  # a known operation with another argument
        return None


# --- the tree -----------------------------------------------------------------------------------

Node = tuple[str, Any]

REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


class _Strange(Exception):
    """A node that is not known here."""


def _parse(source: bytes, flags: int) -> tuple[Sequence[Any], int] | None:
    """Return re's tree, a sequence of (operation, argument), and the flags for all of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # given when the pattern was compiled
            tree = import_module("re._parser").parse(source, flags & ~re.DEBUG)
        return tree, int(tree.state.flags)
    except (ImportError, AttributeError, TypeError, ValueError, re.error):
        return None
    except (OverflowError, RecursionError):
        return None


def _named(tree: Iterable[Any]) -> Iterator[Node]:
    for operation, argument in tree:
        yield str(operation), argument


def _inside(operation: str, argument: Any) -> list[Any]:
    """The sequences that a node holds."""
    match operation:
        case "BRANCH":
            return list(argument[1])
        case "SUBPATTERN":
            return [argument[3]]
        case "ATOMIC_GROUP":
            return [argument]
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
        case "GROUPREF_EXISTS":
            return [argument[1], () if argument[2] is None else argument[2]]
        case _ if operation in REPEATS:
            return [argument[2]]
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT" | "GROUPREF" | "FAILURE":
            return []
    raise _Strange(operation)


def _nodes(tree: Iterable[Any]) -> Iterator[Node]:
    """All nodes, from the outside inwards."""
    for node in _named(tree):
        yield node
        for sequence in _inside(*node):
            yield from _nodes(sequence)


def _affirmed(tree: Iterable[Any]) -> Iterator[Node]:
    """All nodes but those of which a negative assertion says that they are not there."""
    for node in _named(tree):
        yield node
        if node[0] != "ASSERT_NOT":
            for sequence in _inside(*node):
                yield from _affirmed(sequence)


def _is_dotall(operation: str, argument: Any) -> bool:
    return operation == "SUBPATTERN" and bool(argument[1] & re.DOTALL)


def _is_locale(operation: str, argument: Any) -> bool:
    return operation == "SUBPATTERN" and bool(argument[1] & re.LOCALE)


def _is_newline(operation: str, argument: Any) -> bool:
    """Whether newline is named, as itself, in a class or as the end of a class's range."""
    if operation == "LITERAL":
        return bool(argument == NEWLINE)
    if operation != "IN":
        return False
    members = list(_named(argument))
    return ("NEGATE", None) not in members and any(
        (kind == "LITERAL" and value == NEWLINE) or (kind == "RANGE" and NEWLINE in value)
        for kind, value in members
    )


# --- what lines may be joined for -----------------------------------------------------------------

# Of the kinds of byte, those that newline is.
NEWLINE_KINDS: Final = ("CATEGORY_SPACE", "CATEGORY_NOT_DIGIT", "CATEGORY_NOT_WORD")
KINDS: Final = {*NEWLINE_KINDS, "CATEGORY_NOT_SPACE", "CATEGORY_DIGIT", "CATEGORY_WORD"}


def _minds_newlines(operation: str, argument: Any) -> bool:
    """Whether a node may match a newline, or sees it differently from the end of a text."""
    match operation:
        case "LITERAL":
            return bool(argument == NEWLINE)
        case "NOT_LITERAL":
            return bool(argument != NEWLINE)
        case "IN":
            return _class_has_newline(argument)
        case "AT":
            # MULTILINE makes ^ and $ what they are in a line. \B holds in no empty text.
            return str(argument) not in ("AT_BEGINNING", "AT_END", "AT_BOUNDARY")
        case "SUBPATTERN":
            return bool(argument[1] & re.DOTALL or argument[2] & re.MULTILINE)
        case "FAILURE":
            return True
    return False


def _class_has_newline(items: Iterable[Any]) -> bool:
    members = list(_named(items))
    kinds = {kind for kind, _ in members[1:]} | {kind for kind, _ in members[:1]} - {"NEGATE"}
    categories = {str(value) for kind, value in members if kind == "CATEGORY"}
    if not (kinds <= {"LITERAL", "RANGE", "CATEGORY"} and categories <= KINDS):
        return True
    named = any(
        (kind == "LITERAL" and value == NEWLINE)
        or (kind == "RANGE" and value[0] <= NEWLINE <= value[1])
        or (kind == "CATEGORY" and str(value) in NEWLINE_KINDS)
        for kind, value in members
    )
    return named is (("NEGATE", None) not in members)


def _looks_ahead(operation: str, argument: Any) -> bool:
    match operation:
        case "AT":
            return str(argument) == "AT_END"
        case "ASSERT" | "ASSERT_NOT":
            return bool(argument[0] > 0)
    return operation in ("ATOMIC_GROUP", "POSSESSIVE_REPEAT")


# --- the literals ---------------------------------------------------------------------------------


class _Words(NamedTuple):
    """A set of literals."""

    strings: frozenset[bytes]
    fold: bool


class _Part(NamedTuple):
    """What is known of the text that a part of the pattern matches."""

    exact: bool  # it is one of `head`, which is `tail` then
    head: _Words  # it begins with one of these
    tail: _Words  # it ends with one of these
    # Somewhere in the text that is searched there is one of each. Has what `head` and `tail` say,
    # too, unless exact: then it is for the neighbours to say.
    needs: tuple[_Words, ...] = ()


_NOTHING: Final = _Words(frozenset((b"",)), False)
_EMPTY: Final = _Part(True, _NOTHING, _NOTHING)
_ANYTHING: Final = _Part(False, _NOTHING, _NOTHING)


def _exactly(words: _Words) -> _Part:
    return _Part(True, words, words)


class _Reader:
    """Goes through a tree; sizes are bounded, and what would pass the bound becomes unknown."""

    def __init__(self, wide_folds: bytes) -> None:
        self._wide_folds = wide_folds

    def sequence(self, tree: Iterable[Any], fold: bool) -> _Part:
        return _joined(
            [self._part(operation, argument, fold) for operation, argument in _named(tree)]
        )

    def _part(self, operation: str, argument: Any, fold: bool) -> _Part:
        match operation:
            case "LITERAL":
                return self._one_of((argument,), fold)
            case "IN":
                return self._class(argument, fold)
            case "AT":
                return _EMPTY
            case "BRANCH" | "GROUPREF_EXISTS":
                inside = _inside(operation, argument)
                return _either([self.sequence(each, fold) for each in inside])
            case "SUBPATTERN":
                _, added, taken, tree = argument
                return self.sequence(tree, (fold or bool(added & re.IGNORECASE))
                                     and not taken & re.IGNORECASE)  # fmt: skip
            case "ATOMIC_GROUP":
                return self.sequence(argument, fold)
            case "ASSERT":
                # Its text may be outside of the match, but not outside of what is searched.
                return _EMPTY._replace(needs=_all_needs(self.sequence(argument[1], fold)))
            case "ASSERT_NOT":
                return _EMPTY
            case _ if operation in REPEATS:
                least, most, tree = argument
                return _repeated(least, int(most), self.sequence(tree, fold))
        return _ANYTHING

    def _class(self, items: Iterable[Any], fold: bool) -> _Part:
        members: set[int] = set()
        for kind, value in _named(items):
            if kind == "LITERAL":
                members.add(value)
            elif kind == "RANGE" and value[1] - value[0] < MAX_CLASS:
                members.update(range(value[0], value[1] + 1))
            else:
                return _ANYTHING
        return self._one_of(members, fold)

    def _one_of(self, members: Iterable[int], fold: bool) -> _Part:
        found = {bytes((member,)) for member in members}
        if fold:
            found = {one.lower() for one in found}
            if any(one in self._wide_folds for one in found):
                return _ANYTHING
        if len(found) > MAX_CLASS:
            return _ANYTHING
        return _exactly(_Words(frozenset(found), fold and any(one.isalpha() for one in found)))


def _joined(parts: Sequence[_Part]) -> _Part:
    """One part after the other."""
    exact, head, tail = True, _NOTHING, _NOTHING
    needs: list[_Words] = []
    for part in parts:
        needs += part.needs
        longer = _product(tail, part.head)
        if part.exact and longer is not None:
            tail = longer
            head = tail if exact else head
            continue
        reach = tail if longer is None else longer
        needs.append(reach)
        head = reach if exact else head
        exact, tail = False, part.tail
    if not exact:
        needs.append(tail)
    return _Part(exact, head, tail, _useful(needs))


def _either(parts: Sequence[_Part]) -> _Part:
    """One of the parts."""
    head, tail = _union([part.head for part in parts]), _union([part.tail for part in parts])
    if all(part.exact for part in parts) and head is not None:
        return _exactly(head)
    best = [max(_all_needs(part), key=_worth, default=None) for part in parts]
    need = None if None in best else _union([words for words in best if words is not None])
    return _Part(False, head or _NOTHING, tail or _NOTHING, () if need is None else (need,))


def _repeated(least: int, most: int, part: _Part) -> _Part:
    """A part so many times; the match begins and ends with what the least number of times gives."""
    if least == 0:
        if most == 0:
            return _EMPTY
        either = _either([part, _EMPTY])
        return either if most == 1 and either.exact else _ANYTHING
    copies = min(least, MAX_COPIES)
    once = _joined([part] * copies)
    if most == copies:
        return once
    return _Part(False, once.head, once.tail, _all_needs(once))


def _product(left: _Words, right: _Words) -> _Words | None:
    """Each of one set before each of another; None if these are too many or too long."""
    if right == _NOTHING:
        return left
    count = len(left.strings) * len(right.strings)
    if count > (MAX_ALTERNATIVES if 1 in (len(left.strings), len(right.strings)) else MAX_PRODUCT):
        return None
    if max(map(len, left.strings)) + max(map(len, right.strings)) > MAX_LITERAL_BYTES:
        return None
    strings = frozenset(a + b for a in left.strings for b in right.strings)
    return _folded(strings, left.fold or right.fold)


def _union(sets: Sequence[_Words]) -> _Words | None:
    strings = frozenset().union(*(words.strings for words in sets))
    if len(strings) > MAX_ALTERNATIVES:
        return None
    return _folded(strings, any(words.fold for words in sets))


def _folded(strings: frozenset[bytes], fold: bool) -> _Words:
    return _Words(frozenset(map(bytes.lower, strings)) if fold else strings, fold)


def _all_needs(part: _Part) -> tuple[_Words, ...]:
    return _useful([*part.needs, part.head]) if part.exact else part.needs


def _useful(needs: Iterable[_Words]) -> tuple[_Words, ...]:
    """Without repetitions, and without those that are met by nothing."""
    return tuple(words for words in dict.fromkeys(needs) if b"" not in words.strings)


def _worth(words: _Words) -> tuple[int, int, bool]:
    """How much a need tells: the shortest literal is found most often."""
    return min(map(len, words.strings)), -len(words.strings), not words.fold


# --- the result -----------------------------------------------------------------------------------


def _requirements(part: _Part) -> tuple[Requirement, ...]:
    found: list[Requirement] = []
    for words in sorted(_all_needs(part), key=_worth, reverse=True):
        requirement = Requirement(_without_longer(words.strings), words.fold)
        if not any(_implies(other, requirement) for other in found):
            found.append(requirement)
    return tuple(found)


def _without_longer(strings: Iterable[bytes]) -> tuple[bytes, ...]:
    """Drop literals that contain another."""
    kept: list[bytes] = []
    for string in sorted(strings, key=len):
        if not any(other in string for other in kept):
            kept.append(string)
    return tuple(sorted(kept))


def _implies(one: Requirement, other: Requirement) -> bool:
    """Whether a text that meets the one meets the other as well."""
    if one.fold and not other.fold:
        return False
    strings = map(bytes.lower, one.alternatives) if other.fold else one.alternatives
    return all(any(part in string for part in other.alternatives) for string in strings)


# --- other syntaxes -------------------------------------------------------------------------------

# Escapes, classes, the starts of groups and single bytes, as they are alike in all engines.
_TOKEN: Final = re.compile(
    rb"(?P<newline>\n|\\(?:n|R|x0[aA]|x\{0*[aA]\}))"
    rb"|\\."
    rb"|\[(?P<not>\^?)(?P<class>\]?(?:\\.|\[[:.=][^\]]*\]|[^\]\\])*)\]"
    rb"|\(\?\^?(?P<on>[A-Za-z]*)(?:-[A-Za-z]*)?[:)]"
    rb"|.",
    re.DOTALL,
)
_NEWLINE_IN_CLASS: Final = re.compile(rb"\n|(?<!\\)(?:\\\\)*\\(?:n|x0[aA]|x\{0*[aA]\})")


def wants_whole_text(source: bytes, *, verbose: bool = False) -> bool:
    """Tell by its text whether a pattern in a syntax like `re`'s sets DOTALL or names newline."""
    for token in _TOKEN.finditer(source):
        switched_on = token["on"] or b""
        verbose = verbose or b"x" in switched_on
        if b"s" in switched_on:
            return True
        if token["newline"] and not (verbose and token[0] == b"\n"):
            return True
        if token["class"] and not token["not"] and _NEWLINE_IN_CLASS.search(token["class"]):
            return True
    return False
