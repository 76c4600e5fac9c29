/* The process's mappings, readable from a signal handler: a fixed table, no locks, no memory. */
#ifndef MMK_GUARD_REGISTRY_H
#define MMK_GUARD_REGISTRY_H

#include "mmk/guard.h"

/* More than Linux lets a process map by default (vm.max_map_count is 65,530). */
#define MMK_GUARD_SLOTS 65536

/* The record whose published range holds `address`, or NULL. Async-signal-safe. */
mmk_fault_record *mmk__registry_find(uintptr_t address);
/* Calls `visit` for every published record. */
void mmk__registry_each(void (*visit)(mmk_fault_record *record));

/* Mappings of poison in the whole process; each record counts its own, and gives them back. */
extern _Atomic unsigned mmk__patch_count;

/* Records are changed under a spin lock that the signal handler takes too, so nothing that can
 * fault happens while it is held. */
void mmk__record_lock(mmk_fault_record *record);
void mmk__record_unlock(mmk_fault_record *record);
/* Drops the claims of threads that are not in this process. */
void mmk__record_forget_threads(mmk_fault_record *record);
/* Under the lock, before poison is laid: nobody knows of it yet. */
void mmk__record_damage(mmk_fault_record *record);
/* Under the lock: counts one fault of this thread. */
void mmk__record_fault(mmk_fault_record *record, mmk_cause cause, int code, uint64_t offset);

#endif
