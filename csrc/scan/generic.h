/* The kernels, written once. An instruction set includes this after defining
 *
 *     NAME            its name, as an identifier
 *     TARGET          the attribute that lets a function use it, or nothing
 *     VECTOR          bytes that are loaded together; LOAD(pointer), SPLAT(byte), OR(v, w)
 *     MATCH           which of them are equal; EQUAL(v, w), BOTH(m, n), EITHER(m, n), SOME(m)
 *     VECTORS         how many make up a block of 64 bytes
 *     BITS(matches)   the set of a block's matches, from VECTORS of them
 *     SUM             counts matches: SUM_NONE, SUM_ADD(sum, match), SUM_TOTAL(sum), valid for
 *     SUM_MOST        that many matches
 *     TABLE(pointer)  16 bytes, repeated to make a VECTOR; SHUFFLE(table, v) looks up the low half
 *                     of each byte of v; HIGH(v) brings the high halves down; AND(v, w). Only where
 *                     there are such instructions
 *
 * In outline, each kernel is
 *
 *     for each block of 64 positions: compare, and leave if something matches
 *     the rest: the last 64 positions once more, without those that were seen;
 *               fewer than 64 in all are copied to where 64 can be loaded
 *
 * so that nothing before or after the range is read. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mmk/scan.h"
#include "os/compiler.h"
#include "scan/bits.h"

#define VECTOR_BYTES (MMK_BLOCK / VECTORS)
/* Processors guess what will be read next, but mostly not beyond the page. Fetching from the next one
 * made all kernels a fifth faster and more where the text comes from memory. Fetches beyond the text
 * do nothing. */
#define AHEAD_BYTES 4096
#define JOINED(a, b) a##b
#define JOIN(a, b) JOINED(a, b)
#define KERNEL(name) JOIN(JOIN(name, _), NAME)
#define QUOTED(text) #text
#define QUOTE(text) QUOTED(text)

/* --- one block ------------------------------------------------------------------------------- */

/* The positions of a block at which a probe matches. */
TARGET static MMK_INLINE uint64_t probe_bits(const unsigned char *block, mmk_probe probe) {
    MATCH matches[VECTORS];
    VECTOR byte = SPLAT(probe.byte), fold = SPLAT(probe.fold);
    for (unsigned v = 0; v < VECTORS; v++)
        matches[v] = EQUAL(OR(LOAD(block + v * VECTOR_BYTES), fold), byte);
    return BITS(matches);
}

TARGET static MMK_INLINE uint64_t byte_bits(const unsigned char *block, unsigned char byte) {
    return probe_bits(block, (mmk_probe){0, byte, 0});
}

/* Positions at which all probes match: of a whole block, and of fewer than 64. */
TARGET static uint64_t whole_block(const unsigned char *block, const mmk_probe *probes,
                                   unsigned probe_count) {
    uint64_t bits = UINT64_MAX;
    for (unsigned p = 0; p < probe_count && bits != 0; p++)
        bits &= probe_bits(block + probes[p].offset, probes[p]);
    return bits;
}

TARGET static uint64_t part_block(const unsigned char *block, unsigned length,
                                  const mmk_probe *probes, unsigned probe_count) {
    unsigned char copy[MMK_BLOCK] = {0};
    uint64_t bits = mmk__bits_below(length);
    for (unsigned p = 0; p < probe_count && bits != 0; p++) {
        memcpy(copy, block + probes[p].offset, length);
        bits &= probe_bits(copy, probes[p]);
    }
    return bits;
}

/* --- all probes match ------------------------------------------------------------------------- */

/* The probes of a search; the first of them stay in registers, and those beyond are looked at where
 * these match. */
typedef struct {
    VECTOR byte[MMK_PROBES], fold[MMK_PROBES];
    size_t offset[MMK_PROBES];
} LOADED;

TARGET static MMK_INLINE void load_probes(LOADED *loaded, const mmk_probe *probes, unsigned count,
                                          bool folds) {
    for (unsigned p = 0; p < count; p++) {
        loaded->byte[p] = SPLAT(probes[p].byte);
        if (folds)
            loaded->fold[p] = SPLAT(probes[p].fold);
        loaded->offset[p] = probes[p].offset;
    }
}

