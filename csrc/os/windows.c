/* What Windows does. Functions that older versions lack are looked up when they are first needed.
 *
 * A file is mapped through a section, whose handle is closed at once: the view keeps it alive. Two
 * rules of the system shape the callers in map/: a file cannot be made shorter while anybody maps
 * it (ERROR_USER_MAPPED_FILE), and a section cannot be made of nothing (ERROR_FILE_INVALID).
 *
 * A reservation is a placeholder (Windows 10 1803), which views replace piece by piece. Several
 * views then lie behind each other, and calls that take a range are made for each of them.
 */
#include "os/windows_common.h"

#include <io.h>
#include <psapi.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <tlhelp32.h>

/* ReadFile and WriteFile count in 32 bits. */
#define MOST_IO_BYTES ((size_t)1 << 30)
/* How often a flush is tried again while the memory manager writes the same pages. */
#define MOST_FLUSHES 64
/* Ranges or pages asked about at once. */
#define BATCH 512

/* From memoryapi.h and winnt.h, which older headers lack. */
#define SPLIT_PLACEHOLDER 0x00000002    /* MEM_PRESERVE_PLACEHOLDER */
#define COALESCE_PLACEHOLDERS 0x00000001 /* MEM_COALESCE_PLACEHOLDERS */
#define RESERVE_PLACEHOLDER 0x00040000  /* MEM_RESERVE_PLACEHOLDER */
#define REPLACE_PLACEHOLDER 0x00004000  /* MEM_REPLACE_PLACEHOLDER */
#ifndef ERROR_DISK_QUOTA_EXCEEDED
#define ERROR_DISK_QUOTA_EXCEEDED 1295
#endif

typedef struct {
    PVOID at;
    SIZE_T length_bytes;
} memory_range; /* WIN32_MEMORY_RANGE_ENTRY */

typedef PVOID(WINAPI *virtual_alloc)(HANDLE, PVOID, SIZE_T, ULONG, ULONG, void *, ULONG);
typedef PVOID(WINAPI *map_view)(HANDLE, HANDLE, PVOID, ULONG64, SIZE_T, ULONG, ULONG, void *, ULONG);
typedef BOOL(WINAPI *unmap_view)(HANDLE, PVOID, ULONG);
typedef BOOL(WINAPI *prefetch_memory)(HANDLE, ULONG_PTR, memory_range *, ULONG);
typedef LONG(NTAPI *query_volume)(HANDLE, void *, void *, ULONG, int);
typedef LONG(NTAPI *query_object)(HANDLE, int, PVOID, ULONG, PULONG);

typedef void (*function)(void);

/* The address of a function, or NULL; looked up once. Modules named here are never unloaded. */
static function look_up(_Atomic uintptr_t *known, const wchar_t *module, const char *name) {
    uintptr_t found = atomic_load(known);
    if (found == 0) {
        HMODULE library = GetModuleHandleW(module);
        found = library == NULL ? 0 : (uintptr_t)GetProcAddress(library, name);
        if (found == 0)
            found = 1; /* asked for, and missing */
        atomic_store(known, found);
    }
    return found == 1 ? NULL : (function)found;
}

static virtual_alloc virtual_alloc2(void) {
    static _Atomic uintptr_t known;
    return (virtual_alloc)look_up(&known, L"kernelbase.dll", "VirtualAlloc2");
}

static map_view map_view3(void) {
    static _Atomic uintptr_t known;
    return (map_view)look_up(&known, L"kernelbase.dll", "MapViewOfFile3");
}

static unmap_view unmap_view2(void) {
    static _Atomic uintptr_t known;
    return (unmap_view)look_up(&known, L"kernelbase.dll", "UnmapViewOfFile2");
}

/* Tried, not only looked for: Wine 8 has the functions, without placeholders. */
static bool has_placeholders(void) {
    static atomic_int known; /* 1: yes, -1: no */
    int found = atomic_load(&known);
    if (found == 0) {
        found = -1;
        if (virtual_alloc2() != NULL && map_view3() != NULL && unmap_view2() != NULL) {
            void *probe = virtual_alloc2()(NULL, NULL, 65536, MEM_RESERVE | RESERVE_PLACEHOLDER,
                                           PAGE_NOACCESS, NULL, 0);
            if (probe != NULL && VirtualFree(probe, 0, MEM_RELEASE))
                found = 1;
        }
        atomic_store(&known, found);
    }
    return found > 0;
}

/* --- the machine ------------------------------------------------------------------------------ */

size_t mmk_os_page_bytes(void) {
    static _Atomic size_t known;
    size_t page_bytes = atomic_load_explicit(&known, memory_order_relaxed);
    if (page_bytes == 0) {
        SYSTEM_INFO machine;
        GetSystemInfo(&machine);
        page_bytes = machine.dwPageSize;
        atomic_store(&known, page_bytes);
    }
    return page_bytes;
}

