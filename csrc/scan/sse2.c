/* Kernels for every x86-64 processor. */
#include "scan/sets.h"

#ifdef MMK_HAS_SSE2
#include <emmintrin.h>

#include "os/compiler.h"

static MMK_INLINE uint64_t pack(const __m128i *matches) {
    uint64_t all = 0;
    for (unsigned v = 0; v < 4; v++)
        all |= (uint64_t)(unsigned)_mm_movemask_epi8(matches[v]) << (v * 16);
    return all;
}

static MMK_INLINE size_t add_up(__m128i sum) {
    __m128i halves = _mm_sad_epu8(sum, _mm_setzero_si128());
    return (size_t)_mm_cvtsi128_si64(halves) +
           (size_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(halves, halves));
}

#define NAME sse2
#define TARGET
#define VECTOR __m128i
#define LOAD(at) _mm_loadu_si128((const __m128i *)(const void *)(at))
#define SPLAT(byte) _mm_set1_epi8((char)(byte))
#define OR(v, w) _mm_or_si128(v, w)
#define MATCH __m128i
#define EQUAL(v, w) _mm_cmpeq_epi8(v, w)
#define BOTH(m, n) _mm_and_si128(m, n)
#define EITHER(m, n) _mm_or_si128(m, n)
#define SOME(m) (_mm_movemask_epi8(m) != 0)
#define VECTORS 4
#define BITS(matches) pack(matches)
#define SUM __m128i
#define SUM_NONE _mm_setzero_si128()
#define SUM_ADD(sum, match) _mm_sub_epi8(sum, match)
#define SUM_TOTAL(sum) add_up(sum)
#define SUM_MOST 255

#include "scan/generic.h"
#endif
