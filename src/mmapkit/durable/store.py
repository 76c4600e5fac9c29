"""The store: what one process keeps for the transactions on one file, and the order of a commit.

A commit, in this order (what makes it atomic, and durable with one wait for the disk):

1. The changed runs are copied. From here on another thread of this process may begin: it sees the
   copies of those before it (`show_pending`). The first that is ready writes for all: group commit.
2. Blocks are allocated where the file has none, so that the disk cannot be full in step 6.
3. Readers in `reading()` are waited for and kept out.
4. The journal gets the new bytes of all, as frames that are chained by checksums.
5. The journal is synced: now they are committed. Before this, nothing has been promised and nothing
   but the journal has changed; after it, recovery does the rest if nobody else can.
6. The data file gets the same bytes, by positioned writes, which nobody waits for.
7. The tail of the journal is marked: applied up to here.

When the journal is full, and when the last mapping is closed: the data file is synced, and then
the journal begins anew. Only then are the frames not needed any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref

from mmapkit.durable.files import OS, journal_path
from mmapkit.durable.journal import Journal, bytes_of
from mmapkit.durable.locks import (
    ALIVE,
    CHECKPOINT,
    QUEUE,
    Locks,
    begin_applying,
    begin_writing,
    end_applying,
    end_writing,
)
from mmapkit.durable.recovery import become_alive, redo, try_alone
from mmapkit.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from mmapkit._native import File
    from mmapkit.durable.files import Files
    from mmapkit.durable.staged import Staged
    from mmapkit.mapping import Mapping

__all__ = ["Store", "store_of"]

# The journal grows up to this before it begins anew; a single commit may take more.
MOST_JOURNAL_BYTES: Final = 64 << 20
# How often a step of a commit is done again when something like Ctrl-C has interrupted it.
ATTEMPTS: Final = 5
# Closing and flushing wait so long for a transaction of somebody else.
CLOSE_TIMEOUT_S: Final = 60.0

_stores: dict[tuple[int, int, int], Store] = {}
# Collecting garbage may end a mapping, and with it a store, while this thread holds it.
_stores_lock = threading.RLock()


def store_of(mapping: Mapping, files: Files = OS) -> Store:
    """Return this process's store for the file of a mapping, which uses it until it is closed."""
    store = mapping._ledger
    if store is None or store.process != os.getpid():
        with _stores_lock:
            store = mapping._ledger = _join(mapping, files)
    return store


def _join(mapping: Mapping, files: Files) -> Store:
    assert mapping.path is not None
    path = os.path.realpath(mapping.path)
    data = files.open(path, "r+")
    try:
        identity = data.identity()
        # Elsewhere no other takes the name of a file that is mapped.
        if os.name == "posix" and not os.path.samestat(
            os.fstat(data.fileno()), os.fstat(mapping.fileno())
        ):
            raise OSError(
                errno.ESTALE,
                "another file has this name now: what is mapped has none, and no journal",
                path,
            )
        store = _stores.get(identity)
        if store is None:
            store = _stores[identity] = Store(path, data, files, identity)
        else:
            data.close()
    except BaseException:
        data.close()
        raise
    store.join(mapping)
    return store


def _forget_parents_stores() -> None:
    """In a forked child: the locks belong to open files, which the parent shares with it."""
    _stores_lock._at_fork_reinit()  # type: ignore[attr-defined]
    for store in _stores.values():
        store.abandon()
    _stores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents_stores)


