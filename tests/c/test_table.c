/* Where lines start and end, by a table of low halves: against the whole offsets; and with numbers
 * that mean nothing. */
#include "mmk/table.h"
#include "texts.h"

#define MOST 40
#define WRAP ((uint64_t)1 << 32)

/* A table in two parts, each in memory of its own, so that a tool sees what is read beside them. */
static mmk_line_table make_table(const uint64_t *ends, size_t count, size_t saved,
                                 uint64_t size_bytes) {
    uint32_t *parts[2] = {malloc(saved * 4), malloc((count - saved) * 4)};
    uint64_t *wraps = malloc((size_t)(size_bytes >> 32) * 8);
    size_t wrap_count = 0;
    for (size_t i = 0; i < count; i++) {
        parts[i >= saved][i < saved ? i : i - saved] = (uint32_t)ends[i];
        while (wrap_count < ends[i] >> 32)
            wraps[wrap_count++] = i;
    }
    while (wrap_count < size_bytes >> 32)
        wraps[wrap_count++] = count;
    return (mmk_line_table){parts[0], parts[1], saved, count, wraps, wrap_count, size_bytes, 0};
}

static void free_table(mmk_line_table *table) {
    free((void *)(uintptr_t)table->saved);
    free((void *)(uintptr_t)table->fresh);
    free((void *)(uintptr_t)table->wraps);
}

/* Steps of one byte, of about 2^32, and of several times that. */
static uint64_t random_step(void) {
    switch (random_below(4)) {
    case 0: return 1;
    case 1: return 1 + random_below(1000);
    case 2: return WRAP - 2 + random_below(5);
    default: return WRAP * (1 + random_below(3)) + random_below(3);
    }
}

static void check_table(void) {
    uint64_t ends[MOST], starts[MOST + 1], stops[MOST + 1];
    int64_t listed[MOST + 1], lines[3 * MOST], offsets[3 * MOST];
    size_t count = random_below(MOST), asked = 0;
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++)
        ends[i] = end += random_step();
    uint64_t size_bytes = end + (random_below(2) ? random_step() : 0);
    mmk_line_table table = make_table(ends, count, random_below(count + 1), size_bytes);
    CHECK_EQ(mmk_table_count(&table), end);
    CHECK_EQ(table.line_count, count + (size_bytes > end));
    for (size_t step = 1; step <= 3; step++) {
        for (size_t first = 0; first < step && first < table.line_count; first++) {
            size_t some = (table.line_count - first + step - 1) / step;
            CHECK(mmk_table_spans(&table, first, (ptrdiff_t)step, some, starts, stops));
            mmk_table_starts(&table, first, (ptrdiff_t)step, some, listed);
            for (size_t i = 0; i < some; i++) {
                size_t line = first + i * step;
                CHECK_EQ(starts[i], line == 0 ? 0 : ends[line - 1]);
                CHECK_EQ(stops[i], line < count ? ends[line] : size_bytes);
                CHECK_EQ(listed[i], starts[i]);
            }
            CHECK(mmk_table_spans(&table, first + (some - 1) * step, -(ptrdiff_t)step, some, starts,
                                  stops));
            CHECK_EQ(stops[some - 1], first < count ? ends[first] : size_bytes);
        }
    }
    for (size_t line = 0; line < table.line_count; line++) {
        uint64_t start = line == 0 ? 0 : ends[line - 1];
        uint64_t stop = line < count ? ends[line] : size_bytes;
        offsets[asked] = (int64_t)start;
        lines[asked++] = (int64_t)line;
        offsets[asked] = (int64_t)stop - 1;
        lines[asked++] = (int64_t)line;
        CHECK_EQ(mmk_table_line_at(&table, start + (stop - start) / 2), line);
    }
    int64_t found[3 * MOST];
    CHECK_EQ(mmk_table_lines_at(&table, offsets, asked, found), asked);
    CHECK(memcmp(found, lines, asked * sizeof *found) == 0);
    offsets[asked] = random_below(2) ? -1 : (int64_t)size_bytes;
    CHECK_EQ(mmk_table_lines_at(&table, offsets, asked + 1, found), asked);
    free_table(&table);
}

/* Low halves of anything: answers may be wrong, but spans lie inside of the text, or are refused. */
static void check_nonsense(void) {
    uint64_t ends[MOST], start, stop;
    size_t count = 1 + random_below(MOST - 1);
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++)
        ends[i] = end += random_step();
    mmk_line_table table = make_table(ends, count, random_below(count + 1), end);
    for (unsigned i = 0; i < 1 + random_below(5); i++) {
        size_t line = random_below(count);
        uint32_t *low = (uint32_t *)(uintptr_t)(line < table.saved_count
                                                    ? table.saved + line
                                                    : table.fresh + (line - table.saved_count));
        *low = random_below(2) ? UINT32_MAX : random_below(1 << 30);
    }
    mmk_table_count(&table);
    CHECK(table.line_count == count || table.line_count == count + 1);
    for (size_t line = 0; line < table.line_count; line++)
        if (mmk_table_spans(&table, line, 1, 1, &start, &stop))
            CHECK(start < stop && stop <= end);
    for (unsigned i = 0; i < 50; i++)
        CHECK(mmk_table_line_at(&table, end * i / 50) <= count);
    free_table(&table);
}

int main(void) {
    for (unsigned i = 0; i < 3000; i++) {
        check_table();
        check_nonsense();
    }
    DONE("tests/c/test_table");
}
