/* Scanning memory: bytes, literals, newlines.
 *
 * Nothing here reads outside of the range that it was given, keeps state of its own, or allocates,
 * but for what many literals need.
 * Positions are offsets from `text`. A literal occurs where it starts: a range [from, stop) of
 * positions may read up to `end`, which is how work is cut into steps and threads without seams.
 *
 * Each kernel exists for several instruction sets and does the same in all of them
 * (scan/generic.h); which one runs is chosen once, by what the processor offers. */
#ifndef MMK_SCAN_H
#define MMK_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMK_NOWHERE SIZE_MAX

/* --- kernels --------------------------------------------------------------------------------- */

/* A byte to be found at an offset from where a literal starts. `fold` is 0x20 where either case of
 * a letter will do (`byte` is the small one then), otherwise 0. */
typedef struct {
    size_t offset;
    unsigned char byte;
    unsigned char fold;
} mmk_probe;

#define MMK_PROBES 8

/* Sets of literals, told by the halves of their bytes at a few offsets: bit s of low[g][i][b & 15]
 * and of high[g][i][b >> 4] says that in set s of group g, the byte at offset[i] may be b. */
#define MMK_PRINT_GROUPS 2
#define MMK_PRINT_BYTES 16
typedef struct {
    unsigned groups, count; /* 1 or 2, and so many offsets, 1 to MMK_PRINT_BYTES */
    size_t reach;           /* one more than the largest offset */
    size_t offset[MMK_PRINT_BYTES];
    unsigned char low[MMK_PRINT_GROUPS][MMK_PRINT_BYTES][16];
    unsigned char high[MMK_PRINT_GROUPS][MMK_PRINT_BYTES][16];
} mmk_fingerprints;

/* One instruction set's. Candidates come in blocks: bit i of `hits` stands for position `at` + i. */
typedef struct {
    const char *name;
    /* How often a byte occurs. */
    size_t (*count)(const unsigned char *text, size_t length, unsigned char byte);
    /* The first, or last, block of positions in [from, stop) at which all probes match; false if
     * there is none. text[stop - 1 + the largest offset] must be readable. 1 to MMK_PROBES probes. */
    bool (*next)(const unsigned char *text, size_t from, size_t stop, const mmk_probe *probes,
                 unsigned probe_count, size_t *at, uint64_t *hits);
    bool (*previous)(const unsigned char *text, size_t from, size_t stop, const mmk_probe *probes,
                     unsigned probe_count, size_t *at, uint64_t *hits);
    /* The first block in [from, stop) with any of 1 to 4 bytes. */
    bool (*any)(const unsigned char *text, size_t from, size_t stop, const unsigned char *bytes,
                unsigned byte_count, size_t *at, uint64_t *hits);
    /* The first block in [from, stop) with positions at which one of the sets has all of the bytes.
     * text[stop - 1 + reach - 1] must be readable. NULL: these instructions cannot. */
    bool (*prints)(const unsigned char *text, size_t from, size_t stop,
                   const mmk_fingerprints *prints, size_t *at, uint64_t *hits);
    /* Writes `base` + position of each occurrence of a byte in [from, stop), up to `capacity` of
     * them. Returns how many; *resume is where to go on, `stop` if nothing is left. */
    size_t (*list32)(const unsigned char *text, size_t from, size_t stop, unsigned char byte,
                     uint32_t base, uint32_t *out, size_t capacity, size_t *resume);
    size_t (*list64)(const unsigned char *text, size_t from, size_t stop, unsigned char byte,
                     uint64_t base, uint64_t *out, size_t capacity, size_t *resume);
} mmk_kernels;

/* The fastest that this processor runs. */
const mmk_kernels *mmk_kernels_best(void);
/* Those that this processor runs, slowest first; NULL from their number on. */
const mmk_kernels *mmk_kernels_at(unsigned index);
/* By name; NULL if it is unknown, or this processor does not run it. */
const mmk_kernels *mmk_kernels_named(const char *name);

/* --- literals -------------------------------------------------------------------------------- */

/* What is looked for. `bytes` stay the caller's, and with `fold` hold small letters. */
typedef struct {
    const unsigned char *bytes;
    size_t size;
    bool fold; /* ASCII letters of either case match */
    /* For the linear search, to the right and to the left: where the critical factorisation cuts,
     * and the period, or the shift that is safe where the period is long. */
    struct {
        size_t cut, shift;
        bool periodic;
    } ways[2];
} mmk_needle;

/* Small letters for capital ones, in place. */
void mmk_fold(unsigned char *bytes, size_t size);
/* Studies a literal of at least 1 byte, in time linear in its size. */
void mmk_needle_study(mmk_needle *needle, const unsigned char *bytes, size_t size, bool fold);

/* A search under way: what was learned of the text so far. One per thread. */
typedef struct {
    const mmk_kernels *kernels;
    const mmk_needle *needle;
    mmk_probe probes[MMK_PROBES];
    unsigned probe_count;
    size_t credit, debt; /* bytes that were scanned, and what false candidates cost */
    bool linear;         /* candidates were no use: the linear search goes on */
} mmk_search;

/* Picks the needle's bytes that are rarest in a sample of the text, which may be empty. */
void mmk_search_begin(mmk_search *search, const mmk_kernels *kernels, const mmk_needle *needle,
                      const unsigned char *sample, size_t sample_size);
/* Occurrences that start in [from, stop) and end by `end`, from the left, overlapping or not: up to
 * `capacity` of them are counted and, if `out` is not NULL, written there with `base` added. Returns
 * how many; *resume is where to go on: at least `stop` if nothing is left. */
