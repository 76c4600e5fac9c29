/* Opening ranges of files and anonymous memory, in each mode. */
#include "check.h"

#include "os/os.h"

static const mmk_path_char *const path = PATH("region.bin");

static void test_modes_show_and_share_the_right_bytes(void) {
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_WRITE, MMK_MODE_COPY};
    for (size_t i = 0; i < 3; i++) {
        mmk_region_options options = options_for(modes[i]);
        mmk_region *region = region_over(path, 10000, &options);
        CHECK_EQ(region->size_bytes, 10000);
        CHECK_EQ(region->backend, MMK_BACKEND_MAP);
        CHECK(patterned(region->data, 10000, 0));
        if (modes[i] != MMK_MODE_READ) {
            region->data[9999] = 0xAB;
            CHECK_EQ(mmk_region_flush(region, 0, 10000, MMK_FLUSH_OS), MMK_OK);
            CHECK_EQ(file_byte(path, 9999), modes[i] == MMK_MODE_WRITE ? 0xAB : byte_at(9999));
        }
        close_region(region);
    }
}

static void test_any_offset_and_length(void) {
    size_t page = mmk_os_page_bytes(), grain = mmk_os_granularity_bytes();
    size_t size = 3 * grain + 100;
    const size_t offsets[] = {0, 1, page - 1, page, page + 1, grain - 1, grain, grain + 1,
                              2 * grain + 77, size - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        const size_t lengths[] = {0, 1, 2, page, size - offsets[i]};
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            if (lengths[k] > size - offsets[i])
                continue;
            mmk_region_options options = options_for(MMK_MODE_READ);
            options.offset = offsets[i];
            options.length = lengths[k];
            mmk_region *region = region_over(path, size, &options);
            CHECK_EQ(region->size_bytes, lengths[k]);
            CHECK(lengths[k] == 0 || patterned(region->data, lengths[k], offsets[i]));
            close_region(region);
        }
    }
}

static void test_range_past_the_end_is_refused(void) {
    mmk_file file = fresh_file(path, 1000);
    const uint64_t wrong[][2] = {
        {1001, MMK_TO_END}, {1001, 0}, {0, 1001}, {1000, 1}, {999, 2}, {500, UINT64_MAX - 100},
        {UINT64_MAX - 1, 1}, {UINT64_MAX, MMK_TO_END},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mmk_region *region = new_region();
        mmk_region_options options = options_for(MMK_MODE_READ);
        options.offset = wrong[i][0];
        options.length = wrong[i][1];
        CHECK_EQ(mmk_region_open(region, &file, &options), MMK_RANGE);
        free(region);
    }
    mmk_file_info now; /* the file stays the caller's */
    CHECK_EQ(mmk_os_file_inspect(file.handle, &now), MMK_OK);
    mmk_file_close(&file);
}

static void test_empty_file_is_an_empty_region(void) {
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_WRITE, MMK_MODE_COPY};
    for (size_t i = 0; i < 3; i++) {
        mmk_region_options options = options_for(modes[i]);
        mmk_region *region = region_over(path, 0, &options);
        bool known = false;
        CHECK_EQ(region->size_bytes, 0);
        CHECK_EQ(mmk_region_page_count(region, 0, 0), 0);
        CHECK_EQ(mmk_region_flush(region, 0, 0, MMK_FLUSH_DISK), MMK_OK);
        CHECK_EQ(mmk_region_residency(region, 0, 0, NULL, &known), MMK_OK);
        CHECK_EQ(mmk_region_populate(region, 0, 0), MMK_OK);
        CHECK_EQ(mmk_region_evict(region, 0, 0), MMK_OK);
        CHECK_EQ(mmk_region_lock(region, 0, 0, false), MMK_OK);
        CHECK_EQ(mmk_region_unlock(region, 0, 0), MMK_OK);
        CHECK_EQ(mmk_region_inspect(region), MMK_OK);
        close_region(region);
    }
}

