/* What compilers spell differently. */
#ifndef MMK_COMPILER_H
#define MMK_COMPILER_H

/* Has the processor load a cache line that is going to be read; never faults. */
#if defined(__GNUC__)
#define MMK_FETCH(address) __builtin_prefetch((address), 0, 3)
#else
#define MMK_FETCH(address) ((void)(address))
#endif

#endif
