/* CRC-32C with the instruction that x86 has for it.
 *
 * It takes 3 cycles, and one can begin in each: so three streams go side by side, over neighbouring
 * stretches of a block, and are put together at its end. Putting together: the state after a stretch
 * is multiplied by x^(8 m), which is what m bytes of zeros behind it would do, and added (exclusive
 * or) to the next. In detail, for states a of a first stretch and factors k, as reflected numbers:
 *
 *   - the carry-less product of a and k, read as 8 bytes of data, is a k x;
 *   - 8 bytes d come to d x^32, so these to a k x^33; k is therefore x^(8 m - 33), modulo the
 *     polynomial;
 *   - products of both first stretches are added to the 8 bytes that follow the third one, so that
 *     one more instruction reduces all of them. m counts these bytes, too.
 */
#include "journal/ways.h"

#ifdef MMK_HAS_SSE42
#include <nmmintrin.h>
#include <string.h>
#include <wmmintrin.h>

#include "os/compiler.h"

/* To clang the one instruction is a feature of its own, which gcc knows as a part of the others. */
#ifdef __clang__
#define WITH_CRC MMK_TARGET("sse4.2,crc32,pclmul")
#else
#define WITH_CRC MMK_TARGET("sse4.2,pclmul")
#endif

/* Two sizes of block: pages come in long ones, a sector is just one short one. */
enum { LONG = 1360, SHORT = 168 };

static inline uint64_t word(const unsigned char *at) {
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    return bytes;
}

WITH_CRC
static inline uint64_t moved(uint64_t state, uint32_t factor) {
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state),
                                           _mm_cvtsi64_si128((long long)factor), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* A block of 3 * `stretch` + 8 bytes. The factors: x^(8 m - 33) for the first two stretches. */
WITH_CRC
static inline uint64_t block(uint64_t crc, const unsigned char *data, size_t stretch,
                             uint32_t first, uint32_t second) {
    uint64_t a = crc, b = 0, c = 0;
    for (const unsigned char *end = data + stretch; data < end; data += 8) {
        a = _mm_crc32_u64(a, word(data));
        b = _mm_crc32_u64(b, word(data + stretch));
        c = _mm_crc32_u64(c, word(data + 2 * stretch));
    }
    data += 2 * stretch;
    return _mm_crc32_u64(c, word(data) ^ moved(a, first) ^ moved(b, second));
}

WITH_CRC
uint32_t mmk__crc32c_sse42(uint32_t before, const unsigned char *data, size_t length) {
    uint64_t crc = ~before;
    for (; length >= 3 * LONG + 8; data += 3 * LONG + 8, length -= 3 * LONG + 8)
        crc = block(crc, data, LONG, 0x7b454cb3, 0x79113270);
    for (; length >= 3 * SHORT + 8; data += 3 * SHORT + 8, length -= 3 * SHORT + 8)
        crc = block(crc, data, SHORT, 0x8f158014, 0xdaece73e);
    for (; length >= 8; data += 8, length -= 8)
        crc = _mm_crc32_u64(crc, word(data));
    for (; length > 0; data++, length--)
        crc = _mm_crc32_u8((uint32_t)crc, *data);
    return ~(uint32_t)crc;
}
#else
typedef int mmk__no_sse42;
#endif
