/* Private regions: which pages were stored into, and tails of their own. */
#include "check.h"
#include "mmk/changes.h"
#include "os/os.h"

static const mmk_path_char *const path = PATH("changes.bin");

static mmk_region *open_second(uint64_t offset) {
    mmk_file file;
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = new_region();
    options.offset = offset;
    REQUIRE_EQ(mmk_file_open(path, NULL, 0, &file), MMK_OK);
    REQUIRE_EQ(mmk_region_open(region, &file, &options), MMK_OK);
    return region;
}

/* Checks the runs of every method that there is. */
static void check_runs(mmk_region *region, mmk_region *base, const mmk_run *runs, size_t count) {
    for (int method = 0; method < MMK_CHANGES_COUNT; method++) {
        mmk_changes found;
        if (!mmk_changes_supported((mmk_changes_method)method)) {
            SKIP(mmk_changes_name((mmk_changes_method)method), "not offered by this system");
            continue;
        }
        REQUIRE_EQ(mmk_region_changes(region, (mmk_changes_method)method, base, &found), MMK_OK);
        CHECK_EQ(found.count, count);
        for (size_t i = 0; i < count && i < found.count; i++) {
            CHECK_EQ(found.runs[i].offset, runs[i].offset);
            CHECK_EQ(found.runs[i].length_bytes, runs[i].length_bytes);
        }
        free(found.runs);
    }
}

static void test_runs_are_pages_as_far_as_they_are_visible(void) {
    int64_t page = (int64_t)mmk_os_page_bytes(), offset = 100, size = 20 * page + 7;
    mmk_region_options options = options_for(MMK_MODE_COPY);
    options.offset = (uint64_t)offset;
    mmk_region *region = region_over(path, (size_t)size, &options), *base = open_second(0);
    check_runs(region, base, NULL, 0);
    static const int changed[] = {0, 3, 4, 5, 20};
    for (int i = 0; i < 5; i++) {
        int64_t at = changed[i] * page;
        region->data[at < offset ? 0 : at - offset] ^= 1;
    }
    const mmk_run runs[] = {
        {0, page - offset}, {3 * page - offset, 3 * page}, {20 * page - offset, 7}};
    check_runs(region, base, runs, 3);
    mmk_status status = mmk_region_discard(region, runs + 1, 2);
    if (status == MMK_OK) {
        check_runs(region, base, runs, 1);
        CHECK(patterned(region->data + 3 * page - offset, (size_t)page, (size_t)(3 * page)));
    } else {
        CHECK_EQ(status, MMK_UNSUPPORTED);
        check_runs(region, base, runs, 3);
    }
    close_region(base);
    close_region(region);
}

/* More than one answer of the system holds. */
static void test_many_runs(void) {
    enum { PAGES = 2600 };
    size_t page = mmk_os_page_bytes();
    static mmk_run runs[PAGES / 2];
    mmk_region_options options = options_for(MMK_MODE_COPY);
    mmk_region *region = region_over(path, PAGES * page, &options), *base = open_second(0);
    for (size_t i = 0; i < PAGES / 2; i++) {
        runs[i] = (mmk_run){(int64_t)(2 * i * page), (int64_t)page};
        region->data[2 * i * page + i % page] ^= 1;
    }
    check_runs(region, base, runs, PAGES / 2);
    close_region(base);
    close_region(region);
}

static void test_what_cannot_be_asked(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *shared = region_over(path, 10000, &options);
    mmk_changes found;
    CHECK_EQ(mmk_region_changes(shared, MMK_CHANGES_COMPARE, shared, &found), MMK_UNSUPPORTED);
    CHECK_EQ(mmk_region_discard(shared, NULL, 0), MMK_UNSUPPORTED);
    CHECK_EQ(mmk_region_resize_private(shared, 20000), MMK_UNSUPPORTED);
    close_region(shared);
    options = options_for(MMK_MODE_COPY);
    mmk_region *region = region_over(path, 10000, &options), *late = open_second(5);
    CHECK_EQ(mmk_region_changes(region, MMK_CHANGES_COMPARE, NULL, &found), MMK_RANGE);
    CHECK_EQ(mmk_region_changes(region, MMK_CHANGES_COMPARE, late, &found), MMK_RANGE);
    close_region(late);
    close_region(region);
}

