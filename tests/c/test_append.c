/* Appending: bytes, mapping and head, in this order, to a file that is as expected. */
#include "check.h"

static const mmk_path_char *const path = PATH("append.bin");

/* A region over 1000 bytes of the pattern, with room to grow; NULL where files have none. */
static mmk_region *growing_region(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.reserve = 1 << 20;
    mmk_file file = fresh_file(path, 1000);
    mmk_region *region = new_region();
    mmk_status status = mmk_region_open(region, &file, &options);
    if (status == MMK_UNSUPPORTED) {
        SKIP("reserving for a file", "no placeholders here");
        mmk_file_close(&file);
        free(region);
        return NULL;
    }
    REQUIRE_EQ(status, MMK_OK);
    return region;
}

static unsigned char head[16], new_head[16], bytes[3 << 20];

static mmk_append append_of(mmk_region *region, size_t length_bytes) {
    memcpy(head, region->data, sizeof head);
    memcpy(new_head, head, sizeof head);
    memset(new_head + 8, 'n', 8);
    memset(bytes, 'b', sizeof bytes);
    mmk_append what = {region->size_bytes, bytes,  length_bytes, region->size_bytes + length_bytes,
                       head,               new_head, sizeof head,  8,
                       16};
    return what;
}

static void test_appending_writes_bytes_and_head(void) {
    mmk_region *region = growing_region();
    bool stood = false;
    if (region == NULL)
        return;
    CHECK_EQ(mmk_region_export(region), MMK_OK); /* views hinder nothing */
    const size_t lengths[] = {1, 5000, 0, 70000, 64};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t before = region->size_bytes, after = before + lengths[i];
        mmk_append what = append_of(region, lengths[i]);
        new_head[15] = (unsigned char)i;
        CHECK_EQ(mmk_region_append(region, &what, &stood), MMK_OK);
        CHECK(stood);
        CHECK_EQ(region->size_bytes, after);
        CHECK_EQ(size_of(path), after);
        CHECK(all_bytes(region->data + before, lengths[i], 'b'));
        CHECK(memcmp(region->data, new_head, sizeof new_head) == 0);
        CHECK(patterned(region->data + 16, 984, 16));
    }
    mmk_region_unexport(region);
    close_region(region);
}

static void test_a_file_that_is_not_as_expected_is_left_alone(void) {
    mmk_region *region = growing_region();
    bool stood = true;
    if (region == NULL)
        return;
    mmk_append what = append_of(region, 100);
    what.file_bytes = 999;
    CHECK_EQ(mmk_region_append(region, &what, &stood), MMK_OK);
    CHECK(!stood);
    what = append_of(region, 100);
    head[3] ^= 1;
    CHECK_EQ(mmk_region_append(region, &what, &stood), MMK_OK);
    CHECK(!stood);
    CHECK_EQ(size_of(path), 1000);
    CHECK_EQ(region->size_bytes, 1000);
    CHECK(patterned(region->data, 1000, 0));
    close_region(region);
}

static void test_appending_without_a_head(void) {
    mmk_region *region = growing_region();
    bool stood = false;
    if (region == NULL)
        return;
    mmk_append what = append_of(region, 3 << 18);
    what.head_bytes = what.first = what.last = 0;
    CHECK_EQ(mmk_region_append(region, &what, &stood), MMK_OK);
    CHECK(stood);
    CHECK(patterned(region->data, 1000, 0));
    CHECK_EQ(size_of(path), 1000 + (3 << 18));
    close_region(region);
}

static void test_appending_past_the_reserve_changes_no_head(void) {
    mmk_region *region = growing_region();
    bool stood = false;
    if (region == NULL)
        return;
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    mmk_append what = append_of(region, sizeof bytes);
    CHECK_EQ(mmk_region_append(region, &what, &stood), MMK_EXPORTED);
    CHECK_EQ(region->size_bytes, 1000);
    CHECK(patterned(region->data, 1000, 0));
    mmk_region_unexport(region);
    close_region(region);
}

int main(void) {
    test_appending_writes_bytes_and_head();
    test_a_file_that_is_not_as_expected_is_left_alone();
    test_appending_without_a_head();
    test_appending_past_the_reserve_changes_no_head();
    remove_file(path);
    DONE("tests/c/test_append");
}
