# --- files without a mapping: a part of _native.pyx, for both go through the same C --------------------

cdef extern from *:
    """
    #include <stdatomic.h>

    /* Calls that are inside a File, doubled, and whether it is closed: who leaves a closed file last
     * gives its handle back. Its number would else be another file's while somebody still writes. */
    typedef struct {
        atomic_uint count;
    } mmk_py_users;

    static int mmk_py_users_enter(mmk_py_users *users) {
        unsigned now = atomic_load(&users->count);
        while (!(now & 1))
            if (atomic_compare_exchange_weak(&users->count, &now, now + 2))
                return 1;
        return 0;
    }
    /* True if the handle is to be given back now; also for mmk_py_users_shut. */
    static int mmk_py_users_leave(mmk_py_users *users) {
        return atomic_fetch_sub(&users->count, 2) == 3;
    }
    static int mmk_py_users_shut(mmk_py_users *users) {
        return atomic_fetch_or(&users->count, 1) == 0;
    }
    /* In a forked child, where whoever was inside never leaves; true if the handle is open. */
    static int mmk_py_users_forget(mmk_py_users *users) {
        return atomic_exchange(&users->count, 1) != 1;
    }
    static int mmk_py_users_closed(mmk_py_users *users) {
        return (int)(atomic_load(&users->count) & 1);
    }
    """
    ctypedef struct mmk_py_users:
        pass
    bint users_enter "mmk_py_users_enter"(mmk_py_users *users) noexcept nogil
    bint users_leave "mmk_py_users_leave"(mmk_py_users *users) noexcept nogil
    bint users_shut "mmk_py_users_shut"(mmk_py_users *users) noexcept nogil
    bint users_forget "mmk_py_users_forget"(mmk_py_users *users) noexcept nogil
    bint users_closed "mmk_py_users_closed"(mmk_py_users *users) noexcept nogil

_FILE_MODES = {
    "r": 0, "r+": MMK_OPEN_WRITE,
    "x+": MMK_OPEN_WRITE | MMK_OPEN_CREATE | MMK_OPEN_EXCLUSIVE,
}
# Reads of at least so many bytes ask for the file's size first, lest a wrong length takes memory.
cdef size_t LONG_READ_BYTES = 1 << 16


