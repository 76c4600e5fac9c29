/* Changing a region's size and protection while others may be using it. */
#include <string.h>

#include "map/internal.h"

#define LEAST_ROOM_BYTES ((size_t)1 << 20)

/* --- growing and shrinking --------------------------------------------------------------------- */

static bool fits_reserve(const mmk_region *region, size_t size_bytes) {
    return region->reserved_bytes != 0 && size_bytes <= region->reserved_bytes &&
           region->lead_bytes + size_bytes <= region->reserved_bytes;
}

static mmk_status plan(mmk_region *region, size_t size_bytes, mmk_resize *plan_out) {
    mmk_file_info now;
    plan_out->size_bytes = size_bytes;
    plan_out->file_bytes = plan_out->wanted_file_bytes = 0;
    if (!mmk__region_has_file(region))
        return MMK_OK;
    if (region->mode != MMK_MODE_WRITE)
        return MMK_READ_ONLY;
    if (region->place != NULL)
        return MMK_UNSUPPORTED;
    if (region->file.info.kind != MMK_FILE_REGULAR)
        return MMK_UNSUPPORTED;
    mmk_status status = mmk__region_look(region, &now);
    if (status != MMK_OK)
        return status;
    uint64_t file_bytes = now.size_bytes;
    uint64_t old_end = region->offset + region->size_bytes, new_end = region->offset + size_bytes;
    bool follows = region->to_end || file_bytes <= old_end;
    plan_out->file_bytes = file_bytes;
    plan_out->wanted_file_bytes = file_bytes;
    if (new_end > file_bytes || follows)
        plan_out->wanted_file_bytes = new_end;
    if (plan_out->wanted_file_bytes <= file_bytes)
        return MMK_OK; /* cutting waits until the mapping is out of the way */
    /* Reshaping would say so; but a file that has grown cannot be cut everywhere while mapped. */
    if (size_bytes != region->size_bytes && !fits_reserve(region, size_bytes) &&
        mmk_region_exports(region) != 0)
        return MMK_EXPORTED;
    /* Nor could growth be taken back if somebody should be looking when it is time to move. */
    region->growth_planned = !mmk_os_cuts_mapped_files() && region->has_map &&
                             size_bytes != region->size_bytes && !fits_reserve(region, size_bytes) &&
                             mmk__region_source(region, 0).file != MMK_NO_HANDLE;
    if (region->growth_planned)
        return MMK_OK;
    return mmk_file_resize(region->file.handle, file_bytes, new_end, region->sparse);
}

mmk_status mmk_region_plan(mmk_region *region, size_t size_bytes, mmk_resize *plan_out) {
    if (size_bytes > PTRDIFF_MAX || region->offset + size_bytes > INT64_MAX)
        return MMK_TOO_LARGE;
    if (atomic_load(&region->faults.state) & MMK_FAULT_DAMAGED)
        return MMK_FAULTED; /* patches cannot be moved */
    if (atomic_exchange(&region->resizing, true))
        return MMK_IN_USE;
    mmk__region_shape_lock(region);
    mmk_status status =
        mmk_region_closed(region) ? MMK_CLOSED : plan(region, size_bytes, plan_out);
    region->cut_planned = status == MMK_OK && plan_out->wanted_file_bytes < plan_out->file_bytes;
    region->planned_file_bytes = plan_out->wanted_file_bytes;
    mmk__region_shape_unlock(region);
    if (status != MMK_OK)
        atomic_store(&region->resizing, false);
    return status;
}

static mmk_status settle(mmk_region *region, const mmk_resize *plan_in, mmk_status outcome) {
    if (plan_in->wanted_file_bytes == plan_in->file_bytes || region->file.handle == MMK_NO_HANDLE)
        return outcome; /* nothing to do, or closed meanwhile */
    bool grew = plan_in->wanted_file_bytes > plan_in->file_bytes;
    if (outcome == MMK_OK && !grew)
        return mmk_os_file_resize(region->file.handle, plan_in->wanted_file_bytes);
    if (outcome != MMK_OK && grew)
        mmk_os_file_resize(region->file.handle, plan_in->file_bytes);
    return outcome;
}

