/* Rows picked by index. */
#include "check.h"

#include "mmk/gather.h"
#include "os/os.h"

#ifdef __linux__
#include <fcntl.h>
#endif

static const mmk_path_char *const path = PATH("gather.bin");

static mmk_gather job_of(size_t origin, ptrdiff_t stride, size_t row_bytes, size_t row_count,
                         const int64_t *rows, size_t count, unsigned char *out) {
    mmk_gather job = {origin, stride, row_bytes, row_count, rows, count, out, row_bytes, NULL};
    return job;
}

static void test_bad_indices_are_found(void) {
    int64_t rows[1000];
    for (size_t i = 0; i < 1000; i++)
        rows[i] = (int64_t)(i % 10) - 5;
    CHECK_EQ(mmk_gather_find_bad(rows, 1000, 5), 1000);
    CHECK_EQ(mmk_gather_find_bad(rows, 1000, 4), 0);
    CHECK_EQ(mmk_gather_find_bad(rows + 1, 9, 4), 8);
    CHECK_EQ(mmk_gather_find_bad(rows, 0, 0), 0);
    CHECK_EQ(mmk_gather_find_bad(rows, 1, 0), 0);
    rows[777] = INT64_MIN;
    CHECK_EQ(mmk_gather_find_bad(rows, 1000, 5), 777);
    rows[777] = INT64_MAX;
    CHECK_EQ(mmk_gather_find_bad(rows, 1000, 5), 777);
}

/* Every row of every width lands where it belongs, and nothing beside it is written. */
static void test_rows_of_every_width(void) {
    static const size_t widths[] = {1, 2, 3, 4, 7, 8, 9, 16, 31, 32, 33, 64, 4096, 5000};
    enum { COUNT = 700, ROWS = 40 };
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 5000 * ROWS + 3, &options);
    int64_t rows[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        rows[i] = (int64_t)(i * 17 % (2 * ROWS)) - ROWS;
    unsigned char *out = malloc(COUNT * 5001 + 1);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (int reversed = 0; reversed < 2; reversed++) {
            size_t width = widths[w], origin = reversed ? (ROWS - 1) * width + 3 : 3;
            ptrdiff_t stride = reversed ? -(ptrdiff_t)width : (ptrdiff_t)width;
            mmk_gather job = job_of(origin, stride, width, ROWS, rows, COUNT, out);
            job.out_stride = width + 1;
            memset(out, 0xEE, COUNT * 5001 + 1);
            CHECK_EQ(mmk_region_prefetch_rows(region, &job), MMK_OK);
            CHECK_EQ(mmk_region_gather(region, &job), MMK_OK);
            bool right = true;
            for (size_t i = 0; i < COUNT; i++) {
                size_t row = (size_t)(rows[i] < 0 ? rows[i] + ROWS : rows[i]);
                size_t at = origin + (size_t)((ptrdiff_t)row * stride);
                right = right && memcmp(out + i * (width + 1), region->data + at, width) == 0;
                right = right && out[i * (width + 1) + width] == 0xEE;
            }
            CHECK(right);
            CHECK(!mmk_region_rows_damaged(region, &job));
        }
    }
    free(out);
    close_region(region);
}

static void test_arrays_outside_the_region_are_refused(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 1000, &options);
    int64_t row = 0;
    unsigned char out[16];
    struct {
        size_t origin;
        ptrdiff_t stride;
        size_t row_bytes, row_count;
    } wrong[] = {
        {0, 10, 10, 101},         {1, 10, 10, 100},     {991, 10, 10, 1},   {1001, 1, 1, 1},
        {980, -10, 10, 100},      {0, PTRDIFF_MAX, 1, 2}, {0, PTRDIFF_MIN, 1, 2},
        {0, 1, 1, SIZE_MAX / 16 + 1}, {SIZE_MAX, 1, 1, 1}, {0, 1, SIZE_MAX, 1}, {0, -1, 1, 2},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mmk_gather job = job_of(wrong[i].origin, wrong[i].stride, wrong[i].row_bytes,
                                wrong[i].row_count, &row, 1, out);
        CHECK_EQ(mmk_region_gather(region, &job), MMK_RANGE);
        CHECK_EQ(mmk_region_prefetch_rows(region, &job), MMK_RANGE);
    }
    mmk_gather right = job_of(990, -10, 10, 100, &row, 1, out);
    CHECK_EQ(mmk_region_gather(region, &right), MMK_OK);
    right.count = 0;
    CHECK_EQ(mmk_region_gather(region, &right), MMK_OK);
    close_region(region);
}

static void test_told_to_stop(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, 1000, &options);
    int64_t rows[5] = {1, 2, 3, 4, 5};
    unsigned char out[5] = {0}, stop = 1;
    mmk_gather job = job_of(0, 1, 1, 1000, rows, 5, out);
    job.stop = &stop;
    CHECK_EQ(mmk_region_gather(region, &job), MMK_OK);
    CHECK(all_bytes(out, 5, 0));
    stop = 0;
    CHECK_EQ(mmk_region_gather(region, &job), MMK_OK);
    CHECK(memcmp(out, region->data + 1, 5) == 0);
    close_region(region);
}

