/* Scalars named by a struct code ("<d", "H") or a numpy code ("<f8", "u2"). */
#ifndef MMK_SCALAR_H
#define MMK_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum {
    MMK_SCALAR_INVALID,
    MMK_SCALAR_SIGNED,
    MMK_SCALAR_UNSIGNED,
    MMK_SCALAR_FLOAT,
    MMK_SCALAR_BOOL,
    MMK_SCALAR_CHAR
} mmk_scalar_kind;

typedef struct {
    mmk_scalar_kind kind;
    unsigned size_bytes; /* 1, 2, 4 or 8 */
    bool swapped;        /* its byte order is not the machine's */
} mmk_scalar;

/* kind is MMK_SCALAR_INVALID if the code is not one. */
mmk_scalar mmk_scalar_parse(const char *code, size_t length);

/* The value's bits, in the machine's order, from and to `size_bytes` raw bytes. */
static inline uint64_t mmk_scalar_unpack(mmk_scalar scalar, const void *raw) {
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (scalar.size_bytes) {
    case 1: memcpy(&one, raw, 1); return one;
    case 2: memcpy(&two, raw, 2);
        return scalar.swapped ? (uint16_t)(two << 8 | two >> 8) : two;
    case 4: memcpy(&four, raw, 4);
        if (scalar.swapped)
            four = four << 24 | (four & 0xff00) << 8 | (four >> 8 & 0xff00) | four >> 24;
        return four;
    default: memcpy(&eight, raw, 8);
        if (scalar.swapped) {
            eight = (eight & 0x00ff00ff00ff00ff) << 8 | (eight >> 8 & 0x00ff00ff00ff00ff);
            eight = (eight & 0x0000ffff0000ffff) << 16 | (eight >> 16 & 0x0000ffff0000ffff);
            eight = eight << 32 | eight >> 32;
        }
        return eight;
    }
}

void mmk_scalar_pack(mmk_scalar scalar, uint64_t bits, void *raw);

#endif
