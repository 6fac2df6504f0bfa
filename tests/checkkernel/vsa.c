/* vsa.pool, vsa.coarse, vsa.combine */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* Tiles of 1 .. 64 rows, or `rows` in each. */
static check_buf *open_tiles(check *c, int64_t tiles, int64_t rows)
{
    check_buf *b = check_new(c, CHECK_IN, SWAN_I32, 1, tiles + 1, 0);
    int32_t *start = check_ints(b);
    start[0] = 0;
    for (int64_t t = 0; t < tiles; t++) start[t + 1] = start[t] + (int32_t)(rows ? rows : check_between(c, 1, 64));
    return b;
}

/* ---- pool ---- */

static void pool_one(check *c, int64_t tiles, int64_t rows, int64_t D, int64_t pad, check_fill fill)
{
    if (!check_begin(c, "tiles=%ld rows=%ld D=%ld pad=%ld %s", (long)tiles, (long)rows, (long)D, (long)pad, check_fill_name(fill)))
        return;
    check_buf *starts = open_tiles(c, tiles, rows);
    const int32_t *start = check_ints(starts);
    check_buf *x = check_input(c, c->row->format, start[tiles], D, pad, fill, 1);
    check_buf *out = check_new(c, CHECK_OUT, c->row->format, tiles, D, 0);
    for (int64_t i = 0; i < tiles * D; i++) {
        if (!check_wants(c, i, tiles * D, 100000)) continue;
        int64_t t = i / D, col = i % D, n = start[t + 1] - start[t];
        double sum = 0, size = 0;
        float twin = 0;
        for (int64_t l = start[t]; l < start[t + 1]; l++) {
            sum += x->f[l * D + col];
            size += fabsf(x->f[l * D + col]);
            twin += x->f[l * D + col];
        }
        check_value(c, out, t, col, sum / (double)n, twin / (float)n, size / (double)n);
    }
    check_work(c, (double)(start[tiles] * D), check_size(c) * (double)((start[tiles] + tiles) * D));
    swan_vsa_pool_args a = {
        .x = x->data, .out = out->data, .tile_start = check_ints(starts), .tiles = tiles, .D = D, .ldx = x->ld};
    check_run(c, &a, NULL);
}

void check_vsa_pool(check *c)
{
    for (int i = 0; !c->bench && i < CHECK_SIZES; i++)
        pool_one(c, check_between(c, 1, 9), i % 3 == 2 ? 1 : 0, check_sizes[i], i % 2 ? 5 : 0, (check_fill)(i % CHECK_FILLS));
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "vsa", &at));)
        pool_one(c, check_get(line, "tiles", 1), check_get(line, "rows", 64),
                 check_get(line, "heads", 1) * check_get(line, "head_dim", 128), 0, CHECK_RANDOM);
}

/* ---- coarse ---- */

typedef struct coarse_shape {
    int64_t tiles, topk, heads, head_dim;
    bool ties; /* small integers and a power of two as scale: every sum is exact in fp32, equal scores are equal everywhere */
    check_fill fill;
} coarse_shape;

/* Scores of one query tile, and how far fp32 may be off. */
typedef struct scores {
    double *s, *size;
    float *twin;
    double bound;
} scores;

static bool scores_open(scores *w, int64_t n)
{
    *w = (scores){malloc((size_t)n * sizeof(double)), malloc((size_t)n * sizeof(double)), malloc((size_t)n * sizeof(float)), 0};
    return w->s && w->size && w->twin;
}

static void scores_close(scores *w)
{
    free(w->s);
    free(w->size);
    free(w->twin);
}

static void scores_fill(const coarse_shape *s, const check_buf *q, const check_buf *k, float scale, int64_t row, scores *w)
{
    int64_t h = row / s->tiles, i = row % s->tiles, D = s->heads * s->head_dim, at = h * s->head_dim;
    w->bound = 0;
    for (int64_t j = 0; j < s->tiles; j++) {
        double dot = 0, size = 0;
        float twin = 0;
        for (int64_t d = 0; d < s->head_dim; d++) {
            float a = q->f[i * D + at + d], b = k->f[j * D + at + d];
            dot += (double)a * b;
            size += fabs((double)a * b);
            twin += a * b;
        }
        w->s[j] = dot * scale;
        w->size[j] = size * scale;
        w->twin[j] = twin * scale;
        w->bound = fmax(w->bound, 2 * fmax(fabs(w->twin[j] - w->s[j]), 0x1p-24 * w->size[j]));
    }
}

