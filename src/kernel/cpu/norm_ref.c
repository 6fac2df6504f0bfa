/* norm.layer, norm.rms: one row a task, statistics in fp64; the variance is the mean of squared differences (two passes). */
#include <math.h>

#include "kernel/cpu/cpu.h"

static void layer_task(void *arg, int64_t l, int worker)
{
    (void)worker;
    const swan_norm_layer_args *a = arg;
    const float *x = (const float *)a->x + l * a->ldx;
    float *y = (float *)a->y + l * a->ldy;
    double sum = 0, squares = 0;
    for (int64_t d = 0; d < a->D; d++) sum += x[d];
    double mean = sum / (double)a->D;
    for (int64_t d = 0; d < a->D; d++) squares += (x[d] - mean) * (x[d] - mean);
    double deviation = sqrt(squares / (double)a->D + a->eps);
    for (int64_t d = 0; d < a->D; d++)
        y[d] = (float)((x[d] - mean) / deviation * ((double)a->scale[d] + a->scale_offset) + a->shift[d]);
}

swan_status swan_norm_layer_ref(swan_stream *stream, const swan_norm_layer_args *a)
{
    swan_norm_layer_args copy = *a;
    return swan_cpu_run(stream, a->L, layer_task, &copy);
}

static void rms_task(void *arg, int64_t l, int worker)
{
    (void)worker;
    const swan_norm_rms_args *a = arg;
    const float *x = (const float *)a->x + l * a->ldx;
    float *y = (float *)a->y + l * a->ldy;
    double squares = 0;
    for (int64_t d = 0; d < a->D; d++) squares += (double)x[d] * x[d];
    double root = sqrt(squares / (double)a->D + a->eps);
    if (!a->rope) {
        for (int64_t d = 0; d < a->D; d++) y[d] = (float)(x[d] / root * a->weight[d]);
        return;
    }
    const float *rope = a->rope + l * a->head_dim;
    for (int64_t d = 0; d < a->D; d += 2) {
        double p = x[d] / root * a->weight[d], q = x[d + 1] / root * a->weight[d + 1];
        double c = rope[d % a->head_dim], s = rope[d % a->head_dim + 1];
        y[d] = (float)(p * c - q * s);
        y[d + 1] = (float)(p * s + q * c);
    }
}

swan_status swan_norm_rms_ref(swan_stream *stream, const swan_norm_rms_args *a)
{
    swan_norm_rms_args copy = *a;
    SWAN_TRY(swan_cpu_run(stream, a->L, rms_task, &copy));
    if (!a->mean) return SWAN_OK;
    swan_vsa_pool_args means = swan_norm_rms_means(a);
    return swan_vsa_pool_ref(stream, &means);
}
