"""Kernels over a mapping or any buffer: the GIL released, Ctrl-C heard, faults seen.

A call works in steps. Before each, memory is known to be there; after each, it is known whether it
was, so what was found until then is certain.
"""

import os as _os
from _thread import allocate_lock as _allocate_lock

from mmapkit.errors import FormatError as _FormatError

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

cdef extern from *:
    """
    #include <stdatomic.h>
    /* How many have a view: released wherever the last reference to one goes. */
    typedef struct {
        atomic_size_t count;
    } mmk_py_holds;
    static void mmk_py_hold(mmk_py_holds *holds) {
        atomic_fetch_add(&holds->count, 1);
    }
    static void mmk_py_unhold(mmk_py_holds *holds) {
        atomic_fetch_sub(&holds->count, 1);
    }
    static int mmk_py_held(mmk_py_holds *holds) {
        return atomic_load(&holds->count) != 0;
    }
    """
    ctypedef struct mmk_py_holds:
        pass
    void hold "mmk_py_hold"(mmk_py_holds *holds) noexcept nogil
    void unhold "mmk_py_unhold"(mmk_py_holds *holds) noexcept nogil
    bint held "mmk_py_held"(mmk_py_holds *holds) noexcept nogil

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

    cdef void *data
    cdef size_t used, room
    cdef mmk_py_holds holds  # while there are any, the memory stays where it is
    cdef readonly Py_ssize_t itemsize
    cdef Py_ssize_t length

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
        self.lines = mmk_line_count(start, start, 0)
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


# --- lines by number ----------------------------------------------------------------------------

# Lines that are taken at a time, and how many bytes of them.
cdef enum:
    TAKEN_LINES = 64
cdef size_t TAKEN_BYTES = 1 << 18
# Copies of at least this many bytes are worth giving the GIL away for.
cdef size_t NOGIL_BYTES = 1 << 16


cdef struct lines_job:
    mmk_line_table *table
    size_t first, count
    Py_ssize_t step
    uint64_t starts[TAKEN_LINES]
    uint64_t ends[TAKEN_LINES]
    size_t newline_count
    const unsigned char *text
    char *out[TAKEN_LINES]
    bint keepends
    size_t good    # how much is as it should be
    bint troubled  # something was not: what is left out tells what, by itself
    const int64_t *offsets
    int64_t *numbers


cdef bint are_there(lines_job *j) noexcept nogil:
    """A table can have become shorter since lines of it were counted."""
    cdef size_t last = j.first + (j.count - 1) * <size_t>j.step
    return j.count == 0 or max(j.first, last) < j.table.line_count


