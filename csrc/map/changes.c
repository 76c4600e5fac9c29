/* Finding what was stored into a private region, and forgetting it. */
#include "mmk/changes.h"

#include <stdlib.h>
#include <string.h>

#include "map/internal.h"
#include "os/changed.h"

static const char *const NAMES[] = {"pagemap_scan", "pagemap", "compare"};

const char *mmk_changes_name(mmk_changes_method method) { return NAMES[method]; }

bool mmk_changes_supported(mmk_changes_method method) {
    return method == MMK_CHANGES_COMPARE || mmk_os_changed_supported(method == MMK_CHANGES_PAGEMAP);
}

/* --- collecting -------------------------------------------------------------------------------- */

typedef struct {
    const mmk_region *region;
    size_t size_bytes; /* visible, of the file's */
    mmk_changes *changes;
} collection;

static mmk_status add(mmk_changes *changes, size_t from, size_t to) {
    if (changes->count > 0) {
        mmk_run *last = &changes->runs[changes->count - 1];
        if ((size_t)(last->offset + last->length_bytes) == from) {
            last->length_bytes += (int64_t)(to - from);
            return MMK_OK;
        }
    }
    if (changes->count == changes->room) {
        size_t room = changes->room == 0 ? 64 : 2 * changes->room;
        mmk_run *more = realloc(changes->runs, room * sizeof *more);
        if (more == NULL)
            return MMK_TOO_LARGE;
        changes->runs = more;
        changes->room = room;
    }
    changes->runs[changes->count++] = (mmk_run){(int64_t)from, (int64_t)(to - from)};
    return MMK_OK;
}

/* Pages, as bytes from `base`. */
static mmk_status add_pages(void *context, size_t from, size_t to) {
    collection *job = context;
    size_t lead = job->region->lead_bytes, end = lead + job->size_bytes;
    from = from < lead ? lead : from;
    to = to > end ? end : to;
    return from < to ? add(job->changes, from - lead, to - lead) : MMK_OK;
}

/* --- comparing --------------------------------------------------------------------------------- */

typedef struct {
    collection *found;
    const unsigned char *other; /* what stands in the file at the region's first visible byte */
    mmk_status status;
} comparison;

static void compare(void *context) {
    comparison *job = context;
    const mmk_region *region = job->found->region;
    size_t page_bytes = mmk_os_page_bytes(), size = job->found->size_bytes;
    for (size_t from = 0; from < size && job->status == MMK_OK;) {
        size_t to = mmk__round_up(region->lead_bytes + from + 1, page_bytes) - region->lead_bytes;
        to = to < size ? to : size;
        if (memcmp(region->data + from, job->other + from, to - from) != 0)
            job->status = add(job->found->changes, from, to);
        from = to;
    }
}

/* A fault elsewhere is nobody's concern here. */
static bool lost(mmk_region *region, const unsigned char *at, size_t length_bytes) {
    return mmk_region_fault_state(region) != 0 &&
           (mmk_guard_owes_me(&region->faults) ||
            mmk_guard_damaged(&region->faults, at, length_bytes));
}

static mmk_status compare_all(mmk_region *region, mmk_region *base, collection *found) {
    const mmk_file_info *one = &region->file.info, *other = &base->file.info;
    uint64_t ahead = region->offset - base->offset;
    if (!mmk__region_has_file(base) || one->device != other->device || one->inode != other->inode ||
        region->offset < base->offset || ahead > base->size_bytes ||
        found->size_bytes > base->size_bytes - ahead)
        return MMK_RANGE;
    if (found->size_bytes == 0)
        return MMK_OK;
    comparison job = {found, base->data + ahead, MMK_OK};
    mmk_guard_run(&region->faults, compare, &job);
    if (lost(region, region->data, found->size_bytes) || lost(base, job.other, found->size_bytes))
        return MMK_FAULTED;
    return job.status;
}

/* --- finding ----------------------------------------------------------------------------------- */

static mmk_status find(mmk_region *region, mmk_changes_method method, mmk_region *base,
                       mmk_changes *changes) {
    size_t size = region->size_bytes, own = mmk__region_own_from(region, size);
    collection found = {region, own, changes};
    mmk_status status = MMK_OK;
    if (method == MMK_CHANGES_COMPARE)
        status = base == NULL ? MMK_RANGE : compare_all(region, base, &found);
    else if (region->backend != MMK_BACKEND_MAP)
        status = MMK_UNSUPPORTED; /* all of it is anonymous */
    else if (own > 0)
        status = mmk_os_changed(method == MMK_CHANGES_PAGEMAP, region->base,
                                region->lead_bytes + own, add_pages, &found);
    if (status == MMK_OK && own < size)
        status = add(changes, own, size);
    return status;
}

mmk_status mmk_region_changes(mmk_region *region, mmk_changes_method method, mmk_region *base,
                              mmk_changes *changes) {
    memset(changes, 0, sizeof *changes);
    if (region->mode != MMK_MODE_COPY || !mmk_changes_supported(method))
        return MMK_UNSUPPORTED;
    mmk_status status = find(region, method, base, changes);
    if (status != MMK_OK) {
        free(changes->runs);
        memset(changes, 0, sizeof *changes);
    }
    return status;
}

/* --- forgetting -------------------------------------------------------------------------------- */

/* What is not visible of a page does not matter. */
static mmk_status discard(mmk_region *region, size_t from, size_t to) {
    size_t page_bytes = mmk_os_page_bytes(), lead = region->lead_bytes;
    size_t size = region->size_bytes, own = mmk__region_own_from(region, size);
    size_t start = from == 0 ? 0 : mmk__round_up(lead + from, page_bytes);
    size_t end = (lead + (to < own ? to : own)) & ~(page_bytes - 1);
    if (to >= size && own == size)
        end = mmk__round_up(lead + size, page_bytes);
    return start < end ? mmk_os_discard(region->base + start, end - start) : MMK_OK;
}

mmk_status mmk_region_discard(mmk_region *region, const mmk_run *runs, size_t count) {
    mmk_status status = MMK_OK;
    if (region->mode != MMK_MODE_COPY || region->backend != MMK_BACKEND_MAP)
        return MMK_UNSUPPORTED;
    for (size_t i = 0; i < count && status == MMK_OK; i++)
        if (runs[i].length_bytes > 0)
            status = discard(region, (size_t)runs[i].offset,
                             (size_t)(runs[i].offset + runs[i].length_bytes));
    return status;
}
