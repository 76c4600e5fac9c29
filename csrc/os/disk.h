/* What else the core asks of an operating system for files that must survive a crash: which file
 * this is, blocks, writing to the medium, locks of ranges.
 *
 * Offered by disk_posix.c with disk_linux.c or disk_darwin.c, or by disk_windows.c. What os.h says
 * holds here, too.
 */
#ifndef MMK_OS_DISK_H
#define MMK_OS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmk/file.h"
#include "mmk/scatter.h"
#include "mmk/status.h"

typedef struct {
    uint64_t device;
    uint64_t inode;
    uint64_t birth_ns; /* since 1970; 0 where the filesystem does not keep it */
} mmk_identity;

/* Pieces that one call takes at most. */
#define MMK_OS_PIECES 512

mmk_status mmk_os_file_identify(mmk_handle file, mmk_identity *identity);
/* Bytes of the blocks that the file has. */
mmk_status mmk_os_file_blocks(mmk_handle file, uint64_t *allocated_bytes);
/* To the medium: the bytes and what is needed to read them, but no times. */
mmk_status mmk_os_file_sync_data(mmk_handle file);
/* The names in a directory to the medium. Nothing where the filesystem does so by itself. */
mmk_status mmk_os_directory_sync(const mmk_path_char *path);
/* What a name stands for; of a symbolic link, the link itself. */
typedef enum { MMK_NAME_FREE, MMK_NAME_TAKEN, MMK_NAME_LINK } mmk_name;
/* MMK_NAME_FREE also where it cannot be found out. */
mmk_name mmk_os_name_look(const mmk_path_char *path);
/* Whether a name, symbolic links followed, stands for this open file; false if for none. */
mmk_status mmk_os_name_leads_to(const mmk_path_char *path, mmk_handle file, bool *leads);
/* Writes pieces one after the other, 1 to MMK_OS_PIECES of them, none empty; perhaps fewer bytes
 * than there are, but at least one. */
mmk_status mmk_os_file_write_some(mmk_handle file, uint64_t offset, const mmk_piece *pieces,
                                  size_t count, size_t *done);
/* Locks a range against other openings of the file, in this process, too; does not wait. It goes
 * with an unlock or when the file is closed, also by death. The range may lie past the end of the
 * file. MMK_UNSUPPORTED where the filesystem has no locks. */
mmk_status mmk_os_file_lock(mmk_handle file, uint64_t offset, uint64_t length_bytes, bool exclusive,
                            bool *obtained);
/* Of a range that was locked as a whole. Succeeds if there is no such lock. */
mmk_status mmk_os_file_unlock(mmk_handle file, uint64_t offset, uint64_t length_bytes);
/* Has `to` share the blocks of `from`, its bytes and its size. */
mmk_status mmk_os_file_clone(mmk_handle to, mmk_handle from);

#endif
