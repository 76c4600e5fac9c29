/* Scalar codes, after Python's struct module and numpy's array-protocol type strings. */
#include "mmk/scalar.h"

static bool little_endian(void) {
    const uint16_t probe = 1;
    return *(const uint8_t *)&probe == 1;
}

static mmk_scalar make(mmk_scalar_kind kind, size_t size_bytes) {
    mmk_scalar scalar = {kind, (unsigned)size_bytes, false};
    return scalar;
}

/* "f8": a kind and its size in bytes. */
static mmk_scalar parse_numpy(char kind, char digit) {
    unsigned size = (unsigned)(digit - '0');
    bool power = size == 1 || size == 2 || size == 4 || size == 8;
    switch (kind) {
    case 'i': return make(power ? MMK_SCALAR_SIGNED : MMK_SCALAR_INVALID, size);
    case 'u': return make(power ? MMK_SCALAR_UNSIGNED : MMK_SCALAR_INVALID, size);
    case 'f': return make(power && size > 1 ? MMK_SCALAR_FLOAT : MMK_SCALAR_INVALID, size);
    case 'b': return make(size == 1 ? MMK_SCALAR_BOOL : MMK_SCALAR_INVALID, size);
    case 'S': return make(size == 1 ? MMK_SCALAR_CHAR : MMK_SCALAR_INVALID, size);
    default: return make(MMK_SCALAR_INVALID, 0);
    }
}

/* "d": sizes are C's where the order is native ('@' or none), struct's standard ones otherwise. */
static mmk_scalar parse_struct(char code, bool native) {
    switch (code) {
    case 'b': return make(MMK_SCALAR_SIGNED, 1);
    case 'B': return make(MMK_SCALAR_UNSIGNED, 1);
    case 'h': return make(MMK_SCALAR_SIGNED, 2);
    case 'H': return make(MMK_SCALAR_UNSIGNED, 2);
    case 'i': return make(MMK_SCALAR_SIGNED, 4);
    case 'I': return make(MMK_SCALAR_UNSIGNED, 4);
    case 'l': return make(MMK_SCALAR_SIGNED, native ? sizeof(long) : 4);
    case 'L': return make(MMK_SCALAR_UNSIGNED, native ? sizeof(long) : 4);
    case 'q': return make(MMK_SCALAR_SIGNED, 8);
    case 'Q': return make(MMK_SCALAR_UNSIGNED, 8);
    case 'n': return make(native ? MMK_SCALAR_SIGNED : MMK_SCALAR_INVALID, sizeof(ptrdiff_t));
    case 'N': return make(native ? MMK_SCALAR_UNSIGNED : MMK_SCALAR_INVALID, sizeof(size_t));
    case 'e': return make(MMK_SCALAR_FLOAT, 2);
    case 'f': return make(MMK_SCALAR_FLOAT, 4);
    case 'd': return make(MMK_SCALAR_FLOAT, 8);
    case '?': return make(MMK_SCALAR_BOOL, 1);
    case 'c': return make(MMK_SCALAR_CHAR, 1);
    default: return make(MMK_SCALAR_INVALID, 0);
    }
}

mmk_scalar mmk_scalar_parse(const char *code, size_t length) {
    bool native = true, swapped = false;
    if (length > 1) {
        switch (code[0]) {
        case '<': native = false; swapped = !little_endian(); break;
        case '>': case '!': native = false; swapped = little_endian(); break;
        case '=': case '|': native = false; break;
        case '@': break;
        default: code--, length++; /* no order given */
        }
        code++, length--;
    }
    mmk_scalar scalar = make(MMK_SCALAR_INVALID, 0);
    if (length == 1)
        scalar = parse_struct(code[0], native);
    else if (length == 2)
        scalar = parse_numpy(code[0], code[1]);
    scalar.swapped = swapped;
    return scalar;
}

void mmk_scalar_pack(mmk_scalar scalar, uint64_t bits, void *raw) {
    uint8_t one = (uint8_t)bits;
    uint16_t two = (uint16_t)bits;
    uint32_t four = (uint32_t)bits;
    /* Unpacking swaps, and swapping twice is nothing: the value goes out as it would come in. */
    switch (scalar.size_bytes) {
    case 1: memcpy(raw, &one, 1); return;
    case 2: two = (uint16_t)mmk_scalar_unpack(scalar, &two); memcpy(raw, &two, 2); return;
    case 4: four = (uint32_t)mmk_scalar_unpack(scalar, &four); memcpy(raw, &four, 4); return;
    default: bits = mmk_scalar_unpack(scalar, &bits); memcpy(raw, &bits, 8); return;
    }
}
