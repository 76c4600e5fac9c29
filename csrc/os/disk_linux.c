/* Files that must survive a crash: what only Linux has. */
#include "os/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/os.h"

#ifndef FICLONE
#define FICLONE _IOW(0x94, 9, int)
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

/* From <linux/stat.h>, Linux 4.11; the C library's may lack it, or have it under the same name. */
struct statx_time_v0 {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};
struct statx_v0 {
    uint32_t mask;
    uint32_t before[15]; /* ... of the times */
    struct statx_time_v0 atime, btime, ctime, mtime;
    uint64_t after[16];
};
enum { BIRTH_TIME = 0x800 };

static uint64_t birth_ns(int file) {
#ifdef SYS_statx
    struct statx_v0 found;
    if (syscall(SYS_statx, file, "", AT_EMPTY_PATH, BIRTH_TIME, &found) == 0 &&
        (found.mask & BIRTH_TIME))
        return (uint64_t)found.btime.seconds * 1000000000u + found.btime.nanoseconds;
#endif
    return 0;
}

mmk_status mmk_os_file_identify(mmk_handle file, mmk_identity *identity) {
    struct stat found;
    if (fstat((int)file, &found) != 0)
        return errno;
    identity->device = (uint64_t)found.st_dev;
    identity->inode = (uint64_t)found.st_ino;
    identity->birth_ns = birth_ns((int)file);
    return MMK_OK;
}

mmk_status mmk_os_file_sync_data(mmk_handle file) {
    while (fdatasync((int)file) != 0)
        if (errno != EINTR)
            return errno;
    return MMK_OK;
}

mmk_status mmk_os_file_write_some(mmk_handle file, uint64_t offset, const mmk_piece *pieces,
                                  size_t count, size_t *done) {
    struct iovec batch[MMK_OS_PIECES];
    for (size_t i = 0; i < count; i++)
        batch[i] = (struct iovec){(void *)pieces[i].at, pieces[i].length_bytes};
    for (;;) {
        ssize_t put = pwritev((int)file, batch, (int)count, (off_t)offset);
        if (put > 0) {
            *done = (size_t)put;
            return MMK_OK;
        }
        if (put == 0)
            return ENOSPC;
        if (errno != EINTR)
            return errno;
    }
}

mmk_status mmk_os_file_clone(mmk_handle to, mmk_handle from) {
    while (ioctl((int)to, FICLONE, (int)from) != 0) {
        switch (errno) {
        case EINTR: continue;
        /* ioctl_ficlone(2): another filesystem, or one that cannot; EINVAL stands for that, too. */
        case EXDEV: case EOPNOTSUPP: case ENOTTY: case ENOSYS: case EINVAL: return MMK_UNSUPPORTED;
        default: return errno;
        }
    }
    return MMK_OK;
}
