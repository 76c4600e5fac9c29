/* Many literals at once: what is found, whichever way it is found, and wherever the work is cut. */
#include "scan/needles.h"
#include "texts.h"

#define MOST 1000        /* bytes of a text */
#define MOST_NEEDLES 200 /* where all of them may start everywhere */

static fenced memory;

typedef struct {
    const unsigned char *text;
    size_t from, stop, end;
    const unsigned char *const *needles;
    const size_t *sizes;
    size_t count;
    bool fold;
} task;

/* --- oracle ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t at, which;
} occurrence;

static occurrence expected[(size_t)MOST * MOST_NEEDLES];

static size_t expect(const task *t, bool overlapping) {
    size_t count = 0;
    for (size_t at = t->from; at < t->stop;) {
        size_t next = at + 1;
        for (size_t n = 0; n < t->count; n++) {
            if (t->sizes[n] > t->end - at ||
                !is_there(t->text + at, t->needles[n], t->sizes[n], t->fold))
                continue;
            expected[count++] = (occurrence){at, n};
            if (!overlapping) {
                next = at + t->sizes[n];
                break;
            }
        }
        at = next;
    }
    return count;
}

/* --- one search ------------------------------------------------------------------------------- */

static void check_list(const task *t, mmk_many *many, bool overlapping, size_t count) {
    static uint64_t out_at[MOST_NEEDLES + 8], out_which[MOST_NEEDLES + 8];
    uint64_t base = (uint64_t)1 << 40;
    size_t most = overlapping ? mmk_needles_most(many->needles) : 1, done = 0;
    size_t room = most + random_below(random_below(2) ? 2 : 8);
    bool cuts = random_below(2);
    for (size_t resume = t->from; resume < t->stop;) {
        size_t start = resume, stop = cuts ? start + 1 + random_below(t->stop - start) : t->stop;
        size_t found = mmk_many_list(many, t->text, start, stop, t->end, overlapping, base, out_at,
                                     out_which, room, &resume);
        if (!CHECK(found <= room && found <= count - done))
            return;
        for (size_t i = 0; i < found; i++)
            CHECK(out_at[i] == base + expected[done + i].at &&
                  out_which[i] == expected[done + i].which);
        done += found;
        CHECK(resume > start && resume >= (found + most <= room ? stop : 0));
        CHECK(done == count || resume <= expected[done].at);
    }
    CHECK_EQ(done, count);
}

/* All of them, counted. */
static void check_count(const task *t, mmk_many *many, bool overlapping, size_t count) {
    size_t resume;
    CHECK_EQ(mmk_many_list(many, t->text, t->from, t->stop, t->end, overlapping, 0, NULL, NULL,
                           SIZE_MAX, &resume),
             count);
    CHECK(resume >= t->stop);
}

static void check_finder(const task *t, mmk_many *many, size_t count) {
    mmk_finder finder = mmk_many_finder(many);
    size_t at = t->from, size = 0;
    for (size_t i = 0; i < count; i++, at += size) {
        at = finder.next(finder.context, t->text, at, t->stop, t->end, &size);
        CHECK_EQ(at, expected[i].at);
        CHECK_EQ(size, t->sizes[expected[i].which]);
        if (checks_failed > 0)
            return;
    }
    CHECK(at >= t->stop ||
          finder.next(finder.context, t->text, at, t->stop, t->end, &size) == MMK_NOWHERE);
}

#define OWN (-1) /* the way that it takes by itself */

static mmk_many begin(const mmk_kernels *kernels, const mmk_needles *needles, int way) {
    mmk_many many;
    if (!CHECK(mmk_many_begin(&many, kernels, needles)))
        exit(1);
    if (way >= 0) {
        many.first = many.way = (mmk_way)way;
        many.retry = way == MMK_BY_AUTOMATON ? SIZE_MAX : 0;
    }
    if (way == MMK_BY_SAMPLES) {
        size_t width = (size_t)8 << random_below(3);
        many.samples = mmk__samples_study(needles, needles->shortest < width ? 8 : width);
        if (!CHECK(many.samples != NULL))
            exit(1);
    }
    if (random_below(2)) /* the next candidate is one too many */
        many.debt = (size_t)1 << 20;
    return many;
}

