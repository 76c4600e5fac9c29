/* Which ways to compute a checksum this processor has. */
#include <stdbool.h>
#include <string.h>

#include "journal/ways.h"

#ifdef MMK_HAS_SSE42
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif

/* Intel's manual, volume 2, CPUID: leaf 1, ECX. */
static bool runs_sse42(void) {
    enum { PCLMULQDQ = 1 << 1, SSE42 = 1 << 20 };
    unsigned registers[4] = {0, 0, 0, 0};
#ifdef _MSC_VER
    __cpuid((int *)registers, 1);
#else
    __get_cpuid(1, &registers[0], &registers[1], &registers[2], &registers[3]);
#endif
    return (registers[2] & (PCLMULQDQ | SSE42)) == (PCLMULQDQ | SSE42);
}
#endif

#ifdef MMK_HAS_ARM_CRC
#if defined(__ARM_FEATURE_CRC32)
static bool runs_arm(void) { return true; }
#elif defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
static bool runs_arm(void) {
    return IsProcessorFeaturePresent(PF_ARM_V8_CRC32_INSTRUCTIONS_AVAILABLE) != 0;
}
#elif defined(__linux__)
#include <sys/auxv.h>
/* <asm/hwcap.h>: HWCAP_CRC32 */
static bool runs_arm(void) { return (getauxval(AT_HWCAP) & (1 << 7)) != 0; }
#else
static bool runs_arm(void) { return false; }
#endif
#endif

static bool runs_always(void) { return true; }

static const struct {
    mmk_checksum checksum;
    bool (*runs)(void);
} WAYS[] = {
    /* slowest first */
    {{"portable", mmk__crc32c_portable}, runs_always},
#ifdef MMK_HAS_SSE42
    {{"sse42", mmk__crc32c_sse42}, runs_sse42},
#endif
#ifdef MMK_HAS_ARM_CRC
    {{"arm", mmk__crc32c_arm}, runs_arm},
#endif
};

const mmk_checksum *mmk_checksum_at(unsigned index) {
    for (unsigned i = 0; i < sizeof WAYS / sizeof WAYS[0]; i++)
        if (WAYS[i].runs() && index-- == 0)
            return &WAYS[i].checksum;
    return NULL;
}

const mmk_checksum *mmk_checksum_named(const char *name) {
    const mmk_checksum *checksum;
    for (unsigned i = 0; (checksum = mmk_checksum_at(i)) != NULL; i++)
        if (strcmp(checksum->name, name) == 0)
            return checksum;
    return NULL;
}

const mmk_checksum *mmk_checksum_best(void) {
    const mmk_checksum *best = NULL, *checksum;
    for (unsigned i = 0; (checksum = mmk_checksum_at(i)) != NULL; i++)
        best = checksum;
    return best;
}
