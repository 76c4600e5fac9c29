/* Opening, adopting, growing and renewing files. */
#include "check.h"

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#define open_fd(path, flags) _wopen(path, (flags) | _O_BINARY)
#define close_fd _close
#define make_directory(path) _wmkdir(path)
#define remove_directory(path) _wrmdir(path)
#define O_RDWR _O_RDWR
#define O_RDONLY _O_RDONLY
#define O_WRONLY _O_WRONLY
#else
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#define open_fd(path, flags) open(path, flags)
#define close_fd close
#define make_directory(path) mkdir(path, 0777)
#define remove_directory(path) rmdir(path)
#endif

static const mmk_path_char *const path = PATH("file.bin");

static void test_created_says_who_made_the_file(void) {
    mmk_file file;
    remove_file(path);
    CHECK(mmk_file_open(path, NULL, MMK_OPEN_WRITE, &file) > 0);
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE | MMK_OPEN_CREATE, &file), MMK_OK);
    CHECK(file.created);
    CHECK_EQ(file.info.kind, MMK_FILE_REGULAR);
    CHECK_EQ(file.info.size_bytes, 0);
    CHECK(file.info.readable && file.info.writable);
    mmk_file_close(&file);
    CHECK_EQ(file.handle, MMK_NO_HANDLE);
    mmk_file_close(&file); /* twice does no harm */
    REQUIRE_EQ(mmk_file_open(path, NULL, MMK_OPEN_WRITE | MMK_OPEN_CREATE, &file), MMK_OK);
    CHECK(!file.created);
    mmk_file_close(&file);
    unsigned exclusive = MMK_OPEN_WRITE | MMK_OPEN_CREATE | MMK_OPEN_EXCLUSIVE;
    CHECK(mmk_file_open(path, NULL, exclusive, &file) > 0);
    REQUIRE_EQ(mmk_file_open(path, NULL, 0, &file), MMK_OK);
    CHECK(file.info.readable && !file.info.writable);
    mmk_file_close(&file);
}

static void test_directory_is_not_mappable(void) {
    mmk_file file;
    make_directory(PATH("directory"));
    CHECK_EQ(mmk_file_open(PATH("directory"), NULL, 0, &file), MMK_NOT_MAPPABLE);
    remove_directory(PATH("directory"));
}

#ifndef _WIN32
static void test_fifo_is_not_waited_for(void) {
    mmk_file file;
    unlink("fifo");
    REQUIRE_EQ(mkfifo("fifo", 0666), 0);
    CHECK_EQ(mmk_file_open("fifo", NULL, 0, &file), MMK_NOT_MAPPABLE);
    unlink("fifo");
}

static void test_path_cannot_leave_the_directory_it_is_beneath(void) {
    mmk_file file;
    mmk_file_close(&(mmk_file){.handle = fresh_file("outside", 10).handle});
    mkdir("root", 0777);
    mmk_status status = mmk_file_open("inside", "root", MMK_OPEN_WRITE | MMK_OPEN_CREATE, &file);
    if (status == MMK_UNSUPPORTED) {
        SKIP("beneath", "not offered by this system");
    } else {
        REQUIRE_EQ(status, MMK_OK);
        mmk_file_close(&file);
        CHECK_EQ(size_of("root/inside"), 0);
        CHECK_EQ(mmk_file_open("../outside", "root", 0, &file), EXDEV);
        unlink("root/link");
        CHECK_EQ(symlink("../outside", "root/link"), 0);
        CHECK_EQ(mmk_file_open("link", "root", 0, &file), EXDEV);
        unlink("root/link");
    }
    unlink("root/inside");
    rmdir("root");
    unlink("outside");
}

static void test_character_device_needs_a_length(void) {
    mmk_file file;
    mmk_region *region = new_region();
    mmk_region_options options = options_for(MMK_MODE_READ);
    REQUIRE_EQ(mmk_file_open("/dev/zero", NULL, 0, &file), MMK_OK);
    CHECK_EQ(file.info.kind, MMK_FILE_CHAR_DEVICE);
    CHECK_EQ(mmk_region_open(region, &file, &options), MMK_NEEDS_LENGTH);
    mmk_file_close(&file);
    free(region);
}
#else
static void test_directories_to_stay_beneath_are_not_offered(void) {
    mmk_file file;
    CHECK_EQ(mmk_file_open(path, L".", 0, &file), MMK_UNSUPPORTED);
}
#endif

