/* Kernels for x86-64 processors with AVX-512 for bytes. */
#include "scan/sets.h"

#ifdef MMK_HAS_AVX
#include <immintrin.h>

#define NAME avx512
#define TARGET MMK_TARGET("avx512f,avx512bw,avx2,bmi,bmi2,lzcnt,popcnt")
#define VECTOR __m512i
#define LOAD(at) _mm512_loadu_si512((const void *)(at))
#define SPLAT(byte) _mm512_set1_epi8((char)(byte))
#define OR(v, w) _mm512_or_si512(v, w)
#define MATCH __mmask64
#define EQUAL(v, w) _mm512_cmpeq_epi8_mask(v, w)
#define BOTH(m, n) ((m) & (n))
#define EITHER(m, n) ((m) | (n))
#define SOME(m) ((m) != 0)
#define VECTORS 1
#define BITS(matches) ((uint64_t)(matches)[0])
#define SUM uint64_t
#define SUM_NONE 0
#define SUM_ADD(sum, match) ((sum) + mmk__bits_count(match))
#define SUM_TOTAL(sum) ((size_t)(sum))
#define SUM_MOST SIZE_MAX
#define AND(v, w) _mm512_and_si512(v, w)
#define LOW_HALVES _mm512_set1_epi8(15)
#define TABLE(at) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)(at)))
#define SHUFFLE(table, v) _mm512_shuffle_epi8(table, AND(v, LOW_HALVES))
#define HIGH(v) _mm512_srli_epi16(v, 4)

#include "scan/generic.h"
#endif
