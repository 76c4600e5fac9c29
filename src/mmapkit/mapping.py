"""Mapping: open, close, resize, flush, advise. Bytes; numbers are in array.py."""

from __future__ import annotations

import errno

from mmapkit import faults as _faults  # noqa: F401  (arms the guard's Python side)
from mmapkit._native import (
    Region,
    Reservation,
    Span,
    allocation_granularity,
    name_beside,
    page_size,
    require_advice,
    supported_advice,
)
from mmapkit.errors import MappingFault, UnsupportedError
from mmapkit.residency import Residency, of_mapping
from mmapkit.searchable import Searchable

TYPE_CHECKING = False  # importing typing would cost more than all of this package
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import IO, Any, Final, Self

    import numpy.typing as npt

    from mmapkit.durable.reading import Reader, Reading
    from mmapkit.durable.store import Store
    from mmapkit.durable.transaction import Transaction
    from mmapkit.durable.view import Spares
    from mmapkit.passes.running import Blocks
    from mmapkit.rawfile import MappingFile
    from mmapkit.views import Order

    type_of_file = str | bytes | os.PathLike[str] | int | IO[Any]

__all__ = [
    "Mapping",
    "allocation_granularity",
    "anonymous",
    "open",
    "page_size",
    "supported_advice",
    "temporary",
]

_WRITE, _CREATE, _EXCLUSIVE = 1, 2, 4  # mmk/file.h
_READ_MODE, _WRITE_MODE, _COPY_MODE = 0, 1, 2  # mmk/region.h

JOURNAL_SUFFIX: Final = ".mmapkit-journal"

# mode -> how the file is opened, how it is mapped
_MODES: Final = {
    "r": (0, _READ_MODE),
    "r+": (_WRITE, _WRITE_MODE),
    "w+": (_WRITE | _CREATE, _WRITE_MODE),
    "x+": (_WRITE | _CREATE | _EXCLUSIVE, _WRITE_MODE),
    "c": (0, _COPY_MODE),
}
# mode -> how another process opens the same bytes: no new file, no private changes
MODES_ELSEWHERE: Final = {"r": "r", "r+": "r+", "w+": "r+", "x+": "r+", "c": "r"}