size_t mmk_os_granularity_bytes(void) {
    static _Atomic size_t known;
    size_t grain = atomic_load_explicit(&known, memory_order_relaxed);
    if (grain == 0) {
        SYSTEM_INFO machine;
        GetSystemInfo(&machine);
        grain = machine.dwAllocationGranularity;
        atomic_store(&known, grain);
    }
    return grain;
}

uint64_t mmk_os_thread_id(void) { return GetCurrentThreadId(); }
void mmk_os_yield(void) { SwitchToThread(); }

/* There are counts of page faults, but none that tells soft ones from reads. */
mmk_os_waits mmk_os_thread_waits(void) { return (mmk_os_waits){MMK_READS_UNKNOWN, 0}; }

/* No call reads from memory only. */
bool mmk_os_file_read_cached(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes) {
    (void)file, (void)offset, (void)buffer, (void)length_bytes;
    return false;
}

/* Windows knows no main thread; Python means the one that the process began with, the oldest. */
static DWORD oldest_thread(void) {
    DWORD process = GetCurrentProcessId(), oldest = GetCurrentThreadId();
    ULONGLONG earliest = UINT64_MAX;
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry;
    memset(&entry, 0, sizeof entry);
    entry.dwSize = sizeof entry;
    if (snapshot == INVALID_HANDLE_VALUE)
        return oldest;
    for (BOOL more = Thread32First(snapshot, &entry); more; more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID != process)
            continue;
        HANDLE thread = OpenThread(THREAD_QUERY_LIMITED_INFORMATION, FALSE, entry.th32ThreadID);
        FILETIME born, died, kernel, user;
        if (thread != NULL && GetThreadTimes(thread, &born, &died, &kernel, &user)) {
            ULONGLONG time = (ULONGLONG)born.dwHighDateTime << 32 | born.dwLowDateTime;
            if (time < earliest) {
                earliest = time;
                oldest = entry.th32ThreadID;
            }
        }
        if (thread != NULL)
            CloseHandle(thread);
    }
    CloseHandle(snapshot);
    return oldest;
}

/* The guard asks once when it is installed, so that its handler finds the answer ready. */
bool mmk_os_on_main_thread(void) {
    static _Atomic DWORD known;
    DWORD thread = atomic_load(&known);
    if (thread == 0) {
        thread = oldest_thread();
        atomic_store(&known, thread);
    }
    return thread == GetCurrentThreadId();
}

void mmk_os_on_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void)) {
    (void)before;
    (void)in_parent;
    (void)in_child;
}

/* Using them needs the privilege to lock memory; without it, mapping fails. */
size_t mmk_os_huge_page_bytes(void) { return GetLargePageMinimum(); }

/* --- files ------------------------------------------------------------------------------------ */

static HANDLE handle_of(mmk_handle file) { return (HANDLE)file; }

mmk_status mmk_os_file_open(const mmk_path_char *path, const mmk_path_char *beneath, unsigned how,
                            mmk_handle *out, bool *created) {
    if (beneath != NULL)
        return MMK_UNSUPPORTED;
    DWORD access = GENERIC_READ | (how & MMK_OPEN_WRITE ? GENERIC_WRITE : 0);
    DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE |
                  (how & MMK_OPEN_SHARED_DELETE ? FILE_SHARE_DELETE : 0);
    DWORD disposition = OPEN_EXISTING;
    if (how & MMK_OPEN_CREATE)
        disposition = how & MMK_OPEN_EXCLUSIVE ? CREATE_NEW : OPEN_ALWAYS;
    SetLastError(0);
    HANDLE file = CreateFileW(path, access, share, NULL, disposition, FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        mmk_status status = failure();
        DWORD attributes = status == ERROR_ACCESS_DENIED ? GetFileAttributesW(path)
                                                         : INVALID_FILE_ATTRIBUTES;
        /* Without FILE_FLAG_BACKUP_SEMANTICS a directory is "denied". */
        return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY)
                   ? MMK_NOT_MAPPABLE
                   : status;
    }
    /* CreateFileW: with OPEN_ALWAYS, "if the specified file exists, the function succeeds and the
     * last-error code is set to ERROR_ALREADY_EXISTS". */
    *created = disposition == CREATE_NEW ||
               (disposition == OPEN_ALWAYS && GetLastError() != ERROR_ALREADY_EXISTS);
    *out = (mmk_handle)file;
    return MMK_OK;
}

#ifdef __MINGW32__
/* A descriptor means something to the C runtime that made it. Python's is the universal one; mingw
 * may link msvcrt.dll, whose descriptors are others. */
typedef intptr_t(__cdecl *handle_getter)(int);
typedef void(__cdecl *complaint)(const wchar_t *, const wchar_t *, const wchar_t *, unsigned,
                                 uintptr_t);
typedef complaint(__cdecl *complaint_setter)(complaint);

static void __cdecl keep_quiet(const wchar_t *expression, const wchar_t *in, const wchar_t *file,
                               unsigned line, uintptr_t reserved) {
    (void)expression, (void)in, (void)file, (void)line, (void)reserved;
}

