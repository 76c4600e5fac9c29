/* Tables of lines: where each line of a text starts and ends. */
#ifndef MMK_TABLE_H
#define MMK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where lines end: just after their newlines, as the low 32 bits of each offset. The first ones are
 * in one place and the others in another, so that a table can grow behind one that is a file.
 * wraps[k] lines end before the offset (k + 1) * 2^32; they ascend, up to newline_count. The low
 * bits may be anything: nothing here reads outside of them. */
typedef struct {
    const uint32_t *saved, *fresh;
    size_t saved_count, newline_count;
    const uint64_t *wraps;
    size_t wrap_count;
    uint64_t size_bytes; /* of the text, where its last line ends */
    size_t line_count;   /* one more than newlines if there is something behind the last of them */
} mmk_line_table;

/* Where the last newline is over; sets line_count. */
uint64_t mmk_table_count(mmk_line_table *table);
/* Where `count` lines start and end, `step` apart from the first; false if that cannot be true. The
 * lines of this and the next one are less than line_count. */
bool mmk_table_spans(const mmk_line_table *table, size_t first, ptrdiff_t step, size_t count,
                     uint64_t *starts, uint64_t *ends);
void mmk_table_starts(const mmk_line_table *table, size_t first, ptrdiff_t step, size_t count,
                      int64_t *starts);
/* The line that holds a byte of the text. */
size_t mmk_table_line_at(const mmk_line_table *table, uint64_t offset);
/* The same for many, each of which may be anything; returns how many are inside of the text before
 * the first that is not. */
size_t mmk_table_lines_at(const mmk_line_table *table, const int64_t *offsets, size_t count,
                          int64_t *lines);

#endif