/* `count` and `folds` are constants where this is used. */
TARGET static MMK_INLINE uint64_t loaded_bits(const unsigned char *block, const LOADED *probes,
                                              unsigned count, bool folds) {
    MATCH matches[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) {
        for (unsigned p = 0; p < count; p++) {
            VECTOR bytes = LOAD(block + probes->offset[p] + v * VECTOR_BYTES);
            if (folds)
                bytes = OR(bytes, probes->fold[p]);
            MATCH match = EQUAL(bytes, probes->byte[p]);
            matches[v] = p == 0 ? match : BOTH(matches[v], match);
        }
    }
    MATCH some = matches[0];
    for (unsigned v = 1; v < VECTORS; v++)
        some = EITHER(some, matches[v]);
    return SOME(some) ? BITS(matches) : 0;
}

/* The positions of `bits` at which the probes from `first` on match, too. All of them are looked at:
 * where the last ones are needed, which is the first to fail is anybody's guess. */
TARGET static MMK_INLINE uint64_t more_bits(const unsigned char *block, const LOADED *probes,
                                            unsigned first, unsigned count, bool folds,
                                            uint64_t bits) {
    MATCH matches[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) {
        for (unsigned p = first; p < count; p++) {
            VECTOR bytes = LOAD(block + probes->offset[p] + v * VECTOR_BYTES);
            if (folds)
                bytes = OR(bytes, probes->fold[p]);
            MATCH match = EQUAL(bytes, probes->byte[p]);
            matches[v] = p == first ? match : BOTH(matches[v], match);
        }
    }
    return bits & BITS(matches);
}

/* The body of next() and previous(): whole blocks, from one end of the range or from the other. */
TARGET static MMK_INLINE bool find_block(const unsigned char *text, size_t from, size_t stop,
                                         const mmk_probe *probes, unsigned probe_count,
                                         unsigned first, bool folds, bool backwards, size_t *at,
                                         uint64_t *hits) {
    LOADED loaded;
    load_probes(&loaded, probes, probe_count, folds);
    size_t base = backwards ? stop : from;
    while ((backwards ? base - from : stop - base) >= MMK_BLOCK) {
        size_t block = backwards ? base - MMK_BLOCK : base;
        MMK_FETCH(backwards ? text + block - AHEAD_BYTES : text + block + AHEAD_BYTES);
        /* Safety: the range is readable up to stop - 1 + the largest offset. */
        uint64_t bits = loaded_bits(text + block, &loaded, first, folds);
        if (bits != 0 && probe_count > first)
            bits = more_bits(text + block, &loaded, first, probe_count, folds, bits);
        if (bits != 0) {
            *at = block;
            *hits = bits;
            return true;
        }
        base = backwards ? block : block + MMK_BLOCK;
    }
    *at = base;
    return false;
}

/* Calls it with constants for the number of probes in registers and for folding. */
#define FIND_BLOCK(count, first, folds, backwards)                                                \
    find_block(text, from, stop, probes, count, first, folds, backwards, at, hits)
#define SPECIALISED(backwards)                                                                    \
    (folds ? probe_count == 1   ? FIND_BLOCK(1, 1, true, backwards)                               \
             : probe_count == 2 ? FIND_BLOCK(2, 2, true, backwards)                               \
                                : FIND_BLOCK(probe_count, 3, true, backwards)                     \
     : probe_count == 1 ? FIND_BLOCK(1, 1, false, backwards)                                      \
     : probe_count == 2 ? FIND_BLOCK(2, 2, false, backwards)                                      \
                        : FIND_BLOCK(probe_count, 3, false, backwards))

static bool any_folds(const mmk_probe *probes, unsigned probe_count) {
    unsigned char folds = 0;
    for (unsigned p = 0; p < probe_count; p++)
        folds |= probes[p].fold;
    return folds != 0;
}

