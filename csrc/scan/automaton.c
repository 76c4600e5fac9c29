/* All needles that start at a position, for every position of a text, in one pass from its right to
 * its left: linear, whatever the text and the needles. */
#include "scan/fold.h"
#include "scan/needles.h"

/* --- building --------------------------------------------------------------------------------- */

/* Byte i of a needle from its end. */
static unsigned char byte_from_end(const mmk_needles *needles, uint32_t index, size_t i) {
    return needles->bytes[needles->offset[index + 1] - 1 - i];
}

uint32_t mmk__automaton_states(const mmk_needles *needles, const uint32_t *order) {
    uint32_t states = 1;
    for (size_t i = 0; i < needles->count; i++) {
        size_t size = mmk__needle_size(needles, order[i]), same = 0;
        size_t before = i == 0 ? 0 : mmk__needle_size(needles, order[i - 1]);
        while (same < size && same < before &&
               byte_from_end(needles, order[i], same) == byte_from_end(needles, order[i - 1], same))
            same++;
        states += (uint32_t)(size - same);
    }
    return states;
}

/* The child of a state by a byte, or 0. */
static MMK_INLINE uint32_t child_by(const mmk_automaton *a, uint32_t state, unsigned char byte) {
    uint32_t low = a->child[state], high = a->child[state + 1];
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (a->label[middle] <= byte)
            low = middle;
        else
            high = middle;
    }
    return low < high && a->label[low] == byte ? low : 0;
}

/* From any state: shorter and shorter beginnings, until one goes on with the byte. Each step makes
 * shorter what only a byte read makes longer by one. */
static uint32_t follow(const mmk_automaton *a, uint32_t state, unsigned char byte) {
    uint32_t next;
    while ((next = child_by(a, state, byte)) == 0 && state != 0)
        state = a->shorter[state];
    return next;
}

/* The tree. A state is a range of `order`: the needles that end with what it has read. */
static void grow(mmk_needles *needles, const uint32_t *order, uint32_t *low, uint32_t *high,
                 uint32_t *depth) {
    mmk_automaton *a = &needles->automaton;
    uint32_t states = 1;
    low[0] = 0;
    high[0] = (uint32_t)needles->count;
    depth[0] = 0;
    a->label[0] = 0;
    for (uint32_t s = 0; s < states; s++) {
        uint32_t i = low[s];
        a->child[s] = states;
        a->whole[s] = MMK_NO_NEEDLE;
        a->count[s] = 0;
        /* Those that are whole are sorted to the front, by index. */
        for (; i < high[s] && mmk__needle_size(needles, order[i]) == depth[s]; i++) {
            needles->alike[order[i]] = MMK_NO_NEEDLE;
            if (a->whole[s] == MMK_NO_NEEDLE)
                a->whole[s] = order[i];
            else
                needles->alike[order[i - 1]] = order[i];
            a->count[s]++;
        }
        while (i < high[s]) {
            unsigned char byte = byte_from_end(needles, order[i], depth[s]);
            low[states] = i;
            depth[states] = depth[s] + 1;
            a->label[states] = byte;
            while (i < high[s] && byte_from_end(needles, order[i], depth[s]) == byte)
                i++;
            high[states++] = i;
        }
    }
    a->child[states] = states;
}

/* Parents come before their children, and shorter ones before longer ones. */
static void link_shorter(mmk_automaton *a) {
    a->shorter[0] = a->listed[0] = 0;
    a->first[0] = MMK_NO_NEEDLE;
    a->most = 0;
    for (uint32_t s = 0; s < a->states; s++) {
        for (uint32_t c = a->child[s]; c < a->child[s + 1]; c++) {
            uint32_t shorter = s == 0 ? 0 : follow(a, a->shorter[s], a->label[c]);
            a->shorter[c] = shorter;
            a->listed[c] = a->whole[shorter] != MMK_NO_NEEDLE ? shorter : a->listed[shorter];
            a->first[c] = a->whole[c] < a->first[shorter] ? a->whole[c] : a->first[shorter];
            a->count[c] += a->count[shorter];
            a->most = a->count[c] > a->most ? a->count[c] : a->most;
        }
    }
}

/* How rows name a state, and back. */
static MMK_INLINE uint32_t name_of(const mmk_automaton *a, uint32_t state) {
    uint32_t name = state < a->rows ? state << a->row_shift : state | MMK_NO_ROW;
    return a->first[state] != MMK_NO_NEEDLE ? name | MMK_HAS_NEEDLE : name;
}

