"""Region: owns one mapped segment, converts arguments, raises, exports buffers.

No loops and no policy: those are in csrc/map (C) and in mapping.py (Python).
"""

import os as _os
from errno import EIO as _EIO, EXDEV as _EXDEV

from mmapkit import errors as _errors

cimport cython
from cpython.buffer cimport (PyBUF_CONTIG_RO, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo,
                             PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.long cimport PyLong_CheckExact, PyLong_FromLong
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyIndex_Check, PyNumber_Index
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Check, PySlice_Unpack
from cpython.weakref cimport PyWeakref_NewRef
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define MMK_FREE_THREADED 1
    #else
    #define MMK_FREE_THREADED 0
    #endif
    """
    bint FREE_THREADED "MMK_FREE_THREADED"

cdef extern from "Python.h":
    int PySys_Audit(const char *event, const char *format, ...) except -1
    unsigned long PyThread_get_thread_ident()
    int PyObject_AsFileDescriptor(object file) except -1

# Copies of at least this many bytes are worth giving the GIL away for.
cdef size_t NOGIL_BYTES = 1 << 16
# An empty view needs an address too.
cdef char NOTHING[1]

# Addresses of live regions -> weak references, so that a fault can be traced to its Mapping.
cdef dict _live = {}

_BACKENDS = ("auto", "map", "map-private", "read", "memory")
_LEVELS = {"async": MMK_FLUSH_ASYNC, "os": MMK_FLUSH_OS, "disk": MMK_FLUSH_DISK}
_ADVICE = {mmk_advice_name(<mmk_advice>i).decode(): i for i in range(<int>MMK_ADVICE_COUNT)}
_CHANGES = tuple([mmk_changes_name(<mmk_changes_method>i).decode()
                  for i in range(<int>MMK_CHANGES_COUNT)])
_PROTECTIONS = {"r": 1, "rw": 3, "rx": 5}


include "_arguments.pxi"


# What Region._on_range does to a range; `how` is a level, a hint or a flag.
ctypedef mmk_status (*range_work)(mmk_region *region, size_t offset, size_t length,
                                  int how) noexcept nogil


cdef mmk_status flush_range(mmk_region *region, size_t offset, size_t length,
                            int how) noexcept nogil:
    return mmk_region_flush(region, offset, length, <mmk_flush_level>how)


cdef mmk_status advise_range(mmk_region *region, size_t offset, size_t length,
                             int how) noexcept nogil:
    return mmk_region_advise(region, offset, length, <mmk_advice>how)


cdef mmk_status populate_range(mmk_region *region, size_t offset, size_t length,
                               int how) noexcept nogil:
    cdef mmk_status status = mmk_region_populate(region, offset, length)
    # A fault elsewhere is not this range's.
    if (status == MMK_FAULTED and not mmk_guard_owes_me(&region.faults)
            and not mmk_guard_untold(&region.faults)
            and not mmk_guard_damaged(&region.faults, region.data + offset, length)):
        return MMK_OK
    return status


cdef mmk_status evict_range(mmk_region *region, size_t offset, size_t length,
                            int how) noexcept nogil:
    return mmk_region_evict(region, offset, length)


cdef mmk_status lock_range(mmk_region *region, size_t offset, size_t length,
                           int how) noexcept nogil:
    return mmk_region_lock(region, offset, length, how != 0)


cdef mmk_status unlock_range(mmk_region *region, size_t offset, size_t length,
                             int how) noexcept nogil:
    return mmk_region_unlock(region, offset, length)


include "_buffers.pxi"


cdef class Visited:

    cdef const unsigned char *_enter(self, size_t *size) except NULL:
        """Where the memory is, until `_leave()`."""
        raise NotImplementedError

    cdef const unsigned char *_enter_briefly(self, size_t *size) except NULL:
        """The same for a few bytes, without a look at whether the guard is still in place: that is
        a system call."""
        raise NotImplementedError

    cdef void _leave(self) noexcept:
        pass

    cdef bint _visit(self, visitor work, void *context, size_t offset,
                     size_t length) noexcept nogil:
        """Have `work` touch a range; False if bytes of it were lost."""
        return False

    cdef object _lost(self):
        """The exception that says what was lost."""


# What it refers to forms no cycles; and its place must not go before it is unmapped.
@cython.no_gc_clear
cdef class Region(Visited):
    """One mapped segment; Mapping adds the policy."""

    cdef mmk_region c
    cdef bint opened
    cdef unsigned long exporting_part  # the thread that does
    cdef Reservation reservation  # which it is placed in, or None
    cdef object __weakref__
    cdef readonly object path
    cdef readonly str mode
    cdef public object _ledger  # of transactions: is told of flush and close; None without any
    cdef bint watches_views
    cdef public object _reader  # of reading(): goes when it is closed; None without any

    # --- life ---------------------------------------------------------------------------------

    def _open(self, file, str mode, unsigned how, mmk_mode kind, offset, length, size, reserve,
              bint populate, bint sparse, str backend, beneath,
              Reservation reservation=None, size_t place=0):
        """Open a file and map it; `how` are open flags, `kind` the mapping's mode. In a reservation
        the range lies at `place`, counted from its start."""
        cdef mmk_file opened
        cdef mmk_region_options options
        cdef mmk_status status
        if self.opened:
            raise RuntimeError("a Mapping is opened once")
        if backend not in ("auto", "map", "read"):
            raise ValueError(f"backend must be 'auto', 'map' or 'read', not {backend!r}")
        options.backend = _BACKENDS.index(backend)
        options.mode = kind
        options.offset = to_size(offset, "offset")
        options.length = MMK_TO_END if length is None else to_size(length, "length")
        options.reserve = 0 if reserve is None else to_size(reserve, "reserve")
        options.place = NULL
        if reservation is not None:
            if place > reservation.size or options.length > reservation.size - place:
                raise ValueError(f"[{place}, {place} + {length}) lies outside the reservation")
            options.place = <char *>reservation.base + place
            self.reservation = reservation
        options.populate = populate
        options.sparse = sparse
        cdef uint64_t wanted = 0 if size is None else to_size(size, "size")
        if size is not None and (options.offset > wanted or length is not None
                                 and options.length > wanted - options.offset):
            raise ValueError(f"offset {offset} and length {length} lie past the size={size} that "
                             "the file is to have")
        self.mode = mode
        ensure_guard()
        self._open_file(file, how, beneath, &opened)
        try:
            self._size_file(&opened, how, size is not None, wanted, sparse)
        except BaseException:
            self._drop_file(&opened, beneath)
            raise
        cdef uint64_t file_bytes = opened.info.size_bytes
        with nogil:
            status = mmk_region_open(&self.c, &opened, &options)
        if status != MMK_OK:
            self._drop_file(&opened, beneath)
            raise self._open_error(status, offset, length, file_bytes)
        self._begin()

    cdef int _open_file(self, file, unsigned how, beneath, mmk_file *opened) except -1:
        cdef mmk_path_char *path
        cdef mmk_path_char *root = NULL
        cdef mmk_status status
        cdef int descriptor
        self.path = path_of(file)
        if self.path is None:
            if beneath is not None:
                raise TypeError("beneath= goes with a path")
            if isinstance(file, bool) or not (PyIndex_Check(file) or hasattr(file, "fileno")):
                raise TypeError("file must be a path, a descriptor or a file object, "
                                f"not {type(file).__name__}")
            if how & (MMK_OPEN_CREATE | MMK_OPEN_EXCLUSIVE) == MMK_OPEN_CREATE | MMK_OPEN_EXCLUSIVE:
                raise ValueError("mode 'x+' creates a file: it takes a path, not a descriptor")
            descriptor = descriptor_of(file)
            name = getattr(file, "name", None)
            if isinstance(name, (str, bytes)):
                self.path = _os.path.abspath(_os.fsdecode(name))
            status = mmk_file_adopt(descriptor, how & MMK_OPEN_WRITE != 0, opened)
            if status != MMK_OK:
                raise self._access_error(status, f"map descriptor {descriptor}")
            return 0
        PySys_Audit("open", "OOi", <void *>self.path, <void *>self.mode, how)
        try:
            path = mmk_py_path(self.path)
        except ValueError as error:
            raise ValueError(f"{self.path!r} is not a file name: {error}") from None
        try:
            if beneath is not None:
                root = mmk_py_path(_os.fsdecode(beneath))
            with nogil:
                status = mmk_file_open(path, root, how, opened)
        finally:
            PyMem_Free(path)
            PyMem_Free(root)
        if beneath is not None:
            self.path = _os.path.join(_os.fsdecode(beneath), self.path)
        if self.path and not _os.path.isabs(self.path):  # "" would become the directory
            self.path = _os.path.abspath(self.path)
        if status != MMK_OK:
            what = "" if beneath is None else f"beneath {beneath!r}"
            if beneath is not None and status == _EXDEV:  # openat2(2): RESOLVE_BENEATH
                what = f"it leads out of {beneath!r}, beneath which it has to stay"
            raise self._access_error(status, what)
        return 0

    cdef object _access_error(self, mmk_status status, str what):
        if status == MMK_READ_ONLY:  # a descriptor that cannot be written
            return _errors.translate(status, f"{what} for writing", self.path)
        return _errors.translate(status, what, self.path)

    cdef int _size_file(self, mmk_file *opened, unsigned how, bint given, uint64_t wanted,
                        bint sparse) except -1:
        """Give the file the size that was asked for."""
        cdef mmk_status status = MMK_OK
        cdef uint64_t now = opened.info.size_bytes
        cdef bint renew = how & MMK_OPEN_CREATE != 0
        if not given or opened.info.kind != MMK_FILE_REGULAR:
            return 0
        if not renew and wanted < now:
            raise ValueError(f"size={wanted} is less than the file's {now} bytes: mode 'r+' only "
                             "grows a file; cut it with resize(), or map part of it with length=")
        with nogil:
            if renew:
                status = mmk_file_renew(opened, wanted, sparse)
            elif wanted > now:
                status = mmk_file_resize(opened.handle, now, wanted, sparse)
        if status != MMK_OK:
            raise _errors.translate(status, f"make the file {wanted} bytes long", self.path)
        opened.info.size_bytes = wanted
        return 0

    cdef void _drop_file(self, mmk_file *opened, beneath) noexcept:
        """Leave nothing behind of a file that could not be opened."""
        cdef bint created = opened.created
        mmk_file_close(opened)
        if created:
            try:
                _os.unlink(self.path)
            except OSError:
                pass

    cdef object _open_error(self, mmk_status status, offset, length, uint64_t file_bytes):
        if status == MMK_FAULTED:
            return self._fault()
        if status == MMK_RANGE:
            wanted = " lies" if length is None else f" and length {length} lie"
            return ValueError(f"offset {offset}{wanted} past the end of {self.path!r}, "
                              f"which has {file_bytes} bytes")
        return _errors.translate(status, f"map offset={offset}, length={length}", self.path)

    def _anonymous(self, size, reserve, bint huge_pages):
        """Take memory without a file."""
        cdef size_t size_bytes = to_size(size, "size")
        cdef size_t reserve_bytes = 0 if reserve is None else to_size(reserve, "reserve")
        cdef mmk_status status
        if self.opened:
            raise RuntimeError("a Mapping is opened once")
        self.mode = "r+"
        ensure_guard()
        with nogil:
            status = mmk_region_anonymous(&self.c, size_bytes, reserve_bytes, huge_pages)
        if status != MMK_OK:
            raise _errors.translate(status, f"take {size_bytes} bytes of memory")
        self._begin()

    cdef int _begin(self) except -1:
        self.opened = True
        _live[<size_t>&self.c] = PyWeakref_NewRef(self, None)
        return 0

    def __del__(self):
        if self.opened and mmk_region_fault_state(&self.c) and mmk_guard_untold(&self.c.faults):
            try:
                import warnings
            except ImportError:  # the interpreter is on its way out
                return
            warnings.warn(f"collected with a fault that nobody was told of: {self._fault()}",
                          _errors.UnraisedFaultWarning, source=self)

    def __dealloc__(self):
        if self.opened:
            _live.pop(<size_t>&self.c, None)
            mmk_region_close_deferred(&self.c)
            mmk_region_close_finish(&self.c)

    def _rest(self):
        """Close a private mapping so that `_wake()` undoes it, without what was stored into it; True
        if it can. Otherwise, or if nobody wakes it, `_finish()` unmaps it."""
        cdef mmk_status status
        with nogil:
            status = mmk_region_rest(&self.c)
        return status == MMK_OK

    def _wake(self):
        """Undo `_rest()`; False if that is too late."""
        return bool(mmk_region_wake(&self.c))

    def _finish(self):
        """Unmap what is closed."""
        with nogil:
            mmk_region_close_finish(&self.c)

    def close(self, *, bint defer=False):
        """Unmap, and give the descriptor back.

        Parameters
        ----------
        defer : bool
            With live views: unmap when the last of them goes, instead of raising.

        Raises
        ------
        BufferError
            If views are alive (the message counts them) or another thread is inside a call, and
            `defer` is false; the mapping stays open.
        MappingFault
            If bytes were lost and nobody was told yet; the mapping is closed all the same.
            Closing does not wait for the disk: call `flush()` first to be sure of a file's content.

        Notes
        -----
        Closing a closed mapping does nothing.
        """
        cdef mmk_status status
        lost = None
        if not self.opened:
            return
        if self._ledger is not None and not defer:
            self._ledger.require_no_transaction(self)
        if not mmk_region_closed(&self.c):
            self._look_for_truncation()
            if self.c.backend == MMK_BACKEND_READ and not self.c.lost_writes:
                # A mapping's stores reach the file anyway.
                try:
                    self.flush(level="os")
                except OSError as error:
                    lost = error
        if defer:
            status = mmk_region_close_deferred(&self.c)
        else:
            status = mmk_region_close_begin(&self.c)
            if status == MMK_EXPORTED and self._views_left() == 0:
                status = mmk_region_close_begin(&self.c)
        if status == MMK_CLOSED:
            return
        if status != MMK_OK:
            raise self._busy(status, "close")
        with nogil:
            mmk_region_close_finish(&self.c)
        self._reader = None
        if self._ledger is not None:
            self._ledger.leave(self)
        if lost is not None:
            raise lost
        if mmk_region_fault_state(&self.c) and mmk_guard_untold(&self.c.faults):
            raise self._fault()

    cdef int _look_for_truncation(self) except -1:
        """Before closing: note a truncation that no access has met. A closed descriptor tells
        nothing."""
        if mmk_region_pin(&self.c) == MMK_OK:
            with nogil:
                mmk_region_inspect(&self.c)
                mmk_region_unpin(&self.c)
        return 0

    cdef object _busy(self, mmk_status status, str what):
        if status == MMK_EXPORTED:
            count = mmk_region_exports(&self.c)
            views = "view is" if count == 1 else "views are"
            remedy = "close(defer=True) unmaps with the last of them" if what == "close" else \
                "release them, or open with reserve= to grow in place"
            return BufferError(f"cannot {what}: {count} {views} alive; {remedy} ({self.path!r})")
        if status == MMK_IN_USE:
            return BufferError(f"cannot {what}: another thread is using the mapping "
                               f"({self.path!r})")
        return _errors.translate(status, what, self.path)

    # --- what it is ---------------------------------------------------------------------------

    def __len__(self):
        self._require_open("take its length")
        return <Py_ssize_t>self.c.size_bytes

    @property
    def size(self):
        """Visible bytes; 0 once closed."""
        return <Py_ssize_t>self.c.size_bytes

    @property
    def offset(self):
        """Offset in the file of the first visible byte."""
        return self.c.offset

    @property
    def closed(self):
        """True after `close()`, also while deferred views are still alive."""
        return not self.opened or bool(mmk_region_closed(&self.c))

    @property
    def exports(self):
        """How many views are alive (memoryviews; an ndarray holds one)."""
        return mmk_region_exports(&self.c)

    def _views_left(self, size_t own=0):
        """How many views are alive, beside `own` ones, when those that were dropped are gone.

        Without a global lock, what a thread has made goes when that thread gets to it, though the
        last reference was another's (PEP 703, "Biased Reference Counting"). A collection does it at
        once, but what that object referred to has to wait for the next one: an ndarray refers to
        another one, that to a memoryview, and that to its buffer.
        """
        cdef int left = 5
        while FREE_THREADED and left > 0 and mmk_region_exports(&self.c) > own:
            import gc
            gc.collect()
            left -= 1
        return max(0, <Py_ssize_t>mmk_region_exports(&self.c) - <Py_ssize_t>own)

    @property
    def faults(self):
        """How many faults there have been since the mapping was opened."""
        return self.c.faults.count

    @property
    def backend(self):
        """How the bytes got here: ``"map"``, ``"map-private"``, ``"read"`` or ``"memory"``."""
        return _BACKENDS[<int>self.c.backend]

    @property
    def huge_pages(self):
        """What was obtained of huge pages: ``"explicit"``, ``"transparent"`` or None."""
        return (None, "transparent", "explicit")[<int>self.c.huge]

    @property
    def writable(self):
        """True if stores are allowed."""
        return self._is_writable()

    @property
    def _follows_file(self):
        return bool(self.c.to_end)

    @property
    def _sparse(self):
        return bool(self.c.sparse)

    @property
    def _capacity(self):
        """Visible bytes up to which it grows in place."""
        if self.c.reserved_bytes == 0:
            return self.c.size_bytes
        return self.c.reserved_bytes - self.c.lead_bytes

    cdef bint _is_writable(self) noexcept:
        return self.c.mode != MMK_MODE_READ and self.c.protection & 2 != 0

    def fileno(self):
        """Return the mapping's own descriptor, valid until it is closed (POSIX)."""
        self._require_open("take its descriptor")
        if self.c.backend == MMK_BACKEND_MEMORY:
            raise _errors.translate(MMK_UNSUPPORTED, "anonymous memory has no descriptor")
        return self.c.file.handle

    cdef int _require_open(self, str what) except -1:
        if not self.opened or mmk_region_closed(&self.c):
            raise self._closed_error(what)
        return 0

    cdef object _closed_error(self, str what):
        return self._why_closed(what)

    def _why_closed(self, str what):
        """The error of a call that comes too late."""
        return _errors.translate(MMK_CLOSED, what, self.path)

    # --- faults -------------------------------------------------------------------------------

    cdef object _fault(self):
        """The MappingFault that tells the latest fault; it counts as told."""
        cdef mmk_fault fault
        if not mmk_guard_take(&self.c.faults, &fault):
            mmk_guard_recall(&self.c.faults, &fault)
        return _errors.fault(fault.code, self.path, fault.offset, fault.count, fault.cause)

    cdef int _settle(self, size_t offset, size_t length) except -1:
        """After touching memory while the fault state was not 0: raise what concerns us."""
        cdef mmk_fault fault
        if mmk_guard_take(&self.c.faults, &fault):
            raise _errors.fault(fault.code, self.path, fault.offset, fault.count, fault.cause)
        if mmk_guard_damaged(&self.c.faults, self.c.data + offset, length):
            raise self._fault()
        return 0

    @property
    def faulted(self):
        """True while a fault is unraised or poison stands for bytes of the mapping."""
        return mmk_region_fault_state(&self.c) != 0

    def _raise_if_lost(self, size_t offset, size_t length):
        """Raise MappingFault if this thread is owed one, or if poison stands in the range."""
        self._pin()
        try:
            self._settle(offset, length)
        finally:
            mmk_region_unpin(&self.c)

    def _holds(self, size_t address, size_t length):
        """Offset of the range in the visible bytes, or -1 if it lies elsewhere."""
        cdef size_t data = <size_t>self.c.data
        if data <= address and address + length <= data + self.c.size_bytes:
            return address - data
        return -1

    def check(self):
        """Raise MappingFault if bytes of the mapping were lost, or if its file is too short now.

        Also finds a truncation inside a page, which reads as zeros and never faults. Raises again
        and again until `recover()` or `refresh()`.
        """
        cdef mmk_status status
        self._pin()
        try:
            ensure_guard()
            with nogil:
                status = mmk_region_inspect(&self.c)
            self._raise(status, "check")
        finally:
            mmk_region_unpin(&self.c)

    def recover(self):
        """Map the file again over the poison, once it has grown back.

        What was stored into the poison meanwhile is discarded. Views stay valid and see the file.

        Raises
        ------
        MappingFault
            If the file is still too short; what is there is mapped, the rest stays poison.
        """
        cdef mmk_status status
        self._pin()
        try:
            ensure_guard()
            with nogil:
                status = mmk_region_recover(&self.c)
            self._raise(status, "recover")
        finally:
            mmk_region_unpin(&self.c)

    def _fault_count(self):
        """Enter a guard: raise what is known already, and tell the count of faults."""
        self._require_open("guard it")
        ensure_guard()
        count = self.c.faults.count  # first: what comes after it is the guarded block's
        if mmk_region_fault_state(&self.c):
            self._raise_if_lost(0, self.c.size_bytes)
        return count

    def _take_fault(self):
        """Leave a guard: the MappingFault to raise; it counts as told."""
        return self._fault()

    cdef int _raise(self, mmk_status status, str what) except -1:
        if status == MMK_OK:
            return 0
        if status == MMK_FAULTED:
            raise self._fault()
        if status == MMK_EXPORTED or status == MMK_IN_USE:
            raise self._busy(status, what)
        raise _errors.translate(status, what, self.path)

    # --- leases -------------------------------------------------------------------------------

    cdef int _pin(self) except -1:
        if not self.opened or mmk_region_pin(&self.c) != MMK_OK:
            raise self._closed_error("use it")
        return 0

    def __getbuffer__(self, Py_buffer *view, int flags):
        if not self.opened or mmk_region_export(&self.c) != MMK_OK:
            raise self._closed_error("take a view")
        try:
            if (mmk_region_fault_state(&self.c)
                    and self.exporting_part != PyThread_get_thread_ident()):
                self._settle(0, self.c.size_bytes)
            if flags & PyBUF_WRITABLE and not self._is_writable():
                raise BufferError(f"the mapping is read-only: {self.path!r}")
            PyBuffer_FillInfo(view, self, self.c.data if self.c.data != NULL else <void *>NOTHING,
                              <Py_ssize_t>self.c.size_bytes, not self._is_writable(), flags)
        except BaseException:
            mmk_region_unexport(&self.c)
            raise

    def __releasebuffer__(self, Py_buffer *view):
        if self.watches_views and mmk_region_exports(&self.c) == 1:
            self.watches_views = False
            self._last_view_goes()
        mmk_region_unexport(&self.c)

    def _watch_views(self):
        """Call `_last_view_goes()` when that happens, while its memory is there yet."""
        self.watches_views = True

    def _last_view_goes(self):
        pass

    cdef const unsigned char *_enter(self, size_t *size) except NULL:
        ensure_guard()
        return self._enter_briefly(size)

    cdef const unsigned char *_enter_briefly(self, size_t *size) except NULL:
        self._pin()
        size[0] = self.c.size_bytes
        return <const unsigned char *>(self.c.data if self.c.data != NULL else <void *>NOTHING)

    cdef void _leave(self) noexcept:
        mmk_region_unpin(&self.c)

    cdef bint _visit(self, visitor work, void *context, size_t offset,
                     size_t length) noexcept nogil:
        cdef mmk_status status = mmk_guard_run(&self.c.faults, work, context)
        if status != MMK_FAULTED and not mmk_region_fault_state(&self.c):
            return True
        # A fault elsewhere is not this range's.
        return not (mmk_guard_owes_me(&self.c.faults)
                    or mmk_guard_damaged(&self.c.faults, self.c.data + offset, length))

    cdef object _lost(self):
        return self._fault()

    # --- items --------------------------------------------------------------------------------

    def __getitem__(self, key):
        cdef Py_ssize_t index
        cdef unsigned char byte = 0
        if PyLong_CheckExact(key):
            index = to_index(key)
        elif PySlice_Check(key):
            return self._get_slice(key)
        elif PyIndex_Check(key):
            index = to_index(PyNumber_Index(key))
        else:
            raise TypeError(f"indices must be integers or slices, not {type(key).__name__}")
        if not copy_scalar(self, index, 1, <char *>&byte, False):
            raise self._index_error(key)
        return PyLong_FromLong(byte)

    cdef object _index_error(self, key):
        if not self.opened or mmk_region_closed(&self.c):
            return self._closed_error("index it")
        return IndexError(f"index {key} is out of range for a mapping of {self.c.size_bytes} bytes")

    cdef object _memoryview(self):
        """All bytes, poison or not: the caller looks at the part it hands out."""
        self.exporting_part = PyThread_get_thread_ident()
        try:
            return PyMemoryView_FromObject(self)
        finally:
            self.exporting_part = 0

    def _view(self):
        """The same, for views that others will touch directly."""
        ensure_guard()
        return self._memoryview()

    cdef object _get_slice(self, key):
        cdef Py_ssize_t start, stop, step, count
        PySlice_Unpack(key, &start, &stop, &step)
        whole = self._memoryview()
        count = PySlice_AdjustIndices(len(whole), &start, &stop, step)
        if mmk_region_fault_state(&self.c) and count > 0:
            self._settle(min(start, start + (count - 1) * step), (count - 1) * abs(step) + 1)
        return whole[key]

    def __setitem__(self, key, value):
        cdef Py_ssize_t index
        cdef unsigned char byte
        self._require_writable("store into it")
        if PySlice_Check(key):
            self._set_slice(key, value)
            return
        if not PyIndex_Check(key):
            raise TypeError(f"indices must be integers or slices, not {type(key).__name__}")
        index = to_index(PyNumber_Index(key))
        if not PyIndex_Check(value):
            raise TypeError(f"a byte must be an int from 0 to 255, not {type(value).__name__}")
        value = PyNumber_Index(value)
        if not 0 <= value <= 255:
            raise ValueError(f"a byte must be from 0 to 255, not {value}")
        byte = <unsigned char>value
        # __index__ may have run any code: look again.
        self._require_writable("store into it")
        if not copy_scalar(self, index, 1, <char *>&byte, True):
            raise self._index_error(key)

    cdef int _set_slice(self, key, value) except -1:
        cdef Py_ssize_t start, stop, step, count
        cdef Py_buffer source
        PySlice_Unpack(key, &start, &stop, &step)
        self._require_writable("store into it")  # __index__ may have run any code
        count = PySlice_AdjustIndices(<Py_ssize_t>self.c.size_bytes, &start, &stop, step)
        PyObject_GetBuffer(value, &source, PyBUF_CONTIG_RO)
        try:
            if source.len != count:
                raise ValueError(f"cannot store {source.len} bytes into a slice of {count}: a "
                                 "mapping keeps its size (see resize)")
            if step == 1:
                self._store(start, &source)
            else:
                with self._memoryview() as whole:
                    whole[key] = PyBytes_FromStringAndSize(<char *>source.buf, source.len)
                if mmk_region_fault_state(&self.c) and count > 0:
                    self._raise_if_lost(min(start, start + (count - 1) * step),
                                        (count - 1) * abs(step) + 1)
        finally:
            PyBuffer_Release(&source)
        return 0

    cdef int _store(self, object offset, Py_buffer *source) except -1:
        cdef size_t start, count
        self._require_writable("store into it")
        self._pin()
        try:
            self._range(offset, source.len, &start, &count)
            self._copy(<char *>source.buf, start, count, True)
        finally:
            mmk_region_unpin(&self.c)
        return 0

    def __delitem__(self, key):
        raise TypeError("bytes of a mapping cannot be deleted: it keeps its size (see resize)")

    cdef int _require_writable(self, str what) except -1:
        self._require_open(what)
        if not self._is_writable():
            raise TypeError(f"cannot {what}: the mapping of {self.path!r} is read-only; open it "
                            f"with mode 'r+' or 'c'")
        return 0

    # --- ranges and copies --------------------------------------------------------------------

    cdef int _range(self, object offset, object length, size_t *start, size_t *count) except -1:
        """Check a range against the visible bytes. Callers hold a pin, taken after conversion."""
        cdef size_t size = self.c.size_bytes
        start[0] = to_size(offset, "offset")
        if length is None:
            count[0] = size - start[0] if start[0] <= size else 0
        else:
            count[0] = to_size(length, "length")
        if start[0] > size or count[0] > size - start[0]:
            self._require_open("use it")
            raise ValueError(f"range [{start[0]}, {start[0] + count[0]}) lies outside the mapping's "
                             f"{size} bytes")
        return 0

    def read(self, offset=0, size=None):
        """Copy bytes out.

        Parameters
        ----------
        offset : int
            First byte, from 0.
        size : int, optional
            How many bytes; to the end by default.

        Returns
        -------
        bytes
            A copy. The GIL is released while more than 64 KiB are copied.

        Raises
        ------
        MappingFault
            If any of them was lost.
        ValueError
            If the range is not inside the mapping.
        """
        cdef size_t start, count
        cdef mmk_status status
        offset, size = index_or_none(offset, "offset"), index_or_none(size, "size")
        self._pin()
        try:
            self._range(offset, size, &start, &count)
            result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count)
            self._copy(PyBytes_AS_STRING(result), start, count, False)
            return result
        finally:
            mmk_region_unpin(&self.c)

    def _peek(self, size_t count, size_t offset=0):
        """Bytes of the file, read without faulting a page in; fewer if it is shorter."""
        cdef size_t done = 0
        cdef mmk_status status
        cdef char *to
        self._pin()
        try:
            if self.c.backend == MMK_BACKEND_MEMORY:
                return self.read(offset, min(count, self.c.size_bytes - offset))
            result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>count)
            to = PyBytes_AS_STRING(result)
            with nogil:
                status = mmk_os_file_read(self.c.file.handle, self.c.offset + offset, to, count,
                                          &done)
            self._raise(status, "read the file")
            return result if done == count else result[:done]
        finally:
            mmk_region_unpin(&self.c)

    def read_into(self, offset, buffer):
        """Copy bytes out, into a writable buffer, which is filled; return how many that are.

        Guarded and without the GIL like `read()`.
        """
        cdef Py_buffer target
        cdef size_t start, count
        offset = index_or_none(offset, "offset")
        PyObject_GetBuffer(buffer, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            self._pin()
            try:
                self._range(offset, target.len, &start, &count)
                self._copy(<char *>target.buf, start, count, False)
            finally:
                mmk_region_unpin(&self.c)
            return count
        finally:
            PyBuffer_Release(&target)

    def write(self, offset, data):
        """Copy the bytes of a buffer in; return how many that were.

        Raises
        ------
        MappingFault
            If the file could not take them: truncated, or no space on the disk.
        TypeError
            If the mapping is read-only.
        ValueError
            If they do not fit between `offset` and the end; nothing is stored then.
        """
        cdef Py_buffer source
        offset = index_or_none(offset, "offset")
        PyObject_GetBuffer(data, &source, PyBUF_CONTIG_RO)
        try:
            self._store(offset, &source)
            return source.len
        finally:
            PyBuffer_Release(&source)

    def _transfer(self, size_t offset, buffer, bint store):
        """Fill a buffer from here on, or store it, as far as there are bytes; return how many."""
        cdef Py_buffer view
        cdef size_t size
        PyObject_GetBuffer(buffer, &view, PyBUF_CONTIG_RO if store else PyBUF_WRITABLE)
        try:
            self._pin()
            try:
                size = self.c.size_bytes
                size = min(<size_t>view.len, size - offset if offset < size else 0)
                self._copy(<char *>view.buf, offset, size, store)
                return size
            finally:
                mmk_region_unpin(&self.c)
        finally:
            PyBuffer_Release(&view)

    cdef int _copy(self, char *buffer, size_t start, size_t count, bint store) except -1:
        cdef mmk_status status
        if count < NOGIL_BYTES:
            status = (mmk_region_write(&self.c, start, buffer, count) if store else
                      mmk_region_read(&self.c, start, buffer, count))
        else:
            ensure_guard()
            with nogil:
                status = (mmk_region_write(&self.c, start, buffer, count) if store else
                          mmk_region_read(&self.c, start, buffer, count))
        if status != MMK_OK:
            self._settle(start, count)
        return 0

    def move(self, dst, src, count):
        """Copy `count` bytes from offset `src` to offset `dst`; the two may overlap."""
        cdef size_t to, origin, length
        cdef mmk_status status
        dst, src = index_or_none(dst, "dst"), index_or_none(src, "src")
        count = index_or_none(count, "count")
        self._require_writable("move bytes in it")
        self._pin()
        try:
            self._range(src, count, &origin, &length)
            self._range(dst, count, &to, &length)
            with nogil:
                status = mmk_region_move(&self.c, to, origin, length)
            if status != MMK_OK:
                self._settle(origin, length)
                self._settle(to, length)
        finally:
            mmk_region_unpin(&self.c)

    # --- scalars ------------------------------------------------------------------------------

    def load(self, str code not None, offset):
        """Read one scalar.

        Parameters
        ----------
        code : str
            A `struct` code with or without byte order (``"<d"``, ``">H"``, ``"q"``), or a numpy
            one (``"<f8"``, ``"u2"``). Without an order it is the machine's.
        offset : int
            Of its first byte; need not be aligned. Negative values count from the end.
        """
        cdef Py_ssize_t start
        cdef char raw[8]
        cdef mmk_scalar scalar
        parse_scalar(code, &scalar)
        start = to_index(offset if PyLong_CheckExact(offset) else PyNumber_Index(offset))
        if not copy_scalar(self, start, scalar.size_bytes, raw, False):
            raise self._scalar_error(code, offset, scalar.size_bytes)
        return from_bits(scalar, mmk_scalar_unpack(scalar, raw))

    def store(self, str code not None, offset, value):
        """Write one scalar; see `load()` for `code` and `offset`.

        Raises
        ------
        ValueError
            If the value does not fit the code.
        """
        cdef Py_ssize_t start
        cdef char raw[8]
        cdef mmk_scalar scalar
        parse_scalar(code, &scalar)
        start = to_index(PyNumber_Index(offset))
        mmk_scalar_pack(scalar, to_bits(scalar, code, value), raw)
        self._require_writable("store into it")
        if not copy_scalar(self, start, scalar.size_bytes, raw, True):
            raise self._scalar_error(code, offset, scalar.size_bytes)

    cdef object _scalar_error(self, code, offset, unsigned size):
        if not self.opened or mmk_region_closed(&self.c):
            return self._closed_error("use it")
        return IndexError(f"{code!r} at offset {offset} takes {size} bytes: that is out of range "
                          f"for a mapping of {self.c.size_bytes} bytes")

    # --- shape --------------------------------------------------------------------------------

    def resize(self, size):
        """Make file and mapping `size` bytes long, counted from the mapping's offset.

        Growing allocates blocks (unless the mapping was opened with ``sparse=True``), so a full
        disk raises here and changes nothing. Where the mapping ends before its file does, the
        file is never cut.

        Raises
        ------
        BufferError
            With live views, unless it grows within `reserve`: then every view stays valid, and
            shows the bytes it showed before.
        OSError
            ENOSPC if the disk is full.
        TypeError
            If the mode is ``"r"`` or ``"c"``.
        """
        cdef size_t wanted = to_size(size, "size")
        cdef mmk_resize plan
        cdef mmk_status status
        self._require_open("resize it")
        ensure_guard()
        with nogil:
            status = mmk_region_plan(&self.c, wanted, &plan)
        if status == MMK_OK:
            status = mmk_region_reshape(&self.c, wanted)
            with nogil:
                status = mmk_region_settle(&self.c, &plan, status)
        self._raise(status, f"resize to {wanted} bytes")

    def refresh(self):
        """Follow the file's size, which another process changed; return the mapping's new size.

        A mapping opened with a `length` never grows past it. In place within `reserve`, as with
        `resize()`; faults that a truncation caused are over afterwards.

        Raises
        ------
        BufferError
            With live views, if the file shrank, or if it grew beyond the reserve.
        """
        cdef size_t wanted = 0
        cdef mmk_status status
        self._pin()
        try:
            ensure_guard()
            if mmk_region_fault_state(&self.c):
                with nogil:
                    mmk_region_recover(&self.c)
        finally:
            mmk_region_unpin(&self.c)
        status = mmk_region_follow(&self.c, &wanted)
        # While another thread resizes, the file is not asked for its size.
        to = f" to {wanted} bytes" if wanted or status != MMK_IN_USE else ""
        self._raise(status, f"follow the file{to}")
        if mmk_region_fault_state(&self.c):
            self.recover()
        return wanted

    def _fit(self, size_t size):
        """Show exactly so many bytes of the file, which has them; in place within `reserve`.

        BufferError like refresh(); ValueError if the file is shorter.
        """
        cdef mmk_status status
        if mmk_region_fault_state(&self.c):
            self._pin()
            with nogil:
                mmk_region_recover(&self.c)
                mmk_region_unpin(&self.c)
        self._raise(mmk_region_fit(&self.c, size), f"show {size} bytes")

    # --- the file beneath: offsets are the file's, and the mapping stays as it is ---------------

    def _file_size(self):
        """The file's size now, in bytes."""
        cdef uint64_t size = 0
        self._pin()
        try:
            self._raise(mmk_region_measure(&self.c, &size), "ask for the file's size")
            return size
        finally:
            mmk_region_unpin(&self.c)

    def _append(self, uint64_t file_size, data, size_t size, bytes old not None, bytes new not None,
                size_t first, size_t last):
        """Write a buffer to the file's end, show `size` bytes, and write [first, last) of the new
        head over the old one; False if the file has another size or another head."""
        cdef Py_buffer source
        cdef mmk_append what
        cdef c_bool stood = False
        cdef mmk_status status
        if not first <= last <= <size_t>len(new):
            raise ValueError(f"[{first}, {last}) is not inside {len(new)} bytes")
        PyObject_GetBuffer(data, &source, PyBUF_CONTIG_RO)
        try:
            what.file_bytes, what.size_bytes = file_size, size
            what.bytes, what.length_bytes = source.buf, <size_t>source.len
            what.old_head, what.head_bytes = PyBytes_AS_STRING(old), <size_t>len(old)
            what.new_head, what.first, what.last = PyBytes_AS_STRING(new), first, last
            self._pin()
            try:
                with nogil:
                    status = mmk_region_append(&self.c, &what, &stood)
                self._raise(status, f"append {source.len} bytes")
                return bool(stood)
            finally:
                mmk_region_unpin(&self.c)
        finally:
            PyBuffer_Release(&source)

    def _write_file(self, uint64_t at, data):
        """Write a buffer, past the end, too: what goes wrong is an error and never a fault."""
        cdef Py_buffer source
        cdef mmk_status status
        PyObject_GetBuffer(data, &source, PyBUF_CONTIG_RO)
        try:
            self._pin()
            try:
                with nogil:
                    status = mmk_os_file_write(self.c.file.handle, at, source.buf, source.len)
                if status != MMK_OK:
                    raise _errors.translate(status, f"write {source.len} bytes at byte {at}",
                                            self.path)
                return source.len
            finally:
                mmk_region_unpin(&self.c)
        finally:
            PyBuffer_Release(&source)

    def _allocate_file(self, uint64_t at, uint64_t length):
        """Take blocks for a range; size and bytes of the file do not change."""
        cdef mmk_status status
        self._pin()
        try:
            with nogil:
                status = mmk_os_file_allocate(self.c.file.handle, at, length)
            self._raise(status, f"allocate bytes [{at}, {at + length}) of the file")
        finally:
            mmk_region_unpin(&self.c)

    def _resize_file(self, uint64_t old, uint64_t size):
        """Make the file that is `old` bytes long longer, by zeros, or shorter; gives back blocks
        past its end. As `open(size=)`: blocks are allocated unless the mapping is sparse."""
        cdef mmk_status status
        self._pin()
        try:
            with nogil:
                if size > old:
                    status = mmk_file_resize(self.c.file.handle, old, size, self.c.sparse)
                else:
                    status = mmk_os_file_resize(self.c.file.handle, size)
            self._raise(status, f"make the file {size} bytes long")
        finally:
            mmk_region_unpin(&self.c)

    def protect(self, str protection not None):
        """Change what the memory may be used for: ``"r"``, ``"rw"`` or ``"rx"``.

        Raises
        ------
        BufferError
            If writing is to be forbidden while views are alive: a store through one would kill
            the process.
        OSError
            EACCES if the file was opened read-only and ``"rw"`` is asked for.
        """
        self._require_open("protect it")
        if protection not in _PROTECTIONS:
            raise ValueError(f"protection must be 'r', 'rw' or 'rx', not {protection!r}")
        if protection == "rw" and self.c.mode == MMK_MODE_READ:
            raise TypeError(f"cannot make {self.path!r} writable: it was opened with mode 'r'; "
                            "open it with 'r+' or 'c'")
        self._raise(mmk_region_protect(&self.c, _PROTECTIONS[protection]), f"protect {protection!r}")

    def _label(self, str name not None):
        """Name the range in the OS's list of mappings; False where it cannot."""
        cdef bytes text = name.encode()
        cdef mmk_status status
        self._require_open("name it")
        status = mmk_region_label(&self.c, text)
        if status == MMK_UNSUPPORTED:
            return False
        self._raise(status, f"name it {name!r}")
        return True

    # --- memory and disk ----------------------------------------------------------------------

    cdef int _on_range(self, offset, length, range_work work, int how, str what) except -1:
        """Do something to a range without the GIL."""
        cdef size_t start, count
        cdef mmk_status status
        offset, length = index_or_none(offset, "offset"), index_or_none(length, "length")
        self._pin()
        try:
            self._range(offset, length, &start, &count)
            with nogil:
                status = work(&self.c, start, count, how)
            self._raise(status, what)
        finally:
            mmk_region_unpin(&self.c)
        return 0

    def flush(self, offset=0, length=None, *, str level="disk"):
        """Push changed pages out.

        Parameters
        ----------
        offset, length : int, optional
            Any range, in bytes; all by default.
        level : str
            ``"async"`` starts writing. ``"os"`` waits until the OS has written (``msync``).
            ``"disk"`` also makes the device do so: ``msync`` + ``fsync``; ``F_FULLFSYNC`` on
            macOS; ``FlushViewOfFile`` + ``FlushFileBuffers`` on Windows.

        Raises
        ------
        MappingFault
            If any data was lost on its way: the file was truncated, the disk is full, or a
            write-back failed. After a failed write-back every later flush raises as well, until
            the file is opened anew: the system itself would report success.

        Notes
        -----
        Does nothing in the modes ``"r"`` and ``"c"`` and for anonymous memory.
        """
        if level not in _LEVELS:
            raise ValueError(f"level must be 'async', 'os' or 'disk', not {level!r}")
        ensure_guard()
        self._on_range(offset, length, flush_range, _LEVELS[level], "flush")
        if self._ledger is not None and level == "disk":
            self._ledger.flushed(self)

    def advise(self, str advice not None, offset=0, length=None):
        """Give the OS a hint on how a range will be used; any range, see `supported_advice()`.

        Hints cover whole pages: those that hold the range, or, for ``"dontneed"``, ``"free"`` and
        ``"wipeonfork"`` where memory holds the only copy (mode ``"c"``, anonymous), those inside it.

        Raises
        ------
        UnsupportedError
            If this OS, or this kind of memory, does not take the hint.
        """
        require_advice(advice)
        self._on_range(offset, length, advise_range, _ADVICE[advice], f"advise {advice!r}")

    def _prefetch(self, ranges):
        """Start reading pairs of (offset, length)."""
        ranges = [range_of(pair) for pair in ranges]
        cdef size_t count = len(ranges), i
        cdef mmk_range *pairs = <mmk_range *>PyMem_Malloc((count + 1) * sizeof(mmk_range))
        cdef mmk_status status
        if pairs == NULL:
            raise MemoryError
        try:
            self._pin()
            try:
                for i in range(count):
                    offset, length = ranges[i]
                    self._range(offset, length, &pairs[i].offset, &pairs[i].length_bytes)
                with nogil:
                    status = mmk_region_prefetch(&self.c, pairs, count)
                self._raise(status, "prefetch")
            finally:
                mmk_region_unpin(&self.c)
        finally:
            PyMem_Free(pairs)

    def _prefetch_rows(self, size_t origin, Py_ssize_t stride, size_t row_bytes, size_t row_count,
                       rows):
        """Start reading rows of an array, by index: good ones, as contiguous int64."""
        cdef Py_buffer picked
        cdef mmk_gather job
        cdef mmk_status status
        PyObject_GetBuffer(rows, &picked, PyBUF_CONTIG_RO)
        try:
            job = mmk_gather(origin, stride, row_bytes, row_count, <const int64_t *>picked.buf,
                             <size_t>picked.len // sizeof(int64_t), NULL, 0, NULL)
            self._pin()
            try:
                with nogil:
                    status = mmk_region_prefetch_rows(&self.c, &job)
                self._raise_rows(status, "prefetch")
            finally:
                mmk_region_unpin(&self.c)
        finally:
            PyBuffer_Release(&picked)

    def _gather(self, size_t origin, Py_ssize_t stride, size_t row_bytes, size_t row_count, rows,
                out, size_t out_offset, size_t out_stride, bytearray stop=None):
        """Copy rows of an array, by index: good ones, as contiguous int64; `out` has room. The rest
        is left once the first byte of `stop` is not 0."""
        cdef Py_buffer picked, target
        cdef unsigned char *flag = NULL if stop is None else \
            <unsigned char *>PyByteArray_AS_STRING(stop)
        cdef mmk_gather job
        cdef mmk_status status
        cdef bint lost = False
        PyObject_GetBuffer(rows, &picked, PyBUF_CONTIG_RO)
        try:
            PyObject_GetBuffer(out, &target, PyBUF_WRITABLE)
            try:
                job = mmk_gather(origin, stride, row_bytes, row_count, <const int64_t *>picked.buf,
                                 <size_t>picked.len // sizeof(int64_t),
                                 <unsigned char *>target.buf + out_offset, out_stride, flag)
                self._pin()
                try:
                    ensure_guard()
                    with nogil:
                        status = mmk_region_gather(&self.c, &job)
                        if status == MMK_FAULTED or mmk_region_fault_state(&self.c):
                            lost = mmk_region_rows_damaged(&self.c, &job)
                    if lost:
                        raise self._fault()
                    if mmk_region_fault_state(&self.c):
                        self._settle(0, 0)
                    self._raise_rows(status, "gather")
                finally:
                    mmk_region_unpin(&self.c)
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&picked)

    cdef int _raise_rows(self, mmk_status status, str what) except -1:
        if status == MMK_RANGE:
            raise ValueError(f"cannot {what}: the mapping has become shorter than the array "
                             f"({self.path!r})")
        if status != MMK_FAULTED:  # whose rows were looked at
            self._raise(status, what)
        return 0

    def populate(self, offset=0, length=None):
        """Fault the pages of a range in, and wait for them.

        Raises
        ------
        MappingFault
            If a page cannot be backed.
        """
        ensure_guard()
        self._on_range(offset, length, populate_range, 0, "populate")

    def evict(self, offset=0, length=None):
        """Drop the clean pages of a range from memory.

        Changes that are not on the disk yet, or that exist in memory only (mode ``"c"``), survive.
        On Linux they leave this process and the page cache (``madvise``, ``posix_fadvise``), on
        Windows this process's working set.
        """
        self._on_range(offset, length, evict_range, 0, "evict")

    def lock(self, offset=0, length=None, *, bint on_fault=False):
        """Keep the pages of a range in memory (``mlock``, ``VirtualLock``).

        Parameters
        ----------
        offset, length : int, optional
            Any range, in bytes; all by default.
        on_fault : bool
            Do not read them all now: lock each when it is first touched (Linux).

        Raises
        ------
        OSError
            ENOMEM or EPERM where the limit on locked memory (``ulimit -l``) is too low.
        """
        self._on_range(offset, length, lock_range, on_fault, "lock")

    def unlock(self, offset=0, length=None):
        """Undo `lock()` for a range."""
        self._on_range(offset, length, unlock_range, 0, "unlock")

    def _residency(self, offset, length):
        """Bytes of the range; bytes with bit 0 set for each resident page; whether that is known;
        dirty pages or None."""
        cdef size_t start, size
        cdef c_bool known = False
        cdef mmk_cached cached
        cdef mmk_status status, asked
        cdef unsigned char *flags
        offset, length = index_or_none(offset, "offset"), index_or_none(length, "length")
        self._pin()
        try:
            self._range(offset, length, &start, &size)
            pages = PyBytes_FromStringAndSize(
                NULL, <Py_ssize_t>mmk_region_page_count(&self.c, start, size))
            flags = <unsigned char *>PyBytes_AS_STRING(pages)
            with nogil:
                status = mmk_region_residency(&self.c, start, size, flags, &known)
                asked = mmk_region_cached(&self.c, start, size, &cached)
            self._raise(status, "ask what is resident")
            return size, pages, bool(known), cached.dirty_pages if asked == MMK_OK else None
        finally:
            mmk_region_unpin(&self.c)

    def _cached_pages(self, size_t offset, size_t length):
        """Pages of the range that the page cache holds, and pages in all; None where only asking for
        each of them would tell."""
        cdef mmk_cached cached
        cdef mmk_status status
        self._pin()
        try:
            with nogil:
                status = mmk_region_cached(&self.c, offset, length, &cached)
            if status != MMK_OK:
                return None
            return cached.resident_pages, mmk_region_page_count(&self.c, offset, length)
        finally:
            mmk_region_unpin(&self.c)


    # --- private pages (mode "c") ---------------------------------------------------------------

    def _changes(self, str method not None, Region base=None):
        """Which pages were stored into, as int64 pairs of (offset, length) in order.

        Whole pages, as far as they are visible; neighbours are one run. What `_grow_private` added
        always counts.

        Parameters
        ----------
        method : str
            One of `change_methods()`. ``"compare"`` looks at the bytes, so that it leaves out pages
            that were stored into with what was there; the others count them.
        base : Region, optional
            For ``"compare"``: a shared mapping of the same bytes.

        Raises
        ------
        MappingFault
            If bytes of either were lost while they were compared.
        UnsupportedError
            Unless this is a private mapping, mapped indeed, and the system has the method.
        ValueError
            If the method is unknown, or `base` does not hold the bytes.
        """
        cdef mmk_changes changes
        cdef mmk_status status
        cdef mmk_region *other = NULL
        if method not in _CHANGES:
            raise ValueError(f"method must be one of {', '.join(_CHANGES)}, not {method!r}")
        cdef int number = _CHANGES.index(method)
        self._pin()
        try:
            if base is not None:
                base._pin()
                other = &base.c
            try:
                ensure_guard()
                with nogil:
                    status = mmk_region_changes(&self.c, <mmk_changes_method>number, other,
                                                &changes)
                if status == MMK_RANGE:
                    raise ValueError("comparing needs a base that maps the same bytes of "
                                     f"{self.path!r}")
                if (status == MMK_FAULTED and base is not None
                        and mmk_region_fault_state(&base.c) and not mmk_region_fault_state(&self.c)):
                    raise base._fault()
                self._raise(status, f"find changes by {method!r}")
            finally:
                if base is not None:
                    mmk_region_unpin(&base.c)
        finally:
            mmk_region_unpin(&self.c)
        try:
            return PyBytes_FromStringAndSize(<char *>changes.runs,
                                             <Py_ssize_t>(changes.count * sizeof(mmk_run)))
        finally:
            free(changes.runs)

    def _late_changes(self, str method not None):
        """The same of a closed mapping, of which a view is alive."""
        cdef mmk_changes changes
        cdef mmk_status status
        cdef int number = _CHANGES.index(method)
        self.c.size_bytes = self.c.extent_bytes
        status = mmk_region_changes(&self.c, <mmk_changes_method>number, NULL, &changes)
        self.c.size_bytes = 0
        self._raise(status, f"find changes by {method!r}")
        try:
            return PyBytes_FromStringAndSize(<char *>changes.runs,
                                             <Py_ssize_t>(changes.count * sizeof(mmk_run)))
        finally:
            free(changes.runs)

    def _discard(self, runs):
        """Drop the private pages of runs, so that the file shows through; False where there is no way.

        A page of which a run holds a part only stays, and so does what `_grow_private` added.
        """
        cdef Py_buffer where
        cdef uint64_t length = 0
        cdef mmk_status status
        PyObject_GetBuffer(runs, &where, PyBUF_CONTIG_RO)
        try:
            self._pin()
            try:
                require_pairs(&where)
                if not mmk_runs_measure(<const mmk_run *>where.buf,
                                        <size_t>where.len // sizeof(mmk_run), self.c.size_bytes,
                                        &length):
                    raise ValueError("runs must be pairs (offset, length) inside the mapping's "
                                     f"{self.c.size_bytes} bytes")
                with nogil:
                    status = mmk_region_discard(&self.c, <const mmk_run *>where.buf,
                                                <size_t>where.len // sizeof(mmk_run))
                if status == MMK_UNSUPPORTED:
                    return False
                self._raise(status, "discard private pages")
                return True
            finally:
                mmk_region_unpin(&self.c)
        finally:
            PyBuffer_Release(&where)

    def _grow_private(self, size):
        """Make a private mapping longer than its file, or shorter; the file stays as it is.

        What is new is zeros, also where there were bytes before, and in memory only. Growing is done
        in place within `reserve`: views stay valid. Afterwards `refresh()` is not supported.

        Raises
        ------
        BufferError
            With live views, if it shrinks.
        MappingFault
            If the file has become too short for the bytes that there are.
        UnsupportedError
            Unless it is a private mapping, mapped indeed; and on Windows.
        ValueError
            Beyond the reserve.
        """
        cdef size_t wanted = to_size(size, "size")
        cdef mmk_status status
        self._require_open("grow it")
        ensure_guard()
        status = mmk_region_resize_private(&self.c, wanted)
        if status == MMK_RANGE:
            raise ValueError(f"{wanted} bytes do not fit the {self._capacity} that are reserved for "
                             f"{self.path!r}")
        self._raise(status, f"make a private mapping {wanted} bytes long")

    def _mark_lost(self, int code=_EIO):
        """Have every later flush raise MappingFault, until the file is opened again.

        For whoever has learned elsewhere that stored bytes did not reach the disk; `code` is the
        error's number. It counts as told.
        """
        self._require_open("mark it")
        mmk_region_mark_lost(&self.c, code)

include "_scalars.pxi"
include "_machine.pxi"
include "_guard.pxi"
include "_file.pxi"