static bool can_go(const mmk_kernels *kernels, const mmk_needles *needles, const task *t, int way) {
    bool first_bytes[256] = {false};
    size_t different = 0;
    for (size_t n = 0; n < t->count; n++) {
        unsigned char byte = t->needles[n][0];
        different += !first_bytes[byte];
        first_bytes[byte] = true;
        different += t->fold && byte >= 'a' && byte <= 'z' && !first_bytes[byte ^ 0x20];
        first_bytes[byte ^ 0x20] |= t->fold && byte >= 'a' && byte <= 'z';
    }
    if (way == MMK_BY_BYTES)
        return different <= 4;
    if (way == MMK_BY_SAMPLES)
        return needles->shortest >= 8;
    if (way == MMK_BY_AUTOMATON)
        return true;
    return way != MMK_BY_PRINTS ||
           (kernels->prints != NULL && mmk_needles_count(needles) <= 64);
}

static void check_task(const task *t) {
    mmk_needles *needles = mmk_needles_study(t->needles, t->sizes, t->count, t->fold);
    if (!CHECK(needles != NULL))
        exit(1);
    CHECK_EQ(mmk_needles_count(needles), t->count);
    for (unsigned overlapping = 0; overlapping < 2; overlapping++) {
        size_t count = expect(t, overlapping);
        for (unsigned q = 0; q < set_count; q++) {
            for (int way = OWN; way <= MMK_BY_SAMPLES; way++) {
                if (!can_go(sets[q], needles, t, way))
                    continue;
                mmk_many many = begin(sets[q], needles, way);
                check_list(t, &many, overlapping, count);
                check_count(t, &many, overlapping, count); /* back to the left */
                mmk_many_end(&many);
                many = begin(sets[q], needles, way);
                if (random_below(2))
                    check_count(t, &many, overlapping, count);
                else if (!overlapping)
                    check_finder(t, &many, count);
                mmk_many_end(&many);
            }
        }
    }
    mmk_needles_free(needles);
    if (checks_failed > 0) {
        printf("fold %d, [%zu, %zu) to %zu of \"%.*s\", needles:", t->fold, t->from, t->stop,
               t->end, (int)t->end, t->text);
        for (size_t n = 0; n < t->count; n++)
            printf(" \"%.*s\"", (int)t->sizes[n], t->needles[n]);
        printf("\n");
        exit(1);
    }
}

/* --- seeds ------------------------------------------------------------------------------------ */

static void test_seeds(void) {
    static const struct {
        const char *text;
        bool fold;
        const char *needles[6];
        const char *leftmost, *overlapping; /* pairs of digits: where and which */
    } SEEDS[] = {
        {"", false, {"a"}, "", ""},
        {"a", false, {"a"}, "00", "00"},
        {"abab", false, {"b"}, "1030", "1030"},
        {"ushers", false, {"he", "she", "his", "hers"}, "11", "112023"},
        {"abc", false, {"ab", "abc"}, "00", "0001"},     /* as listed, not the longest */
        {"abc", false, {"abc", "ab"}, "00", "0001"},
        {"abcd", false, {"bcd", "abcde", "abc"}, "02", "0210"},
        {"aaaa", false, {"aa", "a"}, "0020", "0001101120213 1"},
        {"aa", false, {"a", "a", "aa"}, "0010", "0001021011"}, /* the same twice */
        {"xAbXaB", true, {"ab", "x"}, "01103140", "01103140"},
        {"{[", true, {"{"}, "00", "00"},
    };
    for (size_t i = 0; i < sizeof SEEDS / sizeof SEEDS[0]; i++) {
        size_t length = strlen(SEEDS[i].text), count = 0, sizes[6];
        unsigned char *text = memory.end - length;
        memcpy(text, SEEDS[i].text, length);
        for (; count < 6 && SEEDS[i].needles[count] != NULL; count++)
            sizes[count] = strlen(SEEDS[i].needles[count]);
        task t = {text, 0, length, length, (const unsigned char *const *)SEEDS[i].needles, sizes,
                  count, SEEDS[i].fold};
        for (unsigned overlapping = 0; overlapping < 2; overlapping++) {
            const char *digits = overlapping ? SEEDS[i].overlapping : SEEDS[i].leftmost;
            size_t found = expect(&t, overlapping), seen = 0;
            for (; *digits != 0; seen++) {
                while (*digits == ' ')
                    digits++;
                uint64_t at = (uint64_t)(*digits++ - '0');
                while (*digits == ' ')
                    digits++;
                CHECK(seen < found && expected[seen].at == at &&
                      expected[seen].which == (uint64_t)(*digits++ - '0'));
            }
            CHECK_EQ(seen, found);
        }
        for (unsigned round = 0; round < 30; round++)
            check_task(&t);
    }
}

