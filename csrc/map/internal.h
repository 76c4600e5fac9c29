/* What the files of map/ tell each other about regions. */
#ifndef MMK_MAP_INTERNAL_H
#define MMK_MAP_INTERNAL_H

#include "mmk/region.h"
#include "os/os.h"

/* Held while the shape changes. Nothing under it waits for the host's lock. */
void mmk__region_shape_lock(mmk_region *region);
void mmk__region_shape_unlock(mmk_region *region);
/* The same around a resize in one step: MMK_IN_USE while another one is under way, MMK_CLOSED. */
mmk_status mmk__region_resize_begin(mmk_region *region);
void mmk__region_resize_end(mmk_region *region);

/* Succeeds when there is no lease; holds new ones up until done. */
mmk_status mmk__region_move_begin(mmk_region *region);
void mmk__region_move_end(mmk_region *region);
void mmk__region_forget_pins(mmk_region *region);

/* Where the mapped bytes come from, seen from `base` + `at_bytes`. */
mmk_source mmk__region_source(const mmk_region *region, size_t at_bytes);
/* Looks at the file as it is. Descriptors are sometimes closed behind our back, by a daemon that
 * closes them all, and the number may be another file's by now: MMK_NOT_OURS. */
mmk_status mmk__region_look(const mmk_region *region, mmk_file_info *now);
/* Makes so many bytes visible. */
static inline void mmk__region_show(mmk_region *region, size_t size_bytes) {
    region->extent_bytes = size_bytes;
    region->size_bytes = size_bytes;
}
/* Where the bytes that are not the file's begin, among so many. */
static inline size_t mmk__region_own_from(const mmk_region *region, size_t size_bytes) {
    size_t backed = region->backed_bytes;
    return backed < size_bytes ? backed : size_bytes;
}
/* Whole pages that hold a range of the visible bytes. */
mmk_span mmk__region_pages(const mmk_region *region, size_t offset, size_t length_bytes);
/* Puts `size_bytes` visible bytes behind `base`, and sets `data`. */
mmk_status mmk__region_lay(mmk_region *region, size_t size_bytes);
/* Gives the addresses back, to the system or to whose reservation they lie in. */
void mmk__region_unmap(mmk_region *region);
/* Tells the guard where the mapping lies now. */
mmk_status mmk__region_publish(mmk_region *region);

/* Registers the fork handlers, once. */
void mmk__fork_watch(void);

/* READ backend: memory that stands in for a mapping. */
mmk_status mmk__heap_load(mmk_region *region, size_t from, size_t to);
mmk_status mmk__heap_store(mmk_region *region, size_t offset, size_t length_bytes);
/* Readies the copy that tells what was changed, for `size_bytes`. */
mmk_status mmk__heap_track(mmk_region *region, size_t size_bytes);

static inline size_t mmk__round_up(size_t bytes, size_t step) {
    return (bytes + step - 1) & ~(step - 1);
}

static inline bool mmk__region_has_file(const mmk_region *region) {
    return region->backend != MMK_BACKEND_MEMORY;
}

#endif