/* A private region with room; NULL where there is no such thing. */
static mmk_region *open_roomy(size_t file_bytes, size_t offset) {
    mmk_file file = fresh_file(path, file_bytes);
    mmk_region_options options = options_for(MMK_MODE_COPY);
    mmk_region *region = new_region();
    options.reserve = 1 << 20;
    options.offset = offset;
    mmk_status status = mmk_region_open(region, &file, &options);
    if (status == MMK_UNSUPPORTED) {
        mmk_file_close(&file);
        free(region);
        return NULL;
    }
    REQUIRE_EQ(status, MMK_OK);
    return region;
}

/* Grows and shrinks by every kind of step, and stores over all of it each time. */
static void test_tail(size_t file_bytes, size_t offset) {
    static const size_t sizes[] = {20000, 20001, 70000, 70000, 5,      30000, 0,
                                   1,     8192,  9000,  4096,  500000, 3,     12288};
    mmk_region *region = open_roomy(file_bytes, offset);
    if (region == NULL || mmk_region_resize_private(region, 1 << 19) == MMK_UNSUPPORTED) {
        SKIP("tail", "views of files and memory do not lie side by side");
        if (region != NULL)
            close_region(region);
        return;
    }
    size_t valid = file_bytes - offset;
    CHECK(patterned(region->data, valid, offset));
    CHECK(all_bytes(region->data + valid, (1 << 19) - valid, 0));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        REQUIRE_EQ(mmk_region_resize_private(region, sizes[i]), MMK_OK);
        CHECK_EQ(region->size_bytes, sizes[i]);
        valid = valid < sizes[i] ? valid : sizes[i];
        CHECK(patterned(region->data, valid, offset));
        CHECK(all_bytes(region->data + valid, sizes[i] - valid, 0));
        for (size_t k = 0; k < sizes[i]; k++)
            region->data[k] = byte_at(offset + k);
        valid = sizes[i];
    }
    CHECK_EQ(mmk_region_resize_private(region, 1 << 22), MMK_RANGE);
    CHECK_EQ(mmk_region_inspect(region), MMK_OK);
    CHECK_EQ(size_of(path), file_bytes);
    close_region(region);
}

static void test_marked_region_never_flushes(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    mmk_region *region = region_over(path, 10000, &options);
    mmk_fault fault;
    CHECK_EQ(mmk_region_flush(region, 0, 10000, MMK_FLUSH_OS), MMK_OK);
    mmk_region_mark_lost(region, 5);
    CHECK_EQ(mmk_region_fault_state(region), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(mmk_region_flush(region, 0, 1, MMK_FLUSH_OS), MMK_FAULTED);
    mmk_guard_recall(&region->faults, &fault);
    CHECK_EQ(fault.cause, MMK_CAUSE_IO_ERROR);
    CHECK_EQ(fault.code, 5);
    close_region(region);
}

/* What rests is closed, and what was stored into it is gone. */
static void test_rest(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region_options options = options_for(MMK_MODE_COPY);
    mmk_region *region = region_over(path, 4 * page, &options);
    CHECK_EQ(mmk_region_export(region), MMK_OK);
    CHECK_EQ(mmk_region_rest(region), MMK_EXPORTED);
    mmk_region_unexport(region);
    region->data[page] ^= 1;
    mmk_status status = mmk_region_rest(region);
    CHECK(mmk_region_closed(region));
    CHECK_EQ(region->size_bytes, 0);
    if (status == MMK_OK) {
        CHECK(mmk_region_wake(region));
        CHECK_EQ(region->size_bytes, 4 * page);
        CHECK(patterned(region->data, 4 * page, 0));
        check_runs(region, region, NULL, 0);
        CHECK_EQ(mmk_region_rest(region), MMK_OK);
        CHECK_EQ(mmk_region_pin(region), MMK_CLOSED); /* whoever comes too late unmaps it */
        CHECK(!mmk_region_wake(region));
    } else {
        CHECK_EQ(status, MMK_UNSUPPORTED);
    }
    mmk_region_close_finish(region);
    CHECK(atomic_load(&region->unmapped));
    free(region);
    region = region_over(path, 4 * page, &(mmk_region_options){.mode = MMK_MODE_READ,
                                                               .length = MMK_TO_END});
    CHECK_EQ(mmk_region_rest(region), MMK_UNSUPPORTED);
    mmk_region_close_finish(region);
    free(region);
}

int main(void) {
    test_rest();
    test_runs_are_pages_as_far_as_they_are_visible();
    test_many_runs();
    test_what_cannot_be_asked();
    static const size_t files[] = {0, 1, 4095, 4096, 4097, 10000};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_tail(files[i], 0);
        test_tail(files[i], files[i]);
        test_tail(files[i], files[i] / 2);
    }
    test_marked_region_never_flushes();
    remove_file(path);
    DONE("changes");
}
