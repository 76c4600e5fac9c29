/* Fingerprints of many literals: at which offsets they are looked at.
 *
 * At first these are the first bytes, which every needle has. What a text is full of teaches better
 * ones: in outline,
 *
 *     until few positions of the text are left, or there is no room for more offsets:
 *         of the offsets that may tell something, take the one that leaves the fewest
 *         look at more positions, in place of those that are not left
 *
 * where what is left are pairs of a position and a set of needles that may start there. Needles that
 * are too short for an offset pass there. A lesson takes as long as the automaton takes for some
 * 100 KiB, and 12 KiB of the stack. */
#include "scan/bits.h"
#include "scan/needles.h"

/* With more needles than that, fingerprints have to tell more: all of the first bytes, */
#define FEW_NEEDLES 8
/* and two groups of sets. */
#define FEW_BEGINNINGS 24
/* Where every needle can have a set of its own, it has. */
#define GROUP_SETS 8

/* So many pairs are kept at a time, of so many positions in all. */
#define PAIRS 512
#define SAMPLE 8192
/* Enough is told if no more than one position in so many is left: candidates cost little then. */
#define ENOUGH 1024
/* And too little if it is one in so many: each costs as much as some bytes that the automaton reads. */
#define TOO_LITTLE 128
/* Offsets that may tell something: the first ones, those at which comparisons failed, and the ends
 * of so many needles. */
#define FIRST_OFFSETS 16
#define ENDS 16
#define OFFSETS (FIRST_OFFSETS + MMK_FAILURES + ENDS)
/* So many are looked at in every block anyway. */
#define LEAST_OFFSETS 4

/* --- sets of needles -------------------------------------------------------------------------- */

void mmk__prints_rank(mmk_needles *needles) {
    for (uint32_t n = 0; n < needles->count && needles->count <= MMK_PRINTED_NEEDLES; n++) {
        size_t size = mmk__needle_size(needles, n), rank = n;
        /* Insertion into those before, which are sorted. */
        for (uint32_t other = 0; other < n; other++) {
            size_t other_size = mmk__needle_size(needles, other);
            int order = memcmp(mmk__needle_bytes(needles, n), mmk__needle_bytes(needles, other),
                               size < other_size ? size : other_size);
            if (order < 0 || (order == 0 && size < other_size)) {
                needles->rank[other]++;
                rank--;
            }
        }
        needles->rank[n] = (unsigned char)rank;
    }
}

static void add_offset(mmk_fingerprints *prints, const mmk_needles *needles, size_t offset) {
    const unsigned i = prints->count++;
    prints->offset[i] = offset;
    prints->reach = offset >= prints->reach ? offset + 1 : prints->reach;
    for (uint32_t n = 0; n < needles->count; n++) {
        size_t place = needles->rank[n] * GROUP_SETS * prints->groups / needles->count;
        unsigned char *low = prints->low[place / GROUP_SETS][i];
        unsigned char *high = prints->high[place / GROUP_SETS][i];
        const unsigned char set = (unsigned char)(1 << place % GROUP_SETS);
        if (offset < mmk__needle_size(needles, n)) {
            unsigned char byte = mmk__needle_bytes(needles, n)[offset];
            low[byte & 15] |= set;
            high[byte >> 4] |= set;
            if (needles->fold && mmk__is_small(byte))
                high[(byte ^ 0x20) >> 4] |= set;
        } else {
            for (unsigned half = 0; half < 16; half++) {
                low[half] |= set;
                high[half] |= set;
            }
        }
    }
}

void mmk__prints_begin(mmk_fingerprints *prints, const mmk_needles *needles) {
    unsigned width = needles->count <= FEW_NEEDLES && needles->width > 3 ? 3 : needles->width;
    memset(prints, 0, sizeof *prints);
    prints->groups = needles->count > FEW_BEGINNINGS && width >= 3 ? 2 : 1;
    if (needles->count <= MMK_PRINTED_NEEDLES)
        for (unsigned i = 0; i < width; i++)
            add_offset(prints, needles, i);
}

/* --- learning --------------------------------------------------------------------------------- */

typedef struct {
    uint16_t of[256]; /* the sets that a byte is in */
} byte_sets;

/* What is known of a text: of the first `seen` positions, at which the offsets leave some sets. */
typedef struct {
    const unsigned char *text;
    size_t size, seen, left;
    uint16_t at[PAIRS], sets[PAIRS];
    mmk_fingerprints prints;
    byte_sets bytes[MMK_PRINT_BYTES];
} lesson;

/* At the last offset of the fingerprints. */
static void tabulate(byte_sets *bytes, const mmk_fingerprints *prints) {
    const unsigned i = prints->count - 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned first = prints->low[0][i][byte & 15] & prints->high[0][i][byte >> 4];
        unsigned second = prints->low[1][i][byte & 15] & prints->high[1][i][byte >> 4];
        bytes->of[byte] = (uint16_t)(first | second << GROUP_SETS);
    }
}

