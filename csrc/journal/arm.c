/* CRC-32C with the instruction that ARMv8 has for it. */
#include "journal/ways.h"

#ifdef MMK_HAS_ARM_CRC
#include <string.h>
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <arm_acle.h>
#endif

#include "os/compiler.h"

#ifdef __ARM_FEATURE_CRC32
#define WITH_CRC
#else
#define WITH_CRC MMK_TARGET("+crc")
#endif

WITH_CRC
uint32_t mmk__crc32c_arm(uint32_t before, const unsigned char *data, size_t length) {
    uint32_t crc = ~before;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t bytes;
        memcpy(&bytes, data, sizeof bytes);
        crc = __crc32cd(crc, bytes);
    }
    for (; length > 0; data++, length--)
        crc = __crc32cb(crc, *data);
    return ~crc;
}
#else
typedef int mmk__no_arm_crc;
#endif
