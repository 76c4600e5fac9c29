/* Between memory and disk: flushing, and finding out what was lost on the way. */
#include "map/internal.h"

/* --- finding out ------------------------------------------------------------------------------- */

/* What other threads are still owed the report of, after a recovery, is not this thread's concern. */
static bool is_lost(mmk_region *region) {
    unsigned state = atomic_load(&region->faults.state);
    if ((state & MMK_FAULT_DAMAGED) || atomic_load(&region->lost_writes))
        return true;
    return state != 0 &&
           (mmk_guard_untold(&region->faults) || mmk_guard_owes_me(&region->faults));
}

mmk_status mmk__region_look(const mmk_region *region, mmk_file_info *now) {
    mmk_status status = mmk_os_file_inspect(region->file.handle, now);
    bool ours = now->device == region->file.info.device && now->inode == region->file.info.inode;
    return status == MMK_OK && !ours ? MMK_NOT_OURS : status;
}

mmk_status mmk_region_inspect(mmk_region *region) {
    mmk_file_info now;
    /* First: growing makes the file longer before the mapping, perhaps in between. */
    uint64_t end = region->offset + mmk__region_own_from(region, region->extent_bytes);
    if (mmk__region_has_file(region) && region->file.info.kind == MMK_FILE_REGULAR) {
        mmk_status status = mmk__region_look(region, &now);
        if (status != MMK_OK)
            return status;
        uint64_t file_bytes = now.size_bytes;
        if (file_bytes < end) {
            bool met = (atomic_load(&region->faults.state) & MMK_FAULT_DAMAGED) != 0;
            if (!atomic_exchange(&region->known_short, true) && !met)
                mmk_guard_note(&region->faults, MMK_CAUSE_TRUNCATED, mmk_os_truncated_error(),
                               file_bytes > region->offset ? file_bytes : region->offset);
            return MMK_FAULTED;
        }
        atomic_store(&region->known_short, false);
    }
    return is_lost(region) ? MMK_FAULTED : MMK_OK;
}

/* --- recovering -------------------------------------------------------------------------------- */

static mmk_status cover(void *context, void *at, size_t length_bytes) {
    mmk_region *region = context;
    size_t at_bytes = (size_t)((unsigned char *)at - region->base);
    mmk_source source = mmk__region_source(region, at_bytes);
    return mmk_os_replace(&source, at, length_bytes);
}

static mmk_status recover(mmk_region *region) {
    mmk_file_info now;
    mmk_status status = mmk__region_has_file(region) ? mmk__region_look(region, &now) : MMK_OK;
    if (status == MMK_OK)
        status = mmk_guard_heal(&region->faults, cover, region);
    if (status != MMK_OK)
        return status;
    atomic_store(&region->known_short, false);
    return mmk_region_inspect(region);
}

mmk_status mmk_region_recover(mmk_region *region) {
    mmk__region_shape_lock(region);
    mmk_status status = mmk_region_closed(region) ? MMK_CLOSED : recover(region);
    mmk__region_shape_unlock(region);
    return status;
}

/* --- flushing ---------------------------------------------------------------------------------- */

/* The first failed write-back is the only one that the system tells of: afterwards the pages count
 * as clean, and flushing "succeeds" (fsync(2); measured with a FUSE filesystem). So it sticks. */
static mmk_status lost(mmk_region *region, mmk_status status, size_t offset) {
    if (status <= 0 || !mmk_os_means_lost_write(status))
        return status;
    atomic_store(&region->lost_writes, true);
    mmk_guard_note(&region->faults,
                   mmk_os_means_no_space(status) ? MMK_CAUSE_NO_SPACE : MMK_CAUSE_IO_ERROR, status,
                   region->offset + offset);
    return MMK_FAULTED;
}

void mmk_region_mark_lost(mmk_region *region, int code) {
    mmk_fault told;
    atomic_store(&region->lost_writes, true);
    mmk_guard_note(&region->faults, MMK_CAUSE_IO_ERROR, code, region->offset);
    mmk_guard_take(&region->faults, &told);
}

static mmk_status write_back(mmk_region *region, size_t offset, size_t length_bytes,
                             mmk_flush_level level) {
    if (region->backend == MMK_BACKEND_READ)
        return mmk__heap_store(region, offset, length_bytes);
    size_t page_bytes = mmk_os_page_bytes();
    size_t from = (region->lead_bytes + offset) & ~(page_bytes - 1);
    mmk_source source = mmk__region_source(region, from);
    return mmk_os_flush(&source, region->base + from,
                        region->lead_bytes + offset + length_bytes - from,
                        level != MMK_FLUSH_ASYNC);
}

mmk_status mmk_region_flush(mmk_region *region, size_t offset, size_t length_bytes,
                            mmk_flush_level level) {
    if (region->mode != MMK_MODE_WRITE || !mmk__region_has_file(region))
        return MMK_OK;
    mmk_status status = mmk_region_inspect(region);
    if (status == MMK_OK && length_bytes > 0)
        status = lost(region, write_back(region, offset, length_bytes, level), offset);
    if (status == MMK_OK && level == MMK_FLUSH_DISK)
        status = lost(region, mmk_os_file_sync(region->file.handle), offset);
    if (status == MMK_OK) /* what other threads met meanwhile */
        status = mmk_region_inspect(region);
    return status;
}
