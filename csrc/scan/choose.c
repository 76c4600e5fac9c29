/* Which kernels this processor runs. */
#include <string.h>

#include "scan/sets.h"

#ifdef MMK_HAS_AVX
#ifdef _MSC_VER
#include <immintrin.h>
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned registers[4]) {
    __cpuidex((int *)registers, (int)leaf, 0);
}
static uint64_t enabled_state(void) {
    return _xgetbv(0);
}
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned registers[4]) {
    __cpuid_count(leaf, 0, registers[0], registers[1], registers[2], registers[3]);
}
static uint64_t enabled_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

/* Bits of Intel's manual, volume 2, CPUID, and volume 1, 13.3. All of `wanted` in `flags`. */
static bool has(uint64_t flags, uint64_t wanted) {
    return (flags & wanted) == wanted;
}

enum { YMM_STATE = 0x6, ZMM_STATE = 0xe6 };
enum { POPCNT = 1 << 23, OSXSAVE = 1 << 27, AVX = 1 << 28 };             /* leaf 1, ECX */
enum { BMI1 = 1 << 3, AVX2 = 1 << 5, BMI2 = 1 << 8, AVX512F = 1 << 16, AVX512BW = 1 << 30 }; /* 7, EBX */
enum { LZCNT = 1 << 5 };                                                  /* leaf 0x80000001, ECX */

static bool runs(uint64_t state, unsigned features) {
    unsigned r[4];
    cpuid(0, r);
    if (r[0] < 7)
        return false;
    cpuid(1, r);
    /* The system has to save the registers, too. */
    if (!has(r[2], POPCNT | OSXSAVE | AVX) || !has(enabled_state(), state))
        return false;
    cpuid(0x80000000u, r);
    if (r[0] < 0x80000001u)
        return false;
    cpuid(0x80000001u, r);
    if (!has(r[2], LZCNT))
        return false;
    cpuid(7, r);
    return has(r[1], features);
}

static bool runs_avx2(void) {
    return runs(YMM_STATE, BMI1 | AVX2 | BMI2);
}

static bool runs_avx512(void) {
    return runs(ZMM_STATE, BMI1 | AVX2 | BMI2 | AVX512F | AVX512BW);
}
#endif

static bool runs_always(void) {
    return true;
}

static const struct {
    const mmk_kernels *kernels;
    bool (*runs)(void);
} SETS[] = {
    /* slowest first */
    {&mmk__kernels_scalar, runs_always},
#ifdef MMK_HAS_SSE2
    {&mmk__kernels_sse2, runs_always},
#endif
#ifdef MMK_HAS_AVX
    {&mmk__kernels_avx2, runs_avx2},
    {&mmk__kernels_avx512, runs_avx512},
#endif
#ifdef MMK_HAS_NEON
    {&mmk__kernels_neon, runs_always},
#endif
};

const mmk_kernels *mmk_kernels_at(unsigned index) {
    for (unsigned i = 0; i < sizeof SETS / sizeof SETS[0]; i++)
        if (SETS[i].runs() && index-- == 0)
            return SETS[i].kernels;
    return NULL;
}

const mmk_kernels *mmk_kernels_named(const char *name) {
    const mmk_kernels *kernels;
    for (unsigned i = 0; (kernels = mmk_kernels_at(i)) != NULL; i++)
        if (strcmp(kernels->name, name) == 0)
            return kernels;
    return NULL;
}

const mmk_kernels *mmk_kernels_best(void) {
    const mmk_kernels *best = &mmk__kernels_scalar, *kernels;
    for (unsigned i = 0; (kernels = mmk_kernels_at(i)) != NULL; i++)
        best = kernels;
    return best;
}
