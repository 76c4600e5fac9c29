/* ASCII letters of either case. */
#ifndef MMK_SCAN_FOLD_H
#define MMK_SCAN_FOLD_H

static inline unsigned char mmk__fold(unsigned char byte) {
    return (unsigned char)(byte - 'A') < 26 ? byte | 0x20 : byte;
}

static inline unsigned char mmk__is_small(unsigned char byte) {
    return (unsigned char)(byte - 'a') < 26;
}

#endif
