/* What only Linux has. System calls that the C library may be too old for go by number. */
#include "os/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Numbers that are the same on every architecture (the unified table that began with 5.0). */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

/* From <linux/openat2.h>, which older headers lack. */
struct open_how_v0 {
    uint64_t flags, mode, resolve;
};
enum { BENEATH = 0x08, NO_MAGICLINKS = 0x02 };

/* From <linux/mman.h>, Linux 6.5. */
struct cachestat_range_v0 {
    uint64_t off, len;
};
struct cachestat_v0 {
    uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};

enum { NO_WAIT = 0x08 }; /* RWF_NOWAIT of <linux/fs.h>, Linux 4.14 */

uint64_t mmk_os_thread_id(void) { return (uint64_t)syscall(SYS_gettid); }
bool mmk_os_on_main_thread(void) { return syscall(SYS_gettid) == getpid(); }

mmk_os_waits mmk_os_thread_waits(void) {
    /* ru_majflt counts faults that had to read, ru_inblock what was asked of block devices, also
     * ahead of its use; filesystems without a block device count only the former. */
    struct rusage used;
    if (getrusage(RUSAGE_THREAD, &used) != 0)
        return (mmk_os_waits){MMK_READS_UNKNOWN, 0};
    return (mmk_os_waits){(uint64_t)used.ru_majflt + (uint64_t)used.ru_inblock,
                          (uint64_t)used.ru_minflt};
}

int mmk__os_memory_file(void) {
    return (int)syscall(SYS_memfd_create, "mmapkit poison", MFD_CLOEXEC);
}

/* --- files ----------------------------------------------------------------------------------- */

bool mmk_os_file_read_cached(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes) {
#ifdef SYS_preadv2
    /* Linux 4.14. By number, for the C library has it only since glibc 2.26; the offset comes in two
     * longs, of which one is enough where they have 64 bits. */
    struct iovec whole = {buffer, length_bytes};
    long low = (long)offset, high = (long)(offset >> 4 * sizeof(long) >> 4 * sizeof(long));
    return syscall(SYS_preadv2, (int)file, &whole, 1, low, high, NO_WAIT) == (long)length_bytes;
#else
    (void)file, (void)offset, (void)buffer, (void)length_bytes;
    return false;
#endif
}

int mmk__os_open_beneath(const char *path, const char *directory, int flags) {
    int root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    struct open_how_v0 how = {(uint64_t)flags, flags & O_CREAT ? 0666 : 0, BENEATH | NO_MAGICLINKS};
    int file;
    do /* EAGAIN: something was renamed while the kernel walked; it asks to be called again */
        file = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    while (file < 0 && errno == EAGAIN);
    int saved = errno;
    close(root);
    errno = saved;
    return file;
}

bool mmk__os_block_device_bytes(int file, uint64_t *size_bytes) {
    return ioctl(file, BLKGETSIZE64, size_bytes) == 0;
}

size_t mmk__os_huge_page_bytes(int file) {
    struct statfs found;
    if (fstatfs(file, &found) != 0 || (unsigned long)found.f_type != HUGETLBFS_MAGIC)
        return 0;
    return (size_t)found.f_bsize;
}

mmk_status mmk_os_file_allocate(mmk_handle file, uint64_t offset, uint64_t length_bytes) {
    while (fallocate((int)file, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length_bytes) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return mmk__os_no_allocation((int)file, length_bytes);
        if (errno != EINTR)
            return errno;
    }
    return MMK_OK;
}

mmk_status mmk_os_file_sync(mmk_handle file) {
    while (fsync((int)file) != 0)
        if (errno != EINTR)
            return errno;
    return MMK_OK;
}

/* --- mappings -------------------------------------------------------------------------------- */

int mmk__os_huge_flags(void) { return MAP_HUGETLB; }

size_t mmk_os_huge_page_bytes(void) {
    static _Atomic size_t known; /* in kB; 1 stands for "none" */
    size_t found = known;
    if (found == 0) {
        char text[4096], *line = NULL;
        int file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
        ssize_t got = file < 0 ? -1 : read(file, text, sizeof text - 1);
        if (file >= 0)
            close(file);
        if (got > 0) {
            text[got] = '\0';
            line = strstr(text, "Hugepagesize:");
        }
        found = line != NULL ? (size_t)strtoul(line + 13, NULL, 10) : 1;
        known = found;
    }
    return found > 1 ? found << 10 : 0;
}

