/* The ways to compute a checksum. */
#ifndef MMK_JOURNAL_WAYS_H
#define MMK_JOURNAL_WAYS_H

#include "mmk/checksum.h"

/* The instructions are of 64-bit processors. */
#if defined(__x86_64__) || defined(_M_X64)
#define MMK_HAS_SSE42 1
#endif
#if (defined(__aarch64__) && defined(__AARCH64EL__)) || defined(_M_ARM64)
#define MMK_HAS_ARM_CRC 1
#endif

uint32_t mmk__crc32c_portable(uint32_t before, const unsigned char *data, size_t length);
uint32_t mmk__crc32c_sse42(uint32_t before, const unsigned char *data, size_t length);
uint32_t mmk__crc32c_arm(uint32_t before, const unsigned char *data, size_t length);

#endif