static intptr_t handle_of_descriptor(int descriptor) {
    static _Atomic uintptr_t getter, setter;
    const wchar_t *runtime = L"ucrtbase.dll";
    handle_getter get = (handle_getter)look_up(&getter, runtime, "_get_osfhandle");
    complaint_setter set = (complaint_setter)look_up(
        &setter, runtime, "_set_thread_local_invalid_parameter_handler");
    if (get == NULL || set == NULL)
        return _get_osfhandle(descriptor);
    complaint before = set(keep_quiet);
    intptr_t handle = get(descriptor);
    set(before);
    return handle;
}
#else
static void __cdecl keep_quiet(const wchar_t *expression, const wchar_t *in, const wchar_t *file,
                               unsigned line, uintptr_t reserved) {
    (void)expression, (void)in, (void)file, (void)line, (void)reserved;
}

static intptr_t handle_of_descriptor(int descriptor) {
    /* By default the runtime ends the process over a bad descriptor. */
    _invalid_parameter_handler before = _set_thread_local_invalid_parameter_handler(keep_quiet);
    intptr_t handle = _get_osfhandle(descriptor);
    _set_thread_local_invalid_parameter_handler(before);
    return handle;
}
#endif

mmk_status mmk_os_file_adopt(int descriptor, mmk_handle *out) {
    HANDLE ours, theirs = (HANDLE)handle_of_descriptor(descriptor);
    /* -2: a standard stream that is connected to nothing. */
    if (theirs == INVALID_HANDLE_VALUE || theirs == (HANDLE)(intptr_t)-2)
        return ERROR_INVALID_HANDLE;
    if (!DuplicateHandle(GetCurrentProcess(), theirs, GetCurrentProcess(), &ours, 0, FALSE,
                         DUPLICATE_SAME_ACCESS))
        return failure();
    *out = (mmk_handle)ours;
    return MMK_OK;
}

void mmk_os_file_close(mmk_handle file) { CloseHandle(handle_of(file)); }

/* What the handle was opened for. */
static DWORD granted_access(HANDLE file) {
    static _Atomic uintptr_t known;
    struct {
        ULONG attributes;
        ACCESS_MASK granted;
        ULONG rest[12];
    } object; /* PUBLIC_OBJECT_BASIC_INFORMATION */
    query_object query = (query_object)look_up(&known, L"ntdll.dll", "NtQueryObject");
    if (query == NULL || query(file, 0, &object, sizeof object, NULL) < 0)
        return FILE_READ_DATA | FILE_WRITE_DATA; /* mapping will tell */
    return object.granted;
}

mmk_status mmk_os_file_inspect(mmk_handle file, mmk_file_info *info) {
    HANDLE handle = handle_of(file);
    BY_HANDLE_FILE_INFORMATION found;
    LARGE_INTEGER size;
    memset(info, 0, sizeof *info);
    SetLastError(0);
    DWORD type = GetFileType(handle);
    if (type == FILE_TYPE_UNKNOWN && GetLastError() != 0)
        return failure();
    DWORD access = granted_access(handle);
    info->readable = (access & FILE_READ_DATA) != 0;
    info->writable = (access & FILE_WRITE_DATA) != 0;
    info->kind = MMK_FILE_OTHER;
    if (type != FILE_TYPE_DISK)
        return MMK_OK;
    if (!GetFileInformationByHandle(handle, &found)) /* a volume or a disk: no section of those */
        return GetLastError() == ERROR_INVALID_FUNCTION ||
                       GetLastError() == ERROR_INVALID_PARAMETER
                   ? MMK_OK
                   : failure();
    if (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)
        return MMK_OK;
    if (!GetFileSizeEx(handle, &size))
        return failure();
    info->kind = MMK_FILE_REGULAR;
    info->size_bytes = (uint64_t)size.QuadPart;
    info->device = found.dwVolumeSerialNumber;
    info->inode = (uint64_t)found.nFileIndexHigh << 32 | found.nFileIndexLow;
    return MMK_OK;
}

mmk_status mmk_os_file_size(mmk_handle file, uint64_t *size_bytes) {
    LARGE_INTEGER size;
    if (!GetFileSizeEx(handle_of(file), &size))
        return failure();
    *size_bytes = (uint64_t)size.QuadPart;
    return MMK_OK;
}

mmk_status mmk_os_file_resize(mmk_handle file, uint64_t size_bytes) {
    FILE_END_OF_FILE_INFO end;
    end.EndOfFile.QuadPart = (LONGLONG)size_bytes;
    return SetFileInformationByHandle(handle_of(file), FileEndOfFileInfo, &end, sizeof end)
               ? MMK_OK
               : failure();
}

/* Where blocks cannot be reserved, at least nobody shall fill the disk to find that it is too small. */
static bool has_room(HANDLE file, uint64_t length_bytes) {
    static _Atomic uintptr_t known;
    struct {
        LARGE_INTEGER total_units, free_units;
        ULONG sectors_per_unit, bytes_per_sector;
    } volume; /* FILE_FS_SIZE_INFORMATION, class 3 */
    uintptr_t outcome[2];
    query_volume query =
        (query_volume)look_up(&known, L"ntdll.dll", "NtQueryVolumeInformationFile");
    if (query == NULL || query(file, outcome, &volume, sizeof volume, 3) < 0)
        return true;
    uint64_t unit_bytes = (uint64_t)volume.sectors_per_unit * volume.bytes_per_sector;
    return length_bytes / unit_bytes <= (uint64_t)volume.free_units.QuadPart;
}

