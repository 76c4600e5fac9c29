"""Commits after which a file tells how many there were, and whether any is there in part.

The file has lanes, one for each thread that commits, of pages that say which commit wrote them.
A lane's commit `n` changes its first page and a few others, chosen by `n`: so the first page tells
what all others have to hold. Each fifth commit of the first lane makes the file longer.
"""

import numpy as np

PAGE = 4096
LANE_PAGES = 40
LANE_BYTES = LANE_PAGES * PAGE
HEAD_OF_TAIL = b"tail" * 25
PIECE_BYTES = 1000  # so that the file ends anywhere in a page

_WORDS = np.arange(PAGE // 8, dtype="<u8")
_COUNTS = (3, 1, 16, 30, 7)


class Torn(AssertionError):
    """A commit is in the file in part."""


def pages_of(lane, n):
    """The pages that commit `n` changes, in the order of the file."""
    others = np.random.default_rng([lane, n]).choice(LANE_PAGES - 1, _COUNTS[n % 5], replace=False)
    return np.sort(np.append(others + 1, 0))


def content(lane, pages, n):
    """What pages hold after commit `n` (one for all, or one for each page): no two words alike."""
    pages = np.asarray(pages, "<u8")[:, None]
    stamps = np.broadcast_to(np.asarray(n, "<u8"), len(pages))[:, None]
    words = np.uint64(lane + 1) << np.uint64(56) | stamps << np.uint64(24)
    return (words | pages << np.uint64(12) | _WORDS).view("u1")


def tail(n):
    """What follows the lanes after commit `n` of the first."""
    pieces = [np.full(PIECE_BYTES // 8, at, "<u8").tobytes() for at in range(4, n + 1, 5)]
    return HEAD_OF_TAIL + b"".join(pieces)


def make(path, lanes=1):
    """A file before the first commit."""
    pages = np.arange(LANE_PAGES)
    parts = [content(lane, pages, 0).tobytes() for lane in range(lanes)]
    path.write_bytes(b"".join(parts) + tail(0))
    return path


def commit(m, lane, n):
    """Do commit `n` of a lane."""
    with m.transaction(timeout=60) as w:
        change(w, lane, n)


def change(w, lane, n):
    """Change what commit `n` changes."""
    pages = pages_of(lane, n)
    for page, data in zip(pages.tolist(), content(lane, pages, n), strict=True):
        at = lane * LANE_BYTES + page * PAGE
        w[at : at + PAGE] = data.tobytes()
    if lane == 0 and n % 5 == 4:
        end = w.size
        w.resize(end + PIECE_BYTES)
        w[end : end + PIECE_BYTES] = tail(n)[-PIECE_BYTES:]


def count_of(data, lane):
    """How many commits of a lane there were, by its first page."""
    word = int.from_bytes(bytes(data[lane * LANE_BYTES : lane * LANE_BYTES + 8]), "little")
    return word >> 24 & 0xFFFFFFFF


class Examiner:
    """Tells how many commits of each lane a file holds; remembers, so that it is quick."""

    def __init__(self, lanes=1):
        self.lanes = lanes
        self._last = [(0, np.zeros(LANE_PAGES, "<u8")) for _ in range(lanes)]

    def counts(self, data):
        """The number of commits of each lane; raises Torn if the bytes are anything between."""
        found = []
        for lane in range(self.lanes):
            n = count_of(data, lane)
            expected = content(lane, np.arange(LANE_PAGES), self._writers(lane, n))
            there = np.frombuffer(data, "u1", LANE_BYTES, lane * LANE_BYTES)
            wrong = np.flatnonzero((there.reshape(LANE_PAGES, PAGE) != expected).any(axis=1))
            del there
            if wrong.size:
                raise Torn(f"lane {lane} says {n} commits, but pages {wrong.tolist()} differ")
            found.append(n)
        if bytes(data[self.lanes * LANE_BYTES :]) != tail(found[0]):
            raise Torn(f"{found[0]} commits, but another end: {len(data)} bytes")
        return found

    def _writers(self, lane, n):
        """Which commit each page was last changed by."""
        done, last = self._last[lane]
        if n > done + 1_000_000:
            raise Torn(f"lane {lane} says {n} commits")
        if n < done:
            done, last = 0, np.zeros(LANE_PAGES, "<u8")
        for number in range(done + 1, n + 1):
            last[pages_of(lane, number)] = number
        self._last[lane] = n, last
        return last
