"""Mapping's methods that look for something in its bytes; the work is done in text/."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from mmapkit.passes.progress import Report
    from mmapkit.text.calls import Offsets, type_of_needle
    from mmapkit.text.lines import Lines, type_of_path
    from mmapkit.text.search import Hit

__all__ = ["Searchable"]


class Searchable:
    """Find, count and search, in a mapping as in `bytes`: guarded, without the GIL."""

    __slots__ = ()

    def __contains__(self: Any, item: type_of_needle) -> bool:
        """Tell whether a byte (int) or a run of bytes occurs, as for `bytearray`."""
        found: int = self.find(item)
        return found >= 0

    def find(
        self: Any,  # a Mapping
        sub: type_of_needle,
        start: int | None = None,
        end: int | None = None,
        *,
        ignore_case: bool = False,
        threads: int | None = 1,
        progress: bool | Report = False,
    ) -> int:
        """Return the offset of the first occurrence of `sub` in [start, end), or -1.

        As `bytes.find`. See `mmapkit.find()` for parameters and errors.
        """
        from mmapkit.text.find import find

        return find(
            self, sub, start, end, ignore_case=ignore_case, threads=threads, progress=progress
        )

    def rfind(
        self: Any,  # a Mapping
        sub: type_of_needle,
        start: int | None = None,
        end: int | None = None,
        *,
        ignore_case: bool = False,
    ) -> int:
        """Return the offset of the last occurrence of `sub` in [start, end), or -1.

        As `bytes.rfind`. See `mmapkit.rfind()`.
        """
        from mmapkit.text.find import rfind

        return rfind(self, sub, start, end, ignore_case=ignore_case)

    def count(
        self: Any,  # a Mapping
        sub: type_of_needle,
        start: int | None = None,
        end: int | None = None,
        *,
        ignore_case: bool = False,
        overlapping: bool = False,
        threads: int | None = 1,
        progress: bool | Report = False,
    ) -> int:
        """Return how often `sub` occurs in [start, end).

        As `bytes.count`, without overlaps unless they are asked for. See `mmapkit.count()`.
        """
        from mmapkit.text.find import count

        return count(
            self, sub, start, end, ignore_case=ignore_case, overlapping=overlapping,
            threads=threads, progress=progress,
        )  # fmt: skip

    def find_all(
        self: Any,  # a Mapping
        sub: type_of_needle,
        start: int | None = None,
        end: int | None = None,
        *,
        ignore_case: bool = False,
        overlapping: bool = False,
        threads: int | None = 1,
        progress: bool | Report = False,
    ) -> Offsets:
        """Return the offsets of all occurrences of `sub` in [start, end), as an ndarray of int64.

        See `mmapkit.find_all()`.
        """
        from mmapkit.text.find import find_all

        return find_all(
            self, sub, start, end, ignore_case=ignore_case, overlapping=overlapping,
            threads=threads, progress=progress,
        )  # fmt: skip

    def search(
        self: Any,  # a Mapping
        pattern: Any,
        *,
        ignore_case: bool = False,
        multiline: bool | None = None,
        threads: int | None = 1,
        progress: bool | Report = False,
    ) -> Iterator[Hit]:
        """Iterate over what a literal or a compiled pattern finds, with line and line number.

        Line by line, as grep, or in the whole text. See `mmapkit.search()` for parameters and
        errors.
        """
        from mmapkit.text.search import search

        return search(
            self, pattern, ignore_case=ignore_case, multiline=multiline, threads=threads,
            progress=progress,
        )  # fmt: skip

    def find_any(
        self: Any,  # a Mapping
        needles: Iterable[type_of_needle],
        start: int | None = None,
        end: int | None = None,
        *,
        ignore_case: bool = False,
        overlapping: bool = False,
        threads: int | None = 1,
        progress: bool | Report = False,
    ) -> tuple[Offsets, Offsets]:
        """Return where any of several literals occur in [start, end), and which.

        Two ndarrays of int64: offsets, and indices of needles. See `mmapkit.find_any()`.
        """
        from mmapkit.text.several import find_any

        return find_any(
            self, needles, start, end, ignore_case=ignore_case, overlapping=overlapping,
            threads=threads, progress=progress,
        )  # fmt: skip

    def split(
        self: Any, sep: bytes | bytearray | memoryview, maxsplit: int = -1, *, views: bool = False
    ) -> Iterator[Any]:
        """Iterate over the pieces between separators, as `bytes.split(sep)` gives them.

        Pieces are bytes; with `views`, memoryviews that copy nothing. See `mmapkit.split()`.
        """
        from mmapkit.text.find import split

        return split(self, sep, maxsplit, views=views)

    def lines(
        self: Any,  # a Mapping
        *,
        index: bool | type_of_path | None = None,
        views: bool = False,
        keepends: bool = False,
        threads: int | None = 1,
        progress: bool | Report = False,
    ) -> Lines:
        """Find where lines begin, so that each is at hand by its number.

        With ``index=True`` that is saved beside the file, as ``FILE.lines``, and there at once the
        next time. See `mmapkit.lines()` for parameters and errors.
        """
        from mmapkit.text.lines import lines

        return lines(
            self, index=index, views=views, keepends=keepends, threads=threads, progress=progress
        )