mmk_status mmk_os_file_allocate(mmk_handle file, uint64_t offset, uint64_t length_bytes) {
    FILE_ALLOCATION_INFO blocks;
    LARGE_INTEGER size;
    if (!GetFileSizeEx(handle_of(file), &size))
        return failure();
    /* An allocation below the end of the file would cut the file. */
    blocks.AllocationSize.QuadPart = (LONGLONG)(offset + length_bytes);
    if (blocks.AllocationSize.QuadPart <= size.QuadPart)
        return MMK_OK;
    if (SetFileInformationByHandle(handle_of(file), FileAllocationInfo, &blocks, sizeof blocks))
        return MMK_OK;
    switch (GetLastError()) {
    case ERROR_CALL_NOT_IMPLEMENTED:
    case ERROR_INVALID_FUNCTION:
    case ERROR_INVALID_PARAMETER:
    case ERROR_NOT_SUPPORTED:
        return has_room(handle_of(file), length_bytes) ? MMK_UNSUPPORTED : ERROR_DISK_FULL;
    default:
        return failure();
    }
}

mmk_status mmk_os_file_sync(mmk_handle file) {
    return FlushFileBuffers(handle_of(file)) ? MMK_OK : failure();
}

/* Positioned transfers move the file's position all the same, which an adopted handle shares with
 * the descriptor that it came from. */
static LARGE_INTEGER position_of(HANDLE file) {
    LARGE_INTEGER none = {.QuadPart = 0}, at = {.QuadPart = -1};
    if (!SetFilePointerEx(file, none, &at, FILE_CURRENT))
        at.QuadPart = -1;
    return at;
}

static void go_back(HANDLE file, LARGE_INTEGER position) {
    if (position.QuadPart >= 0)
        SetFilePointerEx(file, position, NULL, FILE_BEGIN);
}

mmk_status mmk_os_file_read(mmk_handle file, uint64_t offset, void *buffer, size_t length_bytes,
                            size_t *done) {
    HANDLE handle = handle_of(file);
    LARGE_INTEGER position = position_of(handle);
    mmk_status status = MMK_OK;
    *done = 0;
    while (*done < length_bytes && status == MMK_OK) {
        size_t want = length_bytes - *done < MOST_IO_BYTES ? length_bytes - *done : MOST_IO_BYTES;
        OVERLAPPED where = at_offset(offset + *done);
        DWORD got = 0;
        BOOL ok = ReadFile(handle, (char *)buffer + *done, (DWORD)want, &got, &where);
        if (!ok && GetLastError() == ERROR_IO_PENDING)
            ok = GetOverlappedResult(handle, &where, &got, TRUE);
        if (!ok && GetLastError() != ERROR_HANDLE_EOF)
            status = failure();
        else if (got == 0)
            break;
        *done += got;
    }
    go_back(handle, position);
    return status;
}

mmk_status mmk_os_file_write(mmk_handle file, uint64_t offset, const void *buffer,
                             size_t length_bytes) {
    HANDLE handle = handle_of(file);
    LARGE_INTEGER position = position_of(handle);
    mmk_status status = MMK_OK;
    size_t done = 0;
    while (done < length_bytes && status == MMK_OK) {
        size_t want = length_bytes - done < MOST_IO_BYTES ? length_bytes - done : MOST_IO_BYTES;
        OVERLAPPED where = at_offset(offset + done);
        DWORD put = 0;
        BOOL ok = WriteFile(handle, (const char *)buffer + done, (DWORD)want, &put, &where);
        if (!ok && GetLastError() == ERROR_IO_PENDING)
            ok = GetOverlappedResult(handle, &where, &put, TRUE);
        if (!ok)
            status = failure();
        else if (put == 0)
            status = ERROR_DISK_FULL;
        done += put;
    }
    go_back(handle, position);
    return status;
}

bool mmk_os_means_lost_write(mmk_status status) {
    switch (status) {
    case ERROR_WRITE_PROTECT:
    case ERROR_BAD_UNIT:
    case ERROR_NOT_READY:
    case ERROR_CRC:
    case ERROR_SECTOR_NOT_FOUND:
    case ERROR_WRITE_FAULT:
    case ERROR_GEN_FAILURE:
    case ERROR_BAD_NETPATH:
    case ERROR_DEV_NOT_EXIST:
    case ERROR_UNEXP_NET_ERR:
    case ERROR_NETNAME_DELETED:
    case ERROR_SEM_TIMEOUT:
    case ERROR_FILE_INVALID:
    case ERROR_IO_DEVICE:
    case ERROR_DEVICE_NOT_CONNECTED:
    case ERROR_NETWORK_UNREACHABLE:
    case ERROR_CONNECTION_ABORTED:
    case ERROR_DEVICE_REMOVED:
        return true;
    default:
        return mmk_os_means_no_space(status);
    }
}