static void test_file_over_4_gib(void) {
    uint64_t size = ((uint64_t)5 << 30) + 12345, at = ((uint64_t)9 << 29) + 4321;
    mmk_file file = fresh_file(path, 0);
    if (sizeof(size_t) < 8 || mmk_file_resize(file.handle, 0, size, true) != MMK_OK) {
        SKIP("a file over 4 GiB", "no room for it here");
        mmk_file_close(&file);
        return;
    }
    CHECK_EQ(mmk_os_file_write(file.handle, at, "here", 4), MMK_OK);
    CHECK_EQ(mmk_os_file_inspect(file.handle, &file.info), MMK_OK);
    CHECK_EQ(file.info.size_bytes, size);
    mmk_region *region = new_region();
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.offset = at;
    REQUIRE_EQ(mmk_region_open(region, &file, &options), MMK_OK);
    CHECK_EQ(region->size_bytes, size - at);
    CHECK(memcmp(region->data, "here", 4) == 0);
    region->data[size - at - 1] = 9;
    CHECK_EQ(mmk_region_flush(region, 0, (size_t)(size - at), MMK_FLUSH_OS), MMK_OK);
    CHECK_EQ(file_byte(path, size - 1), 9);
    close_region(region);
    REQUIRE_EQ(mmk_file_open(path, NULL, 0, &file), MMK_OK);
    region = new_region();
    options = options_for(MMK_MODE_READ);
    REQUIRE_EQ(mmk_region_open(region, &file, &options), MMK_OK);
    CHECK_EQ(region->size_bytes, size);
    CHECK(memcmp(region->data + at, "here", 4) == 0);
    close_region(region);
}

static void test_read_backend_copies_and_writes_back_changes_only(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.backend = MMK_BACKEND_READ;
    options.offset = 33;
    mmk_region *region = region_over(path, 20000, &options);
    CHECK_EQ(region->backend, MMK_BACKEND_READ);
    CHECK(patterned(region->data, 20000 - 33, 33));
    mmk_file other;
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE, &other), MMK_OK);
    CHECK_EQ(mmk_os_file_write(other.handle, 19000, "theirs", 6), MMK_OK);
    region->data[0] = 1;
    CHECK_EQ(file_byte(path, 33), byte_at(33));
    CHECK_EQ(mmk_region_flush(region, 0, 20000 - 33, MMK_FLUSH_OS), MMK_OK);
    CHECK_EQ(file_byte(path, 33), 1);
    CHECK_EQ(file_byte(path, 19000), 't');
    mmk_file_close(&other);
    close_region(region);
}

static void test_private_backend_reads(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    options.backend = MMK_BACKEND_MAP_PRIVATE;
    mmk_region *region = region_over(path, 10000, &options);
    CHECK(patterned(region->data, 10000, 0));
    close_region(region);
}

static void test_anonymous_memory_is_zeros(void) {
    const size_t sizes[] = {0, 1, 4096, 1000001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mmk_region *region = new_region();
        REQUIRE_EQ(mmk_region_anonymous(region, sizes[i], 0, i == 3), MMK_OK);
        CHECK_EQ(region->size_bytes, sizes[i]);
        CHECK_EQ(region->backend, MMK_BACKEND_MEMORY);
        CHECK(all_bytes(region->data, sizes[i], 0));
        if (sizes[i] > 0)
            memset(region->data, 5, sizes[i]);
        CHECK_EQ(mmk_region_flush(region, 0, sizes[i], MMK_FLUSH_DISK), MMK_OK);
        close_region(region);
    }
}

static void test_absurd_anonymous_size_is_an_error(void) {
    mmk_region *region = new_region();
    CHECK_EQ(mmk_region_anonymous(region, (size_t)PTRDIFF_MAX + 1, 0, false), MMK_TOO_LARGE);
    free(region);
    if (sizeof(size_t) < 8)
        return; /* there may be room for half of all addresses */
    region = new_region();
    CHECK(mmk_region_anonymous(region, (size_t)PTRDIFF_MAX - 65536, 0, false) > 0);
    CHECK(mmk_region_closed(region));
    free(region);
}

static void test_protection_can_be_lowered_and_raised(void) {
    static const mmk_mode modes[] = {MMK_MODE_WRITE, MMK_MODE_COPY};
    for (size_t i = 0; i < 2; i++) {
        mmk_region_options options = options_for(modes[i]);
        mmk_region *region = region_over(path, 10000, &options);
        region->data[1] = 11;
        CHECK_EQ(mmk_region_export(region), MMK_OK);
        CHECK_EQ(mmk_region_protect(region, 1), MMK_EXPORTED);
        mmk_region_unexport(region);
        CHECK_EQ(mmk_region_protect(region, 1), MMK_OK);
        CHECK_EQ(region->data[1], 11);
        CHECK_EQ(mmk_region_protect(region, 3), MMK_OK);
        region->data[2] = 22;
        CHECK_EQ(region->data[2], 22);
        close_region(region);
        CHECK_EQ(file_byte(path, 2), i == 0 ? 22 : byte_at(2));
    }
}

