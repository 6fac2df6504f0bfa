/* conv.conv3x3, conv.up2x2: one image row a task, one dot product in fp64 over the taps and all input channels at a time. */
#include "kernel/cpu/conv_frame.h"
#include "kernel/cpu/cpu.h"

/* Input pixel (iy, ix) of the enlarged image, which is inside it, times its tap's weights [Cx + Cp]. */
static double tap(const swan_conv_conv3x3_args *a, int64_t iy, int64_t ix, const float *w)
{
    int64_t pixel = a->upsample ? iy / 2 * (a->W / 2) + ix / 2 : iy * a->W + ix;
    const float *x = (const float *)a->x + pixel * a->Cx;
    double sum = 0;
    for (int64_t c = 0; c < a->Cx; c++) sum += (double)x[c] * w[c];
    if (!a->past) return sum;
    const float *past = (const float *)a->past + pixel * a->Cp;
    for (int64_t c = 0; c < a->Cp; c++) sum += (double)past[c] * w[a->Cx + c];
    return sum;
}

static void task(void *arg, int64_t oy, int worker)
{
    (void)worker;
    const swan_conv_conv3x3_args *a = arg;
    int64_t Cin = a->Cx + a->Cp;
    for (int64_t ox = 0; ox < a->W; ox++) {
        for (int64_t n = 0; n < a->Cout; n++) {
            int64_t at = (oy * a->W + ox) * a->Cout + n;
            double sum = a->bias ? a->bias[n] : 0;
            for (int64_t ky = 0; ky < 3; ky++) {
                for (int64_t kx = 0; kx < 3; kx++) {
                    int64_t iy = oy + ky - 1, ix = ox + kx - 1;
                    if (iy < 0 || iy >= a->H || ix < 0 || ix >= a->W) continue;
                    sum += tap(a, iy, ix, (const float *)a->w + ((n * 3 + ky) * 3 + kx) * Cin);
                }
            }
            if (a->residual) sum += ((const float *)a->residual)[at];
            ((float *)a->y)[at] = (float)(a->relu && sum < 0 ? 0 : sum);
        }
    }
}

swan_status swan_conv_conv3x3_ref(swan_stream *stream, const swan_conv_conv3x3_args *a)
{
    if (a->upsample && (a->past || a->H % 2 || a->W % 2))
        return SWAN_BUG("conv.conv3x3: upsample takes an even size and no past");
    for (int64_t f = 0; f < a->F; f++) {
        swan_conv_conv3x3_args one = swan_cpu_conv_frame(a, f);
        SWAN_TRY(swan_cpu_run(stream, a->H, task, &one));
    }
    return SWAN_OK;
}

/* ---- up2x2 ---- */

/* One element of the output row oy at column ox of x's frame; w: of the place in the 2x2 and the channel, [2, 2, Cx]. */
static float up_element(const swan_conv_up2x2_args *a, const float *x, int64_t oy, int64_t ox, const float *w)
{
    double sum = 0;
    for (int64_t tap_at = 0; tap_at < 4; tap_at++) {
        int64_t iy = oy / 2 + oy % 2 - 1 + tap_at / 2, ix = ox / 2 + ox % 2 - 1 + tap_at % 2;
        if (iy < 0 || iy >= a->H || ix < 0 || ix >= a->W) continue;
        for (int64_t c = 0; c < a->Cx; c++) sum += (double)x[(iy * a->W + ix) * a->Cx + c] * w[tap_at * a->Cx + c];
    }
    return (float)(a->relu && sum < 0 ? 0 : sum);
}

/* Row index of all output rows: [F, grow, 2 H]. */
static void up_task(void *arg, int64_t index, int worker)
{
    (void)worker;
    const swan_conv_up2x2_args *a = arg;
    int64_t oy = index % (2 * a->H), frame = index / (2 * a->H), j = frame % a->grow;
    const float *x = (const float *)a->x + frame / a->grow * a->H * a->W * a->Cx;
    float *y = (float *)a->y + index * 2 * a->W * a->Cout;
    for (int64_t ox = 0; ox < 2 * a->W; ox++) {
        const float *w = (const float *)a->w + ((j * 2 + oy % 2) * 2 + ox % 2) * a->Cout * 4 * a->Cx;
        for (int64_t n = 0; n < a->Cout; n++) y[ox * a->Cout + n] = up_element(a, x, oy, ox, w + n * 4 * a->Cx);
    }
}

swan_status swan_conv_up2x2_ref(swan_stream *stream, const swan_conv_up2x2_args *a)
{
    swan_conv_up2x2_args copy = *a;
    return swan_cpu_run(stream, a->F * a->grow * 2 * a->H, up_task, &copy);
}
