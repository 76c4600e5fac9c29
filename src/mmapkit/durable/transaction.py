"""Transactions: a private view to change; leaving it commits all changed pages, or none."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from mmapkit.durable.changes import changed_runs, total_bytes
from mmapkit.durable.locks import checked_timeout
from mmapkit.durable.reading import require_outside
from mmapkit.durable.staged import Staged
from mmapkit.durable.store import Store, store_of
from mmapkit.durable.view import PrivateMapping, follow_bytes, open_private
from mmapkit.errors import UnsupportedError

if TYPE_CHECKING:
    from types import TracebackType

    from mmapkit.array import MappedArray
    from mmapkit.mapping import Mapping

__all__ = ["Transaction", "of_array", "of_mapping"]

View = TypeVar("View")


class Target(Protocol[View]):
    """What a transaction is of."""

    @property
    def mapping(self) -> Mapping:
        """The shared mapping of the file."""

    def prepare(self) -> None:
        """See the file as long as it is now, and bring it in order, with the lock for writing."""

    def follow(self, size: int) -> None:
        """See what the commit added: so many bytes of the mapping."""

    def show(self, private: PrivateMapping) -> View:
        """What the user gets of the private view."""

    def hide(self, shown: View) -> None:
        """The transaction is over."""


class OfMapping:
    """A transaction's target: bytes."""

    __slots__ = ("mapping",)

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping

    def prepare(self) -> None:
        follow_bytes(self.mapping)

    def follow(self, size: int) -> None:
        follow_bytes(self.mapping, size)

    def show(self, private: PrivateMapping) -> Mapping:
        return private

    def hide(self, shown: Mapping) -> None:
        pass  # it is the view itself, which is ended


class OfArray:
    """A transaction's target: an array, whose mapping may be another after it has grown."""

    __slots__ = ("_array",)

    def __init__(self, array: MappedArray) -> None:
        self._array = array

    @property
    def mapping(self) -> Mapping:
        return self._array.mapping

    def prepare(self) -> None:
        from mmapkit.durable.growth import cut_tail, follow_rows  # numpy

        follow_rows(self._array)
        cut_tail(self._array)

    def follow(self, size: int) -> None:
        from mmapkit.durable.growth import follow_rows

        follow_rows(self._array)

    def show(self, private: PrivateMapping) -> MappedArray:
        from mmapkit.durable.growth import PrivateArray

        return PrivateArray(self._array, private)

    def hide(self, shown: MappedArray) -> None:
        shown._hide()


def of_mapping(mapping: Mapping, timeout: float | None) -> Transaction[Mapping]:
    """See `Mapping.transaction`."""
    return Transaction(OfMapping(mapping), timeout)


def of_array(array: MappedArray, timeout: float | None) -> Transaction[MappedArray]:
    """See `MappedArray.transaction`."""
    return Transaction(OfArray(array), timeout)


def _require_transactable(mapping: Mapping) -> None:
    if mapping.backend == "memory":
        raise UnsupportedError(
            errno.ENOTSUP, "anonymous memory has no file in which changes could be durable"
        )
    if mapping.mode in ("r", "c"):
        raise TypeError(
            f"cannot change {mapping.path!r} in a transaction: it was opened with mode "
            f"{mapping.mode!r}; open it with mode 'r+'"
        )
    if mapping.backend != "map":
        raise UnsupportedError(
            errno.ENOTSUP,
            f"a transaction needs a file that is mapped; backend={mapping.backend!r}",
            mapping.path,
        )
    if mapping.path is None:
        raise UnsupportedError(
            errno.ENOTSUP,
            "the file was opened without a name, beside which a journal could lie",
        )
    if mapping._ledger is None and not stat.S_ISREG(os.stat(mapping.path).st_mode):
        raise UnsupportedError(
            errno.ENOTSUP, "a transaction needs a regular file, not a device", mapping.path
        )


