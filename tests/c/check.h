/* Checks that say what they saw, and the few things that every test of the core needs.
 *
 * A test program works in its current directory, prints each failed check with file, line and
 * values, and ends with DONE(), whose line a person or a script can read.
 */
#ifndef MMK_TESTS_CHECK_H
#define MMK_TESTS_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmk/region.h"

static unsigned checks_passed, checks_failed;

static inline bool check_that(bool good, const char *file, int line, const char *text) {
    if (good) {
        checks_passed++;
    } else {
        checks_failed++;
        printf("%s:%d: failed: %s\n", file, line, text);
        fflush(stdout);
    }
    return good;
}

static inline bool check_equal(long long found, long long wanted, const char *file, int line,
                               const char *text) {
    if (found == wanted) {
        checks_passed++;
    } else {
        checks_failed++;
        printf("%s:%d: failed: %s: found %lld, wanted %lld\n", file, line, text, found, wanted);
        fflush(stdout);
    }
    return found == wanted;
}

#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)
#define CHECK_EQ(found, wanted) \
    check_equal((long long)(found), (long long)(wanted), __FILE__, __LINE__, #found " == " #wanted)
/* Where nothing after it would make sense. */
#define REQUIRE_EQ(found, wanted)     \
    do {                              \
        if (!CHECK_EQ(found, wanted)) \
            exit(1);                  \
    } while (0)
#define SKIP(test, reason) printf("%s: %s skipped: %s\n", __FILE__, test, reason)

static inline int check_done(const char *name) {
    if (checks_failed == 0)
        printf("%s: %u checks passed\n", name, checks_passed);
    else
        printf("%s: %u of %u checks failed\n", name, checks_failed, checks_failed + checks_passed);
    return checks_failed == 0 ? 0 : 1;
}
#define DONE(name) return check_done(name)

/* --- files ----------------------------------------------------------------------------------- */

#ifdef _WIN32
#define PATH(text) L##text
#define remove_file(path) _wremove(path)
#else
#include <unistd.h>
#define PATH(text) text
#define remove_file(path) unlink(path)
#endif

/* The byte that belongs at `offset` of a test file. */
static inline unsigned char byte_at(uint64_t offset) {
    return (unsigned char)(offset * 31 + (offset >> 12) + 7);
}

mmk_status mmk_os_file_write(mmk_handle file, uint64_t offset, const void *buffer,
                             size_t length_bytes);
mmk_status mmk_os_file_read(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes,
                            size_t *done);
mmk_status mmk_os_file_resize(mmk_handle file, uint64_t size_bytes);
mmk_status mmk_os_file_inspect(mmk_handle file, mmk_file_info *info);
size_t mmk_os_page_bytes(void);
size_t mmk_os_granularity_bytes(void);

/* A fresh file of `size_bytes` patterned bytes, open for reading and writing. */
static inline mmk_file fresh_file(const mmk_path_char *path, size_t size_bytes) {
    mmk_file file;
    remove_file(path);
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE | MMK_OPEN_CREATE | MMK_OPEN_EXCLUSIVE,
                             &file),
               MMK_OK);
    if (size_bytes > 0) {
        unsigned char *bytes = malloc(size_bytes);
        for (size_t i = 0; i < size_bytes; i++)
            bytes[i] = byte_at(i);
        REQUIRE_EQ(mmk_os_file_write(file.handle, 0, bytes, size_bytes), MMK_OK);
        free(bytes);
    }
    REQUIRE_EQ(mmk_os_file_inspect(file.handle, &file.info), MMK_OK);
    REQUIRE_EQ(file.info.size_bytes, size_bytes);
    return file;
}

/* The size of a file, asked through its name. */
static inline long long size_of(const mmk_path_char *path) {
    mmk_file file;
    if (mmk_file_open(path, NULL, 0, &file) != MMK_OK)
        return -1;
    long long size = (long long)file.info.size_bytes;
    mmk_file_close(&file);
    return size;
}

/* One byte of a file, asked through its name, or -1. */
static inline int file_byte(const mmk_path_char *path, uint64_t offset) {
    mmk_file file;
    unsigned char byte = 0;
    size_t done = 0;
    if (mmk_file_open(path, NULL, 0, &file) != MMK_OK)
        return -1;
    mmk_status status = mmk_os_file_read(file.handle, offset, &byte, 1, &done);
    mmk_file_close(&file);
    return status == MMK_OK && done == 1 ? byte : -1;
}

/* --- regions --------------------------------------------------------------------------------- */

static inline mmk_region_options options_for(mmk_mode mode) {
    mmk_region_options options;
    memset(&options, 0, sizeof options);
    options.mode = mode;
    options.backend = MMK_BACKEND_MAP;
    options.length = MMK_TO_END;
    return options;
}

static inline mmk_region *new_region(void) {
    mmk_region *region = calloc(1, sizeof *region);
    if (region == NULL)
        exit(1);
    return region;
}

/* A region over a file of patterned bytes. */
static inline mmk_region *region_over(const mmk_path_char *path, size_t size_bytes,
                                      const mmk_region_options *options) {
    mmk_file file = fresh_file(path, size_bytes);
    mmk_region *region = new_region();
    REQUIRE_EQ(mmk_region_open(region, &file, options), MMK_OK);
    return region;
}

static inline void close_region(mmk_region *region) {
    CHECK_EQ(mmk_region_close_begin(region), MMK_OK);
    mmk_region_close_finish(region);
    CHECK(atomic_load(&region->unmapped));
    free(region);
}

/* All three steps of a resize, as the Python layer takes them. */
static inline mmk_status resize(mmk_region *region, size_t size_bytes) {
    mmk_resize plan;
    mmk_status status = mmk_region_plan(region, size_bytes, &plan);
    if (status != MMK_OK)
        return status;
    return mmk_region_settle(region, &plan, mmk_region_reshape(region, size_bytes));
}

static inline bool patterned(const unsigned char *data, size_t length_bytes, uint64_t offset) {
    for (size_t i = 0; i < length_bytes; i++)
        if (data[i] != byte_at(offset + i))
            return false;
    return true;
}

static inline bool all_bytes(const unsigned char *data, size_t length_bytes, unsigned char byte) {
    for (size_t i = 0; i < length_bytes; i++)
        if (data[i] != byte)
            return false;
    return true;
}

#endif
