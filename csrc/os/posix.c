/* What Linux and macOS do alike. */
#include "os/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* One system call moves at most this much on Linux (0x7ffff000), INT_MAX on macOS. */
#define MOST_IO_BYTES ((size_t)1 << 30)

_Static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64");

size_t mmk_os_page_bytes(void) {
    static size_t page_bytes;
    if (page_bytes == 0)
        page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    return page_bytes;
}

size_t mmk_os_granularity_bytes(void) { return mmk_os_page_bytes(); }
void mmk_os_yield(void) { sched_yield(); }

void mmk_os_on_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void)) {
    pthread_atfork(before, in_parent, in_child);
}

/* --- files ----------------------------------------------------------------------------------- */

mmk_status mmk_os_file_open(const mmk_path_char *path, const mmk_path_char *beneath, unsigned how,
                            mmk_handle *out, bool *created) {
    /* O_NONBLOCK: opening a FIFO would wait for its other end. It means nothing to files. */
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (how & MMK_OPEN_WRITE ? O_RDWR : O_RDONLY);
    *created = false;
    for (int tries = 0;; tries++) {
        int more = 0;
        if (how & MMK_OPEN_CREATE) { /* exclusively, which is how we learn who made the file */
            more = *created || (how & MMK_OPEN_EXCLUSIVE) ? O_CREAT | O_EXCL : 0;
            if (tries > 8) /* neither missing nor there: a symbolic link that leads nowhere */
                more = O_CREAT;
        }
        int file = beneath == NULL ? open(path, flags | more, 0666)
                                   : mmk__os_open_beneath(path, beneath, flags | more);
        if (file >= 0) {
            *created = (more & O_EXCL) != 0;
            *out = file;
            return MMK_OK;
        }
        if (errno == EINTR)
            continue;
        if (!(how & MMK_OPEN_CREATE) || (how & MMK_OPEN_EXCLUSIVE) ||
            errno != (*created ? EEXIST : ENOENT))
            return errno == ENOSYS && beneath != NULL ? MMK_UNSUPPORTED : errno;
        *created = !*created; /* missing: make it; made by another meanwhile: open it */
    }
}

mmk_status mmk_os_file_adopt(int descriptor, mmk_handle *out) {
    int file = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (file < 0)
        return errno;
    *out = file;
    return MMK_OK;
}

void mmk_os_file_close(mmk_handle file) { close((int)file); }

mmk_status mmk_os_file_inspect(mmk_handle file, mmk_file_info *info) {
    struct stat found;
    if (mmk__os_stat((int)file, NULL, &found) != 0)
        return errno;
    int flags = fcntl((int)file, F_GETFL);
    if (flags < 0)
        return errno;
    memset(info, 0, sizeof *info);
    info->device = (uint64_t)found.st_dev;
    info->inode = (uint64_t)found.st_ino;
    info->readable = (flags & O_ACCMODE) != O_WRONLY;
    info->writable = (flags & O_ACCMODE) != O_RDONLY;
    if (S_ISREG(found.st_mode)) {
        info->kind = MMK_FILE_REGULAR;
        info->size_bytes = (uint64_t)found.st_size;
        if ((size_t)found.st_blksize > mmk_os_page_bytes()) /* as hugetlbfs says; few others do */
            info->huge_page_bytes = mmk__os_huge_page_bytes((int)file);
    } else if (S_ISBLK(found.st_mode)) {
        info->kind = MMK_FILE_BLOCK_DEVICE;
        if (!mmk__os_block_device_bytes((int)file, &info->size_bytes))
            return errno;
    } else {
        info->kind = S_ISCHR(found.st_mode) ? MMK_FILE_CHAR_DEVICE : MMK_FILE_OTHER;
    }
    return MMK_OK;
}

mmk_status mmk_os_file_size(mmk_handle file, uint64_t *size_bytes) {
    struct stat found;
    if (mmk__os_stat((int)file, NULL, &found) != 0)
        return errno;
    *size_bytes = (uint64_t)found.st_size;
    return MMK_OK;
}

mmk_status mmk_os_file_resize(mmk_handle file, uint64_t size_bytes) {
    while (ftruncate((int)file, (off_t)size_bytes) != 0)
        if (errno != EINTR)
            return errno;
    return MMK_OK;
}

mmk_status mmk_os_file_read(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes,
                            size_t *done) {
    *done = 0;
    while (*done < length_bytes) {
        size_t want = length_bytes - *done < MOST_IO_BYTES ? length_bytes - *done : MOST_IO_BYTES;
        ssize_t got = pread((int)file, (char *)buffer + *done, want, (off_t)(offset + *done));
        if (got < 0 && errno != EINTR)
            return errno;
        if (got == 0)
            break;
        if (got > 0)
            *done += (size_t)got;
    }
    return MMK_OK;
}

mmk_status mmk_os_file_write(mmk_handle file, uint64_t offset, const void *buffer,
                             size_t length_bytes) {
    size_t done = 0;
    while (done < length_bytes) {
        size_t want = length_bytes - done < MOST_IO_BYTES ? length_bytes - done : MOST_IO_BYTES;
        ssize_t put = pwrite((int)file, (const char *)buffer + done, want, (off_t)(offset + done));
        if (put < 0 && errno != EINTR)
            return errno;
        if (put == 0)
            return ENOSPC;
        if (put > 0)
            done += (size_t)put;
    }
    return MMK_OK;
}

