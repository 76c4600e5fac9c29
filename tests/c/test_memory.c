/* Hints, prefetching, populating, evicting, locking, asking what is resident. */
#include "check.h"

static const mmk_path_char *const path = PATH("memory.bin");

/* What a system may lack, but must not fail at. */
#define CHECK_OFFERED(call)                                        \
    do {                                                           \
        mmk_status status_ = (call);                               \
        if (status_ != MMK_UNSUPPORTED)                            \
            CHECK_EQ(status_, MMK_OK);                             \
    } while (0)

static void test_every_hint_is_taken_or_unsupported(void) {
    mmk_region_options options = options_for(MMK_MODE_WRITE);
    options.offset = 5;
    mmk_region *region = region_over(path, 100000, &options);
    region->data[50000] = 99;
    for (int i = 0; i < MMK_ADVICE_COUNT; i++) {
        mmk_advice advice = (mmk_advice)i;
        CHECK(mmk_advice_name(advice) != NULL);
        CHECK_OFFERED(mmk_region_advise(region, 1, 99000, advice));
        if (!mmk_advice_supported(advice))
            CHECK_EQ(mmk_region_advise(region, 0, 0, advice), MMK_UNSUPPORTED);
    }
    CHECK_EQ(region->data[50000], 99); /* shared: the file has it */
    close_region(region);
}

static void test_discarding_touches_whole_pages_inside_only(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region *region = new_region();
    REQUIRE_EQ(mmk_region_anonymous(region, 4 * page, 0, false), MMK_OK);
    memset(region->data, 1, 4 * page);
    CHECK_OFFERED(mmk_region_advise(region, 1, 3 * page, MMK_ADVICE_DONTNEED));
    CHECK(all_bytes(region->data, page, 1));
    CHECK(all_bytes(region->data + 3 * page, page, 1));
    close_region(region);
}

static void test_prefetching_many_ranges(void) {
    size_t page = mmk_os_page_bytes(), size = 3000 * page;
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, size, &options);
    mmk_range *ranges = calloc(1500, sizeof *ranges);
    for (size_t i = 0; i < 1500; i++) {
        ranges[i].offset = i * 2 * page + i % page;
        ranges[i].length_bytes = i % 3 == 0 ? 0 : i % 100 + 1;
    }
    CHECK_OFFERED(mmk_region_prefetch(region, ranges, 1500));
    CHECK_OFFERED(mmk_region_prefetch(region, ranges, 1));
    CHECK_EQ(mmk_region_prefetch(region, ranges, 0), MMK_OK);
    CHECK(patterned(region->data, size, 0));
    free(ranges);
    close_region(region);
}

static void test_populated_pages_are_resident(void) {
    size_t page = mmk_os_page_bytes();
    for (int memory = 0; memory < 2; memory++) {
        mmk_region_options options = options_for(MMK_MODE_READ);
        options.offset = 100;
        mmk_region *region;
        if (memory) {
            region = new_region();
            REQUIRE_EQ(mmk_region_anonymous(region, 20 * page, 0, false), MMK_OK);
        } else {
            region = region_over(path, 20 * page + 100, &options);
        }
        size_t count = mmk_region_page_count(region, 0, region->size_bytes);
        CHECK(count == 20 || count == 21);
        unsigned char *pages = calloc(count, 1);
        bool known = false;
        CHECK_EQ(mmk_region_populate(region, 0, region->size_bytes), MMK_OK);
        CHECK_EQ(mmk_region_residency(region, 0, region->size_bytes, pages, &known), MMK_OK);
        for (size_t i = 0; known && i < count; i++)
            CHECK_EQ(pages[i] & 1, 1);
        free(pages);
        close_region(region);
    }
    mmk_region_options options = options_for(MMK_MODE_READ);
    options.populate = true;
    mmk_region *region = region_over(path, 10 * page, &options);
    CHECK(patterned(region->data, 10 * page, 0));
    close_region(region);
}

static void test_evicting_loses_nothing(void) {
    size_t page = mmk_os_page_bytes();
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_WRITE, MMK_MODE_COPY};
    for (size_t i = 0; i < 3; i++) {
        mmk_region_options options = options_for(modes[i]);
        mmk_region *region = region_over(path, 20 * page, &options);
        if (modes[i] != MMK_MODE_READ)
            region->data[page + 1] = 200;
        CHECK_OFFERED(mmk_region_evict(region, 0, 20 * page));
        CHECK_OFFERED(mmk_region_evict(region, page + 7, 1));
        if (modes[i] != MMK_MODE_READ)
            CHECK_EQ(region->data[page + 1], 200);
        CHECK(patterned(region->data + 2 * page, 18 * page, 2 * page));
        close_region(region);
    }
    mmk_region *region = new_region();
    REQUIRE_EQ(mmk_region_anonymous(region, 20 * page, 0, false), MMK_OK);
    memset(region->data, 3, 20 * page);
    CHECK_OFFERED(mmk_region_evict(region, 0, 20 * page));
    CHECK(all_bytes(region->data, 20 * page, 3));
    close_region(region);
}

static void test_locking_and_unlocking(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 4 * page, &options);
    CHECK_EQ(mmk_region_lock(region, 1, page, false), MMK_OK);
    CHECK_EQ(mmk_region_unlock(region, 1, page), MMK_OK);
    CHECK_OFFERED(mmk_region_lock(region, 0, page, true));
    close_region(region);
}

static void test_page_cache_counts(void) {
    size_t page = mmk_os_page_bytes();
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 8 * page, &options);
    mmk_cached cached;
    CHECK(patterned(region->data, 8 * page, 0));
    mmk_status status = mmk_region_cached(region, 0, region->size_bytes, &cached);
    if (status == MMK_UNSUPPORTED) {
        SKIP("page cache counts", "not offered by this system");
    } else if (CHECK_EQ(status, MMK_OK)) {
        CHECK_EQ(cached.resident_pages, 8);
        CHECK(cached.dirty_pages <= 8);
    }
    close_region(region);
}

static void test_labels(void) {
    mmk_region *region = new_region();
    REQUIRE_EQ(mmk_region_anonymous(region, 10000, 0, false), MMK_OK);
    CHECK_OFFERED(mmk_region_label(region, "mmapkit test"));
    close_region(region);
}

int main(void) {
    test_every_hint_is_taken_or_unsupported();
    test_discarding_touches_whole_pages_inside_only();
    test_prefetching_many_ranges();
    test_populated_pages_are_resident();
    test_evicting_loses_nothing();
    test_locking_and_unlocking();
    test_page_cache_counts();
    test_labels();
    remove_file(path);
    DONE("tests/c/test_memory");
}