static MMK_INLINE uint32_t state_of(const mmk_automaton *a, uint32_t name) {
    name &= ~MMK_HAS_NEEDLE;
    return name & MMK_NO_ROW ? name & ~MMK_NO_ROW : name >> a->row_shift;
}

/* A row is that of the shorter state, but for its own children. */
static void fill_rows(mmk_automaton *a) {
    const size_t width = (size_t)1 << a->row_shift;
    for (uint32_t s = 0; s < a->rows; s++) {
        uint32_t *row = a->row + s * width;
        if (s == 0)
            memset(row, 0, width * sizeof *row);
        else
            memcpy(row, a->row + a->shorter[s] * width, width * sizeof *row);
        for (uint32_t c = a->child[s]; c < a->child[s + 1]; c++)
            row[a->class_of[a->label[c]]] = name_of(a, c);
    }
}

void mmk__automaton_build(mmk_needles *needles, const uint32_t *order, uint32_t *scratch) {
    mmk_automaton *a = &needles->automaton;
    grow(needles, order, scratch, scratch + a->states, scratch + 2 * (size_t)a->states);
    link_shorter(a);
    fill_rows(a);
}

/* --- scanning --------------------------------------------------------------------------------- */

/* From a state that has no row, or where a needle starts. */
static uint32_t step(const mmk_needles *needles, uint32_t name, unsigned char byte) {
    const mmk_automaton *a = &needles->automaton;
    unsigned char folded = needles->fold ? mmk__fold(byte) : byte;
    uint32_t state = state_of(a, name), next;
    for (; state >= a->rows; state = a->shorter[state])
        if ((next = child_by(a, state, folded)) != 0)
            return name_of(a, next);
    return a->row[((size_t)state << a->row_shift) + a->class_of[byte]];
}

/* A part of a chunk. */
typedef struct {
    size_t at; /* bytes from here on were read */
    uint32_t name;
    mmk_mark *marks;
    size_t done;
} lane;

/* Each lane reads `steps` bytes. One waits for each of its steps, so several take turns. `count`
 * and `keeps` are constants where this is used. */
static MMK_INLINE void read_lanes(const mmk_needles *needles, const unsigned char *text,
                                  size_t origin, lane *lanes, unsigned count, size_t steps,
                                  bool keeps) {
    const mmk_automaton *a = &needles->automaton;
    const unsigned char *class_of = a->class_of;
    const uint32_t *row = a->row;
    for (size_t i = 1; i <= steps; i++) {
        for (unsigned n = 0; n < count; n++) {
            unsigned char byte = text[lanes[n].at - i];
            uint32_t name = lanes[n].name;
            name = name < MMK_NO_ROW ? row[name + class_of[byte]] : step(needles, name, byte);
            lanes[n].name = name;
            if (keeps && name & MMK_HAS_NEEDLE)
                lanes[n].marks[lanes[n].done++] =
                    (mmk_mark){(uint32_t)(lanes[n].at - i - origin), state_of(a, name)};
        }
    }
    for (unsigned n = 0; n < count; n++)
        lanes[n].at -= steps;
}

#define LANES 4

/* The first lane is at the right. Each first reads what is to the right of its part, which tells
 * what goes on there. */
static MMK_INLINE size_t scan(const mmk_needles *needles, const unsigned char *text, size_t from,
                              size_t stop, size_t end, mmk_mark *marks, unsigned count) {
    lane lanes[LANES];
    const size_t part = (stop - from) / count, most = needles->longest - 1;
    const size_t least = end - stop > most ? most : end - stop;
    for (unsigned n = 0; n < count; n++) {
        size_t right = stop - n * part, reach = end - right > most ? most : end - right;
        lanes[n] = (lane){right + reach, 0, marks + n * part, 0};
        /* Where the text ends there is less to read. */
        read_lanes(needles, text, from, lanes + n, 1, reach - least, false);
    }
    read_lanes(needles, text, from, lanes, count, least, false);
    read_lanes(needles, text, from, lanes, count, part, true);
    read_lanes(needles, text, from, lanes + count - 1, 1, lanes[count - 1].at - from, true);
    size_t done = lanes[0].done;
    for (unsigned n = 1; n < count; done += lanes[n++].done)
        memmove(marks + done, lanes[n].marks, lanes[n].done * sizeof *marks);
    return done;
}

size_t mmk__automaton_scan(const mmk_needles *needles, const unsigned char *text, size_t from,
                           size_t stop, size_t end, mmk_mark *marks) {
    /* Lanes are only worth it if what they read twice is little. */
    return (stop - from) / (4 * LANES) >= needles->longest
               ? scan(needles, text, from, stop, end, marks, LANES)
               : scan(needles, text, from, stop, end, marks, 1);
}
