/* A child process has one thread. Locks that another thread held at the fork would stay held in it
 * for ever, and calls that another thread was inside would never end. So a fork waits for the
 * locks, which are only ever held briefly and never across a wait for the host's lock; and the
 * child forgets the calls.
 */
#include <stddef.h>

#include "guard/registry.h"
#include "map/internal.h"

static mmk_region *region_of(mmk_fault_record *record) {
    return (mmk_region *)((char *)record - offsetof(mmk_region, faults));
}

static void hold(mmk_fault_record *record) {
    mmk__region_shape_lock(region_of(record));
    if (record->slot == 0) { /* retracted while we waited: nobody would let it go again */
        mmk__region_shape_unlock(region_of(record));
        return;
    }
    mmk__record_lock(record);
    record->held_for_fork = true;
}

static void let_go(mmk_fault_record *record) {
    if (!record->held_for_fork) /* published by another thread since */
        return;
    record->held_for_fork = false;
    mmk__record_unlock(record);
    mmk__region_shape_unlock(region_of(record));
}

static void start_over(mmk_fault_record *record) {
    mmk_region *region = region_of(record);
    record->held_for_fork = true;
    let_go(record);
    mmk__region_forget_pins(region);
    atomic_store(&region->resizing, false);
    mmk__record_forget_threads(record);
}

static void before(void) { mmk__registry_each(hold); }
static void in_parent(void) { mmk__registry_each(let_go); }
static void in_child(void) { mmk__registry_each(start_over); }

void mmk__fork_watch(void) {
    static atomic_bool watching;
    if (!atomic_exchange(&watching, true))
        mmk_os_on_fork(before, in_parent, in_child);
}
