/* What windows.c and disk_windows.c share. Include it first: it says which Windows is meant. */
#ifndef MMK_OS_WINDOWS_COMMON_H
#define MMK_OS_WINDOWS_COMMON_H

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <stdint.h>
#include <string.h>

#include "os/os.h"

/* Never MMK_OK: for use where a call is known to have failed. */
static inline mmk_status failure(void) {
    DWORD code = GetLastError();
    return code != 0 ? (mmk_status)code : ERROR_GEN_FAILURE;
}

static inline OVERLAPPED at_offset(uint64_t offset) {
    OVERLAPPED where;
    memset(&where, 0, sizeof where);
    where.Offset = (DWORD)offset;
    where.OffsetHigh = (DWORD)(offset >> 32);
    return where;
}

#endif
