/* Each kernel of each instruction set against the plainest loop, for every length around a vector,
 * at every alignment, and next to memory that cannot be read. */
#include "texts.h"

#define LENGTHS 201
#define ALIGNMENTS 64
#define REACH 300 /* of the probes */

static fenced memory;

/* --- oracles ---------------------------------------------------------------------------------- */

static bool probes_match(const unsigned char *at, const mmk_probe *probes, unsigned count) {
    for (unsigned p = 0; p < count; p++)
        if ((at[probes[p].offset] | probes[p].fold) != probes[p].byte)
            return false;
    return true;
}

static bool byte_matches(unsigned char byte, const unsigned char *bytes, unsigned count) {
    for (unsigned b = 0; b < count; b++)
        if (byte == bytes[b])
            return true;
    return false;
}

static bool prints_match(const unsigned char *at, const mmk_fingerprints *prints) {
    for (unsigned g = 0; g < prints->groups; g++) {
        unsigned char sets = 0xff;
        for (unsigned i = 0; i < prints->count; i++) {
            unsigned char byte = at[prints->offset[i]];
            sets &= prints->low[g][i][byte & 15] & prints->high[g][i][byte >> 4];
        }
        if (sets != 0)
            return true;
    }
    return false;
}

/* Either probes, bytes or fingerprints are wanted. */
typedef struct {
    const mmk_probe *probes;
    const unsigned char *bytes;
    unsigned count;
    const mmk_fingerprints *prints;
} wanted;

static bool matches(const unsigned char *text, size_t at, const wanted *want) {
    if (want->prints != NULL)
        return prints_match(text + at, want->prints);
    return want->probes != NULL ? probes_match(text + at, want->probes, want->count)
                                : byte_matches(text[at], want->bytes, want->count);
}

/* A block has all of its matches, and begins with none before it. */
static void check_block_from_left(bool found, size_t at, uint64_t hits, const unsigned char *text,
                                  size_t from, size_t stop, const wanted *want) {
    size_t first = from;
    while (first < stop && !matches(text, first, want))
        first++;
    if (!CHECK_EQ(found, first < stop) || !found)
        return;
    CHECK(from <= at && at <= first && first - at < 64);
    for (unsigned i = 0; i < 64; i++) {
        bool hit = at + i < stop && matches(text, at + i, want);
        if (hit != (hits >> i & 1)) {
            CHECK_EQ(hits >> i & 1, hit);
            return;
        }
    }
}

static void check_block_from_right(bool found, size_t at, uint64_t hits, const unsigned char *text,
                                   size_t from, size_t stop, const wanted *want) {
    size_t last = stop;
    while (last > from && !matches(text, last - 1, want))
        last--;
    if (!CHECK_EQ(found, last > from) || !found)
        return;
    CHECK(from <= at && at < last && last - at <= 64);
    for (unsigned i = 0; i < 64; i++) {
        bool hit = at + i < last && matches(text, at + i, want);
        if (hit != (hits >> i & 1)) {
            CHECK_EQ(hits >> i & 1, hit);
            return;
        }
    }
}

/* --- every kernel at one place ---------------------------------------------------------------- */

static void check_count(const mmk_kernels *kernels, const unsigned char *text, size_t length,
                        unsigned char byte) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += text[i] == byte;
    CHECK_EQ(kernels->count(text, length, byte), count);
}

static void check_any(const mmk_kernels *kernels, const unsigned char *text, size_t from,
                      size_t stop) {
    for (unsigned count = 1; count <= 4; count++) {
        wanted want = {NULL, (const unsigned char *)"xyzw", count, NULL};
        size_t at = 0;
        uint64_t hits = 0;
        bool found = kernels->any(text, from, stop, want.bytes, count, &at, &hits);
        check_block_from_left(found, at, hits, text, from, stop, &want);
    }
}

/* Positions [from, stop), whose probes reach no farther than `reach` bytes. */
static void check_probes(const mmk_kernels *kernels, const unsigned char *text, size_t from,
                         size_t stop, size_t reach) {
    mmk_probe probes[MMK_PROBES];
    unsigned count = 1 + (unsigned)random_below(random_below(2) ? 3 : MMK_PROBES);
    bool folds = random_below(2);
    for (unsigned p = 0; p < count; p++) {
        probes[p].offset = p == 0 ? reach : random_below(reach + 1);
        probes[p].byte = random_below(3) ? 'x' : '.';
        probes[p].fold = folds && probes[p].byte == 'x' ? 0x20 : 0;
    }
    wanted want = {probes, NULL, count, NULL};
    size_t at = 0;
    uint64_t hits = 0;
    bool found = kernels->next(text, from, stop, probes, count, &at, &hits);
    check_block_from_left(found, at, hits, text, from, stop, &want);
    found = kernels->previous(text, from, stop, probes, count, &at, &hits);
    check_block_from_right(found, at, hits, text, from, stop, &want);
}

