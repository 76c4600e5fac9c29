/* Many literals at once. In outline:
 *
 *     for each candidate of the filter:
 *         for each needle with the hash of the candidate's first bytes: compare
 *
 * 1. The filter looks at the first bytes of the needles: whether the first one is one of up to 4,
 *    or whether the halves of all of them are in one of a few sets (X. Wang et al., "Hyperscan",
 *    NSDI 2019, where this is called Teddy).
 * 2. When candidates have cost more than the automaton would, the filter learns which bytes of the
 *    needles tell them from such a text (prints.c). Where none would leave out enough, or it has
 *    just learned, the automaton takes over for a while; and at once, where there is no filter.
 *    It makes way where a few windows of the text are enough to tell (samples.c).
 * 3. The automaton works through a chunk from its right to its left. What it finds there is kept,
 *    so that a caller who asks for one occurrence at a time has each chunk read once. */
#include <stdlib.h>

#include "scan/bits.h"
#include "scan/compare.h"
#include "scan/needles.h"

/* What a candidate costs beside the comparisons, in bytes that the automaton could have read. */
#define CANDIDATE_BYTES 8
/* Candidates of fingerprints should cost no more than this share of what the automaton would. */
#define LESSON_SHARE 8
/* They do not learn again before so much was read; then twice as much, until it is so much. */
#define LESSON_BYTES ((size_t)1 << 20)
#define MOST_LESSON_BYTES ((size_t)1 << 26)
/* To look at more offsets takes longer than windows do, if these suit the text. */
#define CHEAP_PRINTS 8
/* So much debt is a coincidence yet. */
#define PATIENCE_BYTES 4096
/* Credit lasts so long. */
#define CREDIT_BYTES ((size_t)1 << 16)
/* The automaton reads so much before the filter is tried again: what trying costs is lost in it. */
#define STRETCH_BYTES ((size_t)1 << 18)
#define CHUNK_BYTES ((size_t)1 << 14)
/* Of less text it does not pay to study windows. */
#define SAMPLED_BYTES ((size_t)1 << 16)

/* --- beginning and end ------------------------------------------------------------------------ */

static size_t chunk_bytes(const mmk_needles *needles) {
    /* What is read twice, where chunks adjoin, is a small share. */
    return needles->longest > CHUNK_BYTES / 4 ? 4 * needles->longest : CHUNK_BYTES;
}

bool mmk_many_begin(mmk_many *many, const mmk_kernels *kernels, const mmk_needles *needles) {
    memset(many, 0, sizeof *many);
    many->kernels = kernels;
    many->needles = needles;
    bool can_print = kernels->prints != NULL && needles->count <= MMK_PRINTED_NEEDLES;
    if (needles->first_count <= 4 && (needles->longest == 1 || !can_print))
        many->first = MMK_BY_BYTES;
    else if (can_print)
        many->first = MMK_BY_PRINTS;
    else
        many->first = MMK_BY_AUTOMATON;
    many->way = many->first;
    many->retry = many->first == MMK_BY_AUTOMATON ? SIZE_MAX : 0;
    many->prints = needles->prints;
    many->lesson_gap = many->sampling_gap = LESSON_BYTES;
    many->marks = malloc(chunk_bytes(needles) * sizeof *many->marks);
    return many->marks != NULL;
}

void mmk_many_end(mmk_many *many) {
    mmk__samples_free(many->samples);
    many->samples = NULL;
    free(many->marks);
    many->marks = NULL;
}

/* --- what is found ---------------------------------------------------------------------------- */

typedef struct {
    bool overlapping;
    uint64_t base;
    uint64_t *at, *which;
    size_t done, capacity;
} output;

static MMK_INLINE void put(output *out, size_t at, uint32_t which) {
    if (out->at != NULL)
        out->at[out->done] = out->base + at;
    if (out->which != NULL)
        out->which[out->done] = which;
    out->done++;
}

/* --- candidates ------------------------------------------------------------------------------- */

/* The next block of candidates: positions from *at on, before *after. */
static bool next_candidates(const mmk_many *many, const unsigned char *text, size_t from,
                            size_t stop, size_t end, size_t *at, size_t *after, uint64_t *hits) {
    const mmk_needles *needles = many->needles;
    const mmk_fingerprints *prints = &many->prints;
    bool found;
    *after = stop;
    if (many->way == MMK_BY_BYTES) {
        found = many->kernels->any(text, from, stop, needles->first_bytes, needles->first_count,
                                   at, hits);
    } else if (many->way == MMK_BY_SAMPLES) {
        return mmk__samples_next(many->samples, text, from, stop, at, hits, after);
    } else {
        /* Where the text ends, only the first bytes of all needles are sure to be readable. */
        size_t whole = end - from >= prints->reach ? end - prints->reach + 1 : from;
        *after = whole < stop ? whole : stop;
        found = many->kernels->prints(text, from, *after, prints, at, hits);
        if (!found && *after < stop) {
            from = *after;
            *after = stop;
            found = many->kernels->prints(text, from, stop, &needles->prints, at, hits);
        }
    }
    if (found && *after - *at > MMK_BLOCK)
        *after = *at + MMK_BLOCK;
    return found;
}

