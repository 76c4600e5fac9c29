"""The scanning kernels, as Cython sees them."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "stdbool.h" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "mmk/scan.h" nogil:
    const size_t MMK_NOWHERE
    ctypedef struct mmk_kernels:
        const char *name
        size_t (*count)(const unsigned char *text, size_t length,
                        unsigned char byte) noexcept nogil
        size_t (*list32)(const unsigned char *text, size_t start, size_t stop, unsigned char byte,
                         uint32_t base, uint32_t *out, size_t capacity,
                         size_t *resume) noexcept nogil
        size_t (*list64)(const unsigned char *text, size_t start, size_t stop, unsigned char byte,
                         uint64_t base, uint64_t *out, size_t capacity,
                         size_t *resume) noexcept nogil
    const mmk_kernels *mmk_kernels_best()
    const mmk_kernels *mmk_kernels_at(unsigned index)
    const mmk_kernels *mmk_kernels_named(const char *name)

    ctypedef struct mmk_needle:
        size_t size
        c_bool fold
    void mmk_needle_study(mmk_needle *needle, const unsigned char *bytes, size_t size, c_bool fold)
    ctypedef struct mmk_search:
        const mmk_kernels *kernels
        c_bool linear
    void mmk_search_begin(mmk_search *search, const mmk_kernels *kernels, const mmk_needle *needle,
                          const unsigned char *sample, size_t sample_size)
    size_t mmk_search_list(mmk_search *search, const unsigned char *text, size_t start, size_t stop,
                           size_t end, c_bool overlapping, uint64_t base, uint64_t *out,
                           size_t capacity, size_t *resume)
    size_t mmk_search_last(mmk_search *search, const unsigned char *text, size_t start, size_t stop,
                           size_t end)

    ctypedef struct mmk_needles:
        pass
    const size_t MMK_NEEDLES_BYTES
    mmk_needles *mmk_needles_study(const unsigned char **bytes, const size_t *sizes, size_t count,
                                   c_bool fold)
    void mmk_needles_free(mmk_needles *needles)
    size_t mmk_needles_count(const mmk_needles *needles)
    size_t mmk_needles_longest(const mmk_needles *needles)
    size_t mmk_needles_most(const mmk_needles *needles)
    ctypedef struct mmk_many:
        pass
    c_bool mmk_many_begin(mmk_many *many, const mmk_kernels *kernels, const mmk_needles *needles)
    void mmk_many_end(mmk_many *many)
    size_t mmk_many_list(mmk_many *many, const unsigned char *text, size_t start, size_t stop,
                         size_t end, c_bool overlapping, uint64_t base, uint64_t *out_at,
                         uint64_t *out_which, size_t capacity, size_t *resume)

    ctypedef struct mmk_finder:
        pass
    mmk_finder mmk_search_finder(mmk_search *search)
    mmk_finder mmk_many_finder(mmk_many *many)
    ctypedef struct mmk_line:
        uint64_t offset
        uint64_t size
        uint64_t start
        uint64_t end
        uint64_t number
    ctypedef struct mmk_line_count:
        size_t counted
        size_t start
        uint64_t number
        size_t ended
    size_t mmk_lines_list(mmk_line_count *lines, const mmk_kernels *kernels, mmk_finder finder,
                          const unsigned char *text, size_t start, size_t stop, size_t end,
                          c_bool once, mmk_line *out, size_t capacity, size_t *resume)

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


cdef class Numbers:
    """Unsigned numbers of 4 bytes, or signed ones of 8; a writable buffer that owns its memory."""
    cdef void *data
    cdef size_t used, room
    cdef mmk_py_holds holds  # while there are any, the memory stays where it is
    cdef readonly Py_ssize_t itemsize
    cdef Py_ssize_t length
    cdef bint _reserve(self, size_t more) noexcept nogil
    cdef bint _make_room(self, size_t least, double forecast) noexcept nogil
    cdef void _trim(self) noexcept
    cdef Numbers _copy(self)
    cdef int _append(self, const void *data, size_t count) except -1
