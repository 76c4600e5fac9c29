/* Which line an occurrence is in, and how many lines are before it. */
#include "texts.h"

#define MOST 1500 /* bytes of a text */

static fenced memory;

/* --- oracle: one loop over the text ----------------------------------------------------------- */

static size_t expected_lines(const unsigned char *text, size_t first, size_t from, size_t stop,
                             size_t end, const unsigned char *needle, size_t size, bool once,
                             mmk_line *out) {
    size_t count = 0, start = first, number = 0, free_from = from;
    for (size_t at = first; at < stop; at++) {
        if (at > first && text[at - 1] == '\n') {
            start = at;
            number++;
        }
        if (at < free_from || at + size > end || !is_there(text + at, needle, size, false))
            continue;
        size_t line_end = at;
        while (line_end < end && text[line_end] != '\n')
            line_end++;
        out[count++] = (mmk_line){at, size, start, line_end, number};
        free_from = once ? line_end + 1 : at + size;
    }
    return count;
}

static bool same_line(const mmk_line *a, const mmk_line *b) {
    return a->offset == b->offset && a->size == b->size && a->start == b->start &&
           a->end == b->end && a->number == b->number;
}

/* --- any finder ------------------------------------------------------------------------------- */

/* The plainest one: lines do not depend on what finds. */
typedef struct {
    const unsigned char *needle;
    size_t size;
} plain;

static size_t next_plain(void *context, const unsigned char *text, size_t from, size_t stop,
                         size_t end, size_t *size) {
    const plain *p = context;
    *size = p->size;
    for (; from < stop && from + p->size <= end; from++)
        if (is_there(text + from, p->needle, p->size, false))
            return from;
    return MMK_NOWHERE;
}

static void check_lines(const mmk_kernels *kernels, mmk_finder finder, const unsigned char *text,
                        size_t first, size_t from, size_t stop, size_t end,
                        const unsigned char *needle, size_t size, bool once) {
    static mmk_line expected[MOST], out[MOST];
    size_t count = expected_lines(text, first, from, stop, end, needle, size, once, expected);
    size_t done = 0, room = random_below(2) ? MOST : 1 + random_below(4);
    bool cuts = random_below(2);
    mmk_line_count lines = {first, first, 0, 0};
    for (size_t resume = from; resume < stop;) {
        size_t start = resume, cut = cuts ? start + 1 + random_below(stop - start) : stop;
        size_t found = mmk_lines_list(&lines, kernels, finder, text, start, cut, end, once, out,
                                      room, &resume);
        if (!CHECK(found <= room && found <= count - done))
            return;
        for (size_t i = 0; i < found; i++)
            CHECK(same_line(&out[i], &expected[done + i]));
        done += found;
        CHECK(resume > start && (found == room || resume >= cut));
        CHECK(lines.counted <= resume);
    }
    CHECK_EQ(done, count);
}

static void check_all(const unsigned char *text, size_t first, size_t from, size_t stop,
                      size_t end, const char *needle) {
    size_t size = strlen(needle);
    mmk_needle studied;
    mmk_needle_study(&studied, (const unsigned char *)needle, size, false);
    for (unsigned q = 0; q < set_count; q++) {
        for (unsigned once = 0; once < 2; once++) {
            mmk_search search;
            mmk_search_begin(&search, sets[q], &studied, NULL, 0);
            check_lines(sets[q], mmk_search_finder(&search), text, first, from, stop, end,
                        studied.bytes, size, once);
            plain p = {studied.bytes, size};
            check_lines(sets[q], (mmk_finder){next_plain, &p}, text, first, from, stop, end,
                        studied.bytes, size, once);
        }
    }
    if (checks_failed > 0) {
        printf("needle \"%s\", first line at %zu, [%zu, %zu) to %zu of \"%.*s\"\n", needle, first,
               from, stop, end, (int)end, text);
        exit(1);
    }
}

/* --- seeds: with what is expected, written out ------------------------------------------------ */