class Mapping(Region, Searchable):
    """One mapped segment of a file, a device or anonymous memory; sole owner of its addresses.

    Made by `open()`, `anonymous()` and `temporary()`. A context manager that closes at the end of
    the block. Exports the buffer protocol without copying, read-only where the mode is; views keep
    its pages alive. Pickles by reference: another process opens the same file.

    Every call may be made from any thread. Closing while another thread is inside a call raises
    `BufferError` there or `ValueError` here, and never crashes.
    """

    _name: str | None = None
    _reserve: int | None = None
    _spares: Spares | None = None  # views of transactions that have ended
    _ledger: Store | None  # of its transactions, from the first one on
    _reader: Reader | None  # of reading()
    _followed: int = -1  # bytes that the file had when reading() last looked

    def __init__(self) -> None:
        """Refuse: an unopened mapping is of no use."""
        raise TypeError("a Mapping is made by mmapkit.open(), anonymous() or temporary()")

    def __enter__(self) -> Self:
        """Return the mapping."""
        self._require_open_for("enter it")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; with live views while an exception is under way, close with the last of them."""
        # The traceback holds the frames whose variables are the views: BufferError would hide the
        # error that matters.
        try:
            self.close(defer=error is not None)
        except MappingFault as fault:
            if error is None or isinstance(error, Exception):
                raise
            error.add_note(str(fault))  # Ctrl-C stays Ctrl-C

    def _require_open_for(self, what: str) -> None:
        if self.closed:
            raise ValueError(f"the mapping is closed ({self.path!r}): cannot {what}")

    def __repr__(self) -> str:
        """Show file, mode, size and how it is backed."""
        state = "closed" if self.closed else f"{self.size} bytes, backend={self.backend!r}"
        name = f" name={self._name!r}" if self._name else ""
        return f"<mmapkit.Mapping {self.path!r} mode={self.mode!r}{name} {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by reference: path, mode, offset and length.

        Mode ``"c"`` becomes ``"r"``, since its changes stay in this process; a mode that makes a
        file becomes ``"r+"``.
        """
        return (reopen, self._reference())

    def _reference(self) -> tuple[Any, ...]:
        """What `reopen()` needs to map the same bytes in another process."""
        self._require_open_for("pickle it")
        if self.path is None:
            raise TypeError("a mapping without a path cannot be pickled: it has no name elsewhere")
        length = None if self._follows_file else self.size
        backend = "read" if self.backend == "read" else "auto"
        mode = MODES_ELSEWHERE[self.mode]
        return (self.path, mode, self.offset, length, self._reserve, backend)

    # --- views ------------------------------------------------------------------------------

    def array(
        self,
        dtype: npt.DTypeLike,
        shape: int | Sequence[int] | None = None,
        offset: int = 0,
        order: Order = "C",
        strides: Sequence[int] | None = None,
    ) -> npt.NDArray[Any]:
        """See the bytes as a plain `numpy.ndarray`, without copying.

        Parameters
        ----------
        dtype : dtype_like
            Any that numpy can map: structured, big-endian, complex, ...; not objects.
        shape : int or sequence of int, optional
            By default one dimension, to the end of the mapping.
        offset : int
            Of the first element, in bytes; need not be aligned.
        order : {"C", "F"}
            Row-major or column-major; without `strides`.
        strides : sequence of int, optional
            Bytes from one element to the next along each axis; may be negative.

        Returns
        -------
        numpy.ndarray
            Read-only where the mapping is. It keeps the mapping's pages alive and counts as one
            export until the last array made from it is gone.

        Raises
        ------
        ValueError
            If the array does not lie inside the mapping.
        """
        from mmapkit.views import ndarray_over

        return ndarray_over(self, dtype, shape, offset, order, strides)

    def as_file(self) -> MappingFile:
        """Return a raw file (`io.RawIOBase`) over the bytes, which keeps the mapping alive."""
        from mmapkit.rawfile import MappingFile

        self._require_open_for("read it as a file")
        return MappingFile(self)

    # --- memory -----------------------------------------------------------------------------

    def blocks(self, size: int = 8 << 20, *, overlap: int = 0, drop_behind: bool = True) -> Blocks:
        """Pass over the bytes block by block, in bounded memory.

        Pages are read ahead of the pass and, behind it, leave this process and, if the pass itself
        brought them in, the page cache. Nothing is lost that is not on the disk yet.

        Parameters
        ----------
        size : int
            Bytes of a block; the last may have less.
        overlap : int
            How many bytes of the end of each block are repeated at the start of the next; less than
            `size`, which counts them.
        drop_behind : bool
            False leaves everything in memory.

        Returns
        -------
        Blocks
            Iterates over memoryviews, without copying; each keeps the mapping's pages alive.

        Raises
        ------
        MappingFault
            While iterating, at the latest with the next block, if the file became shorter.
        """
        from mmapkit.passes.sources import of_mapping

        self._require_open_for("pass over it")
        return of_mapping(self, size, overlap, drop_behind)

    def prefetch(
        self, offset: int | Iterable[tuple[int, int]] = 0, length: int | None = None
    ) -> None:
        """Start reading pages that will be needed, and do not wait for them.

        Parameters
        ----------
        offset : int or iterable of (offset, length)
            Where to start; or many ranges at once, which go to the OS in few system calls
            (``process_madvise`` on Linux, ``PrefetchVirtualMemory`` on Windows).
        length : int, optional
            How many bytes; to the end by default.
        """
        if hasattr(offset, "__index__"):
            self._prefetch([(offset.__index__(), length)])
        else:
            if length is not None:
                raise TypeError("length goes with one offset, not with many ranges")
            self._prefetch(offset)

    def residency(self, offset: int = 0, length: int | None = None) -> Residency:
        """Tell which of the pages are in memory now, of all or of a range; touches none.

        Costs one byte for each page.
        """
        return of_mapping(self._residency(offset, length))

    @property
    def name(self) -> str | None:
        """A label; shows in ``/proc/self/maps`` for anonymous memory (Linux 5.17 and later)."""
        return self._name

    @name.setter
    def name(self, label: str) -> None:
        self._label(label)
        self._name = label

    # --- disk -------------------------------------------------------------------------------

    def transaction(self, *, timeout: float | None = 10.0) -> Transaction[Mapping]:
        """Change many pages and make all of it durable, or none.

        Entering the transaction gives a private, writable Mapping of the same bytes; everybody else
        keeps seeing the old ones. Leaving the block commits every page that was changed, with one
        wait for the disk; an exception rolls back. The file is never torn, whatever happens: what a
        crash interrupts is finished, or forgotten, when the file is next opened.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for another writer, and for readers inside `reading()`; None waits for
            ever.

        Returns
        -------
        Transaction
            A context manager with `begin`, `commit`, `rollback` and `dirty_bytes`.

        Raises
        ------
        TypeError
            If the mode is ``"r"`` or ``"c"``.
        UnsupportedError
            For devices, anonymous memory, files without a name, and filesystems without locks or
            maps.

        Notes
        -----
        While a commit is being applied, a plain view may show some of its pages new and some old
        for that moment; `reading()` does not. Stores into this mapping itself, while a transaction
        is open, are no part of it, and may be lost where it changes the same pages.

        A journal lies beside the file, ``<file>.mmapkit-journal``, until the last mapping that had
        a transaction is closed. Zero-copy: only pages that are changed are copied.

        Examples
        --------
        >>> import mmapkit as mk
        >>> with mk.open("ledger.bin", "w+", size=16384) as m:
        ...     with m.transaction() as private:
        ...         private[:5] = b"first"
        ...         private[8192:8198] = b"second"
        ...     bytes(m[:5]), bytes(m[8192:8198])
        (b'first', b'second')
        """
        from mmapkit.durable.transaction import of_mapping

        self._require_open_for("change it")
        return of_mapping(self, timeout)

    def reading(self, *, timeout: float | None = None) -> Reading[Mapping]:
        """Read one committed state: in the block no commit is applied, by any process.

        It costs a few system calls. A commit waits for everybody who is inside, and everybody who
        comes then waits for the commit: keep the block short. Where commits have made the file
        longer, the mapping follows, as with `refresh()`. Threads share the lock; blocks may nest.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait for a commit that is being applied; None waits for ever.

        Returns
        -------
        Reading
            A context manager that gives this mapping.

        Raises
        ------
        OSError
            On entering: ESTALE if another file has the name by now.
        RecoveryNeeded
            On entering, in the modes ``"r"`` and ``"c"``, if a writer died in the middle of a
            commit; mode ``"r+"`` completes it first.
        RuntimeError
            If a transaction on the file is begun or committed inside by the same thread: it would
            wait for itself.
        TimeoutError
            If the commit takes longer.
        UnsupportedError
            For anonymous memory, files without a name, what was read into memory
            (``backend="read"``), and filesystems without locks.

        Notes
        -----
        It keeps out transactions, not plain stores through other mappings.

        Examples
        --------
        >>> import mmapkit as mk
        >>> with mk.open("pair.bin", "w+", size=8192) as m:
        ...     with m.transaction() as private:
        ...         private[0] = private[4096] = 7
        ...     with m.reading():
        ...         m[0] == m[4096]
        True
        """
        from mmapkit.durable.reading import Reading

        return Reading(self, timeout)

    def snapshot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Copy the file as one committed state, while a writer goes on working.

        Where the filesystem shares blocks between files (btrfs, xfs, APFS), that takes no time and
        no room. Elsewhere the bytes are copied, in bounded memory and keeping holes, while commits
        go on; then the commits that came meanwhile are applied to the copy. The copy appears whole
        and durable, or not at all, with the permissions of the file and without a journal. It is of
        the whole file, also where the mapping shows a part of it.

        Parameters
        ----------
        path : path
            The copy.
        overwrite : bool
            Replace a file of that name.

        Raises
        ------
        FileExistsError
            If there is such a file and `overwrite` is false; if a journal lies beside that name,
            which would be taken for the copy's.
        OSError
            ENOSPC if the disk is full, and others of the system; nothing is left behind, and a file
            of that name stays as it was.
        RecoveryNeeded
            As for `reading()`.
        UnsupportedError
            For mode ``"c"``, whose changes are in no file, for anonymous memory and for files
            without a name.
        ValueError
            If `path` is the file itself.

        Notes
        -----
        Plain stores through a mapping, without a transaction, are in the copy or not, page by page.

        Examples
        --------
        >>> import mmapkit as mk
        >>> with mk.open("live.bin", "w+", size=4096) as m:
        ...     with m.transaction() as private:
        ...         private[:4] = b"kept"
        ...     m.snapshot("copy.bin")
        >>> with mk.open("copy.bin") as copy:
        ...     bytes(copy[:4])
        b'kept'
        """
        from mmapkit.durable.snapshot import snapshot

        snapshot(self, path, overwrite)

    # --- faults -----------------------------------------------------------------------------

    def guard(self) -> Guard:
        """Return a context manager at whose end the faults that happened inside are raised.

        For threads other than the main one, which learn of a fault in a view only at their next
        call on the mapping: ``with m.guard(): total = view.sum()``.
        """
        return Guard(self)


class Guard:
    """See `Mapping.guard`."""

    __slots__ = ("_before", "_mapping")

    def __init__(self, mapping: Mapping) -> None:
        """Watch one mapping."""
        self._mapping = mapping
        self._before = 0

    def __repr__(self) -> str:
        """Show the mapping."""
        return f"<mmapkit.Guard of {self._mapping!r}>"

    def __enter__(self) -> Mapping:
        """Start watching; raises at once if bytes are lost already."""
        self._before = self._mapping._fault_count()
        return self._mapping

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Raise what happened inside; another error then becomes its context, but not Ctrl-C."""
        if self._mapping.faults == self._before or isinstance(error, MappingFault):
            return
        if error is None or isinstance(error, Exception):
            raise self._mapping._take_fault()