bool mmk_os_means_no_space(mmk_status status) {
    return status == ERROR_DISK_FULL || status == ERROR_HANDLE_DISK_FULL ||
           status == ERROR_DISK_QUOTA_EXCEEDED || status == ERROR_FILE_TOO_LARGE;
}

/* "The volume for a file has been externally altered so that the opened file is no longer valid." */
int mmk_os_truncated_error(void) { return ERROR_FILE_INVALID; }

/* --- pieces ----------------------------------------------------------------------------------- */

/* How far the view or allocation that holds `at` reaches; the answer is that of its first page. */
static size_t piece_bytes(const void *at, MEMORY_BASIC_INFORMATION *piece) {
    MEMORY_BASIC_INFORMATION next;
    if (VirtualQuery(at, piece, sizeof *piece) == 0)
        return 0;
    const char *end = (const char *)piece->BaseAddress + piece->RegionSize;
    if (piece->State != MEM_FREE)
        while (VirtualQuery(end, &next, sizeof next) != 0 && next.State != MEM_FREE &&
               next.AllocationBase == piece->AllocationBase)
            end += next.RegionSize;
    return (size_t)(end - (const char *)at);
}

/* Calls `visit` for the part of the range in each view or allocation. */
static mmk_status each_piece(void *at, size_t length_bytes,
                             mmk_status (*visit)(void *at, size_t length_bytes,
                                                 const MEMORY_BASIC_INFORMATION *piece,
                                                 void *context),
                             void *context) {
    char *from = at, *to = from + length_bytes;
    while (from < to) {
        MEMORY_BASIC_INFORMATION piece;
        size_t length = piece_bytes(from, &piece);
        if (length == 0)
            return failure();
        if (length > (size_t)(to - from))
            length = (size_t)(to - from);
        mmk_status status = visit(from, length, &piece, context);
        if (status != MMK_OK)
            return status;
        from += length;
    }
    return MMK_OK;
}

static bool is_copy_on_write(const MEMORY_BASIC_INFORMATION *piece) {
    return piece->AllocationProtect == PAGE_WRITECOPY ||
           piece->AllocationProtect == PAGE_EXECUTE_WRITECOPY;
}

/* --- mappings --------------------------------------------------------------------------------- */

static DWORD native_protection(unsigned protection, bool copy_on_write) {
    bool write = (protection & MMK_PROT_WRITE) != 0;
    if (protection & MMK_PROT_EXEC)
        return !write          ? protection & MMK_PROT_READ ? PAGE_EXECUTE_READ : PAGE_EXECUTE
               : copy_on_write ? PAGE_EXECUTE_WRITECOPY
                               : PAGE_EXECUTE_READWRITE;
    if (write)
        return copy_on_write ? PAGE_WRITECOPY : PAGE_READWRITE;
    return protection & MMK_PROT_READ ? PAGE_READONLY : PAGE_NOACCESS;
}

static DWORD view_access(unsigned protection, bool copy_on_write) {
    /* FILE_MAP_COPY includes reading; FILE_MAP_WRITE does, too. */
    DWORD access = copy_on_write                      ? FILE_MAP_COPY
                   : protection & MMK_PROT_WRITE      ? FILE_MAP_READ | FILE_MAP_WRITE
                                                      : FILE_MAP_READ;
    return access | (protection & MMK_PROT_EXEC ? FILE_MAP_EXECUTE : 0);
}

/* A view can never be given more than it was mapped with: so it is mapped with all that its handle
 * allows, and the rest taken away again. */
static unsigned most_protection(const mmk_source *source) {
    bool write = source->is_private ||
                 (granted_access(handle_of(source->file)) & FILE_WRITE_DATA) != 0;
    return source->protection | (write ? MMK_PROT_WRITE : 0);
}

static mmk_status take_away(const mmk_source *source, void *view, size_t length_bytes) {
    DWORD before;
    if (most_protection(source) == source->protection ||
        VirtualProtect(view, length_bytes,
                       native_protection(source->protection, source->is_private), &before))
        return MMK_OK;
    return failure();
}

/* A section of the whole file as it is now: with a size of its own, a file that became shorter
 * meanwhile would be made longer again. */
static mmk_status open_section(const mmk_source *source, HANDLE *section) {
    DWORD protection = native_protection(most_protection(source), source->is_private);
    *section = CreateFileMappingW(handle_of(source->file), NULL, protection, 0, 0, NULL);
    return *section == NULL ? failure() : MMK_OK;
}

