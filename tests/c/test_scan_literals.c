/* Literals: what is found, from both sides, whatever a search has learned, and wherever the work is
 * cut into steps. */
#include "texts.h"

#define MOST 1200 /* bytes of a text */

static fenced memory;

typedef struct {
    const unsigned char *text;
    size_t from, stop, end;
    const unsigned char *needle;
    size_t size;
    bool fold;
} task;

static bool starts_at(const task *t, size_t at) {
    return at + t->size <= t->end && is_there(t->text + at, t->needle, t->size, t->fold);
}

static size_t expected_list(const task *t, bool overlapping, size_t *out) {
    size_t count = 0;
    for (size_t at = t->from; at < t->stop;) {
        if (starts_at(t, at)) {
            out[count++] = at;
            at += overlapping ? 1 : t->size;
        } else {
            at++;
        }
    }
    return count;
}

static size_t expected_last(const task *t) {
    for (size_t at = t->stop; at-- > t->from;)
        if (starts_at(t, at))
            return at;
    return MMK_NOWHERE;
}

/* What was learned before: nothing, that the next false candidate is one too many, or that probes
 * are no use. */
typedef enum { FRESH, PATIENCE_LOST, LINEAR, STATES } state;

static mmk_search begin(const task *t, const mmk_kernels *kernels, const mmk_needle *needle,
                        state learned) {
    mmk_search search;
    size_t length = t->end - t->from;
    mmk_search_begin(&search, kernels, needle, t->text + t->from, random_below(2) ? length : 0);
    CHECK(search.probe_count >= 1 && search.probe_count <= MMK_PROBES && !search.linear);
    if (learned == PATIENCE_LOST)
        search.debt = (size_t)1 << 20;
    search.linear = learned == LINEAR;
    return search;
}

static void check_list(const task *t, mmk_search search, bool overlapping) {
    size_t expected[MOST], count = expected_list(t, overlapping, expected), done = 0;
    uint64_t out[64], base = (uint64_t)1 << 40;
    bool cuts = random_below(2), counts = random_below(4) == 0;
    size_t room = random_below(2) ? 64 : 1 + random_below(4);
    for (size_t resume = t->from; resume < t->stop;) {
        size_t start = resume, stop = cuts ? start + 1 + random_below(t->stop - start) : t->stop;
        size_t found = mmk_search_list(&search, t->text, start, stop, t->end, overlapping, base,
                                       counts ? NULL : out, room, &resume);
        if (!CHECK(found <= room && found <= count - done))
            return;
        for (size_t i = 0; i < found && !counts; i++)
            CHECK_EQ(out[i] - base, expected[done + i]);
        done += found;
        CHECK(resume > start && (found == room || resume >= stop));
        CHECK(done == count || resume <= expected[done]);
    }
    CHECK_EQ(done, count);
}

static void check_task(const task *t) {
    mmk_needle needle;
    mmk_needle_study(&needle, t->needle, t->size, t->fold);
    size_t last = expected_last(t);
    for (unsigned q = 0; q < set_count; q++) {
        for (state learned = FRESH; learned < STATES; learned++) {
            check_list(t, begin(t, sets[q], &needle, learned), false);
            check_list(t, begin(t, sets[q], &needle, learned), true);
            mmk_search search = begin(t, sets[q], &needle, learned);
            CHECK_EQ(mmk_search_last(&search, t->text, t->from, t->stop, t->end), last);
        }
    }
    if (checks_failed > 0) {
        printf("needle \"%.*s\", fold %d, [%zu, %zu) to %zu of \"%.*s\"\n", (int)t->size, t->needle,
               t->fold, t->from, t->stop, t->end, (int)t->end, t->text);
        exit(1);
    }
}

/* --- seeds ------------------------------------------------------------------------------------ */

