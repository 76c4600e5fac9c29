/* Rows by index. In outline:
 *
 *     for each step of rows:
 *         if reads were seen: start reading the rows of the steps ahead
 *         copy the rows, or read them, if mapping them was dear
 *         look whether this thread had to read, and how many pages had to be mapped
 *
 * 1. Nothing asks beforehand what is resident: mincore() of one page costs as much as touching it
 *    for the first time, and three times as much as asking the system to read it in a batch.
 *    Whether there are misses is seen from the reads that the first rows caused.
 * 2. The first steps are short, so that a cold array is recognised after one miss.
 * 3. Requests stay ahead of the copies by more than a device's queue holds, and a step is copied in
 *    less time than the device needs for the rest of that queue: it never runs dry.
 * 4. Mapping a page that is in memory takes a fault, of 2 to 9 us with its neighbours (of 64 KiB, or
 *    of a larger folio); reading a few bytes of it takes 0.8 us, in any number of threads at once.
 *    A row that is mapped takes 0.02 us. Nobody knows how many are still to come, so rows are read
 *    while nearly every one of them faults, until that has cost about as much as mapping everything
 *    would have, 64 KiB at a time: whoever goes on gathering gets pages that are mapped.
 */
#include <stdlib.h>
#include <string.h>

#include "map/internal.h"
#include "mmk/gather.h"
#include "os/compiler.h"

#define STEP_ROWS 512
#define AHEAD_ROWS 2048
/* Of large rows, fewer: they fill the queue all the same, and memory that was read ahead may have to
 * be given up again before it is copied. */
#define AHEAD_BYTES ((size_t)32 << 20)
/* Rows that are read instead of mapped are no larger. */
#define READ_MOST_BYTES 1024
/* So many pages take about as long to map, 16 with each fault, as one row takes to be read. */
#define PAGES_PER_READ 8
/* Rows between the one that is copied and the one that is fetched into the processor's caches. */
#define CACHE_AHEAD 24

size_t mmk_gather_find_bad(const int64_t *rows, size_t count, size_t row_count) {
    uint64_t limit = row_count, bad = 0;
    /* A row below -limit makes the first sum negative, one from limit on the second; what wraps is
     * negative, too. All signs are collected without a branch, so that the loop vectorises. */
    for (size_t i = 0; i < count; i++)
        bad |= ((uint64_t)rows[i] + limit) | (limit - 1 - (uint64_t)rows[i]);
    if ((int64_t)bad >= 0)
        return count;
    for (size_t i = 0; i < count; i++)
        if (rows[i] < -(int64_t)limit || rows[i] >= (int64_t)limit)
            return i;
    return count;
}

/* Whether rows 0 to row_count - 1 lie inside the visible bytes. */
static bool lies_inside(const mmk_region *region, const mmk_gather *job) {
    size_t size = region->extent_bytes, steps = job->row_count - 1;
    size_t stride = job->stride < 0 ? (size_t)0 - (size_t)job->stride : (size_t)job->stride;
    if (job->origin > size || job->row_bytes > size - job->origin)
        return false;
    if (stride != 0 && steps > size / stride)
        return false;
    size_t reach = steps * stride;
    return job->stride < 0 ? reach <= job->origin : reach <= size - job->origin - job->row_bytes;
}

/* Bytes from row 0 to a row, either way. */
static inline ptrdiff_t offset_from(int64_t row, int64_t row_count, ptrdiff_t stride) {
    return (ptrdiff_t)(row + (row < 0 ? row_count : 0)) * stride;
}

/* Offset of a picked row in the visible bytes. */
static inline size_t offset_of(const mmk_gather *job, size_t i) {
    return job->origin + (size_t)offset_from(job->rows[i], (int64_t)job->row_count, job->stride);
}

/* --- reading ahead ----------------------------------------------------------------------------- */

/* Appends the pages of a row to the spans, or lengthens the last of them. */
static size_t add_span(const mmk_region *region, const mmk_gather *job, size_t i, mmk_span *spans,
                       size_t used) {
    mmk_span span = mmk__region_pages(region, offset_of(job, i), job->row_bytes);
    unsigned char *from = span.at, *to = from + span.length_bytes;
    if (used > 0) {
        unsigned char *last = spans[used - 1].at, *end = last + spans[used - 1].length_bytes;
        if (from >= last && from <= end) {
            spans[used - 1].length_bytes = (size_t)((to > end ? to : end) - last);
            return used;
        }
    }
    spans[used] = span;
    return used + 1;
}

static mmk_status read_ahead(const mmk_region *region, const mmk_gather *job, size_t from,
                             size_t to) {
    mmk_span spans[STEP_ROWS];
    mmk_status status = MMK_OK;
    for (size_t i = from; i < to && status == MMK_OK;) {
        size_t used = 0;
        for (; i < to && used < STEP_ROWS; i++)
            used = add_span(region, job, i, spans, used);
        status = mmk_os_prefetch(spans, used);
    }
    return status;
}

static bool can_read_ahead(const mmk_region *region) {
    return region->backend == MMK_BACKEND_MAP || region->backend == MMK_BACKEND_MAP_PRIVATE;
}

mmk_status mmk_region_prefetch_rows(mmk_region *region, const mmk_gather *job) {
    if (job->count == 0 || job->row_bytes == 0 || !can_read_ahead(region))
        return MMK_OK;
    return lies_inside(region, job) ? read_ahead(region, job, 0, job->count) : MMK_RANGE;
}

/* --- copying ----------------------------------------------------------------------------------- */