mmk_status mmk_os_map(const mmk_source *source, size_t length_bytes, bool huge, void **base) {
    void *mapped;
    if (source->file == MMK_NO_HANDLE) {
        mapped = VirtualAlloc(NULL, length_bytes,
                              MEM_RESERVE | MEM_COMMIT | (huge ? MEM_LARGE_PAGES : 0),
                              native_protection(source->protection, false));
        if (mapped == NULL)
            return failure();
        *base = mapped;
        return MMK_OK;
    }
    HANDLE section;
    mmk_status status = open_section(source, &section);
    if (status != MMK_OK)
        return status;
    mapped = MapViewOfFile(section, view_access(most_protection(source), source->is_private),
                           (DWORD)(source->offset >> 32), (DWORD)source->offset, length_bytes);
    status = mapped == NULL ? failure() : take_away(source, mapped, length_bytes);
    CloseHandle(section);
    if (status == MMK_OK)
        *base = mapped;
    else if (mapped != NULL)
        UnmapViewOfFile(mapped);
    return status;
}

bool mmk_os_refuses_mapping(mmk_status status) {
    /* ERROR_BAD_EXE_FORMAT is how STATUS_INVALID_FILE_FOR_SECTION reads in Win32. */
    return status == ERROR_INVALID_FUNCTION || status == ERROR_NOT_SUPPORTED ||
           status == ERROR_BAD_EXE_FORMAT;
}

bool mmk_os_cuts_mapped_files(void) { return false; }
/* Each piece of memory would need a placeholder of its own; commit() makes one of all. */
bool mmk_os_mixes_sources(void) { return false; }

static mmk_status give_back(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                            void *context) {
    (void)length_bytes;
    (void)context;
    if (piece->State == MEM_FREE)
        return MMK_OK;
    BOOL ok = piece->Type == MEM_MAPPED ? UnmapViewOfFile(at) : VirtualFree(at, 0, MEM_RELEASE);
    return ok ? MMK_OK : failure();
}

mmk_status mmk_os_unmap(void *base, size_t mapped_bytes, size_t reserved_bytes) {
    return each_piece(base, reserved_bytes != 0 ? reserved_bytes : mapped_bytes, give_back, NULL);
}

/* --- reservations ----------------------------------------------------------------------------- */

static size_t whole_pages(size_t length_bytes) {
    size_t page_bytes = mmk_os_page_bytes();
    return (length_bytes + page_bytes - 1) & ~(page_bytes - 1);
}

mmk_status mmk_os_reserve(size_t reserved_bytes, void **base) {
    void *reserved = has_placeholders()
                         ? virtual_alloc2()(NULL, NULL, reserved_bytes,
                                            MEM_RESERVE | RESERVE_PLACEHOLDER, PAGE_NOACCESS, NULL,
                                            0)
                         : VirtualAlloc(NULL, reserved_bytes, MEM_RESERVE, PAGE_NOACCESS);
    if (reserved == NULL)
        return failure();
    *base = reserved;
    return MMK_OK;
}

/* Memory: one reservation, of which pages are committed as they are needed. */
static mmk_status commit(const mmk_source *source, char *base, size_t from, size_t to,
                         size_t reserved_bytes) {
    if (from == 0 && has_placeholders()) /* fails where a former growth has done it already */
        virtual_alloc2()(NULL, base, reserved_bytes, MEM_RESERVE | REPLACE_PLACEHOLDER,
                         PAGE_NOACCESS, NULL, 0);
    return VirtualAlloc(base + from, to - from, MEM_COMMIT,
                        native_protection(source->protection, false)) != NULL
               ? MMK_OK
               : failure();
}

/* A view over pages `from` to `to` of the reservation, which end at byte `end`. */
static mmk_status lay_view(const mmk_source *source, char *base, size_t from, size_t to,
                           size_t end) {
    HANDLE section;
    mmk_status status = open_section(source, &section);
    if (status != MMK_OK)
        return status;
    DWORD protection = native_protection(most_protection(source), source->is_private);
    HANDLE process = GetCurrentProcess();
    void *view = map_view3()(section, process, base + from, source->offset + from, to - from,
                             REPLACE_PLACEHOLDER, protection, NULL, 0);
    if (view == NULL) /* a view of whole pages reaches past the end of a file of broken ones */
        view = map_view3()(section, process, base + from, source->offset + from, end - from,
                           REPLACE_PLACEHOLDER, protection, NULL, 0);
    status = view == NULL ? failure() : take_away(source, view, end - from);
    CloseHandle(section);
    if (status != MMK_OK && view != NULL)
        unmap_view2()(process, view, SPLIT_PLACEHOLDER);
    return status;
}

mmk_status mmk_os_extend(const mmk_source *source, void *base, size_t old_bytes, size_t new_bytes,
                         size_t reserved_bytes) {
    size_t have = whole_pages(old_bytes), want = whole_pages(new_bytes);
    char *start = base;
    if (want <= have) /* the last page of a file grows with the file */
        return MMK_OK;
    if (source->file == MMK_NO_HANDLE)
        return commit(source, start, have, want, reserved_bytes);
    if (!has_placeholders())
        return MMK_UNSUPPORTED;
    /* MapViewOfFile3: address and size "must exactly match those of the placeholder". */
    bool split = want < reserved_bytes;
    if (split && !VirtualFree(start + have, want - have, MEM_RELEASE | SPLIT_PLACEHOLDER))
        return failure();
    mmk_status status = lay_view(source, start, have, want, new_bytes);
    if (status != MMK_OK && split)
        VirtualFree(start + have, reserved_bytes - have, MEM_RELEASE | COALESCE_PLACEHOLDERS);
    return status;
}

