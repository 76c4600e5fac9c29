/* Files that must survive a crash: what macOS does its own way. */
#include "os/disk.h"

#include <errno.h>
#include <sys/stat.h>

#include "os/posix.h"

int mmk__os_stat(int file, const char *path, struct stat *found) {
    return path == NULL ? fstat(file, found) : stat(path, found);
}

mmk_status mmk_os_file_identify(mmk_handle file, mmk_identity *identity) {
    struct stat found;
    if (fstat((int)file, &found) != 0)
        return errno;
    identity->device = (uint64_t)found.st_dev;
    identity->inode = (uint64_t)found.st_ino;
    identity->birth_ns = (uint64_t)found.st_birthtimespec.tv_sec * 1000000000u +
                         (uint64_t)found.st_birthtimespec.tv_nsec;
    return MMK_OK;
}

/* There is no cheaper way to the medium than the one for all. */
mmk_status mmk_os_file_sync_data(mmk_handle file) { return mmk_os_file_sync(file); }

/* pwritev() came with macOS 11, and not to every header. */
mmk_status mmk_os_file_write_some(mmk_handle file, uint64_t offset, const mmk_piece *pieces,
                                  size_t count, size_t *done) {
    (void)count;
    *done = pieces[0].length_bytes;
    return mmk_os_file_write(file, offset, pieces[0].at, pieces[0].length_bytes);
}

/* fclonefileat() makes a new file of a name, and none of an open one. */
mmk_status mmk_os_file_clone(mmk_handle to, mmk_handle from) {
    (void)to;
    (void)from;
    return MMK_UNSUPPORTED;
}