static void test_protection_can_be_raised_after_a_move(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 10000, &options);
    CHECK_EQ(mmk_region_protect(region, 1), MMK_OK);
    CHECK_EQ(resize(region, 200000), MMK_OK);
    CHECK_EQ(mmk_region_protect(region, 3), MMK_OK);
    region->data[199999] = 4;
    CHECK_EQ(mmk_region_flush(region, 0, 200000, MMK_FLUSH_OS), MMK_OK);
    CHECK_EQ(file_byte(path, 199999), 4);
    close_region(region);
}

static void test_closed_region_answers_closed(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 10000, &options);
    CHECK_EQ(mmk_region_close_begin(region), MMK_OK);
    CHECK_EQ(region->size_bytes, 0);
    mmk_region_close_finish(region);
    CHECK(region->data == NULL);
    mmk_region_close_finish(region);
    CHECK_EQ(mmk_region_close_begin(region), MMK_CLOSED);
    CHECK_EQ(mmk_region_pin(region), MMK_CLOSED);
    CHECK_EQ(mmk_region_protect(region, 1), MMK_CLOSED);
    CHECK_EQ(mmk_region_reshape(region, 1), MMK_CLOSED);
    CHECK_EQ(mmk_region_label(region, "name"), MMK_CLOSED);
    CHECK_EQ(mmk_region_recover(region), MMK_CLOSED);
    mmk_resize plan;
    CHECK_EQ(mmk_region_plan(region, 1, &plan), MMK_CLOSED);
    free(region);
}

static void test_regions_side_by_side(void) {
    size_t grain = mmk_os_granularity_bytes();
    void *base;
    REQUIRE_EQ(mmk_os_reserve(3 * grain, &base), MMK_OK);
    mmk_region *regions[2];
    for (size_t i = 0; i < 2; i++) {
        mmk_file file = fresh_file(path, 3 * grain);
        mmk_region_options options = options_for(MMK_MODE_READ);
        options.backend = MMK_BACKEND_MAP;
        options.offset = i * grain;
        options.length = grain;
        options.place = (char *)base + i * grain;
        regions[i] = new_region();
        mmk_status status = mmk_region_open(regions[i], &file, &options);
        if (status == MMK_UNSUPPORTED && i == 0) {
            SKIP("regions side by side", "no mapping at given addresses here");
            mmk_file_close(&file);
            free(regions[0]);
            mmk_os_unmap(base, 0, 3 * grain);
            return;
        }
        REQUIRE_EQ(status, MMK_OK);
        CHECK(regions[i]->data == (unsigned char *)base + i * grain);
    }
    CHECK(patterned(base, 2 * grain, 0));
    mmk_resize plan;
    size_t size;
    CHECK_EQ(mmk_region_plan(regions[0], 1, &plan), MMK_READ_ONLY);
    CHECK_EQ(mmk_region_follow(regions[0], &size), MMK_OK);
    close_region(regions[0]);
    CHECK(patterned((unsigned char *)base + grain, grain, grain)); /* the other stays */
    /* What was given back is still reserved: nothing else lands there. */
    mmk_region *memory = new_region();
    REQUIRE_EQ(mmk_region_anonymous(memory, grain, 0, false), MMK_OK);
    CHECK(memory->data != base);
    close_region(memory);
    close_region(regions[1]);
    CHECK_EQ(mmk_os_unmap(base, 0, 3 * grain), MMK_OK);
}

int main(void) {
    test_modes_show_and_share_the_right_bytes();
    test_any_offset_and_length();
    test_range_past_the_end_is_refused();
    test_empty_file_is_an_empty_region();
    test_file_over_4_gib();
    test_read_backend_copies_and_writes_back_changes_only();
    test_private_backend_reads();
    test_anonymous_memory_is_zeros();
    test_absurd_anonymous_size_is_an_error();
    test_protection_can_be_lowered_and_raised();
    test_protection_can_be_raised_after_a_move();
    test_closed_region_answers_closed();
    test_regions_side_by_side();
    remove_file(path);
    DONE("tests/c/test_region");
}