/* Looks at more positions, while there is room for what is left. */
static void see_more(lesson *l) {
    for (; l->seen < l->size && l->left < PAIRS; l->seen++) {
        unsigned sets = UINT16_MAX;
        for (unsigned i = 0; i < l->prints.count && sets != 0; i++)
            sets &= l->bytes[i].of[l->text[l->seen + l->prints.offset[i]]];
        l->at[l->left] = (uint16_t)l->seen;
        l->sets[l->left] = (uint16_t)sets;
        l->left += sets != 0;
    }
}

/* How many sets would be left in all if an offset was looked at, too. */
static size_t count_left(const lesson *l, size_t offset, const byte_sets *bytes) {
    const unsigned char *text = l->text + offset;
    uint16_t kept[PAIRS];
    size_t total = 0;
    for (size_t i = 0; i < l->left; i++)
        kept[i] = l->sets[i] & bytes->of[text[l->at[i]]];
    for (size_t i = 0; i < l->left; i++) { /* as in bits.h, but compilers make it several at once */
        unsigned bits = kept[i];
        bits -= bits >> 1 & 0x5555;
        bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
        bits = (bits + (bits >> 4)) & 0x0f0f;
        total += (bits + (bits >> 8)) & 0x1f;
    }
    return total;
}

/* Takes the offset that leaves the fewest, out of `count` of them. */
static void take_best(lesson *l, const mmk_needles *needles, size_t *offsets, size_t count) {
    const unsigned i = l->prints.count;
    size_t best = 0, fewest = SIZE_MAX;
    for (size_t o = 0; o < count && fewest > 0; o++) {
        mmk_fingerprints with = l->prints;
        add_offset(&with, needles, offsets[o]);
        tabulate(&l->bytes[i], &with);
        size_t left = count_left(l, offsets[o], &l->bytes[i]);
        if (left < fewest) {
            fewest = left;
            best = o;
        }
    }
    const size_t offset = offsets[best];
    offsets[best] = offsets[count - 1];
    add_offset(&l->prints, needles, offset);
    tabulate(&l->bytes[i], &l->prints);
    size_t left = l->left;
    l->left = 0;
    for (size_t p = 0; p < left; p++) {
        l->at[l->left] = l->at[p];
        l->sets[l->left] = l->sets[p] & l->bytes[i].of[l->text[l->at[p] + offset]];
        l->left += l->sets[l->left] != 0;
    }
}

/* Offsets that may tell something, below `limit`, each once. */
static size_t collect_offsets(size_t offsets[OFFSETS], const mmk_needles *needles,
                              const size_t *failures, size_t limit) {
    size_t wanted[OFFSETS], count = 0, kept = 0;
    for (size_t offset = 0; offset < FIRST_OFFSETS; offset++)
        wanted[count++] = offset;
    for (size_t i = 0; i < MMK_FAILURES; i++)
        wanted[count++] = failures[i];
    for (uint32_t n = 0; n < needles->count && n < ENDS; n++)
        wanted[count++] = mmk__needle_size(needles, n) - 1;
    for (size_t i = 0; i < count; i++) {
        bool is_new = wanted[i] < limit;
        for (size_t j = 0; j < kept; j++)
            is_new = is_new && offsets[j] != wanted[i];
        if (is_new)
            offsets[kept++] = wanted[i];
    }
    return kept;
}

bool mmk__prints_learn(mmk_fingerprints *prints, const mmk_needles *needles,
                       const size_t *failures, const unsigned char *text, size_t from,
                       size_t stop, size_t end) {
    lesson l;
    l.text = text + from;
    l.size = stop - from < SAMPLE ? stop - from : SAMPLE;
    l.seen = l.left = 0;
    memset(&l.prints, 0, sizeof l.prints);
    l.prints.groups = needles->count > GROUP_SETS ? MMK_PRINT_GROUPS : 1;
    /* Safety: whatever starts before `stop` is readable as far as the longest needle, up to `end`. */
    const size_t readable = end - from - l.size + 1;
    size_t offsets[OFFSETS];
    size_t count = collect_offsets(offsets, needles, failures,
                                   readable < needles->longest ? readable : needles->longest);
    for (;;) {
        see_more(&l);
        bool enough = l.left <= l.seen / ENOUGH && l.prints.count >= LEAST_OFFSETS;
        if (enough || count == 0 || l.prints.count == MMK_PRINT_BYTES)
            break;
        take_best(&l, needles, offsets, count--);
    }
    if (l.prints.count == 0 || l.left > l.seen / TOO_LITTLE)
        return false;
    *prints = l.prints;
    return true;
}
