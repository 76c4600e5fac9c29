/* Runs: where bytes belong that lie one after the other. */
#ifndef MMK_RUNS_H
#define MMK_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t offset;
    int64_t length_bytes;
} mmk_run;

/* How long all are together. False if one of them does not lie in [0, end), or all would be longer
 * than any memory. */
static inline bool mmk_runs_measure(const mmk_run *runs, size_t count, uint64_t end,
                                    uint64_t *length_bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)runs[i].offset, length = (uint64_t)runs[i].length_bytes;
        /* What is negative is larger than any end. */
        if (offset > end || length > end - offset || length > (uint64_t)INT64_MAX - sum)
            return false;
        sum += length;
    }
    *length_bytes = sum;
    return true;
}

#endif
