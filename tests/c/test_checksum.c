/* Checksums: each way against published values and the plainest loop, for every length around a
 * block, at every alignment, and next to memory that cannot be read. */
#include "mmk/checksum.h"
#include "texts.h"

/* Bit by bit, as the polynomial says. */
static uint32_t oracle(uint32_t before, const unsigned char *data, size_t length) {
    uint32_t crc = ~before;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* RFC 3720, B.4, and the check value of every catalogue. */
static void test_published_values(const mmk_checksum *way) {
    unsigned char bytes[48];
    memset(bytes, 0, 32);
    CHECK_EQ(way->crc32c(0, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xFF, 32);
    CHECK_EQ(way->crc32c(0, bytes, 32), 0x62A8AB43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    CHECK_EQ(way->crc32c(0, bytes, 32), 0x46DD794E);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    CHECK_EQ(way->crc32c(0, bytes, 32), 0x113FDB5C);
    static const unsigned char scsi_read[48] = {
        0x01, 0xC0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18,
        0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    CHECK_EQ(way->crc32c(0, scsi_read, 48), 0xD9963A56);
    CHECK_EQ(way->crc32c(0, (const unsigned char *)"123456789", 9), 0xE3069283);
    CHECK_EQ(way->crc32c(0, bytes, 0), 0);
    CHECK_EQ(way->crc32c(0x12345678, bytes, 0), 0x12345678);
}

static fenced memory;

/* The bytes end where memory does, and then begin where it does. */
static void check_length(const mmk_checksum *way, size_t length) {
    uint32_t seed = (uint32_t)random_below(1u << 31);
    const unsigned char *at = memory.end - length;
    uint32_t wanted = oracle(seed, at, length);
    if (way->crc32c(seed, at, length) != wanted) /* one check a length, or the count says nothing */
        CHECK_EQ(way->crc32c(seed, at, length), wanted);
    at = memory.begin;
    CHECK_EQ(way->crc32c(seed, at, length), oracle(seed, at, length));
}

static void test_lengths(const mmk_checksum *way) {
    for (size_t length = 0; length < 1100; length++)
        check_length(way, length);
    static const size_t around[] = {4080, 4088, 4096, 4592, 4600, 8176, 8192, 12264, 65536 - 60};
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
        for (size_t more = 0; more < 60; more++)
            check_length(way, around[i] - 30 + more);
}

static void test_alignments(const mmk_checksum *way) {
    for (size_t start = 0; start < 64; start++)
        CHECK_EQ(way->crc32c(7, memory.begin + start, 5000), oracle(7, memory.begin + start, 5000));
}

static void test_pieces_join(const mmk_checksum *way) {
    uint32_t whole = oracle(0, memory.begin, 10000);
    for (int i = 0; i < 200; i++) {
        size_t cut = random_below(10001);
        uint32_t crc = way->crc32c(0, memory.begin, cut);
        CHECK_EQ(way->crc32c(crc, memory.begin + cut, 10000 - cut), whole);
    }
}

static void test_sectors(const mmk_checksum *way) {
    static const size_t lengths[] = {0, 1, 511, 512, 513, 4096, 4100, 12800};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t length = lengths[i], count = mmk_sector_count(length);
        unsigned char out[26 * 4];
        const unsigned char *at = memory.end - length;
        memset(out, 0xAA, sizeof out);
        CHECK_EQ(count, (length + 511) / 512);
        mmk_sector_checksums(way, at, length, out);
        for (size_t s = 0; s < count; s++) {
            uint32_t wanted = oracle(0, at + s * 512, s + 1 < count ? 512 : length - s * 512);
            CHECK_EQ(out[4 * s] | out[4 * s + 1] << 8 | out[4 * s + 2] << 16 |
                         (uint32_t)out[4 * s + 3] << 24,
                     wanted);
        }
        CHECK_EQ(out[4 * count], 0xAA);
    }
}

static void test_choice(void) {
    unsigned count = 0;
    for (const mmk_checksum *way; (way = mmk_checksum_at(count)) != NULL; count++)
        CHECK(mmk_checksum_named(way->name) == way);
    CHECK(strcmp(mmk_checksum_at(0)->name, "portable") == 0);
    CHECK(mmk_checksum_best() == mmk_checksum_at(count - 1));
    CHECK(mmk_checksum_named("none such") == NULL);
}

int main(void) {
    memory = fence((size_t)1 << 17);
    for (unsigned char *at = memory.begin; at < memory.end; at++)
        *at = (unsigned char)random_below(256);
    test_choice();
    const mmk_checksum *way;
    for (unsigned i = 0; (way = mmk_checksum_at(i)) != NULL; i++) {
        printf("checksum: %s\n", way->name);
        test_published_values(way);
        test_lengths(way);
        test_alignments(way);
        test_pieces_join(way);
        test_sectors(way);
    }
    DONE("checksum");
}
