/* Kernels for x86-64 processors with AVX2. */
#include "scan/sets.h"

#ifdef MMK_HAS_AVX
#include <immintrin.h>

#include "os/compiler.h"

#define TARGET MMK_TARGET("avx2,bmi,bmi2,lzcnt,popcnt")

TARGET static MMK_INLINE uint64_t pack(const __m256i *matches) {
    return (uint64_t)(unsigned)_mm256_movemask_epi8(matches[0]) |
           (uint64_t)(unsigned)_mm256_movemask_epi8(matches[1]) << 32;
}

TARGET static MMK_INLINE size_t add_up(__m256i sum) {
    __m256i parts = _mm256_sad_epu8(sum, _mm256_setzero_si256());
    __m128i halves = _mm_add_epi64(_mm256_castsi256_si128(parts),
                                   _mm256_extracti128_si256(parts, 1));
    return (size_t)_mm_cvtsi128_si64(halves) +
           (size_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(halves, halves));
}

#define NAME avx2
#define VECTOR __m256i
#define LOAD(at) _mm256_loadu_si256((const __m256i *)(const void *)(at))
#define SPLAT(byte) _mm256_set1_epi8((char)(byte))
#define OR(v, w) _mm256_or_si256(v, w)
#define MATCH __m256i
#define EQUAL(v, w) _mm256_cmpeq_epi8(v, w)
#define BOTH(m, n) _mm256_and_si256(m, n)
#define EITHER(m, n) _mm256_or_si256(m, n)
#define SOME(m) (!_mm256_testz_si256(m, m))
#define VECTORS 2
#define BITS(matches) pack(matches)
#define SUM __m256i
#define SUM_NONE _mm256_setzero_si256()
#define SUM_ADD(sum, match) _mm256_sub_epi8(sum, match)
#define SUM_TOTAL(sum) add_up(sum)
#define SUM_MOST 255
#define AND(v, w) _mm256_and_si256(v, w)
#define LOW_HALVES _mm256_set1_epi8(15)
#define TABLE(at) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(at)))
#define SHUFFLE(table, v) _mm256_shuffle_epi8(table, AND(v, LOW_HALVES))
#define HIGH(v) _mm256_srli_epi16(v, 4)

#include "scan/generic.h"
#endif
