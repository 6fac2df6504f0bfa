#include "tok/unicode.h"

#include <stdlib.h>
#include <string.h>

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

void swan_runes_free(swan_runes *runes)
{
    free(runes->at);
    *runes = (swan_runes){0};
}

static swan_status reserve(swan_runes *runes, size_t more)
{
    if (more <= runes->capacity - runes->count) return SWAN_OK;
    if (more > SIZE_MAX / sizeof *runes->at / 4 - runes->count)
        return SWAN_FAIL(SWAN_E_NOMEM, "text of %zu code points", more);
    size_t capacity = (runes->count + more) * 2;
    uint32_t *at = realloc(runes->at, capacity * sizeof *at);
    if (!at) return SWAN_FAIL(SWAN_E_NOMEM, "no memory for a text of %zu code points", capacity);
    runes->at = at;
    runes->capacity = capacity;
    return SWAN_OK;
}

swan_status swan_runes_push(swan_runes *runes, uint32_t rune)
{
    if (runes->count == runes->capacity) SWAN_TRY(reserve(runes, 1));
    runes->at[runes->count++] = rune;
    return SWAN_OK;
}

swan_status swan_runes_append(swan_runes *runes, const uint32_t *from, size_t count)
{
    if (!count) return SWAN_OK;
    SWAN_TRY(reserve(runes, count));
    memcpy(runes->at + runes->count, from, count * sizeof *from);
    runes->count += count;
    return SWAN_OK;
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

/* Bytes of the sequence at utf8 (n > 0 bytes left), 0 when it is invalid. The second byte's range excludes overlong
 * forms, surrogates and what is above U+10FFFF (Unicode 15, table 3-7). */
static size_t sequence(const unsigned char *utf8, size_t n)
{
    unsigned char lead = utf8[0], low = 0x80, high = 0xBF;
    size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (!length || length > n) return 0;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (size_t i = 1; i < length; i++) {
        if (utf8[i] < low || utf8[i] > high) return 0;
        low = 0x80, high = 0xBF;
    }
    return length;
}

size_t swan_utf8_valid(const char *utf8, size_t n)
{
    size_t at = 0;
    while (at < n) {
        size_t length = sequence((const unsigned char *)utf8 + at, n - at);
        if (!length) break;
        at += length;
    }
    return at;
}

swan_status swan_runes_decode(swan_runes *runes, const char *utf8, size_t n)
{
    runes->count = 0;
    const unsigned char *at = (const unsigned char *)utf8, *end = at + n;
    while (at < end) {
        size_t length = sequence(at, (size_t)(end - at));
        if (!length) return SWAN_BUG("swan_runes_decode: invalid UTF-8");
        uint32_t rune = length == 1 ? at[0] : at[0] & (0x7Fu >> length);
        for (size_t i = 1; i < length; i++) rune = rune << 6 | (at[i] & 0x3Fu);
        SWAN_TRY(swan_runes_push(runes, rune));
        at += length;
    }
    return SWAN_OK;
}

swan_status swan_runes_encode(const swan_runes *runes, char **utf8)
{
    char *text = malloc(runes->count * 4 + 1), *to = text;
    if (!text) return SWAN_FAIL(SWAN_E_NOMEM, "no memory for a text of %zu code points", runes->count);
    for (size_t i = 0; i < runes->count; i++) {
        uint32_t rune = runes->at[i];
        int tail = rune < 0x80 ? 0 : rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;
        *to++ = (char)(tail ? (0xF0u << (3 - tail) & 0xFF) | rune >> 6 * tail : rune);
        while (tail--) *to++ = (char)(0x80 | (rune >> 6 * tail & 0x3F));
    }
    *to = 0;
    *utf8 = text;
    return SWAN_OK;
}

/* ---- form C ------------------------------------------------------------------------------------------------------ */

/* Hangul syllables are composed by arithmetic (The Unicode Standard, section 3.12). */
enum { S_BASE = 0xAC00, L_BASE = 0x1100, V_BASE = 0x1161, T_BASE = 0x11A7, L_COUNT = 19, V_COUNT = 21, T_COUNT = 28 };
enum { S_COUNT = L_COUNT * V_COUNT * T_COUNT };

static uint32_t combining_class(uint32_t rune)
{
    if (rune < 0x300) return 0;
    size_t low = 0, high = swan_unicode_classes_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (swan_unicode_classes[middle].last < rune)
            low = middle + 1;
        else
            high = middle;
    }
    bool hit = low < swan_unicode_classes_count && swan_unicode_classes[low].first <= rune;
    return hit ? swan_unicode_classes[low].value : 0;
}

