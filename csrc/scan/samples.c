/* Windows of long needles: whoever looks at a window of W bytes in every shortest - W + 1 positions
 * of a text has seen one of each needle that occurs there (R. Karp and M. Rabin, "Efficient
 * randomized pattern-matching algorithms", IBM Journal of Research and Development 31 (1987), with
 * the needles' windows in place of the text's). Windows are known by a bit for each hash. */
#include <stdlib.h>

#include "scan/bits.h"
#include "scan/needles.h"

#define HASH_BITS 20
/* With more windows, too many bits are set; and to set them takes long. */
#define MOST_WINDOWS ((size_t)1 << 16)
/* Positions that a window stands for: a block of candidates at most, and enough to be worth it. */
#define LEAST_STEP 4
/* A window costs as much as so many bytes that the automaton reads, and a candidate as these. */
#define WINDOW_BYTES 3
#define CANDIDATE_BYTES 8
/* Hundredths of what the automaton costs. */
#define WORTH_IT 50
/* Of the text, to see how many windows would be there by chance. */
#define SEEN 1024

struct mmk_samples {
    size_t width, step;
    uint64_t mask; /* of 8 bytes: without the letters' case if that is folded */
    uint64_t bits[((size_t)1 << HASH_BITS) / 64];
};

/* `width` is a multiple of 8, and constant where speed matters. */
static MMK_INLINE bool has_window(const mmk_samples *samples, const unsigned char *at,
                                  size_t width, size_t *place) {
    uint64_t hash = 0;
    for (size_t i = 0; i < width; i += 8) {
        uint64_t part;
        memcpy(&part, at + i, 8);
        hash = ((hash ^ hash >> 29) ^ (part & samples->mask)) * 0x9e3779b97f4a7c15u;
    }
    *place = (size_t)(hash >> (64 - HASH_BITS));
    return samples->bits[*place / 64] >> *place % 64 & 1;
}

mmk_samples *mmk__samples_study(const mmk_needles *needles, size_t width) {
    size_t step = needles->shortest - width + 1, place;
    step = step < MMK_BLOCK ? step : MMK_BLOCK;
    if (needles->count > MOST_WINDOWS / step)
        return NULL;
    mmk_samples *samples = calloc(1, sizeof *samples);
    if (samples == NULL)
        return NULL;
    samples->width = width;
    samples->step = step;
    samples->mask = needles->fold ? 0xdfdfdfdfdfdfdfdfu : UINT64_MAX;
    for (uint32_t n = 0; n < needles->count; n++) {
        for (size_t offset = 0; offset < step; offset++) {
            has_window(samples, mmk__needle_bytes(needles, n) + offset, width, &place);
            samples->bits[place / 64] |= (uint64_t)1 << place % 64;
        }
    }
    return samples;
}

/* What a search costs, in hundredths of what the automaton does. */
static size_t cost_of(const mmk_samples *samples, const unsigned char *text, size_t size) {
    size_t hits = 0, place;
    for (size_t at = 0; at < size; at++)
        hits += has_window(samples, text + at, samples->width, &place);
    return 100 * WINDOW_BYTES / samples->step + 100 * CANDIDATE_BYTES * hits / size;
}

mmk_samples *mmk__samples_learn(const mmk_needles *needles, const unsigned char *text,
                                size_t from, size_t stop) {
    const size_t size = stop - from < SEEN ? stop - from : SEEN;
    size_t least = WORTH_IT;
    mmk_samples *best = NULL;
    for (size_t width = 8; width <= 32 && width + LEAST_STEP - 1 <= needles->shortest; width *= 2) {
        mmk_samples *one = mmk__samples_study(needles, width);
        /* Safety: where a needle may start, as much can be read as the shortest one has. */
        size_t cost = one == NULL ? SIZE_MAX : cost_of(one, text + from, size);
        if (cost < least) {
            mmk_samples *worse = best;
            least = cost;
            best = one;
            one = worse;
        }
        mmk__samples_free(one);
    }
    return best;
}

/* `width` is a constant where this is used. */
static MMK_INLINE size_t next_window(const mmk_samples *samples, const unsigned char *text,
                                     size_t from, size_t stop, size_t width) {
    const size_t step = samples->step;
    size_t place;
    /* Safety: the last window ends where the shortest needle from `from` on would. */
    while (from < stop && !has_window(samples, text + from + step - 1, width, &place))
        from = stop - from > step ? from + step : stop;
    return from;
}

bool mmk__samples_next(const mmk_samples *samples, const unsigned char *text, size_t from,
                       size_t stop, size_t *at, uint64_t *hits, size_t *after) {
    *at = samples->width == 8    ? next_window(samples, text, from, stop, 8)
          : samples->width == 16 ? next_window(samples, text, from, stop, 16)
                                 : next_window(samples, text, from, stop, 32);
    if (*at >= stop)
        return false;
    *after = stop - *at > samples->step ? *at + samples->step : stop;
    *hits = mmk__bits_below((unsigned)(*after - *at));
    return true;
}

void mmk__samples_free(mmk_samples *samples) {
    free(samples);
}
