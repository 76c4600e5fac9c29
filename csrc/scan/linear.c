/* Two-way string matching: M. Crochemore and D. Perrin, "Two-way string-matching", Journal of the
 * ACM 38 (1991). In outline, for a needle x cut at a critical position:
 *
 *     compare x from the cut to its end; at a mismatch, shift past it
 *     compare what is before the cut;    at a mismatch, shift by the period
 *
 * 1. The cut is the later one of the largest suffixes by the two orders of the alphabet.
 * 2. If what is before the cut does not repeat with the period that was found, that is only a lower
 *    bound, and the shift max(cut, size - cut) + 1 is safe.
 * 3. If it does, what a shift by the period leaves compared already is remembered, so that no byte
 *    is compared again and again.
 * 4. To the left, everything is mirrored: position 0 is the last byte. */
#include "os/compiler.h"
#include "scan/fold.h"
#include "scan/linear.h"

/* Byte i of the needle, seen from the side where the search begins. */
static MMK_INLINE unsigned char byte_of(const mmk_needle *needle, size_t i, int way) {
    return needle->bytes[way == MMK_RIGHTWARDS ? i : needle->size - 1 - i];
}

/* The largest suffix: where it starts, and its period. `reversed` takes the other order. */
static size_t largest_suffix(const mmk_needle *needle, int way, bool reversed, size_t *period) {
    size_t start = SIZE_MAX, j = 0, k = 1; /* start + 1 is where the best so far begins */
    *period = 1;
    while (j + k < needle->size) {
        unsigned char a = byte_of(needle, j + k, way), b = byte_of(needle, start + k, way);
        if (a == b) {
            if (k == *period) {
                j += *period;
                k = 1;
            } else {
                k++;
            }
        } else if ((a < b) != reversed) {
            j += k;
            k = 1;
            *period = j - start;
        } else {
            start = j++;
            k = *period = 1;
        }
    }
    return start + 1;
}

static void study(mmk_needle *needle, int way) {
    size_t period, other_period, size = needle->size;
    size_t cut = largest_suffix(needle, way, false, &period);
    size_t other = largest_suffix(needle, way, true, &other_period);
    if (other > cut) {
        cut = other;
        period = other_period;
    }
    bool periodic = cut + period <= size;
    for (size_t i = 0; i < cut && periodic; i++)
        periodic = byte_of(needle, i, way) == byte_of(needle, i + period, way);
    needle->ways[way].cut = cut;
    needle->ways[way].periodic = periodic;
    needle->ways[way].shift = periodic ? period : (cut > size - cut ? cut : size - cut) + 1;
}

void mmk__linear_study(mmk_needle *needle) {
    study(needle, MMK_RIGHTWARDS);
    study(needle, MMK_LEFTWARDS);
}

/* `way` and `fold` are constants where this is used. A place is how far the needle was shifted from
 * where it began: at the first of `places` positions in that direction. Safety: the needle fits at
 * all of them. */
static MMK_INLINE size_t find(const mmk_needle *needle, const unsigned char *text, size_t places,
                              int way, bool fold) {
    const size_t cut = needle->ways[way].cut, shift = needle->ways[way].shift, size = needle->size;
    const bool periodic = needle->ways[way].periodic;
    size_t known = 0; /* so many bytes from the side where it begins are equal */
    for (size_t place = 0; place < places;) {
        /* Byte i of the text under the needle. */
#define UNDER(i) (way == MMK_RIGHTWARDS ? text[place + (i)] : text[(ptrdiff_t)0 - (ptrdiff_t)(place + (i))])
#define SAME(i) (byte_of(needle, (i), way) == (fold ? mmk__fold(UNDER(i)) : UNDER(i)))
        size_t i = cut > known ? cut : known;
        while (i < size && SAME(i))
            i++;
        if (i < size) {
            place += i - cut + 1;
            known = 0;
            continue;
        }
        i = cut;
        while (i > known && SAME(i - 1))
            i--;
        if (i <= known)
            return place;
        place += shift;
        known = periodic ? size - shift : 0;
#undef SAME
#undef UNDER
    }
    return MMK_NOWHERE;
}

size_t mmk__linear_next(const mmk_needle *needle, const unsigned char *text, size_t from,
                        size_t stop) {
    size_t place = needle->fold ? find(needle, text + from, stop - from, MMK_RIGHTWARDS, true)
                                : find(needle, text + from, stop - from, MMK_RIGHTWARDS, false);
    return place == MMK_NOWHERE ? place : from + place;
}

size_t mmk__linear_previous(const mmk_needle *needle, const unsigned char *text, size_t from,
                            size_t stop) {
    /* The last byte of the last position. */
    const unsigned char *last = text + stop - 1 + needle->size - 1;
    size_t place = needle->fold ? find(needle, last, stop - from, MMK_LEFTWARDS, true)
                                : find(needle, last, stop - from, MMK_LEFTWARDS, false);
    return place == MMK_NOWHERE ? place : stop - 1 - place;
}
