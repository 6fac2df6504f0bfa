/* Unicode: code point buffers, strict UTF-8, and normalisation form C. */
#ifndef SWAN_TOK_UNICODE_H
#define SWAN_TOK_UNICODE_H

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A growable array of code points. All zero is a valid empty one; swan_runes_free leaves it so. */
typedef struct swan_runes {
    uint32_t *at;
    size_t count, capacity;
} swan_runes;

void swan_runes_free(swan_runes *runes);
/* Appends one code point or an array of them (which must not lie in runes itself). SWAN_E_NOMEM on failure. */
swan_status swan_runes_push(swan_runes *runes, uint32_t rune);
swan_status swan_runes_append(swan_runes *runes, const uint32_t *from, size_t count);

/* Length in bytes of the longest prefix that is valid UTF-8 (n when all is): overlong forms, surrogates and anything
 * above U+10FFFF are invalid, NUL is valid. */
size_t swan_utf8_valid(const char *utf8, size_t n);
/* Replaces runes by the code points of n bytes of UTF-8. Those must be valid, see swan_utf8_valid. */
swan_status swan_runes_decode(swan_runes *runes, const char *utf8, size_t n);
/* Writes runes as a NUL-terminated string, malloc'd, freed by the caller. */
swan_status swan_runes_encode(const swan_runes *runes, char **utf8);

/* Replaces out by in, normalised to form C (UAX #15: decompose canonically, order by combining class, compose). */
swan_status swan_unicode_nfc(const swan_runes *in, swan_runes *out);

/* ---- data, all sorted; unicode_table.c --------------------------------------------------------------------------- */

typedef struct swan_unicode_class {
    uint32_t first, last; /* a run of code points of one canonical combining class, never 0 */
    uint32_t value;
} swan_unicode_class;
extern const swan_unicode_class swan_unicode_classes[];
extern const size_t swan_unicode_classes_count;

/* whole decomposes canonically, in one step, to a then b (b = 0: to a alone). Hangul syllables are not listed. */
typedef struct swan_unicode_pair {
    uint32_t whole, a, b;
} swan_unicode_pair;
extern const swan_unicode_pair swan_unicode_decompositions[]; /* by whole */
extern const size_t swan_unicode_decompositions_count;
extern const swan_unicode_pair swan_unicode_composites[]; /* by a, then b: those that form C puts together */
extern const size_t swan_unicode_composites_count;

/* Entry i is for U+FF01 + i, the half-width and full-width forms: their usual form, all zero when it has none. */
typedef struct swan_unicode_width {
    uint32_t to[2];
} swan_unicode_width;
extern const swan_unicode_width swan_unicode_widths[];
extern const size_t swan_unicode_widths_count;

/* The zero of each set of decimal digits; the nine others follow it. */
extern const uint32_t swan_unicode_digits[];
extern const size_t swan_unicode_digits_count;

#ifdef __cplusplus
}
#endif
#endif
