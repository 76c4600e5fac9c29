/* Systems that do not tell which pages of a private mapping were stored into. */
#include "os/changed.h"

mmk_status mmk_os_changed(bool each, void *at, size_t length_bytes, mmk_changed_found found,
                          void *context) {
    (void)each;
    (void)at;
    (void)length_bytes;
    (void)found;
    (void)context;
    return MMK_UNSUPPORTED;
}

bool mmk_os_changed_supported(bool each) {
    (void)each;
    return false;
}

mmk_status mmk_os_discard(void *at, size_t length_bytes) {
    (void)at;
    (void)length_bytes;
    return MMK_UNSUPPORTED;
}
