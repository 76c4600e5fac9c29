/* A region: one mapped segment of a file, a device or anonymous memory, and sole owner of its
 * addresses.
 *
 * Threads. Whoever touches the memory, or hands its address out, holds a lease: a pin for the
 * length of a call, an export for the life of a view. Closing and moving need that there is none;
 * growing in place does not. Functions that change a region's shape take its lock themselves and
 * call nothing that needs the caller's locks, so a fork can wait for them.
 */
#ifndef MMK_REGION_H
#define MMK_REGION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmk/file.h"
#include "mmk/guard.h"
#include "mmk/residency.h"
#include "mmk/status.h"

typedef enum {
    MMK_MODE_READ,  /* shared, read-only */
    MMK_MODE_WRITE, /* shared, read-write */
    MMK_MODE_COPY   /* private, copy-on-write */
} mmk_mode;

typedef enum {
    MMK_BACKEND_AUTO,        /* only asked for, never obtained */
    MMK_BACKEND_MAP,
    MMK_BACKEND_MAP_PRIVATE, /* a private map of a file that refuses a shared one; read-only */
    MMK_BACKEND_READ,        /* the file's bytes, read into memory */
    MMK_BACKEND_MEMORY       /* anonymous: no file */
} mmk_backend;

typedef enum {
    MMK_FLUSH_ASYNC, /* start writing */
    MMK_FLUSH_OS,    /* written by the OS, perhaps still in the device's cache */
    MMK_FLUSH_DISK   /* on the medium */
} mmk_flush_level;

typedef enum {
    MMK_HUGE_NONE,
    MMK_HUGE_TRANSPARENT, /* advised; the OS decides page by page */
    MMK_HUGE_EXPLICIT     /* from the pool of huge pages */
} mmk_huge;

#define MMK_TO_END UINT64_MAX

typedef struct {
    mmk_mode mode;
    mmk_backend backend;
    uint64_t offset;  /* of the first visible byte; any */
    uint64_t length;  /* or MMK_TO_END */
    uint64_t reserve; /* address space to set aside, counted from `offset`; 0 for none */
    void *place;      /* address inside a reservation of the caller's, at which to map; or NULL */
    bool populate;
    bool sparse;      /* growing does not allocate blocks */
} mmk_region_options;

typedef struct mmk_region {
    /* The visible bytes. Closing hides them by a size of 0; under a lease that is held at the time,
     * `data` and `extent_bytes` stay what they were. */
    unsigned char *data;
    _Atomic size_t size_bytes;
    _Atomic size_t extent_bytes;
    _Atomic size_t backed_bytes; /* so many of them are the file's, the rest its own; SIZE_MAX: all */

    _Atomic uint64_t leases;     /* exports, pins and the closed and moving marks */
    _Atomic unsigned lock;       /* held while the shape changes */
    atomic_bool resizing;
    atomic_bool unmapped;

    mmk_file file;
    mmk_mode mode;
    mmk_backend backend;
    mmk_huge huge;
    unsigned protection;
    bool sparse;
    bool to_end;                 /* the visible bytes follow the end of the file */
    bool cut_planned;            /* a resize is going on that makes the file shorter, ... */
    bool growth_planned;         /* ... or longer, but only while nothing of it is mapped, ... */
    uint64_t planned_file_bytes; /* ... to this */
    bool has_map;                /* `base` is mapped; an empty region may have none */
    void *place;                 /* in somebody else's reservation, which stays when it is unmapped */
    uint64_t offset;             /* of data[0] in the file */
    unsigned char *base;         /* page-aligned, at or before `data` */
    size_t lead_bytes;           /* from `base` to `data` */
    size_t mapped_bytes;         /* from `base` to the last visible byte, at least */
    size_t reserved_bytes;       /* from `base`, 0 if nothing was reserved */
    unsigned char *pristine;     /* READ backend, writable: the bytes as they were last read */
    atomic_bool lost_writes;     /* a write-back failed: sticks until the file is opened again */
    atomic_bool known_short;     /* the file is shorter than the region, and that has been noted */

    _Atomic size_t rows_read;    /* that gathers took from the file instead of mapping their pages */

    mmk_fault_record faults;
} mmk_region;

