/* attn.dense, attn.block_sparse */
#include <math.h>
#include <stdlib.h>

#include "base/half.h"
#include "check.h"

typedef struct shape {
    int64_t Lq, Lk, heads, head_dim, pad;
    int key_bias; /* 0 none, 1 random, 2 a count on the last key, 3 -infinity on the last key */
    bool rel_bias;
    check_fill fill;
    float scale;
} shape;

/* One query row of one head over a list of key rows. */
typedef struct problem {
    const shape *s;
    check_buf *q, *k, *v, *out;
    check_buf *gate, *coarse; /* block_sparse: gate * coarse[tile] is added; or NULL */
    int64_t tile;
    const float *key_bias, *rel; /* rel by key row, for this query; or NULL */
    const int64_t *keys;
    int64_t n;
} problem;

/* Scores in both precisions, and how much each added up. */
typedef struct score {
    double s, size, p;
    float twin, twin_p;
} score;

static double scores_of(const problem *p, int64_t i, int64_t at, score *scores, float *twin_max)
{
    const shape *s = p->s;
    int64_t C = s->heads * s->head_dim;
    double max = -INFINITY;
    *twin_max = -INFINITY;
    for (int64_t j = 0; j < p->n; j++) {
        const float *q = p->q->f + i * C + at, *k = p->k->f + p->keys[j] * C + at;
        double dot = 0, size = 0;
        float twin = 0, bias = 0;
        for (int64_t d = 0; d < s->head_dim; d++) {
            dot += (double)q[d] * k[d];
            size += fabs((double)q[d] * k[d]);
            twin += q[d] * k[d];
        }
        if (p->key_bias) bias += p->key_bias[p->keys[j]];
        if (p->rel) bias += p->rel[p->keys[j]];
        double exact = (p->key_bias ? (double)p->key_bias[p->keys[j]] : 0) + (p->rel ? (double)p->rel[p->keys[j]] : 0);
        scores[j] = (score){.s = dot * s->scale + exact,
                            .size = size * fabsf(s->scale) + (isfinite(exact) ? fabs(exact) : 0),
                            .twin = twin * s->scale + bias};
        max = fmax(max, scores[j].s);
        *twin_max = fmaxf(*twin_max, scores[j].twin);
    }
    return max;
}

/* As rows in bf16 may round: a weight that goes into the sum of p v, and what comes out before gate * coarse is added. */
static float rounded(const check *c, float x)
{
    return c->row->format == SWAN_BF16 ? swan_bf16_to_f32(swan_f32_to_bf16(x)) : x;
}

/* The magnitude: two sums are rounded, that of p v and that of p, and an error of e in every score moves the output by at most
 * e * sum of p |v - out|. */
static void query_row(check *c, const problem *p, int64_t i, int64_t h)
{
    const shape *s = p->s;
    int64_t C = s->heads * s->head_dim, at = h * s->head_dim;
    score *scores = malloc((size_t)p->n * sizeof *scores);
    if (!scores) {
        check_fail(c, "out of memory");
        return;
    }
    float twin_max, twin_sum = 0;
    double max = scores_of(p, i, at, scores, &twin_max), sum = 0;
    for (int64_t j = 0; j < p->n; j++) {
        sum += scores[j].p = exp(scores[j].s - max);
        scores[j].twin_p = expf(scores[j].twin - twin_max);
    }
    /* The other way round than p v: with equal v the errors of both sums would cancel, which they do in no other order. */
    for (int64_t j = p->n - 1; j >= 0; j--) twin_sum += scores[j].twin_p;
    for (int64_t d = 0; d < s->head_dim; d++) {
        double out = 0, size;
        float twin = 0;
        for (int64_t j = 0; j < p->n; j++) {
            float v = p->v->f[p->keys[j] * C + at + d];
            out += scores[j].p / sum * v;
            twin += rounded(c, scores[j].twin_p) * v;
        }
        size = fabs(out);
        for (int64_t j = 0; j < p->n; j++) {
            float v = p->v->f[p->keys[j] * C + at + d];
            size += scores[j].p / sum * (fabsf(v) + fabs(v - out) * scores[j].size);
        }
        twin /= twin_sum;
        if (p->gate) {
            float gate = p->gate->f[i * C + at + d], coarse = p->coarse->f[p->tile * C + at + d];
            out += (double)gate * coarse;
            twin = rounded(c, twin) + gate * coarse;
            size += fabs((double)gate * coarse);
        }
        check_value(c, p->out, i, at + d, out, twin, size);
    }
    free(scores);
}

