/* What posix.c, linux.c, darwin.c and the POSIX guard share. */
#ifndef MMK_OS_POSIX_H
#define MMK_OS_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "os/os.h"

/* What allocating answers where the filesystem cannot: MMK_UNSUPPORTED, or ENOSPC where it is plain
 * that writing would fail, after having filled the disk. */
mmk_status mmk__os_no_allocation(int file, uint64_t length_bytes);
int mmk__os_protection(unsigned protection);
/* mmap's answer for a source, at a fixed address if `at` is not NULL. */
mmk_status mmk__os_map_at(const mmk_source *source, void *at, size_t length_bytes, int extra_flags,
                          void **base);

/* Offered by linux.c and darwin.c. */
int mmk__os_memory_file(void); /* nameless shared memory, or -1; async-signal-safe */
int mmk__os_advice(mmk_advice advice); /* madvise's word for it, or -1 */
int mmk__os_huge_flags(void);  /* mmap flags for explicit huge pages, or 0 */
int mmk__os_open_beneath(const char *path, const char *directory, int flags);
/* fstat(2), or stat(2) where there is a path, but for the times, which are not filled in. From Linux
 * 6.13 on, who asks for them has the next write take a time of its own, and the next sync wait for
 * the inode, too, on filesystems without a journal: fdatasync takes half as long again. */
int mmk__os_stat(int file, const char *path, struct stat *found);
bool mmk__os_block_device_bytes(int file, uint64_t *size_bytes);
size_t mmk__os_huge_page_bytes(int file);
bool mmk__os_tells_residency(int file); /* may this user know what is resident? */

#endif