/* --- life ----------------------------------------------------------------------------------- */

/* Opens over `file`, which the region owns from then on; on failure it stays the caller's. The
 * region must be zeroed memory and must not move afterwards. MMK_RANGE if offset or length lie
 * past the end of the file. With a `place`, offset and place are multiples of the granularity, the
 * place has room for `length`, and the region keeps its size; MMK_UNSUPPORTED where the system does
 * not map at given addresses. */
mmk_status mmk_region_open(mmk_region *region, const mmk_file *file,
                           const mmk_region_options *options);
/* `want_huge`: explicit huge pages if there are any, else transparent ones if the OS offers them;
 * region->huge says what was obtained. */
mmk_status mmk_region_anonymous(mmk_region *region, size_t size_bytes, size_t reserve_bytes,
                                bool want_huge);
/* Closing has two steps, because a host with a global lock reads single bytes under that lock and
 * without a pin: begin() hides the bytes and is called under it; finish() unmaps, which may take
 * long, and is called without it. begin() fails with MMK_EXPORTED or MMK_IN_USE while leases are
 * held, and with MMK_CLOSED if the region is closed. */
mmk_status mmk_region_close_begin(mmk_region *region);
/* No new leases from now on; the last lease that goes unmaps. */
mmk_status mmk_region_close_deferred(mmk_region *region);
/* Unmaps a closed region, unless leases are left or it is unmapped already. */
void mmk_region_close_finish(mmk_region *region);
/* For a private map that is wanted again soon: like begin(), but drops what was stored into it, and
 * wake() undoes it. Until then it is closed; finish() unmaps it as any other. MMK_UNSUPPORTED where
 * it is not as it was mapped, or private pages cannot be dropped: then it is closed, and no more. */
mmk_status mmk_region_rest(mmk_region *region);
/* False if it has been unmapped meanwhile. Nobody else may know the region at that time. */
bool mmk_region_wake(mmk_region *region);

/* --- leases --------------------------------------------------------------------------------- */

mmk_status mmk_region_pin(mmk_region *region);
void mmk_region_unpin(mmk_region *region);
mmk_status mmk_region_export(mmk_region *region);
void mmk_region_unexport(mmk_region *region);
size_t mmk_region_exports(const mmk_region *region);
bool mmk_region_closed(const mmk_region *region);

/* --- shape ---------------------------------------------------------------------------------- */

/* Resizing has three steps for the same reason: plan() and settle() wait for the disk and are
 * called without the host's lock, reshape() moves the bytes and is called under it.
 *
 * plan(): where the region ends before its file does, the file is only ever grown; otherwise they
 * stay of one length. A full disk fails here. MMK_IN_USE while another thread resizes. */
typedef struct {
    size_t size_bytes;         /* of the region, as asked for */
    uint64_t file_bytes;       /* of the file, when planned */
    uint64_t wanted_file_bytes;
} mmk_resize;
mmk_status mmk_region_plan(mmk_region *region, size_t size_bytes, mmk_resize *plan);
/* In place where it grows within the reserve, and then without regard to leases; otherwise it may
 * move, and needs that there are none. */
mmk_status mmk_region_reshape(mmk_region *region, size_t size_bytes);
/* Always follows a plan; `outcome` is reshape()'s answer. Cuts the file, or undoes its growth. */
mmk_status mmk_region_settle(mmk_region *region, const mmk_resize *plan, mmk_status outcome);
/* Reshapes to the size that the file has now, which somebody else changed, and tells it. Called
 * under the host's lock, like reshape(). MMK_IN_USE while another thread resizes. */
mmk_status mmk_region_follow(mmk_region *region, size_t *size_bytes);
/* Reshapes to exactly `size_bytes` of the file, whose size does not matter to the region from then
 * on. MMK_RANGE if the file is shorter. Called like follow(). */
mmk_status mmk_region_fit(mmk_region *region, size_t size_bytes);
/* Makes a private region longer or shorter than its file, which stays as it is. What is new is a
 * tail of its own: zeros, also where the region was longer before. Growing is done in place, without
 * regard to leases, and needs a reserve: MMK_RANGE beyond it, or if there is none. Shrinking needs
 * that there are no leases. MMK_READ_ONLY if it is protected. MMK_UNSUPPORTED if the region is not private or not mapped, or where
 * views of files and memory do not lie side by side. Such a region does not follow or fit its file
 * any more. Called like follow(). */
