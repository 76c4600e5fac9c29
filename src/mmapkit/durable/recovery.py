"""What is done with a journal that somebody left behind: examine it, complete it, or refuse.

docs/journal.md says what is decided when, and why. What a journal holds is in findings.py, whether
it fits the file in fit.py, and how it is applied in redo.py.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import closing

from mmapkit.durable.files import OS, SUFFIX, journal_path
from mmapkit.durable.findings import Findings
from mmapkit.durable.fit import require_fit, shows_all
from mmapkit.durable.journal import Journal
from mmapkit.durable.locks import (
    ALIVE,
    FIRST_BYTE,
    RECOVERY,
    WRITER,
    Locks,
    begin_applying,
    end_applying,
)
from mmapkit.durable.redo import apply, harden, redo
from mmapkit.errors import JournalError, RecoveryNeeded, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from mmapkit._native import File
    from mmapkit.durable.files import Files

__all__ = [
    "Report",
    "become_alive",
    "before_open",
    "before_replace",
    "recover",
    "verify",
]

# How long to wait for somebody who is just applying a commit.
PATIENCE_S: Final = 10.0
PAUSE_S: Final = 0.001


# --- who is alive ---------------------------------------------------------------------------------


def become_alive(files: Files, path: str, data: File, locks: Locks) -> None:
    """Hold ALIVE shared from now on; before that, recover the file, if nobody held it.

    Raises
    ------
    JournalError
        If the journal is damaged, or not of this file as it is.
    TimeoutError
        If others are busy finding out the same for too long.
    UnsupportedError
        If the filesystem has no locks.
    """
    _with_recovery(locks)
    try:
        journal = journal_path(path)
        if files.exists(journal) and locks.try_exclusive(ALIVE):
            _complete(files, journal, data, force=False)
            locks.unlock(ALIVE)
        locks.wait(lambda: locks.try_shared(ALIVE), PATIENCE_S, "recovery", ALIVE)
    finally:
        locks.unlock(RECOVERY)


def _with_recovery(locks: Locks) -> None:
    locks.wait(lambda: locks.try_exclusive(RECOVERY), PATIENCE_S, "recovery", RECOVERY)


def _complete(files: Files, journal: str, data: File, force: bool) -> int:
    """Apply a journal of nobody alive, and remove it; return how many commits it held."""
    if not files.exists(journal):
        return 0
    with closing(files.open(journal, "r+")) as file, Findings(journal, file) as found:
        if found.entries:
            if not force:
                require_fit(found, data)
            harden(found, file)
            apply(found, found.entries, data)
            data.sync()
    _remove(files, journal)
    return len(found.entries)


def _remove(files: Files, journal: str) -> None:
    files.remove(journal)
    files.sync_directory(journal)


def _recover(files: Files, journal: str, data: File, locks: Locks) -> int:
    """Complete the journal if nobody is alive, and return how many commits it held; else see that
    what a dead process left is applied, or wait for one who is at it.

    Held: RECOVERY, so that those who hold ALIVE are users of the file.
    """
    end = time.monotonic() + PATIENCE_S
    opened = None
    try:
        while True:
            if locks.try_exclusive(ALIVE):  # the last of them is gone
                return _complete(files, journal, data, force=False)
            try:
                if opened is None:
                    opened = Journal.open(files, journal, data)
                else:
                    opened.catch_up()
            except FileNotFoundError:  # the last of them has removed it
                return 0
            if opened.applied:
                return 0
            if locks.try_exclusive(WRITER):
                try:
                    begin_applying(locks, max(0.0, end - time.monotonic()))
                    try:
                        opened.catch_up()
                        if not opened.applied:
                            redo(opened, data)
                    finally:
                        end_applying(locks)
                finally:
                    locks.unlock(WRITER)
                return 0
            if time.monotonic() > end:
                locks.wait(lambda: False, 0, "a commit to be applied", WRITER)
            locks.unlock(RECOVERY)  # who writes may need it to go on
            time.sleep(PAUSE_S)
            _with_recovery(locks)
    finally:
        if opened is not None:
            opened.close()


# --- before a file is opened ----------------------------------------------------------------------


def before_open(path: str, mode: str, files: Files = OS) -> None:
    """See to the journal of a file that is about to be opened: called where there is one.

    Parameters
    ----------
    path : str
        Of the data file; its last component may be a symbolic link.
    mode : {"r", "r+", "w+", "x+", "c"}
        How it will be opened.

    Raises
    ------
    RecoveryNeeded
        If the mode only reads and the file does not show the committed state.
    JournalError
        If the journal is damaged, or not of this file as it is.
    OSError
        EBUSY for ``"w+"``, if somebody uses the journal; what the system says.
    """
    journal = journal_path(path)
    if mode == "w+":
        before_replace(path, files)
    elif mode == "x+":
        if not files.exists(path):
            _remove(files, journal)
    elif mode == "r+":
        _recover_to_write(files, path, journal)
    else:
        _require_committed(files, path, journal)


def _recover_to_write(files: Files, path: str, journal: str) -> None:
    try:
        data = files.open(path, "r+")
    except (FileNotFoundError, PermissionError):
        return  # the caller will hear the same, as he asked for it
    locks = Locks(data)
    try:
        _with_recovery(locks)
        _recover(files, journal, data, locks)
    finally:
        data.close()


def before_replace(path: str, files: Files = OS) -> None:
    """Remove the journal of a file that is about to be emptied or replaced by another.

    Raises
    ------
    OSError
        EBUSY if somebody uses it.
    """
    journal = journal_path(path)
    try:
        data = files.open(path, "r+")
    except FileNotFoundError:
        _remove(files, journal)
        return
    locks = Locks(data)
    try:
        _require_alone(locks, journal, "replace the file")
        if files.exists(journal):
            _remove(files, journal)
    finally:
        data.close()


def _require_alone(locks: Locks, journal: str, what: str) -> None:
    try:
        _with_recovery(locks)
        alone = locks.try_exclusive(ALIVE)
    except UnsupportedError:
        alone = True  # nobody can have transactions here
    if not alone:
        raise OSError(
            errno.EBUSY,
            f"{os.strerror(errno.EBUSY)}: transactions are under way on it, with the journal "
            f"{journal!r}; close the mappings that use them, in every process, to {what}",
            locks.file.path,
        )


def _require_committed(files: Files, path: str, journal: str) -> None:
    """Raise RecoveryNeeded unless those who read the file see the committed state."""
    try:
        data, alone = _open_to_look(files, path)
    except FileNotFoundError:
        return  # the caller will hear the same
    end = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                with closing(files.open(journal, "r")) as file, Findings(journal, file) as found:
                    if not found.entries or (alone is False and found.marked):
                        return
                    if shows_all(found, data):
                        return
                    if alone:
                        require_fit(found, data)
            except FileNotFoundError:  # it has been completed
                return
            if alone or time.monotonic() > end or not _somebody_writes(data):
                break
            time.sleep(PAUSE_S)
    finally:
        data.close()
    raise RecoveryNeeded(
        getattr(errno, "EUCLEAN", errno.EIO),
        "a commit to the file was interrupted: open it with mode 'r+', or call "
        "mmapkit.recover(path), which completes the commit",
        path,
    )


def _open_to_look(files: Files, path: str) -> tuple[File, bool | None]:
    """Open the data file; True if nobody can use the journal meanwhile, False if somebody does,
    None if that cannot be known."""
    try:
        data = files.open(path, "r+")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return files.open(path, "r"), None
    try:
        locks = Locks(data)
        _with_recovery(locks)
        return data, locks.try_exclusive(ALIVE)
    except UnsupportedError:
        return data, None
    except BaseException:
        data.close()
        raise


def _somebody_writes(data: File) -> bool:
    """Whether a commit may just be under way; found out without the right to write."""
    try:
        found = data.try_lock(FIRST_BYTE + WRITER, 1, False)
    except UnsupportedError:
        return False
    if found:
        data.unlock(FIRST_BYTE + WRITER, 1)
    return not found


# --- on demand ------------------------------------------------------------------------------------


def recover(
    path: str | bytes | os.PathLike[str], *, discard: bool = False, force: bool = False
) -> int:
    """Complete the commits to a file that were interrupted, and remove its journal.

    Opening the file with mode ``"r+"`` does the same. If other processes have transactions on it,
    only what a dead one has left is completed, and the journal stays.

    Parameters
    ----------
    path : path
        The data file.
    discard : bool
        Throw the journal away instead, whatever is in it: the file stays as it is, which may be
        with some pages of a commit and without others.
    force : bool
        Apply the journal even if the file is not the one it was made for, or has been changed
        since; its own checksums must be right all the same.

    Returns
    -------
    int
        How many commits the journal held; 0 if there was none, or if it was discarded.

    Raises
    ------
    JournalError
        If the journal is damaged, or does not belong to the file as it is now; nothing is changed.
    OSError
        The system's; EBUSY if a journal in use was to be discarded or forced.

    Examples
    --------
    >>> import mmapkit as mk
    >>> with mk.open("safe.bin", "w+", size=10) as m:
    ...     pass
    >>> mk.recover("safe.bin")
    0
    """
    if discard and force:
        raise ValueError("discard=True throws the journal away, force=True applies it: choose one")
    return _recover_on_demand(OS, os.path.realpath(os.fsdecode(path)), discard, force)


def _recover_on_demand(files: Files, path: str, discard: bool, force: bool) -> int:
    journal = path + SUFFIX
    try:
        data = files.open(path, "r+")
    except FileNotFoundError:
        if discard and files.exists(journal):
            _remove(files, journal)
            return 0
        raise
    try:
        if not files.exists(journal):
            return 0
        locks = Locks(data)
        if not discard and not force:
            _with_recovery(locks)
            return _recover(files, journal, data, locks)
        _require_alone(locks, journal, "discard it" if discard else "force it")
        if force:
            return _complete(files, journal, data, force=True)
        _remove(files, journal)
        return 0
    finally:
        data.close()


class Report:
    """What `verify()` found.

    Attributes
    ----------
    path, journal : str
        The data file, and its journal.
    state : {"no journal", "committed", "in use", "needs recovery", "damaged"}
        ``"committed"``: the file shows every commit of its journal. ``"in use"``: other mappings
        have transactions on it, and all is well. ``"damaged"``: the journal, or it does not belong
        to the file as it is.
    commits : int or None
        In the journal, since its last checkpoint.
    message : str
        What is wrong and what can be done; empty if nothing is.
    """

    __slots__ = ("commits", "journal", "message", "path", "state")

    def __init__(
        self, path: str, journal: str, state: str, commits: int | None = None, message: str = ""
    ) -> None:
        """Note what was found."""
        self.path = path
        self.journal = journal
        self.state = state
        self.commits = commits
        self.message = message


def verify(path: str | bytes | os.PathLike[str], files: Files = OS) -> Report:
    """Tell whether a file shows the committed state, and whether its journal is sound.

    Changes nothing. Raises OSError if one of them cannot be read.
    """
    name = os.path.realpath(os.fsdecode(path))
    journal = name + SUFFIX
    data, alone = _open_to_look(files, name)
    try:
        if not files.exists(journal):
            return Report(name, journal, "no journal")
        with closing(files.open(journal, "r")) as file, Findings(journal, file) as found:
            count = len(found.entries)
            if alone is False and found.marked:
                return Report(name, journal, "in use", count)
            if not count or shows_all(found, data):
                return Report(name, journal, "committed", count)
            if alone is not False:
                require_fit(found, data)
            message = "mmapkit recover completes the commits that were interrupted"
            return Report(name, journal, "needs recovery", count, message)
    except JournalError as error:
        return Report(name, journal, "damaged", None, str(error))
    except FileNotFoundError:  # removed meanwhile
        return Report(name, journal, "no journal")
    finally:
        data.close()