static const swan_unicode_pair *decomposition(uint32_t rune)
{
    size_t low = 0, high = swan_unicode_decompositions_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (swan_unicode_decompositions[middle].whole < rune)
            low = middle + 1;
        else
            high = middle;
    }
    bool hit = low < swan_unicode_decompositions_count && swan_unicode_decompositions[low].whole == rune;
    return hit ? &swan_unicode_decompositions[low] : NULL;
}

/* The primary composite of a and b, 0 when there is none. */
static uint32_t composite(uint32_t a, uint32_t b)
{
    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT) return S_BASE + ((a - L_BASE) * V_COUNT + b - V_BASE) * T_COUNT;
    bool open_syllable = a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0;
    if (open_syllable && b - T_BASE - 1 < T_COUNT - 1) return a + b - T_BASE;
    size_t low = 0, high = swan_unicode_composites_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const swan_unicode_pair *pair = &swan_unicode_composites[middle];
        if (pair->a < a || (pair->a == a && pair->b < b))
            low = middle + 1;
        else
            high = middle;
    }
    if (low == swan_unicode_composites_count) return 0;
    const swan_unicode_pair *pair = &swan_unicode_composites[low];
    return pair->a == a && pair->b == b ? pair->whole : 0;
}

static swan_status decompose(uint32_t rune, swan_runes *out)
{
    uint32_t tail[8]; /* second halves, innermost last; chains in Unicode are at most 3 long */
    size_t depth = 0;
    if (rune - S_BASE < S_COUNT) {
        uint32_t index = rune - S_BASE, t = index % T_COUNT;
        SWAN_TRY(swan_runes_push(out, L_BASE + index / (V_COUNT * T_COUNT)));
        SWAN_TRY(swan_runes_push(out, V_BASE + index % (V_COUNT * T_COUNT) / T_COUNT));
        return t ? swan_runes_push(out, T_BASE + t) : SWAN_OK;
    }
    for (const swan_unicode_pair *pair; rune >= 0xC0 && (pair = decomposition(rune)) != NULL; rune = pair->a) {
        if (!pair->b) continue;
        if (depth == sizeof tail / sizeof tail[0])
            return SWAN_BUG("decomposition chain of U+%04X", (unsigned)pair->whole);
        tail[depth++] = pair->b;
    }
    SWAN_TRY(swan_runes_push(out, rune));
    while (depth) SWAN_TRY(swan_runes_push(out, tail[--depth])); /* no second half decomposes: the generator checks */
    return SWAN_OK;
}

/* Stable sort by class inside each run of combining marks. */
static void order(swan_runes *runes)
{
    for (size_t i = 1; i < runes->count; i++) {
        uint32_t rune = runes->at[i], value = combining_class(rune);
        size_t to = i;
        for (; value && to && combining_class(runes->at[to - 1]) > value; to--) runes->at[to] = runes->at[to - 1];
        runes->at[to] = rune;
    }
}

/* In place: a mark joins the last starter unless something between them has its class or a higher one, or class 0. */
static void compose(swan_runes *runes)
{
    size_t starter = SIZE_MAX, count = 0;
    uint32_t last = 0; /* class of the last rune kept behind the starter */
    for (size_t i = 0; i < runes->count; i++) {
        uint32_t rune = runes->at[i], value = combining_class(rune);
        bool adjacent = starter != SIZE_MAX && count == starter + 1;
        if (starter != SIZE_MAX && (adjacent || last < value)) {
            uint32_t whole = composite(runes->at[starter], rune);
            if (whole) {
                runes->at[starter] = whole;
                continue;
            }
        }
        if (!value) starter = count;
        last = value;
        runes->at[count++] = rune;
    }
    runes->count = count;
}

swan_status swan_unicode_nfc(const swan_runes *in, swan_runes *out)
{
    uint32_t highest = 0;
    for (size_t i = 0; i < in->count; i++)
        if (in->at[i] > highest) highest = in->at[i];
    out->count = 0;
    if (highest < 0x300) return swan_runes_append(out, in->at, in->count); /* nothing below combines or decomposes */
    for (size_t i = 0; i < in->count; i++) SWAN_TRY(decompose(in->at[i], out));
    order(out);
    compose(out);
    return SWAN_OK;
}