mmk_status mmk_region_settle(mmk_region *region, const mmk_resize *plan_in, mmk_status outcome) {
    mmk__region_shape_lock(region);
    outcome = settle(region, plan_in, outcome);
    region->cut_planned = region->growth_planned = false;
    mmk__region_shape_unlock(region);
    atomic_store(&region->resizing, false);
    return outcome;
}

/* Who grows once grows again: addresses past the end of the file are mapped, too, where that is
 * allowed, and then growing costs no system call. */
static size_t with_room(const mmk_region *region, const mmk_source *source, size_t length) {
    if (source->file == MMK_NO_HANDLE || !mmk_os_cuts_mapped_files())
        return length;
    size_t most = region->reserved_bytes - length, ahead = length / 2 + LEAST_ROOM_BYTES;
    return length + (ahead < most ? ahead : most);
}

static mmk_status grow_in_place(mmk_region *region, size_t size_bytes) {
    size_t length = region->lead_bytes + size_bytes;
    mmk_source source = mmk__region_source(region, 0);
    if (length <= region->mapped_bytes)
        return MMK_OK;
    length = with_room(region, &source, length);
    mmk_status status = mmk_os_extend(&source, region->base, region->mapped_bytes, length,
                                      region->reserved_bytes);
    if (status != MMK_OK)
        return status;
    region->mapped_bytes = length;
    return mmk__region_publish(region);
}

/* Whether a resize has to unmap, because else the system would not let it cut the file. */
static bool cuts_under_map(const mmk_region *region) {
    return region->cut_planned && region->has_map && !mmk_os_cuts_mapped_files() &&
           mmk__region_source(region, 0).file != MMK_NO_HANDLE;
}

/* Where a mapped file cannot be cut, it is done while nothing of it is mapped. */
static mmk_status cut_unmapped(mmk_region *region) {
    if (mmk_os_cuts_mapped_files() || !region->cut_planned)
        return MMK_OK;
    return mmk_os_file_resize(region->file.handle, region->planned_file_bytes);
}

static mmk_status grow_unmapped(mmk_region *region) {
    uint64_t file_bytes = 0, wanted = region->planned_file_bytes;
    if (!region->growth_planned)
        return MMK_OK;
    mmk_status status = mmk_os_file_size(region->file.handle, &file_bytes);
    if (status != MMK_OK || file_bytes >= wanted)
        return status;
    return mmk_file_resize(region->file.handle, file_bytes, wanted, region->sparse);
}

/* Within the reservation, and nobody is looking. */
static mmk_status shrink_in_place(mmk_region *region, size_t size_bytes) {
    size_t length = size_bytes > 0 ? region->lead_bytes + size_bytes : 0;
    mmk_source source = mmk__region_source(region, 0);
    size_t old_bytes = region->mapped_bytes;
    region->mapped_bytes = length;
    mmk_status status = mmk__region_publish(region);
    bool apart = source.file != MMK_NO_HANDLE && !mmk_os_cuts_mapped_files();
    if (status == MMK_OK)
        status = mmk_os_cut(&source, region->base, old_bytes, apart ? 0 : length,
                            region->reserved_bytes);
    if (status != MMK_OK || !apart)
        return status;
    status = cut_unmapped(region);
    if (status != MMK_OK) /* as it was */
        region->mapped_bytes = length = old_bytes;
    mmk_status again = length == 0 ? MMK_OK
                                   : mmk_os_extend(&source, region->base, 0, length,
                                                   region->reserved_bytes);
    if (again == MMK_OK)
        again = mmk__region_publish(region);
    return status != MMK_OK ? status : again;
}

/* Copies what differs, so that pages which hold nothing of their own are not made to. */
static void carry_over(unsigned char *to, const unsigned char *from, size_t length_bytes) {
    size_t page_bytes = mmk_os_page_bytes();
    for (size_t at = 0; at < length_bytes; at += page_bytes) {
        size_t length = length_bytes - at < page_bytes ? length_bytes - at : page_bytes;
        if (memcmp(to + at, from + at, length) != 0)
            memcpy(to + at, from + at, length);
    }
}

