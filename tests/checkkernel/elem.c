/* elem.combine, elem.map */
#include <math.h>

#include "base/half.h"
#include "check.h"

/* ---- combine ---- */

static void combine_one(check *c, int64_t n, int terms, int alias, bool round_bf16, check_fill fill)
{
    if (!check_begin(c, "n=%ld terms=%d alias=%d%s %s", (long)n, terms, alias, round_bf16 ? " to bf16" : "", check_fill_name(fill)))
        return;
    check_buf *x[SWAN_COMBINE_MAX], *y = NULL;
    swan_elem_combine_args a = {.terms = terms, .round_bf16 = round_bf16, .n = n};
    for (int k = 0; k < terms; k++) {
        x[k] = check_new(c, k == alias ? CHECK_INOUT : CHECK_IN, SWAN_F32, 1, n, 0);
        check_put(c, x[k], k % 2 ? CHECK_RANDOM : fill, 1);
        a.x[k] = x[k]->data;
        a.coefficient[k] = check_normal(c);
        if (k == alias) y = x[k];
    }
    if (!y) y = check_new(c, CHECK_OUT, SWAN_F32, 1, n, 0);
    a.y = y->data;
    for (int64_t i = 0; i < n; i++) {
        if (!check_wants(c, i, n, 100000)) continue;
        double want = 0, size = 0;
        for (int k = terms - 1; k >= 0; k--) { /* the other way round than one would write it */
            want += a.coefficient[k] * x[k]->f[i];
            size += fabs(a.coefficient[k] * x[k]->f[i]);
        }
        /* products and sum in fp64, one rounding at the end (to bf16: of the rounded f32) */
        double ulp = check_ulp(SWAN_F32, want), rounding = round_bf16 ? (check_ulp(SWAN_BF16, want) + ulp) / 2 : ulp / 2;
        check_within(c, y, 0, i, want, rounding * (1 + 1e-9) + 0x1p-50 * size);
    }
    check_work(c, 2.0 * (double)(n * terms), 4.0 * (double)(n * (terms + 1)));
    check_run(c, &a, NULL);
    for (int64_t i = 0; round_bf16 && !c->bench && i < n; i++) {
        if (!(swan_f32_bits((float)check_now(y, 0, i)) & 0xFFFFu)) continue;
        check_fail(c, "[%ld]: %.9g is not a bf16", (long)i, check_now(y, 0, i));
        break;
    }
}

void check_elem_combine(check *c)
{
    static const int64_t extra[] = {1000, 4095, 4096, 4097, 10000};
    for (int i = 0; !c->bench && i < 2 * (CHECK_SIZES + 5); i++) {
        int64_t n = i / 2 < CHECK_SIZES ? check_sizes[i / 2] : extra[i / 2 - CHECK_SIZES];
        int terms = i % SWAN_COMBINE_MAX + 1;
        combine_one(c, n, terms, i % 2 ? (int)check_between(c, 0, terms - 1) : -1, i % 5 == 2, (check_fill)(i % CHECK_FILLS));
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "elem.combine", &at));)
        combine_one(c, check_get(line, "n", 1), (int)check_get(line, "terms", 2), -1, false, CHECK_RANDOM);
}

/* ---- map ---- */

/* Rounding to bf16: the code below and the code above, the nearer one, even on a tie. By the definition, not by the bits. */
static double to_bf16(float x)
{
    if (x == 0 || !isfinite(x)) return x;
    int exponent;
    frexp(x, &exponent);
    double unit = ldexp(1, exponent - 8 < -133 ? -133 : exponent - 8), n = x / unit;
    double rounded = rint(n) * unit; /* nearest even, the default mode */
    return fabs(rounded) >= 0x1p128 ? copysign(INFINITY, rounded) : rounded;
}

static void map_expect(check *c, check_buf *y, swan_map map, int64_t i, float x)
{
    double want;
    switch (map) {
    case SWAN_MAP_SILU: /* x is the magnitude: the factor in (0, 1) carries an absolute error */
        want = x * (1 / (1 + exp(-(double)x)));
        check_value(c, y, 0, i, want, x / (1 + expf(-x)), fabsf(x));
        break;
    case SWAN_MAP_CLAMP_TANH3:
        want = 3 * tanh(x / 3.0);
        check_value(c, y, 0, i, want, 3 * tanhf(x / 3), fabs(want));
        break;
    default:
        want = to_bf16(x);
        check_within(c, y, 0, i, want, 0);
        break;
    }
}

/* ties: every kind of fraction for the rounding; infinities. */
static void map_special(check_buf *x, int64_t i)
{
    static const uint32_t bits[] = {0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x3F818001, 0x3F817FFF, 0x7F7F8000, 0x7F7F7FFF,
                                    0x00008000, 0x00018000, 0x80018000, 0x00000001, 0x80000000, 0x7F800000, 0xFF800000, 0x7F7FFFFF};
    check_set(x, 0, i, swan_f32_from_bits(bits[i % 16]));
}

static void map_one(check *c, swan_map map, int64_t n, bool in_place, check_fill fill, double magnitude)
{
    static const char *const names[SWAN_MAP_COUNT] = {"silu", "clamp_tanh3", "round_bf16"};
    if (!check_begin(c, "%s n=%ld%s %s x%g", names[map], (long)n, in_place ? " in place" : "", check_fill_name(fill), magnitude))
        return;
    swan_dtype format = c->row->format;
    check_buf *x = check_new(c, in_place ? CHECK_INOUT : CHECK_IN, format, 1, n, 0);
    check_put(c, x, fill, magnitude);
    for (int64_t i = 0; map == SWAN_MAP_ROUND_BF16 && fill == CHECK_EQUAL && i < n; i++) map_special(x, i);
    check_buf *y = in_place ? x : check_new(c, CHECK_OUT, format, 1, n, 0);
    for (int64_t i = 0; i < n; i++)
        if (check_wants(c, i, n, 100000)) map_expect(c, y, map, i, x->f[i]);
    check_work(c, 0, 2 * check_size(c) * (double)n);
    swan_elem_map_args a = {.x = x->data, .y = y->data, .n = n, .map = map};
    check_run(c, &a, NULL);
}

void check_elem_map(check *c)
{
    static const int64_t extra[] = {1000, 4095, 4096, 4097, 10000};
    for (int i = 0; !c->bench && i < 3 * (CHECK_SIZES + 5); i++) {
        int64_t n = i / 3 < CHECK_SIZES ? check_sizes[i / 3] : extra[i / 3 - CHECK_SIZES];
        map_one(c, (swan_map)(i % 3), n, i / 3 % 2, CHECK_RANDOM, 3);
    }
    double large = c->row->format == SWAN_F16 ? 0.03 : 3; /* f16 ends at 65,504 */
    for (int i = 0; !c->bench && i < 3 * CHECK_FILLS; i++)
        map_one(c, (swan_map)(i % 3), 333, false, (check_fill)(i / 3), i / 3 == CHECK_OFFSET ? 0.1 : i / 3 == CHECK_LARGE ? large : 3);
    for (int map = 0; !c->bench && map < SWAN_MAP_COUNT; map++) map_one(c, (swan_map)map, 2000, false, CHECK_RANDOM, 40);
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "elem.map", &at));)
        for (int map = 0; map < SWAN_MAP_COUNT; map++) map_one(c, (swan_map)map, check_get(line, "n", 1), false, CHECK_RANDOM, 3);
}