static void coarse_expect(check *c, const coarse_shape *s, const check_buf *v, check_buf *out, int64_t row, const scores *w)
{
    int64_t h = row / s->tiles, i = row % s->tiles, D = s->heads * s->head_dim;
    double max = -INFINITY, sum = 0;
    float twin_max = -INFINITY, twin_sum = 0;
    for (int64_t j = 0; j < s->tiles; j++) {
        max = fmax(max, w->s[j]);
        twin_max = fmaxf(twin_max, w->twin[j]);
    }
    for (int64_t j = 0; j < s->tiles; j++) sum += exp(w->s[j] - max);
    for (int64_t j = s->tiles - 1; j >= 0; j--) twin_sum += expf(w->twin[j] - twin_max); /* this way round as in attn.c */
    for (int64_t d = 0; d < s->head_dim; d++) {
        int64_t col = h * s->head_dim + d;
        double want = 0, size;
        float twin = 0;
        for (int64_t j = 0; j < s->tiles; j++) {
            want += exp(w->s[j] - max) / sum * v->f[j * D + col];
            twin += expf(w->twin[j] - twin_max) * v->f[j * D + col];
        }
        size = fabs(want); /* magnitude as in attn.c */
        for (int64_t j = 0; j < s->tiles; j++) {
            float a = v->f[j * D + col];
            size += exp(w->s[j] - max) / sum * (fabsf(a) + fabs(a - want) * w->size[j]);
        }
        check_value(c, out, i, col, want, twin / twin_sum, size);
    }
}

/* topk distinct tiles, ascending; none that is clearly worse than one left out. With exact scores: no freedom at all. */
static void coarse_selection(check *c, const coarse_shape *s, const check_buf *index, int64_t row, const scores *w)
{
    double worst = INFINITY, best_left = -INFINITY;
    int64_t worst_at = -1, best_at = -1, at = 0;
    for (int64_t t = 0; t < s->topk; t++) {
        double j = check_now(index, row, t);
        if (j < 0 || j >= (double)s->tiles || (t && j <= check_now(index, row, t - 1))) {
            check_fail(c, "row %ld: entry %ld of the list is %g: not ascending or no tile", (long)row, (long)t, j);
            return;
        }
    }
    for (int64_t j = 0; j < s->tiles; j++) {
        if (at < s->topk && check_now(index, row, at) == (double)j) {
            at++;
            if (w->s[j] <= worst) worst = w->s[worst_at = j]; /* the last of equal ones */
        } else if (w->s[j] > best_left) {
            best_left = w->s[best_at = j]; /* the first */
        }
    }
    if (best_at < 0) return;
    bool wrong = s->ties ? best_left > worst || (best_left == worst && best_at < worst_at) : best_left > worst + 2 * w->bound;
    if (wrong)
        check_fail(c, "row %ld: tile %ld (score %.9g) is selected and %ld (%.9g) is not", (long)row, (long)worst_at, worst,
                   (long)best_at, best_left);
}

static void coarse_one(check *c, const coarse_shape *s)
{
    if (!check_begin(c, "tiles=%ld topk=%ld heads=%ld head_dim=%ld%s %s", (long)s->tiles, (long)s->topk, (long)s->heads,
                     (long)s->head_dim, s->ties ? " ties" : "", check_fill_name(s->fill)))
        return;
    int64_t D = s->heads * s->head_dim, rows = s->heads * s->tiles;
    double magnitude = s->fill == CHECK_LARGE ? 1e-5 : s->fill == CHECK_OFFSET ? 0.02 : 1;
    float scale = s->ties ? 0.25f : (float)(1 / sqrt((double)s->head_dim));
    check_buf *q = check_input(c, c->row->format, s->tiles, D, 0, s->fill, magnitude);
    check_buf *k = check_input(c, c->row->format, s->tiles, D, 0, s->fill, magnitude);
    check_buf *v = check_input(c, c->row->format, s->tiles, D, 0, s->fill, 1);
    check_buf *out = check_new(c, CHECK_OUT, c->row->format, s->tiles, D, 0);
    check_buf *index = check_new(c, CHECK_OUT, SWAN_I32, rows, s->topk, 0);
    for (int64_t i = 0; s->ties && i < s->tiles * D; i++) { /* many equal scores: only the first dimensions are not zero */
        check_set(q, i / D, i % D, i % s->head_dim < 4 ? (double)check_between(c, -1, 1) : 0);
        check_set(k, i / D, i % D, i % s->head_dim < 4 ? (double)check_between(c, -1, 1) : 0);
    }
    uint8_t *chosen = calloc((size_t)rows, 1);
    scores w;
    bool ok = scores_open(&w, s->tiles) && chosen;
    for (int64_t r = 0; ok && r < rows; r++) {
        if (!check_wants(c, r, rows, 2000000 / (s->tiles * s->head_dim))) continue;
        chosen[r] = 1;
        scores_fill(s, q, k, scale, r, &w);
        coarse_expect(c, s, v, out, r, &w);
    }
    check_work(c, 4.0 * (double)(s->tiles * s->tiles * D), 4 * check_size(c) * (double)(s->tiles * D));
    swan_vsa_coarse_args a = {.q = q->data,
                              .k = k->data,
                              .v = v->data,
                              .out = out->data,
                              .index = check_ints(index),
                              .scale = scale,
                              .tiles = s->tiles,
                              .topk = s->topk,
                              .heads = s->heads,
                              .head_dim = s->head_dim};
    check_run(c, &a, &a.workspace);
    for (int64_t r = 0; ok && r < rows; r++) {
        if (!chosen[r]) continue;
        scores_fill(s, q, k, scale, r, &w);
        coarse_selection(c, s, index, r, &w);
    }
    if (!ok) check_fail(c, "out of memory");
    scores_close(&w);
    free(chosen);
}