/* Positions [from, stop); `reach` bytes more can be read. */
static void check_prints(const mmk_kernels *kernels, const unsigned char *text, size_t from,
                         size_t stop, size_t reach, unsigned count) {
    mmk_fingerprints prints;
    wanted want = {NULL, NULL, 0, &prints};
    if (kernels->prints == NULL)
        return;
    memset(&prints, 0, sizeof prints);
    prints.count = count;
    prints.reach = reach + 1;
    prints.groups = 1 + (unsigned)random_below(2);
    for (unsigned i = 0; i < count; i++)
        prints.offset[i] = i == 0 ? reach : random_below(reach + 1);
    /* A few literals in each of some sets; mostly of what is in the texts. */
    for (size_t n = 1 + random_below(10); n > 0; n--) {
        unsigned char set = (unsigned char)(1 << random_below(8));
        size_t g = random_below(prints.groups);
        for (unsigned i = 0; i < count; i++) {
            unsigned char byte = (unsigned char)"xXy.y"[random_below(5)];
            if (random_below(4) == 0)
                byte = (unsigned char)random_below(256);
            prints.low[g][i][byte & 15] |= set;
            prints.high[g][i][byte >> 4] |= set;
        }
    }
    size_t at = 0;
    uint64_t hits = 0;
    bool found = kernels->prints(text, from, stop, &prints, &at, &hits);
    check_block_from_left(found, at, hits, text, from, stop, &want);
}

static void check_lists(const mmk_kernels *kernels, const unsigned char *text, size_t from,
                        size_t stop) {
    uint32_t out32[LENGTHS + 1], base32 = UINT32_MAX - 50; /* the low 32 bits go round */
    uint64_t out64[LENGTHS + 1], base64 = (uint64_t)1 << 40;
    /* Room for a few or for all. */
    size_t room = random_below(2) ? 1 + random_below(5) : LENGTHS, resume32 = from, resume64 = from;
    size_t next = from;
    do {
        size_t capacity = room, expected = 0;
        size_t done32 =
            kernels->list32(text, resume32, stop, 'x', base32, out32, capacity, &resume32);
        size_t done64 =
            kernels->list64(text, resume64, stop, 'x', base64, out64, capacity, &resume64);
        for (; expected < capacity && next < stop; next++) {
            if (text[next] != 'x')
                continue;
            CHECK(expected < done32 && out32[expected] == (uint32_t)(base32 + next));
            CHECK(expected < done64 && out64[expected] == base64 + next);
            expected++;
        }
        CHECK_EQ(done32, expected);
        CHECK_EQ(done64, expected);
        CHECK_EQ(resume32, resume64);
        if (expected < capacity || resume32 >= stop)
            break;
        CHECK(resume32 >= next);
    } while (checks_failed == 0);
    for (; next < stop; next++)
        CHECK(text[next] != 'x');
    CHECK_EQ(resume32, stop);
}

/* What is around a text looks like what is searched for. */
static void fill_around(unsigned char *text, size_t length) {
    memset(memory.begin, 'x', (size_t)(text - memory.begin));
    memset(text + length, 'x', (size_t)(memory.end - text) - length);
}

static void fill(unsigned char *text, size_t length, unsigned kind) {
    if (kind == 0) {
        memset(text, '.', length);
        if (length > 0)
            text[random_below(length)] = 'x';
    } else {
        random_text(text, length, kind == 1 ? ".....XxyZ" : "xxXx.", kind == 1 ? 9 : 5);
    }
}

static void check_place(unsigned char *text, size_t length) {
    for (unsigned q = 0; q < set_count; q++) {
        /* Offsets do not start at the range. */
        size_t from = random_below(100);
        const unsigned char *origin = (const unsigned char *)((uintptr_t)text - from);
        check_count(sets[q], text, length, 'x');
        check_any(sets[q], origin, from, from + length);
        check_lists(sets[q], origin, from, from + length);
        size_t reach = length > 0 ? random_below(length < REACH ? length : REACH) : 0;
        check_probes(sets[q], origin, from, from + length - reach, reach);
        for (unsigned count = 1; count <= 5; count++)
            check_prints(sets[q], origin, from, from + length - reach, reach,
                         count < 5 ? count : count + (unsigned)random_below(MMK_PRINT_BYTES - 4));
    }
}

