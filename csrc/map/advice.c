/* The names of the hints, and which of them throw data away. */
#include "mmk/residency.h"

#include "os/os.h"

static const struct {
    const char *name;
    bool discards;
} table[MMK_ADVICE_COUNT] = {
    [MMK_ADVICE_NORMAL] = {"normal", false},
    [MMK_ADVICE_RANDOM] = {"random", false},
    [MMK_ADVICE_SEQUENTIAL] = {"sequential", false},
    [MMK_ADVICE_WILLNEED] = {"willneed", false},
    [MMK_ADVICE_DONTNEED] = {"dontneed", true},
    [MMK_ADVICE_COLD] = {"cold", false},
    [MMK_ADVICE_PAGEOUT] = {"pageout", false},
    [MMK_ADVICE_FREE] = {"free", true},
    [MMK_ADVICE_HUGEPAGE] = {"hugepage", false},
    [MMK_ADVICE_NOHUGEPAGE] = {"nohugepage", false},
    [MMK_ADVICE_COLLAPSE] = {"collapse", false},
    [MMK_ADVICE_DONTFORK] = {"dontfork", false},
    [MMK_ADVICE_DOFORK] = {"dofork", false},
    [MMK_ADVICE_DONTDUMP] = {"dontdump", false},
    [MMK_ADVICE_DODUMP] = {"dodump", false},
    [MMK_ADVICE_WIPEONFORK] = {"wipeonfork", true},
    [MMK_ADVICE_KEEPONFORK] = {"keeponfork", false},
    [MMK_ADVICE_MERGEABLE] = {"mergeable", false},
    [MMK_ADVICE_UNMERGEABLE] = {"unmergeable", false},
};

const char *mmk_advice_name(mmk_advice advice) { return table[advice].name; }
bool mmk_advice_discards(mmk_advice advice) { return table[advice].discards; }
bool mmk_advice_supported(mmk_advice advice) { return mmk_os_advice_supported(advice); }