static const struct {
    const char *text, *needle;
    bool fold;
    size_t count, overlapping;
} SEEDS[] = {
    {"", "a", false, 0, 0},
    {"a", "a", false, 1, 1},
    {"a", "b", false, 0, 0},
    {"a", "ab", false, 0, 0},
    {"aaaa", "aa", false, 2, 3},
    {"aaaaa", "aa", false, 2, 4},
    {"abababa", "aba", false, 2, 3},
    {"abababab", "abab", false, 2, 3},
    {"aabaabaab", "aabaab", false, 1, 2},
    {"mississippi", "issi", false, 1, 2},
    {"GCATCGCAGAGAGTATACAGTACG", "GCAGAGAG", false, 1, 1},
    {"abaabaababaabaababaab", "abaababaab", false, 1, 2},
    {"Error error ERROR eRRor", "error", true, 4, 4},
    {"Error error ERROR eRRor", "error", false, 1, 1},
    {"@[`{AZaz", "@[`{az", true, 1, 1},
    {"`{@[", "@[", true, 1, 1},
    {"\xc4\xe4\xc4", "\xe4", true, 1, 1}, /* not ASCII: not folded */
    {"12-12-12", "12", true, 3, 3},
    {"AaAaA", "aa", true, 2, 4},
};

static void test_seeds(void) {
    for (size_t i = 0; i < sizeof SEEDS / sizeof SEEDS[0]; i++) {
        size_t length = strlen(SEEDS[i].text), found[MOST];
        unsigned char *text = memory.end - length;
        memcpy(text, SEEDS[i].text, length);
        task t = {text, 0, length, length, (const unsigned char *)SEEDS[i].needle,
                  strlen(SEEDS[i].needle), SEEDS[i].fold};
        CHECK_EQ(expected_list(&t, false, found), SEEDS[i].count);
        CHECK_EQ(expected_list(&t, true, found), SEEDS[i].overlapping);
        for (unsigned repeat = 0; repeat < 20; repeat++)
            check_task(&t);
    }
}

/* --- properties ------------------------------------------------------------------------------- */

/* Random, or with a period and a few slips. */
static void any_text(unsigned char *text, size_t length) {
    unsigned letters = 1 + (unsigned)random_below(5);
    random_text(text, length, "abABc", letters);
    if (random_below(3) == 0) {
        size_t period = 1 + random_below(9);
        for (size_t i = period; i < length; i++)
            if (random_below(30) != 0)
                text[i] = text[i - period];
    }
}

/* From the text, maybe spoiled, or from nowhere. */
static size_t any_needle(unsigned char *needle, const unsigned char *text, size_t length) {
    size_t size = 1 + random_below(random_below(3) ? 8 : 150);
    if (size <= length && random_below(4) != 0)
        memcpy(needle, text + random_below(length - size + 1), size);
    else
        random_text(needle, size, "abABc", 1 + (unsigned)random_below(5));
    if (random_below(3) == 0)
        needle[random_below(size)] = 'c';
    return size;
}

static void test_random_texts(void) {
    static unsigned char needle[256];
    for (unsigned round = 0; round < 6000; round++) {
        size_t length = random_below(random_below(4) ? 300 : MOST);
        unsigned char *text = random_below(2) ? memory.begin : memory.end - length;
        any_text(text, length);
        task t = {.text = text, .needle = needle, .fold = random_below(3) == 0};
        t.size = any_needle(needle, text, length);
        if (t.fold)
            mmk_fold(needle, t.size);
        t.from = random_below(4) ? 0 : random_below(length + 1);
        t.stop = random_below(4) ? length : t.from + random_below(length - t.from + 1);
        t.end = random_below(4) ? length : t.stop + random_below(length - t.stop + 1);
        check_task(&t);
    }
}

static void test_needle_at_every_place(void) {
    static const char *const NEEDLES[] = {"x", "xy", "xyz", "xyxyxyxyxyxyxyxyxyxyxz"};
    for (unsigned n = 0; n < sizeof NEEDLES / sizeof NEEDLES[0]; n++) {
        size_t size = strlen(NEEDLES[n]);
        for (size_t length = size; length < 200; length += 1 + length / 32) {
            for (size_t at = 0; at + size <= length; at++) {
                unsigned char *text = at % 2 ? memory.begin : memory.end - length;
                memset(text, "xyz."[at % 4], length);
                memcpy(text + at, NEEDLES[n], size);
                check_task(&(task){text, 0, length, length, (const unsigned char *)NEEDLES[n], size,
                                   false});
            }
        }
    }
}

/* Also where an int would not do. */
static void test_needle_longer_than_the_text(void) {
    static unsigned char needle[5000];
    memset(needle, 'a', sizeof needle);
    memset(memory.begin, 'a', MOST);
    check_task(&(task){memory.begin, 0, MOST, MOST, needle, sizeof needle, false});
    check_task(&(task){memory.begin, MOST, MOST, MOST, needle, sizeof needle, true});
}

