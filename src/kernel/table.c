#include "kernel/table.h"

#include <stdio.h>
#include <string.h>

/* ---- the list, read three times: prototypes, rows, and nothing else ---- */

#define ROW(family, slot, format, variant, run, picked, tested, cpu)                                                   \
    extern swan_status run(swan_stream *, const swan_##family##_##slot##_args *);
#define ROW_WS(family, slot, format, variant, run, workspace, picked, tested, cpu)                                     \
    extern swan_status run(swan_stream *, const swan_##family##_##slot##_args *);                                      \
    extern size_t workspace(const swan_##family##_##slot##_args *, const swan_stream *);
#include "kernel/kernels.def"
#undef ROW
#undef ROW_WS

typedef void any_function(void);

static const swan_kernel_row rows[] = {
#define ROW(family, slot, format, variant, run, picked, tested, cpu)                                                   \
    {#family, #slot, #variant, SWAN_SLOT_##family##_##slot, SWAN_##format, picked, tested, cpu, (any_function *)(run), NULL},
#define ROW_WS(family, slot, format, variant, run, workspace, picked, tested, cpu)                                     \
    {#family, #slot, #variant, SWAN_SLOT_##family##_##slot, SWAN_##format, picked, tested, cpu,                        \
     (any_function *)(run), (any_function *)(workspace)},
#include "kernel/kernels.def"
#undef ROW
#undef ROW_WS
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

const swan_kernel_row *swan_kernel_row_at(size_t i) { return i < ROW_COUNT ? &rows[i] : NULL; }

unsigned swan_kernel_cpu_features(void)
{
    unsigned features = 0;
#if defined(__x86_64__) || defined(__i386__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        features |= SWAN_CPU_AVX2;
    if (features && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        features |= SWAN_CPU_AVX512;
#endif
    return features;
}

static void fill(swan_kernels *k, const swan_kernel_row *row)
{
    switch (row->id) {
#define FILL(family_, slot_)                                                                                           \
    case SWAN_SLOT_##family_##_##slot_:                                                                                \
        k->family_##_##slot_.run =                                                                                     \
            (swan_status(*)(swan_stream *, const swan_##family_##_##slot_##_args *))row->run;                          \
        k->family_##_##slot_.workspace =                                                                               \
            (size_t(*)(const swan_##family_##_##slot_##_args *, const swan_stream *))row->workspace;                   \
        k->family_##_##slot_.row = row;                                                                                \
        break;
        SWAN_SLOTS(FILL)
#undef FILL
    case SWAN_SLOT_COUNT: break;
    }
}

const swan_kernel_row *swan_kernels_row(const swan_kernels *k, swan_slot slot)
{
    switch (slot) {
#define GET(family_, slot_)                                                                                            \
    case SWAN_SLOT_##family_##_##slot_: return k->family_##_##slot_.row;
        SWAN_SLOTS(GET)
#undef GET
    case SWAN_SLOT_COUNT: break;
    }
    return NULL;
}

static bool usable(const swan_kernel_row *row, const swan_kernels *k, unsigned cpu_features)
{
    return (row->picked & k->arch) && row->format == k->format && (row->cpu & ~cpu_features) == 0;
}

/* Is text[0 .. n) "family.slot" of this row? */
static bool names_slot(const swan_kernel_row *row, const char *text, size_t n)
{
    size_t family = strlen(row->family), slot = strlen(row->slot);
    return n == family + 1 + slot && !memcmp(text, row->family, family) && text[family] == '.' &&
           !memcmp(text + family + 1, row->slot, slot);
}

/* One "family.slot=variant". A row may be forced whose format is right even where it is not picked by itself, as long as
 * it has been tested on this architecture and the processor can run it. */
static swan_status override_one(swan_kernels *k, const char *text, size_t n, unsigned cpu_features)
{
    const char *equals = memchr(text, '=', n);
    if (!equals)
        return SWAN_FAIL(SWAN_E_INVALID, "kernels: \"%.*s\" is not family.slot=variant (see: swan kernels)", (int)n, text);
    size_t left = (size_t)(equals - text), right = n - left - 1;
    const char *variant = equals + 1;
    char known[256] = "";
    bool slot_exists = false;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const swan_kernel_row *row = &rows[i];
        if (!names_slot(row, text, left)) continue;
        slot_exists = true;
        if (row->format != k->format || !((row->picked | row->tested) & k->arch) || (row->cpu & ~cpu_features)) continue;
        if (strlen(row->variant) == right && !memcmp(row->variant, variant, right)) {
            fill(k, row);
            return SWAN_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", row->variant);
    }
    if (!slot_exists)
        return SWAN_FAIL(SWAN_E_INVALID, "kernels: there is no slot \"%.*s\" (see: swan kernels)", (int)left, text);
    return SWAN_FAIL(SWAN_E_INVALID, "kernels: %.*s has no variant \"%.*s\" on this device; there is: %s", (int)left, text,
                     (int)right, variant, known[0] ? known : "none");
}

swan_status swan_kernels_pick(unsigned arch, swan_dtype format, unsigned cpu_features, const char *overrides,
                              swan_kernels *out)
{
    *out = (swan_kernels){.arch = arch, .format = format};
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (usable(&rows[i], out, cpu_features)) fill(out, &rows[i]);
    for (const char *at = overrides; at && *at;) {
        size_t n = strcspn(at, ",");
        if (n) SWAN_TRY(override_one(out, at, n, cpu_features));
        at += n + (at[n] == ',');
    }
    return SWAN_OK;
}
