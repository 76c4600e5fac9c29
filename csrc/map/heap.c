/* The READ backend: a file's bytes in anonymous memory, for filesystems that refuse to be mapped or
 * punish it. What was changed is found by comparing with a second copy, page by page, so that a
 * flush writes only that and leaves other writers' bytes alone.
 */
#include <stdlib.h>
#include <string.h>

#include "map/internal.h"

mmk_status mmk__heap_load(mmk_region *region, size_t from, size_t to) {
    size_t length = to - from, done = 0;
    if (length == 0)
        return MMK_OK;
    mmk_status status = mmk_os_file_read(region->file.handle, region->offset + from,
                                         region->data + from, length, &done);
    if (status != MMK_OK)
        return status;
    if (done < length && region->file.info.kind != MMK_FILE_REGULAR)
        return mmk_os_truncated_error(); /* a device that holds less than was asked for */
    if (done < length) { /* the file has shrunk since it was measured */
        memset(region->data + from + done, 0xFF, length - done);
        mmk_region_inspect(region);
    }
    if (region->pristine != NULL)
        memcpy(region->pristine + from, region->data + from, length);
    return MMK_OK;
}

mmk_status mmk__heap_track(mmk_region *region, size_t size_bytes) {
    if (region->mode != MMK_MODE_WRITE || size_bytes == 0)
        return MMK_OK;
    unsigned char *more = realloc(region->pristine, size_bytes);
    if (more == NULL)
        return MMK_TOO_LARGE;
    region->pristine = more;
    return MMK_OK;
}

mmk_status mmk__heap_store(mmk_region *region, size_t offset, size_t length_bytes) {
    size_t page_bytes = mmk_os_page_bytes(), end = offset + length_bytes;
    for (size_t at = offset; at < end;) {
        size_t page_end = mmk__round_up(at + 1, page_bytes);
        size_t length = (page_end < end ? page_end : end) - at;
        if (memcmp(region->pristine + at, region->data + at, length) != 0) {
            mmk_status status = mmk_os_file_write(region->file.handle, region->offset + at,
                                                  region->data + at, length);
            if (status != MMK_OK)
                return status;
            memcpy(region->pristine + at, region->data + at, length);
        }
        at += length;
    }
    return MMK_OK;
}