static void test_adopted_descriptor_stays_open(void) {
    mmk_file file, made = fresh_file(path, 100);
    mmk_file_close(&made);
    int descriptor = open_fd(path, O_RDWR);
    REQUIRE_EQ(mmk_file_adopt(descriptor, true, &file), MMK_OK);
    CHECK(!file.created);
    CHECK(file.info.readable && file.info.writable);
    CHECK_EQ(file.info.size_bytes, 100);
    mmk_file_close(&file);
    REQUIRE_EQ(mmk_file_adopt(descriptor, false, &file), MMK_OK);
    CHECK_EQ(close_fd(descriptor), 0);
    unsigned char byte = 0;
    size_t done = 0;
    CHECK_EQ(mmk_os_file_read(file.handle, 99, &byte, 1, &done), MMK_OK);
    CHECK_EQ(byte, byte_at(99));
    CHECK_EQ(mmk_os_file_read(file.handle, 90, &byte, 0, &done), MMK_OK);
    CHECK_EQ(done, 0);
    mmk_file_close(&file);
    descriptor = open_fd(path, O_RDONLY);
    CHECK_EQ(mmk_file_adopt(descriptor, true, &file), MMK_READ_ONLY);
    close_fd(descriptor);
    descriptor = open_fd(path, O_WRONLY);
    CHECK_EQ(mmk_file_adopt(descriptor, false, &file), MMK_WRITE_ONLY);
    close_fd(descriptor);
    CHECK(mmk_file_adopt(descriptor, false, &file) > 0);
}

static void test_reading_past_the_end_gives_fewer_bytes(void) {
    mmk_file file = fresh_file(path, 10);
    unsigned char bytes[20];
    size_t done = 0;
    CHECK_EQ(mmk_os_file_read(file.handle, 4, bytes, sizeof bytes, &done), MMK_OK);
    CHECK_EQ(done, 6);
    CHECK(patterned(bytes, 6, 4));
    CHECK_EQ(mmk_os_file_read(file.handle, 10, bytes, sizeof bytes, &done), MMK_OK);
    CHECK_EQ(done, 0);
    mmk_file_close(&file);
}

static void test_growing_keeps_bytes_and_adds_zeros(void) {
    for (int sparse = 0; sparse < 2; sparse++) {
        mmk_file file = fresh_file(path, 5000);
        CHECK_EQ(mmk_file_resize(file.handle, 5000, 3000000, sparse != 0), MMK_OK);
        CHECK_EQ(size_of(path), 3000000);
        CHECK_EQ(file_byte(path, 4999), byte_at(4999));
        CHECK_EQ(file_byte(path, 5000), 0);
        CHECK_EQ(file_byte(path, 2999999), 0);
        CHECK_EQ(mmk_file_resize(file.handle, 3000000, 10, sparse != 0), MMK_OK);
        CHECK_EQ(size_of(path), 10);
        CHECK_EQ(mmk_file_resize(file.handle, 10, 0, sparse != 0), MMK_OK);
        CHECK_EQ(size_of(path), 0);
        mmk_file_close(&file);
    }
}

static void test_size_beyond_file_offsets_is_refused(void) {
    mmk_file file = fresh_file(path, 10);
    CHECK_EQ(mmk_file_resize(file.handle, 10, UINT64_MAX - 5, true), MMK_TOO_LARGE);
    CHECK_EQ(size_of(path), 10);
    mmk_file_close(&file);
}

static void test_no_room_is_an_error_at_once(void) {
    mmk_file file = fresh_file(path, 10);
    mmk_status status = mmk_file_resize(file.handle, 10, (uint64_t)1 << 60, false);
    CHECK(status > 0 || status == MMK_TOO_LARGE);
    CHECK_EQ(size_of(path), 10);
    mmk_file_close(&file);
}

static void test_renewing_leaves_zeros_only(void) {
    for (int sparse = 0; sparse < 2; sparse++) {
        mmk_file file = fresh_file(path, 5000);
        CHECK_EQ(mmk_file_renew(&file, 9000, sparse != 0), MMK_OK);
        CHECK_EQ(file.info.size_bytes, 9000);
        CHECK_EQ(size_of(path), 9000);
        CHECK_EQ(file_byte(path, 0), 0);
        CHECK_EQ(file_byte(path, 4999), 0);
        CHECK_EQ(mmk_file_renew(&file, 10, sparse != 0), MMK_OK);
        CHECK_EQ(size_of(path), 10);
        CHECK_EQ(mmk_file_renew(&file, 0, sparse != 0), MMK_OK);
        CHECK_EQ(size_of(path), 0);
        mmk_file_close(&file);
    }
}

int main(void) {
    test_created_says_who_made_the_file();
    test_directory_is_not_mappable();
#ifndef _WIN32
    test_fifo_is_not_waited_for();
    test_path_cannot_leave_the_directory_it_is_beneath();
    test_character_device_needs_a_length();
#else
    test_directories_to_stay_beneath_are_not_offered();
#endif
    test_adopted_descriptor_stays_open();
    test_reading_past_the_end_gives_fewer_bytes();
    test_growing_keeps_bytes_and_adds_zeros();
    test_size_beyond_file_offsets_is_refused();
    test_no_room_is_an_error_at_once();
    test_renewing_leaves_zeros_only();
    remove_file(path);
    DONE("tests/c/test_file");
}