def open(
    file: type_of_file,
    mode: str = "r",
    *,
    offset: int = 0,
    length: int | None = None,
    size: int | None = None,
    reserve: int | None = None,
    advice: str | None = None,
    populate: bool = False,
    sparse: bool = False,
    backend: str = "auto",
    beneath: str | os.PathLike[str] | None = None,
) -> Mapping:
    """Map a file or a device.

    Parameters
    ----------
    file : path, descriptor or file object
        A descriptor is duplicated and may be closed afterwards. Devices and descriptors without a
        size need `length`.
    mode : {"r", "r+", "w+", "x+", "c"}
        ``"r"`` read-only, shared. ``"r+"`` read-write, shared. ``"w+"`` create or empty the file,
        ``"x+"`` create it and fail if it exists; both need `size`. ``"c"`` copy-on-write: changes
        stay in this process and are never written.
    offset : int
        First byte; any, aligned inside.
    length : int, optional
        Bytes to map; to the end of the file by default. An empty file gives an empty mapping.
    size : int, optional
        The file's length in bytes: for ``"w+"`` and ``"x+"`` the new file's, for ``"r+"`` what it
        is to grow to. Blocks are allocated, so a full disk raises here.
    reserve : int, optional
        Bytes of address space to set aside: `Mapping.resize` within it keeps every view valid.
    advice : str, optional
        A hint for the whole mapping, see `Mapping.advise`.
    populate : bool
        Fault all pages in before returning.
    sparse : bool
        Do not allocate blocks: stores may then meet a full disk (`MappingFault`).
    backend : {"auto", "map", "read"}
        ``"read"`` reads the range into memory and writes changed pages back on flush, for
        filesystems that refuse or punish mapping; others' changes are not seen. ``"auto"`` maps,
        and falls back to a private map and then to reading where the filesystem refuses.
    beneath : path, optional
        A directory that `file` must not leave, by ``..``, absolute paths or symbolic links
        (Linux 5.6 and later, ``openat2``): for names that others chose.

    Returns
    -------
    Mapping

    Raises
    ------
    OSError
        The system's error, with the file name; ENOSPC leaves no file behind that was not there.
    UnsupportedError
        If this OS does not offer an option.
    RecoveryNeeded
        If a commit to the file was interrupted, for modes that only read; the others complete it.
    JournalError
        If a journal lies beside the file that is damaged or belongs to another.
    ValueError
        If offset and length lie past the end of the file, or a value makes no sense.

    Examples
    --------
    >>> import mmapkit as mk
    >>> with mk.open("numbers.bin", "w+", size=16) as m:
    ...     m.store("<d", 8, 2.5)
    ...     m[:4] = b"head"
    ...     m.load("<d", 8), bytes(m[:4])
    (2.5, b'head')
    """
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}")
    how, kind = _MODES[mode]
    if how & _CREATE:
        if size is None:
            raise ValueError(f"mode {mode!r} makes a file: give its size=, in bytes")
    elif size is not None and mode != "r+":
        raise ValueError(f"size= goes with the modes 'w+', 'x+' and 'r+', not with {mode!r}")
    if advice is not None:
        require_advice(advice)
        if how & _CREATE and advice not in supported_advice():  # before there is a file to remove
            raise UnsupportedError(errno.ENOTSUP, f"not supported here: advice {advice!r}")
    see_to_journal(file, mode, beneath)
    mapping = Mapping.__new__(Mapping)
    mapping._open(
        file, mode, how, kind, offset, length, size, reserve, populate, sparse, backend, beneath
    )
    if reserve is not None:
        mapping._reserve = reserve
    if advice is not None:
        try:
            mapping.advise(advice)
        except BaseException:
            mapping.close()
            raise
    return mapping


