/* Growing, shrinking and moving, with the file and without. */
#include "check.h"

static const mmk_path_char *const path = PATH("shape.bin");

static void test_file_follows_its_region(void) {
    static const size_t sizes[] = {70000, 5, 300001, 65536, 4096, 1, 0, 12345, 0, 131072};
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 10000, &options);
    size_t valid = 10000;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_EQ(resize(region, sizes[i]), MMK_OK);
        CHECK_EQ(region->size_bytes, sizes[i]);
        CHECK_EQ(size_of(path), sizes[i]);
        if (sizes[i] < valid)
            valid = sizes[i];
        if (sizes[i] > 0) {
            CHECK(patterned(region->data, valid, 0));
            CHECK(all_bytes(region->data + valid, sizes[i] - valid, 0));
            for (size_t k = 0; k < sizes[i]; k++)
                region->data[k] = byte_at(k);
            valid = sizes[i];
        }
    }
    close_region(region);
}

static void test_region_inside_a_file_leaves_the_rest_alone(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.offset = 1000;
    options.length = 2000;
    mmk_region *region = region_over(path, 10000, &options);
    CHECK_EQ(resize(region, 1000), MMK_OK);
    CHECK_EQ(size_of(path), 10000);
    CHECK_EQ(resize(region, 8000), MMK_OK);
    CHECK_EQ(size_of(path), 10000);
    CHECK(patterned(region->data, 8000, 1000));
    CHECK_EQ(resize(region, 200000), MMK_OK);
    CHECK_EQ(size_of(path), 201000);
    CHECK(patterned(region->data, 9000, 1000));
    CHECK_EQ(region->data[199999], 0);
    close_region(region);
}

static void test_views_hinder_moving(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 10000, &options);
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    CHECK_EQ(resize(region, 500000), MMK_EXPORTED);
    CHECK_EQ(region->size_bytes, 10000);
    CHECK_EQ(size_of(path), 10000);
    CHECK_EQ(resize(region, 100), MMK_EXPORTED);
    CHECK(patterned(region->data, 10000, 0));
    mmk_region_unexport(region);
    CHECK_EQ(resize(region, 100), MMK_OK);
    CHECK_EQ(size_of(path), 100);
    close_region(region);
}

static void test_resizing_needs_write_mode(void) {
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_COPY};
    for (size_t i = 0; i < 2; i++) {
        mmk_region_options options = options_for(modes[i]);
        mmk_region *region = region_over(path, 10000, &options);
        CHECK_EQ(resize(region, 100), MMK_READ_ONLY);
        CHECK_EQ(size_of(path), 10000);
        close_region(region);
    }
}

static void test_one_resize_at_a_time(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 10000, &options);
    mmk_resize first, second;
    CHECK_EQ(mmk_region_plan(region, 20000, &first), MMK_OK);
    CHECK_EQ(mmk_region_plan(region, 30000, &second), MMK_IN_USE);
    CHECK_EQ(mmk_region_settle(region, &first, mmk_region_reshape(region, 20000)), MMK_OK);
    CHECK_EQ(size_of(path), 20000);
    CHECK_EQ(mmk_region_plan(region, SIZE_MAX, &second), MMK_TOO_LARGE);
    CHECK_EQ(resize(region, 30000), MMK_OK);
    close_region(region);
}

/* Grows step by step inside a reservation while a view is alive, then shrinks, then leaves it. */
static void grow_within_reserve(mmk_region *region, bool has_file) {
    static const size_t sizes[] = {10001, 12288, 12289, 65536, 65537, 300000, 1 << 20};
    const unsigned char *data = region->data;
    if (region->size_bytes > 0)
        CHECK_EQ(mmk_region_export(region), MMK_OK);
    size_t start = region->size_bytes;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t before = region->size_bytes;
        mmk_status status = resize(region, sizes[i]);
        if (status == MMK_UNSUPPORTED && has_file) {
            SKIP("growing a file in place", "no placeholders here");
            if (start > 0)
                mmk_region_unexport(region);
            return;
        }
        REQUIRE_EQ(status, MMK_OK);
        CHECK(region->data == data);
        CHECK(all_bytes(region->data + before, sizes[i] - before, 0));
        for (size_t k = before; k < sizes[i]; k++)
            region->data[k] = byte_at(k);
        if (has_file) {
            CHECK_EQ(size_of(path), sizes[i]);
            CHECK_EQ(file_byte(path, sizes[i] - 1), byte_at(sizes[i] - 1));
        }
    }
    CHECK(patterned(region->data, 1 << 20, 0));
    if (start > 0) {
        CHECK_EQ(resize(region, 5000), MMK_EXPORTED);
        mmk_region_unexport(region);
    }
    static const size_t down[] = {300001, 70000, 65536, 5000, 0, 7000};
    for (size_t i = 0; i < sizeof down / sizeof *down; i++) {
        REQUIRE_EQ(resize(region, down[i]), MMK_OK);
        CHECK(region->data == data);
        CHECK_EQ(region->size_bytes, down[i]);
        if (has_file)
            CHECK_EQ(size_of(path), down[i]);
        if (i < 4)
            CHECK(patterned(region->data, down[i], 0));
    }
    for (size_t k = 0; k < 7000; k++)
        region->data[k] = byte_at(k);
    REQUIRE_EQ(resize(region, 3 << 20), MMK_OK); /* beyond the reservation: moves */
    CHECK(patterned(region->data, 7000, 0));
    CHECK(all_bytes(region->data + 7000, (3 << 20) - 7000, 0));
}

