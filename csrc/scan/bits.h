/* Sets of positions in a block of 64 bytes. */
#ifndef MMK_SCAN_BITS_H
#define MMK_SCAN_BITS_H

#include <stdint.h>

#define MMK_BLOCK 64

/* Bits of positions below n, for n from 1 to 64. */
static inline uint64_t mmk__bits_below(unsigned n) {
    return UINT64_MAX >> (64 - n);
}

/* A set without its first n positions. */
static inline uint64_t mmk__bits_after(uint64_t bits, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        bits &= bits - 1;
    return bits;
}

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static inline unsigned mmk__bits_first(uint64_t bits) {
    unsigned long index;
    _BitScanForward64(&index, bits);
    return (unsigned)index;
}
static inline unsigned mmk__bits_last(uint64_t bits) {
    unsigned long index;
    _BitScanReverse64(&index, bits);
    return (unsigned)index;
}
/* The instruction is not in every x86-64 processor. */
static inline unsigned mmk__bits_count(uint64_t bits) {
    bits -= bits >> 1 & 0x5555555555555555;
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333);
    return (unsigned)(((bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}
#else
#define mmk__bits_first(bits) ((unsigned)__builtin_ctzll(bits))
#define mmk__bits_last(bits) (63u - (unsigned)__builtin_clzll(bits))
#define mmk__bits_count(bits) ((unsigned)__builtin_popcountll(bits))
#endif

#endif