static void open_qkv(check *c, const shape *s, problem *p)
{
    int64_t C = s->heads * s->head_dim;
    check_fill fill = s->fill;
    /* large: scores of about +-1e4, far apart; not so large that fp32 has no digit left behind the point */
    double magnitude = fill == CHECK_LARGE ? 1e-5 : fill == CHECK_OFFSET ? 0.02 : 1;
    p->s = s;
    p->q = check_input(c, c->row->format, s->Lq, C, s->pad, fill, magnitude);
    p->k = check_input(c, c->row->format, s->Lk, C, s->pad ? s->pad + 1 : 0, fill, magnitude);
    p->v = check_input(c, c->row->format, s->Lk, C, s->pad ? s->pad + 2 : 0, fill, fill == CHECK_LARGE ? 1e20 : 1);
    p->out = check_new(c, CHECK_OUT, c->row->format, s->Lq, C, s->pad ? s->pad + 3 : 0);
}

static check_buf *open_key_bias(check *c, const shape *s)
{
    if (!s->key_bias) return NULL;
    check_buf *b = check_vector(c, s->Lk, s->key_bias == 1 ? 3 : 0);
    if (s->key_bias == 2) check_set(b, 0, s->Lk - 1, log(500));
    if (s->key_bias == 3) check_set(b, 0, s->Lk - 1, -INFINITY); /* log of no key */
    return b;
}

static void dense_one(check *c, const shape *s)
{
    if (!check_begin(c, "Lq=%ld Lk=%ld heads=%ld head_dim=%ld key_bias=%d%s pad=%ld scale=%g %s", (long)s->Lq, (long)s->Lk,
                     (long)s->heads, (long)s->head_dim, s->key_bias, s->rel_bias ? " rel_bias" : "", (long)s->pad,
                     (double)s->scale, check_fill_name(s->fill)))
        return;
    problem p = {0};
    open_qkv(c, s, &p);
    check_buf *key_bias = open_key_bias(c, s), *rel = NULL;
    int64_t span = s->Lq + s->Lk - 1, rows = s->heads * s->Lq;
    if (s->rel_bias) rel = check_input(c, SWAN_F32, s->heads, span, s->Lq % 2 ? 3 : 0, CHECK_RANDOM, 2);
    int64_t *keys = malloc((size_t)s->Lk * sizeof *keys);
    for (int64_t j = 0; keys && j < s->Lk; j++) keys[j] = j;
    p.keys = keys;
    p.n = s->Lk;
    p.key_bias = key_bias ? key_bias->f : NULL;
    for (int64_t n = 0; keys && n < rows; n++) {
        int64_t h = n % s->heads, i = n / s->heads;
        if (!check_wants(c, n, rows, 1500000 / (s->Lk * s->head_dim))) continue;
        p.rel = rel ? rel->f + h * span + s->Lq - 1 - i : NULL;
        query_row(c, &p, i, h);
    }
    free(keys);
    double C = (double)(s->heads * s->head_dim);
    check_work(c, 4.0 * (double)s->Lq * (double)s->Lk * C, 2 * check_size(c) * (double)(s->Lq + s->Lk) * C);
    swan_attn_dense_args a = {.q = p.q->data,
                              .k = p.k->data,
                              .v = p.v->data,
                              .out = p.out->data,
                              .key_bias = key_bias ? key_bias->data : NULL,
                              .rel_bias = rel ? rel->data : NULL,
                              .ld_rel = rel ? rel->ld : 0,
                              .scale = s->scale,
                              .Lq = s->Lq,
                              .Lk = s->Lk,
                              .heads = s->heads,
                              .head_dim = s->head_dim,
                              .ldq = p.q->ld,
                              .ldk = p.k->ld,
                              .ldv = p.v->ld,
                              .ldo = p.out->ld};
    check_run(c, &a, &a.workspace);
}

