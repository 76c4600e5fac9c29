/* Flushing at each level, and noticing what was lost without a signal. */
#include "check.h"

static const mmk_path_char *const path = PATH("disk.bin");
static const mmk_flush_level levels[] = {MMK_FLUSH_ASYNC, MMK_FLUSH_OS, MMK_FLUSH_DISK};

static void test_every_level_and_range(void) {
    size_t page = mmk_os_page_bytes(), size = 10 * page + 5;
    const size_t ranges[][2] = {{0, size}, {1, 1}, {page - 1, 2}, {page, page}, {size - 1, 1},
                                {size, 0}, {0, 0}, {3 * page + 7, 5 * page}};
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.offset = 3;
    mmk_region *region = region_over(path, size + 3, &options);
    for (size_t level = 0; level < 3; level++)
        for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
            if (ranges[i][1] > 0)
                region->data[ranges[i][0]] = (unsigned char)(i + level);
            CHECK_EQ(mmk_region_flush(region, ranges[i][0], ranges[i][1], levels[level]), MMK_OK);
            if (ranges[i][1] > 0)
                CHECK_EQ(file_byte(path, ranges[i][0] + 3), (unsigned char)(i + level));
        }
    close_region(region);
}

static void test_flushing_what_has_no_file_to_write_is_nothing(void) {
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_COPY};
    for (size_t i = 0; i < 2; i++) {
        mmk_region_options options = options_for(modes[i]);
        mmk_region *region = region_over(path, 100, &options);
        for (size_t level = 0; level < 3; level++)
            CHECK_EQ(mmk_region_flush(region, 0, 100, levels[level]), MMK_OK);
        close_region(region);
    }
}

static void test_noted_loss_sticks_until_it_is_healed(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 100, &options);
    mmk_fault fault;
    CHECK(!mmk_guard_take(&region->faults, &fault));
    mmk_guard_note(&region->faults, MMK_CAUSE_IO_ERROR, 5, 42);
    CHECK(mmk_guard_untold(&region->faults));
    CHECK_EQ(mmk_region_flush(region, 0, 100, MMK_FLUSH_OS), MMK_FAULTED);
    CHECK(mmk_guard_take(&region->faults, &fault));
    CHECK_EQ(fault.cause, MMK_CAUSE_IO_ERROR);
    CHECK_EQ(fault.code, 5);
    CHECK_EQ(fault.offset, 42);
    CHECK_EQ(fault.count, 1);
    CHECK(!mmk_guard_untold(&region->faults));
    CHECK_EQ(mmk_region_flush(region, 0, 100, MMK_FLUSH_OS), MMK_OK);
    close_region(region);
}

#ifndef _WIN32 /* there a mapped file cannot be cut */
static void test_flush_notices_a_truncation_inside_a_page(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 1000, &options);
    mmk_fault fault;
    REQUIRE_EQ(truncate(path, 500), 0);
    CHECK_EQ(region->data[700], 0); /* no signal */
    CHECK_EQ(mmk_region_flush(region, 0, 1000, MMK_FLUSH_OS), MMK_FAULTED);
    CHECK(mmk_guard_take(&region->faults, &fault));
    CHECK_EQ(fault.cause, MMK_CAUSE_TRUNCATED);
    CHECK_EQ(fault.offset, 500);
    CHECK_EQ(fault.count, 1);
    CHECK_EQ(mmk_region_inspect(region), MMK_FAULTED); /* again, but noted once */
    mmk_guard_recall(&region->faults, &fault);
    CHECK_EQ(fault.count, 1);
    REQUIRE_EQ(truncate(path, 1000), 0);
    CHECK_EQ(mmk_region_recover(region), MMK_OK);
    CHECK_EQ(mmk_region_flush(region, 0, 1000, MMK_FLUSH_OS), MMK_OK);
    REQUIRE_EQ(truncate(path, 999), 0);
    CHECK_EQ(mmk_region_inspect(region), MMK_FAULTED);
    mmk_guard_recall(&region->faults, &fault);
    CHECK_EQ(fault.offset, 999);
    close_region(region);
}
#endif

int main(void) {
    test_every_level_and_range();
    test_flushing_what_has_no_file_to_write_is_nothing();
    test_noted_loss_sticks_until_it_is_healed();
#ifndef _WIN32
    test_flush_notices_a_truncation_inside_a_page();
#endif
    remove_file(path);
    DONE("tests/c/test_disk");
}
