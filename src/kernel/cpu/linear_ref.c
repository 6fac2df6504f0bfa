/* linear.f32, linear.bf16, linear.f16, linear.gelu_mul: y = epilogue(x W^T + bias), one dot product in fp64 at a time. */
#include <math.h>

#include "base/half.h"
#include "kernel/cpu/cpu.h"

#define COLUMNS 64 /* of one task */

typedef struct job {
    const swan_linear_args *a;
    swan_dtype weights;
    int64_t column_blocks;
} job;

static double weight_at(const job *j, int64_t i)
{
    switch (j->weights) {
    case SWAN_BF16: return swan_bf16_to_f32(((const uint16_t *)j->a->w)[i]);
    case SWAN_F16: return swan_f16_to_f32(((const uint16_t *)j->a->w)[i]);
    default: return ((const float *)j->a->w)[i];
    }
}

static double epilogue(const swan_linear_args *a, double r, double y, int64_t n)
{
    switch (a->epilogue) {
    case SWAN_EPI_GELU: return 0.5 * r * (1 + tanh(0.79788456080286535588 * (r + 0.044715 * r * r * r)));
    case SWAN_EPI_SILU: return r / (1 + exp(-r));
    case SWAN_EPI_MUL: return y * r;
    case SWAN_EPI_ADD: return y + r;
    case SWAN_EPI_GATED_ADD: return y + a->gate[n] * r;
    default: return r;
    }
}

static bool reads_y(swan_epilogue e) { return e == SWAN_EPI_MUL || e == SWAN_EPI_ADD || e == SWAN_EPI_GATED_ADD; }

static void task(void *arg, int64_t index, int worker)
{
    (void)worker;
    const job *j = arg;
    const swan_linear_args *a = j->a;
    int64_t m = index / j->column_blocks, first = index % j->column_blocks * COLUMNS;
    int64_t end = first + COLUMNS < a->N ? first + COLUMNS : a->N;
    const float *x = (const float *)a->x + m * a->ldx;
    float *y = (float *)a->y + m * a->ldy;
    for (int64_t n = first; n < end; n++) {
        double r = a->bias ? a->bias[n] : 0;
        for (int64_t k = 0; k < a->K; k++) r += x[k] * weight_at(j, n * a->K + k);
        y[n] = (float)epilogue(a, r, reads_y(a->epilogue) ? y[n] : 0, n);
    }
}

static void gelu_mul_task(void *arg, int64_t index, int worker)
{
    (void)worker;
    const job *j = arg;
    const swan_linear_args *a = j->a;
    int64_t m = index / j->column_blocks, first = index % j->column_blocks * COLUMNS;
    int64_t end = first + COLUMNS < a->N ? first + COLUMNS : a->N;
    const swan_linear_args gelu = {.epilogue = SWAN_EPI_GELU};
    const float *x = (const float *)a->x + m * a->ldx;
    for (int64_t n = first; n < end; n++) {
        double gate = 0, up = 0;
        for (int64_t k = 0; k < a->K; k++) {
            gate += x[k] * weight_at(j, n * a->K + k);
            up += x[k] * weight_at(j, (a->N + n) * a->K + k);
        }
        ((float *)a->y)[m * a->ldy + n] = (float)(epilogue(&gelu, gate, 0, n) * up);
    }
}

static swan_status run(const swan_stream *stream, const swan_linear_args *a, swan_dtype weights)
{
    job j = {a, weights, (a->N + COLUMNS - 1) / COLUMNS};
    return swan_cpu_run(stream, a->M * j.column_blocks, task, &j);
}

swan_status swan_linear_f32_ref(swan_stream *stream, const swan_linear_f32_args *a) { return run(stream, a, SWAN_F32); }
swan_status swan_linear_bf16_ref(swan_stream *stream, const swan_linear_bf16_args *a)
{
    return run(stream, a, SWAN_BF16);
}

swan_status swan_linear_gelu_mul_ref(swan_stream *stream, const swan_linear_gelu_mul_args *a)
{
    job j = {a, SWAN_BF16, (a->N + COLUMNS - 1) / COLUMNS};
    return swan_cpu_run(stream, a->M * j.column_blocks, gelu_mul_task, &j);
}

swan_status swan_linear_f16_ref(swan_stream *stream, const swan_linear_f16_args *a) { return run(stream, a, SWAN_F16); }
