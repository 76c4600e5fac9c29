/* A filesystem of one file in memory, "data", that fails to order.
 *
 *     faulty_fuse MOUNTPOINT SIZE READ_EIO_FROM READ_EIO_TO WRITE_EIO DIRECT_IO
 *
 * Byte i of the file begins as (i / 4096 * 7 + i) & 0xff. Reading any byte of [READ_EIO_FROM,
 * READ_EIO_TO) fails with EIO, and so does every write if WRITE_EIO is 1. With DIRECT_IO 1 the file
 * is opened with FOPEN_DIRECT_IO, so the kernel refuses to map it shared (ENODEV). SIGUSR1 ends the
 * failures, SIGUSR2 lets them begin again.
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static unsigned char *data;
static size_t size_bytes;
static off_t bad_from, bad_to;
static int write_fails, direct_io;
static volatile sig_atomic_t failing = 1;

static void end_failures(int number) { (void)number, failing = 0; }
static void begin_failures(int number) { (void)number, failing = 1; }

static int is_data(const char *path) { return strcmp(path, "/data") == 0; }

/* A page a request, so that a failing page takes no neighbours with it. */
#define MOST_READ_BYTES 4096

static void *start(struct fuse_conn_info *connection, struct fuse_config *config) {
    (void)config;
    connection->max_read = MOST_READ_BYTES;
    return NULL;
}

static int get_attributes(const char *path, struct stat *found, struct fuse_file_info *info) {
    (void)info;
    memset(found, 0, sizeof *found);
    if (strcmp(path, "/") == 0) {
        found->st_mode = S_IFDIR | 0755;
        found->st_nlink = 2;
    } else if (is_data(path)) {
        found->st_mode = S_IFREG | 0644;
        found->st_nlink = 1;
        found->st_size = (off_t)size_bytes;
    } else {
        return -ENOENT;
    }
    return 0;
}

static int open_file(const char *path, struct fuse_file_info *info) {
    if (!is_data(path))
        return -ENOENT;
    info->direct_io = direct_io;
    return 0;
}

static int read_file(const char *path, char *to, size_t length, off_t offset,
                     struct fuse_file_info *info) {
    (void)path, (void)info;
    if ((size_t)offset >= size_bytes)
        return 0;
    if (length > size_bytes - (size_t)offset)
        length = size_bytes - (size_t)offset;
    if (failing && offset < bad_to && offset + (off_t)length > bad_from)
        return -EIO;
    memcpy(to, data + offset, length);
    return (int)length;
}

static int write_file(const char *path, const char *from, size_t length, off_t offset,
                      struct fuse_file_info *info) {
    (void)path, (void)info;
    if (failing && write_fails)
        return -EIO;
    if ((size_t)offset + length > size_bytes)
        return -ENOSPC;
    memcpy(data + offset, from, length);
    return (int)length;
}

static int truncate_file(const char *path, off_t size, struct fuse_file_info *info) {
    (void)info;
    if (!is_data(path) || (size_t)size > size_bytes)
        return -ENOSPC;
    size_bytes = (size_t)size;
    return 0;
}

static int list(const char *path, void *buffer, fuse_fill_dir_t add, off_t offset,
                struct fuse_file_info *info, enum fuse_readdir_flags flags) {
    (void)path, (void)offset, (void)info, (void)flags;
    add(buffer, "data", NULL, 0, 0);
    return 0;
}

static int sync_file(const char *path, int only_data, struct fuse_file_info *info) {
    (void)path, (void)only_data, (void)info;
    return 0;
}

static const struct fuse_operations operations = {
    .init = start,
    .getattr = get_attributes,
    .open = open_file,
    .read = read_file,
    .write = write_file,
    .truncate = truncate_file,
    .readdir = list,
    .fsync = sync_file,
};

int main(int count, char **words) {
    if (count != 7)
        return 2;
    size_bytes = strtoul(words[2], NULL, 10);
    bad_from = strtol(words[3], NULL, 10);
    bad_to = strtol(words[4], NULL, 10);
    write_fails = atoi(words[5]);
    direct_io = atoi(words[6]);
    data = malloc(size_bytes);
    if (data == NULL)
        return 1;
    for (size_t i = 0; i < size_bytes; i++)
        data[i] = (unsigned char)(i / 4096 * 7 + i);
    signal(SIGUSR1, end_failures);
    signal(SIGUSR2, begin_failures);
    char *fuse_words[] = {words[0], "-f", "-s", "-o", "allow_other,max_read=4096", words[1], NULL};
    return fuse_main(6, fuse_words, &operations, NULL);
}
