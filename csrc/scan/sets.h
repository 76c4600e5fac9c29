/* The instruction sets that this compiler can make kernels for; each has a file of its own. */
#ifndef MMK_SCAN_SETS_H
#define MMK_SCAN_SETS_H

#include "mmk/scan.h"

extern const mmk_kernels mmk__kernels_scalar;

#if defined(__x86_64__) || defined(_M_X64)
#define MMK_HAS_SSE2
extern const mmk_kernels mmk__kernels_sse2;
/* gcc for Windows takes the stack for aligned to 32 bytes where the system promises 16 (gcc bug
 * 54412): wider vectors that it keeps there would crash. */
#if !defined(__MINGW32__) || defined(__clang__)
#define MMK_HAS_AVX
extern const mmk_kernels mmk__kernels_avx2;
extern const mmk_kernels mmk__kernels_avx512;
#endif
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
#define MMK_HAS_NEON
extern const mmk_kernels mmk__kernels_neon;
#endif

#endif