/* Anywhere, and nobody is looking. What is in memory only, is carried over. */
static mmk_status move(mmk_region *region, size_t size_bytes) {
    size_t length = region->lead_bytes + size_bytes, old_bytes = region->mapped_bytes;
    size_t visible = region->size_bytes;
    mmk_source source = mmk__region_source(region, 0);
    if (region->huge == MMK_HUGE_EXPLICIT)
        length = mmk__round_up(length, region->faults.page_bytes);
    mmk_guard_retract(&region->faults);
    if (region->has_map && region->reserved_bytes == 0 && size_bytes > 0) {
        void *moved;
        mmk_status status = mmk_os_remap(region->base, old_bytes, length, &moved);
        if (status == MMK_OK) {
            region->base = moved;
            region->mapped_bytes = length;
            region->data = region->base + region->lead_bytes;
            return mmk__region_publish(region);
        }
        if (status != MMK_UNSUPPORTED) {
            mmk__region_publish(region);
            return status;
        }
    }
    unsigned char *old_base = region->base;
    unsigned char *old_data = region->data;
    size_t old_reserved = region->reserved_bytes;
    bool had_map = region->has_map;
    region->reserved_bytes = 0;
    if (source.file != MMK_NO_HANDLE && !source.is_private) {
        /* Some systems resize no file that is mapped. */
        if (had_map)
            mmk_os_unmap(old_base, old_bytes, old_reserved);
        region->has_map = false;
        mmk_status status = cut_unmapped(region);
        if (status == MMK_OK)
            status = grow_unmapped(region);
        if (status == MMK_OK)
            status = mmk__region_lay(region, size_bytes);
        if (status == MMK_OK)
            return MMK_OK;
        /* As it was; if even that fails, nothing is visible any more. */
        region->reserved_bytes = old_reserved;
        if (mmk__region_lay(region, visible) != MMK_OK) {
            mmk__region_show(region, 0);
            region->mapped_bytes = 0;
            region->data = NULL;
        }
        return status;
    }
    mmk_status status = mmk__region_lay(region, size_bytes);
    if (status != MMK_OK) {
        region->base = old_base;
        region->reserved_bytes = old_reserved;
        region->mapped_bytes = old_bytes;
        region->has_map = had_map;
        mmk__region_publish(region);
        return status;
    }
    if (had_map && size_bytes > 0)
        carry_over(region->data, old_data, visible < size_bytes ? visible : size_bytes);
    if (had_map)
        mmk_os_unmap(old_base, old_bytes, old_reserved);
    return MMK_OK;
}

/* Shrinking keeps the last page whole: what stood there must not come back. A file's is cleared by
 * the system. */
static void clear_rest_of_page(mmk_region *region, size_t old_size, size_t size_bytes) {
    size_t page_end = mmk__round_up(old_size, region->faults.page_bytes);
    memset(region->data + old_size, 0, (page_end < size_bytes ? page_end : size_bytes) - old_size);
}

static mmk_status reshape(mmk_region *region, size_t size_bytes) {
    size_t old_size = region->size_bytes;
    bool fits = fits_reserve(region, size_bytes);
    /* A file that is longer than it is going to be, although its mapping does not shrink. */
    bool cut = cuts_under_map(region);
    mmk_status status = MMK_OK;
    if (region->place != NULL)
        return size_bytes == old_size ? MMK_OK : MMK_UNSUPPORTED;
    if (region->backend == MMK_BACKEND_READ && size_bytes > old_size)
        status = mmk__heap_track(region, size_bytes);
    if (status != MMK_OK || (size_bytes == old_size && !cut))
        return status;
    if (fits && size_bytes > old_size && !cut) {
        status = grow_in_place(region, size_bytes);
    } else {
        status = mmk__region_move_begin(region);
        if (status != MMK_OK)
            return status;
        status = fits ? shrink_in_place(region, size_bytes) : move(region, size_bytes);
        if (status == MMK_OK)
            mmk__region_show(region, size_bytes);
        mmk__region_move_end(region);
    }
    if (status != MMK_OK)
        return status;
    if (region->backend == MMK_BACKEND_MEMORY && size_bytes > old_size)
        clear_rest_of_page(region, old_size, size_bytes);
    mmk__region_show(region, size_bytes);
    if (region->backend == MMK_BACKEND_READ && size_bytes > old_size)
        status = mmk__heap_load(region, old_size, size_bytes);
    return status;
}

