/* Texts to search: between pages that cannot be read, so that a read past either end is a crash;
 * and random, the same in every run. */
#ifndef MMK_TESTS_TEXTS_H
#define MMK_TESTS_TEXTS_H

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#endif

#include "check.h"
#include "mmk/scan.h"

/* A multiple of any system's pages. */
#define FENCE_BYTES ((size_t)1 << 16)

/* Bytes from `begin` to `end`; what is next to them, on both sides, cannot be read. */
typedef struct {
    unsigned char *begin, *end;
} fenced;

/* At least `size_bytes` of them, for as long as the program runs. */
static inline fenced fence(size_t size_bytes) {
    fenced memory;
    size_t inside = (size_bytes + FENCE_BYTES - 1) / FENCE_BYTES * FENCE_BYTES;
#ifdef _WIN32
    unsigned char *start = VirtualAlloc(NULL, inside + 2 * FENCE_BYTES, MEM_RESERVE, PAGE_NOACCESS);
    if (start == NULL ||
        VirtualAlloc(start + FENCE_BYTES, inside, MEM_COMMIT, PAGE_READWRITE) == NULL)
        exit(1);
#else
    unsigned char *start = mmap(NULL, inside + 2 * FENCE_BYTES, PROT_NONE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED ||
        mprotect(start + FENCE_BYTES, inside, PROT_READ | PROT_WRITE) != 0)
        exit(1);
#endif
    memory.begin = start + FENCE_BYTES;
    memory.end = memory.begin + inside;
    return memory;
}

/* The generator of Numerical Recipes, without the low bits, which repeat soon. */
static uint64_t random_state = 1;
static inline size_t random_below(size_t limit) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((random_state >> 33) % limit);
}

/* Letters from the front of `letters`. */
static inline void random_text(unsigned char *text, size_t size, const char *letters,
                               unsigned letter_count) {
    for (size_t i = 0; i < size; i++)
        text[i] = (unsigned char)letters[random_below(letter_count)];
}

static inline unsigned char small_letter(unsigned char byte) {
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte + 32) : byte;
}

/* Whether a needle is there. With `fold`, it has small letters. */
static inline bool is_there(const unsigned char *at, const unsigned char *needle, size_t size,
                            bool fold) {
    for (size_t i = 0; i < size; i++)
        if ((fold ? small_letter(at[i]) : at[i]) != needle[i])
            return false;
    return true;
}

/* The instruction sets that this processor runs. Asking is slow in a virtual machine. */
static const mmk_kernels *sets[8];
static unsigned set_count;

static inline void find_sets(void) {
    while (set_count < 8 && (sets[set_count] = mmk_kernels_at(set_count)) != NULL)
        set_count++;
}

#endif