TARGET static bool KERNEL(next)(const unsigned char *text, size_t from, size_t stop,
                                const mmk_probe *probes, unsigned probe_count, size_t *at,
                                uint64_t *hits) {
    bool folds = any_folds(probes, probe_count);
    if (stop <= from)
        return false;
    if (SPECIALISED(false))
        return true;
    if (*at == stop)
        return false;
    if (stop - from >= MMK_BLOCK)
        *hits = whole_block(text + stop - MMK_BLOCK, probes, probe_count) >>
                (*at - (stop - MMK_BLOCK));
    else
        *hits = part_block(text + from, (unsigned)(stop - from), probes, probe_count);
    return *hits != 0;
}

TARGET static bool KERNEL(previous)(const unsigned char *text, size_t from, size_t stop,
                                    const mmk_probe *probes, unsigned probe_count, size_t *at,
                                    uint64_t *hits) {
    bool folds = any_folds(probes, probe_count);
    if (stop <= from)
        return false;
    if (SPECIALISED(true))
        return true;
    if (*at == from)
        return false;
    unsigned left = (unsigned)(*at - from);
    *at = from;
    if (stop - from >= MMK_BLOCK)
        *hits = whole_block(text + from, probes, probe_count) & mmk__bits_below(left);
    else
        *hits = part_block(text + from, left, probes, probe_count);
    return *hits != 0;
}

/* --- any of a few bytes ----------------------------------------------------------------------- */

TARGET static MMK_INLINE uint64_t any_bits(const unsigned char *block, const VECTOR *bytes,
                                           unsigned count) {
    MATCH matches[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) {
        VECTOR loaded = LOAD(block + v * VECTOR_BYTES);
        matches[v] = EQUAL(loaded, bytes[0]);
        for (unsigned b = 1; b < count; b++)
            matches[v] = EITHER(matches[v], EQUAL(loaded, bytes[b]));
    }
    MATCH some = matches[0];
    for (unsigned v = 1; v < VECTORS; v++)
        some = EITHER(some, matches[v]);
    return SOME(some) ? BITS(matches) : 0;
}

TARGET static MMK_INLINE bool any_block(const unsigned char *text, size_t from, size_t stop,
                                        const VECTOR *bytes, unsigned count, size_t *at,
                                        uint64_t *hits) {
    size_t base = from;
    for (; stop - base >= MMK_BLOCK; base += MMK_BLOCK) {
        MMK_FETCH(text + base + AHEAD_BYTES);
        uint64_t bits = any_bits(text + base, bytes, count);
        if (bits != 0) {
            *at = base;
            *hits = bits;
            return true;
        }
    }
    *at = base;
    if (base == stop)
        return false;
    if (stop - from >= MMK_BLOCK) {
        *hits = any_bits(text + stop - MMK_BLOCK, bytes, count) >> (base - (stop - MMK_BLOCK));
    } else {
        unsigned char copy[MMK_BLOCK] = {0};
        memcpy(copy, text + from, stop - from);
        *hits = any_bits(copy, bytes, count) & mmk__bits_below((unsigned)(stop - from));
    }
    return *hits != 0;
}

TARGET static bool KERNEL(any)(const unsigned char *text, size_t from, size_t stop,
                               const unsigned char *bytes, unsigned byte_count, size_t *at,
                               uint64_t *hits) {
    VECTOR loaded[4];
    if (stop <= from)
        return false;
    for (unsigned b = 0; b < 4; b++) /* repeated, the last one does no harm */
        loaded[b] = SPLAT(bytes[b < byte_count ? b : byte_count - 1]);
    return byte_count == 1   ? any_block(text, from, stop, loaded, 1, at, hits)
           : byte_count == 2 ? any_block(text, from, stop, loaded, 2, at, hits)
                             : any_block(text, from, stop, loaded, 4, at, hits);
}

/* --- fingerprints ----------------------------------------------------------------------------- */

#ifdef SHUFFLE

/* The sets that each position of a block may be in, by what was looked at until now. */
typedef struct {
    VECTOR of[MMK_PRINT_GROUPS][VECTORS];
} SETS;

