/* Asking the system which pages of a private mapping are no longer the file's. Offered by
 * changed_linux.c, or by changed_none.c. What os.h says holds here, too. */
#ifndef MMK_OS_CHANGED_H
#define MMK_OS_CHANGED_H

#include <stdbool.h>
#include <stddef.h>

#include "mmk/status.h"

/* Is told of changed pages, in order, as bytes from the start of what was asked about. */
typedef mmk_status (*mmk_changed_found)(void *context, size_t from, size_t to);

/* By ranges (`each` false) or page by page. Stops where `found` does not return MMK_OK. */
mmk_status mmk_os_changed(bool each, void *at, size_t length_bytes, mmk_changed_found found,
                          void *context);
/* Whether that gives right answers here: sandboxes may answer with anything. */
bool mmk_os_changed_supported(bool each);
/* Drops the pages that a private mapping has for itself. */
mmk_status mmk_os_discard(void *at, size_t length_bytes);

#endif
