/* Copies in, out and inside, under the guard. */
#include <string.h>

#include "map/internal.h"

typedef struct {
    void *to;
    const void *from;
    size_t length_bytes;
} copy;

static void run_copy(void *context) {
    const copy *job = context;
    memmove(job->to, job->from, job->length_bytes);
}

static mmk_status guarded_copy(mmk_region *region, void *to, const void *from,
                               size_t length_bytes) {
    copy job = {to, from, length_bytes};
    return length_bytes == 0 ? MMK_OK : mmk_guard_run(&region->faults, run_copy, &job);
}

mmk_status mmk_region_read(mmk_region *region, size_t offset, void *to, size_t length_bytes) {
    return guarded_copy(region, to, region->data + offset, length_bytes);
}

mmk_status mmk_region_write(mmk_region *region, size_t offset, const void *from,
                            size_t length_bytes) {
    return guarded_copy(region, region->data + offset, from, length_bytes);
}

mmk_status mmk_region_move(mmk_region *region, size_t to, size_t from, size_t length_bytes) {
    return guarded_copy(region, region->data + to, region->data + from, length_bytes);
}
