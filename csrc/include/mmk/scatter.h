/* Writing many pieces of memory to a file, in as few system calls as there is a way to. */
#ifndef MMK_SCATTER_H
#define MMK_SCATTER_H

#include <stddef.h>
#include <stdint.h>

#include "mmk/file.h"
#include "mmk/runs.h"
#include "mmk/status.h"

typedef struct {
    const void *at;
    size_t length_bytes;
} mmk_piece;

/* Writes all pieces, one after the other; the array is used up by it. After an error, some of the
 * bytes may have been written. */
mmk_status mmk_pieces_write(mmk_handle file, uint64_t offset, mmk_piece *pieces, size_t count);

/* Writes the bytes of runs that were measured, which lie one after the other at `data`. After an
 * error, some of them may have been written. */
mmk_status mmk_runs_write(mmk_handle file, const mmk_run *runs, size_t count, const void *data);

/* Reads the bytes of runs that were measured, one run's after the other's, to `data`. What lies past
 * the end of the file reads as zeros. */
mmk_status mmk_runs_read(mmk_handle file, const mmk_run *runs, size_t count, void *data);

#endif