void check_vsa_coarse(check *c)
{
    static const int64_t head_dims[] = {64, 128, 8, 40, 5, 80};
    for (int i = 0; !c->bench && i < CHECK_SIZES * 2; i++) {
        coarse_shape s = {.tiles = check_sizes[i / 2], .heads = check_between(c, 1, 3), .head_dim = head_dims[i / 2 % 6]};
        s.topk = i % 4 == 3 ? s.tiles : check_between(c, 1, s.tiles);
        s.ties = i % 2;
        s.fill = s.ties ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS);
        coarse_one(c, &s);
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "vsa", &at));) {
        coarse_shape s = {check_get(line, "tiles", 1), check_get(line, "topk", 1), check_get(line, "heads", 1),
                          check_get(line, "head_dim", 128), false, CHECK_RANDOM};
        s.heads = check_rows(c, s.heads, (double)(s.tiles * s.tiles * s.heads) * 2.0 * (double)(s.head_dim + s.tiles));
        coarse_one(c, &s);
    }
}

/* ---- combine ---- */

static void combine_one(check *c, int64_t tiles, int64_t rows, int64_t D, int64_t pad, check_fill fill)
{
    if (!check_begin(c, "tiles=%ld rows=%ld D=%ld pad=%ld %s", (long)tiles, (long)rows, (long)D, (long)pad, check_fill_name(fill)))
        return;
    check_buf *starts = open_tiles(c, tiles, rows);
    const int32_t *start = check_ints(starts);
    int64_t L = start[tiles];
    check_buf *fine = check_new(c, CHECK_INOUT, c->row->format, L, D, pad);
    check_put(c, fine, CHECK_RANDOM, 1);
    check_buf *gate = check_input(c, c->row->format, L, D, pad ? pad + 2 : 0, fill, 1);
    check_buf *coarse = check_input(c, c->row->format, tiles, D, 0, CHECK_RANDOM, 1);
    for (int64_t t = 0; t < tiles; t++) {
        for (int64_t i = start[t] * D; i < start[t + 1] * D; i++) {
            if (!check_wants(c, i, L * D, 100000)) continue;
            float g = gate->f[i], x = coarse->f[t * D + i % D];
            check_value(c, fine, i / D, i % D, fine->f[i] + (double)g * x, fine->f[i] + g * x,
                        fabsf(fine->f[i]) + fabs((double)g * x));
        }
    }
    check_work(c, 2.0 * (double)(L * D), check_size(c) * (double)((3 * L + tiles) * D));
    swan_vsa_combine_args a = {.fine = fine->data,
                               .gate = gate->data,
                               .coarse = coarse->data,
                               .tile_start = check_ints(starts),
                               .tiles = tiles,
                               .D = D,
                               .ld_fine = fine->ld,
                               .ld_gate = gate->ld};
    check_run(c, &a, NULL);
}

void check_vsa_combine(check *c)
{
    for (int i = 0; !c->bench && i < CHECK_SIZES; i++)
        combine_one(c, check_between(c, 1, 9), i % 3 == 2 ? 1 : 0, check_sizes[i], i % 2 ? 5 : 0, (check_fill)(i % CHECK_FILLS));
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "vsa", &at));)
        combine_one(c, check_get(line, "tiles", 1), check_get(line, "rows", 64),
                    check_get(line, "heads", 1) * check_get(line, "head_dim", 128), 0, CHECK_RANDOM);
}
