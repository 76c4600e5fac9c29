/* Words about physical memory that the operating systems and the regions share. */
#ifndef MMK_RESIDENCY_H
#define MMK_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hints, in the order of the names in map/advice.c. */
typedef enum {
    MMK_ADVICE_NORMAL,
    MMK_ADVICE_RANDOM,
    MMK_ADVICE_SEQUENTIAL,
    MMK_ADVICE_WILLNEED,
    MMK_ADVICE_DONTNEED,
    MMK_ADVICE_COLD,
    MMK_ADVICE_PAGEOUT,
    MMK_ADVICE_FREE,
    MMK_ADVICE_HUGEPAGE,
    MMK_ADVICE_NOHUGEPAGE,
    MMK_ADVICE_COLLAPSE,
    MMK_ADVICE_DONTFORK,
    MMK_ADVICE_DOFORK,
    MMK_ADVICE_DONTDUMP,
    MMK_ADVICE_DODUMP,
    MMK_ADVICE_WIPEONFORK,
    MMK_ADVICE_KEEPONFORK,
    MMK_ADVICE_MERGEABLE,
    MMK_ADVICE_UNMERGEABLE,
    MMK_ADVICE_COUNT
} mmk_advice;

const char *mmk_advice_name(mmk_advice advice);
/* True for hints that throw away changes which exist nowhere else. */
bool mmk_advice_discards(mmk_advice advice);
bool mmk_advice_supported(mmk_advice advice);

/* A piece of memory. */
typedef struct {
    void *at;
    size_t length_bytes;
} mmk_span;

/* What the page cache holds of a file's range. */
typedef struct {
    uint64_t resident_pages;
    uint64_t dirty_pages; /* with those being written back */
} mmk_cached;

#endif
