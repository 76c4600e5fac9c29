/* One shared object of 0xFF bytes, mapped privately over lost pages: however much is lost, it costs
 * the object's memory once, plus what is stored into the patches afterwards.
 *
 * Runs inside a signal handler: system calls and lock-free atomics only.
 */
#include "guard/poison.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/registry.h"
#include "os/os.h"
#include "os/posix.h"

/* Large, so that a long patch needs few mappings: the kernel counts each of them. */
#define POISON_BYTES ((size_t)16 << 20)
/* Patches beyond this many would endanger vm.max_map_count (65,530 by default). What lies further
 * (256 GiB and more) reads as zeros instead; it is reported all the same. */
#define MOST_PATCHES 16384

static atomic_int poison_file = -1;
static atomic_ulong poison_inode;
static atomic_flag making = ATOMIC_FLAG_INIT;

/* A descriptor may have been closed behind our back, by a daemon that closes them all, and its
 * number may be another file's by now. */
static bool still_ours(int file) {
    struct stat found;
    return file >= 0 && fstat(file, &found) == 0 &&
           (unsigned long)found.st_ino == atomic_load(&poison_inode);
}

static int make_poison(void) {
    int file = mmk__os_memory_file();
    if (file < 0)
        return -1;
    struct stat made;
    void *bytes = MAP_FAILED;
    if (ftruncate(file, (off_t)POISON_BYTES) == 0 && fstat(file, &made) == 0)
        bytes = mmap(NULL, POISON_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        close(file);
        return -1;
    }
    memset(bytes, 0xFF, POISON_BYTES);
    munmap(bytes, POISON_BYTES);
    atomic_store(&poison_inode, (unsigned long)made.st_ino);
    return file;
}

static int poison(void) {
    int file = atomic_load(&poison_file);
    if (still_ours(file))
        return file;
    while (atomic_flag_test_and_set(&making))
        mmk_os_yield();
    file = atomic_load(&poison_file);
    if (!still_ours(file)) {
        file = make_poison();
        atomic_store(&poison_file, file);
    }
    atomic_flag_clear(&making);
    return file;
}

bool mmk__poison_lay(mmk_fault_record *record, uintptr_t from, uintptr_t to) {
    int native = mmk__os_protection(record->protection & ~(unsigned)MMK_PROT_EXEC);
    int file = poison();
    while (from < to && file >= 0 && atomic_load(&mmk__patch_count) < MOST_PATCHES) {
        size_t length = to - from < POISON_BYTES ? to - from : POISON_BYTES;
        if (mmap((void *)from, length, native, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) ==
            MAP_FAILED)
            break;
        atomic_fetch_add(&mmk__patch_count, 1);
        record->patches++;
        from += length;
    }
    /* Without descriptors or mappings to spare, zeros keep the process alive. */
    return from >= to || mmap((void *)from, to - from, native,
                              MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | MAP_ANONYMOUS, -1,
                              0) != MAP_FAILED;
}
