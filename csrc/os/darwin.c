/* What macOS does its own way. */
#include "os/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* From <sys/disk.h>, which cross compilers do not bring along. */
#ifndef DKIOCGETBLOCKSIZE
#define DKIOCGETBLOCKSIZE _IOR('d', 24, uint32_t)
#define DKIOCGETBLOCKCOUNT _IOR('d', 25, uint64_t)
#endif

uint64_t mmk_os_thread_id(void) {
    uint64_t id = 0;
    pthread_threadid_np(NULL, &id);
    return id;
}

bool mmk_os_on_main_thread(void) { return pthread_main_np() != 0; }

mmk_os_waits mmk_os_thread_waits(void) {
    struct rusage used; /* of the process: there is none of a thread */
    if (getrusage(RUSAGE_SELF, &used) != 0)
        return (mmk_os_waits){MMK_READS_UNKNOWN, 0};
    return (mmk_os_waits){(uint64_t)used.ru_majflt + (uint64_t)used.ru_inblock, 0};
}

/* No call reads from memory only. */
bool mmk_os_file_read_cached(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes) {
    (void)file, (void)offset, (void)buffer, (void)length_bytes;
    return false;
}

int mmk__os_memory_file(void) {
    char name[] = "/mmapkit-poison-000000";
    unsigned long number = (unsigned long)getpid();
    for (char *digit = name + sizeof name - 2; *digit == '0'; digit--, number /= 10)
        *digit = (char)('0' + number % 10);
    int file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file >= 0)
        shm_unlink(name);
    return file;
}

/* --- files ----------------------------------------------------------------------------------- */

int mmk__os_open_beneath(const char *path, const char *directory, int flags) {
    (void)path;
    (void)directory;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

bool mmk__os_block_device_bytes(int file, uint64_t *size_bytes) {
    uint32_t block_bytes = 0;
    uint64_t block_count = 0;
    if (ioctl(file, DKIOCGETBLOCKSIZE, &block_bytes) != 0 ||
        ioctl(file, DKIOCGETBLOCKCOUNT, &block_count) != 0)
        return false;
    *size_bytes = block_count * block_bytes;
    return true;
}

size_t mmk__os_huge_page_bytes(int file) {
    (void)file;
    return 0;
}

mmk_status mmk_os_file_allocate(mmk_handle file, uint64_t offset, uint64_t length_bytes) {
    struct stat found;
    if (fstat((int)file, &found) != 0)
        return errno;
    /* F_PREALLOCATE counts from the blocks that the file has, not from an offset. */
    uint64_t end = offset + length_bytes, have = (uint64_t)found.st_blocks * 512;
    if (end <= have)
        return MMK_OK;
    fstore_t store = {F_ALLOCATECONTIG | F_ALLOCATEALL, F_PEOFPOSMODE, 0, (off_t)(end - have), 0};
    if (fcntl((int)file, F_PREALLOCATE, &store) == 0)
        return MMK_OK;
    store.fst_flags = F_ALLOCATEALL;
    if (fcntl((int)file, F_PREALLOCATE, &store) == 0)
        return MMK_OK;
    return errno == ENOTSUP ? mmk__os_no_allocation((int)file, length_bytes) : errno;
}

mmk_status mmk_os_file_sync(mmk_handle file) {
    /* fsync(2): "F_FULLFSYNC asks the drive to flush all buffered data to permanent storage". */
    if (fcntl((int)file, F_FULLFSYNC) == 0)
        return MMK_OK;
    if (errno != ENOTSUP && errno != ENOTTY && errno != EINVAL)
        return errno;
    return fsync((int)file) != 0 ? errno : MMK_OK; /* a network filesystem */
}

/* --- mappings -------------------------------------------------------------------------------- */

int mmk__os_huge_flags(void) { return 0; }

size_t mmk_os_huge_page_bytes(void) { return 0; }

mmk_status mmk_os_remap(void *base, size_t old_bytes, size_t new_bytes, void **moved) {
    (void)base;
    (void)old_bytes;
    (void)new_bytes;
    (void)moved;
    return MMK_UNSUPPORTED;
}

mmk_status mmk_os_flush(const mmk_source *source, void *at, size_t length_bytes, bool wait) {
    (void)source;
    return msync(at, length_bytes, wait ? MS_SYNC : MS_ASYNC) != 0 ? errno : MMK_OK;
}

int mmk__os_advice(mmk_advice advice) {
    switch (advice) {
    case MMK_ADVICE_NORMAL: return MADV_NORMAL;
    case MMK_ADVICE_RANDOM: return MADV_RANDOM;
    case MMK_ADVICE_SEQUENTIAL: return MADV_SEQUENTIAL;
    case MMK_ADVICE_WILLNEED: return MADV_WILLNEED;
    case MMK_ADVICE_DONTNEED: return MADV_DONTNEED;
    case MMK_ADVICE_FREE: return MADV_FREE;
    default: return -1;
    }
}

mmk_status mmk_os_prefetch(const mmk_span *spans, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (madvise(spans[i].at, spans[i].length_bytes, MADV_WILLNEED) != 0)
            return errno;
    return MMK_OK;
}

mmk_status mmk_os_populate(void *at, size_t length_bytes, bool for_writing) {
    (void)at;
    (void)length_bytes;
    (void)for_writing;
    return MMK_UNSUPPORTED;
}

mmk_status mmk_os_evict(const mmk_source *source, void *at, size_t length_bytes) {
    if (source->file == MMK_NO_HANDLE || source->is_private) /* may hold the only copy */
        return MMK_UNSUPPORTED;
    /* MS_INVALIDATE drops clean pages of a file's mapping; dirty ones are written first. */
    return msync(at, length_bytes, MS_SYNC | MS_INVALIDATE) != 0 ? errno : MMK_OK;
}

mmk_status mmk_os_lock(void *at, size_t length_bytes, bool on_fault) {
    if (on_fault)
        return MMK_UNSUPPORTED;
    return mlock(at, length_bytes) != 0 ? errno : MMK_OK;
}

bool mmk__os_tells_residency(int file) {
    (void)file;
    return true;
}

mmk_status mmk_os_residency(void *at, size_t length_bytes, mmk_handle file, unsigned char *pages,
                            bool *known) {
    (void)file;
    *known = true;
    return mincore(at, length_bytes, (char *)pages) != 0 ? errno : MMK_OK;
}

mmk_status mmk_os_cached(mmk_handle file, uint64_t offset, uint64_t length_bytes,
                         mmk_cached *cached) {
    (void)file;
    (void)offset;
    (void)length_bytes;
    (void)cached;
    return MMK_UNSUPPORTED;
}

mmk_status mmk_os_label(void *at, size_t length_bytes, const char *name) {
    (void)at;
    (void)length_bytes;
    (void)name;
    return MMK_UNSUPPORTED;
}
