"""Random regular expressions, and texts in which they find something.

Drawn from `random`, not from hypothesis: thousands of cases a second, and small as they are.
"""

import itertools
import random
import re
import warnings

# (source, a text that it matches)
LETTERS = [(s, s) for s in (b"a", b"b", b"A", b"B", b"k", b"ab", b"ba", b"abc", b"1", b" ", b"_")]
CLASSES = [
    (b"[ab]", b"b"), (b"[^a]", b"b"), (b"[a-c]", b"c"), (b"[AB1]", b"1"), (b"[^\\n]", b"k"),
    (b"[a\\d]", b"1"), (b"[^\\s]", b"a"), (b"[^ab\\r]", b" "), (b"[kK]", b"K"), (b"[^a]", b"\n"),
]  # fmt: skip
KINDS = [
    (b".", b"b"), (b".", b"\r"), (b"\\w", b"a"), (b"\\W", b"\n"), (b"\\d", b"1"), (b"\\D", b"B"),
    (b"\\s", b" "), (b"\\s", b"\n"), (b"\\S", b"b"), (b"\\x61", b"a"), (b"\\.", b"."),
]  # fmt: skip
EDGES = [(s, b"") for s in (b"^", b"$", b"\\b", b"\\B", b"\\A", b"\\Z", b"")]
NEWLINES = [
    (b"\\n", b"\n"), (b"\n", b"\n"), (b"[\\n]", b"\n"), (b"[a\\n]", b"\n"), (b"[\\t-\\n]", b"\n"),
    (b"\\r\\n", b"\r\n"), (b"(?!\\n)", b""), (b"(?s:.)", b"\n"), (b"\\r", b"\r"),
]  # fmt: skip
REPEATS = [
    (b"*", 0), (b"*", 2), (b"+", 1), (b"+", 3), (b"?", 0), (b"?", 1), (b"{2}", 2), (b"{0}", 0),
    (b"{1,}", 2), (b"{0,2}", 2), (b"{2,3}", 2), (b"{2,3}", 3),
]  # fmt: skip
GREEDS = [b"", b"", b"", b"?", b"+"]
GROUPS = [b"(%s)", b"(?:%s)", b"(?>%s)", b"(?i:%s)", b"(?-i:%s)", b"(?m:%s)", b"(?-m:%s)"]
ASIDES = [b"(?=%s)", b"(?!%s)", b"(?<=%s)", b"(?<!%s)"]
WORDS = [source for source, _ in LETTERS] + [b"K", b"\xe9", b"\0", b"."]
ENDS = [b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"\r\r\n"]
FLAGS = [0, 0, 0, re.I, re.M, re.I | re.M, re.X, re.A]


ATOMS = (LETTERS, LETTERS, CLASSES, KINDS, EDGES)


class Sources:
    """Draws sources of patterns with a text that they mostly match.

    Many are none, such as lookbehinds of no fixed width.
    """

    def __init__(self, rng, *, newlines=False, asides=True):
        self.rng = rng
        self.atoms = (*ATOMS, NEWLINES) if newlines else ATOMS
        self.kinds = ["row", "row", "one of", "frame", "repeat", "repeat", "condition", "twice"]
        self.kinds += ["aside"] if asides else []

    def draw(self, depth=3):
        rng = self.rng
        if depth == 0 or rng.random() < 0.2:
            return rng.choice(rng.choice(self.atoms))
        parts = [self.draw(depth - 1) for _ in range(rng.randint(2, 4))]
        match rng.choice(self.kinds):
            case "row":
                return row(parts)
            case "one of":
                source = b"(?:%s)" % b"|".join(source for source, _ in parts)
                return source, rng.choice(parts)[1]
            case "frame":
                return framed(rng.choice(GROUPS), parts[0])
            case "repeat":
                return repeated(parts[0], rng.choice(REPEATS), rng.choice(GREEDS))
            case "condition":
                return conditional(parts[0], parts[1], parts[-1], rng.random() < 0.5)
            case "twice":
                return b"(" + parts[0][0] + b")\\1", parts[0][1] * 2
        return aside(rng.choice(ASIDES), parts[0], parts[1], parts[-1])


def row(parts):
    return b"".join(source for source, _ in parts), b"".join(sample for _, sample in parts)


def framed(frame, inner):
    source, sample = inner
    return frame % source, sample.swapcase() if b"?i" in frame else sample


def repeated(inner, repeat, greed):
    (source, sample), (count, times) = inner, repeat
    return b"(?:%s)" % source + count + greed, sample * times


def conditional(first, yes, no, holds):
    whole = b"(%s)?(?(1)%s|%s)" % (first[0], yes[0], no[0])
    return whole, first[1] + yes[1] if holds else no[1]


def aside(frame, left, inner, right):
    between = b"" if b"!" in frame else inner[1]
    return left[0] + frame % inner[0] + right[0], left[1] + between + right[1]


def text(rng, most=12):
    """Lines of few letters with every kind of ending."""
    return b"".join(
        rng.choice(rng.choice((WORDS, WORDS, ENDS))) for _ in range(rng.randint(0, most))
    )


def cases(count, seed, *, newlines=False, asides=True):
    """Compiled patterns of bytes, each with a text that it mostly matches somewhere."""
    rng = random.Random(seed)
    drawn = Sources(rng, newlines=newlines, asides=asides)
    found = (_case(rng, *drawn.draw()) for _ in itertools.count())
    return itertools.islice((case for case in found if case), count)


def _case(rng, source, sample):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pattern = re.compile(source, rng.choice(FLAGS))
        except (re.error, OverflowError):
            return None
    return pattern, text(rng) + sample + text(rng)
