#include "tok/clean.h"

#include <stdlib.h>
#include <string.h>

#include "tok/entities.h"
#include "tok/unicode.h"

/* Windows-1252 at 0x80..0x9F; its five holes stay C1 controls. */
static const uint32_t windows_1252[32] = {
    0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
    0x2039, 0x152,  0x8D,   0x17D,  0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178,
};

static bool is_digit(uint32_t c) { return c - '0' < 10; }
static bool is_letter(uint32_t c) { return (c | 32) - 'a' < 26; }

/* Python's str.isspace, which is also what \s matches. */
static bool is_space(uint32_t c)
{
    return c - 9 < 5 || c - 0x1C < 5 || c == 0x85 || c == 0xA0 || c == 0x1680 || c - 0x2000 < 11 || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* \d: a decimal digit of any script. */
static bool is_any_digit(uint32_t c)
{
    if (c < 0x80) return is_digit(c);
    size_t low = 0, high = swan_unicode_digits_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (swan_unicode_digits[middle] <= c)
            low = middle;
        else
            high = middle;
    }
    return c - swan_unicode_digits[low] < 10;
}

/* ---- character references ---------------------------------------------------------------------------------------- */

/* The entry whose name is exactly these count code points, or NULL. */
static const swan_entity *find_entity(const swan_entity *table, size_t entries, const uint32_t *name, size_t count)
{
    size_t low = 0, high = entries;
    while (low < high) {
        size_t middle = (low + high) / 2, i = 0;
        const unsigned char *entry = (const unsigned char *)table[middle].name;
        while (i < count && entry[i] == name[i]) i++; /* stops at the entry's NUL: no name holds one */
        if (i == count && !entry[i]) return &table[middle];
        if (i < count && entry[i] < name[i])
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static swan_status push_entity(swan_runes *out, const swan_entity *entity)
{
    size_t count = 1;
    while (count < 3 && entity->to[count]) count++;
    return swan_runes_append(out, entity->to, count);
}

/* A numeric reference "#123;" or "#x7B;" at `at`. Returns the code points it takes (0: none is here), ';' included when
 * there. *rune is its character by the HTML standard's rules, SWAN_NO_RUNE where html.unescape drops it. */
#define SWAN_NO_RUNE UINT32_MAX
static size_t read_numeric(const uint32_t *at, const uint32_t *end, uint32_t *rune)
{
    const uint32_t *p = at;
    if (p == end || *p++ != '#') return 0;
    bool hex = p < end && (*p | 32) == 'x';
    const uint32_t *first = hex ? ++p : p;
    uint32_t value = 0;
    for (; p < end && (is_digit(*p) || (hex && (*p | 32) - 'a' < 6)); p++) {
        uint32_t digit = is_digit(*p) ? *p - '0' : (*p | 32) - 'a' + 10;
        value = value > 0x10FFFF ? value : value * (hex ? 16 : 10) + digit;
    }
    if (p == first) return 0;
    if (p < end && *p == ';') p++;
    bool dropped = value - 1 < 8 || value == 0xB || value - 0xE < 18 || value == 0x7F || value - 0xFDD0 < 32 ||
                   (value & 0xFFFE) == 0xFFFE;
    if (value == 0 || value - 0xD800 < 0x800 || value > 0x10FFFF)
        *rune = 0xFFFD;
    else if (value - 0x80 < 32)
        *rune = windows_1252[value - 0x80];
    else
        *rune = dropped ? SWAN_NO_RUNE : value;
    return (size_t)(p - at);
}

/* Python's html.unescape: names may lack their semicolon where HTML allows it, the longest known name wins. */
static swan_status unescape_html(const swan_runes *in, swan_runes *out)
{
    const uint32_t *at = in->at, *end = in->at + in->count;
    while (at < end) {
        uint32_t rune = *at++;
        if (rune != '&') {
            SWAN_TRY(swan_runes_push(out, rune));
            continue;
        }
        size_t taken = read_numeric(at, end, &rune);
        if (taken) {
            if (rune != SWAN_NO_RUNE) SWAN_TRY(swan_runes_push(out, rune));
            at += taken;
            continue;
        }
        size_t length = 0;
        const swan_entity *entity = NULL;
        while (length < SWAN_ENTITY_NAME_MAX && at + length < end && (is_letter(at[length]) || is_digit(at[length])))
            length++;
        if (length < SWAN_ENTITY_NAME_MAX && at + length < end && at[length] == ';') length++;
        for (; length > 1; length--)
            if ((entity = find_entity(swan_entities, swan_entities_count, at, length)) != NULL) break;
        if (!entity)
            SWAN_TRY(swan_runes_push(out, '&'));
        else
            SWAN_TRY(push_entity(out, entity));
        at += entity ? length : 0;
    }
    return SWAN_OK;
}

/* ftfy's unescape_html: only what ends in ';' and has at most 24 letters or digits; all-capitals names too. */
static swan_status unescape_strict(const swan_runes *in, swan_runes *out)
{
    const uint32_t *at = in->at, *end = in->at + in->count;
    while (at < end) {
        uint32_t rune = *at++;
        bool numeric = rune == '&' && at < end && *at == '#';
        size_t length = numeric, taken = 0;
        while (rune == '&' && length - numeric < 25 && at + length < end &&
               (is_letter(at[length]) || is_digit(at[length])))
            length++;
        bool whole = length > numeric && length - numeric < 25 && at + length < end && at[length] == ';';
        if (whole && numeric) {
            uint32_t value = 0;
            taken = read_numeric(at, end, &value);
            if (taken == length + 1 && value != ';') { /* ftfy takes a ';' in the result for an incomplete match */
                if (value != SWAN_NO_RUNE) SWAN_TRY(swan_runes_push(out, value));
                at += taken;
                continue;
            }
        } else if (whole) {
            const swan_entity *entity = find_entity(swan_entities, swan_entities_count, at, length + 1);
            if (!entity) entity = find_entity(swan_entities_upper, swan_entities_upper_count, at, length + 1);
            if (entity) {
                SWAN_TRY(push_entity(out, entity));
                at += length + 1;
                continue;
            }
        }
        SWAN_TRY(swan_runes_push(out, rune));
    }
    return SWAN_OK;
}

/* ---- the other steps of ftfy ------------------------------------------------------------------------------------- */

static const struct {
    uint32_t from, to[3];
} ligatures[] = {
    {0x132, {'I', 'J'}},    {0x133, {'i', 'j'}},   {0x149, {0x2BC, 'n'}},     {0x1C4, {'D', 0x17D}},
    {0x1C5, {'D', 0x17E}},  {0x1C6, {'d', 0x17E}}, {0x1C7, {'L', 'J'}},       {0x1C8, {'L', 'j'}},
    {0x1C9, {'l', 'j'}},    {0x1CA, {'N', 'J'}},   {0x1CB, {'N', 'j'}},       {0x1CC, {'n', 'j'}},
    {0x1F1, {'D', 'Z'}},    {0x1F2, {'D', 'z'}},   {0x1F3, {'d', 'z'}},       {0xFB00, {'f', 'f'}},
    {0xFB01, {'f', 'i'}},   {0xFB02, {'f', 'l'}},  {0xFB03, {'f', 'f', 'i'}}, {0xFB04, {'f', 'f', 'l'}},
    {0xFB05, {0x17F, 't'}}, {0xFB06, {'s', 't'}},
};

/* fix_latin_ligatures; C1 controls, which ftfy reads as Windows-1252 just before, go first. */
static swan_status split_ligatures(const swan_runes *in, swan_runes *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t rune = in->at[i];
        if (rune - 0x80 < 32) rune = windows_1252[rune - 0x80];
        size_t k = 0, count = sizeof ligatures / sizeof ligatures[0];
        if (rune < 0x132) k = count;
        while (k < count && ligatures[k].from != rune) k++;
        if (k == count) SWAN_TRY(swan_runes_push(out, rune));
        for (size_t j = 0; k < count && j < 3 && ligatures[k].to[j]; j++)
            SWAN_TRY(swan_runes_push(out, ligatures[k].to[j]));
    }
    return SWAN_OK;
}

/* fix_character_width, then uncurl_quotes: each looks at one character at a time. */
static swan_status widths_and_quotes(const swan_runes *in, swan_runes *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t rune = in->at[i], second = 0;
        if (rune == 0x3000)
            rune = ' ';
        else if (rune >= 0xFF01 && rune - 0xFF01 < swan_unicode_widths_count &&
                 swan_unicode_widths[rune - 0xFF01].to[0]) {
            second = swan_unicode_widths[rune - 0xFF01].to[1];
            rune = swan_unicode_widths[rune - 0xFF01].to[0];
        }
        if (rune == 0x2BC || rune - 0x2018 < 4)
            rune = '\'';
        else if (rune - 0x201C < 4)
            rune = '"';
        SWAN_TRY(swan_runes_push(out, rune));
        if (second) SWAN_TRY(swan_runes_push(out, second));
    }
    return SWAN_OK;
}

