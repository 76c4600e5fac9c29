/* One literal. In outline:
 *
 *     for each block of positions at which all probes match:
 *         for each candidate: compare the whole needle
 *
 * 1. The first two probes are the needle's bytes that are rarest in a sample of the text.
 * 2. A false candidate costs more than a block without any. When they have cost more than the
 *    scanning, the byte that gave the last one away becomes a probe, too: what looks like the needle
 *    in one place mostly does so in others, and differs there.
 * 3. When there is no room for another probe, the linear search takes over. So false candidates cost
 *    at most MMK_PROBES times the needle's size and a constant, beyond what scanning costs. */
#include <string.h>

#include "mmk/scan.h"
#include "scan/bits.h"
#include "scan/compare.h"
#include "scan/fold.h"
#include "scan/linear.h"

/* What a false candidate costs beside the comparison, in bytes that could have been scanned: as much
 * where another probe would avoid it, less where only the linear search is left, for that is slow. */
#define CANDIDATE_BYTES 256
#define LAST_CANDIDATE_BYTES 16
/* So much debt teaches nothing yet. */
#define PATIENCE_BYTES 4096
/* Probes are taken from so many bytes of a needle. */
#define STUDIED_BYTES 1024

void mmk_fold(unsigned char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = mmk__fold(bytes[i]);
}

void mmk_needle_study(mmk_needle *needle, const unsigned char *bytes, size_t size, bool fold) {
    needle->bytes = bytes;
    needle->size = size;
    needle->fold = fold;
    mmk__linear_study(needle);
}

/* --- probes ---------------------------------------------------------------------------------- */

static void add_probe(mmk_search *search, size_t offset) {
    const mmk_needle *needle = search->needle;
    unsigned char byte = needle->bytes[offset];
    /* In front: the first probes are looked at in all blocks, and this one would have helped. */
    memmove(search->probes + 1, search->probes, search->probe_count * sizeof search->probes[0]);
    search->probes[0].offset = offset;
    search->probes[0].byte = byte;
    search->probes[0].fold = needle->fold && mmk__is_small(byte) ? 0x20 : 0;
    search->probe_count++;
}

void mmk_search_begin(mmk_search *search, const mmk_kernels *kernels, const mmk_needle *needle,
                      const unsigned char *sample, size_t sample_size) {
    uint32_t seen[256] = {0};
    size_t studied = needle->size < STUDIED_BYTES ? needle->size : STUDIED_BYTES;
    size_t rarest = 0, second = studied - 1;
    memset(search, 0, sizeof *search);
    search->kernels = kernels;
    search->needle = needle;
    for (size_t i = 0; i < sample_size; i++)
        seen[needle->fold ? mmk__fold(sample[i]) : sample[i]]++;
    for (size_t i = 1; i < studied; i++)
        if (seen[needle->bytes[i]] < seen[needle->bytes[rarest]])
            rarest = i;
    if (rarest == second)
        second = 0;
    for (size_t i = 0; i < studied; i++)
        if (needle->bytes[i] != needle->bytes[rarest] &&
            (seen[needle->bytes[i]] < seen[needle->bytes[second]] ||
             needle->bytes[second] == needle->bytes[rarest]))
            second = i;
    if (second != rarest)
        add_probe(search, second);
    add_probe(search, rarest);
}

/* --- candidates ------------------------------------------------------------------------------ */

typedef enum { IS_THERE, IS_NOT, HAS_TAUGHT } verdict;

/* Compares a candidate, and learns from it: then others of its block may be none any more. */
static inline verdict look_at(mmk_search *search, const unsigned char *at) {
    const mmk_needle *needle = search->needle;
    size_t size = needle->size, same = mmk__same_size(at, needle->bytes, size, needle->fold);
    if (same == size)
        return IS_THERE;
    search->debt += search->probe_count < MMK_PROBES ? CANDIDATE_BYTES : LAST_CANDIDATE_BYTES;
    search->debt += same;
    if (search->debt <= search->credit + PATIENCE_BYTES)
        return IS_NOT;
    search->debt = search->credit = 0;
    if (search->probe_count < MMK_PROBES)
        add_probe(search, same);
    else
        search->linear = true;
    return HAS_TAUGHT;
}