/* Puts what starts at a candidate: the first one, or all, of its list. Returns the size of the last
 * one that was put, or 0. What has no room is counted, but not written. */
static inline size_t look_at(mmk_many *many, const unsigned char *text, size_t at, size_t end,
                      output *out) {
    const mmk_needles *needles = many->needles;
    size_t left = end - at, found = 0;
    unsigned char copy[8] = {0};
    uint64_t start;
    if (left >= 8)
        memcpy(copy, text + at, 8);
    else
        memcpy(copy, text + at, left);
    memcpy(&start, copy, 8);
    uint32_t hash = mmk__start_hash(needles, copy);
    if (!mmk__has_hash(needles, hash)) {
        many->debt += CANDIDATE_BYTES;
        return 0;
    }
    const uint32_t *list = needles->list + (hash >> (32 - needles->list_bits));
    many->debt += 2 * CANDIDATE_BYTES + list[1] - list[0];
    for (uint32_t i = list[0]; i < list[1]; i++) {
        const mmk_listed *one = needles->listed + i;
        size_t size = mmk__needle_size(needles, one->index);
        if (((start | one->fold) & one->mask) != one->start || size > left)
            continue;
        if (size > 8) {
            size_t same = mmk__same_size(text + at + 8, mmk__needle_bytes(needles, one->index) + 8,
                                         size - 8, needles->fold);
            many->debt += same;
            if (same < size - 8) {
                many->failures[many->failure_count++ % MMK_FAILURES] = 8 + same;
                continue;
            }
        }
        found = size;
        if (out->done < out->capacity)
            put(out, at, one->index);
        else
            out->done++;
        if (!out->overlapping)
            break;
    }
    return found;
}

/* Has fingerprints learn, if they should. Returns whether they did. */
static bool learn(mmk_many *many, const unsigned char *text, size_t at, size_t stop, size_t end) {
    if (many->way != MMK_BY_PRINTS || at < many->lesson || at >= stop ||
        many->debt <= many->credit / LESSON_SHARE + PATIENCE_BYTES)
        return false;
    many->lesson = at + many->lesson_gap;
    if (many->lesson_gap < MOST_LESSON_BYTES)
        many->lesson_gap *= 2;
    return mmk__prints_learn(&many->prints, many->needles, many->failures, text, at, stop, end);
}

/* Goes on by windows of the needles from `from` on, if these are enough to find them. */
static bool sample(mmk_many *many, const unsigned char *text, size_t from, size_t stop) {
    if (from < many->sampling || stop - from < SAMPLED_BYTES)
        return false;
    many->sampling = from + many->sampling_gap;
    if (many->sampling_gap < MOST_LESSON_BYTES)
        many->sampling_gap *= 2;
    mmk__samples_free(many->samples);
    many->samples = mmk__samples_learn(many->needles, text, from, stop);
    if (many->samples != NULL)
        many->way = MMK_BY_SAMPLES;
    return many->samples != NULL;
}

/* Whether candidates have to be found in another way, from `at` on. */
static bool has_to_change(mmk_many *many, const unsigned char *text, size_t at, size_t stop,
                          size_t end) {
    const mmk_needles *needles = many->needles;
    if (learn(many, text, at, stop, end)) {
        many->credit = many->debt = 0;
        if (many->prints.count > CHEAP_PRINTS)
            sample(many, text, at, stop);
        return true;
    }
    if (many->debt <= many->credit + PATIENCE_BYTES) {
        if (many->credit >= CREDIT_BYTES)
            many->credit = many->debt = 0;
        return false;
    }
    if (needles->longest == 1 && many->way == MMK_BY_BYTES)
        return false; /* no candidate is false */
    many->credit = many->debt = 0;
    many->way = MMK_BY_AUTOMATON;
    if (many->first == MMK_BY_AUTOMATON)
        return true;
    /* One list may have all needles on it, and they may all be compared. */
    size_t stretch = needles->offset[needles->count] * 4;
    many->retry = at + (stretch > STRETCH_BYTES ? stretch : STRETCH_BYTES);
    return true;
}

/* Goes on from `from` by a filter, until there is no more room, or the automaton takes over.
 * Returns where. */