/* The first offsets' tables, which stay in registers. */
#define FIRST_PRINTS 4
typedef struct {
    VECTOR low[MMK_PRINT_GROUPS][FIRST_PRINTS], high[MMK_PRINT_GROUPS][FIRST_PRINTS];
} TABLES;

TARGET static MMK_INLINE void every_set(SETS *sets, unsigned groups) {
    for (unsigned g = 0; g < groups; g++)
        for (unsigned v = 0; v < VECTORS; v++)
            sets->of[g][v] = SPLAT(0xff);
}

/* Looks at the bytes at one offset, which begin at `bytes`. */
TARGET static MMK_INLINE void keep_sets(SETS *sets, unsigned group, const unsigned char *bytes,
                                        VECTOR low, VECTOR high) {
    for (unsigned v = 0; v < VECTORS; v++) {
        VECTOR loaded = LOAD(bytes + v * VECTOR_BYTES);
        sets->of[group][v] = AND(sets->of[group][v],
                                 AND(SHUFFLE(low, loaded), SHUFFLE(high, HIGH(loaded))));
    }
}

TARGET static MMK_INLINE uint64_t sets_bits(const SETS *sets, unsigned groups) {
    MATCH misses[VECTORS];
    for (unsigned v = 0; v < VECTORS; v++) {
        VECTOR all = sets->of[0][v];
        for (unsigned g = 1; g < groups; g++)
            all = OR(all, sets->of[g][v]);
        misses[v] = EQUAL(all, SPLAT(0));
    }
    return ~BITS(misses);
}

/* Looks at the offsets from `first` on. */
TARGET static uint64_t more_print_bits(const unsigned char *block, const mmk_fingerprints *prints,
                                       unsigned first, SETS *sets) {
    for (unsigned i = first; i < prints->count; i++)
        for (unsigned g = 0; g < prints->groups; g++)
            keep_sets(sets, g, block + prints->offset[i], TABLE(prints->low[g][i]),
                      TABLE(prints->high[g][i]));
    return sets_bits(sets, prints->groups);
}

/* Of fewer than 64 positions. */
TARGET static uint64_t part_print_bits(const unsigned char *block, unsigned length,
                                       const mmk_fingerprints *prints) {
    unsigned char copy[MMK_BLOCK] = {0};
    SETS sets;
    every_set(&sets, MMK_PRINT_GROUPS);
    for (unsigned i = 0; i < prints->count; i++) {
        memcpy(copy, block + prints->offset[i], length);
        for (unsigned g = 0; g < prints->groups; g++)
            keep_sets(&sets, g, copy, TABLE(prints->low[g][i]), TABLE(prints->high[g][i]));
    }
    return sets_bits(&sets, prints->groups) & mmk__bits_below(length);
}

/* `groups` and `first` are constants where this is used: so many offsets are looked at in all
 * blocks, and the others where these leave something. */
TARGET static MMK_INLINE bool print_block(const unsigned char *text, size_t from, size_t stop,
                                          const mmk_fingerprints *prints, unsigned groups,
                                          unsigned first, size_t *at, uint64_t *hits) {
    TABLES tables;
    SETS sets;
    size_t base = from, offset[FIRST_PRINTS];
    for (unsigned i = 0; i < first; i++) {
        offset[i] = prints->offset[i];
        for (unsigned g = 0; g < groups; g++) {
            tables.low[g][i] = TABLE(prints->low[g][i]);
            tables.high[g][i] = TABLE(prints->high[g][i]);
        }
    }
    for (; stop - base >= MMK_BLOCK; base += MMK_BLOCK) {
        MMK_FETCH(text + base + AHEAD_BYTES);
        every_set(&sets, groups);
        /* Safety: the range is readable up to stop - 1 + reach - 1. */
        for (unsigned i = 0; i < first; i++)
            for (unsigned g = 0; g < groups; g++)
                keep_sets(&sets, g, text + base + offset[i], tables.low[g][i], tables.high[g][i]);
        uint64_t bits = sets_bits(&sets, groups);
        if (bits != 0 && prints->count > first)
            bits = more_print_bits(text + base, prints, first, &sets);
        if (bits != 0) {
            *at = base;
            *hits = bits;
            return true;
        }
    }
    *at = base;
    if (base == stop)
        return false;
    if (stop - from >= MMK_BLOCK) {
        every_set(&sets, groups);
        *hits = more_print_bits(text + stop - MMK_BLOCK, prints, 0, &sets) >>
                (base - (stop - MMK_BLOCK));
    } else {
        *hits = part_print_bits(text + from, (unsigned)(stop - from), prints);
    }
    return *hits != 0;
}

