/* Many literals, studied once: what a search for all of them at once uses. */
#ifndef MMK_SCAN_NEEDLES_H
#define MMK_SCAN_NEEDLES_H

#include <string.h>

#include "mmk/scan.h"
#include "os/compiler.h"
#include "scan/fold.h"

/* The automaton of the reversed needles (A. Aho and M. Corasick, "Efficient string matching",
 * Communications of the ACM 18 (1975)). State 0 is the start. In the state that it is in after a
 * text was read from the right down to a position, it knows the longest end of a needle that starts
 * there, and so all needles that do.
 *
 * States are numbered by their depth, and the children of one state follow each other. The first of
 * them, which a search is in most of the time, have their transitions in rows. */
typedef struct {
    uint32_t states, rows; /* states, and those that have rows */
    uint32_t most;         /* the largest `count` */
    uint32_t *child;       /* [states + 1]: where the children of each begin */
    unsigned char *label;  /* [states]: the byte that leads there */
    uint32_t *shorter;     /* the state of the longest proper beginning of what it has read */
    uint32_t *whole;       /* a needle that is all of what it has read, or MMK_NO_NEEDLE */
    uint32_t *listed;      /* of `shorter` and its like: the first one with a needle, or 0 */
    uint32_t *first;       /* the smallest needle that starts here, or MMK_NO_NEEDLE */
    uint32_t *count;       /* how many start here */
    uint32_t *row;         /* [rows][1 << row_shift]: where to go */
    unsigned row_shift;
    unsigned char class_of[256]; /* of bytes that no needle tells apart */
} mmk_automaton;

#define MMK_NO_NEEDLE UINT32_MAX

/* Where to go: to where the state's row begins; or, for one without a row, to MMK_NO_ROW and its
 * number. */
#define MMK_NO_ROW ((uint32_t)1 << 30)
#define MMK_HAS_NEEDLE ((uint32_t)1 << 31) /* one starts here */

/* A needle in the order of the lists: by its hash, then as the caller lists them. */
typedef struct {
    uint64_t start, mask; /* up to 8 bytes, and which of them it has */
    uint64_t fold;        /* 0x20 for each letter, if they are folded */
    uint32_t index;
} mmk_listed;

#define MMK_FILTER_BITS 16
/* So many first bytes are hashed. */
#define MMK_START_BYTES 4
/* With more of them, fingerprints match nearly everywhere. */
#define MMK_PRINTED_NEEDLES 64

struct mmk_needles {
    size_t count, shortest, longest;
    bool fold;
    unsigned char *bytes; /* folded */
    size_t *offset;  /* [count + 1] in `bytes` */
    uint32_t *alike; /* [count]: the next needle with the same bytes, or MMK_NO_NEEDLE */
    mmk_automaton automaton;
    void *automaton_memory;

    /* The filter looks at the first bytes, as many as all needles have, up to 4. */
    unsigned width;
    uint32_t start_mask; /* those of 4 bytes, without the letters' case if that is folded */
    mmk_listed *listed; /* [count] */
    uint32_t *list;     /* [(1 << list_bits) + 1]: where the needles of each hash begin */
    unsigned list_bits;
    uint64_t filter[(1 << MMK_FILTER_BITS) / 64]; /* hashes that there are */
    unsigned first_count;                         /* different first bytes, 5 if there are more */
    unsigned char first_bytes[4];
    mmk_fingerprints prints; /* of the first bytes */
    unsigned char rank[MMK_PRINTED_NEEDLES]; /* in the order of their bytes: neighbours share sets */
};

static inline const unsigned char *mmk__needle_bytes(const mmk_needles *needles, uint32_t index) {
    return needles->bytes + needles->offset[index];
}

static inline size_t mmk__needle_size(const mmk_needles *needles, uint32_t index) {
    return needles->offset[index + 1] - needles->offset[index];
}

/* Of the first bytes; at least 4 can be read. */
static inline uint32_t mmk__start_hash(const mmk_needles *needles, const unsigned char *at) {
    uint32_t start;
    memcpy(&start, at, sizeof start);
    return (start & needles->start_mask) * 2654435761u;
}

/* Whether a needle's beginning has this hash, or another one that begins alike. */
static inline bool mmk__has_hash(const mmk_needles *needles, uint32_t hash) {
    uint32_t bit = hash >> (32 - MMK_FILTER_BITS);
    return needles->filter[bit / 64] >> bit % 64 & 1;
}

/* --- prints.c --------------------------------------------------------------------------------- */

void mmk__prints_rank(mmk_needles *needles);
/* Of the first bytes. */
void mmk__prints_begin(mmk_fingerprints *prints, const mmk_needles *needles);
/* Of what tells the needles from the text that starts in [from, stop), which is not empty; `end` as
 * everywhere. False, and nothing is changed, if that would not be enough. */
bool mmk__prints_learn(mmk_fingerprints *prints, const mmk_needles *needles,
                       const size_t *failures, const unsigned char *text, size_t from,
                       size_t stop, size_t end);

/* --- samples.c -------------------------------------------------------------------------------- */

typedef struct mmk_samples mmk_samples;

/* Of windows of 8, 16 or 32 bytes, as many as the shortest needle has at most; NULL if there is no
 * memory, or there are too many windows. */
mmk_samples *mmk__samples_study(const mmk_needles *needles, size_t width);
/* Of those that suit a text; NULL if there is no memory, or the automaton is better on the text that starts in [from, stop),
 * where each position is one at which the shortest needle fits. */
mmk_samples *mmk__samples_learn(const mmk_needles *needles, const unsigned char *text,
                                size_t from, size_t stop);
/* The next up to 64 candidates in [from, stop), where the shortest needle fits; those from *after on
 * are others. False if there are none. */
bool mmk__samples_next(const mmk_samples *samples, const unsigned char *text, size_t from,
                       size_t stop, size_t *at, uint64_t *hits, size_t *after);
void mmk__samples_free(mmk_samples *samples);

/* --- automaton.c ------------------------------------------------------------------------------ */

/* How many states there will be. `order` is the needles' indices by their reversed bytes. */
uint32_t mmk__automaton_states(const mmk_needles *needles, const uint32_t *order);
/* Fills the arrays. `scratch` has room for three numbers a state. */
void mmk__automaton_build(mmk_needles *needles, const uint32_t *order, uint32_t *scratch);

/* A position at which needles start, and the state that tells which. */
typedef struct mmk_mark {
    uint32_t at, state;
} mmk_mark;

/* Those of positions [from, stop), the last one first; needles end by `end`. Positions are counted
 * from `from`. Returns how many; there is room for stop - from. */
size_t mmk__automaton_scan(const mmk_needles *needles, const unsigned char *text, size_t from,
                           size_t stop, size_t end, mmk_mark *marks);

#endif