static void test_seeds(void) {
    static const struct {
        const char *text, *needle;
        bool once;
        size_t count;
        mmk_line lines[4];
    } SEEDS[] = {
        {"", "x", false, 0, {{0}}},
        {"\n\n\n", "x", false, 0, {{0}}},
        {"x", "x", false, 1, {{0, 1, 0, 1, 0}}},
        {"x\n", "x", true, 1, {{0, 1, 0, 1, 0}}},
        {"\nx", "x", true, 1, {{1, 1, 1, 2, 1}}},
        {"a\r\nxx\r\nbx", "x", false, 3, {{3, 1, 3, 6, 1}, {4, 1, 3, 6, 1}, {8, 1, 7, 9, 2}}},
        {"a\r\nxx\r\nbx", "x", true, 2, {{3, 1, 3, 6, 1}, {8, 1, 7, 9, 2}}},
        {"a\rx\r", "x", false, 1, {{2, 1, 0, 4, 0}}}, /* a lone "\r" ends nothing */
        {"ax\nya", "x\ny", false, 1, {{1, 3, 0, 2, 0}}},
        {"a\n\nb", "\n", false, 2, {{1, 1, 0, 1, 0}, {2, 1, 2, 2, 1}}},
        {"a\n\nb", "\n", true, 2, {{1, 1, 0, 1, 0}, {2, 1, 2, 2, 1}}},
    };
    for (size_t i = 0; i < sizeof SEEDS / sizeof SEEDS[0]; i++) {
        size_t length = strlen(SEEDS[i].text), resume;
        unsigned char *text = memory.end - length;
        memcpy(text, SEEDS[i].text, length);
        mmk_needle studied;
        mmk_needle_study(&studied, (const unsigned char *)SEEDS[i].needle, strlen(SEEDS[i].needle),
                         false);
        for (unsigned q = 0; q < set_count; q++) {
            mmk_line out[4];
            mmk_line_count lines = {0, 0, 0, 0};
            mmk_search search;
            mmk_search_begin(&search, sets[q], &studied, text, length);
            size_t found = mmk_lines_list(&lines, sets[q], mmk_search_finder(&search), text, 0,
                                          length, length, SEEDS[i].once, out, 4, &resume);
            CHECK_EQ(found, SEEDS[i].count);
            for (size_t k = 0; k < found && k < SEEDS[i].count; k++)
                CHECK(same_line(&out[k], &SEEDS[i].lines[k]));
        }
        for (unsigned round = 0; round < 10; round++)
            check_all(text, 0, 0, length, length, SEEDS[i].needle);
    }
}

/* --- properties ------------------------------------------------------------------------------- */

static void test_random_lines(void) {
    static const char *const NEEDLES[] = {"x", "xy", "\n", "x\ny", "\r\n", "xyxyx"};
    for (unsigned round = 0; round < 3000; round++) {
        size_t length = random_below(random_below(4) ? 200 : MOST);
        unsigned char *text = random_below(2) ? memory.begin : memory.end - length;
        /* Lines of a few bytes, of hundreds, or one. */
        unsigned newlines = (unsigned)random_below(3);
        random_text(text, length, "xyxy....\r", 9);
        for (size_t i = 0; newlines > 0 && i < length; i++)
            if (random_below(newlines == 1 ? 4 : 200) == 0)
                text[i] = '\n';
        size_t first = random_below(3) ? 0 : random_below(length + 1);
        size_t from = random_below(2) ? first : first + random_below(length - first + 1);
        size_t stop = random_below(2) ? length : from + random_below(length - from + 1);
        size_t end = random_below(2) ? length : stop + random_below(length - stop + 1);
        check_all(text, first, from, stop, end,
                  NEEDLES[random_below(sizeof NEEDLES / sizeof NEEDLES[0])]);
    }
}

/* --- long lines ------------------------------------------------------------------------------- */

static size_t newline_bytes; /* looked at for newlines */

static bool next_counted(const unsigned char *text, size_t from, size_t stop,
                         const mmk_probe *probes, unsigned probe_count, size_t *at,
                         uint64_t *hits) {
    bool found = sets[0]->next(text, from, stop, probes, probe_count, at, hits);
    newline_bytes += (found ? *at : stop) - from;
    return found;
}

static bool previous_counted(const unsigned char *text, size_t from, size_t stop,
                             const mmk_probe *probes, unsigned probe_count, size_t *at,
                             uint64_t *hits) {
    bool found = sets[0]->previous(text, from, stop, probes, probe_count, at, hits);
    newline_bytes += stop - (found ? *at : from);
    return found;
}

static size_t count_counted(const unsigned char *text, size_t length, unsigned char byte) {
    newline_bytes += length;
    return sets[0]->count(text, length, byte);
}

/* Of a line with thousands of occurrences, the end is looked for once, however few are wanted at a
 * time. */
static void test_a_long_line_is_not_looked_through_again(void) {
    enum { LENGTH = 1 << 20, EACH = 64, BATCH = 256 };
    static mmk_line out[BATCH];
    unsigned char *text = malloc(LENGTH);
    mmk_kernels counting = *sets[0];
    counting.next = next_counted;
    counting.previous = previous_counted;
    counting.count = count_counted;
    memset(text, '.', LENGTH);
    for (size_t at = 0; at < LENGTH; at += EACH)
        text[at] = 'x';
    plain p = {(const unsigned char *)"x", 1};
    mmk_line_count lines = {0, 0, 0, 0};
    size_t done = 0;
    for (size_t resume = 0; resume < LENGTH;) {
        size_t found = mmk_lines_list(&lines, &counting, (mmk_finder){next_plain, &p}, text, resume,
                                      LENGTH, LENGTH, false, out, BATCH, &resume);
        for (size_t i = 0; i < found; i++)
            CHECK(out[i].start == 0 && out[i].end == LENGTH && out[i].number == 0);
        done += found;
    }
    CHECK_EQ(done, LENGTH / EACH);
    CHECK(newline_bytes <= 2 * LENGTH);
    free(text);
}

int main(void) {
    memory = fence((size_t)1 << 16);
    find_sets();
    test_seeds();
    test_random_lines();
    test_a_long_line_is_not_looked_through_again();
    DONE("tests/c/test_scan_lines");
}
