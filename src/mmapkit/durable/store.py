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

import _thread
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
    try_alone,
)
from mmapkit.durable.recovery import become_alive
from mmapkit.durable.redo import redo
from mmapkit.durable.staged import Staged
from mmapkit.errors import UnsupportedError
from mmapkit.pools import POLL_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from mmapkit._native import File
    from mmapkit.durable.files import Files
    from mmapkit.durable.journal import Commit
    from mmapkit.mapping import Mapping

__all__ = ["Store", "store_of"]

# The journal grows up to this before it begins anew; a single commit may take more.
MOST_JOURNAL_BYTES: Final = 64 << 20
# How often a step of a commit is done again when something like Ctrl-C has interrupted it.
ATTEMPTS: Final = 5
# Flushing waits so long for a transaction of somebody else, and a commit for readers and snapshots
# that are in the way of putting things in order.
PATIENCE_S: Final = 60.0
# Closing waits so long for the writer lock: who has it for longer is no other that closes.
LEAVING_TIMEOUT_S: Final = 1.0

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
        store.be_idle()
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
        # May be taken again: collecting garbage may end a transaction anywhere.
        self._lock = threading.RLock()
        # All of these are changed under it.
        self._bells: list[_thread.LockType] = []  # of threads that wait for a change
        self._owner: int | None = None  # the thread whose transaction is open
        self._token: object = None  # which transaction that is
        self._open_on: Mapping | None = None  # what that changes
        self._wanting: set[int] = set()  # threads that wait for their turn
        self._writing = False  # this process has the writer lock
        self._waiting: list[Staged] = []  # for a leader, in the order in which they ended
        self._leading: list[Staged] = []  # what the leader is writing
        self._failures = 0
        self._poison: OSError | None = None
        self._mappings: weakref.WeakKeyDictionary[Mapping, None] = weakref.WeakKeyDictionary()

    # --- who uses it ------------------------------------------------------------------------

    def join(self, mapping: Mapping) -> None:
        """Stay open until this mapping, too, has left, or is gone."""
        self._mappings[mapping] = None
        weakref.finalize(mapping, self._leave_at_end)

    def move(self, mapping: Mapping, to: Mapping) -> None:
        """An array that has grown has another mapping now."""
        self.join(to)
        to._ledger = self
        self._forget(mapping)

    def _forget(self, mapping: Mapping) -> None:
        self._mappings.pop(mapping, None)
        mapping._ledger = None
        if mapping._spares is not None:
            mapping._spares.clear()

    def require_no_transaction(self, mapping: Mapping) -> None:
        """Raise BufferError if a transaction on this mapping is open: it is about to be closed."""
        if self.process != os.getpid():
            return
        with self._lock:
            staged = (*self._leading, *self._waiting)
            busy = self._open_on is mapping or any(each.base is mapping for each in staged)
        if busy:
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
        if not self._writing:  # else a transaction was never ended
            try:
                begin_writing(self._locks, LEAVING_TIMEOUT_S)
            except TimeoutError:
                return  # another process has a transaction open, and does the rest when it closes
        if not self._journal.is_there():
            self._data.sync()
            return
        self._catch_up()
        if not try_alone(self._locks, LEAVING_TIMEOUT_S):
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

    def be_idle(self) -> None:
        """In a forked child: nobody else is there who could have begun anything."""
        self._lock = threading.RLock()
        self._bells = []
        self._owner = self._open_on = self._token = None
        self._writing = False
        self._waiting, self._leading = [], []

    # --- one transaction at a time ----------------------------------------------------------

    def begin(self, token: object, timeout: float | None, mapping: Mapping | None = None) -> None:
        """Wait until no other transaction is open, in this process or in another; `mapping` cannot
        be closed until `end()` with the same token. After an exception there is none to be ended.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        me = threading.get_ident()

        def own() -> bool:
            if self._owner is not None:
                return False
            self._owner, self._open_on, self._token = me, mapping, token
            return True

        if self._owner == me:
            raise RuntimeError(
                f"a transaction on {self.path!r} is open in this thread already: transactions do "
                "not nest"
            )
        try:
            self._wanting.add(me)
            try:
                if not self._wait_until(own, timeout):
                    raise TimeoutError(
                        errno.ETIMEDOUT,
                        f"another thread of this process had a transaction open for {timeout} s",
                        self.path,
                    )
            finally:
                self._wanting.discard(me)
            self._require_healthy()
            self._take_writer_lock(deadline)
        except BaseException:
            self.end(token)
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

    def _wait_until(self, attempt: Callable[[], bool], timeout: float | None = None) -> bool:
        """Attempt something, with the lock, after each change until it succeeds; tell whether it
        did.

        This is no threading.Condition, which Ctrl-C may leave without the lock, or with it for
        ever. It looks every now and then: who was to ring may have been interrupted, and on Windows
        Ctrl-C does not wake who waits.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        bell: _thread.LockType | None = None
        while True:
            with self._lock:
                if bell in self._bells:  # nobody rang
                    self._bells.remove(bell)
                if attempt():
                    return True
                bell = _thread.allocate_lock()
                bell.acquire()
                self._bells.append(bell)
            left = POLL_S if deadline is None else min(POLL_S, deadline - time.monotonic())
            if left <= 0:
                return False
            bell.acquire(True, left)

    def _ring(self) -> None:
        """Something has changed; with the lock."""
        while self._bells:
            self._bells.pop().release()

    def _wait_for_leader(self) -> None:
        """Only the owner calls this: nobody stages anything meanwhile."""
        self._wait_until(lambda: not self._waiting and not self._leading)

    def _give_back_writer_lock(self) -> None:
        try:
            end_writing(self._locks)
        except BaseException:  # Ctrl-C, perhaps before it was done
            end_writing(self._locks)
            raise
        finally:
            self._writing = False

    def end(self, token: object) -> None:
        """The transaction that began with this token is over, if it is the open one; the next
        thread may begin."""
        with self._lock:
            if self._token is token:
                self._owner = self._open_on = self._token = None
                self._ring()
            self._give_back_if_idle()

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
        if self._journal is not None and not self._journal.is_there():
            self._data.sync()  # somebody has removed it; all that it had is in the data file
            self._journal.close()
            self._journal = None
        if self._journal is None:
            self._journal = self._opened_journal()
        else:
            self._journal.catch_up()
        journal = self._journal
        if not journal.applied:  # somebody died before he had
            begin_applying(self._locks, PATIENCE_S)
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
            self._locks.wait(self._checkpoint, PATIENCE_S, "a snapshot", CHECKPOINT)

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
        with self._lock:
            for staged in (*self._leading, *self._waiting):
                staged.show(view)
            return self._failures

    def commit(self, staged: Staged, seen: int, timeout: float | None) -> None:
        """Write what the owner staged; see the module's text for the order.

        Ends the transaction early (`staged.released`) where another thread may begin on top of it.
        An exception of the system means that nothing was written. What interrupts, like Ctrl-C, is
        raised once it is known what became of it: `staged.committed`.
        """
        self._require_healthy()
        self._allocate(staged)
        try:
            self._line_up(staged, seen)
            self._settle(staged, timeout)
        except BaseException:
            self._withdraw(staged)
            raise
        error, staged.error = staged.error, None
        try:
            if error is not None:
                raise error
        finally:
            error = None  # its traceback would keep this frame, and all that it has, alive

    def _line_up(self, staged: Staged, seen: int) -> None:
        with self._lock:
            if seen != self._failures:
                raise _canceled(self.path)
            self._waiting.append(staged)
            if staged.whole and staged.size_after == staged.size_before and self._wanting:
                staged.released = True
                self._owner = self._open_on = self._token = None
                self._ring()

    def _withdraw(self, staged: Staged) -> None:
        """Its thread was interrupted: it is not to be written, unless somebody is at it already;
        then wait for him."""
        with self._lock:
            if staged in self._waiting:
                self._cancel_from(self._waiting.index(staged))
        while not staged.settled and staged in self._leading:
            with contextlib.suppress(BaseException):  # it has been heard once
                self._wait_until(lambda: staged.settled)

    def _cancel_from(self, place: int, failed: Sequence[Staged] = ()) -> None:
        """Fail what waits from a place on: each has seen the changes of those before it, and of
        those that have failed. So has the open transaction, if one of them was released."""
        canceled = self._waiting[place:]
        for staged in canceled:
            staged.settle(_canceled(self.path))
        del self._waiting[place:]
        if any(staged.released for staged in (*failed, *canceled)):
            self._failures += 1
        self._ring()

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
        batch: list[Staged] = []
        error: BaseException | None = None

        def written_or_leading() -> bool:
            nonlocal batch
            if staged.settled or self._leading:
                return staged.settled
            batch, self._leading, self._waiting = self._waiting, self._waiting, []
            return True

        try:
            self._wait_until(written_or_leading)
            if staged.settled:
                return
            self._write(batch, timeout)
        except BaseException as caught:
            error = caught
            raise
        finally:
            if batch:
                try:
                    self._finish(batch, error)
                except BaseException:  # Ctrl-C, perhaps before it was done
                    self._finish(batch, error)
                    raise
            error = None  # its traceback would keep this frame alive

    def _finish(self, batch: list[Staged], error: BaseException | None) -> None:
        """Tell all what became of it, and let the next one lead."""
        with self._lock:
            for staged in batch:
                if not staged.settled:
                    staged.settle(error)
            failed = [staged for staged in batch if not staged.committed]
            if failed:
                self._cancel_from(0, failed)
            self._leading = []
            self._give_back_if_idle()
            self._ring()

    def _write(self, batch: list[Staged], timeout: float | None) -> None:
        """Steps 3 to 7 of the module's text."""
        journal = self._journal
        assert journal is not None
        commits = [staged.commit() for staged in batch]
        nbytes = bytes_of(commits)
        if self._is_full(nbytes):  # most of a checkpoint, while readers may come and go
            self._completed(self._data.sync)
        begin_applying(self._locks, timeout)
        try:
            self._make_room(nbytes)
            self._perform(journal, commits, batch)
        except BaseException as error:
            if not journal.applied:  # nobody knows what the journal holds
                self._poison_with(error)
            raise
        finally:
            try:
                end_applying(self._locks)
            except OSError as error:  # what was committed is committed; but nobody gets in
                self._poison_with(error)
            except BaseException:  # Ctrl-C, perhaps before it was done
                end_applying(self._locks)
                raise

    def _perform(self, journal: Journal, commits: list[Commit], batch: list[Staged]) -> None:
        """Steps 4 to 7 of the module's text."""
        try:
            journal.append(commits)
        except BaseException:
            self._completed(journal.undo_append)
            raise
        # Ctrl-C comes too late from here on: it is told when all of this is done. Python hears it
        # at calls, so none stands outside of `try`.
        interrupted = None
        attempts = ATTEMPTS
        left: list[Callable[[], None]] = [
            lambda: _settle_all(batch),
            journal.mark_applied,
            lambda: self._apply(batch),
            journal.sync,
        ]
        while True:
            try:
                while left:  # within `try`: it is heard where a loop goes back, too
                    left[-1]()
                    left.pop()
                break
            except OSError:
                raise
            except BaseException as error:
                interrupted = error
                attempts -= 1
                if not attempts:
                    raise
        try:
            if interrupted is not None:
                raise interrupted
        finally:
            interrupted = None  # its traceback would keep this frame alive

    def _completed(self, step: Callable[[], None]) -> None:
        """Do what can be done again, until it is done, and then raise what interrupted it; an error
        of the system poisons."""
        interrupted: BaseException | None = None
        for _ in range(ATTEMPTS):
            try:
                step()
                break
            except OSError as error:
                self._poison_with(error)
                raise
            except BaseException as error:
                interrupted = error
        else:
            assert interrupted is not None
            self._poison_with(interrupted)
        try:
            if interrupted is not None:
                raise interrupted
        finally:
            interrupted = None  # its traceback would keep this frame alive

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

    def _poison_with(self, error: BaseException) -> None:
        """From now on nothing on this file claims success, until it is opened again."""
        if not isinstance(error, OSError):
            error = OSError(errno.EINTR, os.strerror(errno.EINTR))
        self._poison = error
        for known in self._mappings.keyrefs():
            mapping = known()
            if mapping is not None:
                mapping._mark_lost()

    # --- the journal's room -----------------------------------------------------------------

    def _make_room(self, nbytes: int) -> None:
        """See that the journal takes so many bytes more, with the least of work."""
        journal = self._journal
        assert journal is not None
        if self._is_full(nbytes):
            self._checkpoint()
        if not journal.room(nbytes):
            try:
                journal.extend(nbytes)
            except OSError:  # a full disk; what the journal has may be enough if it begins anew
                if journal.empty or not self._checkpoint() or not journal.room(nbytes):
                    raise

    def _is_full(self, nbytes: int) -> bool:
        journal = self._journal
        assert journal is not None
        return journal.capacity >= MOST_JOURNAL_BYTES and not journal.room(nbytes)

    def _checkpoint(self) -> bool:
        """Have everything on the disk in the data file, and begin the journal anew; False if a
        snapshot needs what the journal has."""
        journal = self._journal
        assert journal is not None
        try:
            if not self._locks.try_exclusive(CHECKPOINT):
                return False
            self._completed(lambda: journal.checkpoint(self._data))
        finally:
            try:
                self._locks.unlock(CHECKPOINT)
            except BaseException:  # Ctrl-C, perhaps before it was done
                self._locks.unlock(CHECKPOINT)
                raise
        return True

    def flushed(self, mapping: Mapping) -> None:
        """Plain stores of a mapping have reached the disk: forget frames that could undo them."""
        if self.process != os.getpid() or self._journal is None:
            return
        inside, token = self._owner == threading.get_ident(), object()
        if not inside:
            self.begin(token, PATIENCE_S)
        try:
            if not self._journal.empty:
                self._wait_for_leader()
                # Beside a snapshot it is left out: after a crash, recovery then refuses to undo
                # stores that it finds, and says so.
                self._checkpoint()
        finally:
            if not inside:
                try:
                    self.end(token)
                except BaseException:  # Ctrl-C, perhaps before it was done
                    self.end(token)
                    raise


def _settle_all(batch: list[Staged]) -> None:
    for staged in batch:
        staged.settle(None)


def _canceled(path: str) -> OSError:
    return OSError(
        errno.ECANCELED,
        "a commit of another thread failed, whose changes this transaction had seen: nothing was "
        "written; roll back, and begin again",
        path,
    )
