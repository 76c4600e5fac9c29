/* Files that must survive a crash: what Windows does. */
#include "os/windows_common.h"

#include "os/disk.h"

mmk_status mmk_os_file_identify(mmk_handle file, mmk_identity *identity) {
    BY_HANDLE_FILE_INFORMATION found;
    if (!GetFileInformationByHandle((HANDLE)file, &found))
        return failure();
    identity->device = found.dwVolumeSerialNumber;
    identity->inode = (uint64_t)found.nFileIndexHigh << 32 | found.nFileIndexLow;
    /* Anybody may set a time of creation, and a new file inherits that of one just removed (file
     * system tunneling). The index counts how often it was used. */
    identity->birth_ns = 0;
    return MMK_OK;
}

mmk_status mmk_os_file_blocks(mmk_handle file, uint64_t *allocated_bytes) {
    FILE_STANDARD_INFO found;
    if (!GetFileInformationByHandleEx((HANDLE)file, FileStandardInfo, &found, sizeof found))
        return failure();
    *allocated_bytes = (uint64_t)found.AllocationSize.QuadPart;
    return MMK_OK;
}

mmk_status mmk_os_file_sync_data(mmk_handle file) { return mmk_os_file_sync(file); }

/* Changes of names are in the filesystem's own journal, and a directory cannot be flushed. */
mmk_status mmk_os_directory_sync(const mmk_path_char *path) {
    (void)path;
    return MMK_OK;
}

mmk_name mmk_os_name_look(const mmk_path_char *path) {
    DWORD found = GetFileAttributesW(path);
    if (found == INVALID_FILE_ATTRIBUTES)
        return MMK_NAME_FREE;
    return found & FILE_ATTRIBUTE_REPARSE_POINT ? MMK_NAME_LINK : MMK_NAME_TAKEN;
}

mmk_status mmk_os_name_leads_to(const mmk_path_char *path, mmk_handle file, bool *leads) {
    *leads = false;
    HANDLE there = CreateFileW(path, FILE_READ_ATTRIBUTES,
                               FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                               OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (there == INVALID_HANDLE_VALUE) {
        mmk_status status = failure();
        return status == ERROR_FILE_NOT_FOUND || status == ERROR_PATH_NOT_FOUND ? MMK_OK : status;
    }
    mmk_identity one, other;
    mmk_status status = mmk_os_file_identify((mmk_handle)there, &one);
    CloseHandle(there);
    if (status == MMK_OK)
        status = mmk_os_file_identify(file, &other);
    if (status == MMK_OK)
        *leads = one.inode == other.inode && one.device == other.device;
    return status;
}

/* WriteFileGather() takes whole pages of files without a cache only. */
mmk_status mmk_os_file_write_some(mmk_handle file, uint64_t offset, const mmk_piece *pieces,
                                  size_t count, size_t *done) {
    (void)count;
    *done = pieces[0].length_bytes;
    return mmk_os_file_write(file, offset, pieces[0].at, pieces[0].length_bytes);
}

static mmk_status lock_failure(void) {
    mmk_status status = failure();
    return status == ERROR_INVALID_FUNCTION || status == ERROR_NOT_SUPPORTED ||
                   status == ERROR_CALL_NOT_IMPLEMENTED
               ? MMK_UNSUPPORTED
               : status;
}

mmk_status mmk_os_file_lock(mmk_handle file, uint64_t offset, uint64_t length_bytes, bool exclusive,
                            bool *obtained) {
    OVERLAPPED where = at_offset(offset);
    DWORD how = LOCKFILE_FAIL_IMMEDIATELY | (exclusive ? LOCKFILE_EXCLUSIVE_LOCK : 0);
    *obtained = LockFileEx((HANDLE)file, how, 0, (DWORD)length_bytes, (DWORD)(length_bytes >> 32),
                           &where) != 0;
    if (*obtained || GetLastError() == ERROR_LOCK_VIOLATION || GetLastError() == ERROR_IO_PENDING)
        return MMK_OK;
    return lock_failure();
}

mmk_status mmk_os_file_unlock(mmk_handle file, uint64_t offset, uint64_t length_bytes) {
    OVERLAPPED where = at_offset(offset);
    if (UnlockFileEx((HANDLE)file, 0, (DWORD)length_bytes, (DWORD)(length_bytes >> 32), &where) ||
        GetLastError() == ERROR_NOT_LOCKED || GetLastError() == ERROR_LOCK_VIOLATION) /* Wine */
        return MMK_OK;
    return lock_failure();
}

/* Blocks are shared on ReFS only, and range by range (FSCTL_DUPLICATE_EXTENTS_TO_FILE). */
mmk_status mmk_os_file_clone(mmk_handle to, mmk_handle from) {
    (void)to;
    (void)from;
    return MMK_UNSUPPORTED;
}
