/* Rows of an array that lies in a region, picked by index: many misses at once, copies without
 * waiting for each other. */
#ifndef MMK_GATHER_H
#define MMK_GATHER_H

#include "mmk/region.h"

typedef struct {
    size_t origin;       /* offset of row 0 in the visible bytes */
    ptrdiff_t stride;    /* bytes from one row to the next */
    size_t row_bytes;
    size_t row_count;    /* of the array */
    const int64_t *rows; /* indices from -row_count to row_count - 1, negative ones from the end */
    size_t count;        /* of indices */
    unsigned char *out;  /* where the first row goes */
    size_t out_stride;   /* from there to the next, at least row_bytes */
    const volatile unsigned char *stop; /* not 0: leave the rest; or NULL */
} mmk_gather;

/* Position of the first index that is out of range; `count` if there is none. */
size_t mmk_gather_find_bad(const int64_t *rows, size_t count, size_t row_count);

/* These need indices that were found good, and a pin.
 *
 * Copies the rows, until it is told to stop. Reads what is missing with many requests under way, where the system tells that
 * there are misses, or does not tell. MMK_RANGE if the array does not lie in the region; MMK_FAULTED
 * if bytes of the region were lost meanwhile. */
mmk_status mmk_region_gather(mmk_region *region, const mmk_gather *job);
/* Starts reading the rows and does not wait; `out` is not used. */
mmk_status mmk_region_prefetch_rows(mmk_region *region, const mmk_gather *job);
/* True if poison stands for any byte of the rows. */
bool mmk_region_rows_damaged(mmk_region *region, const mmk_gather *job);

#endif
