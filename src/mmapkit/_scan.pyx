"""Kernels over a mapping or any buffer: the GIL released, Ctrl-C heard, faults seen.

A call works in steps. Before each, memory is known to be there; after each, it is known whether it
was, so what was found until then is certain.
"""

import os as _os

from mmapkit._native cimport Visited, visitor

cimport cython
from cpython.buffer cimport (PyBUF_CONTIG, PyBUF_CONTIG_RO, PyBUF_FORMAT, PyBUF_SIMPLE,
                             PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release,
                             PyObject_GetBuffer)
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.number cimport PyIndex_Check, PyNumber_AsSsize_t
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Check, PySlice_Unpack
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #ifdef _WIN32
    #include <windows.h>
    static uint64_t mmk_py_milliseconds(void) {
        return GetTickCount64();
    }
    #else
    #include <time.h>
    static uint64_t mmk_py_milliseconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    }
    #endif
    """
    uint64_t milliseconds "mmk_py_milliseconds"() nogil

cdef extern from "Python.h":
    void *PyMem_RawRealloc(void *memory, size_t size) nogil
    void *PyMem_RawMalloc(size_t size) nogil
    void PyMem_RawFree(void *memory) nogil

# Less than half of what a core has for itself of the caches: what one kernel has read, the next one
# finds there. Few enough bytes for a disk to deliver within a moment.
cdef size_t STEP_BYTES = 1 << 18
# Ctrl-C is looked for so often; each time needs the GIL.
cdef uint64_t HEED_MS = 20
# The probes of a literal are picked by what is rare in so many bytes of the text, and in no more
# than a share of it.
cdef size_t SAMPLE_BYTES = 4096
cdef size_t SAMPLE_SHARE = 32
# Lines that are found at a time.
cdef enum:
    BATCH_LINES = 256
# Numbers that there is room for at first.
cdef size_t LEAST_ROOM = 1024
# More of it is made by what was found so far, and somewhat more; but not many times what there was.
cdef double FORECAST_SHARE = 1.1
cdef double MOST_GROWTH = 8

cdef const mmk_kernels *_kernels = NULL


# --- which kernels ------------------------------------------------------------------------------

def kernel_names():
    """Names of the kernels that this processor runs, slowest first."""
    names = []
    cdef const mmk_kernels *one
    while (one := mmk_kernels_at(len(names))) != NULL:
        names.append(one.name.decode())
    return names


def kernel_name():
    """Name of the kernels in use."""
    return _kernels.name.decode()


def use_kernels(str name not None):
    """Use these kernels from now on; RuntimeError if this processor does not run them."""
    global _kernels
    cdef bytes text = name.encode()
    cdef const mmk_kernels *found = mmk_kernels_named(text)
    if found == NULL:
        raise RuntimeError(f"there are no kernels {name!r} for this processor; it runs "
                           f"{', '.join(kernel_names())}")
    _kernels = found


_kernels = mmk_kernels_best()
if "MMAPKIT_KERNELS" in _os.environ:  # a demand: anything else would go unnoticed
    use_kernels(_os.environ["MMAPKIT_KERNELS"])


# --- needles ------------------------------------------------------------------------------------

cdef class Needle:
    """A literal of at least 1 byte, studied once; with `fold`, ASCII letters of either case match.
    """

    cdef mmk_needle c
    cdef bytes held
    cdef readonly bint fold

    def __init__(self, bytes needle not None, bint fold=False):
        if not needle:
            raise ValueError("a needle has at least 1 byte")
        if fold:
            needle = needle.lower()
        cdef size_t size = <size_t>len(needle)
        self.held = needle
        self.fold = fold
        cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(needle)
        with nogil:
            mmk_needle_study(&self.c, at, size, fold)

    @property
    def size(self):
        """Bytes."""
        return self.c.size

    @property
    def byte(self):
        """The first byte; a small letter with `fold`."""
        return self.held[0]


cdef class Needles:
    """Literals of at least 1 byte each, studied once; with `fold`, ASCII letters of either case
    match. They are numbered from 0 as they are listed; one may be listed twice."""

    cdef mmk_needles *c
    cdef readonly bint fold

    def __init__(self, list needles not None, bint fold=False):
        cdef const unsigned char **starts
        cdef size_t *sizes
        cdef size_t i, count = <size_t>len(needles), total = 0
        cdef tuple held = tuple(needles)
        cdef mmk_needles *studied
        if not held:
            raise ValueError("there are no needles")
        for i, one in enumerate(held):
            if not isinstance(one, bytes):
                raise TypeError(f"needle {i} must be bytes, not {type(one).__name__}")
            if not one:
                raise ValueError(f"needle {i} is empty")
            total += <size_t>len(<bytes>one)
        if total > MMK_NEEDLES_BYTES:
            raise ValueError(f"needles of {total} bytes; the most are {MMK_NEEDLES_BYTES}")
        starts = <const unsigned char **>PyMem_RawMalloc(count * sizeof(starts[0]))
        sizes = <size_t *>PyMem_RawMalloc(count * sizeof(sizes[0]))
        try:
            if starts == NULL or sizes == NULL:
                raise MemoryError
            for i in range(count):
                starts[i] = <const unsigned char *>PyBytes_AS_STRING(<bytes>held[i])
                sizes[i] = <size_t>len(<bytes>held[i])
            with nogil:
                studied = mmk_needles_study(starts, sizes, count, fold)
        finally:
            PyMem_RawFree(starts)
            PyMem_RawFree(sizes)
        if studied == NULL:
            raise MemoryError
        mmk_needles_free(self.c)
        self.c = studied
        self.fold = fold

    def __dealloc__(self):
        mmk_needles_free(self.c)

    def __len__(self):
        return mmk_needles_count(self.c)

    @property
    def longest(self):
        """Bytes of the longest one."""
        return mmk_needles_longest(self.c)


cdef class Many:
    """A search for needles that is under way: in one thread, through one text."""

    cdef mmk_many c
    cdef Needles needles

    def __cinit__(self, Needles needles not None):
        self.needles = needles
        if not mmk_many_begin(&self.c, _kernels, needles.c):
            raise MemoryError

    def __dealloc__(self):
        mmk_many_end(&self.c)


# --- what was found -----------------------------------------------------------------------------

cdef class Numbers:
    """Unsigned numbers of 4 bytes, or signed ones of 8; a writable buffer that owns its memory."""

    def __cinit__(self, Py_ssize_t itemsize):
        self.itemsize = itemsize

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    cdef bint _reserve(self, size_t more) noexcept nogil:
        """Make room; False if there is no memory."""
        cdef size_t wanted = self.used + more
        if wanted <= self.room:
            return True
        wanted = max(wanted, self.room + self.room // 2)
        cdef void *moved = PyMem_RawRealloc(self.data, wanted * <size_t>self.itemsize)
        if moved == NULL:
            return False
        self.data = moved
        self.room = wanted
        return True

    cdef bint _make_room(self, size_t least, double forecast) noexcept nogil:
        """Make room for as many more as seem to come: memory that stays untouched costs nothing, and
        to move what is there does."""
        cdef double most = MOST_GROWTH * <double>self.room
        cdef size_t more = <size_t>min(forecast * FORECAST_SHARE, most)
        return self._reserve(least + more) or self._reserve(least)

    cdef void _trim(self) noexcept:
        cdef size_t least = self.used if self.used else 1
        cdef void *moved = PyMem_RawRealloc(self.data, least * <size_t>self.itemsize)
        if moved != NULL:
            self.data = moved
            self.room = least

    def __len__(self):
        return self.used

    cdef Numbers _copy(self):
        cdef Numbers made = Numbers(self.itemsize)
        made._append(self.data, self.used)
        return made

    def add(self, numbers):
        """Put a buffer of such numbers behind those that are there, of which nobody has a view."""
        cdef Py_buffer buffer
        PyObject_GetBuffer(numbers, &buffer, PyBUF_CONTIG_RO)
        try:
            if buffer.itemsize != self.itemsize:
                raise TypeError(f"numbers of {self.itemsize} bytes, not of {buffer.itemsize}")
            if held(&self.holds):
                raise BufferError("somebody has a view of the numbers")
            self._append(buffer.buf, <size_t>(buffer.len // buffer.itemsize))
        finally:
            PyBuffer_Release(&buffer)

    def trim(self):
        """Give back memory that was taken for more."""
        if not held(&self.holds):
            self._trim()

    cdef int _append(self, const void *data, size_t count) except -1:
        cdef size_t width = <size_t>self.itemsize
        if not self._reserve(count):
            raise MemoryError
        if count:
            memcpy(<char *>self.data + self.used * width, data, count * width)
        self.used += count
        return 0

    def __getbuffer__(self, Py_buffer *view, int flags):
        hold(&self.holds)
        self.length = <Py_ssize_t>self.used
        view.obj = self
        view.buf = self.data
        view.len = self.length * self.itemsize
        view.itemsize = self.itemsize
        view.readonly = 0
        view.ndim = 1
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = b"I" if self.itemsize == 4 else b"q"
        view.shape = &self.length
        view.strides = &self.itemsize
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer *view):
        unhold(&self.holds)


cdef class Plain:
    """The bytes of any contiguous buffer, whatever they mean there."""

    cdef object owner

    def __init__(self, owner):
        self.owner = owner

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyObject_GetBuffer(self.owner, view, PyBUF_SIMPLE | flags & PyBUF_WRITABLE)
        view.itemsize = 1
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = b"B"
        view.ndim = 1
        view.shape = view.strides = NULL
        if flags & PyBUF_ND == PyBUF_ND:
            view.shape = &view.len
        if flags & PyBUF_STRIDES == PyBUF_STRIDES:
            view.strides = &view.itemsize


# --- a call -------------------------------------------------------------------------------------

# What one step works on. Positions are offsets in the text.
cdef struct job:
    const unsigned char *text
    size_t start, stop, end  # occurrences start in [start, stop) and end by `end`
    size_t resume            # where the next step starts: set by what worked
    const mmk_kernels *kernels
    mmk_search search
    const mmk_needle *needle
    mmk_many *many           # instead, where there are many needles
    size_t longest           # an occurrence has up to so many bytes
    size_t least             # room that is enough to go on
    bint begun, overlapping
    bint done                # what was found ends the call
    unsigned char byte
    size_t found, first
    void *out
    void *which
    size_t room
    mmk_line_count lines
    bint once


cdef void begin_search(job *j) noexcept nogil:
    """Inside of the guard, because it reads from the text."""
    cdef size_t left = j.end - j.start
    if not j.begun:
        mmk_search_begin(&j.search, j.kernels, j.needle, j.text + j.start,
                         min(SAMPLE_BYTES, left // SAMPLE_SHARE))
        j.begun = True


cdef void do_count_byte(void *context) noexcept nogil:
    cdef job *j = <job *>context
    j.found += j.kernels.count(j.text + j.start, j.stop - j.start, j.byte)
    j.resume = j.stop


cdef void do_find(void *context) noexcept nogil:
    cdef job *j = <job *>context
    cdef uint64_t at
    begin_search(j)
    if mmk_search_list(&j.search, j.text, j.start, j.stop, j.end, True, 0, &at, 1, &j.resume):
        j.first = <size_t>at
        j.done = True


cdef void do_find_last(void *context) noexcept nogil:
    cdef job *j = <job *>context
    begin_search(j)
    j.first = mmk_search_last(&j.search, j.text, j.start, j.stop, j.end)


cdef void do_count(void *context) noexcept nogil:
    cdef job *j = <job *>context
    cdef uint64_t at
    cdef size_t count
    begin_search(j)
    if j.first == MMK_NOWHERE:
        count = mmk_search_list(&j.search, j.text, j.start, j.stop, j.end, j.overlapping, 0, &at, 1,
                                &j.resume)
        if not count:
            return
        j.first = <size_t>at
        j.found += 1
        j.start = j.resume
        if j.start >= j.stop:
            return
    j.found += mmk_search_list(&j.search, j.text, j.start, j.stop, j.end, j.overlapping, 0, NULL,
                               <size_t>-1, &j.resume)


cdef void do_list(void *context) noexcept nogil:
    cdef job *j = <job *>context
    begin_search(j)
    j.found += mmk_search_list(&j.search, j.text, j.start, j.stop, j.end, j.overlapping, 0,
                               <uint64_t *>j.out + j.found, j.room - j.found, &j.resume)


cdef void do_list_byte(void *context) noexcept nogil:
    cdef job *j = <job *>context
    j.found += j.kernels.list64(j.text, j.start, j.stop, j.byte, 0, <uint64_t *>j.out + j.found,
                                j.room - j.found, &j.resume)


cdef void do_list_newlines(void *context) noexcept nogil:
    """Where lines end: just after their newlines."""
    cdef job *j = <job *>context
    j.found += j.kernels.list32(j.text, j.start, j.stop, c'\n', 1, <uint32_t *>j.out + j.found,
                                j.room - j.found, &j.resume)


cdef void do_count_any(void *context) noexcept nogil:
    cdef job *j = <job *>context
    cdef uint64_t at
    if j.first == MMK_NOWHERE:
        if not mmk_many_list(j.many, j.text, j.start, j.stop, j.end, False, 0, &at, NULL, 1,
                             &j.resume):
            return
        j.first = j.start = <size_t>at
    j.found += mmk_many_list(j.many, j.text, j.start, j.stop, j.end, j.overlapping, 0, NULL, NULL,
                             <size_t>-1, &j.resume)


cdef void do_list_any(void *context) noexcept nogil:
    cdef job *j = <job *>context
    j.found += mmk_many_list(j.many, j.text, j.start, j.stop, j.end, j.overlapping, 0,
                             <uint64_t *>j.out + j.found, <uint64_t *>j.which + j.found,
                             j.room - j.found, &j.resume)


cdef void do_lines(void *context) noexcept nogil:
    cdef job *j = <job *>context
    cdef mmk_finder finder
    if j.many != NULL:
        finder = mmk_many_finder(j.many)
    else:
        begin_search(j)
        finder = mmk_search_finder(&j.search)
    j.found += mmk_lines_list(&j.lines, j.kernels, finder, j.text, j.start, j.stop, j.end, j.once,
                              <mmk_line *>j.out + j.found, j.room - j.found, &j.resume)
    j.done = j.found == j.room


cdef class Walk:
    """One call's way through a text: a mapping, pinned, or a buffer."""

    cdef Visited visited
    cdef Py_buffer buffer
    cdef bint exported
    cdef const unsigned char *interrupt
    cdef object flag
    cdef const unsigned char *text
    cdef size_t size
    cdef uint64_t heeded
    cdef bint lost
    cdef size_t searched

    def __cinit__(self, haystack, bytearray interrupt):
        self.flag = interrupt
        if interrupt is not None:
            self.interrupt = <const unsigned char *>PyByteArray_AS_STRING(interrupt)
        if isinstance(haystack, Visited):
            self.text = (<Visited>haystack)._enter(&self.size)
            self.visited = <Visited>haystack
        else:
            PyObject_GetBuffer(haystack, &self.buffer, PyBUF_SIMPLE)
            self.exported = True
            self.text = <const unsigned char *>self.buffer.buf
            self.size = <size_t>self.buffer.len

    cdef void leave(self) noexcept:
        if self.visited is not None:
            self.visited._leave()
            self.visited = None
        if self.exported:
            PyBuffer_Release(&self.buffer)
            self.exported = False

    def __dealloc__(self):
        self.leave()

    cdef job plan(self, Needle needle, size_t start, size_t stop, size_t end) except *:
        """The whole call as one job; the text may have become shorter than the caller thinks."""
        cdef job j
        if stop < start or end < stop or end > self.size:
            self.leave()
            raise ValueError(f"bytes {start} to {end} are not all in a text of {self.size} bytes")
        j.text = self.text
        j.start = j.resume = start
        j.stop = stop
        j.end = end
        j.kernels = _kernels
        j.begun = j.overlapping = j.once = j.done = False
        j.byte = 0
        j.found = j.room = 0
        j.out = j.which = NULL
        j.first = MMK_NOWHERE
        j.needle = NULL if needle is None else &needle.c
        j.many = NULL
        j.longest = 0 if needle is None else needle.c.size
        j.least = 1
        self.searched = start
        return j

    cdef job plan_any(self, Many many, size_t start, size_t stop, size_t end,
                      bint overlapping) except *:
        """The same for many needles."""
        cdef job j = self.plan(None, start, stop, end)
        j.many = &many.c
        j.longest = mmk_needles_longest(many.needles.c)
        j.least = mmk_needles_most(many.needles.c) if overlapping else 1
        j.overlapping = overlapping
        return j

    cdef bint touch(self, job *j, visitor work) noexcept nogil:
        """One step; False if bytes were lost in it."""
        cdef size_t reach
        if self.visited is None:
            work(j)
            return True
        reach = j.stop - j.start
        if j.longest:
            reach = min(j.end - j.start, reach + j.longest)
        return self.visited._visit(work, j, j.start, reach)

    cdef bint pause(self) except -1 nogil:
        """Between steps: hear Ctrl-C, and tell whether another thread wants the end."""
        cdef uint64_t now
        if self.interrupt != NULL:
            return self.interrupt[0] != 0
        now = milliseconds()
        if now - self.heeded >= HEED_MS:
            if self.heeded:
                with gil:
                    PyErr_CheckSignals()
            self.heeded = now
        return False

    cdef int forwards(self, job *j, visitor work, Numbers numbers=None,
                      Numbers which=None) except -1:
        """Steps to the right, until the end, or until something is found that ends the call. What
        is listed grows into `numbers`, and which of many it is into `which`."""
        cdef size_t start = j.start, stop = j.stop, step = max(STEP_BYTES, j.longest)
        cdef size_t first = j.found, before, room = max(LEAST_ROOM, j.least)
        cdef double forecast
        if numbers is not None and not numbers._reserve(room):
            raise MemoryError
        if which is not None and not which._reserve(room):
            raise MemoryError
        with nogil:
            while j.resume < stop:
                j.start = j.resume
                j.stop = min(stop, j.start + step) if step < stop - j.start else stop
                before = j.found
                if numbers is not None:
                    j.out = numbers.data
                    j.room = numbers.room
                if which is not None:
                    j.which = which.data
                    j.room = min(j.room, which.room)
                if not self.touch(j, work):
                    j.found = before
                    self.lost = True
                    break
                if numbers is not None:
                    numbers.used = j.found
                    if which is not None:
                        which.used = j.found
                    if j.room - j.found < j.least:
                        # As densely as until now.
                        forecast = (j.found - first) * <double>(stop - min(j.resume, stop))
                        forecast /= j.resume - start + 1
                        if not (numbers._make_room(room, forecast)
                                and (which is None or which._make_room(room, forecast))):
                            with gil:
                                raise MemoryError
                self.searched = min(j.resume, stop)
                if j.done or self.pause():
                    break
        return 0

    cdef int backwards(self, job *j, visitor work) except -1:
        """Steps to the left, until something is found."""
        cdef size_t start = j.start, stop = j.stop, step = max(STEP_BYTES, j.needle.size)
        with nogil:
            while stop > start and j.first == MMK_NOWHERE:
                j.stop = stop
                j.start = stop - step if stop - start > step else start
                if not self.touch(j, work):
                    self.lost = True
                    self.searched = stop
                    break
                stop = j.start
                if self.pause():
                    break
        return 0

    cdef int finish(self, found) except -1:
        """Let the text go; raise what was lost, with what was found."""
        cdef object error = self.visited._lost() if self.lost else None
        self.leave()
        if error is not None:
            error.found = found
            error.searched = self.searched
            raise error
        return 0