/* fix_line_breaks. U+0085 cannot get here: it was read as Windows-1252. */
static swan_status line_breaks(const swan_runes *in, swan_runes *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t rune = in->at[i];
        if (rune == '\r' && i + 1 < in->count && in->at[i + 1] == '\n') continue;
        SWAN_TRY(swan_runes_push(out, rune == '\r' || rune == 0x2028 || rune == 0x2029 ? '\n' : rune));
    }
    return SWAN_OK;
}

/* remove_terminal_escapes: ESC [ digits and semicolons, one letter. */
static swan_status terminal_escapes(const swan_runes *in, swan_runes *out)
{
    for (size_t i = 0; i < in->count; i++) {
        size_t end = i + 2;
        if (in->at[i] == 0x1B && end < in->count && in->at[i + 1] == '[') {
            while (end < in->count && (in->at[end] == ';' || is_any_digit(in->at[end]))) end++;
            if (end < in->count && is_letter(in->at[end])) {
                i = end;
                continue;
            }
        }
        SWAN_TRY(swan_runes_push(out, in->at[i]));
    }
    return SWAN_OK;
}

/* remove_control_chars */
static swan_status control_characters(const swan_runes *in, swan_runes *out)
{
    for (size_t i = 0; i < in->count; i++) {
        uint32_t c = in->at[i];
        bool control =
            c < 9 || c == 0xB || c - 0xE < 18 || c == 0x7F || c - 0x206A < 6 || c == 0xFEFF || c - 0xFFF9 < 4;
        if (!control) SWAN_TRY(swan_runes_push(out, c));
    }
    return SWAN_OK;
}

