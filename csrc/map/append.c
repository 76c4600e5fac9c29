/* Making a file longer so that it is whole at every step: bytes, then whoever counts them. */
#include <stdlib.h>
#include <string.h>

#include "map/internal.h"

/* A write that is longer gives others time to change the file meanwhile. */
#define SHORT_BYTES ((size_t)1 << 20)
/* Of a head. */
#define USUAL_BYTES 256

/* A mapping shows the file; memory that stands in for one only what it once was. */
static mmk_status read_head(mmk_region *region, void *head, size_t head_bytes, size_t *done) {
    bool shows_file = region->backend == MMK_BACKEND_MAP && region->offset == 0 &&
                      region->size_bytes >= head_bytes;
    if (!shows_file)
        return mmk_os_file_read(region->file.handle, 0, head, head_bytes, done);
    *done = head_bytes;
    return mmk_region_read(region, 0, head, head_bytes);
}

static mmk_status compare_head(mmk_region *region, const mmk_append *what, bool *same) {
    unsigned char usual[USUAL_BYTES];
    bool small = what->head_bytes <= sizeof usual;
    void *found = small ? usual : malloc(what->head_bytes);
    size_t done = 0;
    if (found == NULL)
        return MMK_TOO_LARGE;
    mmk_status status = what->head_bytes == 0
                            ? MMK_OK
                            : read_head(region, found, what->head_bytes, &done);
    *same = done == what->head_bytes && memcmp(found, what->old_head, done) == 0;
    if (!small)
        free(found);
    return status;
}

static mmk_status append(mmk_region *region, const mmk_append *what, bool *stood) {
    mmk_handle file = region->file.handle;
    uint64_t file_bytes = 0;
    mmk_status status = mmk_region_measure(region, &file_bytes);
    if (status != MMK_OK || file_bytes != what->file_bytes)
        return status;
    status = compare_head(region, what, stood);
    if (status != MMK_OK || !*stood)
        return status;
    if (what->length_bytes > 0)
        status = mmk_os_file_write(file, file_bytes, what->bytes, what->length_bytes);
    if (status == MMK_OK)
        status = mmk_region_reshape(region, what->size_bytes);
    if (status == MMK_OK && what->length_bytes > SHORT_BYTES)
        status = compare_head(region, what, stood);
    if (status == MMK_OK && *stood && what->last > what->first)
        status = mmk_os_file_write(file, what->first, (const char *)what->new_head + what->first,
                                   what->last - what->first);
    return status;
}

mmk_status mmk_region_append(mmk_region *region, const mmk_append *what, bool *stood) {
    *stood = false;
    if (atomic_exchange(&region->resizing, true))
        return MMK_IN_USE;
    mmk_status status = append(region, what, stood);
    atomic_store(&region->resizing, false);
    return status;
}
