/* Which lines something occurs in, and their numbers. */
#include "mmk/scan.h"
#include "scan/bits.h"

static const mmk_probe NEWLINE = {0, '\n', 0};

/* Counts up to `until`. */
static void count_to(mmk_line_count *lines, const mmk_kernels *kernels, const unsigned char *text,
                     size_t until) {
    size_t at;
    uint64_t hits;
    if (until <= lines->counted)
        return;
    size_t count = kernels->count(text + lines->counted, until - lines->counted, '\n');
    if (count > 0 && kernels->previous(text, lines->counted, until, &NEWLINE, 1, &at, &hits)) {
        lines->number += count;
        lines->start = at + mmk__bits_last(hits) + 1;
    }
    lines->counted = until;
}

/* The position of the newline that ends the line at `from`, or `end`. */
static size_t line_end(const mmk_kernels *kernels, const unsigned char *text, size_t from,
                       size_t end) {
    size_t at;
    uint64_t hits;
    return kernels->next(text, from, end, &NEWLINE, 1, &at, &hits) ? at + mmk__bits_first(hits)
                                                                   : end;
}

size_t mmk_lines_list(mmk_line_count *lines, const mmk_kernels *kernels, mmk_finder finder,
                      const unsigned char *text, size_t from, size_t stop, size_t end, bool once,
                      mmk_line *out, size_t capacity, size_t *resume) {
    size_t done = 0;
    while (done < capacity && from < stop) {
        size_t size, at = finder.next(finder.context, text, from, stop, end, &size);
        if (at == MMK_NOWHERE) {
            count_to(lines, kernels, text, stop);
            from = stop;
            break;
        }
        count_to(lines, kernels, text, at);
        if (at >= lines->ended)
            lines->ended = line_end(kernels, text, at, end) + 1;
        out[done].offset = at;
        out[done].size = size;
        out[done].start = lines->start;
        out[done].number = lines->number;
        out[done].end = lines->ended - 1;
        from = once ? out[done].end + (out[done].end < end) : at + size;
        done++;
    }
    *resume = from;
    return done;
}

static size_t next_literal(void *context, const unsigned char *text, size_t from, size_t stop,
                           size_t end, size_t *size) {
    mmk_search *search = context;
    uint64_t at;
    size_t resume;
    *size = search->needle->size;
    return mmk_search_list(search, text, from, stop, end, false, 0, &at, 1, &resume) ? (size_t)at
                                                                                     : MMK_NOWHERE;
}

mmk_finder mmk_search_finder(mmk_search *search) {
    mmk_finder finder = {next_literal, search};
    return finder;
}
