/* Physical memory: hints, prefetching, populating, evicting, locking, asking. */
#include <stdlib.h>

#include "map/internal.h"

mmk_span mmk__region_pages(const mmk_region *region, size_t offset, size_t length_bytes) {
    size_t page_bytes = region->faults.page_bytes;
    size_t from = (region->lead_bytes + offset) & ~(page_bytes - 1);
    mmk_span span = {region->base + from, region->lead_bytes + offset + length_bytes - from};
    return span;
}

/* Whole pages inside a range: what surrounds it is not touched. The region's last page counts as
 * whole, for there is nothing else on it. */
static mmk_span inward(const mmk_region *region, size_t offset, size_t length_bytes) {
    size_t page_bytes = region->faults.page_bytes;
    size_t from = mmk__round_up(region->lead_bytes + offset, page_bytes);
    size_t to = region->lead_bytes + offset + length_bytes;
    if (offset + length_bytes < region->extent_bytes)
        to &= ~(page_bytes - 1);
    mmk_span span = {region->base + from, to > from ? to - from : 0};
    return span;
}

static bool holds_only_copy(const mmk_region *region) {
    return region->backend == MMK_BACKEND_MEMORY || region->mode == MMK_MODE_COPY;
}

mmk_status mmk_region_advise(mmk_region *region, size_t offset, size_t length_bytes,
                             mmk_advice advice) {
    bool discards = mmk_advice_discards(advice);
    if (region->backend == MMK_BACKEND_READ && discards)
        return MMK_UNSUPPORTED; /* the memory is not the file's: it would come back as zeros */
    mmk_span span = discards && holds_only_copy(region) ? inward(region, offset, length_bytes)
                                                        : mmk__region_pages(region, offset, length_bytes);
    if (length_bytes == 0 || span.length_bytes == 0)
        return mmk_os_advice_supported(advice) ? MMK_OK : MMK_UNSUPPORTED;
    return mmk_os_advise(span.at, span.length_bytes, advice);
}

mmk_status mmk_region_prefetch(mmk_region *region, const mmk_range *ranges, size_t count) {
    mmk_span *spans = malloc((count + 1) * sizeof *spans);
    size_t used = 0;
    if (spans == NULL)
        return MMK_TOO_LARGE;
    for (size_t i = 0; i < count; i++)
        if (ranges[i].length_bytes > 0)
            spans[used++] = mmk__region_pages(region, ranges[i].offset, ranges[i].length_bytes);
    mmk_status status = MMK_OK;
    if (used > 0 && region->backend != MMK_BACKEND_READ)
        status = mmk_os_prefetch(spans, used);
    free(spans);
    return status;
}

/* --- populate ---------------------------------------------------------------------------------- */

typedef struct {
    const volatile unsigned char *from, *to;
    size_t page_bytes;
} touching;

static void touch(void *context) {
    const touching *job = context;
    for (const volatile unsigned char *at = job->from; at < job->to; at += job->page_bytes)
        (void)*at;
}

mmk_status mmk_region_populate(mmk_region *region, size_t offset, size_t length_bytes) {
    if (length_bytes == 0)
        return MMK_OK;
    mmk_span span = mmk__region_pages(region, offset, length_bytes);
    /* Reading anonymous memory would only map the page of zeros; writing a file's would dirty it. */
    mmk_status status =
        mmk_os_populate(span.at, span.length_bytes, region->backend == MMK_BACKEND_MEMORY);
    if (status != MMK_UNSUPPORTED && status != MMK_FAULTED)
        return status;
    /* Older systems; and, after a fault, to learn where it was. */
    touching job = {span.at, (unsigned char *)span.at + span.length_bytes, mmk_os_page_bytes()};
    return mmk_guard_run(&region->faults, touch, &job);
}

/* --- evict and lock ---------------------------------------------------------------------------- */

mmk_status mmk_region_evict(mmk_region *region, size_t offset, size_t length_bytes) {
    mmk_span span = mmk__region_pages(region, offset, length_bytes);
    mmk_source source =
        mmk__region_source(region, (size_t)((unsigned char *)span.at - region->base));
    return length_bytes == 0 ? MMK_OK : mmk_os_evict(&source, span.at, span.length_bytes);
}

mmk_status mmk_region_lock(mmk_region *region, size_t offset, size_t length_bytes, bool on_fault) {
    mmk_span span = mmk__region_pages(region, offset, length_bytes);
    return length_bytes == 0 ? MMK_OK : mmk_os_lock(span.at, span.length_bytes, on_fault);
}

mmk_status mmk_region_unlock(mmk_region *region, size_t offset, size_t length_bytes) {
    mmk_span span = mmk__region_pages(region, offset, length_bytes);
    return length_bytes == 0 ? MMK_OK : mmk_os_unlock(span.at, span.length_bytes);
}

/* --- asking ------------------------------------------------------------------------------------ */

/* In pages of the system's, also where the mapping's are huge. */
static mmk_span small_pages(const mmk_region *region, size_t offset, size_t length_bytes) {
    size_t from = (region->lead_bytes + offset) & ~(mmk_os_page_bytes() - 1);
    mmk_span span = {region->base + from, region->lead_bytes + offset + length_bytes - from};
    return span;
}

size_t mmk_region_page_count(const mmk_region *region, size_t offset, size_t length_bytes) {
    size_t page_bytes = mmk_os_page_bytes();
    return length_bytes == 0
               ? 0
               : mmk__round_up(small_pages(region, offset, length_bytes).length_bytes, page_bytes) /
                     page_bytes;
}

mmk_status mmk_region_residency(mmk_region *region, size_t offset, size_t length_bytes,
                                unsigned char *pages, bool *known) {
    mmk_source source = mmk__region_source(region, 0);
    *known = true;
    if (length_bytes == 0)
        return MMK_OK;
    mmk_span span = small_pages(region, offset, length_bytes);
    return mmk_os_residency(span.at, span.length_bytes, source.file, pages, known);
}

mmk_status mmk_region_cached(mmk_region *region, size_t offset, size_t length_bytes,
                             mmk_cached *cached) {
    if (!mmk__region_has_file(region))
        return MMK_UNSUPPORTED;
    return mmk_os_cached(region->file.handle, region->offset + offset, length_bytes, cached);
}
