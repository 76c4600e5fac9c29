/* Opening: from a file and a range to visible bytes. */
#include <string.h>

#include "map/internal.h"

mmk_source mmk__region_source(const mmk_region *region, size_t at_bytes) {
    bool memory = region->backend == MMK_BACKEND_MEMORY || region->backend == MMK_BACKEND_READ;
    mmk_source source = {
        memory ? MMK_NO_HANDLE : region->file.handle,
        memory ? 0 : region->offset - region->lead_bytes + at_bytes,
        region->protection,
        region->backend == MMK_BACKEND_MAP_PRIVATE || region->mode == MMK_MODE_COPY,
    };
    return source;
}

mmk_status mmk__region_publish(mmk_region *region) {
    mmk_fault_record *faults = &region->faults;
    if (!region->has_map)
        return MMK_OK;
    /* Not the region's own tail: poison for what the file lost would be laid over it. */
    size_t own = mmk__region_own_from(region, SIZE_MAX), length = region->mapped_bytes;
    if (own < SIZE_MAX)
        length = own > 0 ? region->lead_bytes + own : 0;
    mmk_guard_describe(faults, region->base, mmk__round_up(length, faults->page_bytes));
    return mmk_guard_publish(faults);
}

static void describe_file(mmk_region *region) {
    mmk_source source = mmk__region_source(region, 0);
    mmk_fault_record *faults = &region->faults;
    faults->file = source.file;
    faults->file_offset = source.offset;
    faults->device = region->file.info.device;
    faults->inode = region->file.info.inode;
    faults->sized = source.file != MMK_NO_HANDLE && region->file.info.kind == MMK_FILE_REGULAR;
    faults->protection = region->protection;
}

mmk_status mmk__region_lay(mmk_region *region, size_t size_bytes) {
    mmk_source source = mmk__region_source(region, 0);
    size_t length = region->lead_bytes + size_bytes;
    void *base = NULL;
    mmk_status status = MMK_OK;
    describe_file(region);
    if (region->huge == MMK_HUGE_EXPLICIT)
        length = mmk__round_up(length, region->faults.page_bytes);
    if (region->reserved_bytes != 0) {
        status = mmk_os_reserve(region->reserved_bytes, &base);
        if (status == MMK_OK && size_bytes > 0)
            status = mmk_os_extend(&source, base, 0, length, region->reserved_bytes);
        if (status != MMK_OK && base != NULL)
            mmk_os_unmap(base, 0, region->reserved_bytes);
    } else if (region->place != NULL && size_bytes > 0) {
        base = region->place;
        status = mmk_os_replace(&source, base, length);
    } else if (size_bytes > 0) {
        status = mmk_os_map(&source, length, region->huge == MMK_HUGE_EXPLICIT, &base);
    }
    if (status != MMK_OK)
        return status;
    region->base = base;
    region->has_map = base != NULL;
    region->mapped_bytes = size_bytes > 0 ? length : 0;
    status = mmk__region_publish(region);
    if (status != MMK_OK) {
        mmk__region_unmap(region);
        return status;
    }
    region->data = region->has_map ? region->base + region->lead_bytes : NULL;
    mmk__region_show(region, size_bytes);
    return MMK_OK;
}

void mmk__region_unmap(mmk_region *region) {
    mmk_source source = mmk__region_source(region, 0);
    if (region->has_map && region->place != NULL)
        mmk_os_cut(&source, region->base, region->mapped_bytes, 0, region->mapped_bytes);
    else if (region->has_map)
        mmk_os_unmap(region->base, region->mapped_bytes, region->reserved_bytes);
    region->has_map = false;
}

static mmk_status lay_file(mmk_region *region, size_t size_bytes) {
    if (region->backend == MMK_BACKEND_READ) {
        region->lead_bytes = 0;
        region->protection = MMK_PROT_READ | MMK_PROT_WRITE;
    }
    mmk_status status = mmk__region_lay(region, size_bytes);
    if (status == MMK_OK && region->backend == MMK_BACKEND_READ) {
        status = mmk__heap_track(region, size_bytes);
        if (status == MMK_OK)
            status = mmk__heap_load(region, 0, size_bytes);
    }
    return status;
}

/* Some FUSE and network filesystems refuse shared maps, or all of them. Other errors would come again
 * whatever the way. */
static mmk_status lay_somehow(mmk_region *region, mmk_backend asked, size_t size_bytes) {
    size_t lead_bytes = region->lead_bytes;
    unsigned protection = region->protection;
    region->backend = asked == MMK_BACKEND_AUTO ? MMK_BACKEND_MAP : asked;
    mmk_status status = lay_file(region, size_bytes);
    if (asked != MMK_BACKEND_AUTO)
        return status;
    if (status != MMK_OK && mmk_os_refuses_mapping(status) && region->mode == MMK_MODE_READ) {
        region->backend = MMK_BACKEND_MAP_PRIVATE;
        status = lay_file(region, size_bytes);
    }
    if (status != MMK_OK && mmk_os_refuses_mapping(status)) {
        region->backend = MMK_BACKEND_READ;
        status = lay_file(region, size_bytes);
    }
    if (status != MMK_OK) {
        region->lead_bytes = lead_bytes;
        region->protection = protection;
    }
    return status;
}

