/* Fingerprints of many literals: at which offsets they are looked at.
 *
 * At first these are the first bytes, which every needle has. What a text is full of teaches better
 * ones: in outline,
 *
 *     until few positions of a sample are left, or there are enough offsets:
 *         of the offsets that may tell something, take the one that leaves the fewest
 *
 * where what is left are pairs of a position and a set of needles that may start there. Needles that
 * are too short for an offset pass there. */
#include "scan/bits.h"
#include "scan/needles.h"

/* With more needles than that, fingerprints have to tell more: all of the first bytes, */
#define FEW_NEEDLES 8
/* and two groups of sets. */
#define FEW_BEGINNINGS 24
/* Where every needle can have a set of its own, it has. */
#define GROUP_SETS 8

#define SAMPLE 512
/* No more positions of the sample may be left than one in so many: a candidate costs as much as
 * some bytes do that the automaton reads. */
#define PROMISING 32
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

/* Pairs that are left: positions, from the sample's first one on, and which sets. */
typedef struct {
    size_t count;
    uint16_t at[SAMPLE], sets[SAMPLE];
} remainder_of;

/* The sets that a byte is in, at the last offset of the fingerprints. */
static void tabulate(uint16_t sets[256], const mmk_fingerprints *prints) {
    const unsigned i = prints->count - 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        unsigned first = prints->low[0][i][byte & 15] & prints->high[0][i][byte >> 4];
        unsigned second = prints->low[1][i][byte & 15] & prints->high[1][i][byte >> 4];
        sets[byte] = (uint16_t)(first | second << GROUP_SETS);
    }
}

/* How many sets are left in all if an offset is looked at, too. */
static size_t count_left(const remainder_of *left, const unsigned char *sample,
                         const uint16_t sets[256]) {
    uint32_t total = 0;
    uint16_t kept[SAMPLE];
    for (size_t i = 0; i < left->count; i++)
        kept[i] = left->sets[i] & sets[sample[left->at[i]]];
    for (size_t i = 0; i < left->count; i++) { /* bits, as in bits.h, but of several at once */
        unsigned bits = kept[i];
        bits -= bits >> 1 & 0x5555;
        bits = (bits & 0x3333) + (bits >> 2 & 0x3333);
        bits = (bits + (bits >> 4)) & 0x0f0f;
        total += (bits + (bits >> 8)) & 0x1f;
    }
    return total;
}

static void keep_left(remainder_of *left, const unsigned char *sample, const uint16_t sets[256]) {
    size_t kept = 0;
    for (size_t i = 0; i < left->count; i++) {
        left->at[kept] = left->at[i];
        left->sets[kept] = left->sets[i] & sets[sample[left->at[i]]];
        kept += left->sets[kept] != 0;
    }
    left->count = kept;
}

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
    const size_t size = stop - from < SAMPLE ? stop - from : SAMPLE;
    const size_t readable = end - from - size + 1; /* offsets from all positions of the sample */
    size_t offsets[OFFSETS];
    size_t count = collect_offsets(offsets, needles, failures,
                                   readable < needles->longest ? readable : needles->longest);
    mmk_fingerprints learned;
    remainder_of left;
    memset(&learned, 0, sizeof learned);
    learned.groups = needles->count > GROUP_SETS ? MMK_PRINT_GROUPS : 1;
    left.count = size;
    for (size_t i = 0; i < size; i++) {
        left.at[i] = (uint16_t)i;
        left.sets[i] = UINT16_MAX;
    }
    while (count > 0 && learned.count < MMK_PRINT_BYTES &&
           (left.count > 0 || learned.count < LEAST_OFFSETS)) {
        size_t best = 0, fewest = SIZE_MAX;
        uint16_t sets[256];
        mmk_fingerprints with = learned;
        for (size_t i = 0; i < count && fewest > 0; i++) {
            with = learned;
            add_offset(&with, needles, offsets[i]);
            tabulate(sets, &with);
            size_t bits = count_left(&left, text + from + offsets[i], sets);
            if (bits < fewest) {
                fewest = bits;
                best = i;
            }
        }
        add_offset(&learned, needles, offsets[best]);
        tabulate(sets, &learned);
        keep_left(&left, text + from + offsets[best], sets);
        offsets[best] = offsets[--count];
    }
    if (learned.count == 0 || left.count > size / PROMISING)
        return false;
    *prints = learned;
    return true;
}
