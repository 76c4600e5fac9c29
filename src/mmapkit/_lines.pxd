"""Tables of lines, as Cython sees them."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "mmk/table.h" nogil:
    ctypedef struct mmk_line_table:
        const uint32_t *saved
        const uint32_t *fresh
        size_t saved_count
        size_t newline_count
        const uint64_t *wraps
        size_t wrap_count
        uint64_t size_bytes
        size_t line_count
    uint64_t mmk_table_count(mmk_line_table *table)
    bint mmk_table_spans(const mmk_line_table *table, size_t first, ptrdiff_t step, size_t count,
                         uint64_t *starts, uint64_t *ends)
    void mmk_table_starts(const mmk_line_table *table, size_t first, ptrdiff_t step, size_t count,
                          int64_t *starts)
    size_t mmk_table_line_at(const mmk_line_table *table, uint64_t offset)
    size_t mmk_table_lines_at(const mmk_line_table *table, const int64_t *offsets, size_t count,
                              int64_t *lines)