static mmk_status back_to_placeholder(void *at, size_t length_bytes,
                                      const MEMORY_BASIC_INFORMATION *piece, void *context) {
    (void)length_bytes;
    (void)piece;
    (void)context;
    return unmap_view2()(GetCurrentProcess(), at, SPLIT_PLACEHOLDER) ? MMK_OK : failure();
}

mmk_status mmk_os_cut(const mmk_source *source, void *base, size_t old_bytes, size_t new_bytes,
                      size_t reserved_bytes) {
    size_t keep = whole_pages(new_bytes), have = whole_pages(old_bytes);
    char *start = base;
    if (source->file == MMK_NO_HANDLE)
        return keep == have || VirtualFree(start + keep, have - keep, MEM_DECOMMIT) ? MMK_OK
                                                                                    : failure();
    if (!has_placeholders())
        return MMK_UNSUPPORTED;
    if (have == 0)
        return MMK_OK;
    /* A view cannot lose a part of itself. */
    mmk_status status = each_piece(start, have, back_to_placeholder, NULL);
    if (status != MMK_OK)
        return status;
    MEMORY_BASIC_INFORMATION first;
    if (piece_bytes(start, &first) < reserved_bytes &&
        !VirtualFree(start, reserved_bytes, MEM_RELEASE | COALESCE_PLACEHOLDERS))
        return failure();
    return keep == 0 ? MMK_OK : mmk_os_extend(source, start, 0, new_bytes, reserved_bytes);
}

mmk_status mmk_os_remap(void *base, size_t old_bytes, size_t new_bytes, void **moved) {
    (void)base;
    (void)old_bytes;
    (void)new_bytes;
    (void)moved;
    return MMK_UNSUPPORTED;
}

mmk_status mmk_os_replace(const mmk_source *source, void *at, size_t length_bytes) {
    (void)source; /* the guard lays no patches here */
    (void)at;
    (void)length_bytes;
    return MMK_UNSUPPORTED;
}

/* --- protection and disk ---------------------------------------------------------------------- */

static mmk_status protect(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                          void *context) {
    unsigned protection = *(unsigned *)context;
    DWORD before;
    if (VirtualProtect(at, length_bytes, native_protection(protection, is_copy_on_write(piece)),
                       &before))
        return MMK_OK;
    mmk_status status = failure();
    /* A view can never be given more than its section was made for. */
    if (piece->Type == MEM_MAPPED && status == ERROR_INVALID_PARAMETER)
        return protection & MMK_PROT_EXEC ? MMK_UNSUPPORTED : ERROR_ACCESS_DENIED;
    return status;
}

mmk_status mmk_os_protect(void *at, size_t length_bytes, unsigned protection) {
    return each_piece(at, length_bytes, protect, &protection);
}

static mmk_status flush(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                        void *context) {
    (void)piece;
    (void)context;
    for (unsigned tries = 0; !FlushViewOfFile(at, length_bytes); tries++) {
        /* The memory manager is writing some of these pages itself just now. */
        if (GetLastError() != ERROR_LOCK_VIOLATION || tries == MOST_FLUSHES)
            return failure();
        Sleep(1);
    }
    return MMK_OK;
}

