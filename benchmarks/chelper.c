/* What the benchmarks need in C: rivals that are C calls, and loops over addresses.
 *
 * Every function returns a sum, by which the answers are compared; FAILED is no sum of bytes that
 * a random file gives. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAILED UINT64_MAX
#define PAGE_BYTES 4096

/* --- loops over addresses -------------------------------------------------------------------- */

/* Sum of 64-bit words, modulo 2**64. Four accumulators, so that memory is the limit. */
uint64_t sum_words(const uint64_t *words, size_t byte_count)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    size_t count = byte_count / 8, i = 0;
    for (; i + 32 <= count; i += 32)
        for (size_t j = 0; j < 8; j++) {
            a += words[i + j];
            b += words[i + 8 + j];
            c += words[i + 16 + j];
            d += words[i + 24 + j];
        }
    for (; i < count; i++)
        a += words[i];
    return a + b + c + d;
}

struct sum_job {
    const uint64_t *words;
    size_t byte_count;
    uint64_t sum;
};

static void *run_sum(void *argument)
{
    struct sum_job *job = argument;
    job->sum = sum_words(job->words, job->byte_count);
    return NULL;
}

/* The same by two threads, half of it each. */
uint64_t sum_words_in_two(const uint64_t *words, size_t byte_count)
{
    size_t half = byte_count / 16;
    struct sum_job other = {words + half, byte_count - half * 8, 0};
    pthread_t id;
    uint64_t sum;
    if (pthread_create(&id, NULL, run_sum, &other) != 0)
        abort();
    sum = sum_words(words, half * 8);
    pthread_join(id, NULL);
    return sum + other.sum;
}

/* Sum of the bytes at some offsets. */
uint64_t sum_at(const uint8_t *base, const uint64_t *offsets, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += base[offsets[i]];
    return sum;
}

/* --- the same bytes through a file ------------------------------------------------------------ */

uint64_t fseek_sum_at(const char *path, const uint64_t *offsets, size_t count)
{
    FILE *file = fopen(path, "rb");
    uint64_t sum = 0;
    uint8_t byte;
    if (file == NULL)
        return FAILED;
    for (size_t i = 0; i < count; i++) {
        if (fseeko(file, (off_t)offsets[i], SEEK_SET) != 0 || fread(&byte, 1, 1, file) != 1) {
            sum = FAILED;
            break;
        }
        sum += byte;
    }
    fclose(file);
    return sum;
}

uint64_t pread_sum_at(const char *path, const uint64_t *offsets, size_t count)
{
    int handle = open(path, O_RDONLY);
    uint64_t sum = 0;
    uint8_t byte;
    if (handle < 0)
        return FAILED;
    for (size_t i = 0; i < count; i++) {
        if (pread(handle, &byte, 1, (off_t)offsets[i]) != 1) {
            sum = FAILED;
            break;
        }
        sum += byte;
    }
    close(handle);
    return sum;
}

static void *map_file(const char *path, size_t *byte_count)
{
    struct stat info;
    void *base = MAP_FAILED;
    int handle = open(path, O_RDONLY);
    if (handle < 0)
        return NULL;
    if (fstat(handle, &info) == 0) {
        *byte_count = (size_t)info.st_size;
        base = mmap(NULL, *byte_count, PROT_READ, MAP_SHARED, handle, 0);
    }
    close(handle);
    return base == MAP_FAILED ? NULL : base;
}

/* Map, touch, unmap: what a mapping costs without any library. */
uint64_t map_sum_at(const char *path, const uint64_t *offsets, size_t count)
{
    size_t byte_count;
    uint8_t *base = map_file(path, &byte_count);
    uint64_t sum;
    if (base == NULL)
        return FAILED;
    sum = sum_at(base, offsets, count);
    munmap(base, byte_count);
    return sum;
}

/* Open, map, unmap, close; returns the size. */
uint64_t map_and_unmap(const char *path)
{
    size_t byte_count;
    void *base = map_file(path, &byte_count);
    if (base == NULL)
        return FAILED;
    munmap(base, byte_count);
    return byte_count;
}

/* Bytes of the file in the page cache; touches none of them. */
uint64_t resident_bytes(const char *path)
{
    size_t byte_count, page_bytes = (size_t)sysconf(_SC_PAGESIZE), page_count;
    uint64_t resident = 0;
    void *base = map_file(path, &byte_count), *flags;
    if (base == NULL)
        return FAILED;
    page_count = (byte_count + page_bytes - 1) / page_bytes;
    flags = malloc(page_count);
    if (flags == NULL || mincore(base, byte_count, flags) != 0)
        resident = FAILED;
    else
        for (size_t i = 0; i < page_count; i++)
            resident += (((unsigned char *)flags)[i] & 1) * page_bytes;
    free(flags);
    munmap(base, byte_count);
    return resident;
}

/* --- the device, past the page cache ------------------------------------------------------------ */

struct direct_job {
    const char *path;
    const uint64_t *offsets; /* NULL: a pass over the whole file */
    size_t count, block_bytes, first, stride;
    uint64_t sum;
};

static int open_direct(const char *path)
{
#ifdef O_DIRECT
    return open(path, O_RDONLY | O_DIRECT);
#else
    int handle = open(path, O_RDONLY);
#ifdef F_NOCACHE
    if (handle >= 0)
        fcntl(handle, F_NOCACHE, 1);
#endif
    return handle;
#endif
}

static void *run_direct(void *argument)
{
    struct direct_job *job = argument;
    void *buffer = NULL;
    int handle = open_direct(job->path);
    job->sum = 0;
    if (handle < 0 || posix_memalign(&buffer, PAGE_BYTES, job->block_bytes) != 0) {
        job->sum = FAILED;
        return NULL;
    }
    for (size_t i = job->first; i < job->count; i += job->stride) {
        uint64_t offset = job->offsets ? job->offsets[i] : i * job->block_bytes;
        uint64_t inside = offset % PAGE_BYTES;
        ssize_t got = pread(handle, buffer, job->block_bytes, (off_t)(offset - inside));
        if (got <= (ssize_t)inside) {
            job->sum = FAILED;
            break;
        }
        job->sum += job->offsets ? ((uint8_t *)buffer)[inside] : sum_words(buffer, (size_t)got);
    }
    free(buffer);
    close(handle);
    return NULL;
}

static uint64_t run_jobs(struct direct_job plan, size_t threads)
{
    struct direct_job jobs[64];
    pthread_t ids[64];
    uint64_t sum = 0;
    if (threads > 64)
        threads = 64;
    for (size_t i = 0; i < threads; i++) {
        jobs[i] = plan;
        jobs[i].first = i;
        jobs[i].stride = threads;
        if (pthread_create(&ids[i], NULL, run_direct, &jobs[i]) != 0)
            abort();
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum = jobs[i].sum == FAILED || sum == FAILED ? FAILED : sum + jobs[i].sum;
    }
    return sum;
}

/* One page for each offset, `threads` at a time. */
uint64_t direct_sum_at(const char *path, const uint64_t *offsets, size_t count, size_t threads)
{
    struct direct_job plan = {.path = path, .offsets = offsets, .count = count};
    plan.block_bytes = PAGE_BYTES;
    return run_jobs(plan, threads);
}

/* The whole file, whose size is a multiple of the block's, `threads` blocks at a time. */
uint64_t direct_sum_words(const char *path, size_t byte_count, size_t block_bytes, size_t threads)
{
    struct direct_job plan = {.path = path, .count = byte_count / block_bytes};
    plan.block_bytes = block_bytes;
    return run_jobs(plan, threads);
}