def count_byte(haystack, unsigned char byte, size_t start, size_t stop, bytearray interrupt=None):
    """How often a byte occurs in [start, stop)."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef job j = walk.plan(None, start, stop, stop)
    j.byte = byte
    walk.forwards(&j, do_count_byte)
    walk.finish(j.found)
    return j.found


def find(haystack, Needle needle not None, size_t start, size_t stop, size_t end,
         bytearray interrupt=None):
    """The first occurrence that starts in [start, stop) and ends by `end`, or -1."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef job j = walk.plan(needle, start, stop, end)
    walk.forwards(&j, do_find)
    walk.finish(None)
    return -1 if j.first == MMK_NOWHERE else j.first


def rfind(haystack, Needle needle not None, size_t start, size_t stop, size_t end,
          bytearray interrupt=None):
    """The last such occurrence, or -1."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef job j = walk.plan(needle, start, stop, end)
    walk.backwards(&j, do_find_last)
    walk.finish(None)
    return -1 if j.first == MMK_NOWHERE else j.first


def count(haystack, Needle needle not None, size_t start, size_t stop, size_t end,
          bint overlapping=False, bytearray interrupt=None):
    """How many occurrences there are, where the first one is (or -1), and where to go on: at `stop`,
    or farther if the last one reaches farther."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef job j = walk.plan(needle, start, stop, end)
    j.overlapping = overlapping
    walk.forwards(&j, do_count)
    walk.finish(j.found)
    return j.found, -1 if j.first == MMK_NOWHERE else j.first, j.resume


