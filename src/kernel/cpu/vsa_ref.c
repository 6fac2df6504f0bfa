/* vsa.pool, vsa.coarse, vsa.combine: the coarse branch of VSA and its way back into the fine one, in fp64. */
#include <math.h>

#include "kernel/cpu/cpu.h"

static void pool_task(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const swan_vsa_pool_args *a = arg;
    int64_t first = a->tile_start[tile], end = a->tile_start[tile + 1];
    for (int64_t c = 0; c < a->D; c++) {
        double sum = 0;
        for (int64_t l = first; l < end; l++) sum += ((const float *)a->x)[l * a->ldx + c];
        ((float *)a->out)[tile * a->D + c] = (float)(sum / (double)(end - first));
    }
}

swan_status swan_vsa_pool_ref(swan_stream *stream, const swan_vsa_pool_args *a)
{
    swan_vsa_pool_args copy = *a;
    return swan_cpu_run(stream, a->tiles, pool_task, &copy);
}

/* Is tile j among the topk of s? It is when fewer than topk tiles go before it, by a larger score or an equal one further
 * left. */
static bool selected(const double *s, int64_t tiles, int64_t topk, int64_t j)
{
    int64_t before = 0;
    for (int64_t t = 0; t < tiles; t++) before += s[t] > s[j] || (s[t] == s[j] && t < j);
    return before < topk;
}

/* One query tile of one head: scores in s, selection, then the scores become weights. */
static void coarse_task(void *arg, int64_t index, int worker)
{
    const swan_vsa_coarse_args *a = arg;
    int64_t h = index / a->tiles, i = index % a->tiles, D = a->heads * a->head_dim, at = h * a->head_dim;
    const float *q = (const float *)a->q + i * D + at, *k = (const float *)a->k + at, *v = (const float *)a->v + at;
    double *s = (double *)a->workspace + worker * a->tiles, max = -INFINITY, weights = 0;
    for (int64_t j = 0; j < a->tiles; j++) {
        double dot = 0;
        for (int64_t d = 0; d < a->head_dim; d++) dot += (double)q[d] * k[j * D + d];
        s[j] = dot * a->scale;
        max = fmax(max, s[j]);
    }
    int32_t *list = a->index + index * a->topk;
    for (int64_t j = 0, n = 0; j < a->tiles && n < a->topk; j++) /* n stops a NaN, which nothing goes before */
        if (selected(s, a->tiles, a->topk, j)) list[n++] = (int32_t)j;
    for (int64_t j = 0; j < a->tiles; j++) weights += s[j] = exp(s[j] - max);
    for (int64_t d = 0; d < a->head_dim; d++) {
        double sum = 0;
        for (int64_t j = 0; j < a->tiles; j++) sum += s[j] * v[j * D + d];
        ((float *)a->out)[i * D + at + d] = (float)(sum / weights);
    }
}

swan_status swan_vsa_coarse_ref(swan_stream *stream, const swan_vsa_coarse_args *a)
{
    swan_vsa_coarse_args copy = *a;
    return swan_cpu_run(stream, a->heads * a->tiles, coarse_task, &copy);
}

size_t swan_vsa_coarse_ref_workspace(const swan_vsa_coarse_args *a, const swan_stream *stream)
{
    return (size_t)swan_pool_threads(stream->pool) * (size_t)a->tiles * sizeof(double);
}

static void combine_task(void *arg, int64_t tile, int worker)
{
    (void)worker;
    const swan_vsa_combine_args *a = arg;
    const float *coarse = (const float *)a->coarse + tile * a->D;
    for (int64_t l = a->tile_start[tile]; l < a->tile_start[tile + 1]; l++) {
        const float *gate = (const float *)a->gate + l * a->ld_gate;
        float *fine = (float *)a->fine + l * a->ld_fine;
        for (int64_t c = 0; c < a->D; c++) fine[c] = (float)(fine[c] + (double)gate[c] * coarse[c]);
    }
}

swan_status swan_vsa_combine_ref(swan_stream *stream, const swan_vsa_combine_args *a)
{
    swan_vsa_combine_args copy = *a;
    return swan_cpu_run(stream, a->tiles, combine_task, &copy);
}
