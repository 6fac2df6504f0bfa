/* linear.f32, linear.bf16, linear.f16 through a CBLAS, for processors without a row of their own: y = epilogue(x W^T
 * + bias).
 *
 * 16-bit weights are widened to f32 a chunk of at most CHUNK_BYTES at a time, all workers together; then each task
 * multiplies one tile of y, ROW_TILE x COLUMN_TILE, in a single-threaded call and applies the epilogue to it in
 * cache. Tiles depend on the shape alone, so that the result does not depend on the number of threads. */
#include <math.h>

#include "base/half.h"
#include "kernel/cpu/cblas.h"
#include "kernel/cpu/cpu.h"

#ifdef SWAN_WITH_CBLAS

#define ROW_TILE 192
#define COLUMN_TILE 256
#define CHUNK_BYTES ((int64_t)16 << 20)

typedef struct linear_job {
    const swan_linear_args *a;
    swan_dtype weights;
    int64_t chunk, first, columns, column_tiles; /* columns of a whole chunk; first, count and tiles of this one */
    float *widened, *scratch; /* [chunk, K]; [ROW_TILE, COLUMN_TILE] for each worker */
} linear_job;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static linear_job linear_plan(const swan_linear_args *a, swan_dtype weights)
{
    linear_job j = {.a = a, .weights = weights, .chunk = a->N};
    if (weights == SWAN_F32) return j;
    int64_t tiles = CHUNK_BYTES / (4 * a->K * COLUMN_TILE);
    j.chunk = least((tiles > 1 ? tiles : 1) * COLUMN_TILE, a->N);
    return j;
}

static int64_t widened_floats(const linear_job *j)
{
    return j->weights == SWAN_F32 ? 0 : (j->chunk * j->a->K + 15) / 16 * 16;
}

static void widen_task(void *arg, int64_t index, int worker)
{
    (void)worker;
    const linear_job *j = arg;
    const uint16_t *w = (const uint16_t *)j->a->w + (j->first + index) * j->a->K;
    float *out = j->widened + index * j->a->K;
    if (j->weights == SWAN_BF16)
        for (int64_t k = 0; k < j->a->K; k++) out[k] = swan_bf16_to_f32(w[k]);
    else
        for (int64_t k = 0; k < j->a->K; k++) out[k] = swan_f16_to_f32(w[k]);
}

/* fp64, so that the tail of the sigmoid keeps its last bit. */
static float times_sigmoid(float r, double u) { return (float)(r / (1 + exp(-u))); }

static void finish_row(const swan_linear_args *a, const float *sum, float *y, int64_t first, int64_t end)
{
    for (int64_t n = first; n < end; n++) {
        float r = sum[n - first] + (a->bias ? a->bias[n] : 0);
        switch (a->epilogue) {
        case SWAN_EPI_GELU: y[n] = times_sigmoid(r, 1.5957691216057308 * (r + 0.044715 * ((double)r * r * r))); break;
        case SWAN_EPI_SILU: y[n] = times_sigmoid(r, r); break;
        case SWAN_EPI_MUL: y[n] *= r; break;
        case SWAN_EPI_ADD: y[n] += r; break;
        case SWAN_EPI_GATED_ADD: y[n] = (float)(y[n] + (double)a->gate[n] * r); break;
        default: y[n] = r; break;
        }
    }
}

static void tile_task(void *arg, int64_t index, int worker)
{
    const linear_job *j = arg;
    const swan_linear_args *a = j->a;
    int64_t row = index / j->column_tiles * ROW_TILE, rows = least(ROW_TILE, a->M - row);
    int64_t column = index % j->column_tiles * COLUMN_TILE, columns = least(COLUMN_TILE, j->columns - column);
    int64_t first = j->first + column;
    float *sum = j->scratch + worker * ROW_TILE * COLUMN_TILE;
    const float *w = j->weights == SWAN_F32 ? (const float *)a->w + first * a->K : j->widened + column * a->K;
    swan_cblas_multiply(&(swan_cblas_product){.a = (const float *)a->x + row * a->ldx,
                                              .b = w,
                                              .c = sum,
                                              .M = rows,
                                              .N = columns,
                                              .K = a->K,
                                              .lda = a->ldx,
                                              .ldb = a->K,
                                              .ldc = COLUMN_TILE});
    for (int64_t i = 0; i < rows; i++)
        finish_row(a, sum + i * COLUMN_TILE, (float *)a->y + (row + i) * a->ldy, first, first + columns);
}

static swan_status linear_run(const swan_stream *stream, const swan_linear_args *a, swan_dtype weights)
{
    swan_cblas_prepare();
    linear_job j = linear_plan(a, weights);
    j.widened = a->workspace;
    j.scratch = j.widened + widened_floats(&j);
    for (j.first = 0; j.first < a->N; j.first += j.chunk) {
        j.columns = least(j.chunk, a->N - j.first);
        j.column_tiles = (j.columns + COLUMN_TILE - 1) / COLUMN_TILE;
        if (weights != SWAN_F32) SWAN_TRY(swan_cpu_run(stream, j.columns, widen_task, &j));
        SWAN_TRY(swan_cpu_run(stream, (a->M + ROW_TILE - 1) / ROW_TILE * j.column_tiles, tile_task, &j));
    }
    return SWAN_OK;
}

static size_t linear_bytes(const swan_linear_args *a, const swan_stream *stream, swan_dtype weights)
{
    linear_job j = linear_plan(a, weights);
    return (size_t)(widened_floats(&j) + swan_pool_threads(stream->pool) * ROW_TILE * COLUMN_TILE) * sizeof(float);
}

swan_status swan_linear_f32_cblas(swan_stream *stream, const swan_linear_f32_args *a)
{
    return linear_run(stream, a, SWAN_F32);
}

swan_status swan_linear_bf16_cblas(swan_stream *stream, const swan_linear_bf16_args *a)
{
    return linear_run(stream, a, SWAN_BF16);
}

swan_status swan_linear_f16_cblas(swan_stream *stream, const swan_linear_f16_args *a)
{
    return linear_run(stream, a, SWAN_F16);
}

size_t swan_linear_f32_cblas_workspace(const swan_linear_f32_args *a, const swan_stream *stream)
{
    return linear_bytes(a, stream, SWAN_F32);
}

size_t swan_linear_16_cblas_workspace(const swan_linear_args *a, const swan_stream *stream)
{
    return linear_bytes(a, stream, SWAN_BF16);
}

#endif
