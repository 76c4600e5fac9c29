# --- what the machine can do and has: a part of _native.pyx ---------------------------------------

def page_size():
    """Return the size of a page of memory, in bytes."""
    return mmk_os_page_bytes()


def allocation_granularity():
    """Return what offsets are aligned to inside, in bytes: a page, or 64 KiB on Windows."""
    return mmk_os_granularity_bytes()


def require_advice(str advice not None):
    """Raise ValueError for a word that is no advice on any machine."""
    if advice not in _ADVICE:
        raise ValueError(f"unknown advice {advice!r}: it is one of {', '.join(_ADVICE)}")


def supported_advice():
    """Return the names that `Mapping.advise` takes on this machine, as a tuple."""
    return tuple(name for name, advice in _ADVICE.items() if mmk_advice_supported(advice))


def change_methods():
    """Return the names that `Region._changes` takes on this machine, fastest first; tried out once."""
    return tuple([name for i, name in enumerate(_CHANGES)
                  if mmk_changes_supported(<mmk_changes_method><int>i)])


def find_bad_row(rows, size_t row_count):
    """Position of the first index, of contiguous int64, that is out of range; -1 if there is none."""
    cdef Py_buffer picked
    cdef size_t count, bad
    PyObject_GetBuffer(rows, &picked, PyBUF_CONTIG_RO)
    try:
        count = <size_t>picked.len // sizeof(int64_t)
        with nogil:
            bad = mmk_gather_find_bad(<const int64_t *>picked.buf, count, row_count)
        return -1 if bad == count else <Py_ssize_t>bad
    finally:
        PyBuffer_Release(&picked)


def cached_pages(str path):
    """A file's size, and how many of its pages the page cache holds and are dirty; None where the
    system does not tell."""
    cdef mmk_file opened
    cdef mmk_cached cached
    cdef mmk_status status
    cdef mmk_path_char *name = mmk_py_path(path)
    try:
        with nogil:
            status = mmk_file_open(name, NULL, 0, &opened)
    finally:
        PyMem_Free(name)
    if status != MMK_OK:
        raise _errors.translate(status, "ask what is resident", path)
    with nogil:
        status = mmk_os_cached(opened.handle, 0, opened.info.size_bytes, &cached)
        mmk_file_close(&opened)
    counts = (cached.resident_pages, cached.dirty_pages) if status == MMK_OK else None
    return opened.info.size_bytes, counts