static void test_every_length_at_every_alignment(void) {
    unsigned char *middle = memory.begin + 4096;
    fill_around(middle, 0);
    for (size_t length = 0; length < LENGTHS; length++) {
        for (size_t a = 0; a < ALIGNMENTS; a++) {
            fill(middle + a, length, random_below(3));
            check_place(middle + a, length);
            memset(middle + a, 'x', length);
        }
    }
}

static void test_nothing_outside_is_read(void) {
    for (size_t size = 0; size < LENGTHS; size++) {
        for (unsigned kind = 0; kind < 3; kind++) {
            fill_around(memory.begin, size);
            fill(memory.begin, size, kind);
            check_place(memory.begin, size);
            fill_around(memory.end - size, size);
            fill(memory.end - size, size, kind);
            check_place(memory.end - size, size);
        }
    }
}

/* --- larger texts ----------------------------------------------------------------------------- */

static void test_counts_do_not_overflow(void) {
    size_t size = (size_t)(memory.end - memory.begin);
    memset(memory.begin, 'x', size);
    for (unsigned q = 0; q < set_count; q++) {
        for (size_t cut = 0; cut < 300; cut += 37) {
            CHECK_EQ(sets[q]->count(memory.begin + cut, size - cut, 'x'), size - cut);
            CHECK_EQ(sets[q]->count(memory.begin + cut, size - cut, 'y'), 0);
        }
    }
}

static void test_every_byte_is_itself_only(void) {
    for (unsigned value = 0; value < 256; value++)
        memory.begin[value] = (unsigned char)value;
    for (unsigned q = 0; q < set_count; q++) {
        for (unsigned value = 0; value < 256; value++) {
            mmk_probe probe = {0, (unsigned char)value, 0};
            size_t at;
            uint64_t hits, one;
            CHECK_EQ(sets[q]->count(memory.begin, 256, probe.byte), 1);
            CHECK(sets[q]->next(memory.begin, 0, 256, &probe, 1, &at, &hits));
            CHECK(at <= value && value - at < 64 && hits == (uint64_t)1 << (value - at));
            CHECK(sets[q]->previous(memory.begin, 0, 256, &probe, 1, &at, &hits));
            CHECK(at <= value && value - at < 64 && hits == (uint64_t)1 << (value - at));
            CHECK(sets[q]->any(memory.begin, 0, 256, &probe.byte, 1, &at, &hits));
            CHECK(at <= value && value - at < 64 && hits == (uint64_t)1 << (value - at));
            CHECK_EQ(sets[q]->list64(memory.begin, 0, 256, probe.byte, 0, &one, 1, &at), 1);
            CHECK_EQ(one, value);
        }
    }
}

/* --- which kernels ---------------------------------------------------------------------------- */

static void test_kernels_are_found_by_name(void) {
    for (unsigned q = 0; q < set_count; q++)
        printf("%s%s", q == 0 ? "kernels of this processor: " : ", ", sets[q]->name);
    printf("\n");
    CHECK(set_count >= 1);
    CHECK(strcmp(sets[0]->name, "scalar") == 0);
    CHECK(mmk_kernels_best() == sets[set_count - 1]);
    CHECK(mmk_kernels_at(set_count) == NULL);
    CHECK(mmk_kernels_named("abacus") == NULL);
    CHECK(mmk_kernels_named("") == NULL);
    for (unsigned q = 0; q < set_count; q++)
        CHECK(mmk_kernels_named(sets[q]->name) == sets[q]);
#if defined(__x86_64__) || defined(_M_X64)
    CHECK(mmk_kernels_named("sse2") != NULL);
    CHECK(mmk_kernels_named("neon") == NULL);
#elif defined(__aarch64__) || defined(_M_ARM64)
    CHECK(mmk_kernels_best() == mmk_kernels_named("neon"));
#endif
}

int main(void) {
    memory = fence((size_t)1 << 18);
    find_sets();
    test_kernels_are_found_by_name();
    test_every_length_at_every_alignment();
    test_nothing_outside_is_read();
    test_counts_do_not_overflow();
    test_every_byte_is_itself_only();
    DONE("tests/c/test_scan_kernels");
}
