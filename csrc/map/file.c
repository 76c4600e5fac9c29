/* Files: what may be mapped, and growing without surprises. */
#include "mmk/file.h"

#include <stdlib.h>
#include <string.h>

#include "os/os.h"

/* Zeros are written this much at a time. */
#define ZERO_BYTES ((size_t)1 << 20)

static mmk_status admit(mmk_file *file, bool writing) {
    mmk_status status = mmk_os_file_inspect(file->handle, &file->info);
    if (status == MMK_OK && file->info.kind == MMK_FILE_OTHER)
        status = MMK_NOT_MAPPABLE;
    if (status == MMK_OK && !file->info.readable)
        status = MMK_WRITE_ONLY;
    if (status == MMK_OK && writing && !file->info.writable)
        status = MMK_READ_ONLY;
    if (status != MMK_OK)
        mmk_os_file_close(file->handle);
    return status;
}

mmk_status mmk_file_open(const mmk_path_char *path, const mmk_path_char *beneath, unsigned how,
                         mmk_file *file) {
    mmk_status status = mmk_os_file_open(path, beneath, how, &file->handle, &file->created);
    return status != MMK_OK ? status : admit(file, (how & MMK_OPEN_WRITE) != 0);
}

mmk_status mmk_file_adopt(int descriptor, bool writing, mmk_file *file) {
    file->created = false;
    mmk_status status = mmk_os_file_adopt(descriptor, &file->handle);
    return status != MMK_OK ? status : admit(file, writing);
}

void mmk_file_close(mmk_file *file) {
    if (file->handle != MMK_NO_HANDLE)
        mmk_os_file_close(file->handle);
    file->handle = MMK_NO_HANDLE;
}

static mmk_status write_zeros(mmk_handle file, uint64_t from, uint64_t to) {
    void *zeros = calloc(1, ZERO_BYTES);
    mmk_status status = zeros == NULL ? MMK_TOO_LARGE : MMK_OK;
    for (uint64_t at = from; status == MMK_OK && at < to; at += ZERO_BYTES) {
        uint64_t left = to - at;
        status = mmk_os_file_write(file, at, zeros, left < ZERO_BYTES ? (size_t)left : ZERO_BYTES);
    }
    free(zeros);
    return status;
}

mmk_status mmk_file_resize(mmk_handle file, uint64_t old_bytes, uint64_t size_bytes, bool sparse) {
    if (size_bytes > INT64_MAX)
        return MMK_TOO_LARGE;
    if (size_bytes <= old_bytes || sparse)
        return size_bytes == old_bytes ? MMK_OK : mmk_os_file_resize(file, size_bytes);
    mmk_status status = mmk_os_file_allocate(file, old_bytes, size_bytes - old_bytes);
    if (status == MMK_UNSUPPORTED)
        status = write_zeros(file, old_bytes, size_bytes);
    else if (status == MMK_OK)
        status = mmk_os_file_resize(file, size_bytes);
    if (status != MMK_OK)
        mmk_os_file_resize(file, old_bytes); /* frees blocks past the end, too */
    return status;
}

mmk_status mmk_file_renew(mmk_file *file, uint64_t size_bytes, bool sparse) {
    uint64_t old_bytes = file->info.size_bytes;
    mmk_status status = MMK_OK;
    if (!sparse && size_bytes > old_bytes && old_bytes > 0) {
        /* Is there room? Asked before the old content goes. */
        status = mmk_os_file_allocate(file->handle, 0, size_bytes);
        if (status != MMK_OK && status != MMK_UNSUPPORTED) {
            mmk_os_file_resize(file->handle, old_bytes);
            return status;
        }
    }
    if (old_bytes > 0)
        status = mmk_os_file_resize(file->handle, 0);
    else
        status = MMK_OK;
    if (status == MMK_OK)
        status = mmk_file_resize(file->handle, 0, size_bytes, sparse);
    if (status == MMK_OK)
        file->info.size_bytes = size_bytes;
    return status;
}
