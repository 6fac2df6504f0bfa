/* linear.f32, linear.bf16, linear.f16, linear.gelu_mul: y = epilogue(x W^T + bias), one dot product in fp64 at a time. */
#include <math.h>

#include "base/half.h"
#include "kernel/cpu/cpu.h"

#define COLUMNS 64 /* of one task */

typedef struct job {
    const swan_linear_args *a;
    swan_dtype weights;
    int64_t column_blocks;
    bool gelu_mul; /* w has 2 N rows: y = gelu(x W1^T) * (x W2^T) */
} job;

static double weight_at(const job *j, int64_t i)
{
    switch (j->weights) {
    case SWAN_BF16: return swan_bf16_to_f32(((const uint16_t *)j->a->w)[i]);
    case SWAN_F16: return swan_f16_to_f32(((const uint16_t *)j->a->w)[i]);
    default: return ((const float *)j->a->w)[i];
    }
}

static double gelu(double r) { return 0.5 * r * (1 + tanh(0.79788456080286535588 * (r + 0.044715 * r * r * r))); }

static double epilogue(const swan_linear_args *a, double r, double y, int64_t n)
{
    switch (a->epilogue) {
    case SWAN_EPI_GELU: return gelu(r);
    case SWAN_EPI_SILU: return r / (1 + exp(-r));
    case SWAN_EPI_MUL: return y * r;
    case SWAN_EPI_ADD: return y + r;
    case SWAN_EPI_GATED_ADD: return y + a->gate[n] * r;
    default: return r;
    }
}

static bool reads_y(swan_epilogue e) { return e == SWAN_EPI_MUL || e == SWAN_EPI_ADD || e == SWAN_EPI_GATED_ADD; }

/* start + x . row n of the weights */
static double dot(const job *j, const float *x, int64_t n, double start)
{
    for (int64_t k = 0; k < j->a->K; k++) start += x[k] * weight_at(j, n * j->a->K + k);
    return start;
}

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
        double r = dot(j, x, n, a->bias && !j->gelu_mul ? a->bias[n] : 0);
        if (j->gelu_mul) y[n] = (float)(gelu(r) * dot(j, x, a->N + n, 0));
        else y[n] = (float)epilogue(a, r, reads_y(a->epilogue) ? y[n] : 0, n);
    }
}

static swan_status run(const swan_stream *stream, const swan_linear_args *a, swan_dtype weights, bool gelu_mul)
{
    job j = {a, weights, (a->N + COLUMNS - 1) / COLUMNS, gelu_mul};
    return swan_cpu_run(stream, a->M * j.column_blocks, task, &j);
}

swan_status swan_linear_f32_ref(swan_stream *stream, const swan_linear_f32_args *a) { return run(stream, a, SWAN_F32, false); }
swan_status swan_linear_bf16_ref(swan_stream *stream, const swan_linear_bf16_args *a)
{
    return run(stream, a, SWAN_BF16, false);
}

swan_status swan_linear_gelu_mul_ref(swan_stream *stream, const swan_linear_gelu_mul_args *a)
{
    return run(stream, a, SWAN_BF16, true);
}

swan_status swan_linear_f16_ref(swan_stream *stream, const swan_linear_f16_args *a) { return run(stream, a, SWAN_F16, false); }