/* FlushViewOfFile waits until the pages are handed to the file system; there is no way not to. */
mmk_status mmk_os_flush(const mmk_source *source, void *at, size_t length_bytes, bool wait) {
    (void)source;
    (void)wait;
    return each_piece(at, length_bytes, flush, NULL);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* VirtualUnlock: "if you unlock pages that are not locked, they are removed from the working set",
 * and the call says that they were not locked. What they hold survives, in the file or the page
 * file. */
static mmk_status drop(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                       void *context) {
    (void)piece;
    (void)context;
    return VirtualUnlock(at, length_bytes) || GetLastError() == ERROR_NOT_LOCKED ? MMK_OK
                                                                                 : failure();
}

/* Only a shared view comes back as it was. */
static mmk_status drop_shared(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                              void *context) {
    if (piece->Type != MEM_MAPPED || is_copy_on_write(piece))
        return MMK_UNSUPPORTED;
    return drop(at, length_bytes, piece, context);
}

static mmk_status reset(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                        void *context) {
    (void)context;
    if (piece->Type != MEM_PRIVATE)
        return MMK_UNSUPPORTED;
    return VirtualAlloc(at, length_bytes, MEM_RESET, PAGE_NOACCESS) != NULL ? MMK_OK : failure();
}

mmk_status mmk_os_advise(void *at, size_t length_bytes, mmk_advice advice) {
    mmk_span span = {at, length_bytes};
    switch (advice) {
    case MMK_ADVICE_NORMAL: return MMK_OK; /* the only way there is */
    case MMK_ADVICE_WILLNEED: return mmk_os_prefetch(&span, 1);
    case MMK_ADVICE_DONTNEED: return each_piece(at, length_bytes, drop_shared, NULL);
    case MMK_ADVICE_PAGEOUT: return each_piece(at, length_bytes, drop, NULL);
    case MMK_ADVICE_FREE: return each_piece(at, length_bytes, reset, NULL);
    default: return MMK_UNSUPPORTED;
    }
}

static prefetch_memory prefetcher(void) {
    static _Atomic uintptr_t known;
    return (prefetch_memory)look_up(&known, L"kernel32.dll", "PrefetchVirtualMemory");
}

bool mmk_os_advice_supported(mmk_advice advice) {
    switch (advice) {
    case MMK_ADVICE_NORMAL:
    case MMK_ADVICE_DONTNEED:
    case MMK_ADVICE_PAGEOUT:
    case MMK_ADVICE_FREE: return true;
    case MMK_ADVICE_WILLNEED: return prefetcher() != NULL;
    default: return false;
    }
}

mmk_status mmk_os_prefetch(const mmk_span *spans, size_t count) {
    prefetch_memory prefetch = prefetcher();
    if (prefetch == NULL)
        return MMK_UNSUPPORTED;
    for (size_t i = 0; i < count;) {
        memory_range batch[BATCH];
        size_t n = count - i < BATCH ? count - i : BATCH;
        for (size_t k = 0; k < n; k++, i++) {
            batch[k].at = spans[i].at;
            batch[k].length_bytes = spans[i].length_bytes;
        }
        if (!prefetch(GetCurrentProcess(), n, batch, 0))
            return failure();
    }
    return MMK_OK;
}

mmk_status mmk_os_populate(void *at, size_t length_bytes, bool for_writing) {
    (void)at;
    (void)length_bytes;
    (void)for_writing;
    return MMK_UNSUPPORTED;
}

mmk_status mmk_os_evict(const mmk_source *source, void *at, size_t length_bytes) {
    (void)source;
    return each_piece(at, length_bytes, drop, NULL);
}

static mmk_status lock(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                       void *context) {
    (void)piece;
    (void)context;
    if (VirtualLock(at, length_bytes))
        return MMK_OK;
    mmk_status status = failure();
    if (status != ERROR_WORKING_SET_QUOTA && status != ERROR_NOT_ENOUGH_QUOTA)
        return status;
    /* VirtualLock: as many pages as the working set's minimum, less a small overhead. */
    SIZE_T least, most, more = whole_pages(length_bytes) + 32 * mmk_os_page_bytes();
    if (!GetProcessWorkingSetSize(GetCurrentProcess(), &least, &most) ||
        !SetProcessWorkingSetSize(GetCurrentProcess(), least + more, most + more))
        return status;
    return VirtualLock(at, length_bytes) ? MMK_OK : failure();
}

mmk_status mmk_os_lock(void *at, size_t length_bytes, bool on_fault) {
    return on_fault ? MMK_UNSUPPORTED : each_piece(at, length_bytes, lock, NULL);
}

static mmk_status unlock(void *at, size_t length_bytes, const MEMORY_BASIC_INFORMATION *piece,
                         void *context) {
    (void)piece;
    (void)context;
    return VirtualUnlock(at, length_bytes) ? MMK_OK : failure();
}

mmk_status mmk_os_unlock(void *at, size_t length_bytes) {
    return each_piece(at, length_bytes, unlock, NULL);
}

/* Tells of this process's working set: a page outside it may still be in the system's cache. */
mmk_status mmk_os_residency(void *at, size_t length_bytes, mmk_handle file, unsigned char *pages,
                            bool *known) {
    size_t page_bytes = mmk_os_page_bytes(), count = whole_pages(length_bytes) / page_bytes;
    (void)file;
    *known = true;
    for (size_t done = 0; done < count;) {
        PSAPI_WORKING_SET_EX_INFORMATION asked[BATCH];
        size_t n = count - done < BATCH ? count - done : BATCH;
        memset(asked, 0, n * sizeof *asked);
        for (size_t i = 0; i < n; i++)
            asked[i].VirtualAddress = (char *)at + (done + i) * page_bytes;
        if (!K32QueryWorkingSetEx(GetCurrentProcess(), asked, (DWORD)(n * sizeof *asked)))
            return failure();
        for (size_t i = 0; i < n; i++)
            pages[done + i] = (unsigned char)asked[i].VirtualAttributes.Valid;
        done += n;
    }
    return MMK_OK;
}

mmk_status mmk_os_cached(mmk_handle file, uint64_t offset, uint64_t length_bytes,
                         mmk_cached *cached) {
    (void)file;
    (void)offset;
    (void)length_bytes;
    (void)cached;
    return MMK_UNSUPPORTED;
}

mmk_status mmk_os_label(void *at, size_t length_bytes, const char *name) {
    (void)at;
    (void)length_bytes;
    (void)name;
    return MMK_UNSUPPORTED;
}
