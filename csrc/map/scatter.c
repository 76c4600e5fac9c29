/* Many pieces into a file: what is left after a short write goes on from there. */
#include "mmk/scatter.h"

#include <string.h>

#include "os/disk.h"
#include "os/os.h"

/* Leaves out what is written, and what is empty anyway. */
static size_t skip(mmk_piece *pieces, size_t count, size_t next, size_t done) {
    while (next < count && done >= pieces[next].length_bytes)
        done -= pieces[next++].length_bytes;
    if (next < count) {
        pieces[next].at = (const char *)pieces[next].at + done;
        pieces[next].length_bytes -= done;
    }
    return next;
}

/* So many pieces from `next` on have something in them. */
static size_t full(const mmk_piece *pieces, size_t count, size_t next) {
    size_t used = 0;
    while (next + used < count && used < MMK_OS_PIECES && pieces[next + used].length_bytes > 0)
        used++;
    return used;
}

mmk_status mmk_pieces_write(mmk_handle file, uint64_t offset, mmk_piece *pieces, size_t count) {
    size_t done = 0;
    for (size_t next = skip(pieces, count, 0, 0); next < count;) {
        mmk_status status =
            mmk_os_file_write_some(file, offset, pieces + next, full(pieces, count, next), &done);
        if (status != MMK_OK)
            return status;
        offset += done;
        next = skip(pieces, count, next, done);
    }
    return MMK_OK;
}

mmk_status mmk_runs_write(mmk_handle file, const mmk_run *runs, size_t count, const void *data) {
    const char *from = data;
    for (size_t i = 0; i < count;) {
        int64_t offset = runs[i].offset, length = 0;
        do /* neighbours go together */
            length += runs[i++].length_bytes;
        while (i < count && runs[i].offset == offset + length);
        if (length == 0)
            continue;
        mmk_status status = mmk_os_file_write(file, (uint64_t)offset, from, (size_t)length);
        if (status != MMK_OK)
            return status;
        from += length;
    }
    return MMK_OK;
}

mmk_status mmk_runs_read(mmk_handle file, const mmk_run *runs, size_t count, void *data) {
    char *to = data;
    for (size_t i = 0; i < count; i++) {
        size_t length = (size_t)runs[i].length_bytes, done = 0;
        mmk_status status = mmk_os_file_read(file, (uint64_t)runs[i].offset, to, length, &done);
        if (status != MMK_OK)
            return status;
        /* Safety: `done` is at most `length`, and `data` holds the lengths of all runs. */
        memset(to + done, 0, length - done);
        to += length;
    }
    return MMK_OK;
}
