/* What compilers spell differently. */
#ifndef MMK_COMPILER_H
#define MMK_COMPILER_H

/* Has the processor load a cache line that is going to be read; never faults. */
#if defined(__GNUC__)
#define MMK_FETCH(address) __builtin_prefetch((address), 0, 3)
#else
#define MMK_FETCH(address) ((void)(address))
#endif

/* Inlined whatever it costs: constants of the caller become constants of the code. */
#if defined(__GNUC__)
#define MMK_INLINE inline __attribute__((always_inline))
#else
#define MMK_INLINE __forceinline
#endif

/* Lets one function use instructions that the rest of the program does not rely on. MSVC lets
 * every function. */
#if defined(__GNUC__)
#define MMK_TARGET(features) __attribute__((target(features)))
#else
#define MMK_TARGET(features)
#endif

#endif
