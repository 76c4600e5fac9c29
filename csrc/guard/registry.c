/* The table of mappings and the bookkeeping of their faults; the same on every platform. */
#include "guard/registry.h"

#include "os/os.h"

typedef struct {
    _Atomic uintptr_t base;
    _Atomic uintptr_t end;
    _Atomic(mmk_fault_record *) record;
} registry_slot;

static registry_slot slots[MMK_GUARD_SLOTS];
static _Atomic size_t slots_used;  /* no slot from here on was ever taken */
static _Atomic size_t lowest_free; /* a hint where to look first */
_Atomic unsigned mmk__patch_count;
static mmk_fault_record claimed;   /* stands in a slot that is being filled */

mmk_fault_record *mmk__registry_find(uintptr_t address) {
    size_t used = atomic_load_explicit(&slots_used, memory_order_acquire);
    for (size_t i = 0; i < used; i++) {
        mmk_fault_record *record = atomic_load_explicit(&slots[i].record, memory_order_acquire);
        if (record == NULL || record == &claimed)
            continue;
        /* Whoever touches a mapping keeps it alive, so a range that holds the address cannot be
         * retracted while we look at it. */
        if (address >= atomic_load_explicit(&slots[i].base, memory_order_relaxed) &&
            address < atomic_load_explicit(&slots[i].end, memory_order_relaxed))
            return record;
    }
    return NULL;
}

void mmk__registry_each(void (*visit)(mmk_fault_record *record)) {
    size_t used = atomic_load_explicit(&slots_used, memory_order_acquire);
    for (size_t i = 0; i < used; i++) {
        mmk_fault_record *record = atomic_load_explicit(&slots[i].record, memory_order_acquire);
        if (record != NULL && record != &claimed)
            visit(record);
    }
}

static registry_slot *find_slot(const mmk_fault_record *record) {
    if (record->slot == 0)
        return NULL;
    return &slots[record->slot - 1];
}

static registry_slot *claim_slot(mmk_fault_record *record) {
    for (size_t i = atomic_load(&lowest_free); i < MMK_GUARD_SLOTS; i++) {
        mmk_fault_record *expected = NULL;
        if (atomic_load_explicit(&slots[i].record, memory_order_relaxed) != NULL ||
            !atomic_compare_exchange_strong(&slots[i].record, &expected, &claimed))
            continue;
        size_t used = atomic_load(&slots_used);
        while (used < i + 1 && !atomic_compare_exchange_weak(&slots_used, &used, i + 1)) {
        }
        atomic_store(&lowest_free, i + 1);
        record->slot = (unsigned)(i + 1);
        return &slots[i];
    }
    /* The hint only ever skips slots that were taken when it was set. */
    if (atomic_exchange(&lowest_free, 0) != 0)
        return claim_slot(record);
    return NULL;
}

void mmk_guard_describe(mmk_fault_record *record, void *base, size_t length_bytes) {
    mmk__record_lock(record);
    record->base = (uintptr_t)base;
    record->end = (uintptr_t)base + length_bytes;
    mmk__record_unlock(record);
}

mmk_status mmk_guard_publish(mmk_fault_record *record) {
    registry_slot *slot = find_slot(record);
    if (slot == NULL && (slot = claim_slot(record)) == NULL)
        return MMK_NO_SLOT;
    atomic_store_explicit(&slot->base, record->base, memory_order_relaxed);
    atomic_store_explicit(&slot->end, record->end, memory_order_relaxed);
    atomic_store_explicit(&slot->record, record, memory_order_release);
    return MMK_OK;
}

static void give_patches_back(mmk_fault_record *record) {
    atomic_fetch_sub(&mmk__patch_count, record->patches);
    record->patches = 0;
}

void mmk_guard_retract(mmk_fault_record *record) {
    registry_slot *slot = find_slot(record);
    if (slot == NULL)
        return;
    size_t index = record->slot - 1;
    give_patches_back(record);
    record->slot = 0;
    atomic_store_explicit(&slot->end, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->record, NULL, memory_order_release);
    size_t hint = atomic_load(&lowest_free);
    while (index < hint && !atomic_compare_exchange_weak(&lowest_free, &hint, index)) {
    }
}

/* --- records --------------------------------------------------------------------------------- */

void mmk__record_lock(mmk_fault_record *record) {
    unsigned spins = 0;
    while (atomic_exchange_explicit(&record->lock, 1, memory_order_acquire))
        if (++spins % 64 == 0)
            mmk_os_yield();
}

void mmk__record_unlock(mmk_fault_record *record) {
    atomic_store_explicit(&record->lock, 0, memory_order_release);
}

void mmk__record_fault(mmk_fault_record *record, mmk_cause cause, int code, uint64_t offset) {
    uint64_t count = atomic_load_explicit(&record->count, memory_order_relaxed);
    if (count == record->reported) {
        record->cause = cause;
        record->code = code;
        record->offset = offset;
    }
    uint64_t me = mmk_os_thread_id();
    uint64_t *free_entry = NULL;
    for (unsigned i = 0; i < MMK_GUARD_THREADS; i++) {
        if (record->threads[i] == me) {
            free_entry = &record->threads[i];
            break;
        }
        if (record->threads[i] == 0 && free_entry == NULL)
            free_entry = &record->threads[i];
    }
    /* With the table full, this thread's fault is told to whoever calls next. */
    if (free_entry != NULL)
        *free_entry = me;
    atomic_store_explicit(&record->count, count + 1, memory_order_relaxed);
    atomic_fetch_or(&record->state, MMK_FAULT_PENDING);
}