class Store:
    """See the module's text. Threads share it; one at a time has a transaction open."""

    def __init__(self, path: str, data: File, files: Files, identity: tuple[int, int, int]) -> None:
        """Take the data file, opened for reading and writing, for as long as anybody joins."""
        self.path = path
        self.identity = identity
        self.process = os.getpid()
        self._files = files
        self._data = data
        self._locks = Locks(files.open(path, "r+"))
        self._journal: Journal | None = None
        self._turn = threading.Condition(threading.Lock())
        # All of these are changed under `_turn`.
        self._owner: int | None = None  # the thread whose transaction is open
        self._open_on: Mapping | None = None  # what that changes
        self._wanting = 0  # threads that wait for their turn
        self._writing = False  # this process has the writer lock
        self._waiting: list[Staged] = []  # for a leader, in the order in which they ended
        self._leading: list[Staged] = []  # what the leader is writing
        self._failures = 0
        self._poison: OSError | None = None
        self._mappings: weakref.WeakSet[Mapping] = weakref.WeakSet()

    # --- who uses it ------------------------------------------------------------------------

    def join(self, mapping: Mapping) -> None:
        """Stay open until this mapping, too, has left, or is gone."""
        self._mappings.add(mapping)
        weakref.finalize(mapping, self._leave_at_end)

    def move(self, mapping: Mapping, to: Mapping) -> None:
        """An array that has grown has another mapping now."""
        self.join(to)
        to._ledger = self
        self._forget(mapping)

    def _forget(self, mapping: Mapping) -> None:
        self._mappings.discard(mapping)
        mapping._ledger = None
        if mapping._spares is not None:
            mapping._spares.clear()

    def require_no_transaction(self, mapping: Mapping) -> None:
        """Raise BufferError if a transaction on this mapping is open: it is about to be closed."""
        if self._open_on is mapping and self.process == os.getpid():
            raise BufferError(
                f"cannot close {self.path!r}: a transaction on it is open; commit it or roll it "
                "back first"
            )

    def leave(self, mapping: Mapping) -> None:
        """See that all commits are in the data file and on the disk, if this was the last."""
        self._forget(mapping)
        self._close_if_unused()

    def _leave_at_end(self) -> None:
        # Nobody can be told; the journal stays, and recovery does what is missing.
        with contextlib.suppress(OSError):
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        with _stores_lock:
            if self._mappings or self.process != os.getpid() or self._data.closed:
                return
            _stores.pop(self._data.identity(), None)
            try:
                self._retire()
            finally:
                self.abandon()

    def _retire(self) -> None:
        """Empty the journal and, if no other process uses it, remove it."""
        if self._journal is None or self._poison is not None:
            return
        if not self._writing:  # of a transaction that was never ended
            begin_writing(self._locks, CLOSE_TIMEOUT_S)
        self._catch_up()
        if not try_alone(self._locks):
            return  # another process has it open, and will
        if not self._locks.try_exclusive(CHECKPOINT):
            return  # a snapshot needs what it has; who opens the file next removes it
        self._data.sync()
        self._journal.remove()
        self._journal = None

    def abandon(self) -> None:
        """Close without a word; what was committed stays in the journal. Also drops the locks."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self._data.close()
        self._locks.close()

    # --- one transaction at a time ----------------------------------------------------------

    def begin(self, timeout: float | None, mapping: Mapping | None = None) -> None:
        """Wait until no other transaction is open, in this process or in another; `mapping` cannot
        be closed until `end()`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        me = threading.get_ident()
        with self._turn:
            if self._owner == me:
                raise RuntimeError(
                    f"a transaction on {self.path!r} is open in this thread already: transactions "
                    "do not nest"
                )
            self._wanting += 1
            try:
                if not self._turn.wait_for(lambda: self._owner is None, timeout):
                    raise TimeoutError(
                        errno.ETIMEDOUT,
                        f"another thread of this process had a transaction open for {timeout} s",
                        self.path,
                    )
                self._owner, self._open_on = me, mapping
            finally:
                self._wanting -= 1
        try:
            self._require_healthy()
            self._take_writer_lock(deadline)
        except BaseException:
            self.end()
            raise

    def _take_writer_lock(self, deadline: float | None) -> None:
        """Only the owner calls this; nobody gives the lock back while there is one."""
        if self._writing and self._somebody_waits():
            self._wait_for_leader()  # other processes get their turn between ours
            self._give_back_writer_lock()
        if not self._writing:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            begin_writing(self._locks, left)
            self._writing = True
            self._catch_up()

    def _wait_for_leader(self) -> None:
        """Only the owner calls this: nobody stages anything meanwhile."""
        with self._turn:
            self._turn.wait_for(lambda: not self._waiting and not self._leading)

    def _give_back_writer_lock(self) -> None:
        self._writing = False
        end_writing(self._locks)

    def end(self) -> None:
        """The open transaction is over; the next thread may begin."""
        with self._turn:
            self._owner = self._open_on = None
            self._give_back_if_idle()
            self._turn.notify_all()

    def _give_back_if_idle(self) -> None:
        if self._writing and self._owner is None and not self._waiting and not self._leading:
            self._give_back_writer_lock()

    def _require_healthy(self) -> None:
        if self._poison is not None:
            error = self._poison
            raise OSError(
                error.errno,
                f"{error.strerror}: an earlier commit failed on its way to the disk, and what is "
                "there is known only when the file is opened again: close every mapping of it",
                self.path,
            )

    # --- what others did --------------------------------------------------------------------

    def _somebody_waits(self) -> bool:
        """Whether another process wants to write."""
        if not self._locks.try_exclusive(QUEUE):
            return True
        self._locks.unlock(QUEUE)
        return False

    def _catch_up(self) -> None:
        """Take in what other processes committed; the writer lock is held."""
        if self._journal is None:
            self._journal = self._opened_journal()
        else:
            self._journal.catch_up()
        journal = self._journal
        if not journal.applied:  # somebody died before he had
            begin_applying(self._locks, CLOSE_TIMEOUT_S)
            try:
                redo(journal, self._data)
            finally:
                end_applying(self._locks)
        self.take_size()

    def take_size(self) -> None:
        """Have the journal know the size of the data file, which was made longer or shorter without
        a transaction; only the owner calls this."""
        assert self._journal is not None
        if self._journal.data_size != self._data.size():
            self._wait_for_leader()
            self._locks.wait(self._checkpoint, CLOSE_TIMEOUT_S, "a snapshot", CHECKPOINT)

    def _opened_journal(self) -> Journal:
        """Open the journal, or make one; what is left of processes that died is recovered first."""
        become_alive(self._files, self.path, self._data, self._locks)
        try:
            return Journal.open_or_create(self._files, journal_path(self.path), self._data)
        except BaseException:
            self._locks.unlock(ALIVE)
            raise

    def file_bytes(self) -> int:
        """The size of the data file now."""
        return self._data.size()

    def require_size(self, size: int) -> None:
        """Raise if somebody cut the file or made it longer without a transaction."""
        now = self._data.size()
        if now != size:
            raise OSError(
                errno.ESTALE,
                f"the file had {size} bytes when the transaction began and has {now} now: nothing "
                "was written; roll back",
                self.path,
            )

    # --- committing -------------------------------------------------------------------------

    def show_pending(self, view: Mapping) -> int:
        """Store into a new private view what has been staged on top of the file, in order; return
        what `commit()` wants to know: how many commits had failed until now."""
        with self._turn:
            for staged in (*self._leading, *self._waiting):
                staged.show(view)
            return self._failures

    def commit(self, staged: Staged, seen: int, timeout: float | None) -> None:
        """Write what the owner staged; see the module's text for the order.

        Ends the transaction early (`staged.released`) where another thread may begin on top of it.
        """
        self._require_healthy()
        self._allocate(staged)
        grown = staged.size_after > staged.size_before
        with self._turn:
            if seen != self._failures:
                raise OSError(
                    errno.ECANCELED,
                    "a commit of another thread failed, whose changes this transaction had seen: "
                    "nothing was written; roll back, and begin again",
                    self.path,
                )
            self._waiting.append(staged)
            if staged.whole and not grown and self._wanting:
                staged.released = True
                self._owner = self._open_on = None
                self._turn.notify_all()
        self._settle(staged, timeout)

    def _allocate(self, staged: Staged) -> None:
        """Have blocks for all that is going to be written: afterwards nobody could be told."""
        grown = staged.size_after - staged.size_before
        if grown <= 0 and self._data.allocated() >= staged.size_before:
            return  # no holes
        try:
            for at in range(0, len(staged.runs), 2):
                self._data.allocate(staged.runs[at], staged.runs[at + 1])
            if grown > 0:
                self._data.allocate(staged.size_before, grown)
        except UnsupportedError:
            pass  # then a full disk is met by the journal, or stops the applying
        except BaseException:
            if grown > 0:
                self._data.resize(staged.size_before)  # gives the blocks past the end back
            raise

    def _settle(self, staged: Staged, timeout: float | None) -> None:
        """Wait until it is written, or write it together with all that is waiting."""
        with self._turn:
            while True:
                if staged.settled:
                    break
                if not self._leading:
                    self._leading, self._waiting = self._waiting, []
                    break
                try:
                    self._turn.wait()
                except BaseException:  # Ctrl-C: what is not being written yet need not be
                    if staged in self._waiting:
                        self._waiting.remove(staged)
                        self._failures += 1
                        raise
        if not staged.settled:
            self._lead(timeout)
        if staged.error is not None:
            raise staged.error

    def _lead(self, timeout: float | None) -> None:
        batch, error = self._leading, None
        try:
            interrupted = self._write(batch, timeout)
        except BaseException as caught:
            error = caught
            raise
        finally:
            with self._turn:
                for staged in batch:
                    staged.settle(error)
                if error is not None and any(staged.released for staged in batch):
                    self._failures += 1
                self._leading = []
                self._give_back_if_idle()
                self._turn.notify_all()
        if interrupted is not None:
            raise interrupted

    def _write(self, batch: list[Staged], timeout: float | None) -> BaseException | None:
        """Steps 3 to 7 of the module's text; returns what tried to interrupt them."""
        journal = self._journal
        assert journal is not None
        commits = [staged.commit() for staged in batch]
        nbytes = bytes_of(commits)
        if self._is_full(nbytes):  # most of a checkpoint, while readers may come and go
            self._completed(self._data.sync)
        begin_applying(self._locks, timeout)
        try:
            self._make_room(nbytes)
            try:
                journal.append(commits)
            except BaseException:
                self._completed(journal.undo_append)
                raise
            # Ctrl-C comes too late from here on: it is heard when all of this is done.
            interrupted = None
            for step in (journal.sync, lambda: self._apply(batch), journal.mark_applied):
                interrupted = self._completed(step) or interrupted
            return interrupted
        finally:
            try:
                end_applying(self._locks)
            except OSError as error:  # what is committed is, and must not look as if it were not
                self._poison_with(error)
                self._locks.close()

    def _completed(self, step: Callable[[], None]) -> BaseException | None:
        """Do what can be done again, until it is done; an error of the system poisons."""
        interrupted = None
        for _ in range(ATTEMPTS):
            try:
                step()
                return interrupted
            except OSError as error:
                self._poison_with(error)
                raise
            except BaseException as error:
                interrupted = error
        self._poison_with(OSError(errno.EINTR, os.strerror(errno.EINTR)))
        assert interrupted is not None
        raise interrupted

    def _apply(self, batch: list[Staged]) -> None:
        """Write into the data file what the journal holds by now."""
        if not all(staged.whole for staged in batch):
            assert self._journal is not None
            redo(self._journal, self._data)
            return
        for staged in batch:
            if staged.size_after > staged.size_before:
                self._data.resize(staged.size_after)
            self._data.write_runs(staged.runs, staged.payload())

    def _poison_with(self, error: OSError) -> None:
        """From now on nothing on this file claims success, until it is opened again."""
        self._poison = error
        for mapping in list(self._mappings):
            mapping._mark_lost()

    # --- the journal's room -----------------------------------------------------------------

    def _make_room(self, nbytes: int) -> None:
        """See that the journal takes so many bytes more, with the least of work."""
        journal = self._journal
        assert journal is not None
        if self._is_full(nbytes):
            self._checkpoint()
        if not journal.room(nbytes):
            journal.extend(nbytes)

    def _is_full(self, nbytes: int) -> bool:
        journal = self._journal
        assert journal is not None
        return journal.capacity >= MOST_JOURNAL_BYTES and not journal.room(nbytes)

    def _checkpoint(self) -> bool:
        """Have everything on the disk in the data file, and begin the journal anew; False if a
        snapshot needs what the journal has."""
        journal = self._journal
        assert journal is not None
        if not self._locks.try_exclusive(CHECKPOINT):
            return False
        try:
            self._completed(lambda: journal.checkpoint(self._data))
        finally:
            self._locks.unlock(CHECKPOINT)
        return True

    def flushed(self, mapping: Mapping) -> None:
        """Plain stores of a mapping have reached the disk: forget frames that could undo them."""
        if self.process != os.getpid() or self._journal is None:
            return
        inside = self._owner == threading.get_ident()
        if not inside:
            self.begin(CLOSE_TIMEOUT_S)
        try:
            if not self._journal.empty:
                self._wait_for_leader()
                # Beside a snapshot it is left out: after a crash, recovery then refuses to undo
                # stores that it finds, and says so.
                self._checkpoint()
        finally:
            if not inside:
                self.end()