/* --- properties ------------------------------------------------------------------------------- */

static unsigned char needle_bytes[MOST_NEEDLES][64];
static const unsigned char *needle_list[MOST_NEEDLES];
static size_t needle_sizes[MOST_NEEDLES];

static void test_random_needles(void) {
    for (unsigned round = 0; round < 1500; round++) {
        size_t length = random_below(random_below(3) ? 200 : MOST);
        unsigned char *text = random_below(2) ? memory.begin : memory.end - length;
        unsigned letters = 1 + (unsigned)random_below(12);
        random_text(text, length, "abABxyXY[{\n.", letters);
        size_t count = 1 + random_below(random_below(2) ? 5 : random_below(3) ? 40 : MOST_NEEDLES);
        size_t longest = random_below(2) ? 6 : 64, shortest = 1 + random_below(5);
        if (longest == 64 && random_below(2))
            shortest = 8 + random_below(50);
        task t = {.text = text, .needles = needle_list, .sizes = needle_sizes, .count = count,
                  .fold = random_below(3) == 0};
        for (size_t n = 0; n < count; n++) {
            size_t size = shortest + random_below(longest - shortest + 1);
            needle_list[n] = needle_bytes[n];
            needle_sizes[n] = size;
            if (size <= length && random_below(3) != 0)
                memcpy(needle_bytes[n], text + random_below(length - size + 1), size);
            else
                random_text(needle_bytes[n], size, "abABxyXY[{\n.", letters);
            if (t.fold)
                mmk_fold(needle_bytes[n], size);
        }
        t.from = random_below(3) ? 0 : random_below(length + 1);
        t.stop = random_below(3) ? length : t.from + random_below(length - t.from + 1);
        t.end = random_below(3) ? length : t.stop + random_below(length - t.stop + 1);
        check_task(&t);
    }
}

/* Needles are folded by the study. */
static void test_needles_of_either_case(void) {
    const unsigned char *list[] = {(const unsigned char *)"ErRoR", (const unsigned char *)"x"};
    size_t sizes[] = {5, 1}, resume;
    const unsigned char *text = (const unsigned char *)"eRrOr X";
    mmk_needles *needles = mmk_needles_study(list, sizes, 2, true);
    for (unsigned q = 0; q < set_count; q++) {
        mmk_many many = begin(sets[q], needles, OWN);
        uint64_t at[3], which[3];
        CHECK_EQ(mmk_many_list(&many, text, 0, 7, 7, false, 0, at, which, 3, &resume), 2);
        CHECK(at[0] == 0 && which[0] == 0 && at[1] == 6 && which[1] == 1);
        mmk_many_end(&many);
    }
    CHECK_EQ(mmk_needles_longest(needles), 5);
    CHECK_EQ(mmk_needles_size(needles, 1), 1);
    CHECK_EQ(mmk_needles_most(needles), 1);
    mmk_needles_free(needles);
}

/* Every byte is told from every other one, also where all 256 of them are in needles. */
static void test_every_byte(void) {
    unsigned char all[256];
    const unsigned char *list[256];
    size_t sizes[256], resume;
    for (unsigned value = 0; value < 256; value++) {
        all[value] = memory.begin[value] = (unsigned char)value;
        list[value] = all + value;
        sizes[value] = 1;
    }
    mmk_needles *needles = mmk_needles_study(list, sizes, 256, false);
    for (unsigned q = 0; q < set_count; q++) {
        for (int way = OWN; way <= MMK_BY_AUTOMATON; way += MMK_BY_AUTOMATON - OWN) {
            uint64_t at[256], which[256];
            mmk_many many = begin(sets[q], needles, way);
            CHECK_EQ(mmk_many_list(&many, memory.begin, 0, 256, 256, false, 0, at, which, 256,
                                   &resume), 256);
            for (unsigned value = 0; value < 256; value++)
                CHECK(at[value] == value && which[value] == value);
            mmk_many_end(&many);
        }
    }
    mmk_needles_free(needles);
}

