/* Private regions that are longer or shorter than their file.
 *
 *     | lead | the file's ... | zeros |  pages of its own  |  reserve |
 *            data             backed, inside a page        size
 *
 * The rest of the file's last page is stored over with zeros, so that it is the region's own, too:
 * whatever others write behind the end of the file does not show. The guard watches the file's pages
 * only.
 */
#include <string.h>

#include "map/internal.h"

typedef struct {
    unsigned char *at;
    size_t length_bytes;
} clearing;

static void clear(void *context) {
    const clearing *job = context;
    memset(job->at, 0, job->length_bytes);
}

/* What is left of the last page: it is the file's, or was visible before. */
static mmk_status clear_rest_of_page(mmk_region *region, size_t size_bytes) {
    size_t end = region->lead_bytes + size_bytes;
    clearing job = {region->base + end, mmk__round_up(end, region->faults.page_bytes) - end};
    if (job.length_bytes == 0)
        return MMK_OK;
    mmk_guard_run(&region->faults, clear, &job);
    bool lost = mmk_guard_owes_me(&region->faults) ||
                mmk_guard_damaged(&region->faults, job.at, job.length_bytes);
    return lost ? MMK_FAULTED : MMK_OK;
}

static mmk_status grow(mmk_region *region, size_t size_bytes) {
    size_t old_size = region->size_bytes, lead = region->lead_bytes;
    mmk_source zeros = {MMK_NO_HANDLE, 0, region->protection, true};
    if (region->reserved_bytes < lead || size_bytes > region->reserved_bytes - lead)
        return MMK_RANGE;
    /* First of all: from here on, the end of the file is not where the region ends. */
    region->backed_bytes = mmk__region_own_from(region, old_size);
    mmk_status status = mmk__region_publish(region);
    if (status == MMK_OK && old_size > 0)
        status = clear_rest_of_page(region, old_size);
    if (status == MMK_OK) /* an empty region may have no page to begin with */
        status = mmk_os_extend(&zeros, region->base, old_size > 0 ? lead + old_size : 0,
                               lead + size_bytes, region->reserved_bytes);
    if (status != MMK_OK)
        return status;
    if (region->mapped_bytes < lead + size_bytes)
        region->mapped_bytes = lead + size_bytes;
    mmk__region_show(region, size_bytes);
    return MMK_OK;
}

/* Nobody is looking. */
static mmk_status shrink(mmk_region *region, size_t size_bytes) {
    size_t length = size_bytes > 0 ? region->lead_bytes + size_bytes : 0;
    size_t old_bytes = region->mapped_bytes;
    mmk_source source = mmk__region_source(region, 0);
    mmk__region_show(region, size_bytes);
    region->backed_bytes = mmk__region_own_from(region, size_bytes);
    if (region->reserved_bytes == 0) /* it never grows again: to hide the pages is enough */
        return MMK_OK;
    region->mapped_bytes = length;
    mmk_status status = mmk__region_publish(region);
    return status != MMK_OK ? status
                            : mmk_os_cut(&source, region->base, old_bytes, length,
                                         region->reserved_bytes);
}

static mmk_status resize(mmk_region *region, size_t size_bytes) {
    size_t old_size = region->size_bytes;
    if (region->mode != MMK_MODE_COPY || region->backend != MMK_BACKEND_MAP ||
        region->place != NULL || !mmk_os_mixes_sources())
        return MMK_UNSUPPORTED;
    if (atomic_load(&region->faults.state) & MMK_FAULT_DAMAGED)
        return MMK_FAULTED;
    if (size_bytes > old_size)
        return region->protection & MMK_PROT_WRITE ? grow(region, size_bytes) : MMK_READ_ONLY;
    mmk_status status = size_bytes < old_size ? mmk__region_move_begin(region) : MMK_OK;
    if (status == MMK_OK && size_bytes < old_size) {
        status = shrink(region, size_bytes);
        mmk__region_move_end(region);
    }
    return status;
}

mmk_status mmk_region_resize_private(mmk_region *region, size_t size_bytes) {
    mmk_status status = mmk__region_resize_begin(region);
    if (status != MMK_OK)
        return status;
    status = resize(region, size_bytes);
    mmk__region_resize_end(region);
    return status;
}