class Transaction(Generic[View]):
    """Changes to a mapped file that become durable together, or not at all.

    Made by `Mapping.transaction()` and `MappedArray.transaction()`. A context manager: entering it
    waits for other writers and gives the private view; leaving the block commits, an exception
    rolls back. ``begin()``, ``commit()`` and ``rollback()`` do the same in steps.
    """

    _store: Store | None = None  # while it is under way

    def __init__(self, target: Target[View], timeout: float | None) -> None:
        """Refuse what can have no transaction."""
        _require_transactable(target.mapping)
        self._timeout = checked_timeout(timeout)
        self._target = target
        self._mapping = target.mapping
        self._private: PrivateMapping | None = None
        self._shown: View | None = None
        self._ended = ""
        self._size = 0  # of the file when it began
        self._seen = 0  # failures of the store until then
        self._process = 0
        self._token = object()  # what the store knows it by

    def __repr__(self) -> str:
        """Show the file and the state."""
        state = self._ended or ("open" if self._store is not None else "not begun")
        return f"<mmapkit.Transaction {self._mapping.path!r} {state}>"

    # --- steps ------------------------------------------------------------------------------

    def begin(self) -> View:
        """Wait until no other transaction on the file is open, and return the private view.

        Raises
        ------
        TimeoutError
            If another writer, of this process or another, holds the file for longer than the
            timeout; names it where it is known.
        RuntimeError
            If this thread has a transaction on the file open already, or this one has begun.
        OSError
            If an earlier flush to the disk failed: open the file again.
        """
        if self._store is not None or self._ended:
            raise RuntimeError(f"the transaction on {self._mapping.path!r} has begun already")
        mapping = self._target.mapping
        mapping._require_open_for("change it")
        store = store_of(mapping)
        require_outside(store.identity, store.path)
        store.begin(self._token, self._timeout, mapping)
        try:
            self._process = os.getpid()
            if mapping.offset + mapping.size != store.file_bytes():
                self._target.prepare()
            store.take_size()
            self._size = store.file_bytes()
            self._mapping = self._target.mapping
            self._private = open_private(self._mapping)
            self._seen = store.show_pending(self._private)
            self._shown = self._target.show(self._private)
            self._store = store
        except BaseException:
            self._leave(store)
            raise
        return self._shown

    def __enter__(self) -> View:
        """Begin; see `begin()`."""
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Commit; after an exception, roll back. Nothing if either was done in the block."""
        if self._store is None:
            return
        try:
            if error is None:
                self.commit()
        finally:
            if self._store is not None:
                self._end(self._ended or "rolled back")

    @property
    def view(self) -> View:
        """The private view: a Mapping or a MappedArray."""
        self._require_open("look at its view")
        assert self._shown is not None
        return self._shown

    @property
    def dirty_bytes(self) -> int:
        """Bytes of the pages that were changed so far; whole pages, as they will be written."""
        self._require_open("count what it changed")
        assert self._private is not None
        return total_bytes(changed_runs(self._private, self._mapping))

    def commit(self) -> None:
        """Make all changes durable and visible, then end the transaction.

        Returns once the changes are on the disk: no crash loses them after that. If it raises
        before that point, the file is as it was and the transaction is still open: free space on
        the disk, for one, and commit again, or roll back.

        Raises
        ------
        OSError
            ENOSPC if the journal or the file found no room; nothing has changed. If the disk failed
            to take the journal, what was committed is known when the file is opened again, and
            until then everything on this file raises.
        TimeoutError
            If readers inside `reading()` did not leave in time; nothing has changed.
        MappingFault
            If the file was truncated since the transaction began; nothing is written.
        """
        store = self._require_open("commit it")
        require_outside(store.identity, store.path)
        private, mapping = self._private, self._mapping
        assert private is not None
        if private.closed:
            raise ValueError(f"the view of {mapping.path!r} was closed: roll back")
        size_after = mapping.offset + private._size_after
        grown = private._size_after > mapping.size
        runs = changed_runs(private, mapping)
        private._uses += 1 + len(runs) // 16
        if runs or grown:
            self._require_whole(store)
            size_after = size_after if grown else self._size
            staged = Staged(mapping, private, runs, self._size, size_after)
            try:
                store.commit(staged, self._seen, self._timeout)
            finally:
                if staged.released or staged.committed:
                    self._end("committed" if staged.committed else "failed")
            if grown:
                self._target.follow(size_after - mapping.offset)
        else:
            self._end("committed")

    def rollback(self) -> None:
        """Forget all changes and end the transaction; the file is as it was."""
        self._require_open("roll it back")
        self._end("rolled back")

    # --- inside -----------------------------------------------------------------------------

    def _require_open(self, what: str) -> Store:
        if self._ended:
            raise ValueError(
                f"the transaction on {self._mapping.path!r} has ended ({self._ended}): "
                f"cannot {what}"
            )
        if self._store is None:
            raise ValueError(
                f"the transaction on {self._mapping.path!r} has not begun: cannot {what}"
            )
        if self._process != os.getpid():
            raise RuntimeError(
                f"the transaction on {self._mapping.path!r} belongs to process {self._process}, "
                f"from which this one was forked: cannot {what}"
            )
        return self._store

    def _require_whole(self, store: Store) -> None:
        """Refuse if the file became shorter or longer: private pages past its end are lost."""
        assert self._private is not None
        if self._private.faulted or self._mapping.faulted or store.file_bytes() != self._size:
            self._private.check()
            self._mapping.check()
            store.require_size(self._size)

    def _end(self, how: str) -> None:
        self._ended = how
        if self._store is not None:
            self._leave(self._store)
            self._store = None

    def _leave(self, store: Store) -> None:
        try:
            self._drop_view()
        finally:
            store.end(self._token)

    def _drop_view(self) -> None:
        shown, self._shown = self._shown, None
        private, self._private = self._private, None
        if shown is not None:
            self._target.hide(shown)
        if private is not None:
            private._end()

    def __del__(self) -> None:
        """Roll back what nobody ended."""
        if self._store is None or self._process != os.getpid():
            return
        if not self._ended:  # else Ctrl-C came in the middle of the end
            warnings.warn(
                f"a transaction on {self._mapping.path!r} was never ended: rolled back",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        self._end(self._ended or "rolled back")
