"""Locks between processes: bytes of the data file, far past its end, that nobody ever reads.

They belong to an open file (OFD locks on POSIX, ``LockFileEx`` on Windows) and go with the process
that holds them, however it ends. The file is opened for locking only: a mapping's own descriptor
may be closed, duplicated and inherited without anybody thinking of locks.

Two patterns are built from them:

- One writer, in turn. Who wants to write takes QUEUE, then WRITER, and gives QUEUE back. Whoever
  waits for WRITER holds QUEUE, so the writer that has just finished cannot overtake him.
- Many readers, or one that applies a commit, who goes first. A reader takes GATE shared, READERS
  shared, and gives GATE back, so GATE is never held for long. A commit takes GATE exclusively,
  which keeps new readers out, and READERS exclusively, when the last of the old ones has gone. It
  gives READERS back first: who holds GATE gets READERS at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from mmapkit._native import File

__all__ = [
    "ALIVE",
    "CHECKPOINT",
    "GATE",
    "QUEUE",
    "READERS",
    "RECOVERY",
    "WRITER",
    "Locks",
    "begin_applying",
    "begin_reading",
    "begin_writing",
    "checked_timeout",
    "end_applying",
    "end_reading",
    "end_writing",
    "try_alone",
    "try_reading",
]

END_OF_COMMIT: Final = "the end of a commit"

FIRST_BYTE: Final = 1 << 62
# ALIVE: shared by everybody who may write; who gets it exclusively is alone with the file.
# CHECKPOINT: shared by a snapshot, which needs that the journal keeps what it has.
# RECOVERY: held exclusively while finding out whether anybody is alive, and while becoming so.
QUEUE, WRITER, GATE, READERS, ALIVE, CHECKPOINT, RECOVERY = range(7)

# Between two attempts: what is held briefly comes soon, what is held long costs little to wait for.
SHORTEST_PAUSE_S: Final = 20e-6
LONGEST_PAUSE_S: Final = 1e-3


class Locks:
    """The locks that one open file holds; all threads of a process that share it share them.

    Asking for a lock that is held already is the caller's mistake. After a fork the child has none:
    its copy of the file is closed there, since it would keep the parent's locks when that dies.
    """

    def __init__(self, file: File) -> None:
        """Lock through `file`, which is closed with these locks and used for nothing else."""
        self.file = file
        _all.add(self)

    @property
    def closed(self) -> bool:
        """True after `close()`, and in a child that was forked since."""
        return self.file.closed

    def close(self) -> None:
        """Give all locks back."""
        self.file.close()

    def try_shared(self, kind: int) -> bool:
        """Take a lock shared, unless another file holds it exclusively.

        Raises
        ------
        UnsupportedError
            If the filesystem has no locks.
        """
        return self.file.try_lock(FIRST_BYTE + kind, 1, False)

    def try_exclusive(self, kind: int) -> bool:
        """Take a lock exclusively, unless another file holds it; raises like `try_shared()`."""
        return self.file.try_lock(FIRST_BYTE + kind, 1, True)

    def unlock(self, kind: int) -> None:
        """Give a lock back; in a child that was forked meanwhile there is nothing to give."""
        if not self.file.closed:
            self.file.unlock(FIRST_BYTE + kind, 1)

    def wait(
        self,
        attempt: Callable[[], bool],
        timeout: float | None,
        what: str,
        kind: int = WRITER,
    ) -> None:
        """Attempt until it succeeds; Ctrl-C ends the waiting.

        Parameters
        ----------
        attempt : callable
            Returns whether it succeeded.
        timeout : float or None
            Seconds; 0 attempts once, None waits for ever.
        what : str
            What is waited for, for the message.
        kind : int
            The lock whose holders the message names, where the system tells (Linux).

        Raises
        ------
        TimeoutError
        """
        if attempt():
            return
        start, pause = time.monotonic(), SHORTEST_PAUSE_S
        while True:
            left = LONGEST_PAUSE_S
            if timeout is not None:
                left = start + timeout - time.monotonic()
                if left <= 0:
                    raise self._timeout(what, kind)
            time.sleep(min(pause, left))
            if attempt():
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _timeout(self, what: str, kind: int) -> TimeoutError:
        found = sorted(set(_holders(self.file.identity()[1], FIRST_BYTE + kind)))
        who = ", ".join(map(_described, found)) or "another process"
        return TimeoutError(
            errno.ETIMEDOUT,
            f"timed out waiting for {what}; {who} did not let go in time",
            self.file.path,
        )


_all: weakref.WeakSet[Locks] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for locks in list(_all):
        locks.file._close_in_child()
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# --- one writer, in turn --------------------------------------------------------------------------


def begin_writing(locks: Locks, timeout: float | None) -> None:
    """Become the one writer, after those who were waiting before.

    Raises
    ------
    TimeoutError
        Names the process that writes, where the system tells.
    UnsupportedError
        If the filesystem has no locks.
    """
    try:
        _take_both(locks, QUEUE, WRITER, timeout, "the turn to write", WRITER)
        locks.unlock(QUEUE)
    except BaseException:
        _give_back(locks, QUEUE, WRITER)
        raise


def end_writing(locks: Locks) -> None:
    """Let the next one write."""
    locks.unlock(WRITER)


def try_alone(locks: Locks, timeout: float | None) -> bool:
    """Hold ALIVE exclusively instead of shared, unless somebody else is alive; then perhaps not at
    all any more. With the lock for writing, before the journal is let go.

    Raises
    ------
    TimeoutError, UnsupportedError
        As for `begin_writing()`.
    """
    if sys.platform != "win32":
        return locks.try_exclusive(ALIVE)
    # A lock does not change its kind there: nobody may look in between.
    locks.wait(lambda: locks.try_exclusive(RECOVERY), timeout, "recovery", RECOVERY)
    try:
        locks.unlock(ALIVE)
        return locks.try_exclusive(ALIVE)
    finally:
        locks.unlock(RECOVERY)


# --- many readers, or one commit ------------------------------------------------------------------


def try_reading(locks: Locks, *, inside: bool = False) -> bool:
    """Keep commits from being applied until `end_reading()`, unless one is being applied or waits.

    With `inside` the lock is held already, for another thread: then it only tells whether one more
    may join. Who does not ask would keep a commit waiting for ever, thread after thread.
    """
    file = locks.file
    try:
        if not file.try_lock(FIRST_BYTE + GATE, 1, False):
            return False
        return inside or file.try_lock(FIRST_BYTE + READERS, 1, False)
    finally:  # harmless if it is not held; Ctrl-C may come when it just is
        file.unlock(FIRST_BYTE + GATE, 1)


def begin_reading(locks: Locks, timeout: float | None) -> None:
    """Keep commits from being applied until `end_reading()`; waits for one that is under way.

    Raises
    ------
    TimeoutError, UnsupportedError
        As for `begin_writing()`.
    """
    locks.wait(lambda: try_reading(locks), timeout, END_OF_COMMIT, GATE)


def end_reading(locks: Locks) -> None:
    """Let commits be applied again."""
    locks.unlock(READERS)


def begin_applying(locks: Locks, timeout: float | None) -> None:
    """Keep readers out until `end_applying()`, and wait for those that are in.

    Raises
    ------
    TimeoutError, UnsupportedError
        As for `begin_writing()`, with the processes that read.
    """
    try:
        _take_both(locks, GATE, READERS, timeout, "the end of reading()", READERS)
    except BaseException:
        _give_back(locks, READERS, GATE)
        raise


def end_applying(locks: Locks) -> None:
    """Let readers in again."""
    try:
        locks.unlock(READERS)
    finally:
        locks.unlock(GATE)


# --- waiting --------------------------------------------------------------------------------------


def _take_both(
    locks: Locks, first: int, second: int, timeout: float | None, what: str, kind: int
) -> None:
    """Take two locks exclusively: wait for the first, and then, holding it, for the second."""
    start = None
    if not locks.try_exclusive(first):
        start = time.monotonic()
        locks.wait(lambda: locks.try_exclusive(first), timeout, what, kind)
    if not locks.try_exclusive(second):
        if start is not None and timeout is not None:
            timeout = max(0.0, start + timeout - time.monotonic())
        locks.wait(lambda: locks.try_exclusive(second), timeout, what, kind)


def _give_back(locks: Locks, first: int, second: int) -> None:
    """Give back what was obtained of two, if any: Ctrl-C may come between a lock and the note that
    it is held."""
    with contextlib.suppress(OSError):  # it is another error that is told
        locks.unlock(first)
        locks.unlock(second)


def checked_timeout(timeout: float | None) -> float | None:
    """Return it; ValueError or TypeError unless it is a number of seconds or None."""
    if timeout is not None and not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
    if timeout is not None and not timeout >= 0:  # also not a number
        raise ValueError(f"timeout must be a number of seconds or None, not {timeout!r}")
    # Threads cannot wait for longer than this: some centuries.
    return timeout if timeout is None or timeout <= threading.TIMEOUT_MAX else None


def _holders(inode: int, byte: int) -> Iterator[int]:
    """Processes that hold an OFD lock on a byte of a file, as far as this one may know: proc(5),
    "/proc/pid/fdinfo"; /proc/locks has no process for such locks."""
    with contextlib.suppress(OSError):
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):  # gone, or somebody else's
                folder = f"/proc/{process}/fdinfo"
                if any(_locks_byte(f"{folder}/{name}", inode, byte) for name in os.listdir(folder)):
                    yield int(process)


def _locks_byte(path: str, inode: int, byte: int) -> bool:
    # lock: 1: OFDLCK  ADVISORY  WRITE -1 08:01:1234 4611686018427387905 4611686018427387905
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            words = line.split()
            if words[0] == "lock:" and words[2] == "OFDLCK" and words[-2] == str(byte):
                return words[-3].endswith(f":{inode}")
    return False


def _described(process: int) -> str:
    if process == os.getpid():
        return "this process"
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as file:
            return f"process {process} ({file.read().strip()})"
    except OSError:
        return f"process {process}"