/* The longest sequence of the published models: its workspace may not grow as Lq x Lk. */
static void dense_workspace(check *c)
{
    swan_attn_dense_args a = {.Lq = 32760, .Lk = 32760, .heads = 12, .head_dim = 128, .ldq = 1536, .ldk = 1536, .ldv = 1536,
                              .ldo = 1536};
    if (c->bench || !check_begin(c, "workspace of Lq=32760 Lk=32760")) return;
    size_t bytes = check_workspace(c, &a), most = (size_t)256 << 20;
    if (bytes > most) check_fail(c, "asks for %zu bytes of workspace, more than %zu", bytes, most);
}

static const int64_t head_dims[] = {64, 128, 8, 40, 5, 80};

void check_attn_dense(check *c)
{
    for (int i = 0; !c->bench && i < CHECK_SIZES * 2; i++) {
        shape s = {.Lq = check_between(c, 1, 70), .Lk = check_between(c, 1, 140), .heads = check_between(c, 1, 3)};
        *(i % 2 ? &s.Lq : &s.Lk) = check_sizes[i / 2];
        s.head_dim = head_dims[i / 2 % 6];
        s.key_bias = i / 3 % 4 == 3 && s.Lk < 2 ? 0 : i / 3 % 4;
        s.rel_bias = i % 4 == 2;
        s.pad = i % 5 == 1 ? 7 : 0;
        s.fill = i % 2 ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS);
        s.scale = i % 3 == 2 && s.fill == CHECK_RANDOM ? 1 : (float)(1 / sqrt((double)s.head_dim));
        dense_one(c, &s);
    }
    for (int fill = 0; !c->bench && fill < CHECK_FILLS; fill++) {
        shape s = {66, 258, 2, fill % 2 ? 64 : 128, 4, fill % 4, fill % 2 == 0, (check_fill)fill, 0.125f};
        dense_one(c, &s);
    }
    shape longest = {3, 32760, 1, 128, 0, 2, false, CHECK_RANDOM, 0.1f};
    if (!c->bench) dense_one(c, &longest);
    dense_workspace(c);
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "attn.dense", &at));) {
        shape s = {.Lq = check_get(line, "Lq", 1), .Lk = check_get(line, "Lk", 1), .heads = check_get(line, "heads", 1),
                   .head_dim = check_get(line, "head_dim", 128), .rel_bias = check_get(line, "rel_bias", 0)};
        s.scale = s.rel_bias ? 1 : (float)(1 / sqrt((double)s.head_dim));
        s.Lq = check_rows(c, s.Lq, 2 * (double)s.Lq * (double)s.Lk * (double)(s.heads * s.head_dim));
        dense_one(c, &s);
    }
}

/* ---- block sparse ---- */

/* starts: tiles of 1 .. 64 rows, or the given rows in each; index: random, ascending. */
static check_buf *open_tiles(check *c, int64_t tiles, int64_t rows)
{
    check_buf *b = check_new(c, CHECK_IN, SWAN_I32, 1, tiles + 1, 0);
    int32_t *start = check_ints(b);
    start[0] = 0;
    for (int64_t t = 0; t < tiles; t++) {
        int64_t n = rows ? rows : check_between(c, 0, 3) ? check_between(c, 1, 64) : 64;
        start[t + 1] = start[t] + (int32_t)n;
    }
    return b;
}

static check_buf *open_index(check *c, int64_t heads, int64_t tiles, int64_t topk)
{
    check_buf *b = check_new(c, CHECK_IN, SWAN_I32, heads * tiles, topk, 0);
    for (int64_t r = 0; r < heads * tiles; r++) {
        int64_t left = topk;
        for (int64_t t = 0; t < tiles && left; t++) /* takes each tile with the chance that makes every subset equally likely */
            if (check_between(c, 0, tiles - t - 1) < left) check_ints(b)[r * topk + topk - left--] = (int32_t)t;
    }
    return b;
}

typedef struct lists {
    int64_t tiles, topk, rows;
    bool gate;
} lists;