static void test_rows_of_a_cold_file(void) {
    size_t page = mmk_os_page_bytes(), pages = 5000;
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_region *region = region_over(path, pages * page, &options);
    int64_t *rows = malloc(3000 * sizeof *rows);
    unsigned char *out = malloc(3000 * 8);
    for (size_t i = 0; i < 3000; i++)
        rows[i] = (int64_t)(i * 7919 % (pages * page / 8));
    CHECK_EQ(mmk_region_flush(region, 0, pages * page, MMK_FLUSH_OS), MMK_OK);
    (void)mmk_region_evict(region, 0, pages * page);
    mmk_gather job = job_of(0, 8, 8, pages * page / 8, rows, 3000, out);
    CHECK_EQ(mmk_region_gather(region, &job), MMK_OK);
    bool right = true;
    for (size_t i = 0; i < 3000; i++)
        right = right && memcmp(out + i * 8, region->data + rows[i] * 8, 8) == 0;
    CHECK(right);
    free(rows);
    free(out);
    close_region(region);
}

#ifdef __linux__
/* 64 KiB from row to row: what one fault maps beside the page that it is of. */
enum { APART = 1 << 16, APART_COUNT = 2000 };

/* A file of as many rows, of which the pages are in memory, each by itself. */
static mmk_file file_of_rows_apart(void) {
    mmk_file file = fresh_file(path, 0);
    REQUIRE_EQ(mmk_os_file_resize(file.handle, (uint64_t)APART_COUNT * APART), MMK_OK);
    for (uint64_t i = 0; i < APART_COUNT; i++) {
        uint64_t row = i * i + 1;
        REQUIRE_EQ(mmk_os_file_write(file.handle, i * APART + 40, &row, sizeof row), MMK_OK);
    }
    REQUIRE_EQ(mmk_os_file_inspect(file.handle, &file.info), MMK_OK);
    return file;
}

static bool faults_at_every_row(void) {
    mmk_region_options options = options_for(MMK_MODE_READ);
    mmk_file file;
    REQUIRE_EQ(mmk_file_open(path, NULL, 0, &file), MMK_OK);
    mmk_region *region = new_region();
    REQUIRE_EQ(mmk_region_open(region, &file, &options), MMK_OK);
    uint64_t before = mmk_os_thread_waits().faults;
    uint64_t row, sum = 0;
    for (size_t i = 0; i < APART_COUNT; i++) {
        memcpy(&row, region->data + i * APART + 40, sizeof row);
        sum += row;
    }
    uint64_t faults = mmk_os_thread_waits().faults - before;
    CHECK(sum > APART_COUNT);
    close_region(region);
    return faults >= APART_COUNT;
}

/* Has the system forget the page of a row, where it can. */
static void make_cold(mmk_handle file, int64_t row) {
    CHECK_EQ(mmk_os_file_sync(file), MMK_OK);
    CHECK_EQ(posix_fadvise((int)file, row * APART, APART, POSIX_FADV_DONTNEED), 0);
}

/* In random order, with one that is not in memory when its turn to be read comes. */
static void test_rows_are_read_where_each_would_be_mapped(void) {
    static int64_t rows[APART_COUNT];
    static uint64_t out[APART_COUNT];
    for (size_t i = 0; i < APART_COUNT; i++)
        rows[i] = (int64_t)(i * 1237 % APART_COUNT);
    static const mmk_mode modes[] = {MMK_MODE_READ, MMK_MODE_WRITE, MMK_MODE_COPY};
    for (size_t m = 0; m < 3; m++) {
        mmk_file file = file_of_rows_apart();
        bool apart = faults_at_every_row();
        uint64_t word;
        bool readable = mmk_os_file_read_cached(file.handle, 40, &word, sizeof word);
        CHECK(!readable || word == 1);
        make_cold(file.handle, rows[1500]);
        mmk_region_options options = options_for(modes[m]);
        mmk_region *region = new_region();
        REQUIRE_EQ(mmk_region_open(region, &file, &options), MMK_OK);
        if (modes[m] == MMK_MODE_COPY)
            memcpy(region->data + 7 * APART + 40, &(uint64_t){99}, sizeof(uint64_t));
        mmk_gather job = job_of(40, APART, 8, APART_COUNT, rows, APART_COUNT, (unsigned char *)out);
        memset(out, 0xEE, sizeof out);
        CHECK_EQ(mmk_region_gather(region, &job), MMK_OK);
        bool right = true;
        for (size_t i = 0; i < APART_COUNT; i++) {
            uint64_t row = (uint64_t)(rows[i] * rows[i] + 1);
            if (modes[m] == MMK_MODE_COPY && rows[i] == 7)
                row = 99;
            right = right && out[i] == row;
        }
        CHECK(right);
        size_t read = atomic_load(&region->rows_read);
        if (modes[m] == MMK_MODE_COPY) /* whose bytes are not the file's */
            CHECK_EQ(read, 0);
        else if (apart && readable)
            CHECK(read > APART_COUNT / 4 && read < APART_COUNT);
        /* Not for ever: pages that are mapped are faster in the long run. */
        for (int turn = 0; turn < 20; turn++)
            CHECK_EQ(mmk_region_gather(region, &job), MMK_OK);
        size_t pages = (size_t)APART_COUNT * APART / mmk_os_page_bytes();
        CHECK(atomic_load(&region->rows_read) <= pages / 8 + 512);
        close_region(region);
    }
}
#endif

int main(void) {
    test_bad_indices_are_found();
    test_rows_of_every_width();
    test_arrays_outside_the_region_are_refused();
    test_told_to_stop();
    test_rows_of_a_cold_file();
#ifdef __linux__
    test_rows_are_read_where_each_would_be_mapped();
#endif
    remove_file(path);
    DONE("tests/c/test_gather");
}
