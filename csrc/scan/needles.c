/* Studying many literals: how they begin, for the filter, and the automaton of how they end. */
#include <stdlib.h>

#include "scan/fold.h"
#include "scan/needles.h"

/* Rows of the automaton take so many bytes: they stay in the processor's caches. */
#define ROWS_BYTES ((size_t)1 << 20)

/* --- one block of memory ---------------------------------------------------------------------- */

/* First counts what is taken, then gives it out: `memory` is NULL the first time. */
typedef struct {
    unsigned char *memory;
    size_t used;
} arena;

static void *take(arena *from, size_t count, size_t size) {
    void *given = from->memory == NULL ? NULL : from->memory + from->used;
    from->used += (count * size + 7) / 8 * 8;
    return given;
}

static void take_lists(arena *from, mmk_needles *needles, size_t total_bytes) {
    needles->offset = take(from, needles->count + 1, sizeof *needles->offset);
    needles->listed = take(from, needles->count, sizeof *needles->listed);
    needles->list = take(from, ((size_t)1 << needles->list_bits) + 1, sizeof *needles->list);
    needles->alike = take(from, needles->count, sizeof *needles->alike);
    needles->bytes = take(from, total_bytes, 1);
}

static void take_automaton(arena *from, mmk_automaton *a) {
    a->child = take(from, (size_t)a->states + 1, sizeof *a->child);
    a->shorter = take(from, a->states, sizeof *a->shorter);
    a->whole = take(from, a->states, sizeof *a->whole);
    a->listed = take(from, a->states, sizeof *a->listed);
    a->first = take(from, a->states, sizeof *a->first);
    a->count = take(from, a->states, sizeof *a->count);
    a->row = take(from, (size_t)a->rows << a->row_shift, sizeof *a->row);
    a->label = take(from, a->states, 1);
}

/* --- beginnings ------------------------------------------------------------------------------- */

static uint32_t hash_of(const mmk_needles *needles, uint32_t index) {
    unsigned char start[MMK_START_BYTES] = {0};
    memcpy(start, mmk__needle_bytes(needles, index), needles->width);
    return mmk__start_hash(needles, start);
}

/* Lists of needles by their hashes, in the order of their indices. */
static void fill_lists(mmk_needles *needles) {
    const unsigned shift = 32 - needles->list_bits;
    const size_t lists = (size_t)1 << needles->list_bits;
    memset(needles->list, 0, (lists + 1) * sizeof *needles->list);
    memset(needles->filter, 0, sizeof needles->filter);
    for (uint32_t i = 0; i < needles->count; i++) {
        uint32_t hash = hash_of(needles, i), bit = hash >> (32 - MMK_FILTER_BITS);
        needles->filter[bit / 64] |= (uint64_t)1 << bit % 64;
        needles->list[(hash >> shift) + 1]++;
    }
    for (size_t h = 0; h < lists; h++)
        needles->list[h + 1] += needles->list[h];
    /* Each list's end moves down to where it begins, so the last needle goes first. */
    for (uint32_t i = (uint32_t)needles->count; i-- > 0;) {
        mmk_listed *one = needles->listed + --needles->list[(hash_of(needles, i) >> shift) + 1];
        size_t size = mmk__needle_size(needles, i), most = size < 8 ? size : 8;
        unsigned char mask[8] = {0}, fold[8] = {0}, start[8] = {0};
        memcpy(start, mmk__needle_bytes(needles, i), most);
        memset(mask, 0xff, most);
        for (size_t b = 0; b < most; b++)
            fold[b] = needles->fold && mmk__is_small(start[b]) ? 0x20 : 0;
        memcpy(&one->start, start, 8);
        memcpy(&one->mask, mask, 8);
        memcpy(&one->fold, fold, 8);
        one->index = i;
    }
    /* Now list[h + 1] is where list h begins. */
    memmove(needles->list, needles->list + 1, lists * sizeof *needles->list);
    needles->list[lists] = (uint32_t)needles->count;
}

/* Up to 4 different first bytes; letters count twice if they are folded. */
static void collect_first_bytes(mmk_needles *needles) {
    bool seen[256] = {false};
    needles->first_count = 0;
    for (uint32_t i = 0; i < needles->count; i++) {
        unsigned char byte = *mmk__needle_bytes(needles, i);
        seen[byte] = true;
        if (needles->fold && mmk__is_small(byte))
            seen[byte ^ 0x20] = true;
    }
    for (unsigned byte = 0; byte < 256 && needles->first_count <= 4; byte++) {
        if (seen[byte] && needles->first_count < 4)
            needles->first_bytes[needles->first_count] = (unsigned char)byte;
        needles->first_count += seen[byte];
    }
}

/* --- ends ------------------------------------------------------------------------------------- */

typedef struct {
    const unsigned char *end;
    size_t size;
    uint32_t index;
} ending;

