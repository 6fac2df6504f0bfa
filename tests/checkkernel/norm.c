/* norm.layer, norm.rms */
#include <math.h>

#include "check.h"

typedef struct shape {
    int64_t L, D, head_dim, pad;
    bool in_place, rope, affine;
    check_fill fill;
    float eps;
    int64_t tile; /* rms: rows of a tile whose mean is wanted, RAGGED or 0 */
} shape;
enum { RAGGED = -1 };

static void layer_row(check *c, const shape *s, check_buf *const b[4], int64_t l, float offset)
{
    const float *x = b[0]->f + l * s->D, *scale = b[1]->f, *shift = b[2]->f;
    double sum = 0, size = 0, squares = 0, D = (double)s->D;
    float twin_sum = 0, twin_squares = 0;
    for (int64_t d = 0; d < s->D; d++) {
        sum += x[d];
        size += fabsf(x[d]);
        twin_sum += x[d];
    }
    double mean = sum / D;
    float twin_mean = twin_sum / (float)s->D;
    for (int64_t d = 0; d < s->D; d++) {
        squares += pow(x[d] - mean, 2);
        twin_squares += (x[d] - twin_mean) * (x[d] - twin_mean);
    }
    double inverse = 1 / sqrt(squares / D + s->eps);
    float twin_inverse = 1 / sqrtf(twin_squares / (float)s->D + s->eps);
    for (int64_t d = 0; d < s->D; d++) {
        double factor = (double)scale[d] + offset;
        check_value(c, b[3], l, d, (x[d] - mean) * inverse * factor + shift[d],
                    (x[d] - twin_mean) * twin_inverse * (scale[d] + offset) + shift[d],
                    (fabsf(x[d]) + size / D) * inverse * (fabsf(scale[d]) + offset) + fabsf(shift[d]));
    }
}

/* x, and y: the same buffer when in place. */
static void open_xy(check *c, const shape *s, double magnitude, check_buf **x, check_buf **y)
{
    swan_dtype format = c->row->format;
    *x = check_new(c, s->in_place ? CHECK_INOUT : CHECK_IN, format, s->L, s->D, s->pad);
    check_put(c, *x, s->fill, magnitude);
    *y = s->in_place ? *x : check_new(c, CHECK_OUT, format, s->L, s->D, s->pad ? s->pad + 2 : 0);
}

static void layer_one(check *c, const shape *s)
{
    if (!check_begin(c, "L=%ld D=%ld %s eps=%g pad=%ld%s %s", (long)s->L, (long)s->D, s->affine ? "affine" : "modulated",
                     (double)s->eps, (long)s->pad, s->in_place ? " in place" : "", check_fill_name(s->fill)))
        return;
    check_buf *x, *y;
    open_xy(c, s, 1.7, &x, &y);
    check_buf *scale = check_vector(c, s->D, 0.4), *shift = check_vector(c, s->D, 0.4);
    float offset = s->affine ? 0 : 1;
    check_buf *const all[4] = {x, scale, shift, y};
    for (int64_t l = 0; l < s->L; l++)
        if (check_wants(c, l, s->L, 300000 / s->D)) layer_row(c, s, all, l, offset);
    check_work(c, 8.0 * (double)(s->L * s->D), 2 * check_size(c) * (double)(s->L * s->D));
    swan_norm_layer_args a = {.x = x->data,
                              .y = y->data,
                              .scale = scale->data,
                              .shift = shift->data,
                              .scale_offset = offset,
                              .eps = s->eps,
                              .L = s->L,
                              .D = s->D,
                              .ldx = x->ld,
                              .ldy = y->ld};
    check_run(c, &a, NULL);
}

void check_norm_layer(check *c)
{
    for (int i = 0; !c->bench && i < CHECK_SIZES * 4; i++) {
        shape s = {.L = check_between(c, 1, 9), .D = check_sizes[i / 4], .eps = i % 4 == 1 ? 1e-2f : 1e-6f};
        if (i % 4 == 3) s.L = check_sizes[i / 4], s.D = check_between(c, 1, 300);
        s.affine = i % 2;
        s.in_place = i / 2 % 2;
        s.pad = i % 3 == 0 ? 6 : 0;
        s.fill = i % 2 ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS);
        layer_one(c, &s);
    }
    for (int fill = 0; !c->bench && fill < CHECK_FILLS; fill++) {
        shape s = {.L = 5, .D = 1536, .affine = fill % 2, .fill = (check_fill)fill, .eps = 1e-6f};
        layer_one(c, &s);
        s.in_place = true;
        s.D = 259;
        layer_one(c, &s);
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "norm", &at));) {
        shape s = {.L = check_get(line, "L", 1), .D = check_get(line, "D", 1), .eps = 1e-6f};
        layer_one(c, &s);
    }
}

