/* Who is using a region's memory: one word of counters and marks.
 *
 *     bits 0..30    exports: views that hold the address
 *     bits 31..61   pins: calls that are touching the memory
 *     bit 62        moving: leases wait
 *     bit 63        closed: leases are refused
 */
#include <stdlib.h>

#include "map/internal.h"
#include "os/changed.h"

#define EXPORT_ONE ((uint64_t)1)
#define EXPORT_MASK (((uint64_t)1 << 31) - 1)
#define PIN_ONE ((uint64_t)1 << 31)
#define PIN_MASK (EXPORT_MASK << 31)
#define MOVING ((uint64_t)1 << 62)
#define CLOSED ((uint64_t)1 << 63)

/* A pin that is about to go is worth waiting for. */
#define PATIENCE 1000

static void release(mmk_region *region, uint64_t one) {
    uint64_t after = atomic_fetch_sub(&region->leases, one) - one;
    if (after == CLOSED) /* the last lease of a region that was closed meanwhile */
        mmk_region_close_finish(region);
}

static mmk_status acquire(mmk_region *region, uint64_t one) {
    for (;;) {
        uint64_t before = atomic_fetch_add(&region->leases, one);
        if (!(before & (CLOSED | MOVING)))
            return MMK_OK;
        release(region, one);
        if (before & CLOSED)
            return MMK_CLOSED;
        mmk_os_yield();
    }
}

mmk_status mmk_region_pin(mmk_region *region) { return acquire(region, PIN_ONE); }
void mmk_region_unpin(mmk_region *region) { release(region, PIN_ONE); }
mmk_status mmk_region_export(mmk_region *region) { return acquire(region, EXPORT_ONE); }
void mmk_region_unexport(mmk_region *region) { release(region, EXPORT_ONE); }

size_t mmk_region_exports(const mmk_region *region) {
    return (size_t)(atomic_load(&region->leases) & EXPORT_MASK);
}

bool mmk_region_closed(const mmk_region *region) {
    return (atomic_load(&region->leases) & CLOSED) != 0;
}

void mmk__region_forget_pins(mmk_region *region) {
    atomic_fetch_and(&region->leases, ~(PIN_MASK | MOVING));
}

/* Sets `mark` if there are no leases. */
static mmk_status mark_idle(mmk_region *region, uint64_t mark) {
    for (unsigned tries = 0;; tries++) {
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&region->leases, &found, mark))
            return MMK_OK;
        if (found & CLOSED)
            return MMK_CLOSED;
        if (found & EXPORT_MASK)
            return MMK_EXPORTED;
        if (tries == PATIENCE)
            return MMK_IN_USE;
        mmk_os_yield();
    }
}

mmk_status mmk__region_move_begin(mmk_region *region) { return mark_idle(region, MOVING); }
void mmk__region_move_end(mmk_region *region) { atomic_fetch_and(&region->leases, ~MOVING); }

static void hide(mmk_region *region) { region->size_bytes = 0; }

mmk_status mmk_region_close_begin(mmk_region *region) {
    mmk_status status = mark_idle(region, CLOSED);
    if (status == MMK_OK)
        hide(region);
    return status;
}

mmk_status mmk_region_close_deferred(mmk_region *region) {
    if (atomic_fetch_or(&region->leases, CLOSED) & CLOSED)
        return MMK_CLOSED;
    hide(region);
    return MMK_OK;
}

mmk_status mmk_region_rest(mmk_region *region) {
    mmk_status status = mmk_region_close_begin(region);
    if (status != MMK_OK)
        return status;
    if (region->mode != MMK_MODE_COPY || region->backend != MMK_BACKEND_MAP ||
        region->backed_bytes != SIZE_MAX || !region->has_map ||
        atomic_load(&region->faults.state) != 0)
        return MMK_UNSUPPORTED;
    return mmk_os_discard(region->base, region->mapped_bytes);
}

bool mmk_region_wake(mmk_region *region) {
    uint64_t found = CLOSED;
    if (atomic_load(&region->unmapped))
        return false;
    region->size_bytes = region->extent_bytes;
    return atomic_compare_exchange_strong(&region->leases, &found, 0);
}

void mmk_region_close_finish(mmk_region *region) {
    if ((atomic_load(&region->leases) & (EXPORT_MASK | PIN_MASK)) != 0 ||
        atomic_exchange(&region->unmapped, true))
        return;
    mmk__region_shape_lock(region);
    mmk_guard_retract(&region->faults);
    if (region->pristine != NULL) /* a mapping's stores reach the file by themselves; these do not */
        mmk__heap_store(region, 0, region->extent_bytes);
    mmk__region_unmap(region);
    region->data = NULL;
    free(region->pristine);
    region->pristine = NULL;
    mmk_file_close(&region->file);
    mmk__region_shape_unlock(region);
}

/* --- the shape lock ---------------------------------------------------------------------------- */

void mmk__region_shape_lock(mmk_region *region) {
    while (atomic_exchange_explicit(&region->lock, 1, memory_order_acquire))
        mmk_os_yield();
}

void mmk__region_shape_unlock(mmk_region *region) {
    atomic_store_explicit(&region->lock, 0, memory_order_release);
}

mmk_status mmk__region_resize_begin(mmk_region *region) {
    /* Between the steps of a resize, the file's size is not what it is going to be. */
    if (atomic_exchange(&region->resizing, true))
        return MMK_IN_USE;
    mmk__region_shape_lock(region);
    if (!mmk_region_closed(region))
        return MMK_OK;
    mmk__region_resize_end(region);
    return MMK_CLOSED;
}

void mmk__region_resize_end(mmk_region *region) {
    mmk__region_shape_unlock(region);
    atomic_store(&region->resizing, false);
}
