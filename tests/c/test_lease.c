/* Pins and exports: who keeps the memory where it is. */
#include "check.h"

static const mmk_path_char *const path = PATH("lease.bin");

static void test_close_waits_for_no_one_but_says_who_is_there(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 100, &options);
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    CHECK_EQ(mmk_region_exports(region), 2);
    CHECK_EQ(mmk_region_close_begin(region), MMK_EXPORTED);
    mmk_region_unexport(region);
    CHECK_EQ(mmk_region_close_begin(region), MMK_EXPORTED);
    mmk_region_unexport(region);
    CHECK_EQ(mmk_region_pin(region), MMK_OK);
    CHECK_EQ(mmk_region_close_begin(region), MMK_IN_USE);
    CHECK_EQ(region->size_bytes, 100);
    mmk_region_unpin(region);
    close_region(region);
}

static void test_last_lease_of_a_deferred_close_unmaps(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 100, &options);
    const unsigned char *bytes = region->data;
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    CHECK_EQ(mmk_region_pin(region), MMK_OK);
    CHECK_EQ(mmk_region_close_deferred(region), MMK_OK);
    CHECK_EQ(mmk_region_close_deferred(region), MMK_CLOSED);
    CHECK(mmk_region_closed(region));
    CHECK_EQ(mmk_region_export(region), MMK_CLOSED);
    CHECK_EQ(mmk_region_pin(region), MMK_CLOSED);
    mmk_region_close_finish(region);
    CHECK(!atomic_load(&region->unmapped));
    CHECK_EQ(bytes[99], byte_at(99)); /* views live on */
    mmk_region_unpin(region);
    CHECK(!atomic_load(&region->unmapped));
    mmk_region_unexport(region);
    CHECK(atomic_load(&region->unmapped));
    CHECK_EQ(region->file.handle, MMK_NO_HANDLE);
    free(region);
}

int main(void) {
    test_close_waits_for_no_one_but_says_who_is_there();
    test_last_lease_of_a_deferred_close_unmaps();
    remove_file(path);
    DONE("tests/c/test_lease");
}