/* More states than have rows, and a needle that is longer than a chunk. */
static void test_automaton_larger_than_its_rows(void) {
    enum { COUNT = 3000, SIZE = 300, LENGTH = 200000, LONG = 30000 };
    unsigned char *bytes = malloc((size_t)COUNT * SIZE), *text = malloc(LENGTH);
    const unsigned char **list = malloc((COUNT + 1) * sizeof *list);
    size_t *sizes = malloc((COUNT + 1) * sizeof *sizes), resume;
    uint64_t at[64], which[64];
    random_text(text, LENGTH, "abcdefgh", 8);
    random_text(bytes, (size_t)COUNT * SIZE, "abcdefgh", 8);
    for (size_t n = 0; n < COUNT; n++) {
        list[n] = bytes + n * SIZE;
        sizes[n] = 20 + random_below(SIZE - 19);
    }
    list[COUNT] = text + 150000;
    sizes[COUNT] = LONG;
    size_t planted[] = {700, 1500, 777, 2999, 3};
    for (size_t i = 0; i < 5; i++) /* their ends, too, where they are no whole needle */
        memcpy(text + 1000 + i * 16000, list[planted[i]], sizes[planted[i]]);
    for (size_t i = 0; i < 100; i++) {
        size_t n = random_below(COUNT);
        memcpy(text + 90000 + i * 400, list[n] + 1, sizes[n] - 1);
        text[90000 + i * 400 - 1] = '.';
    }
    mmk_needles *needles = mmk_needles_study(list, sizes, COUNT + 1, false);
    for (unsigned q = 0; q < set_count; q++) {
        for (int way = OWN; way <= MMK_BY_AUTOMATON; way += MMK_BY_AUTOMATON - OWN) {
            mmk_many many = begin(sets[q], needles, way);
            size_t done = 0;
            for (size_t from = 0; from < LENGTH; from = resume)
                done += mmk_many_list(&many, text, from, LENGTH, LENGTH, false, 0, at + done,
                                      which + done, 64 - done, &resume);
            CHECK_EQ(done, 6);
            for (size_t i = 0; i < 5; i++)
                CHECK(at[i] == 1000 + i * 16000 && which[i] == planted[i]);
            CHECK(at[5] == 150000 && which[5] == COUNT);
            mmk_many_end(&many);
        }
    }
    mmk_needles_free(needles);
    free(sizes);
    free(list);
    free(text);
    free(bytes);
}

/* --- which way -------------------------------------------------------------------------------- */

static void check_way(const char *const *needles, size_t count, const mmk_kernels *kernels,
                      mmk_way way) {
    size_t sizes[8];
    for (size_t n = 0; n < count; n++)
        sizes[n] = strlen(needles[n]);
    mmk_needles *studied =
        mmk_needles_study((const unsigned char *const *)needles, sizes, count, false);
    mmk_many many;
    CHECK(mmk_many_begin(&many, kernels, studied));
    CHECK_EQ(many.way, way);
    mmk_many_end(&many);
    mmk_needles_free(studied);
}

static void test_which_way_is_taken_first(void) {
    for (unsigned q = 0; q < set_count; q++) {
        bool prints = sets[q]->prints != NULL;
        check_way((const char *const[]){"a", "b", "c", "d"}, 4, sets[q], MMK_BY_BYTES);
        check_way((const char *const[]){"ab", "bb"}, 2, sets[q],
                  prints ? MMK_BY_PRINTS : MMK_BY_BYTES);
        check_way((const char *const[]){"ab", "b", "c", "d", "e"}, 5, sets[q],
                  prints ? MMK_BY_PRINTS : MMK_BY_AUTOMATON);
    }
    /* Too many for fingerprints. */
    const unsigned char *list[65];
    size_t sizes[65];
    for (size_t n = 0; n < 65; n++) {
        list[n] = needle_bytes[n];
        sizes[n] = 2;
        needle_bytes[n][0] = (unsigned char)('a' + n % 4);
        needle_bytes[n][1] = (unsigned char)n;
    }
    for (unsigned different = 4; different <= 5; different++) {
        needle_bytes[0][0] = (unsigned char)(different == 4 ? 'a' : '.');
        mmk_needles *needles = mmk_needles_study(list, sizes, 65, false);
        for (unsigned q = 0; q < set_count; q++) {
            mmk_many many = begin(sets[q], needles, OWN);
            CHECK_EQ(many.way, different == 4 ? MMK_BY_BYTES : MMK_BY_AUTOMATON);
            mmk_many_end(&many);
        }
        mmk_needles_free(needles);
    }
}

