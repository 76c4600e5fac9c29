/* The search that is linear whatever the text: no faster than a few bytes in a cycle, but never
 * slower. */
#ifndef MMK_SCAN_LINEAR_H
#define MMK_SCAN_LINEAR_H

#include "mmk/scan.h"

enum { MMK_RIGHTWARDS, MMK_LEFTWARDS };

void mmk__linear_study(mmk_needle *needle);
/* The first occurrence that starts in [from, stop), or the last; MMK_NOWHERE. The needle fits. */
size_t mmk__linear_next(const mmk_needle *needle, const unsigned char *text, size_t from,
                        size_t stop);
size_t mmk__linear_previous(const mmk_needle *needle, const unsigned char *text, size_t from,
                            size_t stop);

#endif