mmk_status mmk_region_reshape(mmk_region *region, size_t size_bytes) {
    mmk__region_shape_lock(region);
    mmk_status status = mmk_region_closed(region) ? MMK_CLOSED : reshape(region, size_bytes);
    mmk__region_shape_unlock(region);
    return status;
}

/* The size that the region has if it follows its file. */
static mmk_status size_now(mmk_region *region, size_t *size_bytes) {
    mmk_file_info now;
    size_t visible = region->size_bytes;
    *size_bytes = visible;
    if (mmk__region_own_from(region, SIZE_MAX) < SIZE_MAX)
        return MMK_UNSUPPORTED;
    if (!mmk__region_has_file(region) || region->file.info.kind == MMK_FILE_CHAR_DEVICE)
        return MMK_OK;
    mmk_status status = mmk__region_look(region, &now);
    if (status != MMK_OK)
        return status;
    uint64_t inside = now.size_bytes > region->offset ? now.size_bytes - region->offset : 0;
    if (inside > PTRDIFF_MAX)
        return MMK_TOO_LARGE;
    if (region->to_end || inside < visible)
        *size_bytes = (size_t)inside;
    return MMK_OK;
}

static mmk_status follow(mmk_region *region, size_t *size_bytes) {
    mmk_status status = size_now(region, size_bytes);
    return status != MMK_OK ? status : reshape(region, *size_bytes);
}

mmk_status mmk_region_follow(mmk_region *region, size_t *size_bytes) {
    mmk_status status = mmk__region_resize_begin(region);
    if (status != MMK_OK)
        return status;
    status = follow(region, size_bytes);
    mmk__region_resize_end(region);
    return status;
}

static mmk_status fit(mmk_region *region, size_t size_bytes) {
    uint64_t file_bytes = 0;
    mmk_status status = mmk__region_own_from(region, SIZE_MAX) < SIZE_MAX
                            ? MMK_UNSUPPORTED
                            : mmk_region_measure(region, &file_bytes);
    if (status != MMK_OK)
        return status;
    if (file_bytes < region->offset || file_bytes - region->offset < size_bytes)
        return MMK_RANGE;
    status = reshape(region, size_bytes);
    if (status == MMK_OK)
        region->to_end = false;
    return status;
}

mmk_status mmk_region_fit(mmk_region *region, size_t size_bytes) {
    mmk_status status = mmk__region_resize_begin(region);
    if (status != MMK_OK)
        return status;
    status = fit(region, size_bytes);
    mmk__region_resize_end(region);
    return status;
}

mmk_status mmk_region_measure(mmk_region *region, uint64_t *file_bytes) {
    mmk_file_info now;
    if (!mmk__region_has_file(region) || region->file.info.kind != MMK_FILE_REGULAR)
        return MMK_UNSUPPORTED;
    mmk_status status = mmk__region_look(region, &now);
    *file_bytes = status == MMK_OK ? now.size_bytes : 0;
    return status;
}

/* --- protection -------------------------------------------------------------------------------- */

static mmk_status protect(mmk_region *region, unsigned protection) {
    bool fewer = (region->protection & ~protection & MMK_PROT_WRITE) != 0;
    if (region->backend == MMK_BACKEND_READ && (protection & MMK_PROT_EXEC))
        return MMK_UNSUPPORTED;
    if (fewer && mmk_region_exports(region) != 0)
        return MMK_EXPORTED;
    if (region->has_map && region->mapped_bytes > 0) {
        mmk_status status = mmk_os_protect(region->base, region->mapped_bytes, protection);
        if (status != MMK_OK)
            return status;
    }
    region->protection = protection;
    region->faults.protection = protection;
    return MMK_OK;
}

mmk_status mmk_region_protect(mmk_region *region, unsigned protection) {
    mmk__region_shape_lock(region);
    mmk_status status = mmk_region_closed(region) ? MMK_CLOSED : protect(region, protection);
    mmk__region_shape_unlock(region);
    return status;
}

mmk_status mmk_region_label(mmk_region *region, const char *name) {
    mmk__region_shape_lock(region);
    mmk_status status = MMK_UNSUPPORTED;
    if (mmk_region_closed(region))
        status = MMK_CLOSED;
    else if (region->has_map && region->mapped_bytes > 0)
        status = mmk_os_label(region->base, region->mapped_bytes, name);
    mmk__region_shape_unlock(region);
    return status;
}