mmk_status mmk_os_remap(void *base, size_t old_bytes, size_t new_bytes, void **moved) {
    void *mapped = mremap(base, old_bytes, new_bytes, MREMAP_MAYMOVE);
    if (mapped == MAP_FAILED) /* EFAULT: a hint or a lock has split the mapping in two */
        return errno == EFAULT ? MMK_UNSUPPORTED : errno;
    *moved = mapped;
    return MMK_OK;
}

mmk_status mmk_os_flush(const mmk_source *source, void *at, size_t length_bytes, bool wait) {
    if (wait)
        return msync(at, length_bytes, MS_SYNC) != 0 ? errno : MMK_OK;
    /* msync(2): "Since Linux 2.6.19, MS_ASYNC is in fact a no-op". */
    if (sync_file_range((int)source->file, (off_t)source->offset, (off_t)length_bytes,
                        SYNC_FILE_RANGE_WRITE) == 0)
        return MMK_OK;
    return errno == ENOSYS || errno == ESPIPE || errno == EINVAL ? MMK_OK : errno;
}

int mmk__os_advice(mmk_advice advice) {
    switch (advice) {
    case MMK_ADVICE_NORMAL: return MADV_NORMAL;
    case MMK_ADVICE_RANDOM: return MADV_RANDOM;
    case MMK_ADVICE_SEQUENTIAL: return MADV_SEQUENTIAL;
    case MMK_ADVICE_WILLNEED: return MADV_WILLNEED;
    case MMK_ADVICE_DONTNEED: return MADV_DONTNEED;
    case MMK_ADVICE_COLD: return MADV_COLD;
    case MMK_ADVICE_PAGEOUT: return MADV_PAGEOUT;
    case MMK_ADVICE_FREE: return MADV_FREE;
    case MMK_ADVICE_HUGEPAGE: return MADV_HUGEPAGE;
    case MMK_ADVICE_NOHUGEPAGE: return MADV_NOHUGEPAGE;
    case MMK_ADVICE_COLLAPSE: return MADV_COLLAPSE;
    case MMK_ADVICE_DONTFORK: return MADV_DONTFORK;
    case MMK_ADVICE_DOFORK: return MADV_DOFORK;
    case MMK_ADVICE_DONTDUMP: return MADV_DONTDUMP;
    case MMK_ADVICE_DODUMP: return MADV_DODUMP;
    case MMK_ADVICE_WIPEONFORK: return MADV_WIPEONFORK;
    case MMK_ADVICE_KEEPONFORK: return MADV_KEEPONFORK;
    case MMK_ADVICE_MERGEABLE: return MADV_MERGEABLE;
    case MMK_ADVICE_UNMERGEABLE: return MADV_UNMERGEABLE;
    default: return -1;
    }
}

/* Ranges a call, measured: beyond 512 a call gains nothing more. */
#define BATCH 512
/* The kernel starts no more than the device's largest request for one range (io_pages in
 * mm/readahead.c, measured: 8 MiB of 256), so long ranges go in pieces. */
#define PIECE_BYTES ((size_t)1 << 20)

/* Fills a batch from where `next` stands, and moves it on. */
static size_t next_batch(const mmk_span *spans, size_t count, size_t *next, size_t *inside,
                         struct iovec *batch) {
    size_t used = 0;
    while (*next < count && used < BATCH) {
        size_t left = spans[*next].length_bytes - *inside;
        size_t length = left < PIECE_BYTES ? left : PIECE_BYTES;
        batch[used++] = (struct iovec){(char *)spans[*next].at + *inside, length};
        *inside += length;
        if (length == left) {
            ++*next;
            *inside = 0;
        }
    }
    return used;
}

static size_t advise_batch(int process, struct iovec *batch, size_t count) {
    ssize_t bytes = syscall(SYS_process_madvise, process, batch, count, MADV_WILLNEED, 0);
    size_t done = 0;
    /* Answers with how many bytes were advised; a call may stop between ranges. */
    while (done < count && bytes > 0 && (size_t)bytes >= batch[done].iov_len)
        bytes -= (ssize_t)batch[done++].iov_len;
    return done;
}

