/* No literal and no text make a search more than linear: counted in bytes that are compared and
 * positions that are looked at, never in seconds. Compiles the searches itself, with comparisons
 * that count; with folding every byte of the text that is compared passes mmk__fold(). */
#include "scan/fold.h"

#include <stddef.h>
static size_t compared;
static unsigned char counted_fold(unsigned char byte) {
    compared++;
    return mmk__fold(byte);
}
#define mmk__fold counted_fold
/* Names of their own, beside those of the library. */
#define mmk_fold counted_mmk_fold
#define mmk_needle_study counted_needle_study
#define mmk_search_begin counted_search_begin
#define mmk_search_list counted_search_list
#define mmk_search_last counted_search_last
#define mmk__linear_study counted_linear_study
#define mmk__linear_next counted_linear_next
#define mmk__linear_previous counted_linear_previous
#include "scan/linear.c"
#include "scan/literal.c"

#include "texts.h"

#define LENGTH ((size_t)1 << 16)
#define LONGEST ((size_t)5000)

static unsigned char *text, *needle;

/* --- kernels that count ----------------------------------------------------------------------- */

static size_t looked_at; /* positions, in whole blocks */

static bool next_counted(const unsigned char *at_text, size_t from, size_t stop,
                         const mmk_probe *probes, unsigned probe_count, size_t *at,
                         uint64_t *hits) {
    bool found = sets[0]->next(at_text, from, stop, probes, probe_count, at, hits);
    looked_at += MMK_BLOCK + (found ? *at : stop) - from;
    return found;
}

static bool previous_counted(const unsigned char *at_text, size_t from, size_t stop,
                             const mmk_probe *probes, unsigned probe_count, size_t *at,
                             uint64_t *hits) {
    bool found = sets[0]->previous(at_text, from, stop, probes, probe_count, at, hits);
    looked_at += MMK_BLOCK + stop - (found ? *at : from);
    return found;
}

static mmk_kernels counting;

/* --- oracle: Knuth, Morris and Pratt's search, for a plain loop is too slow here -------------- */

static size_t expected(const unsigned char *bytes, size_t size, bool overlapping, size_t *last) {
    size_t *border = malloc((size + 1) * sizeof *border), count = 0, same = 0, free_from = 0;
    border[0] = 0;
    border[1] = 0;
    for (size_t i = 1, k = 0; i < size; border[++i] = k) {
        while (k > 0 && bytes[i] != bytes[k])
            k = border[k];
        k += bytes[i] == bytes[k];
    }
    *last = MMK_NOWHERE;
    for (size_t i = 0; i < LENGTH; i++) {
        while (same > 0 && (same == size || text[i] != bytes[same]))
            same = border[same];
        same += text[i] == bytes[same];
        if (same == size) {
            *last = i + 1 - size;
            if (*last >= free_from) {
                count++;
                free_from = *last + (overlapping ? 1 : size);
            }
        }
    }
    free(border);
    return count;
}

/* --- one search ------------------------------------------------------------------------------- */

typedef enum { PROBED, LINEAR } how;

