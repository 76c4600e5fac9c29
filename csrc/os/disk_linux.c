/* Files that must survive a crash: what only Linux has. */
#include "os/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/posix.h"

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
    uint32_t mask, block_bytes;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, reserved;
    uint64_t inode, size, blocks, attributes_mask;
    struct statx_time_v0 atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t after[14];
};
_Static_assert(sizeof(struct statx_v0) == 256, "as the kernel fills it in");
enum { BIRTH_TIME = 0x800, ALL_BUT_TIMES = 0x71f };

/* Without a path, of the file itself. -1 where the kernel, or a sandbox, has no such call, too. */
static int look(int file, const char *path, unsigned wanted, struct statx_v0 *found) {
#ifdef SYS_statx
    int how = path == NULL ? AT_EMPTY_PATH : 0;
    return (int)syscall(SYS_statx, file, path == NULL ? "" : path, how, wanted, found);
#else
    (void)file, (void)path, (void)wanted, (void)found;
    return -1;
#endif
}

int mmk__os_stat(int file, const char *path, struct stat *found) {
    struct statx_v0 seen;
    if (look(file, path, ALL_BUT_TIMES, &seen) != 0 || (seen.mask & ALL_BUT_TIMES) != ALL_BUT_TIMES)
        return path == NULL ? fstat(file, found) : stat(path, found);
    memset(found, 0, sizeof *found);
    found->st_dev = makedev(seen.dev_major, seen.dev_minor);
    found->st_rdev = makedev(seen.rdev_major, seen.rdev_minor);
    found->st_ino = (ino_t)seen.inode;
    found->st_mode = seen.mode;
    found->st_nlink = (nlink_t)seen.links;
    found->st_uid = seen.user;
    found->st_gid = seen.group;
    found->st_size = (off_t)seen.size;
    found->st_blksize = (blksize_t)seen.block_bytes;
    found->st_blocks = (blkcnt_t)seen.blocks;
    return 0;
}

static uint64_t birth_ns(int file) {
    struct statx_v0 found;
    if (look(file, NULL, BIRTH_TIME, &found) != 0 || !(found.mask & BIRTH_TIME))
        return 0;
    return (uint64_t)found.btime.seconds * 1000000000u + found.btime.nanoseconds;
}

mmk_status mmk_os_file_identify(mmk_handle file, mmk_identity *identity) {
    struct stat found;
    if (mmk__os_stat((int)file, NULL, &found) != 0)
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
