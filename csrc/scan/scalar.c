/* Kernels for any processor: eight bytes in a number. */
#include <stdint.h>
#include <string.h>

#include "os/compiler.h"
#include "scan/sets.h"

#define LOW_BITS 0x7f7f7f7f7f7f7f7fu

/* The byte at the lowest address in the lowest bits, on every processor. */
static MMK_INLINE uint64_t load(const unsigned char *at) {
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

/* The highest bit of each byte that is equal. Adding 0x7f carries into that bit from any of the
 * others, and never into the next byte. */
static MMK_INLINE uint64_t equal(uint64_t a, uint64_t b) {
    uint64_t other = a ^ b;
    return ~(((other & LOW_BITS) + LOW_BITS) | other | LOW_BITS);
}

/* The product puts bit 8 i + 7 to bit 56 + i. */
static MMK_INLINE uint64_t pack(const uint64_t *matches) {
    uint64_t all = 0;
    for (unsigned v = 0; v < 8; v++)
        all |= ((matches[v] >> 7) * 0x0102040810204080u >> 56) << (v * 8);
    return all;
}

#define NAME scalar
#define TARGET
#define VECTOR uint64_t
#define LOAD(at) load(at)
#define SPLAT(byte) ((byte) * (uint64_t)0x0101010101010101u)
#define OR(v, w) ((v) | (w))
#define MATCH uint64_t
#define EQUAL(v, w) equal(v, w)
#define BOTH(m, n) ((m) & (n))
#define EITHER(m, n) ((m) | (n))
#define SOME(m) ((m) != 0)
#define VECTORS 8
#define BITS(matches) pack(matches)
/* Each byte of the sum counts its own matches, up to 255 of them. */
#define SUM uint64_t
#define SUM_NONE 0
#define SUM_ADD(sum, match) ((sum) + ((match) >> 7))
#define SUM_TOTAL(sum) add_up(sum)
#define SUM_MOST 255

static size_t add_up(uint64_t sum) {
    /* Pairs first: eight times 255 do not fit into a byte. */
    uint64_t pairs = (sum & 0x00ff00ff00ff00ffu) + (sum >> 8 & 0x00ff00ff00ff00ffu);
    return (size_t)(pairs * 0x0001000100010001u >> 48);
}

#include "scan/generic.h"
