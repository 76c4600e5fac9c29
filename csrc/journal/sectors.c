/* Checksums of sectors: what tells which of them a crash has let through. */
#include "mmk/checksum.h"

void mmk_sector_checksums(const mmk_checksum *checksum, const unsigned char *data, size_t length,
                          unsigned char *out) {
    while (length > 0) {
        size_t size = length < MMK_SECTOR_BYTES ? length : MMK_SECTOR_BYTES;
        uint32_t crc = checksum->crc32c(0, data, size);
        for (int i = 0; i < 4; i++)
            *out++ = (unsigned char)(crc >> 8 * i);
        data += size;
        length -= size;
    }
}