mmk_status mmk_region_resize_private(mmk_region *region, size_t size_bytes);
/* The size of the whole file now. Also makes sure that the descriptor is still ours. */
mmk_status mmk_region_measure(mmk_region *region, uint64_t *file_bytes);
/* Writes bytes to the end of the file, makes the region `size_bytes` long, for which it needs room
 * in its reserve, and only then rewrites a part of the file's head, by which readers count the
 * bytes. `stood` is false, and nothing was written (of the head, if the bytes were many), if the
 * file was not as expected. Callers hold a pin. After an error the file may be longer. */
typedef struct {
    uint64_t file_bytes;  /* the size that the file must have */
    const void *bytes;
    size_t length_bytes;  /* may be 0 */
    size_t size_bytes;    /* of the region, afterwards */
    const void *old_head; /* what the file must begin with */
    const void *new_head;
    size_t head_bytes;    /* 0 if nobody counts */
    size_t first;         /* where the two differ ... */
    size_t last;          /* ... and where they do not any more */
} mmk_append;
mmk_status mmk_region_append(mmk_region *region, const mmk_append *what, bool *stood);
/* Lowering write access needs that there are no exports. */
mmk_status mmk_region_protect(mmk_region *region, unsigned protection);
mmk_status mmk_region_label(mmk_region *region, const char *name);

/* --- bytes (callers hold a pin; ranges are inside the region) --------------------------------- */

mmk_status mmk_region_read(mmk_region *region, size_t offset, void *to, size_t length_bytes);
mmk_status mmk_region_write(mmk_region *region, size_t offset, const void *from,
                            size_t length_bytes);
mmk_status mmk_region_move(mmk_region *region, size_t to, size_t from, size_t length_bytes);

/* --- faults --------------------------------------------------------------------------------- */

static inline unsigned mmk_region_fault_state(const mmk_region *region) {
    return atomic_load_explicit(&region->faults.state, memory_order_relaxed);
}
/* Compares with the file as it is: notes a truncation that no access has met yet, also one inside
 * a page, which reads as zeros and never faults. */
mmk_status mmk_region_inspect(mmk_region *region);
/* Notes that what was stored did not reach the medium, and why: every flush from now on answers
 * MMK_FAULTED, until the file is opened again. The calling thread counts as told. */
void mmk_region_mark_lost(mmk_region *region, int code);
/* Maps the file over the poison, as far as the file reaches now. MMK_FAULTED if it is still too
 * short. */
mmk_status mmk_region_recover(mmk_region *region);

/* --- memory and disk (callers hold a pin) ----------------------------------------------------- */

/* MMK_FAULTED if data was lost, now or earlier: see the fault record. */
mmk_status mmk_region_flush(mmk_region *region, size_t offset, size_t length_bytes,
                            mmk_flush_level level);
mmk_status mmk_region_advise(mmk_region *region, size_t offset, size_t length_bytes,
                             mmk_advice advice);
typedef struct {
    size_t offset;
    size_t length_bytes;
} mmk_range;
mmk_status mmk_region_prefetch(mmk_region *region, const mmk_range *ranges, size_t count);
mmk_status mmk_region_populate(mmk_region *region, size_t offset, size_t length_bytes);
mmk_status mmk_region_evict(mmk_region *region, size_t offset, size_t length_bytes);
mmk_status mmk_region_lock(mmk_region *region, size_t offset, size_t length_bytes, bool on_fault);
mmk_status mmk_region_unlock(mmk_region *region, size_t offset, size_t length_bytes);
/* `pages` has room for mmk_region_page_count() bytes. */
size_t mmk_region_page_count(const mmk_region *region, size_t offset, size_t length_bytes);
mmk_status mmk_region_residency(mmk_region *region, size_t offset, size_t length_bytes,
                                unsigned char *pages, bool *known);
/* Page-cache counts for the visible range; MMK_UNSUPPORTED where there is no way to ask. */
mmk_status mmk_region_cached(mmk_region *region, size_t offset, size_t length_bytes,
                             mmk_cached *cached);

#endif