static swan_status collapse_space(const swan_runes *in, swan_runes *out)
{
    bool gap = false;
    for (size_t i = 0; i < in->count; i++) {
        bool space = is_space(in->at[i]);
        if (!space && gap && out->count) SWAN_TRY(swan_runes_push(out, ' '));
        if (!space) SWAN_TRY(swan_runes_push(out, in->at[i]));
        gap = space;
    }
    return SWAN_OK;
}

/* ---- in order ---------------------------------------------------------------------------------------------------- */

typedef swan_status step(const swan_runes *in, swan_runes *out);

/* Runs one step on *text; spare is its scratch and holds the text before it afterwards. */
static swan_status apply(step *run, swan_runes *text, swan_runes *spare)
{
    spare->count = 0;
    SWAN_TRY(run(text, spare));
    swan_runes swapped = *text;
    *text = *spare;
    *spare = swapped;
    return SWAN_OK;
}

/* ftfy.fix_and_explain without fix_encoding, on one line: every step in ftfy's order, until nothing changes. */
static swan_status fix_line(swan_runes *line, bool unescape, swan_runes *before, swan_runes *spare)
{
    step *const steps[] = {unescape_strict,  split_ligatures,    widths_and_quotes, line_breaks,
                           terminal_escapes, control_characters, swan_unicode_nfc};
    for (;;) {
        before->count = 0;
        SWAN_TRY(swan_runes_append(before, line->at, line->count));
        for (size_t i = unescape ? 0 : 1; i < sizeof steps / sizeof steps[0]; i++)
            SWAN_TRY(apply(steps[i], line, spare));
        bool same = line->count == before->count;
        if (same && (!line->count || !memcmp(line->at, before->at, line->count * sizeof *line->at))) return SWAN_OK;
    }
}

enum { TEXT, FIXED, LINE, BEFORE, SPARE, BUFFERS };

/* ftfy.fix_text: line by line; a '<' means HTML, whose entities ftfy leaves alone from that line on. */
static swan_status fix_lines(swan_runes *buffers)
{
    const swan_runes *text = &buffers[TEXT];
    bool unescape = true;
    for (size_t at = 0, end; at < text->count; at = end) {
        for (end = at; end < text->count && text->at[end] != '\n'; end++)
            if (text->at[end] == '<') unescape = false;
        if (end < text->count) end++;
        buffers[LINE].count = 0;
        SWAN_TRY(swan_runes_append(&buffers[LINE], text->at + at, end - at));
        SWAN_TRY(fix_line(&buffers[LINE], unescape, &buffers[BEFORE], &buffers[SPARE]));
        SWAN_TRY(swan_runes_append(&buffers[FIXED], buffers[LINE].at, buffers[LINE].count));
    }
    return SWAN_OK;
}

static swan_status clean(const char *utf8, size_t n, swan_runes *buffers, char **out)
{
    SWAN_TRY(swan_runes_decode(&buffers[TEXT], utf8, n));
    SWAN_TRY(fix_lines(buffers));
    SWAN_TRY(apply(unescape_html, &buffers[FIXED], &buffers[SPARE]));
    SWAN_TRY(apply(unescape_html, &buffers[FIXED], &buffers[SPARE]));
    SWAN_TRY(apply(collapse_space, &buffers[FIXED], &buffers[SPARE]));
    return swan_runes_encode(&buffers[FIXED], out);
}

swan_status swan_prompt_clean(const char *utf8, size_t n, char **out)
{
    *out = NULL;
    if (n > SWAN_PROMPT_MAX_BYTES)
        return SWAN_FAIL(SWAN_E_INVALID, "the prompt has %zu bytes, at most %u are taken", n, SWAN_PROMPT_MAX_BYTES);
    size_t valid = swan_utf8_valid(utf8, n);
    const char *nul = n ? memchr(utf8, 0, valid) : NULL;
    if (nul) return SWAN_FAIL(SWAN_E_INVALID, "the prompt has a NUL at byte %zu", (size_t)(nul - utf8));
    if (valid < n)
        return SWAN_FAIL(SWAN_E_INVALID, "the prompt is not valid UTF-8 at byte %zu (0x%02X)", valid,
                         (unsigned char)utf8[valid]);
    swan_runes buffers[BUFFERS] = {{0}};
    swan_status status = clean(utf8, n, buffers, out);
    for (int i = 0; i < BUFFERS; i++) swan_runes_free(&buffers[i]);
    return status;
}
