/* Copies into, out of and inside a region. */
#include "check.h"

static const mmk_path_char *const path = PATH("bytes.bin");

static void test_copies_arrive_and_overlap_correctly(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.offset = 17;
    mmk_region *region = region_over(path, 100000, &options);
    size_t size = region->size_bytes;
    unsigned char *bytes = malloc(size);
    CHECK_EQ(mmk_region_read(region, 0, bytes, size), MMK_OK);
    CHECK(patterned(bytes, size, 17));
    CHECK_EQ(mmk_region_write(region, size - 3, "end", 3), MMK_OK);
    CHECK(memcmp(region->data + size - 3, "end", 3) == 0);
    memmove(bytes + 5, bytes, 50000);
    CHECK_EQ(mmk_region_move(region, 5, 0, 50000), MMK_OK);
    CHECK(memcmp(region->data, bytes, 50005) == 0);
    memmove(bytes, bytes + 7, 50000);
    CHECK_EQ(mmk_region_move(region, 0, 7, 50000), MMK_OK);
    CHECK(memcmp(region->data, bytes, 50000) == 0);
    CHECK_EQ(mmk_region_read(region, size, bytes, 0), MMK_OK);
    CHECK_EQ(mmk_region_write(region, size, bytes, 0), MMK_OK);
    CHECK_EQ(mmk_region_move(region, size, 0, 0), MMK_OK);
    free(bytes);
    close_region(region);
}

static void test_scalar_copies(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 100, &options);
    uint64_t value = 0, other = UINT64_C(0x0123456789abcdef);
    CHECK_EQ(mmk_guard_copy(&region->faults, &value, region->data + 3, 8), MMK_OK);
    CHECK(patterned((unsigned char *)&value, 8, 3));
    CHECK_EQ(mmk_guard_copy(&region->faults, region->data + 92, &other, 8), MMK_OK);
    CHECK(memcmp(region->data + 92, &other, 8) == 0);
    close_region(region);
}

static void add_one(void *context) { ++*(int *)context; }

static void test_guarded_work_runs_once(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 100, &options);
    int count = 0;
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(mmk_guard_run(&region->faults, add_one, &count), MMK_OK);
    CHECK_EQ(count, 1000);
    close_region(region);
}

int main(void) {
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_DISPLACED);
    CHECK_EQ(mmk_guard_install(false), MMK_OK);
    CHECK_EQ(mmk_guard_look(), MMK_GUARD_KEPT);
    test_copies_arrive_and_overlap_correctly();
    test_scalar_copies();
    test_guarded_work_runs_once();
    remove_file(path);
    DONE("tests/c/test_bytes");
}
