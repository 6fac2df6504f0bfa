/* A precompiled_charsmap is: u32 bytes of the trie; the trie, a darts-clone double array of u32 units; replacements,
 * each with a NUL. All little endian. A unit: bit 31 set: a value (bits 0..30: offset into the replacements); else bits
 * 0..7 label, bit 8 has a value, bits 10..30 offset, shifted left by 8 more when bit 9 is set.
 *
 * The library walks it unchecked: base(0) = offset(0); for each byte c of the text: unit = base ^ c, stop unless its
 * label is c, base' = unit ^ offset(unit); when the unit has a value it lies at base'. So the whole walk is inside the
 * array when, for every unit that can be reached, the 256 units around its base are. */
#include "tok/spiece_check.h"

#include <stdlib.h>

#include "tok/unicode.h"

/* Normalizer::kMaxTrieResultsSize: the library keeps so many matches at one position and reads as many as there are. */
#define MAX_RESULTS 32

typedef struct trie {
    const unsigned char *units;
    uint32_t count;
    const unsigned char *values; /* replacements */
    size_t values_size;
    size_t at; /* of units, in the file */
    const char *name;
    unsigned char *state;   /* per unit: 0 new, 1 on the walk's path, 2 done */
    unsigned char *results; /* per done unit: most values on a way from it, its own included */
    uint32_t *path;         /* units from the root to here */
    unsigned char *next;    /* per path entry: next label to try, and */
    unsigned char *over;    /* whether all were tried */
} trie;

static uint32_t read_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t unit_at(const trie *t, uint32_t index) { return read_u32(t->units + 4 * (size_t)index); }
static uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }
static bool has_value(uint32_t unit) { return unit >> 8 & 1; }

#define TRIE_FAIL(t, index, ...) charsmap_fail(t, index, swan_status_fail(SWAN_E_FORMAT, __VA_ARGS__))
static swan_status charsmap_fail(const trie *t, uint32_t index, swan_status status)
{
    return swan_status_prefix(status, "%s: byte %zu: normaliser trie, unit %u", t->name, t->at + 4 * (size_t)index,
                              (unsigned)index);
}

/* What the library may read once it stands at a unit: the block of its base, and its value. */
static swan_status check_unit(const trie *t, uint32_t index)
{
    uint32_t unit = unit_at(t, index), base = index ^ offset_of(unit);
    if ((base | 0xFF) >= t->count)
        return TRIE_FAIL(t, index, "wanted children inside %u units, found a base of %u", (unsigned)t->count,
                         (unsigned)base);
    if (!index || !has_value(unit)) return SWAN_OK;
    uint32_t value = unit_at(t, base) & 0x7FFFFFFFu;
    if (value >= t->values_size)
        return TRIE_FAIL(t, index, "wanted a replacement inside %zu bytes, found offset %u", t->values_size,
                         (unsigned)value);
    if ((t->values[value] & 0xC0) == 0x80)
        return TRIE_FAIL(t, index, "wanted a replacement that starts a character, found offset %u", (unsigned)value);
    return SWAN_OK;
}

/* Depth first over every unit that some text without NUL reaches (units may share children: each is walked once). */
static swan_status walk(trie *t)
{
    size_t depth = 0;
    SWAN_TRY(check_unit(t, 0));
    t->path[0] = 0, t->next[0] = 1, t->over[0] = 0, t->state[0] = 1;
    for (;;) {
        uint32_t index = t->path[depth], base = index ^ offset_of(unit_at(t, index));
        if (!t->over[depth]) {
            uint32_t label = t->next[depth]++, child = base ^ label;
            t->over[depth] = label == 255;
            if ((unit_at(t, child) & 0x800000FFu) != label) continue;
            if (t->state[child] == 1) return TRIE_FAIL(t, child, "wanted a tree, found a way back to it");
            if (t->state[child] == 0) {
                SWAN_TRY(check_unit(t, child));
                t->path[++depth] = child;
                t->next[depth] = 1, t->over[depth] = 0;
                t->state[child] = 1;
                continue;
            }
            if (t->results[child] > t->results[index]) t->results[index] = t->results[child];
            continue;
        }
        t->results[index] = (unsigned char)(t->results[index] + (index && has_value(unit_at(t, index)) ? 1 : 0));
        t->state[index] = 2;
        if (t->results[index] > MAX_RESULTS)
            return TRIE_FAIL(t, index, "wanted at most %d rules that are prefixes of each other, found more",
                             MAX_RESULTS);
        if (!depth) return SWAN_OK;
        uint32_t parent = t->path[--depth];
        if (t->results[index] > t->results[parent]) t->results[parent] = t->results[index];
    }
}

static swan_status walk_allocated(trie *t)
{
    t->state = calloc(t->count, 1);
    t->results = calloc(t->count, 1);
    t->path = malloc(sizeof *t->path * t->count);
    t->next = malloc(t->count);
    t->over = malloc(t->count);
    bool ok = t->state && t->results && t->path && t->next && t->over;
    swan_status status =
        ok ? walk(t) : SWAN_FAIL(SWAN_E_NOMEM, "%s: no memory to check %u trie units", t->name, (unsigned)t->count);
    free(t->state);
    free(t->results);
    free(t->path);
    free(t->next);
    free(t->over);
    return status;
}

swan_status swan_charsmap_check(const unsigned char *data, size_t size, size_t at, const char *name)
{
    if (size < 5)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: byte %zu: wanted a normaliser map, found %zu bytes", name, at, size);
    uint32_t bytes = read_u32(data);
    if (bytes % 4 || bytes < 4 * 256 || bytes >= size - 4)
        return SWAN_FAIL(SWAN_E_FORMAT,
                         "%s: byte %zu: wanted a trie of 4 n bytes, 1024 at least and fewer than %zu, found %u", name,
                         at, size - 4, (unsigned)bytes);
    trie t = {.units = data + 4,
              .count = bytes / 4,
              .values = data + 4 + bytes,
              .values_size = size - 4 - bytes,
              .at = at + 4,
              .name = name};
    size_t values_at = at + 4 + bytes, valid = swan_utf8_valid((const char *)t.values, t.values_size);
    if (valid < t.values_size)
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: byte %zu: wanted UTF-8 in the normaliser's replacements, found 0x%02X",
                         name, values_at + valid, t.values[valid]);
    if (t.values[t.values_size - 1])
        return SWAN_FAIL(SWAN_E_FORMAT, "%s: byte %zu: wanted a NUL behind the last replacement, found 0x%02X", name,
                         values_at + t.values_size - 1, t.values[t.values_size - 1]);
    return walk_allocated(&t);
}
