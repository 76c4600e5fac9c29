/* CRC-32C (Castagnoli): RFC 3720, appendix B.4; the polynomial 0x1EDC6F41, bits reflected. */
#ifndef MMK_CHECKSUM_H
#define MMK_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* One way to compute it. */
typedef struct {
    const char *name;
    /* Of `length` bytes that follow others, whose checksum is `before`; 0 if there are none. */
    uint32_t (*crc32c)(uint32_t before, const unsigned char *data, size_t length);
} mmk_checksum;

/* The fastest that this processor runs. */
const mmk_checksum *mmk_checksum_best(void);
/* Those that this processor runs, slowest first; NULL from their number on. */
const mmk_checksum *mmk_checksum_at(unsigned index);
/* By name; NULL if it is unknown, or this processor does not run it. */
const mmk_checksum *mmk_checksum_named(const char *name);

#define MMK_SECTOR_BYTES 512

static inline size_t mmk_sector_count(size_t length) {
    return length / MMK_SECTOR_BYTES + (length % MMK_SECTOR_BYTES != 0);
}
/* The checksum of each sector, as 4 bytes, the lowest first; the last sector may be shorter. */
void mmk_sector_checksums(const mmk_checksum *checksum, const unsigned char *data, size_t length,
                          unsigned char *out);

#endif
