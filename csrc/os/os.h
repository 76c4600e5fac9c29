/* What the core asks of an operating system: mechanism only.
 *
 * Offered by posix.c with linux.c or darwin.c, or by windows.c; setup.py chooses once. Callers in
 * map/ have validated every argument: offsets are multiples of the allocation granularity,
 * addresses of the page size, and no length is 0. Lengths are exact, so that a view need not reach
 * past the end of its file; the system rounds them up to whole pages. What a platform lacks returns
 * MMK_UNSUPPORTED.
 */
#ifndef MMK_OS_H
#define MMK_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmk/file.h"
#include "mmk/residency.h"
#include "mmk/status.h"

/* --- the machine --------------------------------------------------------------------------- */

size_t mmk_os_page_bytes(void);
size_t mmk_os_granularity_bytes(void); /* of file offsets and of mapping addresses */
uint64_t mmk_os_thread_id(void);       /* async-signal-safe; never 0 */
bool mmk_os_on_main_thread(void);      /* async-signal-safe */
void mmk_os_yield(void);               /* async-signal-safe */
/* What held the calling thread up so far. */
typedef struct {
    uint64_t reads;  /* grows when it starts a read or waits for one; MMK_READS_UNKNOWN where the
                        system does not tell */
    uint64_t faults; /* pages that were in memory, but not yet mapped; 0 where nobody tells */
} mmk_os_waits;
#define MMK_READS_UNKNOWN UINT64_MAX
mmk_os_waits mmk_os_thread_waits(void);
/* Has the three called around every fork; nothing where processes do not fork. */
void mmk_os_on_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));

size_t mmk_os_huge_page_bytes(void);   /* of explicit huge pages; 0 where there are none */

/* --- files --------------------------------------------------------------------------------- */

/* `how` is a set of mmk_open_flags. With `beneath` not NULL the path is resolved below that
 * directory and may not leave it, by "..", an absolute path or a symbolic link. */
mmk_status mmk_os_file_open(const mmk_path_char *path, const mmk_path_char *beneath, unsigned how,
                            mmk_handle *out, bool *created);
/* A handle of our own for a C runtime descriptor, which stays the caller's. */
mmk_status mmk_os_file_adopt(int descriptor, mmk_handle *out);
void mmk_os_file_close(mmk_handle file);
mmk_status mmk_os_file_inspect(mmk_handle file, mmk_file_info *info);
mmk_status mmk_os_file_size(mmk_handle file, uint64_t *size_bytes); /* of a regular file */
mmk_status mmk_os_file_resize(mmk_handle file, uint64_t size_bytes);
/* Reads all of a few bytes, if they are in memory; false if not, or if the system cannot tell
 * without waiting for them. */
bool mmk_os_file_read_cached(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes);
/* Reserves blocks for a range; neither the file's size nor its bytes change. */
mmk_status mmk_os_file_allocate(mmk_handle file, uint64_t offset, uint64_t length_bytes);
/* To the medium: fsync, F_FULLFSYNC, FlushFileBuffers. */
mmk_status mmk_os_file_sync(mmk_handle file);
/* Positioned; fewer bytes than asked for only at the end of the file. EINTR is retried. */
mmk_status mmk_os_file_read(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes,
                            size_t *done);
mmk_status mmk_os_file_write(mmk_handle file, uint64_t offset, const void *buffer,
                             size_t length_bytes);

/* What an error of a write-back means: the data is gone; for want of space. */
bool mmk_os_means_lost_write(mmk_status status);
bool mmk_os_means_no_space(mmk_status status);
/* The error that stands for an access past the end of a truncated file. */
int mmk_os_truncated_error(void);

/* --- mappings ------------------------------------------------------------------------------ */

enum { MMK_PROT_READ = 1, MMK_PROT_WRITE = 2, MMK_PROT_EXEC = 4 };

typedef struct {
    mmk_handle file;    /* MMK_NO_HANDLE: anonymous memory */
    uint64_t offset;    /* of the first mapped byte in the file */
    unsigned protection;
    bool is_private;    /* copy-on-write */
} mmk_source;

/* Maps `length_bytes` of the source. `huge` (anonymous memory only) asks for explicit huge pages,
 * and fails where there are none. */
mmk_status mmk_os_map(const mmk_source *source, size_t length_bytes, bool huge, void **base);
/* True for the errors by which a filesystem says that it cannot be mapped like this. */
bool mmk_os_refuses_mapping(mmk_status status);
/* False where a file cannot be made shorter while it is mapped. */
bool mmk_os_cuts_mapped_files(void);
/* False where a reservation holds views of a file, or memory, but not both. */
bool mmk_os_mixes_sources(void);
/* Gives back a mapping, or a reservation with all that was mapped into it; `reserved_bytes` is 0
 * where nothing was reserved. */
mmk_status mmk_os_unmap(void *base, size_t mapped_bytes, size_t reserved_bytes);

/* Sets addresses aside without memory behind them. */
mmk_status mmk_os_reserve(size_t reserved_bytes, void **base);
/* Inside a reservation: makes the mapping at `base` longer, in place. `old_bytes` may be 0. */
mmk_status mmk_os_extend(const mmk_source *source, void *base, size_t old_bytes, size_t new_bytes,
                         size_t reserved_bytes);
/* Inside a reservation: makes it shorter, in place. */
mmk_status mmk_os_cut(const mmk_source *source, void *base, size_t old_bytes, size_t new_bytes,
                      size_t reserved_bytes);
/* Grows or shrinks a mapping outside a reservation, moving it if need be. */
mmk_status mmk_os_remap(void *base, size_t old_bytes, size_t new_bytes, void **moved);
/* Maps the source afresh over a part of a mapping (over the guard's patches). */
mmk_status mmk_os_replace(const mmk_source *source, void *at, size_t length_bytes);

mmk_status mmk_os_protect(void *at, size_t length_bytes, unsigned protection);
/* Starts writing dirty pages, and waits until they are written if `wait`. The source is that of
 * the byte at `at`, here and in evict. */
mmk_status mmk_os_flush(const mmk_source *source, void *at, size_t length_bytes, bool wait);
mmk_status mmk_os_advise(void *at, size_t length_bytes, mmk_advice advice);
bool mmk_os_advice_supported(mmk_advice advice);
/* Starts reading all the ranges, in as few system calls as there is a way to. */
mmk_status mmk_os_prefetch(const mmk_span *spans, size_t count);
/* Faults pages in and waits. MMK_FAULTED where a page could not be backed. */
mmk_status mmk_os_populate(void *at, size_t length_bytes, bool for_writing);
/* Drops clean pages; changes that exist nowhere else survive. */
mmk_status mmk_os_evict(const mmk_source *source, void *at, size_t length_bytes);
mmk_status mmk_os_lock(void *at, size_t length_bytes, bool on_fault);
mmk_status mmk_os_unlock(void *at, size_t length_bytes);
/* One byte a page; 1 in bit 0 is resident. `known` is false where the system does not tell this
 * user. `file` is the mapped file or MMK_NO_HANDLE. */
mmk_status mmk_os_residency(void *at, size_t length_bytes, mmk_handle file, unsigned char *pages,
                            bool *known);
/* Counts of the page cache for a range of a file, without a mapping. */
mmk_status mmk_os_cached(mmk_handle file, uint64_t offset, uint64_t length_bytes,
                         mmk_cached *cached);
mmk_status mmk_os_label(void *at, size_t length_bytes, const char *name);

#endif
