"""The mapping of a transaction: the file's bytes, changed in this process only until the commit.

A private, copy-on-write mapping of the same open file, with addresses set aside to grow into: what
lies beyond the end of the file is memory of zeros until the commit makes it the file's. It ends
with the transaction. Views that somebody kept stay memory that may be read: it shows the file
again where the system can drop private pages, and the transaction's bytes elsewhere. What is stored
into them late reaches nobody.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings

from mmapkit._native import page_size
from mmapkit.errors import LateStoreWarning, UnsupportedError
from mmapkit.mapping import Descriptor, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn, SupportsIndex

__all__ = ["RESERVE_BYTES", "PrivateMapping", "follow_bytes", "open_private"]

# Addresses that a transaction sets aside to grow into; they cost nothing else.
RESERVE_BYTES: Final = 64 << 30
LEAST_RESERVE_BYTES: Final = 16 << 20

COPY_MODE: Final = 2  # mmk/region.h


# A view is used again until so many of its pages were changed: finding them takes longer with every
# page table that has been filled.
MOST_USES: Final = 64
MOST_SPARES: Final = 2


class PrivateMapping(Mapping):
    """What `Mapping.transaction()` gives: a Mapping whose changes are the transaction's.

    `resize()` makes it longer and keeps every view valid; the file grows with the commit.
    `flush()` has nothing to do, and `refresh()` follows nobody. It is closed by the end of the
    transaction; every call after that raises ValueError.
    """

    _ended = False
    _uses = 0  # pages that were changed, in all of its transactions
    _resting_place: Spares  # between two of them
    # Whether the file ends where the mapping does, and therefore grows with it.
    _grows: bool
    # The bytes that the file is to have from the mapping's offset on. The mapping may have more:
    # rows of an append that failed.
    _size_after: int
    _file_bytes: int  # of the mapping, when it was made; what is beyond is its own memory
    _discarded: int  # bytes up to which it showed the file again after the end

    def __repr__(self) -> str:
        """Show the file, the size, and that it is a transaction's."""
        state = "has ended" if self.closed else f"of {self.size} bytes"
        return f"<mmapkit.Mapping {self.path!r} mode={self.mode!r} transaction {state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse: another process would see the file, and not what the transaction changed."""
        raise TypeError(
            f"a transaction's mapping cannot be pickled: its changes are here alone ({self.path!r})"
        )

    def _why_closed(self, what: str) -> ValueError:
        return ValueError(f"the transaction has ended ({self.path!r}): cannot {what}")

    def _require_open_for(self, what: str) -> None:
        if self.closed:
            raise self._why_closed(what)

    def resize(self, size: SupportsIndex) -> None:
        """Make it longer, by zeros; views stay valid. The file grows with the commit.

        Raises
        ------
        OSError
            ENOMEM if the addresses that were set aside are used up.
        UnsupportedError
            On Windows.
        ValueError
            If it becomes shorter, or if the mapping ends before its file does.
        """
        if not hasattr(size, "__index__"):
            raise TypeError(f"size must be an int, in bytes, not {type(size).__name__}")
        wanted = size.__index__()
        self._grow(wanted)
        self._size_after = wanted

    def _grow(self, size: int) -> None:
        """Have memory for so many bytes, of which the commit does not know yet."""
        self._require_open_for("resize it")
        if size < self._size_after:
            raise ValueError(
                f"a transaction does not make a file shorter, from {self._size_after} to {size} "
                f"bytes: resize() does, outside of it ({self.path!r})"
            )
        if size > self.size:
            if not self._grows:
                raise ValueError(
                    f"the mapping ends before its file does, and cannot grow to {size} bytes in a "
                    f"transaction ({self.path!r})"
                )
            if os.name != "posix":  # where a view ends with its file
                raise UnsupportedError(
                    errno.ENOTSUP,
                    "a file does not grow in a transaction on Windows: append() and resize() do it "
                    "outside of one",
                    self.path,
                )
            self._grow_private(size)

    def refresh(self) -> int:
        """Return the size: nobody else changes a file during a transaction."""
        return len(self)

    def close(self, *, defer: bool = False) -> None:
        """Refuse: the end of the transaction closes it."""
        if not self._ended:
            raise RuntimeError(
                f"a transaction's mapping closes with it: leave the block ({self.path!r})"
            )
        super().close(defer=defer)

    def transaction(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: transactions do not nest."""
        self._require_open_for("begin a transaction")
        raise RuntimeError(f"transactions do not nest: one is under way ({self.path!r})")

    def reading(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: nobody else sees or changes what is here."""
        self._require_open_for("read it")
        raise RuntimeError(
            f"reading() goes with the mapping that was opened, not with a transaction's, which "
            f"nobody else changes ({self.path!r})"
        )

    def snapshot(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse: what is not committed is not in the file."""
        self._require_open_for("copy it")
        raise RuntimeError(
            f"snapshot() goes with the mapping that was opened: what a transaction changed is not "
            f"in the file yet ({self.path!r})"
        )

    def _end(self) -> None:
        """Close, after the commit or instead of it; kept views unmap with the last of them.

        Raises
        ------
        MappingFault
            If bytes were lost and nobody was told yet; it is closed all the same.
        """
        self._ended = True
        if self.closed:
            return
        if self._views_left():
            self._show_file()
        elif self._uses < MOST_USES and not self.faulted:
            if self._rest():
                self._resting_place.keep(self)
            else:
                self._finish()
            return
        self.close(defer=True)

    def _begin_again(self, mapping: Mapping) -> bool:
        """Be the view of another transaction, if it shows what the mapping shows by now."""
        if (self.size, self.offset) != (mapping.size, mapping.offset):
            self.close(defer=True)
            return False
        self._ended = False
        self._size_after = self._file_bytes = self.size
        self._grows = self._file_size() == self.offset + self.size
        return True

    def _show_file(self) -> None:
        """Have kept views show the file again, where the system can drop private pages; then what
        is stored into them late can be told from what was stored before."""
        from mmapkit.durable.changes import method

        how = method()
        if how == "compare":  # which needs the file's mapping, and finds what is different
            return
        if self._discard(self._changes(how)):
            self._discarded = self._whole_pages_of_file()
            self._watch_views()

    def _whole_pages_of_file(self) -> int:
        """Up to where there are no pages that the transaction added to, in part or whole."""
        if self.size == self._file_bytes:
            return self.size
        page = page_size()
        return (self.offset + self._file_bytes) // page * page - self.offset

    def _last_view_goes(self) -> None:
        from mmapkit.durable.changes import method

        numbers = memoryview(self._late_changes(method())).cast("q")
        late = 0
        for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
            late += max(0, min(offset + length, self._discarded) - offset)
        if late:
            warnings.warn(
                f"{late} bytes (whole pages) of {self.path!r} were stored into through a view that "
                "was kept after the end of its transaction: they are in no file",
                LateStoreWarning,
                stacklevel=2,
            )


class Spares:
    """Views whose transactions have ended, for the next ones: mapping a file anew costs as much as
    all other system calls of a small commit together.

    One whose object somebody still holds is not used again, since it would come to life in his
    hands; with two of them, ``with m.transaction() as private`` in a loop always finds one.
    """

    def __init__(self) -> None:
        """Have none."""
        self._views: list[PrivateMapping] = []

    def keep(self, view: PrivateMapping) -> None:
        """Take a view that rests."""
        self._views.append(view)
        if len(self._views) > MOST_SPARES:
            self._views.pop(0)._finish()

    def take(self, mapping: Mapping) -> PrivateMapping | None:
        """Give one that shows what the mapping shows, and that nobody else holds."""
        views, at = self._views, 0
        while at < len(views):
            if sys.getrefcount(views[at]) != _ONE_REFERENCE:
                at += 1
                continue
            view = views.pop(at)
            # One that was used after its end may be unmapped.
            if view._wake() and view._begin_again(mapping):
                return view
        return None

    def clear(self) -> None:
        """Unmap them all."""
        while self._views:
            self._views.pop()._finish()


_one = [object()]
# What getrefcount() says of an object that a list holds, and nobody else.
_ONE_REFERENCE: Final = sys.getrefcount(_one[0])


def follow_bytes(mapping: Mapping, size: int | None = None) -> None:
    """Show the bytes that the file has by now, unless views are in the way.

    Parameters
    ----------
    mapping : Mapping
        One that was opened with a `length` stays as it is.
    size : int, optional
        What its own transaction made it: then it follows, too.
    """
    with contextlib.suppress(BufferError):
        if size is None or mapping._follows_file:
            mapping.refresh()
        else:
            mapping._fit(size)


def open_private(mapping: Mapping) -> PrivateMapping:
    """Map what a mapping shows once more, privately.

    Raises
    ------
    UnsupportedError
        If the bytes were read into memory because the filesystem does not map.
    """
    if mapping.backend != "map":
        raise UnsupportedError(
            errno.ENOTSUP,
            f"transactions need a mapped file, not backend={mapping.backend!r}",
            mapping.path,
        )
    file: Any = Descriptor(mapping) if os.name == "posix" else mapping.path
    size = mapping.size
    spares = mapping._spares
    if spares is None:
        spares = mapping._spares = Spares()
    if (spare := spares.take(mapping)) is not None:
        return spare
    for reserve in (max(RESERVE_BYTES, 4 * size), 2 * size + LEAST_RESERVE_BYTES, None):
        view = PrivateMapping.__new__(PrivateMapping)
        try:
            view._open(
                file, "c", 0, COPY_MODE, mapping.offset, size, None, reserve, False, False, "map",
                None,
            )  # fmt: skip
        except OSError:  # too many addresses (ulimit -v), or none to be set aside here
            if reserve is None:
                raise
        else:
            break
    view._resting_place = spares
    view._size_after = view._file_bytes = size
    view._grows = view._file_size() == view.offset + size
    return view