def find_all(haystack, Needle needle not None, size_t start, size_t stop, size_t end,
             bint overlapping=False, bytearray interrupt=None):
    """All occurrences as 8-byte numbers, and where to go on."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef job j = walk.plan(needle, start, stop, end)
    cdef Numbers numbers = Numbers(8)
    j.overlapping = overlapping
    if needle.c.size == 1 and not needle.fold:
        j.byte = needle.byte
        walk.forwards(&j, do_list_byte, numbers)
    else:
        walk.forwards(&j, do_list, numbers)
    numbers._trim()
    walk.finish(numbers)
    return numbers, j.resume


def count_any(haystack, Needles needles not None, size_t start, size_t stop, size_t end,
              bint overlapping=False, bytearray interrupt=None):
    """What count() tells, of many needles: of several that start at one position the first one
    listed is taken, or all of them if they may overlap."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef Many many = Many(needles)
    cdef job j = walk.plan_any(many, start, stop, end, overlapping)
    walk.forwards(&j, do_count_any)
    walk.finish(j.found)
    return j.found, -1 if j.first == MMK_NOWHERE else j.first, j.resume


def find_any(haystack, Needles needles not None, size_t start, size_t stop, size_t end,
             bint overlapping=False, bytearray interrupt=None):
    """All occurrences of many needles as 8-byte numbers, which needle each is of, and where to go
    on. By position, and at one position as the needles are listed."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef Many many = Many(needles)
    cdef job j = walk.plan_any(many, start, stop, end, overlapping)
    cdef Numbers offsets = Numbers(8)
    cdef Numbers which = Numbers(8)
    walk.forwards(&j, do_list_any, offsets, which)
    offsets._trim()
    which._trim()
    walk.finish((offsets, which))
    return offsets, which, j.resume


def list_newlines(haystack, size_t start, size_t stop, bytearray interrupt=None,
                  Numbers behind=None):
    """The low 32 bits of the offsets just after each newline in [start, stop); with `behind`, put
    behind those that are there, of which nobody has a view."""
    cdef Walk walk = Walk(haystack, interrupt)
    cdef job j = walk.plan(None, start, stop, stop)
    cdef Numbers numbers = Numbers(4) if behind is None else behind
    j.found = numbers.used
    walk.forwards(&j, do_list_newlines, numbers)
    if behind is None:
        numbers._trim()
    walk.finish(numbers)
    return numbers


cdef class LineScanner:
    """Occurrences of a literal, or of many, with the lines in which they begin.

    Newlines are counted along the way, so the ranges of successive calls have to adjoin.

    Parameters
    ----------
    needle : Needle or Needles
    once : bool
        Only the first occurrence of each line.
    start : int
        Where the lines begin to be counted; a line begins there, too.
    """

    cdef Needle needle
    cdef Many many
    cdef bint once
    cdef mmk_line_count lines
    cdef mmk_search search
    cdef bint begun
    cdef size_t resume

    def __init__(self, needle not None, *, bint once, size_t start=0):
        if isinstance(needle, Needles):
            self.needle = None
            self.many = Many(needle)
        else:
            self.needle = needle
            self.many = None
        self.once = once
        self.lines = mmk_line_count(start, start, 0, 0)
        self.resume = start

    @property
    def position(self):
        """Where the next call goes on: everything before was searched."""
        return self.resume

    def next(self, haystack, size_t stop, size_t end, bytearray interrupt=None):
        """A batch of occurrences that start from `position` on and before `stop`: tuples of offset
        and size of the occurrence, start and end of the line (without its newline; a "\\r" of its
        ending is in it), and the number of lines before. An empty batch: there are no more."""
        cdef mmk_line batch[BATCH_LINES]
        cdef Walk walk
        cdef job j
        cdef size_t i
        if self.resume >= stop:
            return []
        walk = Walk(haystack, interrupt)
        if self.many is None:
            j = walk.plan(self.needle, self.resume, stop, end)
        else:
            j = walk.plan_any(self.many, self.resume, stop, end, False)
        j.once = self.once
        j.out = batch
        j.room = BATCH_LINES
        j.lines = self.lines
        if self.begun:
            j.search = self.search
            j.begun = True
        walk.forwards(&j, do_lines)
        self.lines = j.lines
        self.search = j.search
        self.begun = j.begun
        self.resume = j.resume
        found = [(batch[i].offset, batch[i].size, batch[i].start, batch[i].end, batch[i].number)
                 for i in range(j.found)]
        walk.finish(found)
        return found