def see_to_journal(file: object, mode: str, beneath: str | os.PathLike[str] | None = None) -> None:
    """Have an interrupted commit completed before a file is opened by its path, in some mode; the
    mode ``"w+"`` also stands for replacing the file by another."""
    path = name_beside(file, JOURNAL_SUFFIX, beneath)
    if path is None:
        return
    if beneath is not None:
        import os

        root = os.path.join(os.path.realpath(beneath), "")
        if not os.path.realpath(path).startswith(root):
            return  # opening it will be refused
    from mmapkit.durable.recovery import before_open

    before_open(path, mode)


class Descriptor:
    """A mapping's own descriptor as a file object, to map the same file again: the name may be gone
    or belong to another by now."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self.name = mapping.path

    def fileno(self) -> int:
        return self._mapping.fileno()


def open_side_by_side(
    parts: Sequence[tuple[Mapping, int, int]], mode: str
) -> tuple[Span, tuple[Mapping, ...]]:
    """Map ranges of mapped files again, one after the other in one range of addresses.

    Parameters
    ----------
    parts : sequence of (mapping, offset, length)
        Offsets in the mapping's file and lengths are multiples of `allocation_granularity()`; the
        last length need not.
    mode : {"r", "r+", "c"}
        As for `open()`.

    Returns
    -------
    span : Span
        All the bytes as one buffer, which keeps the mappings alive.
    mappings : tuple of Mapping
        One for each range, for faults, flushing and advice. They keep their sizes.

    Raises
    ------
    UnsupportedError
        Where the OS does not map at given addresses (Windows).
    """
    how, kind = _MODES[mode]
    grain = allocation_granularity()
    total = sum(length for _, _, length in parts)
    reservation = Reservation(-(-total // grain) * grain)
    mappings: list[Mapping] = []
    place = 0
    try:
        for part, offset, length in parts:
            mapping = Mapping.__new__(Mapping)
            file: Any = Descriptor(part)
            mapping._open(
                file, mode, how, kind, offset, length, None, None, False, False, "map", None,
                reservation, place,
            )  # fmt: skip
            mappings.append(mapping)
            place += length
    except BaseException:
        for mapping in mappings:
            mapping.close()
        raise
    return Span(reservation, tuple(mappings)), tuple(mappings)


def reopen(
    path: str, mode: str, offset: int, length: int | None, reserve: int | None, backend: str
) -> Mapping:
    """Unpickle: map what `Mapping._reference()` told."""
    return open(path, mode, offset=offset, length=length, reserve=reserve, backend=backend)


def anonymous(size: int, huge_pages: bool | None = None, *, reserve: int | None = None) -> Mapping:
    """Take memory that belongs to no file: zeros, private to this process, gone when closed.

    Parameters
    ----------
    size : int
        Bytes; `Mapping.resize` changes it and keeps the content.
    huge_pages : bool, optional
        True asks for explicit huge pages, then for transparent ones; `Mapping.huge_pages` says
        what was obtained. False asks that there be none.
    reserve : int, optional
        Bytes of address space to set aside, so that growth keeps views valid.
    """
    mapping = Mapping.__new__(Mapping)
    mapping._anonymous(size, reserve, bool(huge_pages))
    if reserve is not None:
        mapping._reserve = reserve
    if huge_pages is False and size and "nohugepage" in supported_advice():
        mapping.advise("nohugepage")
    return mapping


def temporary(
    size: int, *, directory: str | os.PathLike[str] | None = None, reserve: int | None = None
) -> Mapping:
    """Map a new file of zeros that has no name and is gone with the mapping's last view.

    Parameters
    ----------
    size : int
        Bytes; blocks are allocated, so a full disk raises here.
    directory : path, optional
        Where; the system's directory for temporary files by default.
    reserve : int, optional
        As for `open()`.
    """
    import tempfile

    if size is None:
        raise TypeError("size must be an int, in bytes, not NoneType")
    with tempfile.TemporaryFile(buffering=0, dir=directory) as file:
        return open(file.fileno(), "r+", size=size, reserve=reserve)