/* The first occurrence from `from` on. */
static size_t next(mmk_search *search, const unsigned char *text, size_t from, size_t stop) {
    size_t at;
    uint64_t hits;
    while (!search->linear) {
        if (!search->kernels->next(text, from, stop, search->probes, search->probe_count, &at,
                                   &hits))
            return MMK_NOWHERE;
        search->credit += at - from;
        from = stop - at > MMK_BLOCK ? at + MMK_BLOCK : stop;
        for (; hits != 0; hits &= hits - 1) {
            size_t candidate = at + mmk__bits_first(hits);
            verdict found = look_at(search, text + candidate);
            if (found == IS_THERE)
                return candidate;
            if (found == HAS_TAUGHT) {
                from = candidate + 1;
                break;
            }
        }
        search->credit += from - at;
    }
    return mmk__linear_next(search->needle, text, from, stop);
}

/* Positions up to this one are possible, in [from, stop]. */
static size_t last_stop(const mmk_needle *needle, size_t from, size_t stop, size_t end) {
    if (end < needle->size || end - needle->size < from)
        return from;
    return stop < end - needle->size + 1 ? stop : end - needle->size + 1;
}

/* How many more occurrences follow the one at `at`, a period apart each, up to `most` of them that
 * start before `stop`. All but the last bytes of such a one are those of the one before. */
static size_t following(const mmk_needle *needle, const unsigned char *text, size_t at, size_t stop,
                        size_t most) {
    size_t period = needle->ways[MMK_RIGHTWARDS].shift, kept = needle->size - period, count = 0;
    /* Safety: what starts before `stop` is readable to its end. */
    while (count < most && stop - at > period &&
           mmk__same_size(text + at + needle->size, needle->bytes + kept, period, needle->fold) ==
               period) {
        at += period;
        count++;
    }
    return count;
}

size_t mmk_search_list(mmk_search *search, const unsigned char *text, size_t from, size_t stop,
                       size_t end, bool overlapping, uint64_t base, uint64_t *out,
                       size_t capacity, size_t *resume) {
    const mmk_needle *needle = search->needle;
    /* Where occurrences may overlap by more than half, the next ones are not compared in whole. */
    bool chained = overlapping && needle->ways[MMK_RIGHTWARDS].periodic;
    size_t step = overlapping ? 1 : needle->size, done = 0;
    size_t possible = last_stop(needle, from, stop, end);
    while (done < capacity && from < possible) {
        size_t at = next(search, text, from, possible);
        if (at == MMK_NOWHERE) {
            from = stop;
            break;
        }
        size_t period = needle->ways[MMK_RIGHTWARDS].shift;
        size_t more = chained ? following(needle, text, at, possible, capacity - done - 1) : 0;
        for (size_t i = 0; i <= more; i++, done++)
            if (out != NULL)
                out[done] = base + at + i * period;
        from = at + more * period + step;
    }
    *resume = from < possible ? from : from > stop ? from : stop;
    return done;
}

size_t mmk_search_last(mmk_search *search, const unsigned char *text, size_t from, size_t stop,
                       size_t end) {
    size_t at;
    uint64_t hits;
    stop = last_stop(search->needle, from, stop, end);
    while (!search->linear && from < stop) {
        if (!search->kernels->previous(text, from, stop, search->probes, search->probe_count, &at,
                                       &hits))
            return MMK_NOWHERE;
        search->credit += stop - at;
        stop = at;
        for (unsigned bit; hits != 0; hits ^= (uint64_t)1 << bit) {
            bit = mmk__bits_last(hits);
            verdict found = look_at(search, text + at + bit);
            if (found == IS_THERE)
                return at + bit;
            if (found == HAS_TAUGHT) {
                stop = at + bit;
                break;
            }
        }
    }
    return from < stop ? mmk__linear_previous(search->needle, text, from, stop) : MMK_NOWHERE;
}