mmk_status mmk_os_prefetch(const mmk_span *spans, size_t count) {
    struct iovec batch[BATCH];
    size_t next = 0, inside = 0, used;
    int process = (int)syscall(SYS_pidfd_open, getpid(), 0);
    mmk_status status = MMK_OK;
    while (status == MMK_OK && (used = next_batch(spans, count, &next, &inside, batch)) > 0) {
        size_t done = process >= 0 && used > 1 ? advise_batch(process, batch, used) : 0;
        for (; done < used && status == MMK_OK; done++) /* alone or refused; tells the reason, too */
            if (madvise(batch[done].iov_base, batch[done].iov_len, MADV_WILLNEED) != 0)
                status = errno;
    }
    if (process >= 0)
        close(process);
    return status;
}

mmk_status mmk_os_populate(void *at, size_t length_bytes, bool for_writing) {
    while (madvise(at, length_bytes, for_writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0) {
        switch (errno) {
        case EAGAIN: case EINTR: continue;
        case EINVAL: return MMK_UNSUPPORTED; /* before Linux 5.14 */
        case EFAULT: return MMK_FAULTED;     /* an access would have raised SIGBUS */
        default: return errno;
        }
    }
    return MMK_OK;
}

mmk_status mmk_os_evict(const mmk_source *source, void *at, size_t length_bytes) {
    if (source->file == MMK_NO_HANDLE || source->is_private) /* may hold the only copy */
        return madvise(at, length_bytes, MADV_PAGEOUT) != 0 ? errno : MMK_OK;
    /* Out of this process; its changes stay behind in the page cache. Then out of that. */
    if (madvise(at, length_bytes, MADV_DONTNEED) != 0)
        return errno;
    return posix_fadvise((int)source->file, (off_t)source->offset, (off_t)length_bytes,
                         POSIX_FADV_DONTNEED);
}

mmk_status mmk_os_lock(void *at, size_t length_bytes, bool on_fault) {
    if (!on_fault)
        return mlock(at, length_bytes) != 0 ? errno : MMK_OK;
#ifdef SYS_mlock2
    if (syscall(SYS_mlock2, at, length_bytes, MLOCK_ONFAULT) == 0)
        return MMK_OK;
    return errno == ENOSYS ? MMK_UNSUPPORTED : errno;
#else
    return MMK_UNSUPPORTED;
#endif
}

bool mmk__os_tells_residency(int file) {
    /* mm/mincore.c, can_do_mincore(): others are told that everything is resident. */
    struct stat found;
    char name[32];
    if (geteuid() == 0 || (fstat(file, &found) == 0 && found.st_uid == geteuid()))
        return true;
    char *end = name + sizeof name, *digit = end;
    *--digit = '\0';
    do
        *--digit = (char)('0' + file % 10);
    while ((file /= 10) > 0);
    char path[48] = "/proc/self/fd/";
    for (size_t i = 14; digit < end; i++)
        path[i] = *digit++;
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

mmk_status mmk_os_residency(void *at, size_t length_bytes, mmk_handle file, unsigned char *pages,
                            bool *known) {
    *known = file == MMK_NO_HANDLE || mmk__os_tells_residency((int)file);
    return mincore(at, length_bytes, pages) != 0 ? errno : MMK_OK;
}

mmk_status mmk_os_cached(mmk_handle file, uint64_t offset, uint64_t length_bytes,
                         mmk_cached *cached) {
    struct cachestat_range_v0 range = {offset, length_bytes};
    struct cachestat_v0 found;
    if (syscall(SYS_cachestat, (int)file, &range, &found, 0) != 0)
        return errno == ENOSYS || errno == EPERM || errno == EOPNOTSUPP ? MMK_UNSUPPORTED : errno;
    cached->resident_pages = found.nr_cache;
    cached->dirty_pages = found.nr_dirty + found.nr_writeback;
    return MMK_OK;
}

mmk_status mmk_os_label(void *at, size_t length_bytes, const char *name) {
    /* The kernel names anonymous memory only; a file's mapping bears the file's name already. */
    if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, length_bytes, name) == 0)
        return MMK_OK;
    return errno == EINVAL || errno == EBADF ? MMK_UNSUPPORTED : errno;
}
