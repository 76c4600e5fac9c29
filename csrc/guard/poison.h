/* Memory that stands in for what cannot be backed. Async-signal-safe. */
#ifndef MMK_GUARD_POISON_H
#define MMK_GUARD_POISON_H

#include <stdbool.h>
#include <stdint.h>

#include "mmk/guard.h"

/* Replaces [from, to) by private pages that read as 0xFF, in one call where the range fits the
 * poison object, and in few otherwise. */
bool mmk__poison_lay(mmk_fault_record *record, uintptr_t from, uintptr_t to);

#endif