#define PRINT_BLOCK(groups, first) print_block(text, from, stop, prints, groups, first, at, hits)

TARGET static bool KERNEL(prints)(const unsigned char *text, size_t from, size_t stop,
                                  const mmk_fingerprints *prints, size_t *at, uint64_t *hits) {
    if (stop <= from)
        return false;
    if (prints->groups > 1)
        return prints->count == 1   ? PRINT_BLOCK(2, 1)
               : prints->count == 2 ? PRINT_BLOCK(2, 2)
               : prints->count == 3 ? PRINT_BLOCK(2, 3)
                                    : PRINT_BLOCK(2, FIRST_PRINTS);
    return prints->count == 1   ? PRINT_BLOCK(1, 1)
           : prints->count == 2 ? PRINT_BLOCK(1, 2)
           : prints->count == 3 ? PRINT_BLOCK(1, 3)
                                : PRINT_BLOCK(1, FIRST_PRINTS);
}

#endif

/* --- counting --------------------------------------------------------------------------------- */

/* Four sums, so that no addition waits for the one before. */
#define SUMS 4

TARGET static size_t KERNEL(count)(const unsigned char *text, size_t length, unsigned char byte) {
    const size_t step = SUMS * VECTOR_BYTES;
    VECTOR wanted = SPLAT(byte);
    size_t total = 0, at = 0;
    while (length - at >= step) {
        SUM sums[SUMS];
        for (unsigned s = 0; s < SUMS; s++)
            sums[s] = SUM_NONE;
        size_t steps = (length - at) / step;
        steps = steps < SUM_MOST ? steps : SUM_MOST;
        for (size_t i = 0; i < steps; i++, at += step) {
            for (size_t line = 0; line < step; line += MMK_BLOCK)
                MMK_FETCH(text + at + AHEAD_BYTES + line);
            for (unsigned s = 0; s < SUMS; s++)
                sums[s] = SUM_ADD(sums[s], EQUAL(LOAD(text + at + s * VECTOR_BYTES), wanted));
        }
        for (unsigned s = 0; s < SUMS; s++)
            total += SUM_TOTAL(sums[s]);
    }
    for (; length - at >= MMK_BLOCK; at += MMK_BLOCK)
        total += mmk__bits_count(byte_bits(text + at, byte));
    if (length > at) {
        mmk_probe probe = {0, byte, 0};
        total += mmk__bits_count(part_block(text + at, (unsigned)(length - at), &probe, 1));
    }
    return total;
}

/* --- listing ---------------------------------------------------------------------------------- */

/* Whether a byte is in a stretch of 4 blocks. */
TARGET static MMK_INLINE bool has_byte(const unsigned char *stretch, unsigned char byte) {
    VECTOR wanted = SPLAT(byte);
    MATCH some = EQUAL(LOAD(stretch), wanted);
    for (unsigned v = 1; v < 4 * VECTORS; v++)
        some = EITHER(some, EQUAL(LOAD(stretch + v * VECTOR_BYTES), wanted));
    return SOME(some);
}

/* Writes the positions in a block and, where there are fewer than `most`, anything behind them;
 * returns how many there are. `most` is a constant where this is used. */