@cython.auto_pickle(False)
cdef class File:
    """One open regular file, for positioned reads and writes, locks and syncs.

    Parameters
    ----------
    path : str, bytes or PathLike
        The file.
    mode : str
        ``"r"``, ``"r+"`` (must exist) or ``"x+"`` (is created; FileExistsError if it is there).
        No mode truncates.

    Raises
    ------
    OSError
        With `path` as its filename; so does every method. UnsupportedError for a device.

    Notes
    -----
    Programs that this process starts do not inherit the handle; a forked child shares it and its
    locks. All methods may be called by several threads, and work without the GIL.
    """

    cdef mmk_handle handle
    cdef mmk_py_users users
    cdef bint opened, writes
    cdef readonly str path
    cdef readonly str mode

    def __init__(self, path, str mode not None):
        cdef mmk_file file
        cdef mmk_status status
        cdef mmk_path_char *name
        cdef unsigned how
        if self.opened:
            raise RuntimeError("a File is opened once")
        if mode not in _FILE_MODES:
            raise ValueError(f"mode must be 'r', 'r+' or 'x+', not {mode!r}")
        how = _FILE_MODES[mode]
        found = path_of(path)
        if found is None:
            raise TypeError(f"path must be a str, bytes or PathLike, not {type(path).__name__}")
        PySys_Audit("open", "OOi", <void *>found, <void *>mode, how)
        self.path, self.mode, self.writes = found, mode, how & MMK_OPEN_WRITE != 0
        try:
            name = mmk_py_path(found)
        except ValueError as error:
            raise ValueError(f"{found!r} is not a file name: {error}") from None
        try:
            with nogil:
                status = mmk_file_open(name, NULL, how | MMK_OPEN_SHARED_DELETE, &file)
        finally:
            PyMem_Free(name)
        self._check(status, "")
        if file.info.kind != MMK_FILE_REGULAR:
            mmk_file_close(&file)
            self._check(MMK_UNSUPPORTED, "it is a device")
        self.handle, self.opened = file.handle, True
        self.path = _os.path.abspath(found)

    def __dealloc__(self):
        if self.opened and users_shut(&self.users):
            mmk_os_file_close(self.handle)

    def __enter__(self):
        if self.closed:
            raise self._closed_error("enter it")
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def closed(self):
        """True after `close()`."""
        return not self.opened or users_closed(&self.users)

    def close(self):
        """Give the handle and its locks back; the last call of other threads does, if there are any.

        Closing a closed file does nothing.
        """
        if self.opened and users_shut(&self.users):
            with nogil:
                mmk_os_file_close(self.handle)

    def _close_in_child(self):
        """Close after a fork, though other threads of the parent were inside calls."""
        if self.opened and users_forget(&self.users):
            mmk_os_file_close(self.handle)

    def fileno(self):
        """Return the descriptor (on Windows the handle), valid until the file is closed."""
        if self.closed:
            raise self._closed_error("take its descriptor")
        return self.handle

    # --- what it is -----------------------------------------------------------------------------

    def size(self):
        """Return the file's size now, in bytes."""
        cdef uint64_t size = 0
        cdef mmk_status status
        self._enter("ask for its size")
        with nogil:
            status = mmk_os_file_size(self.handle, &size)
            self._leave()
        self._check(status, "ask for its size")
        return size

    def identity(self):
        """Return (device, inode, time of birth in ns since 1970; 0 where that is unknown).

        Inode and birth stay the same as long as the file does; the device's number may change from
        one start of the machine to the next.
        """
        cdef mmk_identity found
        cdef mmk_status status
        self._enter("identify it")
        with nogil:
            status = mmk_os_file_identify(self.handle, &found)
            self._leave()
        self._check(status, "identify it")
        return found.device, found.inode, found.birth_ns

    def allocated(self):
        """Return the bytes of the blocks that the file has; fewer than its size if it has holes."""
        cdef uint64_t size = 0
        cdef mmk_status status
        self._enter("ask for its blocks")
        with nogil:
            status = mmk_os_file_blocks(self.handle, &size)
            self._leave()
        self._check(status, "ask for its blocks")
        return size

    def has_name(self, str path not None):
        """Tell whether a path, symbolic links followed, leads to this very file."""
        cdef mmk_path_char *name = mmk_py_path(path)
        cdef c_bool leads = False
        cdef mmk_status status
        try:
            self._enter("compare it")
            with nogil:
                status = mmk_os_name_leads_to(name, self.handle, &leads)
                self._leave()
        finally:
            PyMem_Free(name)
        if status != MMK_OK:
            raise _errors.translate(status, "look for it", path)
        return bool(leads)

    # --- bytes ----------------------------------------------------------------------------------

    def read(self, offset, length):
        """Return bytes from `offset` on, fewer than `length` if the file ends before."""
        cdef uint64_t start = to_size(offset, "offset")
        cdef uint64_t wanted = to_size(length, "length")
        cdef uint64_t there
        cdef size_t done = 0
        if wanted >= LONG_READ_BYTES:
            there = self.size()
            wanted = min(wanted, there - start if start < there else 0)
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>wanted)
        self._read(start, PyBytes_AS_STRING(result), <size_t>wanted, &done)
        return result if done == wanted else result[:done]

    def read_into(self, offset, buffer):
        """Fill a writable buffer from `offset` on; return how many bytes there were."""
        cdef uint64_t start = to_size(offset, "offset")
        cdef Py_buffer target
        cdef size_t done = 0
        PyObject_GetBuffer(buffer, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            self._read(start, <char *>target.buf, <size_t>target.len, &done)
            return done
        finally:
            PyBuffer_Release(&target)

    cdef int _read(self, uint64_t offset, char *to, size_t length, size_t *done) except -1:
        cdef mmk_status status
        self._enter("read it")
        with nogil:
            status = mmk_os_file_read(self.handle, offset, to, length, done)
            self._leave()
        return self._check(status, f"read {length} bytes at {offset}")

    def write(self, offset, *parts):
        """Write the bytes of buffers, one after the other, from `offset` on.

        What a system call leaves is written by the next one. After an OSError, some of the bytes
        may have been written.
        """
        cdef uint64_t start = to_size(offset, "offset")
        cdef Py_ssize_t count = len(parts), i, held = 0
        cdef mmk_status status
        cdef Py_buffer *buffers
        cdef mmk_piece *pieces
        self._require_writable("write to it")
        buffers = <Py_buffer *>PyMem_Malloc((count + 1) * sizeof(Py_buffer))
        pieces = <mmk_piece *>PyMem_Malloc((count + 1) * sizeof(mmk_piece))
        try:
            if buffers == NULL or pieces == NULL:
                raise MemoryError
            for i in range(count):
                PyObject_GetBuffer(parts[i], &buffers[i], PyBUF_CONTIG_RO)
                held += 1
                pieces[i] = mmk_piece(buffers[i].buf, <size_t>buffers[i].len)
            self._enter("write to it")
            with nogil:
                status = mmk_pieces_write(self.handle, start, pieces, <size_t>count)
                self._leave()
            self._check(status, f"write at {start}")
        finally:
            for i in range(held):
                PyBuffer_Release(&buffers[i])
            PyMem_Free(buffers)
            PyMem_Free(pieces)

    def write_runs(self, runs, data):
        """Write bytes to many places.

        Parameters
        ----------
        runs : buffer of int64
            Pairs of (offset in the file, length), in the machine's byte order.
        data : buffer
            Their bytes, one run's after the other's; not copied.

        Raises
        ------
        ValueError
            If a run is negative, or the lengths do not add up to `data`'s; nothing is written then.
        """
        cdef Py_buffer where, bytes_
        cdef mmk_status status
        self._require_writable("write to it")
        PyObject_GetBuffer(runs, &where, PyBUF_CONTIG_RO)
        try:
            PyObject_GetBuffer(data, &bytes_, PyBUF_CONTIG_RO)
            try:
                require_runs(&where, <uint64_t>bytes_.len)
                self._enter("write to it")
                with nogil:
                    status = mmk_runs_write(self.handle, <const mmk_run *>where.buf,
                                            <size_t>where.len // sizeof(mmk_run), bytes_.buf)
                    self._leave()
                self._check(status, f"write {where.len // sizeof(mmk_run)} runs")
            finally:
                PyBuffer_Release(&bytes_)
        finally:
            PyBuffer_Release(&where)

    def read_runs(self, runs, out):
        """Read bytes from many places.

        Parameters
        ----------
        runs : buffer of int64
            Pairs of (offset in the file, length), in the machine's byte order.
        out : writable buffer
            Takes their bytes, one run's after the other's. Past the end of the file they are zeros.

        Raises
        ------
        ValueError
            If a run is negative, or the lengths do not add up to `out`'s.
        """
        cdef Py_buffer where, bytes_
        cdef mmk_status status
        PyObject_GetBuffer(runs, &where, PyBUF_CONTIG_RO)
        try:
            PyObject_GetBuffer(out, &bytes_, PyBUF_SIMPLE | PyBUF_WRITABLE)
            try:
                require_runs(&where, <uint64_t>bytes_.len)
                self._enter("read it")
                with nogil:
                    status = mmk_runs_read(self.handle, <const mmk_run *>where.buf,
                                           <size_t>where.len // sizeof(mmk_run), bytes_.buf)
                    self._leave()
                self._check(status, f"read {where.len // sizeof(mmk_run)} runs")
            finally:
                PyBuffer_Release(&bytes_)
        finally:
            PyBuffer_Release(&where)

    def resize(self, size):
        """Make the file `size` bytes long; what is new reads as zeros and has no blocks."""
        cdef uint64_t wanted = to_size(size, "size")
        cdef mmk_status status
        self._require_writable("resize it")
        self._enter("resize it")
        with nogil:
            status = mmk_os_file_resize(self.handle, wanted)
            self._leave()
        self._check(status, f"make it {wanted} bytes long")

    def allocate(self, offset, length):
        """Give a range blocks, so that writing there finds room; bytes and size stay as they are.

        On macOS and Windows that is only so past the end of the file: holes stay.

        Raises
        ------
        UnsupportedError
            If the filesystem has no way to do so.
        """
        cdef uint64_t start = to_size(offset, "offset")
        cdef uint64_t wanted = to_size(length, "length")
        cdef mmk_status status = MMK_OK
        require_end(start, wanted)
        self._require_writable("allocate blocks of it")
        self._enter("allocate blocks of it")
        with nogil:
            if wanted > 0:
                status = mmk_os_file_allocate(self.handle, start, wanted)
            self._leave()
        self._check(status, f"allocate {wanted} bytes at {start}")

    def sync(self):
        """Wait until all bytes are on the medium, with what is needed to read them.

        ``fdatasync``; on macOS ``F_FULLFSYNC``, on Windows ``FlushFileBuffers``. A failure tells
        that bytes may be lost, and the next call may succeed all the same.
        """
        cdef mmk_status status
        self._enter("sync it")
        with nogil:
            status = mmk_os_file_sync_data(self.handle)
            self._leave()
        self._check(status, "sync it")

    # --- locks ----------------------------------------------------------------------------------

    def try_lock(self, offset, length, bint exclusive):
        """Lock a range against every other File of this file, and do not wait; True if that worked.

        The range may lie past the end of the file, up to 2**63 - 1. The lock goes with `unlock()`,
        with the File, and with the process. What a File has locked already does not stop itself:
        on POSIX the lock changes its kind, on Windows an exclusive one is refused or shared ones add
        up; so unlock before locking anew.

        Raises
        ------
        TypeError
            For an exclusive lock if the mode is ``"r"``.
        UnsupportedError
            If the filesystem has no such locks; it names the file.
        """
        cdef uint64_t start = to_size(offset, "offset")
        cdef uint64_t wanted = to_size(length, "length")
        cdef c_bool obtained = False
        cdef mmk_status status
        require_lockable(start, wanted)
        if exclusive:
            self._require_writable("lock it exclusively")
        self._enter("lock it")
        with nogil:
            status = mmk_os_file_lock(self.handle, start, wanted, exclusive, &obtained)
            self._leave()
        self._check(status, "this filesystem has no locks")
        return bool(obtained)

    def unlock(self, offset, length):
        """Give a range back that was locked as a whole."""
        cdef uint64_t start = to_size(offset, "offset")
        cdef uint64_t wanted = to_size(length, "length")
        cdef mmk_status status
        require_lockable(start, wanted)
        self._enter("unlock it")
        with nogil:
            status = mmk_os_file_unlock(self.handle, start, wanted)
            self._leave()
        self._check(status, "this filesystem has no locks")

    # --- copies ---------------------------------------------------------------------------------

    def clone(self, File source not None):
        """Share the blocks of another file, in place of all that is here; False if that is not
        possible, and then nothing has changed.

        Linux only (``FICLONE``: btrfs, xfs, ...), within one filesystem.
        """
        cdef mmk_status status
        self._require_writable("clone into it")
        self._enter("clone into it")
        if not users_enter(&source.users):
            self._leave()
            raise source._closed_error("clone it")
        with nogil:
            status = mmk_os_file_clone(self.handle, source.handle)
            source._leave()
            self._leave()
        if status == MMK_UNSUPPORTED:
            return False
        self._check(status, f"clone {source.path!r}")
        return True

    # --- calls ----------------------------------------------------------------------------------

    cdef int _enter(self, str what) except -1:
        if not self.opened or not users_enter(&self.users):
            raise self._closed_error(what)
        return 0

    cdef void _leave(self) noexcept nogil:
        if users_leave(&self.users):
            mmk_os_file_close(self.handle)

    cdef int _check(self, mmk_status status, str what) except -1:
        if status != MMK_OK:
            raise _errors.translate(status, what, self.path)
        return 0

    cdef int _require_writable(self, str what) except -1:
        if not self.writes:
            raise _errors.translate(MMK_READ_ONLY, what, self.path)
        return 0

    cdef object _closed_error(self, str what):
        return ValueError(f"the file is closed ({self.path!r}): cannot {what}")


cdef int require_end(uint64_t start, uint64_t length) except -1:
    if length > 0x7fffffffffffffffu - start:
        raise ValueError(f"offset {start} and length {length} end beyond 2**63 - 1")
    return 0


cdef int require_lockable(uint64_t start, uint64_t length) except -1:
    if length == 0:  # would mean "to the end, wherever that will be"
        raise ValueError("length must be at least 1 byte, not 0")
    return require_end(start, length)


cdef int require_pairs(Py_buffer *runs) except -1:
    if runs.len % sizeof(mmk_run) or runs.len and <size_t>runs.buf % sizeof(int64_t):
        raise ValueError(f"runs must be aligned pairs of int64, not {runs.len} bytes")
    return 0


cdef int require_runs(Py_buffer *runs, uint64_t length) except -1:
    """ValueError unless they are pairs that add up to a length."""
    cdef uint64_t sum = 0
    require_pairs(runs)
    if not mmk_runs_measure(<const mmk_run *>runs.buf, <size_t>runs.len // sizeof(mmk_run),
                            0x7fffffffffffffff, &sum) or sum != length:
        raise ValueError(f"runs must be pairs (offset, length) from 0 on, of {length} bytes in all")
    return 0


def sync_directory(path):
    """Wait until the names in a directory are on the medium; on Windows they need no waiting."""
    cdef mmk_path_char *name
    cdef mmk_status status
    found = path_of(path)
    if found is None:
        raise TypeError(f"path must be a str, bytes or PathLike, not {type(path).__name__}")
    name = mmk_py_path(found)
    try:
        with nogil:
            status = mmk_os_directory_sync(name)
    finally:
        PyMem_Free(name)
    if status != MMK_OK:
        raise _errors.translate(status, "sync the directory", found)


cdef mmk_name look_at(str path) except *:
    cdef mmk_path_char *name = mmk_py_path(path)
    cdef mmk_name found = mmk_os_name_look(name)
    PyMem_Free(name)
    return found


def name_beside(file, str suffix, beneath=None):
    """Return the path of a file, if there is one called like it with a suffix, beside the file that
    a symbolic link leads to; else None. Cheap, for it is asked before every opening by path."""
    path = path_of(file)
    if path is None:
        return None
    try:
        if beneath is not None:
            path = _os.path.join(_os.fsdecode(beneath), path)
        if look_at(path + suffix) == MMK_NAME_FREE:
            if look_at(path) != MMK_NAME_LINK:
                return None
            path = _os.path.realpath(path)
            if look_at(path + suffix) == MMK_NAME_FREE:
                return None
    except ValueError:  # no file name: opening will say so
        return None
    return path