static int by_ending(const void *a_ending, const void *b_ending) {
    const ending *a = a_ending, *b = b_ending;
    size_t least = a->size < b->size ? a->size : b->size;
    for (size_t i = 1; i <= least; i++)
        if (a->end[-(ptrdiff_t)i] != b->end[-(ptrdiff_t)i])
            return a->end[-(ptrdiff_t)i] < b->end[-(ptrdiff_t)i] ? -1 : 1;
    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Bytes that no needle has are class 0. */
static void classify(mmk_needles *needles) {
    mmk_automaton *a = &needles->automaton;
    unsigned classes = 1;
    memset(a->class_of, 0, sizeof a->class_of);
    for (size_t i = 0; i < needles->offset[needles->count]; i++)
        a->class_of[needles->bytes[i]] = 1;
    for (unsigned byte = 0; byte < 256; byte++)
        if (a->class_of[byte] != 0)
            a->class_of[byte] = (unsigned char)classes++;
    if (needles->fold)
        for (unsigned byte = 'A'; byte <= 'Z'; byte++)
            a->class_of[byte] = a->class_of[byte | 0x20];
    /* The last of 256 would be class 256: that is 0, which is free then. */
    for (a->row_shift = 0; a->row_shift < 8 && (1u << a->row_shift) < classes; a->row_shift++)
        ;
}

static bool build_automaton(mmk_needles *needles) {
    mmk_automaton *a = &needles->automaton;
    ending *endings = malloc(needles->count * sizeof *endings);
    uint32_t *order = malloc(needles->count * sizeof *order), *scratch = NULL;
    if (endings != NULL && order != NULL) {
        for (uint32_t i = 0; i < needles->count; i++)
            endings[i] = (ending){needles->bytes + needles->offset[i + 1],
                                  mmk__needle_size(needles, i), i};
        qsort(endings, needles->count, sizeof *endings, by_ending);
        for (size_t i = 0; i < needles->count; i++)
            order[i] = endings[i].index;
        classify(needles);
        a->states = mmk__automaton_states(needles, order);
        size_t rows = ROWS_BYTES / sizeof *a->row >> a->row_shift;
        a->rows = rows < a->states ? (uint32_t)rows : a->states;
        arena memory = {NULL, 0};
        take_automaton(&memory, a);
        needles->automaton_memory = memory.memory = malloc(memory.used);
        scratch = malloc(3 * (size_t)a->states * sizeof *scratch);
        if (memory.memory != NULL && scratch != NULL) {
            memory.used = 0;
            take_automaton(&memory, a);
            mmk__automaton_build(needles, order, scratch);
        }
    }
    bool built = scratch != NULL && needles->automaton_memory != NULL;
    free(scratch);
    free(order);
    free(endings);
    return built;
}

/* --- all of it -------------------------------------------------------------------------------- */

mmk_needles *mmk_needles_study(const unsigned char *const *bytes, const size_t *sizes,
                               size_t count, bool fold) {
    mmk_needles header = {.count = count, .fold = fold, .shortest = SIZE_MAX};
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sizes[i];
        header.shortest = sizes[i] < header.shortest ? sizes[i] : header.shortest;
        header.longest = sizes[i] > header.longest ? sizes[i] : header.longest;
    }
    header.width = header.shortest < MMK_START_BYTES ? (unsigned)header.shortest : MMK_START_BYTES;
    memset(&header.start_mask, fold ? 0xff ^ 0x20 : 0xff, header.width);
    for (header.list_bits = 4; (size_t)1 << header.list_bits < 2 * count; header.list_bits++)
        ;
    arena memory = {NULL, 0};
    take(&memory, 1, sizeof header);
    take_lists(&memory, &header, total);
    memory.memory = malloc(memory.used);
    if (memory.memory == NULL)
        return NULL;
    memory.used = 0;
    mmk_needles *needles = take(&memory, 1, sizeof header);
    *needles = header;
    take_lists(&memory, needles, total);
    needles->offset[0] = 0;
    for (size_t i = 0; i < count; i++) {
        memcpy(needles->bytes + needles->offset[i], bytes[i], sizes[i]);
        needles->offset[i + 1] = needles->offset[i] + sizes[i];
    }
    if (fold)
        mmk_fold(needles->bytes, total);
    fill_lists(needles);
    collect_first_bytes(needles);
    mmk__prints_rank(needles);
    mmk__prints_begin(&needles->prints, needles);
    if (!build_automaton(needles)) {
        mmk_needles_free(needles);
        return NULL;
    }
    return needles;
}

void mmk_needles_free(mmk_needles *needles) {
    if (needles != NULL)
        free(needles->automaton_memory);
    free(needles);
}

size_t mmk_needles_count(const mmk_needles *needles) {
    return needles->count;
}

size_t mmk_needles_size(const mmk_needles *needles, size_t index) {
    return mmk__needle_size(needles, (uint32_t)index);
}

size_t mmk_needles_longest(const mmk_needles *needles) {
    return needles->longest;
}

size_t mmk_needles_most(const mmk_needles *needles) {
    return needles->automaton.most;
}
