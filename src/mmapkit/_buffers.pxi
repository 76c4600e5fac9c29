# --- buffers that are not one region's: a part of _native.pyx -------------------------------------

cdef class BufferProxy:
    """Exports the buffer of what its `_exported()` returns: classes in Python can do so themselves
    only from 3.12 on (PEP 688)."""

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyObject_GetBuffer(self._exported(), view, flags)


cdef class Reservation:
    """Addresses without memory behind them, in which regions are placed side by side."""

    cdef void *base
    cdef readonly size_t size

    def __init__(self, size_t size):
        status = mmk_os_reserve(size, &self.base)
        if status != MMK_OK:
            raise _errors.translate(status, f"reserve {size} bytes of addresses")
        self.size = size

    def __dealloc__(self):
        if self.base != NULL:
            mmk_os_unmap(self.base, 0, self.size)


cdef class Span:
    """Exports regions that lie side by side in one reservation as one buffer."""

    cdef Reservation reservation
    cdef tuple regions
    cdef bint writable

    def __init__(self, Reservation reservation not None, tuple regions not None):
        cdef Region region
        cdef size_t end = 0
        for region in regions:
            if region.c.place != <char *>reservation.base + end:
                raise ValueError("the regions do not lie side by side")
            end += region.c.size_bytes
        self.reservation, self.regions = reservation, regions
        self.writable = all([region.writable for region in regions])
        self.size = end

    cdef readonly size_t size

    def __getbuffer__(self, Py_buffer *view, int flags):
        cdef Region region
        cdef list held = []
        try:
            for region in self.regions:
                if mmk_region_export(&region.c) != MMK_OK:
                    raise region._closed_error("take a view")
                held.append(region)
            if flags & PyBUF_WRITABLE and not self.writable:
                raise BufferError("the mappings are read-only")
            PyBuffer_FillInfo(view, self, self.reservation.base, <Py_ssize_t>self.size,
                              not self.writable, flags)
        except BaseException:
            for region in held:
                mmk_region_unexport(&region.c)
            raise

    def __releasebuffer__(self, Py_buffer *view):
        cdef Region region
        for region in self.regions:
            mmk_region_unexport(&region.c)
