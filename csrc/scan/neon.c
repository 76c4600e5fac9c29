/* Kernels for every 64-bit ARM processor. */
#include "scan/sets.h"

#ifdef MMK_HAS_NEON
#include <arm_neon.h>

#include "os/compiler.h"

/* One bit of each byte that matches, and neighbours added three times: 64 bytes become 64 bits. */
static MMK_INLINE uint64_t pack(const uint8x16_t *matches) {
    const uint8x16_t weights = vcombine_u8(vcreate_u8(0x8040201008040201u),
                                           vcreate_u8(0x8040201008040201u));
    uint8x16_t low = vpaddq_u8(vandq_u8(matches[0], weights), vandq_u8(matches[1], weights));
    uint8x16_t high = vpaddq_u8(vandq_u8(matches[2], weights), vandq_u8(matches[3], weights));
    uint8x16_t sums = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}

#define NAME neon
#define TARGET
#define VECTOR uint8x16_t
#define LOAD(at) vld1q_u8(at)
#define SPLAT(byte) vdupq_n_u8(byte)
#define OR(v, w) vorrq_u8(v, w)
#define MATCH uint8x16_t
#define EQUAL(v, w) vceqq_u8(v, w)
#define BOTH(m, n) vandq_u8(m, n)
#define EITHER(m, n) vorrq_u8(m, n)
#define SOME(m) (vmaxvq_u8(m) != 0)
#define VECTORS 4
#define BITS(matches) pack(matches)
#define SUM uint8x16_t
#define SUM_NONE vdupq_n_u8(0)
#define SUM_ADD(sum, match) vsubq_u8(sum, match)
#define SUM_TOTAL(sum) ((size_t)vaddlvq_u8(sum))
#define SUM_MOST 255
#define AND(v, w) vandq_u8(v, w)
#define TABLE(at) vld1q_u8(at)
#define SHUFFLE(table, v) vqtbl1q_u8(table, vandq_u8(v, vdupq_n_u8(15)))
#define HIGH(v) vshrq_n_u8(v, 4)

#include "scan/generic.h"
#endif
