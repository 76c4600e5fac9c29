/* Scalar codes: what they mean, and how their bytes come and go. */
#include "check.h"

#include "mmk/scalar.h"

static mmk_scalar parse(const char *code) { return mmk_scalar_parse(code, strlen(code)); }

static bool little_endian(void) {
    const uint16_t probe = 1;
    return *(const unsigned char *)&probe == 1;
}

static void test_codes_mean_kind_and_size(void) {
    static const struct {
        const char *code;
        mmk_scalar_kind kind;
        unsigned size_bytes;
    } table[] = {
        {"b", MMK_SCALAR_SIGNED, 1}, {"B", MMK_SCALAR_UNSIGNED, 1}, {"h", MMK_SCALAR_SIGNED, 2},
        {"H", MMK_SCALAR_UNSIGNED, 2}, {"i", MMK_SCALAR_SIGNED, 4}, {"I", MMK_SCALAR_UNSIGNED, 4},
        {"l", MMK_SCALAR_SIGNED, sizeof(long)}, {"L", MMK_SCALAR_UNSIGNED, sizeof(long)},
        {"<l", MMK_SCALAR_SIGNED, 4}, {"=L", MMK_SCALAR_UNSIGNED, 4}, {"q", MMK_SCALAR_SIGNED, 8},
        {"Q", MMK_SCALAR_UNSIGNED, 8}, {"n", MMK_SCALAR_SIGNED, sizeof(size_t)},
        {"@N", MMK_SCALAR_UNSIGNED, sizeof(size_t)}, {"e", MMK_SCALAR_FLOAT, 2},
        {"f", MMK_SCALAR_FLOAT, 4}, {"d", MMK_SCALAR_FLOAT, 8}, {"<d", MMK_SCALAR_FLOAT, 8},
        {"?", MMK_SCALAR_BOOL, 1}, {"c", MMK_SCALAR_CHAR, 1}, {"f8", MMK_SCALAR_FLOAT, 8},
        {"<f8", MMK_SCALAR_FLOAT, 8}, {">u2", MMK_SCALAR_UNSIGNED, 2}, {"|b1", MMK_SCALAR_BOOL, 1},
        {"i1", MMK_SCALAR_SIGNED, 1}, {"S1", MMK_SCALAR_CHAR, 1}, {"!H", MMK_SCALAR_UNSIGNED, 2},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        mmk_scalar found = parse(table[i].code);
        if (!CHECK_EQ(found.kind, table[i].kind) || !CHECK_EQ(found.size_bytes, table[i].size_bytes))
            printf("    code %s\n", table[i].code);
    }
}

static void test_other_codes_are_invalid(void) {
    static const char *const codes[] = {"", "<", "x", "<n", "=N", "f1", "f3", "i0", "i9", "b2",
                                        "S2", "dd", "<dd", "<f80", "<<d", "p", "P", "3d", "  "};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (!CHECK_EQ(parse(codes[i]).kind, MMK_SCALAR_INVALID))
            printf("    code '%s'\n", codes[i]);
}

static void test_values_survive_the_way_out_and_back(void) {
    static const char *const codes[] = {"B", "<H", ">H", "<I", ">I", "<Q", ">Q", "=Q", "!I"};
    const uint64_t bits = UINT64_C(0x8123456789abcdef);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        mmk_scalar scalar = parse(codes[i]);
        unsigned char raw[8];
        uint64_t mask = scalar.size_bytes == 8 ? UINT64_MAX
                                               : ((uint64_t)1 << scalar.size_bytes * 8) - 1;
        mmk_scalar_pack(scalar, bits & mask, raw);
        CHECK_EQ(mmk_scalar_unpack(scalar, raw), bits & mask);
        bool little = codes[i][0] == '<' || (codes[i][0] == '=' && little_endian());
        for (unsigned k = 0; k < scalar.size_bytes && codes[i][0] != 'B'; k++)
            CHECK_EQ(raw[little ? k : scalar.size_bytes - 1 - k], (bits >> 8 * k) & 0xff);
    }
}

int main(void) {
    test_codes_mean_kind_and_size();
    test_other_codes_are_invalid();
    test_values_survive_the_way_out_and_back();
    DONE("tests/c/test_scalar");
}