static void check_work(const unsigned char *bytes, size_t size, bool overlapping, how searched) {
    mmk_needle studied;
    mmk_search search;
    size_t resume, last;
    mmk_needle_study(&studied, bytes, size, true);

    mmk_search_begin(&search, &counting, &studied, text, 512);
    search.linear = searched == LINEAR;
    compared = looked_at = 0;
    size_t found = mmk_search_list(&search, text, 0, LENGTH, LENGTH, overlapping, 0, NULL, SIZE_MAX,
                                   &resume);
    /* Twice each byte is what two-way needs. The probes' false candidates come on top, up to the
     * credit of what was scanned, and MMK_PROBES times a needle; and what the occurrences cover, each
     * byte twice where they overlap. */
    size_t needed = 2 * LENGTH + 2 * size + (overlapping ? 2 * LENGTH : 0);
    if (searched == LINEAR)
        CHECK_EQ(looked_at, 0);
    else
        needed += LENGTH + (MMK_PROBES + 1) * (size + PATIENCE_BYTES) + LENGTH;
    if (!CHECK(compared <= needed) || !CHECK(looked_at <= 3 * LENGTH + found * MMK_BLOCK))
        printf("needle of %zu, found %zu, compared %zu of %zu, looked at %zu\n", size, found,
               compared, needed, looked_at);

    mmk_search_begin(&search, &counting, &studied, text, 512);
    search.linear = searched == LINEAR;
    compared = looked_at = 0;
    last = mmk_search_last(&search, text, 0, LENGTH, LENGTH);
    if (searched == LINEAR)
        CHECK(compared <= 2 * LENGTH + 2 * size);
    else
        CHECK(compared <= 3 * LENGTH + (MMK_PROBES + 1) * (size + PATIENCE_BYTES));
    CHECK(looked_at <= 3 * LENGTH);

    size_t expected_last;
    CHECK_EQ(found, expected(bytes, size, overlapping, &expected_last));
    CHECK_EQ(last, expected_last);
}

static void check_all_ways(const unsigned char *bytes, size_t size) {
    check_work(bytes, size, false, PROBED);
    check_work(bytes, size, false, LINEAR);
    check_work(bytes, size, true, PROBED);
    check_work(bytes, size, true, LINEAR);
}

/* --- texts and needles ------------------------------------------------------------------------ */

/* a, ab, aba, abaab, ... */
static void fibonacci(unsigned char *out, size_t size) {
    size_t a = 1, b = 2;
    memcpy(out, "ab", size < 2 ? size : 2);
    while (b < size) {
        size_t more = a < size - b ? a : size - b;
        memcpy(out + b, out, more);
        a = b;
        b += more;
    }
}

static void thue_morse(unsigned char *out, size_t size) {
    for (size_t i = 0; i < size; i++)
        out[i] = "ab"[mmk__bits_count(i) & 1];
}

static void repeat(unsigned char *out, size_t size, const char *unit) {
    size_t period = strlen(unit);
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)unit[i % period];
}

static void every_text(size_t size) {
    static const char *const UNITS[] = {"a", "b", "ab", "aab", "aaaaaaab", "baaaaaaaaaaaaaaa"};
    for (size_t u = 0; u < sizeof UNITS / sizeof UNITS[0]; u++) {
        repeat(text, LENGTH, UNITS[u]);
        check_all_ways(needle, size);
    }
    fibonacci(text, LENGTH);
    check_all_ways(needle, size);
    thue_morse(text, LENGTH);
    check_all_ways(needle, size);
    repeat(text, LENGTH, (const char[]){'a', 'b', 0});
    for (size_t at = size; at < LENGTH; at += size) /* nearly the needle, again and again */
        memcpy(text + at - size, needle, size - 1);
    check_all_ways(needle, size);
    for (size_t at = size; at < LENGTH; at += size) {
        memcpy(text + at - size, needle, size);
        text[at - size + random_below(size)] ^= 3;
    }
    check_all_ways(needle, size);
}

static void test_needles_against_texts(void) {
    for (size_t size = 2; size <= LONGEST; size = size * 5 / 2) {
        repeat(needle, size, "a");
        every_text(size);
        needle[size - 1] = 'b';
        every_text(size);
        needle[size / 2] = 'b';
        every_text(size);
        repeat(needle, size, "a");
        needle[0] = 'b';
        every_text(size);
        repeat(needle, size, "ab");
        every_text(size);
        repeat(needle, size, "aabaaab");
        needle[size / 3] = 'b';
        every_text(size);
        fibonacci(needle, size);
        every_text(size);
        thue_morse(needle, size);
        every_text(size);
        random_text(needle, size, "abcdefgh", 8);
        every_text(size);
    }
}

int main(void) {
    text = malloc(LENGTH);
    needle = malloc(LONGEST);
    find_sets();
    counting = *sets[0];
    counting.next = next_counted;
    counting.previous = previous_counted;
    test_needles_against_texts();
    free(needle);
    free(text);
    DONE("tests/c/test_scan_work");
}