static mmk_status measure(const mmk_file *file, const mmk_region_options *options,
                          size_t *size_bytes) {
    uint64_t end = file->info.kind == MMK_FILE_CHAR_DEVICE ? UINT64_MAX : file->info.size_bytes;
    if (file->info.kind == MMK_FILE_CHAR_DEVICE && options->length == MMK_TO_END)
        return MMK_NEEDS_LENGTH;
    if (options->offset > end)
        return MMK_RANGE;
    uint64_t length = options->length == MMK_TO_END ? end - options->offset : options->length;
    if (length > end - options->offset)
        return MMK_RANGE;
    if (length > PTRDIFF_MAX || options->reserve > PTRDIFF_MAX || options->offset > INT64_MAX)
        return MMK_TOO_LARGE;
    *size_bytes = (size_t)length;
    return MMK_OK;
}

mmk_status mmk_region_open(mmk_region *region, const mmk_file *file,
                           const mmk_region_options *options) {
    size_t size_bytes = 0;
    mmk_status status = measure(file, options, &size_bytes);
    if (status != MMK_OK)
        return status;
    size_t grain = mmk_os_granularity_bytes(), page_bytes = mmk_os_page_bytes();
    if (file->info.huge_page_bytes != 0)
        grain = page_bytes = file->info.huge_page_bytes;
    mmk__fork_watch();
    region->file = *file;
    region->mode = options->mode;
    region->sparse = options->sparse;
    region->place = options->place;
    region->to_end = options->length == MMK_TO_END;
    region->backed_bytes = SIZE_MAX;
    region->offset = options->offset;
    region->lead_bytes = (size_t)(options->offset % grain);
    region->protection = MMK_PROT_READ | (options->mode == MMK_MODE_READ ? 0 : MMK_PROT_WRITE);
    region->faults.page_bytes = page_bytes;
    if (options->reserve > 0) {
        size_t wanted = options->reserve > size_bytes ? (size_t)options->reserve : size_bytes;
        region->reserved_bytes = mmk__round_up(region->lead_bytes + wanted, grain);
    }
    status = lay_somehow(region, options->backend, size_bytes);
    if (status == MMK_OK && options->populate && size_bytes > 0)
        status = mmk_region_populate(region, 0, size_bytes);
    if (status != MMK_OK) { /* the file stays the caller's */
        region->file.handle = MMK_NO_HANDLE;
        mmk_region_close_deferred(region);
        mmk_region_close_finish(region);
    }
    return status;
}

mmk_status mmk_region_anonymous(mmk_region *region, size_t size_bytes, size_t reserve_bytes,
                                bool want_huge) {
    size_t grain = mmk_os_granularity_bytes();
    if (size_bytes > PTRDIFF_MAX || reserve_bytes > PTRDIFF_MAX)
        return MMK_TOO_LARGE;
    mmk__fork_watch();
    region->file.handle = MMK_NO_HANDLE;
    region->mode = MMK_MODE_WRITE;
    region->backend = MMK_BACKEND_MEMORY;
    region->backed_bytes = SIZE_MAX;
    region->protection = MMK_PROT_READ | MMK_PROT_WRITE;
    region->faults.page_bytes = mmk_os_page_bytes();
    if (reserve_bytes > 0)
        region->reserved_bytes =
            mmk__round_up(reserve_bytes > size_bytes ? reserve_bytes : size_bytes, grain);
    mmk_status status = MMK_UNSUPPORTED;
    if (want_huge && reserve_bytes == 0 && size_bytes > 0 && mmk_os_huge_page_bytes() != 0) {
        region->huge = MMK_HUGE_EXPLICIT;
        region->faults.page_bytes = mmk_os_huge_page_bytes();
        status = mmk__region_lay(region, size_bytes);
    }
    if (status != MMK_OK) {
        region->huge = MMK_HUGE_NONE;
        region->faults.page_bytes = mmk_os_page_bytes();
        status = mmk__region_lay(region, size_bytes);
        if (status == MMK_OK && want_huge && size_bytes > 0 &&
            mmk_os_advise(region->base, region->mapped_bytes, MMK_ADVICE_HUGEPAGE) == MMK_OK)
            region->huge = MMK_HUGE_TRANSPARENT;
    }
    if (status != MMK_OK) {
        mmk_region_close_deferred(region);
        mmk_region_close_finish(region);
    }
    return status;
}
