/* conv.conv3x3 through a CBLAS, for processors without a row of their own: y = relu?(conv(x, past) + bias +
 * residual).
 *
 * A task is a strip of output rows: its patches [pixels, 9 (Cx + Cp)] go to scratch, one single-threaded product
 * multiplies them with the weights, and bias, residual and relu follow in cache. Strips depend on the shape alone. */
#include <string.h>

#include "kernel/cpu/cblas.h"
#include "kernel/cpu/conv_frame.h"
#include "kernel/cpu/cpu.h"

#ifdef SWAN_WITH_CBLAS

#define STRIP_PIXELS 256

typedef struct conv_job {
    swan_conv_conv3x3_args a;
    int64_t C, strip; /* input channels; output rows of a task */
    int64_t scratch_floats; /* of one worker: patches, then sums */
} conv_job;

static conv_job conv_plan(const swan_conv_conv3x3_args *a)
{
    conv_job j = {.a = *a, .C = a->Cx + a->Cp, .strip = a->W < STRIP_PIXELS ? STRIP_PIXELS / a->W : 1};
    if (j.strip > a->H) j.strip = a->H;
    j.scratch_floats = (j.strip * a->W * (9 * j.C + a->Cout) + 15) / 16 * 16;
    return j;
}

/* The channels of input pixel (iy, ix) of the enlarged picture; zeros outside of it. */
static void copy_pixel(const conv_job *j, int64_t iy, int64_t ix, float *out)
{
    const swan_conv_conv3x3_args *a = &j->a;
    bool inside = iy >= 0 && iy < a->H && ix >= 0 && ix < a->W;
    if (!inside) {
        memset(out, 0, (size_t)j->C * sizeof(float));
        return;
    }
    int64_t pixel = a->upsample ? iy / 2 * (a->W / 2) + ix / 2 : iy * a->W + ix;
    memcpy(out, (const float *)a->x + pixel * a->Cx, (size_t)a->Cx * sizeof(float));
    if (a->past) memcpy(out + a->Cx, (const float *)a->past + pixel * a->Cp, (size_t)a->Cp * sizeof(float));
    else memset(out + a->Cx, 0, (size_t)a->Cp * sizeof(float));
}

static void strip_task(void *arg, int64_t index, int worker)
{
    const conv_job *j = arg;
    const swan_conv_conv3x3_args *a = &j->a;
    int64_t y0 = index * j->strip, rows = a->H - y0 < j->strip ? a->H - y0 : j->strip, pixels = rows * a->W,
            K = 9 * j->C;
    float *patches = (float *)a->workspace + worker * j->scratch_floats, *sums = patches + j->strip * a->W * K;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t tap = 0; tap < 9; tap++)
            copy_pixel(j, y0 + p / a->W + tap / 3 - 1, p % a->W + tap % 3 - 1, patches + p * K + tap * j->C);
    swan_cblas_multiply(&(swan_cblas_product){
        .a = patches, .b = a->w, .c = sums, .M = pixels, .N = a->Cout, .K = K, .lda = K, .ldb = K, .ldc = a->Cout});
    float *y = (float *)a->y + y0 * a->W * a->Cout;
    const float *residual = a->residual ? (const float *)a->residual + y0 * a->W * a->Cout : NULL;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t n = 0; n < a->Cout; n++) {
            int64_t i = p * a->Cout + n;
            float v = sums[i] + (a->bias ? a->bias[n] : 0);
            if (residual) v += residual[i];
            y[i] = a->relu && v < 0 ? 0 : v;
        }
}

swan_status swan_conv_conv3x3_cblas(swan_stream *stream, const swan_conv_conv3x3_args *a)
{
    swan_cblas_prepare();
    conv_job j = conv_plan(a);
    for (int64_t f = 0; f < a->F; f++) {
        j.a = swan_cpu_conv_frame(a, f);
        SWAN_TRY(swan_cpu_run(stream, (a->H + j.strip - 1) / j.strip, strip_task, &j));
    }
    return SWAN_OK;
}

size_t swan_conv_conv3x3_cblas_workspace(const swan_conv_conv3x3_args *a, const swan_stream *stream)
{
    conv_job j = conv_plan(a);
    return (size_t)(swan_pool_threads(stream->pool) * j.scratch_floats) * sizeof(float);
}

#endif
