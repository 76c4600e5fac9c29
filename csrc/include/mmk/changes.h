/* Which pages of a private region have been stored into. */
#ifndef MMK_CHANGES_H
#define MMK_CHANGES_H

#include "mmk/region.h"
#include "mmk/runs.h"

typedef enum {
    MMK_CHANGES_SCAN,    /* ask the system for ranges of pages that are not the file's (PAGEMAP_SCAN) */
    MMK_CHANGES_PAGEMAP, /* ask it about each page (/proc/self/pagemap) */
    MMK_CHANGES_COMPARE, /* look at the bytes: a page that was stored into with the same bytes is none */
    MMK_CHANGES_COUNT
} mmk_changes_method;

const char *mmk_changes_name(mmk_changes_method method);
/* Whether a method works on this system; tried out once. */
bool mmk_changes_supported(mmk_changes_method method);

typedef struct {
    mmk_run *runs; /* in order, none next to the other, none empty; free() them */
    size_t count, room;
} mmk_changes;

/* Finds the changed pages as runs of the visible bytes, those of a tail of its own (see
 * mmk_region_grow_private) always among them. `base` is what to compare with: a region of the same
 * file, which holds all of the bytes that the private one has of it. Callers hold pins on both.
 *
 * MMK_UNSUPPORTED if the region is not private, or not mapped, or the system has no such method.
 * MMK_RANGE if `base` is another file's, or holds too little. MMK_FAULTED if bytes of one of them
 * were lost. There is nothing to free then. */
mmk_status mmk_region_changes(mmk_region *region, mmk_changes_method method, mmk_region *base,
                              mmk_changes *changes);

/* Forgets what was stored into pages that lie in the runs as far as they are visible: the file shows
 * through again. The tail stays, and so does the page in which it begins. MMK_UNSUPPORTED where
 * there is no way; nothing has changed then. Callers hold a pin. */
mmk_status mmk_region_discard(mmk_region *region, const mmk_run *runs, size_t count);

#endif