/* False candidates everywhere: the filter is left, and comes back after the bad part. */
static void test_the_filter_is_left_and_tried_again(void) {
    enum { LENGTH = 1 << 21, BAD = 1 << 19 };
    const unsigned char *list[] = {(const unsigned char *)"abcdefghz",
                                   (const unsigned char *)"abcdz"};
    size_t sizes[] = {9, 5}, resume;
    unsigned char *text = malloc(LENGTH);
    memset(text, '.', LENGTH);
    for (size_t i = 0; i < BAD; i++)
        text[i] = (unsigned char)"abcde"[i % 5];
    memcpy(text + LENGTH - 9, list[0], 9);
    mmk_needles *needles = mmk_needles_study(list, sizes, 2, false);
    for (unsigned q = 0; q < set_count; q++) {
        uint64_t at, which;
        mmk_many many;
        CHECK(mmk_many_begin(&many, sets[q], needles));
        many.lesson = SIZE_MAX;
        mmk_way first = many.first;
        CHECK_EQ(mmk_many_list(&many, text, 0, BAD / 2, LENGTH, false, 0, &at, &which, 1, &resume),
                 0);
        CHECK_EQ(many.way, MMK_BY_AUTOMATON);
        CHECK_EQ(mmk_many_list(&many, text, BAD / 2, LENGTH, LENGTH, false, 0, &at, &which, 1,
                               &resume), 1);
        CHECK(at == LENGTH - 9 && which == 0);
        CHECK_EQ(many.way, first);
        mmk_many_end(&many);
    }
    mmk_needles_free(needles);
    free(text);
}

/* The same text teaches fingerprints what tells the needles from it; and they see what is there. */
static void test_fingerprints_learn(void) {
    enum { LENGTH = 1 << 18, LATE = LENGTH - 40 };
    unsigned char runs[3][200], *text = malloc(LENGTH);
    const unsigned char *list[] = {runs[0], runs[1], runs[2]};
    size_t sizes[] = {200, 20, 3}, resume;
    memset(runs, 'a', sizeof runs);
    runs[0][150] = 'B'; /* where only comparisons get */
    runs[1][19] = 'B';
    runs[2][2] = 'B';
    memset(text, 'a', LENGTH);
    text[1000 + 150] = text[LATE + 19] = 'b';
    for (unsigned fold = 0; fold < 2; fold++) {
        mmk_needles *needles = mmk_needles_study(list, sizes, 3, fold);
        for (unsigned q = 0; q < set_count; q++) {
            uint64_t at[8], which[8];
            mmk_many many;
            CHECK(mmk_many_begin(&many, sets[q], needles));
            mmk_way first = many.first;
            size_t found = mmk_many_list(&many, text, 0, LENGTH, LENGTH, true, 0, at, which, 8,
                                         &resume);
            CHECK_EQ(found, fold ? 5 : 0);
            for (size_t i = 0; i < found; i++) {
                static const uint64_t AT[] = {1000, 1131, 1148, LATE, LATE + 17};
                static const uint64_t WHICH[] = {0, 1, 2, 1, 2};
                CHECK(at[i] == AT[i] && which[i] == WHICH[i]);
            }
            CHECK_EQ(many.way, first == MMK_BY_PRINTS ? MMK_BY_PRINTS : MMK_BY_AUTOMATON);
            CHECK((many.prints.reach > 100) == (first == MMK_BY_PRINTS));
            mmk_many_end(&many);
        }
        mmk_needles_free(needles);
    }
    free(text);
}

/* Where the needles look like the text at every offset, but have long windows that it has not; and
 * then has. */
