/* How much of a needle is found somewhere. */
#ifndef MMK_SCAN_COMPARE_H
#define MMK_SCAN_COMPARE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "scan/fold.h"

/* So many bytes are the same; with `fold`, those of `bytes` are small letters. */
static inline size_t mmk__same_size(const unsigned char *at, const unsigned char *bytes,
                                    size_t size, bool fold) {
    size_t i = 0;
    if (fold) {
        while (i < size && mmk__fold(at[i]) == bytes[i])
            i++;
        return i;
    }
    for (; size - i >= 8; i += 8) {
        uint64_t a, b;
        memcpy(&a, at + i, 8);
        memcpy(&b, bytes + i, 8);
        if (a != b)
            break;
    }
    while (i < size && at[i] == bytes[i])
        i++;
    return i;
}

#endif
