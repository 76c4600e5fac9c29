"""What a journal asks of bytes: checksums, and copies of many runs, under the guard and without the
GIL.
"""

import os as _os

from mmapkit._native cimport Visited, c_bool, mmk_run, mmk_runs_measure

from cpython.buffer cimport (PyBUF_CONTIG_RO, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release,
                             PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "mmk/checksum.h" nogil:
    ctypedef struct mmk_checksum:
        const char *name
        uint32_t (*crc32c)(uint32_t before, const unsigned char *data,
                           size_t length) noexcept nogil
    const mmk_checksum *mmk_checksum_best()
    const mmk_checksum *mmk_checksum_at(unsigned index)
    const mmk_checksum *mmk_checksum_named(const char *name)
    size_t mmk_sector_count(size_t length)
    void mmk_sector_checksums(const mmk_checksum *checksum, const unsigned char *data,
                              size_t length, unsigned char *out)

# Work on at least this many bytes is worth giving the GIL away for.
cdef size_t NOGIL_BYTES = 1 << 14

cdef const mmk_checksum *_way = mmk_checksum_best()


# --- checksums ----------------------------------------------------------------------------------

def checksum_kernels():
    """Names of the ways to compute a CRC-32C that this processor has, slowest first."""
    names = []
    cdef const mmk_checksum *one
    while (one := mmk_checksum_at(len(names))) != NULL:
        names.append(one.name.decode())
    return names


def checksum_kernel():
    """Name of the way in use."""
    return _way.name.decode()


def use_checksum_kernel(str name not None):
    """Use this way from now on; RuntimeError if this processor does not have it."""
    global _way
    cdef bytes text = name.encode()
    cdef const mmk_checksum *found = mmk_checksum_named(text)
    if found == NULL:
        raise RuntimeError(f"there is no checksum {name!r} for this processor; it has "
                           f"{', '.join(checksum_kernels())}")
    _way = found


if "MMAPKIT_CHECKSUM" in _os.environ:  # a demand: anything else would go unnoticed
    use_checksum_kernel(_os.environ["MMAPKIT_CHECKSUM"])


def crc32c(data, uint32_t seed=0):
    """Return the CRC-32C of a buffer's bytes; with `seed`, of what follows bytes of that checksum."""
    cdef Py_buffer view
    cdef uint32_t crc
    PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO)
    try:
        if <size_t>view.len < NOGIL_BYTES:
            return _way.crc32c(seed, <const unsigned char *>view.buf, <size_t>view.len)
        with nogil:
            crc = _way.crc32c(seed, <const unsigned char *>view.buf, <size_t>view.len)
        return crc
    finally:
        PyBuffer_Release(&view)


def sector_checksums(data):
    """Return the CRC-32C of each 512 bytes of a buffer, as little-endian uint32; the last may be of
    fewer."""
    cdef Py_buffer view
    cdef unsigned char *out
    PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO)
    try:
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>mmk_sector_count(view.len) * 4)
        out = <unsigned char *>PyBytes_AS_STRING(result)
        with nogil:
            mmk_sector_checksums(_way, <const unsigned char *>view.buf, <size_t>view.len, out)
        return result
    finally:
        PyBuffer_Release(&view)


# --- runs of a mapping --------------------------------------------------------------------------

cdef struct run_job:
    const unsigned char *data
    size_t length
    unsigned char *out


cdef void copy_run(void *context) noexcept nogil:
    cdef run_job *j = <run_job *>context
    memcpy(j.out, j.data, j.length)


cdef void check_run(void *context) noexcept nogil:
    cdef run_job *j = <run_job *>context
    mmk_sector_checksums(_way, j.data, j.length, j.out)


cdef class Runs:
    """Pairs of (offset, length) that somebody else holds."""

    cdef Py_buffer buffer
    cdef bint exported
    cdef const mmk_run *runs
    cdef size_t count

    def __cinit__(self, runs):
        PyObject_GetBuffer(runs, &self.buffer, PyBUF_CONTIG_RO)
        self.exported = True
        cdef Py_ssize_t size = self.buffer.len
        if size % sizeof(mmk_run) or size and <size_t>self.buffer.buf % sizeof(int64_t):
            raise ValueError(f"runs must be aligned pairs of int64, not {size} bytes")
        self.runs = <const mmk_run *>self.buffer.buf
        self.count = <size_t>self.buffer.len // sizeof(mmk_run)

    def __dealloc__(self):
        if self.exported:
            PyBuffer_Release(&self.buffer)

    cdef uint64_t _measure(self, size_t size) except? 0xffffffffffffffff:
        """How long they are together; ValueError if one does not lie in the mapping."""
        cdef uint64_t length = 0
        if not mmk_runs_measure(self.runs, self.count, size, &length):
            raise ValueError(f"runs must be pairs (offset, length) inside the mapping's {size} bytes")
        return length

    cdef bint _visit(self, Visited region, const unsigned char *data, unsigned char *out,
                     bint sectors) noexcept nogil:
        """Copy all, or their checksums; False if bytes were lost."""
        cdef run_job j
        cdef size_t i
        j.out = out
        for i in range(self.count):
            j.data = data + self.runs[i].offset
            j.length = <size_t>self.runs[i].length_bytes
            if not region._visit(check_run if sectors else copy_run, &j,
                                 <size_t>self.runs[i].offset, j.length):
                return False
            j.out += mmk_sector_count(j.length) * 4 if sectors else j.length
        return True


def copy_runs(Visited region not None, runs, out, size_t at=0):
    """Copy runs of a mapping, one after the other, into a buffer.

    Parameters
    ----------
    region : Region
        The mapping.
    runs : buffer of int64
        Pairs of (offset in the mapping, length).
    out : writable buffer
        Where they go.
    at : int
        The offset in `out` of the first of them.

    Returns
    -------
    int
        How many bytes were copied.

    Raises
    ------
    MappingFault
        If bytes of the mapping were lost; what is in `out` then is worth nothing.
    ValueError
        If a run does not lie in the mapping, or `out` has no room for all.
    """
    cdef Runs where = Runs(runs)
    cdef Py_buffer target
    cdef const unsigned char *data
    cdef unsigned char *to
    cdef size_t size
    cdef uint64_t length
    cdef bint good
    PyObject_GetBuffer(out, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
    try:
        data = region._enter(&size)
        try:
            length = where._measure(size)
            if at > <size_t>target.len or length > <size_t>target.len - at:
                raise ValueError(f"{length} bytes at {at} do not fit a buffer of {target.len}")
            to = <unsigned char *>target.buf + at
            with nogil:
                good = where._visit(region, data, to, False)
            if not good:
                raise region._lost()
            return length
        finally:
            region._leave()
    finally:
        PyBuffer_Release(&target)


def sector_checksums_of(Visited region not None, runs):
    """Return the CRC-32C of each 512 bytes of each run of a mapping, as little-endian uint32.

    Sectors count from the start of their run; the last of each run may be of fewer bytes. MappingFault
    if bytes were lost, ValueError if a run does not lie in the mapping.
    """
    cdef Runs where = Runs(runs)
    cdef const unsigned char *data
    cdef unsigned char *out
    cdef size_t size, i
    cdef uint64_t sectors = 0
    cdef bint good
    data = region._enter(&size)
    try:
        where._measure(size)
        for i in range(where.count):
            sectors += mmk_sector_count(<size_t>where.runs[i].length_bytes)
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(4 * sectors))
        out = <unsigned char *>PyBytes_AS_STRING(result)
        with nogil:
            good = where._visit(region, data, out, True)
        if not good:
            raise region._lost()
        return result
    finally:
        region._leave()