/* --- what a search learns --------------------------------------------------------------------- */

/* A needle that nearly occurs at every other byte, and never fails where it did before: no probe
 * excludes many of them. */
static void test_false_candidates_teach_until_the_linear_search_takes_over(void) {
    unsigned char needle[60];
    size_t size = sizeof needle, copies = 2000, length = copies * size;
    unsigned char *text = malloc(length);
    for (size_t i = 0; i < length; i++)
        text[i] = "ab"[i % 2];
    memcpy(needle, text, size);
    for (size_t i = 0; i < length; i += 31 + random_below(20))
        text[i] = '~';
    memcpy(text + length - 2 * size, needle, size);
    text[length - 2 * size - 1] = text[length - size] = '~';
    mmk_needle studied;
    mmk_needle_study(&studied, needle, size, false);
    for (unsigned q = 0; q < set_count; q++) {
        uint64_t out[2];
        size_t resume;
        mmk_search search;
        mmk_search_begin(&search, sets[q], &studied, text, 4096);
        unsigned probes = search.probe_count;
        size_t found = mmk_search_list(&search, text, 0, length, length, false, 0, out, 2, &resume);
        CHECK_EQ(found, 1);
        CHECK_EQ(out[0], length - 2 * size);
        CHECK_EQ(resume, length);
        CHECK(search.linear);
        CHECK(probes <= 2 && search.probe_count == MMK_PROBES);
        mmk_search_begin(&search, sets[q], &studied, text, 4096);
        memset(text + length - size, '.', size); /* the last candidates are at its left */
        CHECK_EQ(mmk_search_last(&search, text, 0, length - 2 * size, length), MMK_NOWHERE);
        CHECK(search.linear);
    }
    free(text);
}

/* One byte tells all of the false candidates: it is learned, and there are no more of them. */
static void test_one_probe_more_is_enough_where_candidates_are_alike(void) {
    enum { SIZE = 32, COPIES = 4000 };
    unsigned char needle[SIZE], *text = malloc(SIZE * COPIES);
    for (size_t i = 0; i < SIZE; i++)
        needle[i] = (unsigned char)('A' + i);
    for (size_t c = 0; c < COPIES; c++) {
        memcpy(text + c * SIZE, needle, SIZE);
        text[c * SIZE + 17] = '~';
    }
    mmk_needle studied;
    mmk_needle_study(&studied, needle, SIZE, false);
    for (unsigned q = 0; q < set_count; q++) {
        mmk_search search;
        size_t resume;
        uint64_t out;
        mmk_search_begin(&search, sets[q], &studied, NULL, 0);
        CHECK_EQ(mmk_search_list(&search, text, 0, SIZE * COPIES, SIZE * COPIES, true, 0, &out, 1,
                                 &resume), 0);
        CHECK(!search.linear);
        CHECK_EQ(search.probe_count, 3);
        CHECK_EQ(search.probes[0].offset, 17);
    }
    free(text);
}

static void test_probes_are_the_rarest_bytes(void) {
    static const char sample[] = "eeeeeeeeeeeeeeeeaaaaaaaattttttttooozq";
    mmk_needle studied;
    mmk_search search;
    mmk_needle_study(&studied, (const unsigned char *)"eatzoat", 7, false);
    mmk_search_begin(&search, sets[0], &studied, (const unsigned char *)sample, sizeof sample - 1);
    CHECK_EQ(search.probe_count, 2);
    CHECK_EQ(search.probes[0].byte, 'z');
    CHECK_EQ(search.probes[1].byte, 'o');
    CHECK_EQ(search.probes[0].offset, 3);
    CHECK_EQ(search.probes[1].offset, 4);
}

int main(void) {
    memory = fence((size_t)1 << 16);
    find_sets();
    test_seeds();
    test_random_texts();
    test_needle_at_every_place();
    test_needle_longer_than_the_text();
    test_probes_are_the_rarest_bytes();
    test_false_candidates_teach_until_the_linear_search_takes_over();
    test_one_probe_more_is_enough_where_candidates_are_alike();
    DONE("tests/c/test_scan_literals");
}