void mmk_guard_note(mmk_fault_record *record, mmk_cause cause, int code, uint64_t offset) {
    mmk__record_lock(record);
    mmk__record_fault(record, cause, code, offset);
    mmk__record_unlock(record);
}

static void fill(const mmk_fault_record *record, mmk_fault *fault) {
    fault->cause = record->cause;
    fault->code = record->code;
    fault->offset = record->offset;
    fault->count = atomic_load_explicit(&record->count, memory_order_relaxed);
}

/* Under the lock: true if the thread did not know of the damage; from now on it does. With the
 * table full, it is told every time. */
static bool learns_of_damage(mmk_fault_record *record, uint64_t me) {
    if (!(atomic_load(&record->state) & MMK_FAULT_DAMAGED))
        return false;
    for (unsigned i = 0; i < MMK_GUARD_TOLD; i++) {
        if (record->told[i] == me)
            return false;
        if (record->told[i] == 0) {
            record->told[i] = me;
            return true;
        }
    }
    return true;
}

void mmk__record_damage(mmk_fault_record *record) {
    memset(record->told, 0, sizeof record->told);
    atomic_fetch_or(&record->state, MMK_FAULT_DAMAGED);
}

bool mmk_guard_take(mmk_fault_record *record, mmk_fault *fault) {
    if (atomic_load(&record->state) == 0)
        return false;
    uint64_t me = mmk_os_thread_id();
    bool mine = false, others = false;
    mmk__record_lock(record);
    bool news = learns_of_damage(record, me);
    for (unsigned i = 0; i < MMK_GUARD_THREADS; i++) {
        if (record->threads[i] == me) {
            mine = true;
            record->threads[i] = 0;
        } else if (record->threads[i] != 0) {
            others = true;
        }
    }
    uint64_t count = atomic_load_explicit(&record->count, memory_order_relaxed);
    bool untold = count != record->reported;
    record->reported = count;
    if (!others)
        atomic_fetch_and(&record->state, ~(unsigned)MMK_FAULT_PENDING);
    fill(record, fault);
    mmk__record_unlock(record);
    return mine || untold || news;
}

bool mmk_guard_owes_me(mmk_fault_record *record) {
    uint64_t me = mmk_os_thread_id();
    bool owed = false;
    mmk__record_lock(record);
    for (unsigned i = 0; i < MMK_GUARD_THREADS; i++)
        owed = owed || record->threads[i] == me;
    mmk__record_unlock(record);
    return owed;
}

void mmk_guard_recall(mmk_fault_record *record, mmk_fault *fault) {
    mmk__record_lock(record);
    fill(record, fault);
    mmk__record_unlock(record);
}

bool mmk_guard_untold(mmk_fault_record *record) {
    mmk__record_lock(record);
    bool untold = atomic_load_explicit(&record->count, memory_order_relaxed) != record->reported;
    mmk__record_unlock(record);
    return untold;
}

void mmk__record_forget_threads(mmk_fault_record *record) {
    mmk__record_lock(record);
    memset(record->threads, 0, sizeof record->threads);
    if (atomic_load_explicit(&record->count, memory_order_relaxed) == record->reported)
        atomic_fetch_and(&record->state, ~(unsigned)MMK_FAULT_PENDING);
    mmk__record_unlock(record);
}

static bool overlaps(uintptr_t from, uintptr_t to, uintptr_t other_from, uintptr_t other_to) {
    return from < other_to && other_from < to;
}

bool mmk_guard_damaged(mmk_fault_record *record, const void *at, size_t length_bytes) {
    if (!(atomic_load(&record->state) & MMK_FAULT_DAMAGED))
        return false;
    uintptr_t from = (uintptr_t)at, to = from + length_bytes;
    mmk__record_lock(record);
    bool damaged = record->poisoned_from != 0 &&
                   overlaps(from, to, record->poisoned_from, record->end);
    for (unsigned i = 0; i < record->page_count && !damaged; i++)
        damaged = overlaps(from, to, record->pages[i], record->pages[i] + record->page_bytes);
    mmk__record_unlock(record);
    return damaged;
}

/* Under the lock from the first patch to the last word: a fault that came between them would lay
 * poison that nobody knows of. Patches that were undone leave the record one by one, because what is
 * in it counts as repaired, and its faults would come again for ever. */
mmk_status mmk_guard_heal(mmk_fault_record *record,
                          mmk_status (*cover)(void *context, void *at, size_t length_bytes),
                          void *context) {
    uint64_t me = mmk_os_thread_id();
    bool others = false;
    mmk_status status = MMK_OK;
    mmk__record_lock(record);
    while (status == MMK_OK && record->page_count > 0) {
        status = cover(context, (void *)record->pages[record->page_count - 1], record->page_bytes);
        record->page_count -= status == MMK_OK;
    }
    if (status == MMK_OK && record->poisoned_from != 0)
        status = cover(context, (void *)record->poisoned_from,
                       record->end - record->poisoned_from);
    if (status == MMK_OK) {
        record->poisoned_from = 0;
        give_patches_back(record);
        record->retries = 0;
        memset(record->retried, 0, sizeof record->retried);
        for (unsigned i = 0; i < MMK_GUARD_THREADS; i++) {
            if (record->threads[i] == me)
                record->threads[i] = 0;
            others = others || record->threads[i] != 0;
        }
        record->reported = atomic_load_explicit(&record->count, memory_order_relaxed);
        atomic_store(&record->state, others ? MMK_FAULT_PENDING : 0);
    }
    mmk__record_unlock(record);
    return status;
}