static void rms_row(check *c, const shape *s, check_buf *const b[4], int64_t l)
{
    const float *x = b[0]->f + l * s->D, *weight = b[1]->f;
    double squares = 0;
    float twin_squares = 0;
    for (int64_t d = 0; d < s->D; d++) {
        squares += (double)x[d] * x[d];
        twin_squares += x[d] * x[d];
    }
    double inverse = 1 / sqrt(squares / (double)s->D + s->eps);
    float twin_inverse = 1 / sqrtf(twin_squares / (float)s->D + s->eps);
    for (int64_t d = 0; d < s->D; d++) {
        double v = x[d] * inverse * weight[d], twin = x[d] * twin_inverse * weight[d];
        if (!s->rope) {
            check_value(c, b[3], l, d, v, twin, fabs(v));
            continue;
        }
        int64_t pair = d ^ 1, in_head = d % s->head_dim;
        double other = x[pair] * inverse * weight[pair];
        float twin_other = x[pair] * twin_inverse * weight[pair];
        float cosine = b[2]->f[l * s->head_dim + in_head / 2 * 2], sine = b[2]->f[l * s->head_dim + in_head / 2 * 2 + 1];
        float sign = d % 2 ? 1 : -1; /* even: a cos - b sin; odd: b cos + a sin */
        check_value(c, b[3], l, d, v * cosine + sign * other * sine, (float)twin * cosine + sign * twin_other * sine,
                    fabs(v * cosine) + fabs(other * sine));
    }
}

/* Where the tiles of L rows begin; start may be NULL. Returns their number. */
static int64_t cut(int64_t L, int64_t tile, int32_t *start)
{
    static const int64_t ragged[] = {64, 1, 33, 3, 16, 6, 65, 8};
    int64_t tiles = 0;
    for (int64_t l = 0; l < L; tiles++) {
        if (start) start[tiles] = (int32_t)l;
        l += tile == RAGGED ? ragged[tiles % 8] : tile;
    }
    if (start) start[tiles] = (int32_t)L;
    return tiles;
}

/* Means of what the row left in y: bounds as in check.h, the twin error being the worst of the case. */
static void check_means(check *c, const check_buf *y, const check_buf *starts, const check_buf *mean)
{
    const int32_t *start = check_ints((check_buf *)starts);
    double worst = 0x1p-24;
    for (int judge = 0; judge < 2; judge++)
        for (int64_t i = 0; i < mean->rows * mean->width; i++) {
            int64_t t = i / mean->width, d = i % mean->width, n = start[t + 1] - start[t];
            double sum = 0, size = 0;
            float twin = 0;
            for (int64_t l = start[t]; l < start[t + 1]; l++) {
                double v = check_now(y, l, d);
                sum += v;
                size += fabs(v);
                twin += (float)v;
            }
            double want = sum / (double)n, allowed = 2 * worst * size / (double)n + check_ulp(mean->dtype, want), got = check_now(mean, t, d);
            if (!judge && size > 0x1p-100) worst = fmax(worst, fabs((double)twin - sum) / size);
            if (!judge || fabs(got - want) <= allowed) continue; /* a NaN is not */
            check_fail(c, "mean of tile %ld, channel %ld: got %.9g, want %.9g, error %.3g of %.3g allowed", (long)t, (long)d, got, want,
                       fabs(got - want), allowed);
            return;
        }
}

