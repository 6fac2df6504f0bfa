/* attn.dense, attn.block_sparse: one query row of one head a task, in two passes over the keys: the largest score, then the
 * weighted sum of v. Scores are computed twice so that none are kept: the workspace is one fp64 row of v for each worker. */
#include <math.h>

#include "kernel/cpu/cpu.h"

/* One query row against any set of key rows. */
typedef struct row {
    const float *q, *k, *v;        /* at the head */
    const float *key_bias, *rel;   /* NULL, or by key row; rel is shifted for the query */
    int64_t ldk, ldv, head_dim;
    double scale;
} row;

static double score(const row *r, int64_t key)
{
    double s = 0;
    for (int64_t d = 0; d < r->head_dim; d++) s += (double)r->q[d] * r->k[key * r->ldk + d];
    s *= r->scale;
    if (r->key_bias) s += r->key_bias[key];
    if (r->rel) s += r->rel[key];
    return s;
}

static double largest(const row *r, int64_t first, int64_t end, double max)
{
    for (int64_t key = first; key < end; key++) max = fmax(max, score(r, key));
    return max;
}

/* Adds exp(score - max) * v to sum; returns the sum of the weights. */
static double weigh(const row *r, int64_t first, int64_t end, double max, double *sum)
{
    double weights = 0;
    for (int64_t key = first; key < end; key++) {
        double p = exp(score(r, key) - max);
        weights += p;
        for (int64_t d = 0; d < r->head_dim; d++) sum[d] += p * r->v[key * r->ldv + d];
    }
    return weights;
}

static void dense_task(void *arg, int64_t index, int worker)
{
    const swan_attn_dense_args *a = arg;
    int64_t h = index / a->Lq, i = index % a->Lq, at = h * a->head_dim;
    row r = {.q = (const float *)a->q + i * a->ldq + at,
             .k = (const float *)a->k + at,
             .v = (const float *)a->v + at,
             .key_bias = a->key_bias,
             .rel = a->rel_bias ? a->rel_bias + h * swan_attn_ld_rel(a) + (a->Lq - 1 - i) : NULL,
             .ldk = a->ldk,
             .ldv = a->ldv,
             .head_dim = a->head_dim,
             .scale = a->scale};
    double *sum = (double *)a->workspace + worker * a->head_dim;
    for (int64_t d = 0; d < a->head_dim; d++) sum[d] = 0;
    double weights = weigh(&r, 0, a->Lk, largest(&r, 0, a->Lk, -INFINITY), sum);
    float *out = (float *)a->out + i * a->ldo + at;
    for (int64_t d = 0; d < a->head_dim; d++) out[d] = (float)(sum[d] / weights);
}

swan_status swan_attn_dense_ref(swan_stream *stream, const swan_attn_dense_args *a)
{
    swan_attn_dense_args copy = *a;
    return swan_cpu_run(stream, a->heads * a->Lq, dense_task, &copy);
}

size_t swan_attn_dense_ref_workspace(const swan_attn_dense_args *a, const swan_stream *stream)
{
    return (size_t)swan_pool_threads(stream->pool) * (size_t)a->head_dim * sizeof(double);
}

/* One task is one tile of one head. */
static void block_sparse_task(void *arg, int64_t index, int worker)
{
    const swan_attn_block_sparse_args *a = arg;
    int64_t h = index / a->tiles, tile = index % a->tiles, at = h * a->head_dim;
    const int32_t *start = a->tile_start, *chosen = a->index + index * a->topk;
    row r = {.k = (const float *)a->k + at,
             .v = (const float *)a->v + at,
             .ldk = a->ldk,
             .ldv = a->ldv,
             .head_dim = a->head_dim,
             .scale = a->scale};
    double *sum = (double *)a->workspace + worker * a->head_dim;
    for (int64_t i = start[tile]; i < start[tile + 1]; i++) {
        r.q = (const float *)a->q + i * a->ldq + at;
        double max = -INFINITY, weights = 0;
        for (int64_t t = 0; t < a->topk; t++) max = largest(&r, start[chosen[t]], start[chosen[t] + 1], max);
        for (int64_t d = 0; d < a->head_dim; d++) sum[d] = 0;
        for (int64_t t = 0; t < a->topk; t++) weights += weigh(&r, start[chosen[t]], start[chosen[t] + 1], max, sum);
        float *out = (float *)a->out + i * a->ldo + at;
        for (int64_t d = 0; d < a->head_dim; d++) out[d] = (float)(sum[d] / weights);
    }
}

swan_status swan_attn_block_sparse_ref(swan_stream *stream, const swan_attn_block_sparse_args *a)
{
    swan_attn_block_sparse_args copy = *a;
    SWAN_TRY(swan_cpu_run(stream, a->heads * a->tiles, block_sparse_task, &copy));
    if (!a->gate) return SWAN_OK;
    swan_vsa_combine_args sum = swan_attn_block_sparse_sum(a);
    return swan_vsa_combine_ref(stream, &sum);
}

size_t swan_attn_block_sparse_ref_workspace(const swan_attn_block_sparse_args *a, const swan_stream *stream)
{
    return (size_t)swan_pool_threads(stream->pool) * (size_t)a->head_dim * sizeof(double);
}
