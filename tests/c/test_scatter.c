/* Files that must survive a crash: pieces, runs, identity, blocks, locks. */
#include "check.h"
#include "mmk/scatter.h"
#include "os/disk.h"
#include "os/os.h"

static mmk_handle open_file(const mmk_path_char *path) {
    mmk_file file;
    REQUIRE_EQ(mmk_file_open(path, NULL,
                             MMK_OPEN_WRITE | MMK_OPEN_CREATE | MMK_OPEN_SHARED_DELETE, &file),
               MMK_OK);
    return file.handle;
}

static bool holds(mmk_handle file, uint64_t offset, const void *bytes, size_t length_bytes) {
    unsigned char *found = malloc(length_bytes + 1);
    size_t done = 0;
    bool same = mmk_os_file_read(file, offset, found, length_bytes, &done) == MMK_OK &&
                done == length_bytes && memcmp(found, bytes, length_bytes) == 0;
    free(found);
    return same;
}

/* More pieces than a call takes, of all small lengths, empty ones among them. */
static void test_pieces(void) {
    enum { COUNT = 3 * MMK_OS_PIECES + 7 };
    static unsigned char bytes[COUNT * 5];
    static mmk_piece pieces[COUNT];
    size_t used = 0;
    mmk_handle file = open_file(PATH("pieces"));
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = byte_at(i);
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = (mmk_piece){bytes + used, i % 5};
        used += i % 5;
    }
    CHECK_EQ(mmk_pieces_write(file, 11, pieces, COUNT), MMK_OK);
    CHECK(holds(file, 11, bytes, used));
    uint64_t size_bytes = 0;
    CHECK_EQ(mmk_os_file_size(file, &size_bytes), MMK_OK);
    CHECK_EQ(size_bytes, 11 + used);
    mmk_piece nothing[2] = {{bytes, 0}, {NULL, 0}};
    CHECK_EQ(mmk_pieces_write(file, 0, nothing, 2), MMK_OK);
    CHECK_EQ(mmk_pieces_write(file, 0, NULL, 0), MMK_OK);
    mmk_os_file_close(file);
    remove_file(PATH("pieces"));
}

static void test_runs(void) {
    mmk_handle file = open_file(PATH("runs"));
    mmk_run runs[] = {{100, 3}, {103, 2}, {7, 0}, {0, 1}, {101, 1}};
    uint64_t sum = 99;
    CHECK(mmk_runs_measure(runs, 5, 105, &sum));
    CHECK_EQ(sum, 7);
    CHECK(!mmk_runs_measure(runs, 5, 104, &sum));
    CHECK(mmk_runs_measure(NULL, 0, 0, &sum));
    CHECK_EQ(sum, 0);
    CHECK_EQ(mmk_runs_write(file, runs, 5, "abcdefg"), MMK_OK);
    CHECK(holds(file, 100, "agcde", 5));
    CHECK(holds(file, 0, "f", 1));
    mmk_run bad[] = {{-1, 1}, {0, -1}, {INT64_MAX, 1}};
    for (int i = 0; i < 3; i++)
        CHECK(!mmk_runs_measure(bad + i, 1, INT64_MAX, &sum));
    mmk_run long_ones[] = {{0, INT64_MAX}, {0, 1}};
    CHECK(mmk_runs_measure(long_ones, 1, INT64_MAX, &sum));
    CHECK(!mmk_runs_measure(long_ones, 2, INT64_MAX, &sum));
    mmk_run last = {INT64_MAX - 1, 1};
    CHECK(mmk_runs_measure(&last, 1, INT64_MAX, &sum));
    mmk_os_file_close(file);
    remove_file(PATH("runs"));
}

static void test_identity(void) {
    mmk_handle a = open_file(PATH("a")), again = open_file(PATH("a")), b = open_file(PATH("b"));
    mmk_identity one, two, other;
    REQUIRE_EQ(mmk_os_file_identify(a, &one), MMK_OK);
    REQUIRE_EQ(mmk_os_file_write(a, 0, "x", 1), MMK_OK);
    REQUIRE_EQ(mmk_os_file_identify(again, &two), MMK_OK);
    REQUIRE_EQ(mmk_os_file_identify(b, &other), MMK_OK);
    CHECK_EQ(one.device, two.device);
    CHECK_EQ(one.inode, two.inode);
    CHECK_EQ(one.birth_ns, two.birth_ns);
    CHECK(other.inode != one.inode);
    mmk_os_file_close(a);
    mmk_os_file_close(again);
    mmk_os_file_close(b);
    remove_file(PATH("a"));
    remove_file(PATH("b"));
}