cdef void do_count_lines(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    j.ends[0] = mmk_table_count(j.table)


cdef void do_spans(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    j.good = mmk_table_spans(j.table, j.first, j.step, j.count, j.starts, j.ends)


cdef void do_starts(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    mmk_table_starts(j.table, j.first, j.step, j.count, j.numbers)


cdef void do_lines_at(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    j.good = mmk_table_lines_at(j.table, j.offsets, j.count, j.numbers)


cdef void do_cut_endings(void *context) noexcept nogil:
    """Leave the endings out, and see whether they are there. What is behind the last newline has
    none."""
    cdef lines_job *j = <lines_job *>context
    cdef size_t i, line = j.first
    cdef uint64_t end
    for i in range(j.count):
        end = j.ends[i]
        if line < j.newline_count:
            if j.text[end - 1] != c'\n':
                j.good = i
                return
            if not j.keepends:
                end -= 1
                if end > j.starts[i] and j.text[end - 1] == c'\r':
                    end -= 1
                j.ends[i] = end
        line += <size_t>j.step
    j.good = j.count


cdef void do_copy_lines(void *context) noexcept nogil:
    cdef lines_job *j = <lines_job *>context
    cdef size_t i
    for i in range(j.count):
        memcpy(j.out[i], j.text + j.starts[i], <size_t>(j.ends[i] - j.starts[i]))


cdef struct copy_job:
    void *to
    const void *origin
    size_t size


cdef void do_copy(void *context) noexcept nogil:
    cdef copy_job *j = <copy_job *>context
    memcpy(j.to, j.origin, j.size)


cdef class Saved:
    """Numbers of 4 bytes that somebody else holds: a buffer, and the mapping in which it lies."""

    cdef Py_buffer buffer
    cdef bint exported
    cdef const uint32_t *data
    cdef size_t count
    cdef Visited mapping
    cdef size_t place

    def __init__(self, numbers, Visited mapping=None):
        cdef size_t size
        PyObject_GetBuffer(numbers, &self.buffer, PyBUF_CONTIG_RO)
        self.exported = True
        self.data = <const uint32_t *>self.buffer.buf
        self.count = <size_t>self.buffer.len // 4
        cdef const unsigned char *start
        if mapping is not None:
            start = mapping._enter(&size)
            mapping._leave()
            self.place = <size_t>(<const unsigned char *>self.buffer.buf - start)
            self.mapping = mapping

    def __dealloc__(self):
        if self.exported:
            PyBuffer_Release(&self.buffer)

    def __len__(self):
        return self.count

    def copy_to(self, buffer):
        """Fill a buffer of as many numbers."""
        cdef Py_buffer target
        cdef copy_job j
        cdef bint kept = True
        PyObject_GetBuffer(buffer, &target, PyBUF_CONTIG)
        try:
            if target.len != <Py_ssize_t>self.count * 4:
                raise ValueError(f"{target.len} bytes for {self.count} numbers of 4")
            j.to, j.origin, j.size = target.buf, self.data, <size_t>target.len
            with nogil:
                if self.mapping is None:
                    do_copy(&j)
                else:
                    kept = self.mapping._visit(do_copy, &j, self.place, j.size)
            if not kept:
                raise self.mapping._lost()
        finally:
            PyBuffer_Release(&target)


cdef class LineTable:
    """Where the lines of a text end. `text` is a mapping or an object with a buffer, which is not
    held open by this.

    Attributes
    ----------
    end : int
        Where the last newline is over; 0 if there is none.
    origin : str or None
        The file from which `saved` comes, for messages.
    stamp : object
        What the text was like when it was indexed.
    renewing : lock
        Held while the table is brought up to date.
    """

    cdef mmk_line_table c
    cdef readonly object text
    cdef Visited mapping  # the text, if it is one
    cdef Saved saved
    cdef Numbers fresh, wraps
    cdef readonly uint64_t end
    cdef public object origin
    cdef public object stamp
    cdef readonly object renewing

    def __init__(self, text, Numbers fresh not None, Numbers wraps not None, uint64_t size,
                 Saved saved=None):
        self.text = text
        self.renewing = _allocate_lock()
        if isinstance(text, Visited):
            self.mapping = <Visited>text
        self._adopt(saved, fresh, wraps, size)

    cdef int _adopt(self, Saved saved, Numbers fresh, Numbers wraps, uint64_t size) except -1:
        cdef mmk_line_table made
        cdef lines_job j
        cdef uint64_t last = 0
        cdef size_t i
        if fresh.itemsize != 4 or wraps.itemsize != 8:
            raise TypeError("lines end at numbers of 4 bytes, and wraps are numbers of 8")
        made.saved = NULL
        made.saved_count = 0
        if saved is not None:
            made.saved = saved.data
            made.saved_count = saved.count
        made.fresh = <const uint32_t *>fresh.data
        made.newline_count = made.saved_count + fresh.used
        made.wraps = <const uint64_t *>wraps.data
        made.wrap_count = wraps.used
        made.size_bytes = size
        made.line_count = 0
        for i in range(made.wrap_count):
            if not last <= made.wraps[i] <= made.newline_count:
                raise ValueError(f"wraps do not ascend up to {made.newline_count} lines")
            last = made.wraps[i]
        self._read(&made, saved, &j, do_count_lines)
        if j.ends[0] > size:
            raise ValueError(f"the last newline, before byte {j.ends[0]}, lies outside of {size} "
                             "bytes")
        self.saved, self.fresh, self.wraps = saved, fresh, wraps
        self.end = j.ends[0]
        self.c = made
        return 0

    @property
    def size_bytes(self):
        """Bytes of the text that the lines make up."""
        return self.c.size_bytes

    @property
    def newline_count(self):
        """Lines that end with a newline."""
        return self.c.newline_count

    @property
    def index_bytes(self):
        """Bytes of memory, or of a file, for all that is known of the lines."""
        return self.c.newline_count * 4 + self.c.wrap_count * 8

    def parts(self):
        """What was saved, or None, the other numbers and the wraps as buffers, and the size."""
        with cython.critical_section(self):
            return self.saved, memoryview(self.fresh), memoryview(self.wraps), self.c.size_bytes

    def extend(self, Numbers fresh not None, Numbers wraps not None, uint64_t size):
        """Add lines behind the last newline; `wraps` are those of all lines."""
        cdef Numbers mine
        with cython.critical_section(self):
            mine = self.fresh._copy() if held(&self.fresh.holds) else self.fresh
            mine._append(fresh.data, fresh.used)
            self._adopt(self.saved, mine, wraps, size)

    def replace(self, Numbers fresh not None, Numbers wraps not None, uint64_t size):
        """Forget all lines, and take others."""
        with cython.critical_section(self):
            self._adopt(None, fresh, wraps, size)
            self.origin = None

    cdef object _damaged(self):
        if self.origin is None:
            return RuntimeError("the index of lines was damaged in memory")
        return _FormatError(f"{self.origin!r} is damaged: lines do not begin and end where it says; "
                            "delete it, and it will be made again")

    cdef object _changed(self, size_t line):
        return ValueError(f"line {line} (counted from 0) does not end where it did when it was "
                          "indexed: the text has changed; index it again")

    cdef int _read(self, mmk_line_table *table, Saved saved, lines_job *j,
                   visitor work) except -1:
        """Work on a table whose first numbers may lie in a mapping."""
        j.table = table
        if saved is None or saved.mapping is None:
            work(j)
        elif not saved.mapping._visit(work, j, saved.place, saved.count * 4):
            raise saved.mapping._lost()
        return 0

    cdef int _find_spans(self, lines_job *j) except -1:
        """Where lines start and end."""
        with cython.critical_section(self):
            j.newline_count = self.c.newline_count
            j.table = &self.c
            if not are_there(j):
                raise self._shortened()
            self._read(&self.c, self.saved, j, do_spans)
        if not j.good:
            raise self._damaged()
        return 0

    cdef object _shortened(self):
        return ValueError(f"the text has become shorter and has {self.c.line_count} lines now: take "
                          "these lines from it again")

    cdef int _work(self, lines_job *j, visitor work) except -1:
        """Work without the GIL, on a table that may grow or shrink meanwhile."""
        cdef mmk_line_table table
        cdef Saved saved
        cdef Numbers fresh, wraps
        cdef bint kept = True
        with cython.critical_section(self):
            table = self.c
            saved, fresh, wraps = self.saved, self.fresh, self.wraps
            hold(&fresh.holds)
        j.table = &table
        try:
            if work == do_starts and not are_there(j):
                raise self._shortened()
            with nogil:
                if saved is None or saved.mapping is None:
                    work(j)
                else:
                    kept = saved.mapping._visit(work, j, saved.place, saved.count * 4)
            if not kept:
                raise saved.mapping._lost()
        finally:
            unhold(&fresh.holds)
        return 0

    def lines_at(self, offsets, numbers):
        """Fill a buffer of int64 with the lines that hold bytes of the text, given as such a buffer;
        return how many were inside of the text before the first that was not."""
        cdef Py_buffer source, target
        cdef lines_job j
        PyObject_GetBuffer(offsets, &source, PyBUF_CONTIG_RO)
        try:
            PyObject_GetBuffer(numbers, &target, PyBUF_CONTIG)
            try:
                if target.len != source.len:
                    raise ValueError("there are as many numbers as offsets")
                j.offsets, j.numbers = <const int64_t *>source.buf, <int64_t *>target.buf
                j.count = <size_t>source.len // 8
                self._work(&j, do_lines_at)
                return j.good
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)

    def line_at(self, uint64_t offset):
        """The line that holds a byte of the text; IndexError if it is not in it."""
        cdef lines_job j
        cdef int64_t wanted = <int64_t>offset, line = 0
        if offset >= self.c.size_bytes:
            raise IndexError(f"offset {offset} is out of range for lines of {self.c.size_bytes} "
                             "bytes")
        j.offsets, j.numbers, j.count = &wanted, &line, 1
        with cython.critical_section(self):
            self._read(&self.c, self.saved, &j, do_lines_at)
            j.first, j.step = <size_t>line, 1
            if j.good and are_there(&j):
                self._read(&self.c, self.saved, &j, do_spans)
                if j.good and j.starts[0] <= offset < j.ends[0]:
                    return line
        raise self._damaged()


cdef class LineSequence:
    """Some lines of a table: `count` of them, `step` apart from the first; or all, also those that
    come later."""

    cdef readonly LineTable _table
    cdef size_t first, count
    cdef Py_ssize_t step
    cdef bint all
    cdef readonly bint views
    cdef readonly bint keepends

    def __cinit__(self):
        self.step = 1

    def _begin(self, LineTable table not None, bint views, bint keepends):
        self._table, self.views, self.keepends, self.all = table, views, keepends, True

    cdef size_t _length(self) noexcept:
        return self._table.c.line_count if self.all else self.count

    cdef int _require_table(self) except -1:
        if self._table is None:
            raise TypeError("lines are made by lines()")
        return 0

    def __len__(self):
        self._require_table()
        return self._length()

    @property
    def _is_whole(self):
        return self.all

    @property
    def _range(self):
        """The numbers of these lines in the whole text, counted from 0."""
        cdef Py_ssize_t first = <Py_ssize_t>self.first
        return range(first, first + <Py_ssize_t>self._length() * self.step, self.step)

    cdef size_t _line(self, key) except? <size_t>-1:
        """The number in the whole text of a line that is given by an index."""
        cdef Py_ssize_t index = PyNumber_AsSsize_t(key, IndexError), length
        self._require_table()
        length = <Py_ssize_t>self._length()
        if index < 0:
            index += length
        if not 0 <= index < length:
            raise IndexError(f"line {key} is out of range: there are {length} lines")
        return self.first + <size_t>(index * self.step)

    def __getitem__(self, key):
        cdef lines_job j
        if PySlice_Check(key):
            return self._part(key)
        if not PyIndex_Check(key):
            raise TypeError("lines are indexed by integers or slices, not by "
                            f"{type(key).__name__}")
        j.first = self._line(key)
        j.step = j.count = 1
        if self.views:
            self._find(&j)
            return self._view_of(j.starts[0], j.ends[0])
        return self._find(&j)[0]

    cdef object _part(self, key):
        cdef Py_ssize_t start, stop, step, count
        cdef LineSequence made
        PySlice_Unpack(key, &start, &stop, &step)
        self._require_table()
        count = PySlice_AdjustIndices(<Py_ssize_t>self._length(), &start, &stop, step)
        made = type(self).__new__(type(self))
        made._table, made.views, made.keepends = self._table, self.views, self.keepends
        made.count = <size_t>count
        made.first = self.first + <size_t>(start * self.step) if count else 0
        made.step = step * self.step if count > 1 else 1
        return made

    def span(self, index):
        """Return the offsets of a line's first byte and of one past its last.

        Its ending is left out unless `keepends`: ``text[start:stop] == lines[index]``.
        """
        cdef lines_job j
        j.first = self._line(index)
        j.step = j.count = 1
        self._find(&j, False)
        return j.starts[0], j.ends[0]

    def __iter__(self):
        cdef LineIterator made
        self._require_table()
        made = LineIterator.__new__(LineIterator)
        made.lines = self
        made.most = TAKEN_LINES
        return made

    def _list_starts(self, numbers):
        """Fill a buffer of int64 with where these lines start: as many as it has room for."""
        cdef Py_buffer target
        cdef lines_job j
        PyObject_GetBuffer(numbers, &target, PyBUF_CONTIG)
        try:
            j.first, j.step, j.count = self.first, self.step, <size_t>target.len // 8
            if j.count > self._length():
                raise ValueError(f"there are {self._length()} lines, not {j.count}")
            j.numbers = <int64_t *>target.buf
            self._table._work(&j, do_starts)
        finally:
            PyBuffer_Release(&target)

    cdef object _view(self):
        """All bytes of the text, read-only."""
        text = self._table.text
        view = text._view() if self._table.mapping is not None else memoryview(Plain(text))
        return view.toreadonly()

    cdef object _view_of(self, size_t start, size_t stop):
        """Some of them."""
        if self._table.mapping is None:
            return self._view()[start:stop]
        view = self._table.text[start:stop]
        return view if view.readonly else view.toreadonly()

    cdef list _find(self, lines_job *j, bint wanted=True):
        """Where lines start and end, and, unless they are wanted as views, their bytes. If bytes of
        several are lost, only the first is looked at; if bytes of one, MappingFault."""
        cdef Visited mapping = self._table.mapping
        cdef Py_buffer buffer
        cdef size_t size
        cdef list found
        wanted = wanted and not self.views
        j.troubled = False
        while True:
            self._table._find_spans(j)
            self._limit(j)
            if mapping is None:
                PyObject_GetBuffer(self._table.text, &buffer, PyBUF_CONTIG_RO)
                try:
                    j.text = <const unsigned char *>buffer.buf
                    return self._work(j, None, <size_t>buffer.len, wanted)
                finally:
                    PyBuffer_Release(&buffer)
            j.text = mapping._enter_briefly(&size)
            try:
                found = self._work(j, mapping, size, wanted)
            finally:
                mapping._leave()
            if found is not None:
                return found
            fault = mapping._lost()
            if j.count == 1:
                raise fault
            j.count = 1
            j.troubled = True

    cdef void _limit(self, lines_job *j) noexcept:
        """Take fewer of long lines, but one at least."""
        cdef size_t i
        cdef uint64_t total = 0
        for i in range(j.count):
            total += j.ends[i] - j.starts[i]
            if total > TAKEN_BYTES and i > 0:
                j.count = i
                return

    cdef list _work(self, lines_job *j, Visited mapping, size_t size, bint wanted):
        """The text is held; None if bytes were lost."""
        cdef size_t i, total = 0
        cdef list found = []
        cdef Py_ssize_t length
        cdef bytes line
        i = 0 if j.step < 0 else j.count - 1
        if j.ends[i] > size:
            raise ValueError(f"the text has become shorter: it has {size} bytes, and line "
                             f"{j.first + i * <size_t>j.step} (counted from 0) ended at byte "
                             f"{j.ends[i]}; call refresh()")
        j.keepends = self.keepends
        if not self._touch(j, mapping, do_cut_endings, False):
            return None
        if j.good < j.count:
            if j.good == 0:
                raise self._table._changed(j.first)
            j.count = j.good  # those before are given out
            j.troubled = True
        if not wanted:
            return found
        for i in range(j.count):
            length = <Py_ssize_t>(j.ends[i] - j.starts[i])
            line = PyBytes_FromStringAndSize(NULL, length)
            j.out[i] = PyBytes_AS_STRING(line)
            found.append(line)
            total += <size_t>length
        return found if self._touch(j, mapping, do_copy_lines, total >= NOGIL_BYTES) else None

    cdef bint _touch(self, lines_job *j, Visited mapping, visitor work, bint release) except -1:
        """Have the lines' bytes read; False if some were lost."""
        cdef size_t low = j.count - 1 if j.step < 0 else 0, high = j.count - 1 - low
        cdef size_t start = <size_t>j.starts[low], length = <size_t>j.ends[high] - start
        cdef bint kept = True
        if mapping is None:
            if release:
                with nogil:
                    work(j)
            else:
                work(j)
        elif release:
            with nogil:
                kept = mapping._visit(work, j, start, length)
        else:
            kept = mapping._visit(work, j, start, length)
        return kept


cdef class LineIterator:
    """Lines one after the other, taken many at a time."""

    cdef LineSequence lines
    cdef object view       # of all bytes, where lines are views
    cdef list taken        # those that were found, ...
    cdef Py_ssize_t given  # ... and how many of them are given out
    cdef size_t next       # position in `lines` of the first that is not found
    cdef size_t most       # to be taken at a time

    def __iter__(self):
        return self

    def __next__(self):
        cdef object line
        with cython.critical_section(self):
            if self.taken is None or self.given == len(self.taken):
                if not self._refill():
                    raise StopIteration
            line = self.taken[self.given]
            self.given += 1
        return line

    cdef bint _refill(self) except -1:
        cdef lines_job j
        cdef LineSequence lines = self.lines
        cdef size_t i
        self.taken = None
        if lines is None or self.next >= lines._length():
            self.lines = self.view = None
            return False
        j.step = lines.step
        j.first = lines.first + self.next * <size_t>j.step
        j.count = min(self.most, lines._length() - self.next)
        found = lines._find(&j)
        if lines.views:
            if self.view is None:
                self.view = lines._view()
            found = [self.view[j.starts[i]:j.ends[i]] for i in range(j.count)]
        if j.troubled:
            self.most = 1
        self.next += j.count
        self.taken, self.given = found, 0
        return True