static size_t list_by_filter(mmk_many *many, const unsigned char *text, size_t from, size_t stop,
                             size_t end, output *out) {
    size_t at, after, counted = from; /* credit was given up to there */
    uint64_t hits;
    while (from < stop && out->done < out->capacity) {
        if (!next_candidates(many, text, from, stop, end, &at, &after, &hits)) {
            many->credit += stop - counted;
            return stop;
        }
        for (; hits != 0; hits &= hits - 1) {
            size_t candidate = at + mmk__bits_first(hits), before = out->done;
            if (candidate < from)
                continue;
            size_t size = look_at(many, text, candidate, end, out);
            if (out->done > out->capacity) {
                out->done = before;
                return candidate;
            }
            from = candidate + (size > 0 && !out->overlapping ? size : 1);
            many->credit += from - counted;
            counted = from;
            if (has_to_change(many, text, from, stop, end) || out->done == out->capacity)
                return from;
        }
        from = from > after ? from : after;
    }
    return from;
}

/* --- automaton -------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Puts all needles that start at a position, if there is room. */
static bool put_all(const mmk_needles *needles, size_t at, uint32_t state, output *out) {
    const mmk_automaton *a = &needles->automaton;
    size_t before = out->done;
    if (a->count[state] > out->capacity - before)
        return false;
    if (out->which == NULL && out->at == NULL) {
        out->done += a->count[state];
        return true;
    }
    if (a->whole[state] == MMK_NO_NEEDLE)
        state = a->listed[state];
    for (; state != 0; state = a->listed[state])
        for (uint32_t n = a->whole[state]; n != MMK_NO_NEEDLE; n = needles->alike[n])
            put(out, at, n);
    if (out->which != NULL && out->done - before > 1)
        qsort(out->which + before, out->done - before, sizeof *out->which, by_number);
    return true;
}

/* Has the marks of the chunk in which `from` is. */
static void need_marks(mmk_many *many, const unsigned char *text, size_t from, size_t stop,
                       size_t end) {
    if (many->marks_text == text && many->marks_end == end && many->marks_from <= from &&
        from < many->marks_stop)
        return;
    size_t size = chunk_bytes(many->needles);
    many->marks_text = text;
    many->marks_end = end;
    many->marks_from = many->marks_origin = from;
    many->marks_stop = stop - from > size ? from + size : stop;
    many->mark_count =
        mmk__automaton_scan(many->needles, text, from, many->marks_stop, end, many->marks);
}

static size_t list_by_automaton(mmk_many *many, const unsigned char *text, size_t from,
                                size_t stop, size_t end, output *out) {
    const mmk_needles *needles = many->needles;
    while (from < stop && out->done < out->capacity) {
        if (sample(many, text, from, stop))
            return from;
        if (from >= many->retry) {
            many->way = many->first;
            return from;
        }
        need_marks(many, text, from, stop, end);
        for (; many->mark_count > 0; many->mark_count--) {
            mmk_mark mark = many->marks[many->mark_count - 1];
            size_t at = many->marks_origin + mark.at;
            if (at < from)
                continue;
            many->marks_from = from; /* what is before was given out */
            if (at >= stop)
                return from > stop ? from : stop;
            if (out->done == out->capacity)
                return from;
            if (!out->overlapping) {
                uint32_t first = needles->automaton.first[mark.state];
                put(out, at, first);
                from = at + mmk__needle_size(needles, first);
            } else {
                if (!put_all(needles, at, mark.state, out))
                    return at;
                from = at + 1;
            }
        }
        many->marks_from = many->marks_stop;
        from = from > many->marks_stop ? from : many->marks_stop;
    }
    return from;
}

/* --- both ------------------------------------------------------------------------------------- */

size_t mmk_many_list(mmk_many *many, const unsigned char *text, size_t from, size_t stop,
                     size_t end, bool overlapping, uint64_t base, uint64_t *out_at,
                     uint64_t *out_which, size_t capacity, size_t *resume) {
    size_t shortest = many->needles->shortest, possible = from;
    output out = {overlapping, base, out_at, out_which, 0, capacity};
    if (end >= shortest && end - shortest >= from)
        possible = stop < end - shortest + 1 ? stop : end - shortest + 1;
    while (from < possible && out.done < capacity) {
        size_t before = from, done = out.done;
        mmk_way way = many->way;
        from = way == MMK_BY_AUTOMATON ? list_by_automaton(many, text, from, possible, end, &out)
                                       : list_by_filter(many, text, from, possible, end, &out);
        if (from == before && out.done == done && many->way == way)
            break; /* there is no room for all that start there */
    }
    *resume = from < possible ? from : from > stop ? from : stop;
    return out.done;
}

static size_t next_of_many(void *context, const unsigned char *text, size_t from, size_t stop,
                           size_t end, size_t *size) {
    mmk_many *many = context;
    uint64_t at, which;
    size_t resume;
    if (mmk_many_list(many, text, from, stop, end, false, 0, &at, &which, 1, &resume) == 0)
        return MMK_NOWHERE;
    *size = mmk_needles_size(many->needles, (size_t)which);
    return (size_t)at;
}

mmk_finder mmk_many_finder(mmk_many *many) {
    mmk_finder finder = {next_of_many, many};
    return finder;
}
