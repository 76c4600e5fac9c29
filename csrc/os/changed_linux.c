/* Linux tells which pages of a private mapping are anonymous: those that were stored into. */
#include "os/changed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/posix.h"

/* From <linux/fs.h>, Linux 6.7; admin-guide/mm/pagemap.rst. */
struct page_region_v0 {
    uint64_t start, end, categories;
};
struct pm_scan_arg_v0 {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct pm_scan_arg_v0)
enum { IS_FILE = 1 << 2, IS_PRESENT = 1 << 3, IS_SWAPPED = 1 << 4 };

/* The kernel collects this many at a time, and is exact only with no more (measured). */
#define REGIONS 512

/* Entries of /proc/PID/pagemap: bits 61 to 63. */
#define ENTRY_FILE ((uint64_t)1 << 61)
#define ENTRY_SWAPPED ((uint64_t)1 << 62)
#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define ENTRIES 4096

static mmk_status scan(int pagemap, uintptr_t at, size_t length_bytes, mmk_changed_found found,
                       void *context) {
    struct page_region_v0 regions[REGIONS];
    struct pm_scan_arg_v0 arg = {
        .size = sizeof arg,
        .start = at,
        .end = at + length_bytes,
        .vec = (uintptr_t)regions,
        .vec_len = REGIONS,
        .category_inverted = IS_FILE,
        .category_mask = IS_FILE,
        .category_anyof_mask = IS_PRESENT | IS_SWAPPED,
        .return_mask = IS_FILE, /* so that pages do not differ in what does not matter */
    };
    while (arg.start < arg.end) {
        int count = ioctl(pagemap, SCAN, &arg);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == ENOTTY || errno == EINVAL || errno == ENOSYS ? MMK_UNSUPPORTED : errno;
        for (int i = 0; i < count; i++) {
            mmk_status status =
                found(context, (size_t)(regions[i].start - at), (size_t)(regions[i].end - at));
            if (status != MMK_OK)
                return status;
        }
        if (arg.walk_end <= arg.start)
            return MMK_UNSUPPORTED; /* would go on for ever */
        arg.start = arg.walk_end;
    }
    return MMK_OK;
}

static mmk_status read_entries(int pagemap, uintptr_t at, size_t length_bytes,
                               mmk_changed_found found, void *context) {
    uint64_t entries[ENTRIES];
    size_t page_bytes = mmk_os_page_bytes(), count = (length_bytes + page_bytes - 1) / page_bytes;
    for (size_t done = 0; done < count;) {
        size_t want = count - done < ENTRIES ? count - done : ENTRIES;
        ssize_t got = pread(pagemap, entries, want * sizeof *entries,
                            (off_t)((at / page_bytes + done) * sizeof *entries));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < (ssize_t)sizeof *entries)
            return got < 0 ? errno : MMK_UNSUPPORTED;
        for (size_t i = 0; i < (size_t)got / sizeof *entries; i++, done++) {
            if ((entries[i] & ENTRY_FILE) || !(entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)))
                continue;
            mmk_status status = found(context, done * page_bytes, (done + 1) * page_bytes);
            if (status != MMK_OK)
                return status;
        }
    }
    return MMK_OK;
}

mmk_status mmk_os_changed(bool each, void *at, size_t length_bytes, mmk_changed_found found,
                          void *context) {
    /* Opened anew each time: after a fork, it would tell of the parent. */
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0)
        return errno == ENOENT || errno == EACCES || errno == EPERM ? MMK_UNSUPPORTED : errno;
    mmk_status status = (each ? read_entries : scan)(pagemap, (uintptr_t)at, length_bytes, found,
                                                     context);
    close(pagemap);
    return status;
}

/* --- trying out ------------------------------------------------------------------------------ */

enum { PAGES = 5 };

static mmk_status note_pages(void *context, size_t from, size_t to) {
    unsigned *pages = context;
    for (size_t page = from / mmk_os_page_bytes(); page < to / mmk_os_page_bytes(); page++)
        *pages |= 1u << page;
    return MMK_OK;
}

/* A page that was read, one that was stored into, one that was not touched, another two stores. */
static bool answers_right(bool each) {
    size_t page_bytes = mmk_os_page_bytes();
    int file = mmk__os_memory_file();
    unsigned pages = 0;
    bool right = false;
    if (file < 0)
        return false;
    if (ftruncate(file, (off_t)(PAGES * page_bytes)) == 0) {
        volatile char *at = mmap(NULL, PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file,
                                 0);
        if (at != MAP_FAILED) {
            (void)at[0];
            at[page_bytes] = 1;
            at[3 * page_bytes] = 0; /* the byte that is there already */
            at[4 * page_bytes] = 1;
            right = mmk_os_changed(each, (void *)at, PAGES * page_bytes, note_pages, &pages) ==
                        MMK_OK &&
                    pages == (1u << 1 | 1u << 3 | 1u << 4);
            munmap((void *)at, PAGES * page_bytes);
        }
    }
    close(file);
    return right;
}

bool mmk_os_changed_supported(bool each) {
    static atomic_int known[2]; /* 1: yes, -1: no */
    int found = atomic_load(&known[each]);
    if (found == 0) {
        found = answers_right(each) ? 1 : -1;
        atomic_store(&known[each], found);
    }
    return found > 0;
}

mmk_status mmk_os_discard(void *at, size_t length_bytes) {
    return madvise(at, length_bytes, MADV_DONTNEED) != 0 ? errno : MMK_OK;
}