static void sparse_one(check *c, shape *s, lists list)
{
    int64_t tiles = list.tiles, topk = list.topk;
    if (!check_begin(c, "tiles=%ld topk=%ld rows=%ld heads=%ld head_dim=%ld pad=%ld%s %s", (long)tiles, (long)topk, (long)list.rows,
                     (long)s->heads, (long)s->head_dim, (long)s->pad, list.gate ? " gate" : "", check_fill_name(s->fill)))
        return;
    check_buf *starts = open_tiles(c, tiles, list.rows), *index = open_index(c, s->heads, tiles, topk);
    const int32_t *start = check_ints(starts);
    problem p = {0};
    s->Lq = s->Lk = start[tiles];
    open_qkv(c, s, &p);
    if (list.gate) {
        p.gate = check_input(c, c->row->format, s->Lq, s->heads * s->head_dim, s->pad ? s->pad + 4 : 0, CHECK_RANDOM, 1);
        p.coarse = check_input(c, c->row->format, tiles, s->heads * s->head_dim, 0, s->fill, s->fill == CHECK_LARGE ? 1e20 : 1);
    }
    int64_t *keys = malloc((size_t)(s->Lk + 1) * sizeof *keys), chosen = topk * (s->Lk / tiles + 1);
    double pairs = 0;
    p.keys = keys;
    for (int64_t n = 0; keys && n < s->heads * tiles; n++) {
        const int32_t *chosen_tiles = check_ints(index) + n * topk;
        int64_t h = n / tiles, tile = n % tiles;
        p.n = 0;
        p.tile = tile;
        for (int64_t t = 0; t < topk; t++)
            for (int64_t j = start[chosen_tiles[t]]; j < start[chosen_tiles[t] + 1]; j++) keys[p.n++] = j;
        pairs += (double)p.n * (start[tile + 1] - start[tile]);
        for (int64_t i = start[tile]; i < start[tile + 1]; i++)
            if (check_wants(c, i + h * s->Lk, s->Lk * s->heads, 1500000 / (chosen * s->head_dim))) query_row(c, &p, i, h);
    }
    free(keys);
    check_work(c, 4 * pairs * (double)s->head_dim, 4 * check_size(c) * (double)(s->Lk * s->heads * s->head_dim));
    swan_attn_block_sparse_args a = {.q = p.q->data,
                                     .k = p.k->data,
                                     .v = p.v->data,
                                     .out = p.out->data,
                                     .tile_start = check_ints(starts),
                                     .index = check_ints(index),
                                     .scale = s->scale,
                                     .L = s->Lk,
                                     .tiles = tiles,
                                     .topk = topk,
                                     .heads = s->heads,
                                     .head_dim = s->head_dim,
                                     .ldq = p.q->ld,
                                     .ldk = p.k->ld,
                                     .ldv = p.v->ld,
                                     .ldo = p.out->ld};
    if (list.gate) a.gate = p.gate->data, a.coarse = p.coarse->data, a.ld_gate = p.gate->ld;
    check_run(c, &a, &a.workspace);
}

void check_attn_block_sparse(check *c)
{
    for (int i = 0; !c->bench && i < 30; i++) {
        int64_t tiles = i == 0 ? 1 : check_between(c, 1, 9), topk = i % 3 == 2 ? tiles : check_between(c, 1, tiles);
        shape s = {.heads = check_between(c, 1, 3), .head_dim = head_dims[i % 6], .pad = i % 4 == 1 ? 7 : 0};
        s.fill = i % 2 ? CHECK_RANDOM : (check_fill)(i / 2 % CHECK_FILLS);
        s.scale = (float)(1 / sqrt((double)s.head_dim));
        sparse_one(c, &s, (lists){tiles, topk, i % 7 == 3 ? 64 : i % 7 == 5 ? 1 : 0, i % 5 > 1});
    }
    const check_line *line;
    for (int at = 0; (line = check_next_line(c, "attn.block_sparse", &at));) {
        shape s = {.heads = check_get(line, "heads", 1), .head_dim = check_get(line, "head_dim", 128)};
        s.scale = (float)(1 / sqrt((double)s.head_dim));
        int64_t tiles = check_get(line, "tiles", 1), topk = check_get(line, "topk", 1), rows = check_get(line, "rows", 64);
        s.heads = check_rows(c, s.heads, 2.0 * (double)(tiles * rows * topk * rows * s.heads * s.head_dim));
        sparse_one(c, &s, (lists){tiles, topk, rows, true});
    }
}