static void rms_one(check *c, const shape *s)
{
    if (!check_begin(c, "L=%ld D=%ld head_dim=%ld%s eps=%g pad=%ld%s tile=%ld %s", (long)s->L, (long)s->D, (long)s->head_dim,
                     s->rope ? " rope" : "", (double)s->eps, (long)s->pad, s->in_place ? " in place" : "", (long)s->tile,
                     check_fill_name(s->fill)))
        return;
    check_buf *x, *y, *rope = NULL, *weight, *starts = NULL, *mean = NULL;
    open_xy(c, s, 1.7, &x, &y);
    weight = check_vector(c, s->D, 1);
    if (s->rope) {
        rope = check_new(c, CHECK_IN, SWAN_F32, s->L, s->head_dim, 0);
        for (int64_t i = 0; i < s->L * s->head_dim; i += 2) {
            double angle = check_uniform(c) * 60;
            check_set(rope, i / s->head_dim, i % s->head_dim, cos(angle));
            check_set(rope, i / s->head_dim, i % s->head_dim + 1, sin(angle));
        }
    }
    check_buf *const all[4] = {x, weight, rope, y};
    for (int64_t l = 0; l < s->L; l++)
        if (check_wants(c, l, s->L, 300000 / s->D)) rms_row(c, s, all, l);
    check_work(c, 8.0 * (double)(s->L * s->D), 2 * check_size(c) * (double)(s->L * s->D));
    swan_norm_rms_args a = {.x = x->data,
                            .y = y->data,
                            .weight = weight->data,
                            .rope = rope ? rope->data : NULL,
                            .eps = s->eps,
                            .L = s->L,
                            .D = s->D,
                            .head_dim = s->head_dim,
                            .ldx = x->ld,
                            .ldy = y->ld};
    if (s->tile) {
        a.tiles = cut(s->L, s->tile, NULL);
        starts = check_new(c, CHECK_IN, SWAN_I32, 1, a.tiles + 1, 0);
        cut(s->L, s->tile, check_ints(starts));
        mean = check_new(c, CHECK_OUT, c->row->format, a.tiles, s->D, 0);
        a.tile_start = check_ints(starts);
        a.mean = mean->data;
    }
    if (check_run(c, &a, &a.workspace) && mean && !c->bench) check_means(c, y, starts, mean);
}

/* With means: ragged tiles, full ones and single rows; each where a fast kernel may take it and, in the case behind, off alignment
 * and as columns of a wider matrix. */
static void rms_means(check *c)
{
    static const int64_t D[][2] = {{256, 128}, {8, 8}, {264, 24}, {1536, 128}, {128, 64}, {1544, 8}, {96, 0}, {2560, 128}};
    static const int64_t tiles[] = {RAGGED, 64, 1, 7}, rows[] = {1, 3, 64, 65, 197, 260};
    for (int i = 0; i < 24; i++) {
        shape s = {.L = rows[i % 6], .D = D[i % 8][0], .head_dim = D[i % 8][1], .eps = 1e-6f, .tile = tiles[(i + i / 4) % 4]};
        s.rope = s.head_dim > 0;
        if (!s.rope) s.head_dim = s.D;
        s.fill = i % 3 ? CHECK_RANDOM : (check_fill)(i / 3 % CHECK_FILLS);
        for (int k = 0; k < 4; k++) { /* bases: aligned, off, aligned, off */
            s.in_place = k >= 2;
            s.pad = k >= 2 ? 8 * (1 + i % 3) : 3 * k;
            rms_one(c, &s);
        }
    }
}

void check_norm_rms(check *c)
{
    static const int64_t head_dims[] = {2, 6, 8, 18, 34, 64, 128};
    for (int i = 0; !c->bench && i < CHECK_SIZES * 4; i++) {
        shape s = {.L = check_between(c, 1, 9), .D = check_sizes[i / 4], .eps = i % 4 == 1 ? 1e-2f : 1e-6f};
        s.head_dim = s.D;
        s.rope = i % 2;
        if (s.rope) {
            s.head_dim = head_dims[i / 2 % 7];
            s.D = s.head_dim * check_between(c, 1, 4);
            if (i % 4 == 3) s.L = check_sizes[i / 4];
        }
        s.in_place = i / 2 % 2;
        s.pad = i % 3 == 0 ? 6 : 0;
        s.fill = i % 4 < 2 ? (check_fill)(i / 4 % CHECK_FILLS) : CHECK_RANDOM;
        rms_one(c, &s);
    }
    for (int fill = 0; !c->bench && fill < CHECK_FILLS; fill++) {
        shape s = {.L = 5, .D = 1536, .head_dim = 128, .rope = fill % 2 == 0, .fill = (check_fill)fill, .eps = 1e-6f};
        rms_one(c, &s);
        s.in_place = s.rope = true;
        rms_one(c, &s);
    }
    if (!c->bench) rms_means(c);
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "norm", &at));) {
        int64_t head_dim = check_get(line, "head_dim", 128);
        shape s = {.L = check_get(line, "L", 1), .D = check_get(line, "D", 1), .head_dim = head_dim, .rope = true, .eps = 1e-6f};
        rms_one(c, &s);
    }
}