static void test_windows_are_tried_and_left(void) {
    enum { LENGTH = 1 << 18, COUNT = 64, SIZE = 40 };
    unsigned char *text = malloc(LENGTH);
    size_t resume;
    uint64_t at, which;
    random_text(text, LENGTH, "ab", 2);
    for (size_t n = 0; n < COUNT; n++) {
        random_text(needle_bytes[n], SIZE, "ab", 2);
        needle_list[n] = needle_bytes[n];
        needle_sizes[n] = SIZE;
    }
    memset(text + LENGTH / 2, 'c', LENGTH / 2);
    for (size_t i = LENGTH / 2; i < LENGTH - SIZE; i += SIZE)
        memcpy(text + i, needle_bytes[0], SIZE - 1);
    memcpy(text + 3333, needle_bytes[5], SIZE);
    memcpy(text + LENGTH - SIZE, needle_bytes[7], SIZE);
    mmk_needles *needles = mmk_needles_study(needle_list, needle_sizes, COUNT, false);
    for (unsigned q = 0; q < set_count; q++) {
        mmk_many many;
        CHECK(mmk_many_begin(&many, sets[q], needles));
        CHECK_EQ(mmk_many_list(&many, text, 0, LENGTH / 2, LENGTH, false, 0, &at, &which, 1,
                               &resume), 1);
        CHECK(at == 3333 && which == 5);
        CHECK_EQ(mmk_many_list(&many, text, resume, LENGTH / 2, LENGTH, false, 0, &at, &which, 1,
                               &resume), 0);
        CHECK_EQ(many.way, MMK_BY_SAMPLES);
        CHECK_EQ(mmk_many_list(&many, text, LENGTH / 2, LENGTH, LENGTH, false, 0, &at, &which, 1,
                               &resume), 1);
        CHECK(at == LENGTH - SIZE && which == 7);
        CHECK_EQ(many.way, MMK_BY_AUTOMATON);
        mmk_many_end(&many);
    }
    mmk_needles_free(needles);
    free(text);
}

/* What the automaton has found in a chunk is kept: the next call does not read it again. */
static void test_a_chunk_is_read_once(void) {
    const unsigned char *list[] = {(const unsigned char *)"ab", (const unsigned char *)"ba"};
    size_t sizes[] = {2, 2}, size;
    unsigned char text[1000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "ab."[i % 3];
    mmk_needles *needles = mmk_needles_study(list, sizes, 2, false);
    mmk_many many = begin(sets[0], needles, MMK_BY_AUTOMATON);
    mmk_finder finder = mmk_many_finder(&many);
    for (size_t at = 0; at < sizeof text - 1; at += 3) {
        CHECK_EQ(finder.next(finder.context, text, at, sizeof text, sizeof text, &size), at);
        CHECK_EQ(many.marks_origin, 0);
        CHECK_EQ(many.marks_stop, sizeof text - 1);
    }
    /* But what was given out is not there any more: back to the left it is. */
    for (size_t back = 0; back < 2; back++) {
        CHECK_EQ(finder.next(finder.context, text, 300, sizeof text, sizeof text, &size), 300);
        CHECK_EQ(finder.next(finder.context, text, 303, sizeof text, sizeof text, &size), 303);
    }
    mmk_many_end(&many);
    mmk_needles_free(needles);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void test_lines_of_many(void) {
    const unsigned char *list[] = {(const unsigned char *)"warn", (const unsigned char *)"error"};
    size_t sizes[] = {4, 5}, resume;
    const char *text = "ok\nwarn: error\nok\nan error\r\nwarn";
    static const mmk_line wanted[] = {
        {3, 4, 3, 14, 1}, {9, 5, 3, 14, 1}, {21, 5, 18, 27, 3}, {28, 4, 28, 32, 4}};
    mmk_needles *needles = mmk_needles_study(list, sizes, 2, false);
    for (unsigned q = 0; q < set_count; q++) {
        for (int way = OWN; way <= MMK_BY_AUTOMATON; way += MMK_BY_AUTOMATON - OWN) {
            mmk_line out[8];
            mmk_line_count lines = {0, 0, 0, 0};
            mmk_many many = begin(sets[q], needles, way);
            CHECK_EQ(mmk_lines_list(&lines, sets[q], mmk_many_finder(&many),
                                    (const unsigned char *)text, 0, 32, 32, false, out, 8, &resume),
                     4);
            CHECK(memcmp(out, wanted, sizeof wanted) == 0);
            mmk_many_end(&many);
        }
    }
    mmk_needles_free(needles);
}

int main(void) {
    memory = fence((size_t)1 << 16);
    find_sets();
    test_seeds();
    test_random_needles();
    test_needles_of_either_case();
    test_every_byte();
    test_automaton_larger_than_its_rows();
    test_which_way_is_taken_first();
    test_the_filter_is_left_and_tried_again();
    test_fingerprints_learn();
    test_windows_are_tried_and_left();
    test_a_chunk_is_read_once();
    test_lines_of_many();
    DONE("tests/c/test_scan_many");
}
