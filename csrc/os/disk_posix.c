/* Files that must survive a crash: what Linux and macOS do alike. */
#include "os/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/posix.h"

/* Locks of an open file description, not of a process: POSIX 2024, fcntl(). macOS has them since
 * 10.15 or before, without a name in its headers (bsd/sys/fcntl_private.h of xnu). */
#ifndef F_OFD_SETLK
#define F_OFD_SETLK 90
#endif

mmk_status mmk_os_file_blocks(mmk_handle file, uint64_t *allocated_bytes) {
    struct stat found;
    if (mmk__os_stat((int)file, NULL, &found) != 0)
        return errno;
    *allocated_bytes = (uint64_t)found.st_blocks * 512;
    return MMK_OK;
}

mmk_status mmk_os_directory_sync(const mmk_path_char *path) {
    int directory;
    while ((directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        if (errno != EINTR)
            return errno;
    mmk_status status = mmk_os_file_sync(directory);
    close(directory);
    /* fsync(2), EINVAL: "fd is bound to a special file which does not support synchronization". */
    return status == EINVAL || status == ENOTSUP ? MMK_OK : status;
}

mmk_name mmk_os_name_look(const mmk_path_char *path) {
    struct stat found;
    if (lstat(path, &found) != 0)
        return MMK_NAME_FREE;
    return S_ISLNK(found.st_mode) ? MMK_NAME_LINK : MMK_NAME_TAKEN;
}

mmk_status mmk_os_name_leads_to(const mmk_path_char *path, mmk_handle file, bool *leads) {
    struct stat there, here;
    *leads = false;
    if (mmk__os_stat(AT_FDCWD, path, &there) != 0)
        return errno == ENOENT ? MMK_OK : errno;
    if (mmk__os_stat((int)file, NULL, &here) != 0)
        return errno;
    *leads = there.st_ino == here.st_ino && there.st_dev == here.st_dev;
    return MMK_OK;
}

static bool means_no_locks(int code) {
    return code == ENOLCK || code == EOPNOTSUPP || code == ENOTSUP || code == ENOSYS ||
           code == EINVAL;
}

static mmk_status set_lock(int file, uint64_t offset, uint64_t length_bytes, short type) {
    struct flock lock;
    memset(&lock, 0, sizeof lock); /* fcntl(2): l_pid must be 0 */
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)offset;
    lock.l_len = (off_t)length_bytes;
    while (fcntl(file, F_OFD_SETLK, &lock) != 0)
        if (errno != EINTR)
            return means_no_locks(errno) ? MMK_UNSUPPORTED : errno;
    return MMK_OK;
}

mmk_status mmk_os_file_lock(mmk_handle file, uint64_t offset, uint64_t length_bytes, bool exclusive,
                            bool *obtained) {
    mmk_status status = set_lock((int)file, offset, length_bytes, exclusive ? F_WRLCK : F_RDLCK);
    *obtained = status == MMK_OK;
    return status == EAGAIN || status == EACCES ? MMK_OK : status;
}

mmk_status mmk_os_file_unlock(mmk_handle file, uint64_t offset, uint64_t length_bytes) {
    return set_lock((int)file, offset, length_bytes, F_UNLCK);
}