static void test_names(void) {
    mmk_handle a = open_file(PATH("a")), b = open_file(PATH("b"));
    bool leads = false;
    CHECK_EQ(mmk_os_name_leads_to(PATH("a"), a, &leads), MMK_OK);
    CHECK(leads);
    CHECK_EQ(mmk_os_name_leads_to(PATH("a"), b, &leads), MMK_OK);
    CHECK(!leads);
    leads = true;
    CHECK_EQ(mmk_os_name_leads_to(PATH("none"), a, &leads), MMK_OK);
    CHECK(!leads);
    mmk_os_file_close(a);
    mmk_os_file_close(b);
    remove_file(PATH("a"));
    remove_file(PATH("b"));
}

static void test_blocks_and_syncs(void) {
    mmk_handle file = open_file(PATH("blocks"));
    static unsigned char bytes[1 << 16];
    uint64_t blocks = 0;
    memset(bytes, 7, sizeof bytes);
    CHECK_EQ(mmk_os_file_write(file, 0, bytes, sizeof bytes), MMK_OK);
    CHECK_EQ(mmk_os_file_sync_data(file), MMK_OK);
    CHECK_EQ(mmk_os_file_blocks(file, &blocks), MMK_OK);
    CHECK(blocks >= sizeof bytes);
    CHECK_EQ(mmk_os_directory_sync(PATH(".")), MMK_OK);
    mmk_os_file_close(file);
    remove_file(PATH("blocks"));
}

/* Bytes that no 32-bit offset reaches: an offset that was cut to 32 bits would meet another's. */
static void test_locks(void) {
    uint64_t far = (uint64_t)1 << 62, near = 1;
    mmk_handle a = open_file(PATH("locks")), b = open_file(PATH("locks"));
    bool obtained = false;
    mmk_status status = mmk_os_file_lock(a, far + 1, 1, true, &obtained);
    if (status == MMK_UNSUPPORTED) {
        SKIP("locks", "this filesystem, or emulator, has none");
    } else {
        CHECK_EQ(status, MMK_OK);
        CHECK(obtained);
        CHECK_EQ(mmk_os_file_lock(b, far + 1, 1, false, &obtained), MMK_OK);
        CHECK(!obtained);
        CHECK_EQ(mmk_os_file_lock(b, near, 1, true, &obtained), MMK_OK);
        CHECK(obtained);
        CHECK_EQ(mmk_os_file_lock(b, far + 2, 1, true, &obtained), MMK_OK);
        CHECK(obtained);
        CHECK_EQ(mmk_os_file_unlock(a, far + 1, 1), MMK_OK);
        CHECK_EQ(mmk_os_file_unlock(a, far + 1, 1), MMK_OK);
        CHECK_EQ(mmk_os_file_lock(b, far + 1, 1, false, &obtained), MMK_OK);
        CHECK(obtained);
        CHECK_EQ(mmk_os_file_lock(a, far + 1, 1, false, &obtained), MMK_OK);
        CHECK(obtained);
        mmk_os_file_close(b); /* gives its locks back */
        CHECK_EQ(mmk_os_file_lock(a, far + 2, 1, true, &obtained), MMK_OK);
        CHECK(obtained);
        b = open_file(PATH("locks"));
    }
    mmk_os_file_close(a);
    mmk_os_file_close(b);
    remove_file(PATH("locks"));
}

static void test_clone(void) {
    mmk_handle from = open_file(PATH("from")), to = open_file(PATH("to"));
    CHECK_EQ(mmk_os_file_write(from, 0, "new", 3), MMK_OK);
    CHECK_EQ(mmk_os_file_write(to, 0, "older", 5), MMK_OK);
    mmk_status status = mmk_os_file_clone(to, from);
    CHECK(status == MMK_OK || status == MMK_UNSUPPORTED);
    CHECK(holds(to, 0, status == MMK_OK ? "new" : "older", 3));
    mmk_os_file_close(from);
    mmk_os_file_close(to);
    remove_file(PATH("from"));
    remove_file(PATH("to"));
}

int main(void) {
    test_pieces();
    test_runs();
    test_identity();
    test_names();
    test_blocks_and_syncs();
    test_locks();
    test_clone();
    DONE("scatter");
}