#define WRITING(function, number)                                                                 \
    TARGET static MMK_INLINE size_t function(uint64_t bits, unsigned most, number base,           \
                                             number *out) {                                       \
        size_t count = mmk__bits_count(bits);                                                     \
        for (unsigned i = 0; i < most; i++, bits &= bits - 1)                                     \
            out[i] = (number)(base + mmk__bits_first(bits | (uint64_t)1 << 63));                  \
        return count;                                                                             \
    }

/* Which blocks have none, one or two is more than a processor can guess: room for some is filled in
 * each of them, however many there are. And all that work keeps it from seeing what is to be read
 * next, so that it is told; by itself it does not look beyond a page. */
#define LISTING(function, writing, number)                                                        \
    TARGET static size_t function(const unsigned char *text, size_t from, size_t stop,            \
                                  unsigned char byte, number base, number *out, size_t capacity,  \
                                  size_t *resume) {                                               \
        mmk_probe probe = {0, byte, 0};                                                           \
        size_t done = 0, at = from;                                                               \
        for (; stop - at >= 4 * MMK_BLOCK && capacity - done >= 4 * MMK_BLOCK;                    \
             at += 4 * MMK_BLOCK) {                                                               \
            for (unsigned b = 0; b < 4; b++)                                                      \
                MMK_FETCH(text + at + AHEAD_BYTES + b * MMK_BLOCK);                               \
            if (!has_byte(text + at, byte))                                                       \
                continue;                                                                         \
            uint64_t bits[4], third = 0, seventh = 0;                                             \
            for (unsigned b = 0; b < 4; b++) {                                                    \
                bits[b] = byte_bits(text + at + b * MMK_BLOCK, byte);                             \
                third |= mmk__bits_after(bits[b], 2);                                             \
            }                                                                                     \
            number first = (number)(base + at);                                                   \
            if (third == 0) {                                                                     \
                for (unsigned b = 0; b < 4; b++, first += MMK_BLOCK)                              \
                    done += writing(bits[b], 2, first, out + done);                               \
                continue;                                                                         \
            }                                                                                     \
            for (unsigned b = 0; b < 4; b++)                                                      \
                seventh |= mmk__bits_after(bits[b], 6);                                           \
            if (seventh == 0) {                                                                   \
                for (unsigned b = 0; b < 4; b++, first += MMK_BLOCK)                              \
                    done += writing(bits[b], 6, first, out + done);                               \
                continue;                                                                         \
            }                                                                                     \
            for (unsigned b = 0; b < 4; b++, first += MMK_BLOCK)                                  \
                for (; bits[b] != 0; bits[b] &= bits[b] - 1)                                      \
                    out[done++] = (number)(first + mmk__bits_first(bits[b]));                     \
        }                                                                                         \
        while (at < stop) {                                                                       \
            unsigned length = stop - at < MMK_BLOCK ? (unsigned)(stop - at) : MMK_BLOCK;          \
            uint64_t bits = length == MMK_BLOCK ? byte_bits(text + at, byte)                      \
                                                : part_block(text + at, length, &probe, 1);       \
            for (; bits != 0 && done < capacity; bits &= bits - 1)                                \
                out[done++] = (number)(base + at + mmk__bits_first(bits));                        \
            if (bits != 0) {                                                                      \
                at += mmk__bits_first(bits);                                                      \
                break;                                                                            \
            }                                                                                     \
            at += length;                                                                         \
        }                                                                                         \
        *resume = at;                                                                             \
        return done;                                                                              \
    }

WRITING(JOIN(KERNEL(list32), _block), uint32_t)
WRITING(JOIN(KERNEL(list64), _block), uint64_t)
LISTING(KERNEL(list32), JOIN(KERNEL(list32), _block), uint32_t)
LISTING(KERNEL(list64), JOIN(KERNEL(list64), _block), uint64_t)

const mmk_kernels JOIN(mmk__kernels_, NAME) = {
    .name = QUOTE(NAME),
    .count = KERNEL(count),
    .next = KERNEL(next),
    .previous = KERNEL(previous),
    .any = KERNEL(any),
#ifdef SHUFFLE
    .prints = KERNEL(prints),
#endif
    .list32 = KERNEL(list32),
    .list64 = KERNEL(list64),
};