mmk_status mmk__os_no_allocation(int file, uint64_t length_bytes) {
    struct statvfs found;
    /* A filesystem that counts no blocks at all, as some in user space, tells nothing. */
    if (fstatvfs(file, &found) == 0 && found.f_blocks > 0 &&
        length_bytes / found.f_frsize > found.f_bavail)
        return ENOSPC;
    return MMK_UNSUPPORTED;
}

bool mmk_os_means_lost_write(mmk_status status) {
    return status == EIO || status == ENXIO || status == ESTALE || mmk_os_means_no_space(status);
}

bool mmk_os_means_no_space(mmk_status status) {
    return status == ENOSPC || status == EDQUOT || status == EFBIG;
}

int mmk_os_truncated_error(void) { return ENXIO; } /* POSIX, mmap(): "invalid for the object" */

/* --- mappings -------------------------------------------------------------------------------- */

int mmk__os_protection(unsigned protection) {
    return (protection & MMK_PROT_READ ? PROT_READ : 0) |
           (protection & MMK_PROT_WRITE ? PROT_WRITE : 0) |
           (protection & MMK_PROT_EXEC ? PROT_EXEC : 0);
}

mmk_status mmk__os_map_at(const mmk_source *source, void *at, size_t length_bytes, int extra_flags,
                          void **base) {
    int flags = extra_flags | (at != NULL ? MAP_FIXED : 0);
    bool anonymous = source->file == MMK_NO_HANDLE;
    flags |= anonymous || source->is_private ? MAP_PRIVATE : MAP_SHARED;
    /* Only what is changed takes memory: otherwise Linux refuses to map a file larger than what
     * there is (proc(5), overcommit_memory). */
    if (!anonymous && source->is_private)
        flags |= MAP_NORESERVE;
    void *mapped = mmap(at, length_bytes, mmk__os_protection(source->protection),
                        flags | (anonymous ? MAP_ANONYMOUS : 0), anonymous ? -1 : (int)source->file,
                        anonymous ? 0 : (off_t)source->offset);
    if (mapped == MAP_FAILED)
        return errno;
    *base = mapped;
    return MMK_OK;
}

mmk_status mmk_os_map(const mmk_source *source, size_t length_bytes, bool huge, void **base) {
    return mmk__os_map_at(source, NULL, length_bytes, huge ? mmk__os_huge_flags() : 0, base);
}

bool mmk_os_refuses_mapping(mmk_status status) {
    return status == ENODEV || status == EINVAL || status == EOPNOTSUPP || status == ENOSYS;
}

bool mmk_os_cuts_mapped_files(void) { return true; }
bool mmk_os_mixes_sources(void) { return true; }

mmk_status mmk_os_unmap(void *base, size_t mapped_bytes, size_t reserved_bytes) {
    size_t length = reserved_bytes != 0 ? reserved_bytes : mapped_bytes;
    return munmap(base, length) != 0 ? errno : MMK_OK;
}

mmk_status mmk_os_reserve(size_t reserved_bytes, void **base) {
    void *mapped = mmap(NULL, reserved_bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED)
        return errno;
    *base = mapped;
    return MMK_OK;
}

static size_t whole_pages(size_t length_bytes) {
    size_t page_bytes = mmk_os_page_bytes();
    return (length_bytes + page_bytes - 1) & ~(page_bytes - 1);
}

mmk_status mmk_os_extend(const mmk_source *source, void *base, size_t old_bytes, size_t new_bytes,
                         size_t reserved_bytes) {
    (void)reserved_bytes;
    mmk_source more = *source;
    void *mapped;
    size_t have = whole_pages(old_bytes); /* the last page of a file grows with the file */
    more.offset += have;
    if (new_bytes <= have)
        return MMK_OK;
    return mmk__os_map_at(&more, (char *)base + have, new_bytes - have, 0, &mapped);
}

mmk_status mmk_os_cut(const mmk_source *source, void *base, size_t old_bytes, size_t new_bytes,
                      size_t reserved_bytes) {
    (void)source;
    (void)reserved_bytes;
    size_t keep = whole_pages(new_bytes), have = whole_pages(old_bytes);
    if (keep == have)
        return MMK_OK;
    void *mapped = mmap((char *)base + keep, have - keep, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return mapped == MAP_FAILED ? errno : MMK_OK;
}

mmk_status mmk_os_replace(const mmk_source *source, void *at, size_t length_bytes) {
    void *mapped;
    return mmk__os_map_at(source, at, length_bytes, 0, &mapped);
}

mmk_status mmk_os_protect(void *at, size_t length_bytes, unsigned protection) {
    return mprotect(at, length_bytes, mmk__os_protection(protection)) != 0 ? errno : MMK_OK;
}

mmk_status mmk_os_advise(void *at, size_t length_bytes, mmk_advice advice) {
    int native = mmk__os_advice(advice);
    if (native < 0)
        return MMK_UNSUPPORTED;
    if (madvise(at, length_bytes, native) == 0)
        return MMK_OK;
    /* EINVAL stands for "unknown hint" as well as "not for this kind of memory". */
    return errno == EINVAL ? MMK_UNSUPPORTED : errno;
}

bool mmk_os_advice_supported(mmk_advice advice) {
    int native = mmk__os_advice(advice);
    /* A length of 0 checks the hint and does nothing else (Linux: madvise_behavior_valid). */
    return native >= 0 && madvise(NULL, 0, native) == 0;
}

mmk_status mmk_os_unlock(void *at, size_t length_bytes) {
    return munlock(at, length_bytes) != 0 ? errno : MMK_OK;
}
