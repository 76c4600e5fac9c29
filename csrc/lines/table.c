/* Where the lines of a text start and end, from the low halves of offsets. */
#include "mmk/table.h"

static uint32_t low_at(const mmk_line_table *table, size_t line) {
    return line < table->saved_count ? table->saved[line] : table->fresh[line - table->saved_count];
}

/* How many of the wraps are at or before a line: the high half of where it ends. */
static uint64_t high_at(const mmk_line_table *table, size_t line) {
    size_t low = 0, high = table->wrap_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->wraps[middle] <= line)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Where a line ends; what comes behind the last newline ends with the text. */
static uint64_t end_at(const mmk_line_table *table, size_t line) {
    return line < table->newline_count ? high_at(table, line) << 32 | low_at(table, line)
                                       : table->size_bytes;
}

static uint64_t start_at(const mmk_line_table *table, size_t line) {
    return line == 0 ? 0 : end_at(table, line - 1);
}

uint64_t mmk_table_count(mmk_line_table *table) {
    uint64_t end = start_at(table, table->newline_count);
    table->line_count = table->newline_count + (end < table->size_bytes);
    return end;
}

bool mmk_table_spans(const mmk_line_table *table, size_t first, ptrdiff_t step, size_t count,
                     uint64_t *starts, uint64_t *ends) {
    size_t line = first;
    for (size_t i = 0; i < count; i++, line += (size_t)step) {
        starts[i] = step == 1 && i > 0 ? ends[i - 1] : start_at(table, line);
        ends[i] = end_at(table, line);
        if (starts[i] >= ends[i] || ends[i] > table->size_bytes)
            return false;
    }
    return true;
}

void mmk_table_starts(const mmk_line_table *table, size_t first, ptrdiff_t step, size_t count,
                      int64_t *starts) {
    size_t line = first;
    for (size_t i = 0; i < count; i++, line += (size_t)step)
        starts[i] = (int64_t)start_at(table, line);
}

size_t mmk_table_line_at(const mmk_line_table *table, uint64_t offset) {
    uint64_t wrap = offset >> 32;
    uint32_t wanted = (uint32_t)offset;
    /* Lines that end at an offset of the same high half. */
    size_t low = 0, high = table->newline_count;
    if (wrap > table->wrap_count)
        return high;
    if (wrap > 0)
        low = (size_t)table->wraps[wrap - 1];
    if (wrap < table->wrap_count)
        high = (size_t)table->wraps[wrap];
    while (low < high) { /* the first one that ends behind the byte */
        size_t middle = low + (high - low) / 2;
        if (low_at(table, middle) <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t mmk_table_lines_at(const mmk_line_table *table, const int64_t *offsets, size_t count,
                          int64_t *lines) {
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] < 0 || (uint64_t)offsets[i] >= table->size_bytes)
            return i;
        lines[i] = (int64_t)mmk_table_line_at(table, (uint64_t)offsets[i]);
    }
    return count;
}