static void test_growing_within_the_reserve_keeps_views(void) {
    for (int empty = 0; empty < 2; empty++) {
        mmk_region *region = new_region();
        REQUIRE_EQ(mmk_region_anonymous(region, empty ? 0 : 10000, 1 << 20, false), MMK_OK);
        for (size_t k = 0; k < region->size_bytes; k++)
            region->data[k] = byte_at(k);
        grow_within_reserve(region, false);
        close_region(region);

        mmk_region_options options = options_for(MMK_MODE_WRITE);
        options.reserve = 1 << 20;
        mmk_file file = fresh_file(path, empty ? 0 : 10000);
        region = new_region();
        mmk_status status = mmk_region_open(region, &file, &options);
        if (status == MMK_UNSUPPORTED) {
            SKIP("reserving for a file", "no placeholders here");
            mmk_file_close(&file);
            free(region);
            continue;
        }
        REQUIRE_EQ(status, MMK_OK);
        grow_within_reserve(region, true);
        close_region(region);
    }
}

static void test_anonymous_memory_is_carried_along(void) {
    mmk_region *region = new_region();
    REQUIRE_EQ(mmk_region_anonymous(region, 10000, 0, false), MMK_OK);
    for (size_t k = 0; k < 10000; k++)
        region->data[k] = byte_at(k);
    CHECK_EQ(resize(region, 5 << 20), MMK_OK);
    CHECK(patterned(region->data, 10000, 0));
    CHECK(all_bytes(region->data + 10000, (5 << 20) - 10000, 0));
    CHECK_EQ(resize(region, 0), MMK_OK);
    CHECK_EQ(region->size_bytes, 0);
    CHECK_EQ(resize(region, 100), MMK_OK);
    CHECK(all_bytes(region->data, 100, 0));
    close_region(region);
}

static void test_read_backend_grows_and_shrinks(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.backend = MMK_BACKEND_READ;
    mmk_region *region = region_over(path, 10000, &options);
    CHECK_EQ(resize(region, 50000), MMK_OK);
    CHECK(patterned(region->data, 10000, 0));
    CHECK_EQ(region->data[49999], 0);
    region->data[49999] = 77;
    CHECK_EQ(mmk_region_flush(region, 0, 50000, MMK_FLUSH_DISK), MMK_OK);
    CHECK_EQ(file_byte(path, 49999), 77);
    CHECK_EQ(resize(region, 100), MMK_OK);
    CHECK_EQ(size_of(path), 100);
    CHECK(patterned(region->data, 100, 0));
    close_region(region);
}

static void test_following_what_others_did_to_the_file(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    options.offset = 100;
    mmk_region *region = region_over(path, 10000, &options);
    mmk_file other;
    size_t size = 0;
    CHECK_EQ(mmk_region_follow(region, &size), MMK_OK);
    CHECK_EQ(size, 9900);
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE, &other), MMK_OK);
    CHECK_EQ(mmk_os_file_resize(other.handle, 20000), MMK_OK);
    CHECK_EQ(mmk_region_follow(region, &size), MMK_OK);
    CHECK_EQ(size, 19900);
    CHECK(patterned(region->data, 9900, 100));
    CHECK_EQ(region->data[19899], 0);
    mmk_file_close(&other);
    close_region(region);
}

static void test_fitting_shows_exactly_what_the_file_has(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    options.offset = 100;
    mmk_region *region = region_over(path, 10000, &options);
    CHECK_EQ(mmk_region_fit(region, 5000), MMK_OK);
    CHECK_EQ(region->size_bytes, 5000);
    CHECK(!region->to_end);
    CHECK(patterned(region->data, 5000, 100));
    CHECK_EQ(mmk_region_fit(region, 9900), MMK_OK);
    CHECK(patterned(region->data, 9900, 100));
    CHECK_EQ(mmk_region_fit(region, 9901), MMK_RANGE);
    CHECK_EQ(region->size_bytes, 9900);
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    CHECK_EQ(mmk_region_fit(region, 1), MMK_EXPORTED);
    mmk_region_unexport(region);
    CHECK_EQ(mmk_region_fit(region, 0), MMK_OK);
    uint64_t file_bytes = 0;
    CHECK_EQ(mmk_region_measure(region, &file_bytes), MMK_OK);
    CHECK_EQ(file_bytes, 10000);
    close_region(region);
}

int main(void) {
    test_file_follows_its_region();
    test_region_inside_a_file_leaves_the_rest_alone();
    test_views_hinder_moving();
    test_resizing_needs_write_mode();
    test_one_resize_at_a_time();
    test_growing_within_the_reserve_keeps_views();
    test_anonymous_memory_is_carried_along();
    test_read_backend_grows_and_shrinks();
    test_following_what_others_did_to_the_file();
    test_fitting_shows_exactly_what_the_file_has();
    remove_file(path);
    DONE("tests/c/test_shape");
}