/* Safety: lies_inside() holds for all rows, find_bad() found none, and `out` has room for count rows.
 * With a constant size, memcpy is a load and a store. The job is read into locals first: a store
 * through an unsigned char pointer might change it, for all that the compiler knows. */
#define COPY_ROWS(size)                                                                            \
    for (; i < whole; i++) {                                                                       \
        MMK_FETCH(data + offset_from(rows[i + CACHE_AHEAD], row_count, stride));                       \
        memcpy(out, data + offset_from(rows[i], row_count, stride), (size));                       \
        out += out_stride;                                                                         \
    }                                                                                              \
    for (; i < to; i++) {                                                                          \
        memcpy(out, data + offset_from(rows[i], row_count, stride), (size));                       \
        out += out_stride;                                                                         \
    }

static void copy_rows(const unsigned char *data, const mmk_gather *job, size_t from, size_t to) {
    const int64_t *rows = job->rows, row_count = (int64_t)job->row_count;
    const ptrdiff_t stride = job->stride;
    const size_t row_bytes = job->row_bytes, out_stride = job->out_stride;
    const size_t fetched = job->count < CACHE_AHEAD ? 0 : job->count - CACHE_AHEAD;
    const size_t whole = to < fetched ? to : fetched;
    unsigned char *out = job->out + from * out_stride;
    size_t i = from;
    data += job->origin;
    switch (row_bytes) {
    case 1: COPY_ROWS(1) break;
    case 2: COPY_ROWS(2) break;
    case 4: COPY_ROWS(4) break;
    case 8: COPY_ROWS(8) break;
    case 16: COPY_ROWS(16) break;
    case 32: COPY_ROWS(32) break;
    default: COPY_ROWS(row_bytes) break;
    }
}

/* --- reading instead of mapping ---------------------------------------------------------------- */

/* Whether the file has the same bytes as the mapping, and is still behind its descriptor. */
static bool can_read(mmk_region *region, const mmk_gather *job) {
    uint64_t file_bytes;
    return region->backend == MMK_BACKEND_MAP && region->mode != MMK_MODE_COPY &&
           job->row_bytes <= READ_MOST_BYTES && mmk_region_fault_state(region) == 0 &&
           mmk_region_measure(region, &file_bytes) == MMK_OK;
}

static bool is_worth_reading(const mmk_region *region) {
    size_t pages = region->extent_bytes / mmk_os_page_bytes();
    return atomic_load_explicit(&region->rows_read, memory_order_relaxed) < pages / PAGES_PER_READ;
}

/* Reads rows; returns the first one that is not in memory, or not in the file any more. */
static size_t read_rows(mmk_region *region, const mmk_gather *job, size_t from, size_t to) {
    size_t i = from;
    while (i < to && mmk_os_file_read_cached(region->file.handle, region->offset + offset_of(job, i),
                                             job->out + i * job->out_stride, job->row_bytes))
        i++;
    atomic_fetch_add_explicit(&region->rows_read, i - from, memory_order_relaxed);
    return i;
}

/* --- all of it --------------------------------------------------------------------------------- */

typedef struct {
    mmk_region *region;
    const mmk_gather *job;
} gathering;

static void gather(void *context) {
    const gathering *work = context;
    const mmk_gather *job = work->job;
    size_t most = AHEAD_BYTES / job->row_bytes + 1;
    size_t ahead_rows = most < AHEAD_ROWS ? most : AHEAD_ROWS;
    size_t step_rows = ahead_rows < STEP_ROWS ? ahead_rows : STEP_ROWS;
    bool able = can_read_ahead(work->region);
    mmk_os_waits waits = mmk_os_thread_waits();
    bool blind = waits.reads == MMK_READS_UNKNOWN, missing = blind, reading = false;
    size_t requested = 0, step = missing ? step_rows : 1;
    for (size_t from = 0, to; from < job->count; from = to) {
        if (job->stop != NULL && *job->stop)
            return;
        to = job->count - from < step ? job->count : from + step;
        if (reading) {
            size_t done = read_rows(work->region, job, from, to);
            reading = done == to && is_worth_reading(work->region);
            if (done > from) {
                missing = done < to; /* the next one, most likely */
                to = done;
                waits = mmk_os_thread_waits();
                continue;
            }
        }
        if (missing && able) {
            size_t until = job->count - to < ahead_rows ? job->count : to + ahead_rows;
            /* A hint that is refused costs time, not correctness. */
            (void)read_ahead(work->region, job, requested > from ? requested : from, until);
            requested = until;
        }
        copy_rows(work->region->data, job, from, to);
        mmk_os_waits now = blind ? waits : mmk_os_thread_waits();
        missing = blind || now.reads != waits.reads;
        reading = !missing && to - from == step_rows &&
                  now.faults - waits.faults > step_rows - step_rows / 4 &&
                  is_worth_reading(work->region) && can_read(work->region, job);
        waits = now;
        step = step * 4 < step_rows ? step * 4 : step_rows;
    }
}

mmk_status mmk_region_gather(mmk_region *region, const mmk_gather *job) {
    gathering work = {region, job};
    if (job->count == 0 || job->row_bytes == 0)
        return MMK_OK;
    return lies_inside(region, job) ? mmk_guard_run(&region->faults, gather, &work) : MMK_RANGE;
}

bool mmk_region_rows_damaged(mmk_region *region, const mmk_gather *job) {
    bool damaged = false;
    for (size_t i = 0; i < job->count && !damaged; i++)
        damaged = mmk_guard_damaged(&region->faults, region->data + offset_of(job, i),
                                    job->row_bytes);
    return damaged;
}