size_t mmk_search_list(mmk_search *search, const unsigned char *text, size_t from, size_t stop,
                       size_t end, bool overlapping, uint64_t base, uint64_t *out,
                       size_t capacity, size_t *resume);
/* The last such occurrence; MMK_NOWHERE if there is none. */
size_t mmk_search_last(mmk_search *search, const unsigned char *text, size_t from, size_t stop,
                       size_t end);

/* --- many literals --------------------------------------------------------------------------- */

/* What is looked for: literals that are numbered from 0 in the order in which they are listed. */
typedef struct mmk_needles mmk_needles;

/* In all, so that 32 bits number whatever they are made of. */
#define MMK_NEEDLES_BYTES ((size_t)1 << 28)

/* Studies at least one needle, of at least 1 byte each and up to MMK_NEEDLES_BYTES in all, whose
 * bytes are copied; with `fold`, ASCII letters of either case match. Takes as long as sorting them,
 * and some 25 bytes of memory for each of theirs, half as much again meanwhile. NULL if there is no
 * memory. */
mmk_needles *mmk_needles_study(const unsigned char *const *bytes, const size_t *sizes,
                               size_t count, bool fold);
void mmk_needles_free(mmk_needles *needles);
size_t mmk_needles_count(const mmk_needles *needles);
size_t mmk_needles_size(const mmk_needles *needles, size_t index);
size_t mmk_needles_longest(const mmk_needles *needles);
/* So many can start at one position. */
size_t mmk_needles_most(const mmk_needles *needles);

/* How candidates are found. When they turn out false too often, fingerprints learn from the text to
 * tell more; where they cannot, the automaton takes over, or windows of long needles. */
typedef enum {
    MMK_BY_BYTES,     /* up to 4 different first bytes */
    MMK_BY_PRINTS,    /* fingerprints: of the first bytes, then of those that tell most */
    MMK_BY_AUTOMATON, /* each byte once, whatever the text */
    MMK_BY_SAMPLES,   /* windows that the needles have, here and there */
} mmk_way;

#define MMK_FAILURES 8

/* A search under way. One per thread. */
typedef struct {
    const mmk_kernels *kernels;
    const mmk_needles *needles;
    mmk_way first, way;   /* the first way, and the one it has come to */
    size_t credit, debt;  /* bytes that were scanned, and what candidates cost */
    size_t retry;         /* from this position on, the first way is tried again */
    mmk_fingerprints prints;
    size_t lesson, lesson_gap; /* from this position on, they may learn; so far apart */
    struct mmk_samples *samples;
    size_t sampling, sampling_gap; /* the same, of trying windows */
    size_t failures[MMK_FAILURES], failure_count; /* offsets at which comparisons failed, lately */
    struct mmk_mark *marks; /* what the automaton has found in [marks_from, marks_stop) */
    size_t mark_count, marks_origin, marks_from, marks_stop, marks_end;
    const unsigned char *marks_text;
} mmk_many;

/* False if there is no memory. Takes 128 KiB, as much again for windows, and more only for needles
 * of more than 4 KiB: 32 times the longest one's size. */
bool mmk_many_begin(mmk_many *many, const mmk_kernels *kernels, const mmk_needles *needles);
void mmk_many_end(mmk_many *many);
/* Occurrences that start in [from, stop) and end by `end`: from the left, the first one listed of
 * several that start at one position, and none that overlaps the one before; or, `overlapping`,
 * each of every needle, by position and then as they are listed. Up to `capacity` of them, which is
 * at least mmk_needles_most() then, are counted and, if they are not NULL, written: position with
 * `base` added, and which needle. Returns how many; *resume is where to go on: at least `stop` if
 * nothing is left. A range costs at least what the longest needle does. */
size_t mmk_many_list(mmk_many *many, const unsigned char *text, size_t from, size_t stop,
                     size_t end, bool overlapping, uint64_t base, uint64_t *out_at,
                     uint64_t *out_which, size_t capacity, size_t *resume);

/* --- lines ----------------------------------------------------------------------------------- */

/* Whatever finds: the first occurrence that starts in [from, stop) and ends by `end`, and its size;
 * MMK_NOWHERE if there is none. */
typedef struct {
    size_t (*next)(void *context, const unsigned char *text, size_t from, size_t stop, size_t end,
                   size_t *size);
    void *context;
} mmk_finder;

/* A finder of one literal; `search` was begun. */
mmk_finder mmk_search_finder(mmk_search *search);
/* A finder of many; `many` was begun. */
mmk_finder mmk_many_finder(mmk_many *many);

/* An occurrence and the line in which it begins: [start, end), with a '\r' of its ending but
 * without its '\n'; `number` lines are before it. */
typedef struct {
    uint64_t offset, size;
    uint64_t start, end;
    uint64_t number;
} mmk_line;

/* How far the lines of a text were counted: `number` of them end before `counted`, where the line
 * that starts at `start` is under way. One that ends before `ended` was looked through to its end,
 * and is not again for each of its occurrences, however long it is. */
typedef struct {
    size_t counted, start;
    uint64_t number;
    size_t ended;
} mmk_line_count;

/* Occurrences that start in [from, stop) with their lines, up to `capacity` of them; only the first
 * one of each line if `once`. Newlines are counted from lines->counted, at most `from`, on, while the
 * text is in the processor's caches. Lines end by `end`. Returns how many; *resume is where to go
 * on, at least `stop` if nothing is left. */
size_t mmk_lines_list(mmk_line_count *lines, const mmk_kernels *kernels, mmk_finder finder,
                      const unsigned char *text, size_t from, size_t stop, size_t end, bool once,
                      mmk_line *out, size_t capacity, size_t *resume);

#endif
