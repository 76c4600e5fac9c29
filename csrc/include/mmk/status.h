/* How every function of the core answers.
 *
 * 0 is success. A positive status is the system's own error number, saved before any clean-up:
 * errno on POSIX, GetLastError() on Windows. A negative status is one of the core's own.
 * Results are handed out through pointers and are only written on success, unless said otherwise.
 */
#ifndef MMK_STATUS_H
#define MMK_STATUS_H

typedef int mmk_status;

enum {
    MMK_OK = 0,
    MMK_UNSUPPORTED = -1,  /* this OS, kernel or filesystem does not offer it */
    MMK_CLOSED = -2,       /* the region has been closed */
    MMK_EXPORTED = -3,     /* views are alive that this would invalidate */
    MMK_IN_USE = -4,       /* another thread is inside a call on the region */
    MMK_RANGE = -5,        /* offset or length outside what there is */
    MMK_READ_ONLY = -6,    /* the region or its file may not be written */
    MMK_FAULTED = -7,      /* bytes were lost; the fault record says which and why */
    MMK_NO_SLOT = -8,      /* the guard's registry is full */
    MMK_NOT_MAPPABLE = -9, /* a directory, FIFO or socket */
    MMK_NEEDS_LENGTH = -10,/* a device, or something else without a size */
    MMK_WRITE_ONLY = -11,  /* the descriptor cannot be read */
    MMK_TOO_LARGE = -12,   /* does not fit the address space or the file offset */
    MMK_NOT_OURS = -13     /* the region's descriptor was closed and is another file's now */
};

#endif
