/* Files, as far as mapping needs them: open, size, blocks. */
#ifndef MMK_FILE_H
#define MMK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef _WIN32
#include <wchar.h>
#endif

#include "mmk/status.h"

#ifdef _WIN32
typedef wchar_t mmk_path_char; /* UTF-16 */
#else
typedef char mmk_path_char; /* bytes in the filesystem's encoding */
#endif

typedef intptr_t mmk_handle; /* a descriptor, or a HANDLE */
#define MMK_NO_HANDLE ((mmk_handle)-1)

enum mmk_open_flags {
    MMK_OPEN_WRITE = 1,
    MMK_OPEN_CREATE = 2,    /* the file is made if it is missing */
    MMK_OPEN_EXCLUSIVE = 4, /* with CREATE: fails if it is there */
    MMK_OPEN_SHARED_DELETE = 8 /* Windows: others may rename or delete it meanwhile */
};

typedef enum {
    MMK_FILE_REGULAR = 0,
    MMK_FILE_BLOCK_DEVICE = 1,
    MMK_FILE_CHAR_DEVICE = 2,
    MMK_FILE_OTHER = 3 /* directory, FIFO, socket: cannot be mapped */
} mmk_file_kind;

typedef struct {
    uint64_t size_bytes;  /* 0 for a character device */
    uint64_t device;      /* with `inode`: which file this is */
    uint64_t inode;
    size_t huge_page_bytes; /* on hugetlbfs its page size, else 0 */
    mmk_file_kind kind;
    bool readable;
    bool writable;
} mmk_file_info;

typedef struct {
    mmk_handle handle;
    mmk_file_info info; /* as it was when the file was opened */
    bool created;
} mmk_file;

/* Opens a file that can be mapped, or tells why it cannot: MMK_NOT_MAPPABLE, MMK_WRITE_ONLY.
 * Never blocks on a FIFO and never becomes a controlling terminal. The handle is not inherited by
 * programs that this process starts. */
mmk_status mmk_file_open(const mmk_path_char *path, const mmk_path_char *beneath, unsigned how,
                         mmk_file *file);
/* The same for an open descriptor, which stays the caller's: the file gets a handle of its own. */
mmk_status mmk_file_adopt(int descriptor, bool writing, mmk_file *file);
void mmk_file_close(mmk_file *file);

/* Makes the file `size_bytes` long. Growing allocates the blocks first, unless `sparse`: a full
 * disk is an error here, and the file keeps its old size and bytes. Where the filesystem cannot
 * allocate, zeros are written. */
mmk_status mmk_file_resize(mmk_handle file, uint64_t old_bytes, uint64_t size_bytes, bool sparse);

/* Empties the file and makes it `size_bytes` long, all zeros. If the disk has no room, an existing
 * file keeps its content wherever the filesystem can reserve blocks beyond a file's end. */
mmk_status mmk_file_renew(mmk_file *file, uint64_t size_bytes, bool sparse);

#endif
